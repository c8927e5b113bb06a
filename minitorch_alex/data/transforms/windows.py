"""Windows of images: where they are cut, mirror images, the mean under them, and the test views.

A window is named by its top left corner:

    (0, 0) ------------------+
      |   (row, col) ---+    |
      |      |   size   |    | H     0 <= row <= H - size
      |      +----------+    |       0 <= col <= W - size
      +----------------------+
                 W

A random function draws once per image, in the order of the batch, and calls a pure one.
"""
import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...errors import ShapeError


def crop(images: np.ndarray, rows: np.ndarray, cols: np.ndarray, size: int) -> np.ndarray:
    """(N, size, size, C): the window of image i whose top left corner is (rows[i], cols[i]).

    Raises ShapeError when the window does not fit.
    """
    images = np.ascontiguousarray(images)
    N, H, W, C = images.shape
    check_window(H, W, size)
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
    check_window(H, W, size)
    rows = rng.integers(0, H - size + 1, N)
    cols = rng.integers(0, W - size + 1, N)
    return crop(images, rows, cols, size)


def center_crop(images: np.ndarray, size: int) -> np.ndarray:
    """The central size x size window of (N, H, W, C), a view. An odd border is smaller at the top
    and left. Raises ShapeError when the window does not fit."""
    H, W = images.shape[1:3]
    check_window(H, W, size)
    top = (H - size) // 2
    left = (W - size) // 2
    return images[:, top:top + size, left:left + size]


def check_window(height: int, width: int, size: int) -> None:
    """Raises ShapeError when no size x size window fits into images of height x width."""
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
    """images (..., h, w, C) minus the CENTRAL h x w window of the mean image (H, W, C), float32.

    It is the central one wherever an image's own window was cut, and never mirrored, as
    `data_mean_crop` of the 2012 code. Raises ShapeError when the images are larger than the mean
    image.
    """
    H, W = mean.shape[:2]
    h, w = images.shape[-3:-1]
    if h > H or w > W:
        raise ShapeError(f"images of {h}x{w} are larger than the mean image of {H}x{W}")
    top = (H - h) // 2
    left = (W - w) // 2
    window = np.ascontiguousarray(mean[top:top + h, left:left + w], dtype=np.float32)
    return np.subtract(images, window, dtype=np.float32)


# Test views.


def view_windows(kind: str, height: int, width: int, size: int) -> list[tuple[int, int, bool]]:
    """(row, column, mirrored) of each window of the views "ten" or "nine", on images of
    height x width. Raises ShapeError when the window does not fit."""
    check_window(height, width, size)
    bottom = height - size
    right = width - size
    if kind == "nine":
        return [(row, col, False) for row in (0, bottom // 2, bottom)
                for col in (0, right // 2, right)]
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [(row, col, mirrored) for mirrored in (False, True) for row, col in corners]


def _cut_views(images: np.ndarray, size: int, kind: str) -> np.ndarray:
    """(V, N, size, size, C): the views "ten" or "nine" of images (N, H, W, C)."""
    height, width = images.shape[1:3]
    views = []  # of (N, size, size, C)
    for row, col, mirrored in view_windows(kind, height, width, size):
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
