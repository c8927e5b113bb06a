"""Are the gradients right? Compare them with finite differences, in float64."""
from collections.abc import Callable, Sequence

import numpy as np

from . import backend, streams
from .tensor import Tensor

ABSOLUTE, RELATIVE = 1e-9, 1e-6   # right code stays below 1e-9 relative, honest bugs lie above 1e-5


class GradcheckError(AssertionError):
    """A gradient that finite differences contradict; says which input, which element, got and expected."""


def gradcheck(fn: Callable[..., Tensor], inputs: Sequence[Tensor], eps: float = 1e-5, seed: int = 0,
              elements: int = 500) -> bool:
    """Compare the gradients of fn(*inputs) with central differences; True, or GradcheckError.

    The scalar is <fn(inputs), c> with c drawn from N(0,1): with c = 1 everywhere, errors that sum to zero stay hidden
    (a softmax whose backward returns 0 passes). For each input that requires a gradient and each element

        numeric = (f(x + eps e_i) - f(x - eps e_i)) / (2 eps)      |analytic - numeric| <= 1e-9 + 1e-6 max(|a|, |n|)

    where rounding of f itself is allowed for: 1e-9 grows with |f| / eps. Of an input with more than `elements`
    elements 200 are sampled, and one random direction is checked on top. `fn` must be deterministic, and smooth
    within eps of the inputs: keep ReLU inputs away from 0 and pooled values apart. Inputs must be float64.
    """
    rng = streams.rng(seed, "gradcheck")
    for i, x in enumerate(inputs):
        if x.dtype != np.float64:
            raise GradcheckError(f"gradcheck: input {i} is {x.dtype}, expected float64")
        x.grad = None
    y = fn(*inputs)
    cotangent = backend.asarray(rng.standard_normal(y.shape))

    def value() -> float:
        return float(backend.to_numpy((fn(*inputs).data * cotangent).sum()))

    y.backward(cotangent)
    slack = ABSOLUTE + 4 * np.finfo(np.float64).eps * abs(backend.to_numpy((abs(y.data * cotangent)).sum())) / eps
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            continue
        if x.grad is None:
            raise GradcheckError(f"gradcheck: input {i} received no gradient")
        if x.grad.shape != x.shape or x.grad.dtype != x.dtype:
            raise GradcheckError(f"gradcheck: the gradient of input {i} is {x.grad.shape} {x.grad.dtype}, expected "
                                 f"{x.shape} {x.dtype}")
        analytic, before = backend.to_numpy(x.grad), x.data

        def moved(direction: np.ndarray, x: Tensor = x, before: object = before) -> float:
            values = []
            for sign in (1, -1):
                x.data = before + backend.asarray(sign * eps * direction)
                values.append(value())
            x.data = before
            return (values[0] - values[1]) / (2 * eps)

        def compare(what: str, a: float, n: float, i: int = i) -> None:
            if not abs(a - n) <= slack + RELATIVE * max(abs(a), abs(n)):
                raise GradcheckError(f"gradcheck: input {i}, {what}: backward says {a:.10g}, differences say {n:.10g}")

        picked = range(x.size) if x.size <= elements else rng.choice(x.size, 200, replace=False)
        for flat in picked:
            index = np.unravel_index(flat, x.shape)
            direction = np.zeros(x.shape)
            direction[index] = 1.0
            compare(f"element {tuple(int(j) for j in index)}", float(analytic[index]), moved(direction))
        if x.size > elements:
            direction = rng.standard_normal(x.shape)
            direction /= np.linalg.norm(direction)
            compare("a random direction", float((analytic * direction).sum()), moved(direction))
    return True
