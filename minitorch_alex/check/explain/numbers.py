"""Results as arrays of float64, and when two of them are equal or multiples of each other."""
from typing import Any

import numpy as np

Arguments = dict[str, Any]  # of the learner's function in the case, by name


def as_array(value: Any) -> np.ndarray | None:
    """The value as float64; None when it is not made of numbers."""
    try:
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype.kind in "biuf" else None
    except (TypeError, ValueError):
        return None


def are_close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same up to rounding."""
    if a.shape != b.shape:
        return False
    finite = b[np.isfinite(b)]
    # the absolute tolerance grows with the numbers: a 0 among thousands comes out as 1e-13
    scale = float(np.abs(finite).max(initial=0))
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9 * scale, equal_nan=True))


def ratio(a: np.ndarray, b: np.ndarray) -> float | None:
    """c, where a = c b with one c for all; None otherwise."""
    there = b != 0
    if not there.any() or not np.isfinite(a).all():
        return None
    # the median, since a quotient of two small numbers may be off by rounding
    c = float(np.median(a[there] / b[there]))
    if not np.isfinite(c) or c == 0 or not are_close(a, c * b):
        return None
    return c
