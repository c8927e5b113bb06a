"""Which part of a result is wrong, where the wrong part has no simple rule."""
import math
from collections.abc import Iterator

import numpy as np

from .numbers import Arguments, as_array, ratio


def locate(g: np.ndarray, e: np.ndarray, arguments: Arguments, passed: list[str]) -> str:
    """Which part is wrong, and what its numbers have in common; "" where nothing stands out."""
    if g.shape != e.shape:
        return ""
    # a tolerance as in are_close, number by number
    scale = float(np.abs(e[np.isfinite(e)]).max(initial=0))
    wrong = np.asarray(~np.isclose(g, e, rtol=1e-6, atol=1e-9 * scale, equal_nan=True))
    parts = [*_ties(arguments, passed), *_slabs(wrong), *_amounts(g, e, wrong)]
    return "; ".join(parts[:3])  # more would not be read


def _ties(arguments: Arguments, passed: list[str]) -> Iterator[str]:
    """The first case in which values of a window are equal."""
    x = as_array(arguments.get("x"))
    if x is None or x.ndim != 4 or "size" not in arguments or not passed:
        return
    if len(np.unique(x)) < x.size:
        yield ("it was right while all values of a window differed; here several are equal, and "
               "one of them has to be chosen: the first in reading order")


def _slabs(wrong: np.ndarray) -> Iterator[str]:
    """Whole images, channels, rows or columns that are right."""
    names = {4: ("image", "channel", "row", "column"), 2: ("row", "column"), 1: ("number",)}
    for axis in range(wrong.ndim):
        n = wrong.shape[axis]
        # an index is wrong if anything at it is wrong
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        bad = np.asarray(wrong.any(axis=others))
        if n == 1 or bad.all() or not bad.any():  # this axis does not tell right from wrong
            continue
        what = names.get(wrong.ndim, ())[axis:axis + 1]
        name = what[0] if what else f"index of axis {axis},"
        text = _slab(name, bad)
        if text:
            yield text


def _slab(name: str, bad: np.ndarray) -> str:
    """Which indices of one axis are bad, some and not all of them; "" when there is no pattern."""
    n = len(bad)
    indices = [i for i in range(n) if bad[i]]
    # the patterns that name a cause come first, a bare list of indices last
    if n > 3 and indices == [0, n - 1]:
        return f"only the first and the last {name} are wrong: what happens at the edge?"
    if indices == [0]:
        return f"only the first {name} is wrong"
    if indices == [n - 1]:
        return f"only the last {name} is wrong"
    if not bad[0] and bad[1:].all():
        return f"the first {name} is right, all others are wrong"
    if len(indices) <= 6:
        return f"wrong are the {name}s {', '.join(map(str, indices))} of {n} (counted from 0)"
    return ""


def _amounts(g: np.ndarray, e: np.ndarray, wrong: np.ndarray) -> Iterator[str]:
    """What the wrong numbers have in common."""
    bad = g[wrong]
    right = e[wrong]
    if not bad.size:
        return
    share = f"{bad.size} of {g.size}"
    if not g.ndim:
        yield f"it is {'smaller' if bad[0] < right[0] else 'larger'} than expected"
        return
    if (bad == 0).all():
        yield f"{share} are 0 where something should be: nothing was written or added there"
    elif (right == 0).all():
        yield f"{share} should be 0 and are not: something is passed on that should be silent"
    elif (np.abs(bad) < np.abs(right)).all() and (bad * right >= 0).all():
        yield f"{share} are too small, none is too large: contributions are missing"
    elif (np.abs(bad) > np.abs(right)).all() and (bad * right >= 0).all():
        yield f"{share} are too large, none is too small: something is counted more than once"
    else:
        c = ratio(bad, right)
        total = float(g.sum())
        wanted = float(e.sum())
        if c is not None:
            yield f"where it is wrong, each number is {c:.6g} times the expected one"
        elif math.isclose(total, wanted, rel_tol=1e-9) and abs(wanted) > 1e-9:
            yield "the sum of all is right, but it is distributed wrongly"
        elif not g.any():
            yield "all numbers are 0"
