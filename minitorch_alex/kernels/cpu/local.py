"""The locally connected layer: a convolution whose weights differ from place to place.

At each of the OH OW places there is one product of its windows, a row per image, with its weights.
NumPy's matmul does a stack of them in one call; the threads share the output rows.
"""
import numpy as np

from ..window import Pair, Window
from ..workers import parallel_for
from .blocks import Block, padded_images, windows
from .conv import add_taps


def _padded_batch(x: np.ndarray, win: Window, out: Pair) -> np.ndarray:
    """The whole batch with its zero border: (N,H,W,C) -> (N, height, width, C)."""
    whole = Block(0, len(x), 0, out[0])
    return next(padded_images(x, win, out, 1, [whole]))[0]


def _places(image: np.ndarray, win: Window, r0: int, r1: int, OW: int) -> np.ndarray:
    """The windows of output rows r0 to r1 in padded images: per place a matrix (N, KH KW C)."""
    N = len(image)
    row = win.kernel[0] * win.kernel[1] * image.shape[3]  # not -1: a batch may be empty
    view = windows(image[:, r0 * win.stride[0]:], win, r1 - r0, OW)
    # (N, rows, OW, KH, KW, C) -> (rows, OW, N, KH, KW, C) -> (rows*OW, N, KH*KW*C)
    return view.transpose(1, 2, 0, 3, 4, 5).reshape((r1 - r0) * OW, N, row)


def locally_connected2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None,
                        win: Window) -> np.ndarray:
    """y = b + windows @ w at each place.

    x (N,H,W,C)  w (OH,OW,O,C,KH,KW)  b (OH,OW,O) or None  ->  y (N,OH,OW,O)
    """
    N = x.shape[0]
    OH, OW, O = w.shape[:3]
    y = np.empty((N, OH, OW, O), x.dtype)
    image = _padded_batch(x, win, (OH, OW))

    def body(r0: int, r1: int) -> None:
        # (rows, OW, O, C, KH, KW) -> (rows, OW, KH, KW, C, O) -> (rows*OW, KH*KW*C, O)
        mats = w[r0:r1].transpose(0, 1, 4, 5, 3, 2).reshape((r1 - r0) * OW, -1, O)
        part = _places(image, win, r0, r1, OW) @ mats
        # (rows*OW, N, O) -> (rows, OW, N, O) -> (N, rows, OW, O)
        part = part.reshape(r1 - r0, OW, N, O).transpose(2, 0, 1, 3)
        y[:, r0:r1] = part if b is None else part + b[r0:r1]

    parallel_for(OH, body)
    return y


def locally_connected2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window) -> np.ndarray:
    """gw = gy^T @ windows at each place.

    x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (OH,OW,O,C,KH,KW), a view
    """
    N, OH, OW, O = gy.shape
    KH, KW = win.kernel
    C = x.shape[3]
    gw = np.empty((OH, OW, O, KH, KW, C), x.dtype)
    image = _padded_batch(x, win, (OH, OW))

    def body(r0: int, r1: int) -> None:
        # (N, rows, OW, O) -> (rows, OW, O, N) -> (rows*OW, O, N)
        part = gy[:, r0:r1].transpose(1, 2, 3, 0).reshape((r1 - r0) * OW, O, N)
        product = part @ _places(image, win, r0, r1, OW)
        # (rows*OW, O, KH*KW*C) -> (rows, OW, O, KH, KW, C)
        gw[r0:r1] = product.reshape(r1 - r0, OW, O, KH, KW, C)

    parallel_for(OH, body)
    return gw.transpose(0, 1, 2, 5, 3, 4)  # (OH, OW, O, KH, KW, C) -> (OH, OW, O, C, KH, KW)


def locally_connected2d_backward_input(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...],
                                       win: Window) -> np.ndarray:
    """gcol = gy @ w^T at each place, then each tap is added to where it looked.

    gy (N,OH,OW,O)  w (OH,OW,O,C,KH,KW)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, OH, OW, O = gy.shape
    KH, KW = win.kernel
    C = x_shape[3]
    # (OH, OW, O, C, KH, KW) -> (OH, OW, O, KH, KW, C) -> (OH*OW, O, KH*KW*C)
    mats = w.transpose(0, 1, 2, 4, 5, 3).reshape(OH * OW, O, -1)
    gcol = np.empty((N, OH, OW, KH, KW, C), gy.dtype)

    def body(r0: int, r1: int) -> None:
        # (N, rows, OW, O) -> (rows, OW, N, O) -> (rows*OW, N, O)
        part = gy[:, r0:r1].transpose(1, 2, 0, 3).reshape((r1 - r0) * OW, N, O)
        product = part @ mats[r0 * OW:r1 * OW]
        # (rows*OW, N, KH*KW*C) -> (rows, OW, N, KH, KW, C) -> (N, rows, OW, KH, KW, C)
        gcol[:, r0:r1] = product.reshape(r1 - r0, OW, N, KH, KW, C).transpose(2, 0, 1, 3, 4, 5)

    parallel_for(OH, body)
    gx = np.zeros(x_shape, gy.dtype)
    parallel_for(N, lambda n0, n1: add_taps(gx[n0:n1], gcol[n0:n1], win, OH, OW, 0))
    return gx
