"""What a wrong result has to do with the right one, for mistakes that are in no catalogue.

`clue` compares the two numbers by number and says only what it has found to be so: that one is a
constant multiple of the other, that it is turned, that a sum ran over one axis more, and so on.

    clue(2 * y, y, {"x": x}, [])       "each number is 2 times the expected one"
"""
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

LIMIT = 200_000  # numbers; larger results are not compared in so many ways


def clue(got: Any, expected: Any, arguments: dict[str, Any], passed: list[str]) -> str:
    """One or two sentences about a wrong result; "" when nothing was found.

    got, expected   arrays, numbers or tuples of them
    arguments       those of the learner's function in this case, by name
    passed          labels of the cases that passed before
    """
    if isinstance(got, tuple) and len(got) == 2 and isinstance(got[0], type):
        return _of_exception(got[0], got[1], arguments)
    if expected is None or got is None:
        return ""
    if isinstance(expected, tuple):
        return _of_tuple(got, expected, arguments, passed)
    g = _array(got)
    e = _array(expected)
    if g is None or e is None or max(g.size, e.size) > LIMIT or not e.size:
        return ""
    with np.errstate(all="ignore"):
        found = [text for find in (_of_shape if g.shape != e.shape else _of_values)
                 for text in find(g, e, arguments)]
        # the finders stand in an order: the first that says something says the most
        return found[0] if found else _where(g, e, arguments, passed)


def _array(value: Any) -> np.ndarray | None:
    """The value as float64; None when it is not made of numbers."""
    try:
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype.kind in "biuf" else None
    except (TypeError, ValueError):
        return None


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same up to rounding."""
    if a.shape != b.shape:
        return False
    finite = b[np.isfinite(b)]
    # the absolute tolerance grows with the numbers: a 0 among thousands comes out as 1e-13
    scale = float(np.abs(finite).max(initial=0))
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9 * scale, equal_nan=True))


def _of_exception(kind: type, message: str, arguments: dict[str, Any]) -> str:
    shapes = ", ".join(f"{name} {value.shape}" for name, value in arguments.items()
                       if isinstance(value, np.ndarray))
    came = f" The call had {shapes}." if shapes else ""
    if issubclass(kind, RecursionError):
        return "a function calls itself once for each step: use a list of what is still to do"
    if "broadcast" in message:
        return ("two arrays of shapes that do not fit met. If one has a 0 in its shape, a slice "
                "is empty; if they differ by 2 padding, one has the border and the other has not."
                + came)
    if "matmul" in message or "not aligned" in message:
        return ("the rows of one matrix and the columns of the other are not equally many: was "
                "something cut twice, or is a .T missing?" + came)
    if "out of bounds" in message:
        return ("an index is past the end of an axis: are the limits those of this axis (height "
                "or width, channels of x or of the group)?" + came)
    if "reshape" in message:
        return "the sizes of the new shape do not multiply to as many numbers as there are." + came
    if issubclass(kind, AttributeError) and "NoneType" in message:
        return "something is None here that is not always an array: what may it be, and why?"
    return came.strip()


# A tuple of results

def _of_tuple(got: Any, expected: tuple, arguments: dict[str, Any], passed: list[str]) -> str:
    pairs = _pairs(got, expected)
    right = [i for i, (a, b) in enumerate(pairs) if _close(a, b)]
    if len(right) == len(pairs):
        return ""
    order = _order_of_results(pairs)
    if order is not None:
        places = ", ".join(str(j + 1) for j in order)
        return f"the results are right but in another order: yours are number {places}"
    wrong = [i for i in range(len(pairs)) if i not in right]
    texts = [f"result {i + 1}: {text}" for i in wrong
             if (text := clue(got[i], expected[i], arguments, passed))]
    return "; ".join(texts) + (_praise(right) if texts else "")


def _pairs(got: Any, expected: tuple) -> list[tuple[np.ndarray, np.ndarray]]:
    """(result, expected one) as arrays; none unless all are numbers and there are equally many."""
    if not isinstance(got, tuple | list) or len(got) != len(expected):
        return []
    pairs = []
    for result, wanted in zip(got, expected, strict=True):
        g = _array(result)
        e = _array(wanted)
        if g is None or e is None:
            return []
        pairs.append((g, e))
    return pairs


def _order_of_results(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[int, ...] | None:
    """Which expected result each of the results is; None unless all are there."""
    # three results at most in any exercise, so at most six orders
    for order in itertools.permutations(range(len(pairs))):
        if all(_close(pairs[i][0], pairs[j][1]) for i, j in enumerate(order)):
            return order
    return None


def _praise(right: list[int]) -> str:
    """Which results of a tuple are right, to be told after what is wrong."""
    if not right:
        return ""
    numbers = " and ".join(str(i + 1) for i in right)
    return f"; result {numbers} is right" if len(right) == 1 else f"; results {numbers} are right"


# Another shape

def _border(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
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
        axes = [i for i, m in enumerate(more) if m]
        what = "axis " + " and ".join(map(str, axes))
        if _close(g, e[start]):
            yield f"what is there is right; the end of {what} is missing"


def _too_large(g: np.ndarray, e: np.ndarray, more: list[int], padding: Any) -> Iterator[str]:
    """A result that has `more` indices than expected along each axis."""
    middle = tuple(slice(m // 2, m // 2 + n) for m, n in zip(more, e.shape, strict=True))
    start = tuple(slice(0, n) for n in e.shape)
    if padding and all(m in (0, 2 * padding) for m in more):
        same = "; inside it the numbers are right" if _close(g[middle], e) else ""
        yield f"the result still has the border of {padding} on each side: cut it off{same}"
    elif _close(g[start], e):
        yield (f"the numbers are right, and there are {max(more)} more than asked for along "
               f"axis {more.index(max(more))}")


def _axes(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    """The same numbers with axes exchanged, or in another shape."""
    for order in _orders_of_axes(g, e):
        yield ("the result is transposed: it is the expected one with its axes in the "
               f"order {order}")
    if g.size == e.size:
        if _close(g.ravel(), e.ravel()):
            yield ("the numbers are right and in order, the shape is not: a keepdims too many or "
                   "too few, or a reshape that is missing")
        elif _close(np.sort(g, axis=None), np.sort(e, axis=None)):
            yield ("the numbers are right, in another order and shape: which axis runs fastest? "
                   "A transpose has to come before the reshape")


def _orders_of_axes(g: np.ndarray, e: np.ndarray) -> Iterator[tuple[int, ...]]:
    """The orders of axes, other than their own, in which the expected array is the result."""
    if not g.ndim == e.ndim <= 4:
        return
    for order in itertools.permutations(range(e.ndim)):
        # (n0, n1, ...) -> (n of axis order[0], n of axis order[1], ...)
        if order != tuple(range(e.ndim)) and _close(g, e.transpose(order)):
            yield order


def _sums(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    """Summed over an axis more or less than asked for."""
    # Summing the larger of the two over some axes gives the smaller one: which axes? Four axes
    # have fifteen subsets, and each is tried.
    for more, less, few in ((g, e, True), (e, g, False)):
        for count in range(1, more.ndim + 1):
            for axes in itertools.combinations(range(more.ndim), count):
                if not less.size or not more.size:
                    return
                for verb, reduced in (("sum", more.sum(axis=axes)),
                                      ("mean", more.mean(axis=axes))):
                    if reduced.size == less.size and _close(reduced.ravel(), less.ravel()):
                        named = "axis " + " and ".join(map(str, axes))
                        if few:
                            yield (f"summed over too little: the {verb} of your result over "
                                   f"{named} is the expected one")
                        elif verb == "sum":
                            yield (f"summed over too much: {named} of the result should stay")
                        else:
                            yield f"{named} of the result should stay; you took the mean over it"


def _size(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    if g.ndim != e.ndim:
        yield (f"the result should have {e.ndim} ax{'e' if e.ndim != 1 else 'i'}s and has "
               f"{g.ndim}: a sum or an index takes an axis away unless it keeps it (keepdims)")
        return
    wrong = [i for i, (a, b) in enumerate(zip(g.shape, e.shape, strict=True)) if a != b]
    if sorted(g.shape) == sorted(e.shape):
        yield "the sizes are right, in another order: the axes are exchanged"
    elif g.ndim == 4 and set(wrong) <= {2, 3}:
        names = " and ".join("height" if i == 2 else "width" for i in wrong)
        yield (f"the {names} is wrong: is its size computed from the other axis, or rounded the "
               "other way?" if len(wrong) == 1 else
               f"the {names} are wrong: how are the sizes rounded, and what do they count?")
    else:
        yield ("wrong along axis " + " and ".join(map(str, wrong))
               + ": an axis was stretched, kept or cut that should not have been")


# The same shape

def _nans(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    bad = ~np.isfinite(g) & np.isfinite(e)
    if not bad.any():
        return
    largest = max((float(np.abs(a).max(initial=0)) for a in map(_array, arguments.values())
                   if a is not None), default=0.0)
    what = "nan" if np.isnan(g[bad]).all() else "inf"
    if not np.isnan(g[bad]).all() and np.isnan(g[bad]).any():
        what = "nan and inf"
    reason = ("inf - inf, inf / inf, 0 / 0 or the logarithm of 0 comes to that: something "
              "overflowed or became 0 before")
    if largest > 700:
        reason = (f"values up to {largest:g} came in, and exp of more than 709 is inf, of less "
                  "than -745 it is 0; inf / inf and 0 * log 0 are nan. Subtract the largest of "
                  "each row before exp, and take no logarithm of a probability")
    yield f"{bad.sum()} of {g.size} are {what} where a number should be: {reason}"


def _constants(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    """Nothing but one number, or one of the arguments."""
    if g.size > 1 and np.all(g == g.flat[0]):
        # not where numbers that differ hardly at all came out with a factor: `_multiples` says so
        if not g.any() or _ratio(g, e) is None or not np.ptp(e):
            yield f"every number is {g.flat[0]:g}" + (": nothing was written into the result"
                                                      if not g.any() else "")
    for name, value in arguments.items():
        a = _array(value)
        if a is not None and a.shape == g.shape and a.ndim and _close(g, a):
            yield f"the result is {name} as it came in"


def _ratio(a: np.ndarray, b: np.ndarray) -> float | None:
    """c, where a = c b with one c for all; None otherwise."""
    there = b != 0
    if not there.any() or not np.isfinite(a).all():
        return None
    # the median, since a quotient of two small numbers may be off by rounding
    c = float(np.median(a[there] / b[there]))
    if not np.isfinite(c) or c == 0 or not _close(a, c * b):
        return None
    return c


def _quantities(arguments: dict) -> Iterator[tuple[str, float]]:
    """Numbers that a factor may be, with their names."""
    yield from _settings(arguments)
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            yield from _sizes(name, value.shape)
    yield "ln 2", math.log(2)
    yield "ln 10", math.log(10)


def _settings(arguments: dict) -> Iterator[tuple[str, float]]:
    """The arguments that are numbers, and what formulas make of them."""
    for name, value in arguments.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and value:
            yield name, float(value)
            if 0 < value < 1:
                yield f"1 - {name}", 1 - float(value)
            if isinstance(value, int):
                yield f"{name}^2", float(value) ** 2


def _sizes(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """How many elements an array has along one axis or several: N, C, ..., N C H W."""
    letters = _letters(name, len(shape))
    if len(letters) < len(shape):
        return
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            size = math.prod(shape[i] for i in axes)
            label = " ".join(letters[i] for i in axes)
            what = {"N": "N, the batch size"}.get(label, label)
            yield f"{what} of {name}", float(size)


def _letters(name: str, ndim: int) -> tuple[str, ...]:
    """What the lessons call the axes of an argument."""
    if name == "w":
        return "O", "C", "KH", "KW"
    if name == "gy" and ndim == 4:
        return "N", "O", "OH", "OW"
    if ndim == 4:
        return "N", "C", "H", "W"
    if ndim == 2:
        return "N", "K"
    return ("the length",)


def _factor(c: float, arguments: dict) -> str:
    """Which quantity of this case the factor is: all that fit are told."""
    fits = []
    for name, value in _quantities(arguments):
        if value in (1.0, -1.0):
            continue
        if math.isclose(abs(c), value, rel_tol=1e-6):
            fits.append(name)
        elif math.isclose(abs(c), 1 / value, rel_tol=1e-6):
            fits.append(f"1 / ({name})")
    # all of them: where N and KH are both 3, only the learner can tell which it is
    fits = list(dict.fromkeys(fits))[:4]
    return (", which is here " + " or ".join(fits)) if fits else ""


def _multiples(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    """A constant times the expected, or a power of it."""
    c = _ratio(g, e)
    if c is not None and not np.ptp(e) and not _factor(c, arguments):
        c = None  # one number has a ratio to any other
    if c is not None:
        if math.isclose(c, -1, rel_tol=1e-6):
            yield "the sign of every number is wrong"
        else:
            sign = " and the sign is wrong" if c < 0 else ""
            yield (f"each number is {abs(c):.6g} times the expected one"
                   f"{_factor(c, arguments)}{sign}")
    if (g > 0).all() and (e > 0).all() and g.size > 2:
        q = np.log(g) / np.log(e)  # g = e^q
        q = q[np.abs(np.log(e)) > 1e-6]  # 1 to any power is 1 and tells nothing
        if q.size > 2 and np.allclose(q, q[0], rtol=1e-6) and abs(q[0] - 1) > 1e-6:
            power = _factor(float(q[0]), arguments)
            yield f"each number is the expected one to the power of {q[0]:.6g}{power}"


def _with_argument(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    """A multiple of an argument was added; or multiplied in, to some power."""
    # what was added to the right result, number by number
    off = g - e
    if g.size > 1 and np.all(off != 0) and np.allclose(off, off.flat[0], rtol=1e-6, atol=0):
        yield f"every number is {off.flat[0]:+.6g} off"
    for name, value in arguments.items():
        a = _array(value)
        if a is None or not a.ndim:
            continue
        if a.shape == g.shape and g.size > 1:
            c = _ratio(off, a)
            if c is not None:
                yield (f"the result is the expected one {'plus' if c > 0 else 'minus'} "
                       f"{abs(c):.6g} times {name}{_factor(c, arguments)}: does it start from "
                       f"{name} in place of zeros, or is a term of it too many or missing?")
            yield from _product(g, e, name, a)
        if a.ndim == 1 and g.ndim == 4 and len(a) == g.shape[1]:
            yield from _per_channel(off, name, a)


def _per_channel(off: np.ndarray, name: str, a: np.ndarray) -> Iterator[str]:
    """The difference is a multiple of an argument with one number per channel: a bias."""
    # (C,) -> (C, 1, 1) -> (N, C, H, W)
    c = _ratio(off, np.broadcast_to(a[:, None, None], off.shape))
    if c is not None:
        yield (f"each map is off by {c:+.4g} times its number in {name}: added "
               f"{'not at all' if math.isclose(c, -1) else 'too often'}?")


def _product(g: np.ndarray, e: np.ndarray, name: str, a: np.ndarray) -> Iterator[str]:
    """The result is the expected one times a power of argument `a`, number by number."""
    if not ((np.abs(a) > 1e-12).all() and (e != 0).all() and g.size > 2):
        return
    r = g / e
    if (a > 0).all() and (r > 0).all():
        q = np.log(r) / np.log(a)  # g = e a^q
        if np.allclose(q, q.flat[0], rtol=1e-6) and abs(q.flat[0]) > 1e-9:
            yield f"each number is the expected one times {name} to the power of {q.flat[0]:.4g}"
            return
    for power, words in ((1, "times"), (-1, "divided by")):
        c = _ratio(r, a ** power)
        if c is not None:
            factor = f"{c:.4g} times " if not math.isclose(c, 1, rel_tol=1e-6) else ""
            yield f"each number is {factor}the expected one {words} {name}"


def _turned(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    """The right numbers in wrong places."""
    if g.ndim == 0 or g.size < 2:
        return
    yield from _reversed(g, e)
    for order in _orders_of_axes(g, e):
        yield (f"the result is transposed: its axes are in the order {order} of the "
               "expected one's")
    yield from _shifted(g, e)
    for axis in range(g.ndim):
        numbers = _slices(g, e, axis)
        if numbers is not None:
            yield (f"the right slices along axis {axis} in a wrong order: yours are number "
                   f"{', '.join(map(str, numbers))}")
    if _close(np.sort(g, axis=None), np.sort(e, axis=None)):
        yield ("the right numbers in wrong places: which axis runs fastest? A transpose has to "
               "come before a reshape")
    if _close(np.abs(g), np.abs(e)):
        yield "only signs are wrong"


def _reversed(g: np.ndarray, e: np.ndarray) -> Iterator[str]:
    if g.ndim >= 2 and _close(g, e[..., ::-1, ::-1]):
        yield "the last two axes are turned by 180 degrees"
    for axis in range(g.ndim):
        if e.shape[axis] > 1 and _close(g, np.flip(e, axis)):
            yield f"axis {axis} is in reverse order"


def _shifted(g: np.ndarray, e: np.ndarray) -> Iterator[str]:
    """What leaves an axis at one end comes in again at the other, as np.roll does it."""
    for axis in range(g.ndim):
        for shift in range(1, min(e.shape[axis], 8)):  # nobody is off by more
            for s in (shift, -shift):
                if np.abs(e).sum() and _close(g, np.roll(e, s, axis)):
                    yield f"everything is shifted by {s:+d} along axis {axis}"


def _slices(g: np.ndarray, e: np.ndarray, axis: int) -> list[int] | None:
    """The numbers of the expected slices along an axis that the result has, if it is a permutation
    or a repetition of them."""
    n = e.shape[axis]
    if not 1 < n <= 64:
        return None
    gs = np.moveaxis(g, axis, 0)
    es = np.moveaxis(e, axis, 0)
    order = []
    for i in range(n):
        j = next((j for j in range(n) if _close(gs[i], es[j])), None)
        if j is None:
            return None
        order.append(j)
    return order


def _rounded(g: np.ndarray, e: np.ndarray, arguments: dict) -> Iterator[str]:
    if g.ndim == 0 and float(g).is_integer() and float(e).is_integer():
        off = int(g - e)
        if abs(off) <= 2:
            yield (f"{abs(off)} too {'many' if off > 0 else 'few'}: does the rounding go the "
                   "other way, or is the first or last one counted twice or not at all?")
    elif _close(g, np.floor(e)) or _close(g, np.round(e)):
        yield "the numbers are rounded to whole ones: is there an integer array, or a //?"


_of_shape: tuple[Callable[..., Iterator[str]], ...] = (_border, _axes, _sums, _size)
_of_values: tuple[Callable[..., Iterator[str]], ...] = (
    _nans, _constants, _multiples, _turned, _rounded, _with_argument)


# Where it is wrong

def _where(g: np.ndarray, e: np.ndarray, arguments: dict, passed: list[str]) -> str:
    """Which part is right, where the wrong part has no simple rule."""
    if g.shape != e.shape:
        return ""
    scale = float(np.abs(e[np.isfinite(e)]).max(initial=0))
    wrong = np.asarray(~np.isclose(g, e, rtol=1e-6, atol=1e-9 * scale, equal_nan=True))
    parts = [*_ties(wrong, arguments, passed), *_slabs(wrong), *_amounts(g, e, wrong)]
    return "; ".join(parts[:3])


def _ties(wrong: np.ndarray, arguments: dict, passed: list[str]) -> Iterator[str]:
    x = _array(arguments.get("x"))
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
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        bad = np.asarray(wrong.any(axis=others))
        if n == 1 or bad.all() or not bad.any():
            continue
        what = names.get(wrong.ndim, ())[axis:axis + 1]
        name = what[0] if what else f"index of axis {axis},"
        text = _slab(name, bad)
        if text:
            yield text


def _slab(name: str, bad: np.ndarray) -> str:
    """Which indices of one axis are bad, some and not all of them; "" when there is no pattern."""
    n = len(bad)
    where = [i for i in range(n) if bad[i]]
    # the patterns that name a cause come first, a bare list of indices last
    if n > 3 and where == [0, n - 1]:
        return f"only the first and the last {name} are wrong: what happens at the edge?"
    if where == [0] or where == [n - 1]:
        return f"only the {'first' if where == [0] else 'last'} {name} is wrong"
    if not bad[0] and bad[1:].all():
        return f"the first {name} is right, all others are wrong"
    if len(where) <= 6:
        return f"wrong are the {name}s {', '.join(map(str, where))} of {n} (counted from 0)"
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
        c = _ratio(bad, right)
        total = float(g.sum())
        wanted = float(e.sum())
        if c is not None:
            yield f"where it is wrong, each number is {c:.6g} times the expected one"
        elif math.isclose(total, wanted, rel_tol=1e-9) and abs(wanted) > 1e-9:
            yield "the sum of all is right, but it is distributed wrongly"
        elif not g.any():
            yield "all numbers are 0"
