"""Are the gradients right? Compare them with finite differences, in float64."""
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from . import backend, streams
from .tensor import Tensor

ABSOLUTE = 1e-9  # right code stays below 1e-9 relative, honest bugs are above 1e-5
RELATIVE = 1e-6
SAMPLES = 200  # elements checked of an input that is too large to check all


class GradcheckError(AssertionError):
    """A gradient that finite differences contradict: at which input and element, got, expected."""


def gradcheck(fn: Callable[..., Tensor], inputs: Sequence[Tensor], eps: float = 1e-5,
              seed: int = 0, elements: int = 500) -> bool:
    """Compare the gradients of fn(*inputs) with central differences.

    The scalar f is <fn(inputs), c> with c drawn from N(0,1). With c = 1 everywhere, errors that
    sum to zero would stay hidden: a softmax whose backward returns 0 would pass. For each input
    that requires a gradient and each element i

        numeric = (f(x + eps e_i) - f(x - eps e_i)) / (2 eps)
        |analytic - numeric| <= 1e-9 + 1e-6 max(|analytic|, |numeric|)

    where rounding of f itself is allowed for: 1e-9 grows with |f| / eps. Of an input with more
    than `elements` elements 200 are sampled, and one random direction is checked in addition. `fn`
    must be deterministic, and smooth within eps of the inputs: keep ReLU inputs away from 0 and
    pooled values apart. Inputs must be float64. Returns True; raises GradcheckError.
    """
    rng = streams.rng(seed, "gradcheck")
    for i, x in enumerate(inputs):
        if x.dtype != np.float64:
            raise GradcheckError(f"gradcheck: input {i} is {x.dtype}, expected float64")
        x.grad = None  # what an earlier backward pass left would be added to
    y = fn(*inputs)
    cotangent = backend.asarray(rng.standard_normal(y.shape))
    y.backward(cotangent)

    def f() -> float:
        return float(backend.to_numpy((fn(*inputs).data * cotangent).sum()))

    # A sum of numbers of this size has a rounding error of about eps times it, and the difference
    # of two such sums is divided by 2 eps of the step.
    size = float(backend.to_numpy(abs(y.data * cotangent).sum()))
    slack = ABSOLUTE + 4 * np.finfo(np.float64).eps * size / eps
    for i, x in enumerate(inputs):
        if x.requires_grad:
            gradient = _gradient_of(x, i)
            for place, direction, slope in _slopes(gradient, elements, rng):
                difference = _difference(f, x, direction, eps)
                _compare(f"input {i}, {place}", slope, difference, slack)
    return True


def _gradient_of(x: Tensor, i: int) -> np.ndarray:
    """The gradient that backward gave to input i. Raises GradcheckError if it cannot be one."""
    if x.grad is None:
        raise GradcheckError(f"gradcheck: input {i} received no gradient")
    if x.grad.shape != x.shape or x.grad.dtype != x.dtype:
        raise GradcheckError(f"gradcheck: the gradient of input {i} is {x.grad.shape} "
                             f"{x.grad.dtype}, expected {x.shape} {x.dtype}")
    return backend.to_numpy(x.grad)


def _slopes(gradient: np.ndarray, elements: int,
            rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, float]]:
    """(place, direction, slope of f in that direction): along each axis, or along a sample of them
    and one random direction of length 1, in which every element has a part."""
    sample: Iterable[int] = range(gradient.size)
    if gradient.size > elements:
        sample = rng.choice(gradient.size, SAMPLES, replace=False)
    for flat in sample:
        index = np.unravel_index(flat, gradient.shape)
        direction = np.zeros(gradient.shape)
        direction[index] = 1.0
        yield f"element {tuple(int(j) for j in index)}", direction, float(gradient[index])
    if gradient.size > elements:
        direction = rng.standard_normal(gradient.shape)
        direction /= np.linalg.norm(direction)
        yield "a random direction", direction, float((gradient * direction).sum())


def _difference(f: Callable[[], float], x: Tensor, direction: np.ndarray, eps: float) -> float:
    """(f(x + eps direction) - f(x - eps direction)) / (2 eps); x has its data back afterwards."""
    before = x.data  # replaced, never written into: fn may have saved it
    x.data = before + backend.asarray(eps * direction)
    above = f()
    x.data = before + backend.asarray(-eps * direction)
    below = f()
    x.data = before
    return (above - below) / (2 * eps)


def _compare(place: str, analytic: float, numeric: float, slack: float) -> None:
    # `not <=` rather than `>`: a NaN on either side fails too.
    if not abs(analytic - numeric) <= slack + RELATIVE * max(abs(analytic), abs(numeric)):
        raise GradcheckError(f"gradcheck: {place}: backward says {analytic:.10g}, differences say "
                             f"{numeric:.10g}")
