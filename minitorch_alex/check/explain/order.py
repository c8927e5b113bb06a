"""The right numbers in wrong places."""
import itertools
from collections.abc import Iterator

import numpy as np

from .numbers import Arguments, are_close


def find_order(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """Axes that are turned, exchanged or shifted, slices in another order, signs."""
    if g.ndim == 0 or g.size < 2:
        return
    yield from _find_reversal(g, e)
    for order in orders_of_axes(g, e):
        yield (f"the result is transposed: its axes are in the order {order} of the "
               "expected one's")
    yield from _find_shift(g, e)
    for axis in range(g.ndim):
        numbers = _order_of_slices(g, e, axis)
        if numbers is not None:
            yield (f"the right slices along axis {axis} in a wrong order: yours are number "
                   f"{', '.join(map(str, numbers))}")
    if are_close(np.sort(g, axis=None), np.sort(e, axis=None)):
        yield ("the right numbers in wrong places: which axis runs fastest? A transpose has to "
               "come before a reshape")
    if are_close(np.abs(g), np.abs(e)):
        yield "only signs are wrong"


def _find_reversal(g: np.ndarray, e: np.ndarray) -> Iterator[str]:
    """Axes that run from the end to the start."""
    if g.ndim >= 2 and are_close(g, e[..., ::-1, ::-1]):
        yield "the last two axes are turned by 180 degrees"
    for axis in range(g.ndim):
        if e.shape[axis] > 1 and are_close(g, np.flip(e, axis)):
            yield f"axis {axis} is in reverse order"


def _find_shift(g: np.ndarray, e: np.ndarray) -> Iterator[str]:
    """What leaves an axis at one end comes in again at the other, as np.roll does it."""
    for axis in range(g.ndim):
        for shift in range(1, min(e.shape[axis], 8)):  # nobody is off by more
            for s in (shift, -shift):
                if np.abs(e).sum() and are_close(g, np.roll(e, s, axis)):
                    yield f"everything is shifted by {s:+d} along axis {axis}"


def _order_of_slices(g: np.ndarray, e: np.ndarray, axis: int) -> list[int] | None:
    """The numbers of the expected slices along an axis that the result has, if it is a permutation
    or a repetition of them."""
    n = e.shape[axis]
    if not 1 < n <= 64:
        return None
    # (..., n, ...) -> (n, ...): slice i of the axis is then [i]
    gs = np.moveaxis(g, axis, 0)
    es = np.moveaxis(e, axis, 0)
    order = []
    for i in range(n):
        j = next((j for j in range(n) if are_close(gs[i], es[j])), None)
        if j is None:
            return None
        order.append(j)
    return order


def orders_of_axes(g: np.ndarray, e: np.ndarray) -> Iterator[tuple[int, ...]]:
    """The orders of axes, other than their own, in which the expected array is the result."""
    if not g.ndim == e.ndim <= 4:
        return
    for order in itertools.permutations(range(e.ndim)):
        # (n0, n1, ...) -> (n of axis order[0], n of axis order[1], ...)
        if order != tuple(range(e.ndim)) and are_close(g, e.transpose(order)):
            yield order
