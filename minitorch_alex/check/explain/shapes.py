"""A result of another shape than the expected one."""
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .numbers import Arguments, are_close
from .order import orders_of_axes


def find_border(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """The border of padding is still there, or more of the image is missing."""
    if not g.size:
        yield ("the result is empty: a slice such as [p:-p] is empty at p = 0; give the end as "
               "p + size")
        return
    if g.ndim != e.ndim or g.ndim < 2:
        return
    # how many indices too many along each axis: a border of padding adds 2 padding
    more = [a - b for a, b in zip(g.shape, e.shape, strict=True)]
    if any(more) and all(m >= 0 for m in more):
        yield from _too_large(g, e, more, arguments.get("padding", 0))
    if any(more) and all(m <= 0 for m in more):
        start = tuple(slice(0, n) for n in g.shape)
        axes = _in_words([i for i, m in enumerate(more) if m])
        if are_close(g, e[start]):
            yield f"what is there is right; the end of {axes} is missing"


def _too_large(g: np.ndarray, e: np.ndarray, more: list[int], padding: Any) -> Iterator[str]:
    """A result that has `more` indices than expected along each axis."""
    # what is left without the border, and without what is too many at the end
    middle = tuple(slice(m // 2, m // 2 + n) for m, n in zip(more, e.shape, strict=True))
    start = tuple(slice(0, n) for n in e.shape)
    if padding and all(m in (0, 2 * padding) for m in more):
        same = "; inside it the numbers are right" if are_close(g[middle], e) else ""
        yield f"the result still has the border of {padding} on each side: cut it off{same}"
    elif are_close(g[start], e):
        yield (f"the numbers are right, and there are {max(more)} more than asked for along "
               f"axis {more.index(max(more))}")


def find_exchanged_axes(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """The same numbers with axes exchanged, or in another shape."""
    for order in orders_of_axes(g, e):
        yield ("the result is transposed: it is the expected one with its axes in the "
               f"order {order}")
    if g.size == e.size:
        if are_close(g.ravel(), e.ravel()):  # both in C order, the last axis fastest
            yield ("the numbers are right and in order, the shape is not: a keepdims too many or "
                   "too few, or a reshape that is missing")
        elif are_close(np.sort(g, axis=None), np.sort(e, axis=None)):
            yield ("the numbers are right, in another order and shape: which axis runs fastest? "
                   "A transpose has to come before the reshape")


def find_sums(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """Summed over an axis more or less than asked for."""
    if not g.size or not e.size:
        return
    for axes, verb in _reductions(g, e):
        yield (f"summed over too little: the {verb} of your result over {axes} is the expected "
               "one")
    # The same the other way round: the result is what is left of the expected one.
    for axes, verb in _reductions(e, g):
        if verb == "sum":
            yield f"summed over too much: {axes} of the result should stay"
        else:
            yield f"{axes} of the result should stay; you took the mean over it"


def _reductions(more: np.ndarray, less: np.ndarray) -> Iterator[tuple[str, str]]:
    """(axes, "sum" or "mean") for each way in which reducing the one gives the numbers of the
    other; the axes in words."""
    # Four axes have fifteen subsets, and each is tried.
    for count in range(1, more.ndim + 1):
        for axes in itertools.combinations(range(more.ndim), count):
            for verb, reduced in (("sum", more.sum(axis=axes)), ("mean", more.mean(axis=axes))):
                if reduced.size == less.size and are_close(reduced.ravel(), less.ravel()):
                    yield _in_words(axes), verb


def _in_words(axes: Sequence[int]) -> str:
    """[0, 2] as "axis 0 and 2"."""
    return "axis " + " and ".join(map(str, axes))


def find_sizes(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """Whatever else may be wrong with the sizes."""
    if g.ndim != e.ndim:
        yield (f"the result should have {e.ndim} {'axes' if e.ndim != 1 else 'axis'} and has "
               f"{g.ndim}: a sum or an index takes an axis away unless it keeps it (keepdims)")
        return
    wrong = [i for i, (a, b) in enumerate(zip(g.shape, e.shape, strict=True)) if a != b]
    if sorted(g.shape) == sorted(e.shape):
        yield "the sizes are right, in another order: the axes are exchanged"
    elif g.ndim == 4 and set(wrong) <= {2, 3}:
        names = " and ".join("height" if i == 2 else "width" for i in wrong)
        if len(wrong) == 1:
            yield (f"the {names} is wrong: is its size computed from the other axis, or rounded "
                   "the other way?")
        else:
            yield f"the {names} are wrong: how are the sizes rounded, and what do they count?"
    else:
        yield (f"wrong along {_in_words(wrong)}: an axis was stretched, kept or cut that should "
               "not have been")
