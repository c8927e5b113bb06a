"""The bias of a layer with weights: adding it to the product, and summing its gradient."""
from typing import Any

from ... import backend
from ..launch import launch
from ..window import ceil_div

Array = Any  # a CuPy array

STEP = 128  # rows that one thread of sum_rows adds up


def add_bias(y: Array, b: Array) -> None:
    """y (rows, O) += b (O,)."""
    launch("add_bias", y, y.shape[1], y.shape[0], (b, y), *y.shape)


def bias_relu(x: Array, b: Array) -> Array:
    """y = max(x + b, 0) in one pass over memory: x (..., O), b (O,) -> (..., O)."""
    O = x.shape[-1]
    y = backend.xp_of(x, b).empty_like(x)
    rows = x.size // O
    launch("bias_relu", x, O, rows, (x, b, y), rows, O)
    return y


def sum_rows(g: Array) -> Array:
    """The sum over all axes but the last: (..., O) -> (O,)."""
    return bias_gradient(g, None)


def bias_gradient(gy: Array, place: Array | None) -> Array:
    """gb (O,) = sum_rows(gy), written into `place` (O,) if that is given.

    Each round leaves one row for every STEP, until one is left: a tree of sums, whose shape
    depends on the number of rows alone.
    """
    xp = backend.xp_of(gy)
    O = gy.shape[-1]
    total = xp.empty(O, gy.dtype) if place is None else place
    rows = gy.reshape(-1, O)  # (..., O) -> (rows, O)
    if not len(rows):
        total[...] = 0
        return total
    while True:
        pieces = ceil_div(len(rows), STEP)
        sums = total if pieces == 1 else xp.empty((pieces, O), gy.dtype)
        launch("sum_rows", gy, O, pieces, (rows, sums), len(rows), O, STEP)
        if pieces == 1:
            return total
        rows = sums
