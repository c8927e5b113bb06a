"""Wrong numbers in the right shape: which formula leads from the right ones to them?"""
import math
from collections.abc import Iterator

import numpy as np

from .numbers import Arguments, are_close, as_array, ratio
from .quantities import name_factor


def find_nans(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """A number that is none, where the expected one is finite."""
    bad = ~np.isfinite(g) & np.isfinite(e)
    if not bad.any():
        return
    largest = max((float(np.abs(a).max(initial=0)) for a in map(as_array, arguments.values())
                   if a is not None), default=0.0)
    is_nan = np.isnan(g[bad])
    what = "nan" if is_nan.all() else "inf"
    if is_nan.any() and not is_nan.all():
        what = "nan and inf"
    reason = ("inf - inf, inf / inf, 0 / 0 or the logarithm of 0 comes to that: something "
              "overflowed or became 0 before")
    if largest > 700:  # e^709.8 is the largest float64
        reason = (f"values up to {largest:g} came in, and exp of more than 709 is inf, of less "
                  "than -745 it is 0; inf / inf and 0 * log 0 are nan. Subtract the largest of "
                  "each row before exp, and take no logarithm of a probability")
    yield f"{bad.sum()} of {g.size} are {what} where a number should be: {reason}"


def find_constants(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """Nothing but one number, or one of the arguments."""
    if g.size > 1 and np.all(g == g.flat[0]):
        # not where numbers that hardly differ came out with a factor: `find_multiples` says so
        if not g.any() or ratio(g, e) is None or not np.ptp(e):
            yield f"every number is {g.flat[0]:g}" + (": nothing was written into the result"
                                                      if not g.any() else "")
    for name, value in arguments.items():
        a = as_array(value)
        if a is not None and a.shape == g.shape and a.ndim and are_close(g, a):
            yield f"the result is {name} as it came in"


def find_multiples(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """The expected one times a constant, or to some power."""
    c = ratio(g, e)
    if c is not None and not np.ptp(e) and not name_factor(c, arguments):
        c = None  # one number has a ratio to any other
    if c is not None:
        if math.isclose(c, -1, rel_tol=1e-6):
            yield "the sign of every number is wrong"
        else:
            sign = " and the sign is wrong" if c < 0 else ""
            yield (f"each number is {abs(c):.6g} times the expected one"
                   f"{name_factor(c, arguments)}{sign}")
    # A power needs three numbers: through two of them goes some curve of any kind.
    if (g > 0).all() and (e > 0).all() and g.size > 2:
        q = np.log(g) / np.log(e)  # g = e^q
        q = q[np.abs(np.log(e)) > 1e-6]  # 1 to any power is 1 and tells nothing
        if q.size > 2 and np.allclose(q, q[0], rtol=1e-6) and abs(q[0] - 1) > 1e-6:
            power = name_factor(float(q[0]), arguments)
            yield f"each number is the expected one to the power of {q[0]:.6g}{power}"


def find_argument(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """A multiple of an argument was added; or multiplied in, to some power."""
    # what was added to the right result, number by number
    off = g - e
    if g.size > 1 and np.all(off != 0) and np.allclose(off, off.flat[0], rtol=1e-6, atol=0):
        yield f"every number is {off.flat[0]:+.6g} off"
    for name, value in arguments.items():
        a = as_array(value)
        if a is None or not a.ndim:
            continue
        if a.shape == g.shape and g.size > 1:
            c = ratio(off, a)
            if c is not None:
                yield (f"the result is the expected one {'plus' if c > 0 else 'minus'} "
                       f"{abs(c):.6g} times {name}{name_factor(c, arguments)}: does it start from "
                       f"{name} in place of zeros, or is a term of it too many or missing?")
            yield from _product(g, e, name, a)
        if a.ndim == 1 and g.ndim == 4 and len(a) == g.shape[1]:
            yield from _per_channel(off, name, a)


def _per_channel(off: np.ndarray, name: str, a: np.ndarray) -> Iterator[str]:
    """The difference is a multiple of an argument with one number per channel: a bias."""
    # (C,) -> (C, 1, 1) -> (N, C, H, W)
    c = ratio(off, np.broadcast_to(a[:, None, None], off.shape))
    if c is not None:
        yield (f"each map is off by {c:+.4g} times its number in {name}: added "
               f"{'not at all' if math.isclose(c, -1) else 'too often'}?")


def _product(g: np.ndarray, e: np.ndarray, name: str, a: np.ndarray) -> Iterator[str]:
    """The result is the expected one times a power of argument `a`, number by number."""
    if not ((np.abs(a) > 1e-12).all() and (e != 0).all() and g.size > 2):
        return
    r = g / e  # what the result was multiplied by, number by number
    if (a > 0).all() and (r > 0).all():
        q = np.log(r) / np.log(a)  # g = e a^q
        if np.allclose(q, q.flat[0], rtol=1e-6) and abs(q.flat[0]) > 1e-9:
            yield f"each number is the expected one times {name} to the power of {q.flat[0]:.4g}"
            return
    for power, words in ((1, "times"), (-1, "divided by")):
        c = ratio(r, a ** power)
        if c is not None:
            times = f"{c:.4g} times " if not math.isclose(c, 1, rel_tol=1e-6) else ""
            yield f"each number is {times}the expected one {words} {name}"


def find_rounding(g: np.ndarray, e: np.ndarray, arguments: Arguments) -> Iterator[str]:
    """Whole numbers in place of others, or a count that is off by one or two."""
    if g.ndim == 0 and float(g).is_integer() and float(e).is_integer():
        off = int(g - e)
        if abs(off) <= 2:
            yield (f"{abs(off)} too {'many' if off > 0 else 'few'}: does the rounding go the "
                   "other way, or is the first or last one counted twice or not at all?")
    elif are_close(g, np.floor(e)) or are_close(g, np.round(e)):
        yield "the numbers are rounded to whole ones: is there an integer array, or a //?"
