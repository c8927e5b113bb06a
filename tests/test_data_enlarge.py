"""Enlarging small images: against the formula, and against itself in two sizes."""
import numpy as np
import pytest

from minitorch_alex.data import Transform
from minitorch_alex.data.enlarge import PRECISION_BITS, bilinear_taps, enlarge, enlarge_mean
from minitorch_alex.errors import ShapeError, UsageError
from minitorch_alex.models import Recipe


def images(N=3, H=5, W=7):
    return np.random.default_rng(0).integers(0, 256, (N, H, W, 3), dtype=np.uint8)


def axis_matrix(pixels, size):
    """(size, pixels): the weights of the formula, output i lying at (i + 1/2) pixels/size - 1/2."""
    matrix = np.zeros((size, pixels))
    for i in range(size):
        at = (i + 0.5) * pixels / size - 0.5
        low = int(np.floor(at))
        for pixel, weight in ((low, low + 1 - at), (low + 1, at - low)):
            matrix[i, min(max(pixel, 0), pixels - 1)] += weight
    return matrix


SIZES = pytest.mark.parametrize("H, W, size", ((5, 7, 9), (32, 32, 256), (1, 3, 8), (28, 20, 31), (2, 2, 3), (6, 6, 6)))


@SIZES
def test_enlarging_is_the_formula_but_for_two_roundings(H, W, size):
    x = images(2, H, W)
    want = np.einsum("ih,jw,nhwc->nijc", axis_matrix(H, size), axis_matrix(W, size), x.astype(float))
    assert np.abs(enlarge(x, size) - want).max() <= 1.0
    mean = x[0] + np.float32(0.25)
    want = np.einsum("ih,jw,hwc->ijc", axis_matrix(H, size), axis_matrix(W, size), mean.astype(float))
    assert np.abs(enlarge_mean(mean, size) - want).max() < 1e-3


@SIZES
def test_the_taps_in_whole_numbers_give_the_very_bytes(H, W, size):
    """What kernels.gpu.enlarge computes, which needs Pillow's weights to the last bit."""
    x = images(2, H, W).astype(np.int64)
    (top, row_weights), (left, column_weights) = bilinear_taps(H, size), bilinear_taps(W, size)
    half = 1 << (PRECISION_BITS - 1)
    right, below = np.minimum(left + 1, W - 1), np.minimum(top + 1, H - 1)
    a, b = column_weights.T[:, :, None]
    rows = (x[:, :, left] * a + x[:, :, right] * b + half) >> PRECISION_BITS
    a, b = row_weights.T[:, :, None, None]
    got = (rows[:, top] * a + rows[:, below] * b + half) >> PRECISION_BITS
    assert np.array_equal(got, enlarge(images(2, H, W), size))


def test_one_colour_stays_that_colour_and_order_stays_order():
    plain = np.full((1, 4, 4, 3), 201, np.uint8)
    assert (enlarge(plain, 11) == 201).all()
    ramp = np.arange(0, 250, 50, dtype=np.uint8)[None, None, :, None].repeat(3, axis=3)
    assert (np.diff(enlarge(ramp, 20)[0, 0, :, 0].astype(int)) >= 0).all()


def test_a_transform_enlarges_before_it_crops():
    x = images(4, 8, 8)
    transform = Transform(x.mean(axis=0).astype(np.float32), crop=10, flip=True, enlarge=12)
    large = Transform(transform.mean, crop=10, flip=True)
    assert transform.mean.shape == (12, 12, 3) and transform.window(8, 8) == (10, 10)
    for seed in range(3):
        got = transform(x, np.random.default_rng(seed))
        assert np.array_equal(got, large(enlarge(x, 12), np.random.default_rng(seed)))
    assert np.array_equal(transform.eval()(x), large.eval()(enlarge(x, 12)))
    for kind, views in (("single", 1), ("nine", 9), ("ten", 10)):
        got = transform.views(x, kind)
        assert got.shape == (views, 4, 10, 10, 3) and np.array_equal(got, large.views(enlarge(x, 12), kind))


def test_what_cannot_be_is_refused():
    with pytest.raises(ShapeError, match="cannot enlarge images of 5x7 to 6x6; the size must be at least 7"):
        enlarge(images(), 6)
    with pytest.raises(ShapeError, match="cannot enlarge images of 8x8 to 6x6"):
        Transform(enlarge=6).eval()(images(2, 8, 8))
    with pytest.raises(UsageError, match="enlarge must be 0 or more, got -1"):
        Recipe(epochs=1, lr=0.1, enlarge=-1)
