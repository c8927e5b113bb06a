"""The fully connected layer."""
from typing import Any

from ... import backend
from ..half import Factor, factor, way_back
from ..products import is_aligned, multiply
from .bias import add_bias

Array = Any  # a CuPy array


def linear_forward(x: Array, w: Array, b: Array | None) -> tuple[Array, tuple]:
    """(y, saved): linear, and what linear_backward needs of it: (x, its largest or None, w, its
    largest or None), rounded where the precision asks for it."""
    y = backend.xp_of(x, w, b).empty((len(x), len(w)), x.dtype)
    rows = factor(x)
    weights = factor(w)
    multiply(rows.array, weights.array.T, y, way_back(rows, weights))
    if b is not None:
        add_bias(y, b)
    return y, (rows.array, rows.largest, weights.array, weights.largest)


def linear_backward(gy: Array, saved: tuple, needs: tuple[bool, ...],
                    places: tuple[Array | None, ...]) -> tuple[Array | None, Array | None]:
    """(gx, gw) from what linear_forward saved, each None where `needs` says that it is not needed;
    gw in its place, places[1], if it has one."""
    rows = Factor(*saved[:2])
    weights = Factor(*saved[2:])
    grads = factor(gy)
    gx = _product(grads, weights, gy.dtype) if needs[0] else None
    gw = _product(grads, rows, gy.dtype, transpose=True, place=places[1]) if needs[1] else None
    return gx, gw


def _product(a: Factor, b: Factor, dtype: Any, transpose: bool = False,
             place: Array | None = None) -> Array:
    """a @ b, or a^T @ b with `transpose`: in `place`, or as a new array."""
    left = a.array.T if transpose else a.array
    out = place
    if out is None or not is_aligned(out):
        out = backend.xp_of(left).empty((left.shape[0], b.array.shape[1]), dtype)
    return multiply(left, b.array, out, way_back(a, b))


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """y (N,O) = x (N,I) @ w^T + b."""
    return linear_forward(x, w, b)[0]


def linear_backward_input(gy: Array, w: Array) -> Array:
    """gx (N,I) = gy (N,O) @ w."""
    return _product(factor(gy), factor(w), gy.dtype)


def linear_backward_weight(gy: Array, x: Array) -> Array:
    """gw (O,I) = gy^T @ x."""
    return _product(factor(gy), factor(x), gy.dtype, transpose=True)
