"""Comparing arrays, and arrays to compare: the same numbers each time."""
import numpy as np

from minitorch_alex import backend


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


def same(got, want, what):
    """Equal to the bit, NaN at the same places."""
    got = backend.to_numpy(got)
    want = backend.to_numpy(want)
    assert got.dtype == want.dtype and np.array_equal(got, want, equal_nan=True), what


def normal(*shape, seed=0):
    """Standard normal numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def halved(*shape, dtype=np.float64):
    """What a ReLU gives: about half zeros. And a NaN, which a training that diverges would bring."""
    y = np.maximum(normal(*shape), 0).astype(dtype)
    y.reshape(-1)[-1] = np.nan
    return y


def in_precision(value, dtype):
    """Floating arrays in `dtype`; everything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype)
    return value


def dot(a, b):
    """The inner product of two arrays of one shape."""
    assert a.shape == b.shape, f"{a.shape} and {b.shape}"
    return float((a * b).sum())
