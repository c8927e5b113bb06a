"""`nn.utils`: what is done to parameters between the backward pass and the step."""
import math
from collections.abc import Iterable

from . import backend
from .tensor import Tensor


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients by one factor, in place, so that their norm together is at most
    max_norm. Returns the norm that they had:

        norm = sqrt(sum over all gradients of g^2);   g := g min(1, max_norm / (norm + 1e-6))

    The norm is a number on the host, so a GPU has to finish the backward pass first.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    squares = [float(backend.to_numpy((g * g).sum())) for g in gradients]
    norm = math.sqrt(sum(squares))
    factor = min(1.0, max_norm / (norm + 1e-6))
    for g in gradients:
        g *= factor
    return norm
