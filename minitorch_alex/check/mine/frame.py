"""From the package's images to those of the exercises, and back.

The kernels store images as (N,H,W,C), the exercises as (N,C,H,W), and they do not round sizes up.
So adapters turn an image around and copy it into a frame, call your function with padding 0, and
cut the frame off again:

    0 0 0 0 0 0     P = 1 on the left and top: the padding
    0 x x x x 0
    0 x x x x 0     on the right and bottom as many cells as the windows read past the edge
    0 0 0 0 0 0     (zeros for a convolution, -inf for a max pool)
"""
import numpy as np

from ...kernels import Window


def is_covered(win: Window) -> bool:
    """Whether the exercises cover this window: one stride for rows and columns, no dilation."""
    return win.dilation == (1, 1) and win.stride[0] == win.stride[1]


def is_covered_pool(win: Window) -> bool:
    """The same for a pool, whose window is a square too."""
    return is_covered(win) and win.kernel[0] == win.kernel[1]


def add_frame(x: np.ndarray, win: Window, value: float) -> np.ndarray:
    """(N,H,W,C) -> (N,C,HP,WP): exactly what the windows see, `value` where there is no image."""
    N, H, W, C = x.shape
    PH, PW = win.padding
    # As many pixels as make the sizes come out even: then it does not matter that the exercises
    # round them down.
    HP, WP = win.padded((H, W), win.out(H, W))
    frame = np.full((N, C, HP, WP), value, x.dtype)
    inside = frame[:, :, PH:PH + H, PW:PW + W]  # smaller than the image if no window sees its end
    _, _, rows, columns = inside.shape
    inside[...] = x[:, :rows, :columns].transpose(0, 3, 1, 2)  # (N,H,W,C) -> (N,C,H,W)
    return frame


def cut_frame(g: np.ndarray, x_shape: tuple[int, ...], win: Window) -> np.ndarray:
    """The frame's gradient (N,C,HP,WP) -> the image's (N,H,W,C), 0 where no window saw a pixel."""
    _, H, W, _ = x_shape
    PH, PW = win.padding
    inside = g[:, :, PH:PH + H, PW:PW + W]
    _, _, rows, columns = inside.shape
    gx = np.zeros(x_shape, g.dtype)
    gx[:, :rows, :columns] = inside.transpose(0, 2, 3, 1)  # (N,C,H,W) -> (N,H,W,C)
    return gx


def as_nchw(x: np.ndarray) -> np.ndarray:
    """(N,H,W,C) -> (N,C,H,W), contiguous."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))  # (N,H,W,C) -> (N,C,H,W)


def as_nhwc(x: np.ndarray) -> np.ndarray:
    """(N,C,H,W) -> (N,H,W,C), contiguous."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))  # (N,C,H,W) -> (N,H,W,C)
