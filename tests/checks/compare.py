"""Comparing arrays, and arrays to compare: the same numbers each time."""
import numpy as np


def assert_close(got, want, tolerance, what):
    """The largest error, relative to the largest value wanted (or to 1), is at most `tolerance`;
    shapes are equal."""
    got = np.asarray(got)
    want = np.asarray(want)
    assert got.shape == want.shape, f"{what}: got shape {got.shape}, expected {want.shape}"
    if got.size:
        scale = max(1.0, float(np.abs(want).max()))
        error = float(np.abs(got.astype(np.float64) - want).max()) / scale
        assert error <= tolerance, f"{what}: error {error:.3g}, allowed {tolerance:.3g}"


def normal(*shape, seed=0):
    """Standard normal numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def in_precision(value, dtype):
    """Floating arrays in `dtype`; everything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype)
    return value


def dot(a, b):
    """The inner product of two arrays of one shape."""
    assert a.shape == b.shape, f"{a.shape} and {b.shape}"
    return float((a * b).sum())
