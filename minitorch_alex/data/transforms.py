"""Cropping, flipping, colour noise and the mean image: whole batches at a time, arrays in, arrays out.

Letters: N images, H W their size, C = 3. Images are NHWC, uint8 or float32, always on the 0..255 scale: that
scale minus the mean image is the paper's recipe (section 2), not a choice of units.

Each random transform is a pair: a pure function of its draws (`crop`, `flip`, `add_color`), and one that
makes the draws, one for each image in the order of the batch (`random_crop`, `horizontal_flip`, `pca_color`).
`Transform` joins them, and keeps drawing apart from doing: `draw` decides, always on the host, and `apply` here or
kernels.gpu.augment on a device carries out. So both train on the same pixels.
"""
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from PIL import Image

from ..errors import ShapeError


def crop(images: np.ndarray, rows: np.ndarray, cols: np.ndarray, size: int) -> np.ndarray:
    """(N, size, size, C): from image i the window whose top left corner is (rows[i], cols[i])."""
    images = np.ascontiguousarray(images)
    N, H, W, C = images.shape
    _check_window(H, W, size)
    sn, sh, sw, sc = images.strides
    # Every window there is, as a view: picking N of them copies whole rows of bytes, far faster than a loop.
    windows = as_strided(images, (N, H - size + 1, W - size + 1, size, size * C), (sn, sh, sw, sh, sc),
                         writeable=False)
    return windows[np.arange(N), rows, cols].reshape(N, size, size, C)


def add_border(images: np.ndarray, pad: int) -> np.ndarray:
    """(N, H + 2 pad, W + 2 pad, C): the images in a border of zeros."""
    if not pad:
        return images
    N, H, W, C = images.shape
    out = np.zeros((N, H + 2 * pad, W + 2 * pad, C), images.dtype)
    out[:, pad:-pad, pad:-pad] = images
    return out


def random_crop(images: np.ndarray, size: int, rng: np.random.Generator, pad: int = 0) -> np.ndarray:
    """A size x size window at a place drawn for each image (paper, section 4.1), all places equally likely.

    From 256 to 224 that is 33 x 33 places, both ends included, as in the 2012 code; the paper counts 32 x 32.
    `pad` first adds a border of zeros: pad=4 keeps 32 x 32 and shifts by up to 4 pixels, a later CIFAR habit.
    """
    images = add_border(images, pad)
    N, H, W, _ = images.shape
    _check_window(H, W, size)
    return crop(images, rng.integers(0, H - size + 1, N), rng.integers(0, W - size + 1, N), size)


def center_crop(images: np.ndarray, size: int) -> np.ndarray:
    """The central size x size window of (N, H, W, C), a view; an odd border is smaller at the top left."""
    H, W = images.shape[1:3]
    _check_window(H, W, size)
    top, left = (H - size) // 2, (W - size) // 2
    return images[:, top:top + size, left:left + size]


def _check_window(H, W, size):
    if not 0 < size <= min(H, W):
        raise ShapeError(f"cannot crop {size}x{size} out of images of {H}x{W}")


def flip(images: np.ndarray, which: np.ndarray) -> np.ndarray:
    """A copy of the batch in which the images where `which` (N,) is true are mirrored left to right."""
    images = np.ascontiguousarray(images)
    # A pixel as one opaque item: NumPy then moves pixels rather than bytes.
    pixels = images.view(np.dtype((np.void, images.itemsize * images.shape[3])))
    out = pixels.copy()
    out[which] = pixels[which][:, :, ::-1]
    return out.view(images.dtype)


def horizontal_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror each image with probability 1/2 (paper, section 4.1)."""
    return flip(images, rng.random(len(images)) < 0.5)


def subtract_mean(images: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """images (..., h, w, C) minus the CENTRAL h x w window of the mean image (H, W, C). Float32.

    The central one whatever window each image was cut from, and never mirrored: `data_mean_crop` of the 2012
    code. ShapeError when the images are larger than the mean image.
    """
    (H, W), (h, w) = mean.shape[:2], images.shape[-3:-1]
    if h > H or w > W:
        raise ShapeError(f"images of {h}x{w} are larger than the mean image of {H}x{W}")
    top, left = (H - h) // 2, (W - w) // 2
    window = np.ascontiguousarray(mean[top:top + h, left:left + w], dtype=np.float32)
    return np.subtract(images, window, dtype=np.float32)


DIVISORS = {"source": 1.1, "paper": 1.0}  # of images with a shifted colour, by convention: see add_color


class ColorPCA(NamedTuple):
    """The main axes of a set's RGB pixels, on the 0..255 scale.

    eigenvalues (3,) of their covariance, the largest first; eigenvectors (3, 3), one a column.
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


def fit_pca(images: np.ndarray) -> ColorPCA:
    """Eigenvalues and eigenvectors of the 3 x 3 covariance (divided by N) of all pixels of the set.

    Of the whole training set (paper, section 4.1), not image by image. An eigenvector's sign is free; here
    its largest entry is positive.
    """
    pixels = images.reshape(-1, 3)
    total, product = np.zeros(3), np.zeros((3, 3))
    for start in range(0, len(pixels), 1 << 18):
        part = pixels[start:start + (1 << 18)].astype(np.float64)
        total += part.sum(axis=0)
        product += part.T @ part
    mean = total / len(pixels)
    values, vectors = np.linalg.eigh(product / len(pixels) - np.outer(mean, mean))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    return ColorPCA(values, vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(3)]))


def add_color(images: np.ndarray, pca: ColorPCA, draws: np.ndarray, convention: str = "source") -> np.ndarray:
    """Shift all pixels of image i by one colour, made of draws[i], three standard normal numbers. Float32.

    "source"  x := (x + V (s * 0.1 draw)) / 1.1, with s = sqrt(eigenvalues) and x free of its mean: the
              released 2012 code (convdata.py). About 12 grey levels along ImageNet's first axis.
    "paper"   x := x + V (l * 0.1 draw), with l = eigenvalues: the text of section 4.1. Its strength depends
              on the scale of the pixels; on 0..255 it would destroy the image. Read on the 0..1 scale, as
              later reimplementations did, it is l = eigenvalues / 255 for 0..255. About 5.5 grey levels.
    """
    return _shifted(images, color_shift(pca, draws, convention), DIVISORS[convention])


def color_shift(pca: ColorPCA, draws: np.ndarray, convention: str = "source") -> np.ndarray:
    """(N, 3) float32: the colour that `add_color` adds to each image, before it divides by DIVISORS[convention]."""
    if convention not in DIVISORS:
        raise ValueError(f"convention {convention!r}: expected 'source' or 'paper'")
    strength = np.sqrt(pca.eigenvalues) if convention == "source" else pca.eigenvalues / 255
    return ((0.1 * draws * strength) @ pca.eigenvectors.T).astype(np.float32)


def _shifted(images, shift, divisor):
    N, H, W, C = images.shape
    # Added to whole rows of W*C numbers: broadcasting along the three channels only is many times slower.
    out = images.reshape(N, H, W * C) + np.tile(shift, W)[:, None, :]
    if divisor != 1:
        out /= np.float32(divisor)
    return out.reshape(N, H, W, C)


def pca_color(images: np.ndarray, pca: ColorPCA, rng: np.random.Generator,
              convention: str = "source") -> np.ndarray:
    """`add_color` with a colour drawn for each image at each use (paper, section 4.1)."""
    return add_color(images, pca, rng.standard_normal((len(images), 3)), convention)


def _windows(kind, height, width, size):
    """(row, column, mirrored) of each window of the view "ten" or "nine"."""
    _check_window(height, width, size)
    bottom, right = height - size, width - size
    if kind == "nine":
        return [(row, col, False) for row in (0, bottom // 2, bottom) for col in (0, right // 2, right)]
    five = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [(*corner, mirrored) for mirrored in (False, True) for corner in five]


def _views(images, size, kind):
    windows = [(images[:, r:r + size, c:c + size], mirrored)
               for r, c, mirrored in _windows(kind, *images.shape[1:3], size)]
    return np.stack([view[:, :, ::-1] if mirrored else view for view, mirrored in windows])


def ten_crop(images: np.ndarray, size: int) -> np.ndarray:
    """(10, N, size, size, C): top left, top right, bottom left, bottom right, centre, then the five mirrored.

    The test of the paper (section 4.1), which averages the softmax outputs for the ten.
    """
    return _views(images, size, "ten")


def nine_crop(images: np.ndarray, size: int) -> np.ndarray:
    """(9, N, size, size, C): a 3 x 3 grid of windows, row by row, none mirrored.

    The CIFAR test of the 2012 code (convdata_cifar.py).
    """
    return _views(images, size, "nine")


def resize_short_side(image: Image.Image, size: int = 256) -> Image.Image:
    """Scale a picture so that its shorter side is `size` (paper, section 2).

    Averages over areas when shrinking, bicubic when enlarging, as the authors' make-data did with OpenCV.
    """
    w, h = image.size
    scale = size / min(w, h)
    to = (max(size, round(w * scale)), max(size, round(h * scale)))
    return image.resize(to, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)


class Draws(NamedTuple):
    """What is decided for each of N images before a pixel moves.

    rows, cols   (N,) integers: the corner of its window, counted from the border; None: the whole image
    flips        (N,) bool: whether it is mirrored; None: none is
    shift        (N, 3) float32: the colour added to it (color_shift); None: no colour noise
    """

    rows: np.ndarray | None = None
    cols: np.ndarray | None = None
    flips: np.ndarray | None = None
    shift: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Transform:
    """From a uint8 batch to the network's float32 input: crop, flip, subtract the mean, shift the colour.

        train = Transform(train_set.mean_image(), crop=24, flip=True)
        x = train(images, rng)
        x = train.eval()(images)                    for testing, without chance

    mean   (H, W, 3), or None for no subtraction
    crop   side of the window, or None for all of the image
    pad    border of zeros around the image before a random crop
    flip   mirror half of the images
    pca    colour noise along these axes, by `convention`
    """

    mean: np.ndarray | None = None
    crop: int | None = None
    pad: int = 0
    flip: bool = False
    pca: ColorPCA | None = None
    convention: str = "source"
    random: bool = True

    def __call__(self, images: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        return self.apply(images, self.draw(images.shape, rng))

    def window(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of what is made of images of height x width."""
        whole = self.crop is None and not self.pad
        return (height, width) if whole else (self.crop or height,) * 2

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | None = None) -> Draws:
        """What chance decides for images of shape (N, H, W, ...); for testing (`eval`) the centre, without chance."""
        (N, H, W), (size, _) = shape[:3], self.window(*shape[1:3])
        rows = cols = flips = shift = None
        if self.crop is not None or self.pad:
            border = self.pad if self.random else 0
            _check_window(H + 2 * border, W + 2 * border, size)
            if self.random:
                rows, cols = (rng.integers(0, side + 2 * self.pad - size + 1, N) for side in (H, W))
            else:
                rows, cols = (np.full(N, self.pad + (side - size) // 2) for side in (H, W))
        if self.flip and self.random:
            flips = rng.random(N) < 0.5
        if self.pca and self.random:
            shift = color_shift(self.pca, rng.standard_normal((N, 3)), self.convention)
        return Draws(rows, cols, flips, shift)

    def apply(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """(N, h, w, 3) float32 from uint8 (N, H, W, 3), as decided. kernels.gpu.augment does the same on a device."""
        if draws.rows is not None:
            size, _ = self.window(*images.shape[1:3])
            images = crop(add_border(images, self.pad), draws.rows, draws.cols, size)
        if draws.flips is not None:
            images = flip(images, draws.flips)
        x = images.astype(np.float32) if self.mean is None else subtract_mean(images, self.mean)
        return x if draws.shift is None else _shifted(x, draws.shift, self.divisor)

    @property
    def divisor(self) -> float:
        """What images with a shifted colour are divided by."""
        return DIVISORS[self.convention] if self.pca else 1.0

    def eval(self) -> "Transform":
        """The same without chance: the central crop, no flip, no noise."""
        return replace(self, random=False)

    def view_draws(self, shape: tuple[int, ...], kind: str = "ten") -> list[Draws]:
        """The test views of images of shape (N, H, W, ...), each as what is to be applied to them: see `views`."""
        if kind == "single":
            return [self.eval().draw(shape)]
        (N, H, W), (size, _) = shape[:3], self.window(*shape[1:3])
        height, width = H + 2 * self.pad, W + 2 * self.pad
        if height == size:
            return [Draws(), Draws(flips=np.ones(N, bool))][:2 if kind == "ten" else 1]
        return [Draws(np.full(N, row), np.full(N, col), np.ones(N, bool) if mirrored else None)
                for row, col, mirrored in _windows(kind, height, width, size)]

    def views(self, images: np.ndarray, kind: str = "ten") -> np.ndarray:
        """Test views of each image, mean subtracted: (V, N, size, size, 3), windows of what training crops from.

        V is 10 for `kind` "ten", 9 for "nine", and 1, the centre, for "single". Where training sees whole images all
        windows are the same one: V is then 2 for "ten", the image and its mirror image, and 1 for "nine".
        """
        return np.stack([self.apply(images, draws) for draws in self.view_draws(images.shape, kind)])
