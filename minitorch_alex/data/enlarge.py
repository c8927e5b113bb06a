"""Small images made as large as a network wants them, for CIFAR-10 on the paper's net: bilinear,
by Pillow.

Along an axis, output i of S lies at (i + 1/2) s/S - 1/2 among the s pixels, and is the mean of the
two nearest, weighted by how near they are; past the edge, the edge pixel counts. Columns first,
then rows, each rounded to a byte.

A GPU does the same in kernels.gpu.enlarge, to the bit: `bilinear_taps` gives it Pillow's weights,
which are whole numbers in units of 2^-22 (python-pillow/Pillow, src/libImaging/Resample.c:
precompute_coeffs, normalize_coeffs_8bpc).
"""
import functools

import numpy as np
from PIL import Image

from ..errors import ShapeError

PRECISION_BITS = 22  # of Pillow's weights for bytes: 32 less 8 for the byte and 2 to spare


def check_enlargement(height: int, width: int, size: int) -> None:
    """Raises ShapeError unless size x size is at least as large as the image both ways."""
    if size < max(height, width):
        raise ShapeError(f"cannot enlarge images of {height}x{width} to {size}x{size}; the size "
                         f"must be at least {max(height, width)}")


def enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """(N, size, size, 3) uint8 from (N, H, W, 3) uint8.

    Raises ShapeError when that would be smaller.
    """
    N, H, W, C = images.shape
    check_enlargement(H, W, size)
    out = np.empty((N, size, size, C), np.uint8)
    for image, large in zip(images, out, strict=True):
        large[...] = _resize(Image.fromarray(image), size)
    return out


def enlarge_mean(mean: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) float32 from a mean image (H, W, 3): enlarged as the images are, but for the
    rounding."""
    H, W, C = mean.shape
    check_enlargement(H, W, size)
    channels = [Image.fromarray(np.ascontiguousarray(mean[:, :, c], np.float32))
                for c in range(C)]
    # C times (size, size) -> (size, size, C)
    return np.stack([_resize(channel, size) for channel in channels], axis=2)


def _resize(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


@functools.cache
def bilinear_taps(pixels: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(first, weights), both int32, of the shapes (size,) and (size, 2).

    Output i is (weights[i, 0] pixel first[i] + weights[i, 1] pixel first[i] + 1) / 2^22; where
    there is no second pixel its weight is 0.
    """
    first = np.zeros(size, np.int32)
    weights = np.zeros((size, 2), np.int32)
    scale = pixels / size
    for i in range(size):
        center = (i + 0.5) * scale
        low = max(int(center - 1 + 0.5), 0)
        high = min(int(center + 1 + 0.5), pixels)
        shares = [max(0.0, 1 - abs(j - center + 0.5)) for j in range(low, high)]
        total = sum(shares)
        whole = [int(0.5 + share / total * (1 << PRECISION_BITS)) for share in shares]
        while len(whole) > 2:  # a third pixel is so far away that it has no share
            assert 0 in (whole[0], whole[-1])
            if whole[0] == 0:
                whole.pop(0)
                low += 1
            else:
                whole.pop()
        first[i] = low
        weights[i, :len(whole)] = whole
    return first, weights
