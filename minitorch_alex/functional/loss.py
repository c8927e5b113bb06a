"""Softmax and the loss: multinomial logistic regression (paper section 3.5).

Softmax and logarithm are one operation, so that neither overflow nor log(0) can happen.
"""
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from ..errors import ShapeError, UsageError
from ..tensor import Tensor
from .layout import contiguous


class LogSoftmax(Function):
    """y = x - log sum exp x over one axis; saves y.   gx = gy - softmax(x) sum gy."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x):
        xp = backend.xp_of(x)
        y = x - x.max(axis=self.dim, keepdims=True)  # exp of at most 0: it cannot overflow
        y = y - xp.log(xp.exp(y).sum(axis=self.dim, keepdims=True))
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy - backend.xp_of(y).exp(y) * gy.sum(axis=self.dim, keepdims=True)


class Softmax(Function):
    """y = exp x / sum exp x over one axis; saves y.   gx = y (gy - sum gy y)."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x):
        # Shifting x by its maximum changes nothing in the quotient, and exp cannot overflow.
        y = backend.xp_of(x).exp(x - x.max(axis=self.dim, keepdims=True))
        y = y / y.sum(axis=self.dim, keepdims=True)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return y * (gy - (gy * y).sum(axis=self.dim, keepdims=True))


class CrossEntropy(Function):
    """loss_n = -log softmax(logits_n)[label_n]; saves the probabilities.

    glogits = g (softmax - onehot).
    """

    def __init__(self, labels: Any) -> None:
        self.labels = labels

    def forward(self, logits):
        logits = contiguous(logits)
        kernels = backend.kernels_for(logits, self.labels)
        loss, probs = kernels.softmax_cross_entropy(logits, self.labels)
        self.save(probs)
        return loss

    def backward(self, g):
        (probs,) = self.saved
        g = contiguous(g)  # from mean() or sum() it comes as a view that shows one number N times
        return backend.kernels_for(g, probs).softmax_cross_entropy_backward(g, probs, self.labels)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp x / sum exp x over the axis `dim`."""
    return Softmax(dim)(x)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """log(softmax(x)) over the axis `dim`, without overflow."""
    return LogSoftmax(dim)(x)


def cross_entropy(logits: Tensor, labels: Any, reduction: str = "mean") -> Tensor:
    """-log softmax(logits)[label] for logits (N,K) and integer labels (N,), a raw array.

    The natural logarithm: ln K at chance level. `reduction` is "mean" over the batch, "sum", or
    "none" for the N losses. Raises ShapeError for labels of the wrong shape or kind, or outside
    0..K-1, and UsageError for another reduction.
    """
    labels = labels if backend.is_array(labels) else np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(logits):
        raise ShapeError(f"cross_entropy: got logits {logits.shape} and labels {labels.shape}; "
                         "expected (N, K) and (N,) with N of at least 1")
    if labels.dtype.kind not in "iu":
        raise ShapeError(f"cross_entropy: got labels of {labels.dtype}, expected integers")
    if isinstance(labels, np.ndarray):  # on a device they are not read back to be checked
        wrong = np.flatnonzero((labels < 0) | (labels >= logits.shape[1]))
        if wrong.size:
            raise ShapeError(f"cross_entropy: label {labels[wrong[0]]} at position {wrong[0]} is "
                             f"not a class 0..{logits.shape[1] - 1}")
        labels = backend.asarray(labels)
    if reduction not in ("mean", "sum", "none"):
        raise UsageError(f"cross_entropy: got reduction {reduction!r}, "
                         "expected 'mean', 'sum' or 'none'")
    losses = CrossEntropy(labels)(logits)
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    return losses
