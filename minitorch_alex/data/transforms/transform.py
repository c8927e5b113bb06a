"""Transform: what happens to the images of a batch, in its order, and the draws that decide it."""
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...errors import ShapeError, UsageError
from ..enlarge import check_enlargement, enlarge, enlarge_mean
from .colors import DIVISORS, ColorPCA, color_shift, shift_colors
from .windows import add_border, check_window, crop, flip, subtract_mean, view_windows


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
    mix, shift the colour.

        train = Transform(train_set.mean_image(), crop=24, flip=True)
        x = train(images, rng)
        x = train.eval()(images)                    for testing: nothing is random

    mean        (H, W, 3), or None for no subtraction; enlarged with the images
    enlarge     side that smaller images are enlarged to before all else, or None
    crop        side of the window, or None for the whole image
    crop_chunk  this many images in a row have the same window, and all are mirrored or none: 32
                in the 2012 code (convdata.py:125, "This many images will be cropped in the same
                way")
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
        """(N, h, w, 3) float32 from uint8 (N, H, W, 3). Raises as `draw` and `apply` do."""
        return self.apply(images, self.draw(images.shape, rng))

    def source(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of what windows are cut from: the size of images of height x width, or
        what they are enlarged to. Raises ShapeError for images that are larger than that."""
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
        """(N,) partners: for a share `mix` of the chunks, images in a row that begins anywhere in
        the batch; in the other chunks, each image itself."""
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
        check_window(H + 2 * border, W + 2 * border, size)
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
        """The first half of `apply`: the windows, mirrored as drawn, still uint8 (N, h, w, 3).
        Raises ShapeError when the window does not fit."""
        if self.enlarge:
            images = enlarge(images, self.enlarge)
        if draws.rows is not None and draws.cols is not None:
            size = self.crop or images.shape[1]
            images = crop(add_border(images, self.pad), draws.rows, draws.cols, size)
        if draws.flips is not None:
            images = flip(images, draws.flips)
        return images

    def center(self, windows: np.ndarray, draws: Draws) -> np.ndarray:
        """The second half of `apply`: minus the mean, mixed, with the colours shifted as drawn,
        float32 (N, h, w, 3). Raises ShapeError when the mean image is smaller than the windows."""
        if self.mean is None:
            x = windows.astype(np.float32)
        elif self.mean_follows_crop:
            x = np.subtract(windows, self._windows_of_mean(windows, draws), dtype=np.float32)
        else:
            x = subtract_mean(windows, self.mean)
        if draws.partners is not None:
            x = mix_images(x, draws.partners)
        if draws.shift is not None:
            x = shift_colors(x, draws.shift, self.divisor)
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
        """The test views of images of shape (N, H, W, ...), each as the draws that give it; for
        the kinds see `views`."""
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
                for row, col, mirrored in view_windows(kind, height, width, size)]

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
