"""Cropping, flipping, colour noise and the mean image, for whole batches: arrays in, arrays out.

Letters: N images, H W their size, C = 3, V views. Images are NHWC, uint8 or float32, always on the
0..255 scale: that scale minus the mean image is the paper's recipe (section 2), not a choice of
units.

Each random transform is a pair: a pure function of its draws (`crop`, `flip`, `add_color`), and
one that makes the draws, one for each image in the order of the batch (`random_crop`,
`horizontal_flip`, `pca_color`). `Transform` joins them, and keeps drawing apart from applying:
`draw` makes the random choices, always on the host, and `apply` here or kernels.gpu.augment on a
device carries them out. So both back ends train on the same pixels.
"""
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import ShapeError, UsageError
from .enlarge import check_enlargement, enlarge, enlarge_mean

# Windows and mirror images.


def crop(images: np.ndarray, rows: np.ndarray, cols: np.ndarray, size: int) -> np.ndarray:
    """(N, size, size, C): the window of image i whose top left corner is (rows[i], cols[i])."""
    images = np.ascontiguousarray(images)
    N, H, W, C = images.shape
    _check_window(H, W, size)
    sn, sh, sw, sc = images.strides
    # All possible windows, as a view: [n, r, c] is the window of image n with the corner (r, c).
    # Picking N of them copies whole rows of size * C numbers, far faster than a loop over images.
    windows = as_strided(images, (N, H - size + 1, W - size + 1, size, size * C),
                         (sn, sh, sw, sh, sc), writeable=False)
    # (N, size, size*C) -> (N, size, size, C)
    return windows[np.arange(N), rows, cols].reshape(N, size, size, C)


def add_border(images: np.ndarray, pad: int) -> np.ndarray:
    """(N, H + 2 pad, W + 2 pad, C): the images in a border of zeros."""
    if not pad:
        return images
    N, H, W, C = images.shape
    out = np.zeros((N, H + 2 * pad, W + 2 * pad, C), images.dtype)
    out[:, pad:-pad, pad:-pad] = images
    return out


def random_crop(images: np.ndarray, size: int, rng: np.random.Generator,
                pad: int = 0) -> np.ndarray:
    """A size x size window at a random place of each image (paper, section 4.1), each place
    equally likely.

    From 256 to 224 there are 33 x 33 places, both ends included, as in the 2012 code; the paper
    counts 32 x 32. `pad` first adds a border of zeros: pad=4 keeps 32 x 32 and shifts by up to 4
    pixels, a later habit for CIFAR. Raises ShapeError when the window does not fit.
    """
    images = add_border(images, pad)
    N, H, W, _ = images.shape
    _check_window(H, W, size)
    rows = rng.integers(0, H - size + 1, N)
    cols = rng.integers(0, W - size + 1, N)
    return crop(images, rows, cols, size)


def center_crop(images: np.ndarray, size: int) -> np.ndarray:
    """The central size x size window of (N, H, W, C), a view. An odd border is smaller at the top
    and left. Raises ShapeError when the window does not fit."""
    H, W = images.shape[1:3]
    _check_window(H, W, size)
    top = (H - size) // 2
    left = (W - size) // 2
    return images[:, top:top + size, left:left + size]


def _check_window(height: int, width: int, size: int) -> None:
    if not 0 < size <= min(height, width):
        raise ShapeError(f"cannot crop {size}x{size} out of images of {height}x{width}")


def flip(images: np.ndarray, which: np.ndarray) -> np.ndarray:
    """A copy of the batch, mirrored left to right where `which` (N,) is true."""
    images = np.ascontiguousarray(images)
    # View a pixel of C numbers as one opaque item, so that NumPy moves pixels rather than numbers:
    # (N, H, W, C) -> (N, H, W, 1)
    pixels = images.view(np.dtype((np.void, images.itemsize * images.shape[3])))
    out = pixels.copy()
    out[which] = pixels[which][:, :, ::-1]
    return out.view(images.dtype)  # (N, H, W, 1) -> (N, H, W, C)


def horizontal_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror each image with probability 1/2 (paper, section 4.1)."""
    return flip(images, rng.random(len(images)) < 0.5)


def subtract_mean(images: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """images (..., h, w, C) minus the CENTRAL h x w window of the mean image (H, W, C), in
    float32.

    The central one wherever an image's own window was cut, and never mirrored: `data_mean_crop` of
    the 2012 code. Raises ShapeError when the images are larger than the mean image.
    """
    H, W = mean.shape[:2]
    h, w = images.shape[-3:-1]
    if h > H or w > W:
        raise ShapeError(f"images of {h}x{w} are larger than the mean image of {H}x{W}")
    top = (H - h) // 2
    left = (W - w) // 2
    window = np.ascontiguousarray(mean[top:top + h, left:left + w], dtype=np.float32)
    return np.subtract(images, window, dtype=np.float32)


# Colour noise.

# What images with a shifted colour are divided by, in each convention of `add_color`.
# Noise of a tenth of the width adds 0.01 to the variance, so sqrt(1.01) keeps the scale.
DIVISORS = {"source": 1.1, "paper": 1.0, "variance": sqrt(1.01)}


class ColorPCA(NamedTuple):
    """The main axes of the RGB pixels of a data set, on the 0..255 scale.

    eigenvalues   (3,), of the pixels' covariance, the largest first
    eigenvectors  (3, 3), one per column
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


def principal_axes(covariance: np.ndarray) -> ColorPCA:
    """Eigenvalues and eigenvectors of a covariance (3, 3).

    The sign of an eigenvector is arbitrary; here its largest entry is positive.
    """
    values, vectors = np.linalg.eigh(covariance)  # the smallest eigenvalue first
    values = np.maximum(values[::-1], 0)  # rounding can make a tiny one negative
    vectors = vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), range(3)]
    return ColorPCA(values, vectors * np.where(largest < 0, -1.0, 1.0))


def fit_pca(images: np.ndarray) -> ColorPCA:
    """The main axes of all pixels of a set (N, H, W, 3): of the whole training set (paper, section
    4.1), not image by image. The covariance is divided by the number of pixels."""
    pixels = images.reshape(-1, 3)  # (N, H, W, 3) -> (N*H*W, 3)
    total = np.zeros(3)
    product = np.zeros((3, 3))
    step = 1 << 18  # pixels at a time: float64 takes eight times the memory of bytes
    for start in range(0, len(pixels), step):
        part = pixels[start:start + step].astype(np.float64)
        total += part.sum(axis=0)
        product += part.T @ part
    mean = total / len(pixels)
    return principal_axes(product / len(pixels) - np.outer(mean, mean))


def add_color(images: np.ndarray, pca: ColorPCA, draws: np.ndarray,
              convention: str = "source") -> np.ndarray:
    """Shift all pixels of image i by one colour, made of draws[i], three standard normal numbers.

    "source"  x := (x + V (s * 0.1 draw)) / 1.1, with s = sqrt(eigenvalues) and x free of its
              mean: the released 2012 code (convdata.py). About 12 grey levels along the first
              axis of ImageNet. The divisor is there to keep the scale, and is too large for it.
    "variance" the same with the divisor that keeps the scale, sqrt(1.01).
    "paper"   x := x + V (l * 0.1 draw), with l = eigenvalues: the text of section 4.1. Its
              strength depends on the scale of the pixels; on 0..255 it would destroy the image.
              Read on the 0..1 scale, as later reimplementations did, it is l = eigenvalues / 255
              for 0..255. About 5.5 grey levels.

    Returns float32. Raises ValueError for any other convention.
    """
    return _shift_colors(images, color_shift(pca, draws, convention), DIVISORS[convention])


def color_shift(pca: ColorPCA, draws: np.ndarray, convention: str = "source") -> np.ndarray:
    """(N, 3) float32: the colour that `add_color` adds to each image, before it divides."""
    if convention not in DIVISORS:
        raise ValueError(f"convention {convention!r}: expected 'source', 'variance' or 'paper'")
    if convention != "paper":
        strength = np.sqrt(pca.eigenvalues)
    else:
        strength = pca.eigenvalues / 255
    return ((0.1 * draws * strength) @ pca.eigenvectors.T).astype(np.float32)


def _shift_colors(images: np.ndarray, shift: np.ndarray, divisor: float) -> np.ndarray:
    N, H, W, C = images.shape
    # (N, H, W, C) -> (N, H, W*C): whole rows of W*C numbers at once. Broadcasting along the three
    # channels alone is many times slower.
    out = images.reshape(N, H, W * C) + np.tile(shift, W)[:, None, :]
    if divisor != 1:
        out /= np.float32(divisor)
    return out.reshape(N, H, W, C)  # (N, H, W*C) -> (N, H, W, C)


def pca_color(images: np.ndarray, pca: ColorPCA, rng: np.random.Generator,
              convention: str = "source") -> np.ndarray:
    """`add_color` with a colour drawn for each image at each use (paper, section 4.1)."""
    return add_color(images, pca, rng.standard_normal((len(images), 3)), convention)


# Mixing.


def mix_images(x: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """0.75 of each image and 0.25 of its partner, where that is another one; labels stay.

    A trial of January 2013 (AlexNet-Source-Code, convdata_jpeg.py:248-259, commented out): "With
    5% chance, replace this chunk with the average of this chunk and some future chunk". There the
    partners are of the thousands of images of a file, here of the batch. x (N, H, W, C), partners
    (N,); float32.
    """
    mixed = np.flatnonzero(partners != np.arange(len(x)))
    out = x.copy()
    out[mixed] = np.float32(0.75) * x[mixed] + np.float32(0.25) * x[partners[mixed]]
    return out


# Test views.


def _view_windows(kind: str, height: int, width: int, size: int) -> list[tuple[int, int, bool]]:
    """(row, column, mirrored) of each window of the views "ten" or "nine"."""
    _check_window(height, width, size)
    bottom = height - size
    right = width - size
    if kind == "nine":
        return [(row, col, False) for row in (0, bottom // 2, bottom)
                for col in (0, right // 2, right)]
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [(row, col, mirrored) for mirrored in (False, True) for row, col in corners]


def _cut_views(images: np.ndarray, size: int, kind: str) -> np.ndarray:
    """(V, N, size, size, C)"""
    height, width = images.shape[1:3]
    views = []
    for row, col, mirrored in _view_windows(kind, height, width, size):
        view = images[:, row:row + size, col:col + size]
        views.append(view[:, :, ::-1] if mirrored else view)
    return np.stack(views)


def ten_crop(images: np.ndarray, size: int) -> np.ndarray:
    """(10, N, size, size, C): top left, top right, bottom left, bottom right, centre, then the
    five mirrored.

    The test of the paper (section 4.1), which averages the softmax outputs of the ten.
    """
    return _cut_views(images, size, "ten")


def nine_crop(images: np.ndarray, size: int) -> np.ndarray:
    """(9, N, size, size, C): a 3 x 3 grid of windows, row by row, none mirrored.

    The CIFAR test of the 2012 code (convdata_cifar.py).
    """
    return _cut_views(images, size, "nine")


# All of them together.


class Draws(NamedTuple):
    """The random choices for each of N images, made before a pixel moves.

    rows, cols   (N,) integers: the corner of its window, counted from the border; None: no window
    flips        (N,) bool: whether it is mirrored; None: none is
    shift        (N, 3) float32: the colour added to it (color_shift); None: no colour noise
    partners     (N,) integers: the image of the batch that it is mixed with, itself where it is
                 not; None: none is
    """

    rows: np.ndarray | None = None
    cols: np.ndarray | None = None
    flips: np.ndarray | None = None
    shift: np.ndarray | None = None
    partners: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Transform:
    """From a uint8 batch to the network's float32 input: enlarge, crop, flip, subtract the mean,
    shift the colour.

        train = Transform(train_set.mean_image(), crop=24, flip=True)
        x = train(images, rng)
        x = train.eval()(images)                    for testing: nothing is random

    mean        (H, W, 3), or None for no subtraction; enlarged with the images
    enlarge     side that smaller images are enlarged to before all else, or None
    crop        side of the window, or None for the whole image
    crop_chunk  so many images in a row have the same window, and all are mirrored or none: 32 in
                the 2012 code (convdata.py:125, "This many images will be cropped in the same way")
    mix         chance that crop_chunk images in a row are mixed with others, see `mix_images`
    mean_follows_crop  subtract the mean image's window at the place of the image's own, mirrored
                with it (Caffe, data_transformer.cpp:101-115), and not the central one
    pad         border of zeros around the image before a random crop
    flip        mirror half of the images
    pca         axes of the colour noise, or None for no noise
    convention  strength of the colour noise, see `add_color`
    random      whether choices are drawn; without it, see `eval`
    """

    mean: np.ndarray | None = None
    crop: int | None = None
    pad: int = 0
    flip: bool = False
    pca: ColorPCA | None = None
    convention: str = "source"
    random: bool = True
    enlarge: int | None = None
    crop_chunk: int = 1
    mean_follows_crop: bool = False
    mix: float = 0.0

    def __post_init__(self) -> None:
        if (self.enlarge and self.mean is not None
                and self.mean.shape[:2] != (self.enlarge, self.enlarge)):
            object.__setattr__(self, "mean", enlarge_mean(self.mean, self.enlarge))

    def __call__(self, images: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        return self.apply(images, self.draw(images.shape, rng))

    def source(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of what windows are cut from: of images of height x width, enlarged or
        as they are. Raises ShapeError for images that are larger already."""
        if not self.enlarge:
            return height, width
        check_enlargement(height, width, self.enlarge)
        return self.enlarge, self.enlarge

    def window(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of the window that is cut from images of height x width."""
        height, width = self.source(height, width)
        if self.crop is None and not self.pad:
            return height, width
        size = self.crop or height
        return size, size

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | None = None) -> Draws:
        """Draw the random choices for images of shape (N, H, W, ...). In eval mode nothing is
        random: the central window. Raises UsageError when a choice needs `rng` and there is
        none."""
        N = shape[0]
        H, W = self.source(*shape[1:3])
        rows = cols = flips = shift = None
        if self.crop is not None or self.pad:
            rows, cols = self._draw_corners(N, H, W, rng)
        if self.flip and self.random:
            flips = self._same_in_chunks(_needed(rng).random(self._chunks(N)) < 0.5, N)
        if self.pca and self.random:
            shift = color_shift(self.pca, _needed(rng).standard_normal((N, 3)), self.convention)
        partners = self._draw_partners(N, _needed(rng)) if self.mix and self.random else None
        return Draws(rows, cols, flips, shift, partners)

    def _draw_partners(self, N: int, rng: np.random.Generator) -> np.ndarray:
        """(N,): for a share `mix` of the chunks as many images in a row, from anywhere in the
        batch; in the other chunks each image itself."""
        chunks = self._chunks(N)
        mixed = self._same_in_chunks(rng.random(chunks) < self.mix, N)
        starts = self._same_in_chunks(rng.integers(0, max(N - self.crop_chunk, 0) + 1, chunks), N)
        places = np.arange(N)
        return np.where(mixed, np.minimum(starts + places % self.crop_chunk, N - 1), places)

    def _draw_corners(self, N: int, H: int, W: int,
                      rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """(rows, cols) of the corners of N windows, counted from the border."""
        size = self.crop or H
        border = self.pad if self.random else 0
        _check_window(H + 2 * border, W + 2 * border, size)
        if self.random:
            chunks = self._chunks(N)
            rows = _needed(rng).integers(0, H + 2 * self.pad - size + 1, chunks)
            cols = _needed(rng).integers(0, W + 2 * self.pad - size + 1, chunks)
            rows = self._same_in_chunks(rows, N)
            cols = self._same_in_chunks(cols, N)
        else:
            rows = np.full(N, self.pad + (H - size) // 2)
            cols = np.full(N, self.pad + (W - size) // 2)
        return rows, cols

    def _chunks(self, N: int) -> int:
        """How many windows are drawn for N images; the last one may serve fewer."""
        return ceil(N / self.crop_chunk)

    def _same_in_chunks(self, drawn: np.ndarray, N: int) -> np.ndarray:
        """(N,): each of the drawn values for crop_chunk images in a row."""
        return np.repeat(drawn, self.crop_chunk)[:N]

    def apply(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """(N, h, w, 3) float32 from uint8 (N, H, W, 3), as drawn. kernels.gpu.augment does the
        same on a device."""
        return self.center(self.cut(images, draws), draws)

    def cut(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """The first half of `apply`: the windows, mirrored as drawn, still uint8 (N, h, w, 3)."""
        if self.enlarge:
            images = enlarge(images, self.enlarge)
        if draws.rows is not None and draws.cols is not None:
            size = self.crop or images.shape[1]
            images = crop(add_border(images, self.pad), draws.rows, draws.cols, size)
        if draws.flips is not None:
            images = flip(images, draws.flips)
        return images

    def center(self, windows: np.ndarray, draws: Draws) -> np.ndarray:
        """The second half of `apply`: minus the mean, with the colours shifted as drawn,
        float32."""
        if self.mean is None:
            x = windows.astype(np.float32)
        elif self.mean_follows_crop:
            x = np.subtract(windows, self._windows_of_mean(windows, draws), dtype=np.float32)
        else:
            x = subtract_mean(windows, self.mean)
        if draws.partners is not None:
            x = mix_images(x, draws.partners)
        if draws.shift is not None:
            x = _shift_colors(x, draws.shift, self.divisor)
        return x

    def _windows_of_mean(self, windows: np.ndarray, draws: Draws) -> np.ndarray:
        """(N, h, w, 3) float32: what `cut` would make of the mean image in place of each image.

        Raises ShapeError when the mean image is smaller than the windows.
        """
        N, h, w, C = windows.shape
        mean = add_border(np.asarray(self.mean, np.float32)[None], self.pad)
        _, H, W, _ = mean.shape
        if draws.rows is None or draws.cols is None:
            rows = cols = np.zeros(N, int)
        else:
            rows = draws.rows
            cols = draws.cols
        if h > H or w > W:
            raise ShapeError(f"images of {h}x{w} are larger than the mean image of {H}x{W}")
        _, sh, sw, sc = mean.strides
        # As in `crop`, but all windows are of the same image.
        places = as_strided(mean, (H - h + 1, W - w + 1, h, w * C), (sh, sw, sh, sc),
                            writeable=False)
        means = places[rows, cols].reshape(N, h, w, C)  # (N, h, w*C) -> (N, h, w, C)
        return means if draws.flips is None else flip(means, draws.flips)

    @property
    def divisor(self) -> float:
        """What images with a shifted colour are divided by."""
        return DIVISORS[self.convention] if self.pca else 1.0

    def eval(self) -> "Transform":
        """The same with nothing random: the central window, no flip, no noise."""
        return replace(self, random=False)

    def view_draws(self, shape: tuple[int, ...], kind: str = "ten") -> list[Draws]:
        """The test views of images of shape (N, H, W, ...), each as the draws that give it: see
        `views`."""
        if kind == "single":
            return [self.eval().draw(shape)]
        N = shape[0]
        H, W = self.source(*shape[1:3])
        size, _ = self.window(*shape[1:3])
        height = H + 2 * self.pad
        width = W + 2 * self.pad
        if height == size:  # all windows are the whole image
            whole = Draws()
            mirrored = Draws(flips=np.ones(N, bool))
            return [whole, mirrored] if kind == "ten" else [whole]
        return [Draws(np.full(N, row), np.full(N, col), np.ones(N, bool) if mirrored else None)
                for row, col, mirrored in _view_windows(kind, height, width, size)]

    def views(self, images: np.ndarray, kind: str = "ten") -> np.ndarray:
        """Test views of each image, (V, N, size, size, 3): windows of what training crops from,
        minus the mean.

        V is 10 for the `kind` "ten", 9 for "nine", and 1, the centre, for "single". A net trained
        on whole images has a single window: V is then 2 for "ten", the image and its mirror image,
        and 1 for "nine".
        """
        draws = self.view_draws(images.shape, kind)
        return np.stack([self.apply(images, each) for each in draws])


def _needed(rng: np.random.Generator | None) -> np.random.Generator:
    if rng is None:
        raise UsageError("this transform draws random choices: give it a generator, or use eval()")
    return rng
