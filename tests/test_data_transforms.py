"""Transforms against loops, numpy.linalg and the conventions of the 2012 code."""
import numpy as np
import pytest
from PIL import Image

from minitorch_alex.data import (
    ColorPCA,
    Transform,
    center_crop,
    fit_pca,
    horizontal_flip,
    nine_crop,
    pca_color,
    random_crop,
    resize_short_side,
    subtract_mean,
    ten_crop,
)
from minitorch_alex.data.transforms import add_color, crop, flip
from minitorch_alex.errors import ShapeError


def rng(seed=0):
    return np.random.default_rng(seed)


def batch(n=6, size=8, dtype=np.uint8):
    return rng().integers(0, 256, (n, size, size, 3)).astype(dtype)


def coordinates(n, size):
    """Images whose every pixel says where it is: (row, column, image)."""
    images = np.empty((n, size, size, 3), np.uint8)
    images[..., 0], images[..., 1] = np.mgrid[:size, :size]
    images[..., 2] = np.arange(n)[:, None, None]
    return images


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crop_is_the_loop(dtype):
    x, rows, cols = batch(dtype=dtype), rng(1).integers(0, 4, 6), rng(2).integers(0, 4, 6)
    expected = np.stack([x[i, r:r + 5, c:c + 5] for i, (r, c) in enumerate(zip(rows, cols, strict=True))])
    for images in (x, np.asfortranarray(x)):
        got = crop(images, rows, cols, 5)
        assert (got == expected).all() and got.dtype == dtype and got.flags.c_contiguous
    assert not np.shares_memory(crop(x, rows * 0, cols * 0, 8), x)


# 9 x 9 places, and 33 x 33: as many as from 256 to 224.
@pytest.mark.parametrize("size, to, draws", [(32, 24, 20), (40, 8, 300)])
def test_random_crop_covers_every_position_evenly(size, to, draws):
    x, r, places = coordinates(64, size), rng(), (size - to + 1) ** 2
    seen = np.concatenate([random_crop(x, to, r)[:, 0, 0] for _ in range(draws)])
    counts = np.zeros((size - to + 1,) * 2, int)
    np.add.at(counts, (seen[:, 0], seen[:, 1]), 1)
    assert counts.size == places and (counts > 0).all()
    # Pearson's statistic of a fair draw is within 5 standard deviations of its degrees of freedom.
    mean = counts.sum() / places
    assert abs(((counts - mean) ** 2 / mean).sum() - places) < 5 * np.sqrt(2 * places)


def test_random_crop_draws_for_each_image():
    assert len({tuple(c) for c in random_crop(coordinates(100, 32), 24, rng())[:, 0, 0, :2]}) > 30


def test_random_crop_with_a_border():
    x = coordinates(200, 32) + np.uint8(1)
    y = random_crop(x, 32, rng(), pad=4)
    assert y.shape == x.shape
    padded = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    places = set()
    for i in range(len(x)):
        match = [(r, c) for r in range(9) for c in range(9)
                 if (padded[i, r:r + 32, c:c + 32] == y[i]).all()]
        assert len(match) == 1
        places.add(match[0])
    assert len(places) > 60


@pytest.mark.parametrize("size, to, start", [(8, 5, 1), (8, 4, 2), (32, 24, 4), (7, 7, 0)])
def test_center_crop(size, to, start):
    x = coordinates(2, size)
    assert (center_crop(x, to) == x[:, start:start + to, start:start + to]).all()


@pytest.mark.parametrize("call", [
    lambda x: random_crop(x, 9, rng()), lambda x: center_crop(x, 9), lambda x: ten_crop(x, 9),
    lambda x: nine_crop(x, 0), lambda x: crop(x, np.zeros(6, int), np.zeros(6, int), 9)])
def test_windows_that_do_not_fit(call):
    with pytest.raises(ShapeError, match=r"cannot crop \dx\d out of images of 8x8"):
        call(batch())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flip_mirrors_columns_and_keeps_colours(dtype):
    x, which = batch(dtype=dtype), np.array([1, 0, 0, 1, 1, 0], bool)
    original, y = x.copy(), flip(x, which)
    assert (y[which] == x[which][:, :, ::-1]).all() and (y[~which] == x[~which]).all()
    assert y.dtype == dtype and (x == original).all()
    assert (flip(y, which) == x).all()


def test_half_of_the_images_are_flipped():
    x = coordinates(2000, 4)
    flipped = horizontal_flip(x, rng())[:, 0, 0, 1] == 3
    assert abs(flipped.mean() - 0.5) < 0.05


def test_the_central_window_of_the_mean_is_subtracted():
    mean = rng(3).random((8, 8, 3)).astype(np.float32)
    x = batch(size=5)
    y = subtract_mean(x, mean)
    assert y.dtype == np.float32 and (y == x - mean[1:6, 1:6]).all()
    assert (subtract_mean(np.stack([x, x]), mean)[1] == y).all()
    with pytest.raises(ShapeError, match="larger than the mean image of 8x8"):
        subtract_mean(batch(size=9), mean)


def test_fit_pca_is_the_eigensystem_of_the_pixels_covariance():
    x = rng().integers(0, 200, (700, 20, 20, 3)).astype(np.uint8)  # more than one chunk of pixels
    x[..., 1] //= 2
    x[..., 2] = x[..., 0] // 4 + x[..., 1]
    values, vectors = fit_pca(x)
    covariance = np.cov(x.reshape(-1, 3).T.astype(float), bias=True)
    assert np.allclose(values, np.linalg.eigvalsh(covariance)[::-1])
    assert np.allclose(vectors * values @ vectors.T, covariance)
    assert np.allclose(vectors.T @ vectors, np.eye(3))
    assert all(column[np.abs(column).argmax()] > 0 for column in vectors.T)


# The standard deviations and axes that the authors' own ImageNet batches carry (cuda-convnet2, input_meta).
IMAGENET = ColorPCA(np.array([121.7801, 37.0939, 19.7208]) ** 2, np.array([
    [-.56351045, -.71257945, .41795513],
    [-.5761844, -.02354167, -.81698062],
    [-.59200296, .70119634, .39731118]]))


def test_color_by_the_source_and_by_the_paper():
    x = np.full((2, 4, 4, 3), 11, np.float32)
    draws = np.array([[1.0, 0, 0], [0, -2.0, 0.5]])
    source = add_color(x, IMAGENET, draws)
    paper = add_color(x, IMAGENET, draws, "paper")
    deviations, V = np.sqrt(IMAGENET.eigenvalues), IMAGENET.eigenvectors
    for i in range(2):
        assert np.allclose(source[i], (11 + V @ (deviations * draws[i] * 0.1)) / 1.1, atol=1e-5)
        on_unit_scale = V @ (IMAGENET.eigenvalues / 255 ** 2 * draws[i] * 0.1)
        assert np.allclose(paper[i], 11 + 255 * on_unit_scale, atol=1e-5)
    assert np.linalg.norm(source[0, 0, 0] * 1.1 - 11) == pytest.approx(12.18, abs=0.01)
    assert np.linalg.norm(paper[0, 0, 0] - 11) == pytest.approx(5.82, abs=0.01)
    assert source.dtype == paper.dtype == np.float32 and (x == 11).all()
    with pytest.raises(ValueError, match="expected 'source', 'variance' or 'paper'"):
        add_color(x, IMAGENET, draws, "torch")


def test_color_is_one_draw_for_each_image():
    shift = pca_color(np.zeros((4000, 2, 2, 3), np.float32), IMAGENET, rng()) * 1.1
    assert (shift == shift[:, :1, :1]).all()
    along = shift[:, 0, 0] @ IMAGENET.eigenvectors
    assert np.allclose(along.std(0), 0.1 * np.sqrt(IMAGENET.eigenvalues), rtol=0.05)
    assert np.allclose(along.mean(0), 0, atol=0.6)


def test_ten_crop_order():
    x = coordinates(3, 8)
    y = ten_crop(x, 6)
    assert y.shape == (10, 3, 6, 6, 3)
    assert y[:5, 2, 0, 0, :2].tolist() == [[0, 0], [0, 2], [2, 0], [2, 2], [1, 1]]
    assert (y[5:] == y[:5, :, :, ::-1]).all() and (y[4] == center_crop(x, 6)).all()


def test_nine_crop_order():
    y = nine_crop(coordinates(2, 32), 24)
    assert y[:, 1, 0, 0, :2].tolist() == [[r, c] for r in (0, 4, 8) for c in (0, 4, 8)]


@pytest.mark.parametrize("size, expected", [((500, 375), (341, 256)), ((375, 500), (256, 341)),
                                            ((100, 50), (512, 256)), ((256, 256), (256, 256))])
def test_resize_short_side(size, expected):
    assert resize_short_side(Image.new("RGB", size, (10, 20, 30)), 256).size == expected


def test_shrinking_averages():
    board = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    assert np.abs(np.asarray(resize_short_side(board, 32)).astype(int) - 127).max() <= 1


def test_transform_is_its_parts_in_the_order_of_the_2012_code():
    x, mean = batch(16), rng(5).random((8, 8, 3)).astype(np.float32)
    transform = Transform(mean, crop=6, flip=True, pca=IMAGENET)
    r = rng(9)
    expected = pca_color(subtract_mean(horizontal_flip(random_crop(x, 6, r), r), mean), IMAGENET, r)
    got = transform(x, rng(9))
    assert (got == expected).all() and got.dtype == np.float32 and got.flags.c_contiguous


def test_transform_for_testing_needs_no_chance():
    x, mean = batch(), rng(5).random((8, 8, 3)).astype(np.float32)
    test = Transform(mean, crop=6, flip=True, pca=IMAGENET).eval()
    assert (test(x) == x[:, 1:7, 1:7] - mean[1:7, 1:7]).all()
    assert (test.views(x) == ten_crop(x, 6) - mean[1:7, 1:7]).all()
    assert test.views(x, "nine").shape == (9, 6, 6, 6, 3)


def test_transform_shifts_within_a_border():
    x, mean = batch(), np.zeros((8, 8, 3), np.float32)
    assert (Transform(mean, pad=2)(x, rng(4)) == random_crop(x, 8, rng(4), pad=2)).all()
    assert (Transform(mean, pad=2).eval()(x) == x).all()


def test_an_empty_transform_only_converts():
    x = batch()
    y = Transform()(x)
    assert y.dtype == np.float32 and (y == x).all()


def test_views_are_windows_of_what_training_crops_from():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    assert Transform(crop=6).views(images).shape == (10, 2, 6, 6, 3)
    assert Transform(crop=6).views(images, "nine").shape == (9, 2, 6, 6, 3)
    padded = Transform(pad=2).views(images)
    assert padded.shape == (10, 2, 8, 8, 3) and (padded[4] == images).all()  # the centre is the image itself
    assert (padded[0][:, :2] == 0).all() and (padded[0][:, 2:, 2:] == images[:, :6, :6]).all()
    whole = Transform().views(images)
    assert (whole[0] == images).all() and (whole[1] == images[:, :, ::-1]).all() and len(whole) == 2
    assert Transform().views(images, "nine").shape == (1, 2, 8, 8, 3)
