"""From the bytes of images to the network's input: enlarging and augmenting a batch."""
from typing import Any

import numpy as np

from ... import backend
from ...errors import ShapeError
from ..launch import launch
from ..window import Pair

Array = Any  # a CuPy array


def enlarge(images: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
    """(N,S,S,C) from images (N,H,W,C), both uint8: what data.enlarge makes of them, to the bit.

    `rows` and `columns` are the taps (first (S,), weights (S,2), both int32) that
    data.enlarge.bilinear_taps gives for H and W.
    """
    xp = backend.xp_of(images, *rows, *columns)
    N, H, W, C = images.shape
    size = len(rows[0])
    y = xp.empty((N, size, size, C), np.uint8)
    # The kernel knows bytes and integers only, but each is compiled for some kind of number.
    like = xp.empty(0, np.float32)
    launch("enlarge", like, size * C, N * size, (images, y, *rows, *columns), N, H, W, C, size)
    return y


def augment(images: Array, size: Pair, rows: Array, cols: Array, flips: Array,
            mean: Array | None = None, shift: Array | None = None, divisor: float = 1.0,
            pad: int = 0, mean_follows_crop: bool = False) -> Array:
    """What data.transforms.Transform makes of a batch, from its draws, in one pass:

        (crop of images at (rows, cols), mirrored where flips  -  mean  +  shift) / divisor

        images      (N,H,W,C) uint8
        size        rows and columns of the crops
        rows, cols  (N,) int32, their top left corners, counted from the border of `pad` zeros
        flips       (N,) uint8 or bool
        mean        (HM,WM,C) float32, at least as large as the crops; its centre is subtracted
        shift       (N,C) float32, the colour noise
        divisor     1.1 in the 2012 code

    ->  (N, *size, C) float32. With `mean_follows_crop` the mean (H,W,C) has the size of the
    images, and what is subtracted is cropped and mirrored as the image is.

    Raises ShapeError when the mean image has the wrong size.
    """
    xp = backend.xp_of(images, rows, cols, flips, mean, shift)
    N, H, W, C = images.shape
    mean = xp.zeros((*size, C), np.float32) if mean is None else mean
    shift = xp.zeros((N, C), np.float32) if shift is None else shift
    # Where the centre of the mean begins.
    top = (mean.shape[0] - size[0]) // 2
    left = (mean.shape[1] - size[1]) // 2
    if min(top, left) < 0:
        raise ShapeError(f"crops of {size} are larger than the mean image of {mean.shape[:2]}")
    if mean_follows_crop and mean.shape[:2] != (H, W):
        raise ShapeError(f"the mean image has {mean.shape[:2]} pixels, expected those of the "
                         f"images, {(H, W)}")
    x = xp.empty((N, *size, C), np.float32)
    flips = flips.astype(np.uint8, copy=False)
    launch("augment", x, size[1] * C, N * size[0], (images, x, rows, cols, flips, mean, shift),
           float(divisor), N, H, W, C, *size, pad, top, left, mean.shape[1],
           int(mean_follows_crop))
    return x
