"""Whether two results are equal, and in what they differ."""
from typing import Any

import numpy as np


def difference(got: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-12) -> str:
    """What differs, in one line: the shape, the dtype or the first wrong index; "" if nothing."""
    if expected is None:
        return "" if got is None else f"expected None, got {type(got).__name__}"
    if got is None:
        return "nothing came back (None): is the return missing?"
    if isinstance(expected, tuple):
        return _difference_of_tuples(got, expected, rtol, atol)
    try:
        g = np.asarray(got)
    except ValueError as error:  # a list of lists of different lengths
        return f"the result is not an array: {error}"
    e = np.asarray(expected)
    if g.dtype == object or g.dtype.kind in "US":
        return f"expected an array of numbers, got {type(got).__name__}"
    if g.shape != e.shape:
        return f"expected shape {e.shape}, got {g.shape}"
    # whole numbers may be integers; True for 1.0, or a complex 1 + 0j, is a mistake
    integers_for_floats = g.dtype.kind in "iu" and e.dtype.kind in "iuf"
    if g.dtype.kind != e.dtype.kind and not integers_for_floats:
        return f"expected {e.dtype}, got {g.dtype}"
    wrong = ~np.isclose(g, e, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return ""
    if not g.ndim:  # a number has no index
        return f"got {g.item():.10g}, expected {e.item():.10g}"
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"first difference at index {index}: got {g[index]:.10g}, expected {e[index]:.10g} "
            f"({wrong.sum():,} of {g.size:,} differ)")


def _difference_of_tuples(got: Any, expected: tuple, rtol: float, atol: float) -> str:
    count = len(got) if isinstance(got, tuple | list) else "one"
    if count != len(expected):
        return f"expected {len(expected)} results, got {count}"
    for i, (g, e) in enumerate(zip(got, expected, strict=True), 1):
        if text := difference(g, e, rtol, atol):
            return f"result {i} of {len(expected)}: {text}"
    return ""


def near(got: Any, expected: Any) -> bool:
    """Whether numbers agree to about seven digits, those of float32."""
    if isinstance(expected, tuple):
        same_length = isinstance(got, tuple | list) and len(got) == len(expected)
        return same_length and all(map(near, got, expected))
    # float32 has 24 bits, so a sum is off by some 1e-7 of its largest term, small results included
    largest = float(np.abs(np.asarray(expected, np.float64)).max(initial=0))
    return not difference(got, expected, 1e-6, 1e-7 * largest)


def same_output(a: Any, b: Any) -> bool:
    """Whether two outputs are the same: arrays up to rounding, anything else exactly.

    A single number may have been rounded by the learner, so three digits have to agree.
    """
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same_output, a, b))
    try:
        x = np.asarray(a)
        y = np.asarray(b)
        if x.shape != y.shape:
            return False
        if x.dtype.kind not in "biufc" or y.dtype.kind not in "biufc":
            return bool(np.array_equal(x, y))
        # integers and arrays come out of the computer, a single float may have been typed in
        exact = x.ndim or x.dtype.kind + y.dtype.kind in ("ii", "bb")
        rtol = 1e-6 if exact else 1e-3
        return bool(np.allclose(x, y, rtol=rtol, atol=1e-9, equal_nan=True))
    except (TypeError, ValueError):  # not arrays at all: a dict, a ragged list
        return False
