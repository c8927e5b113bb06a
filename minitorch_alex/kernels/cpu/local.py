"""The locally connected layer: a convolution whose weights differ from place to place."""
import numpy as np

from ..window import Window
from ..workers import parallel_for
from .blocks import padded_images, windows
from .conv import add_taps


def _places(x: np.ndarray, win: Window, r0: int, r1: int, OW: int, image: np.ndarray) -> np.ndarray:
    """The windows of output rows r0..r1, one matrix a place: (places, N, KH KW C)."""
    view = windows(image[:, r0 * win.stride[0]:], win, r1 - r0, OW).transpose(1, 2, 0, 3, 4, 5)
    return view.reshape((r1 - r0) * OW, x.shape[0], -1)


def _whole(x: np.ndarray, win: Window, out: tuple[int, int]) -> np.ndarray:
    """The whole batch with its zero border."""
    return next(padded_images(x, win, out, 1, [(0, x.shape[0], 0, out[0])]))[0]


def locally_connected2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window) -> np.ndarray:
    """y (N,OH,OW,O) with w (OH,OW,O,C,KH,KW) and b (OH,OW,O) or None: one matrix product a place."""
    N = x.shape[0]
    OH, OW, O = w.shape[:3]
    y, image = np.empty((N, OH, OW, O), x.dtype), _whole(x, win, (OH, OW))

    def body(r0: int, r1: int) -> None:
        mats = w[r0:r1].transpose(0, 1, 4, 5, 3, 2).reshape((r1 - r0) * OW, -1, O)
        part = (_places(x, win, r0, r1, OW, image) @ mats).reshape(r1 - r0, OW, N, O).transpose(2, 0, 1, 3)
        y[:, r0:r1] = part if b is None else part + b[r0:r1]

    parallel_for(OH, body)
    return y


def locally_connected2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window) -> np.ndarray:
    """gw (OH,OW,O,C,KH,KW): at each place gy^T @ window."""
    N, OH, OW, O = gy.shape
    (KH, KW), C = win.kernel, x.shape[3]
    gw, image = np.empty((OH, OW, O, KH, KW, C), x.dtype), _whole(x, win, (OH, OW))

    def body(r0: int, r1: int) -> None:
        part = gy[:, r0:r1].transpose(1, 2, 3, 0).reshape((r1 - r0) * OW, O, N)
        gw[r0:r1] = (part @ _places(x, win, r0, r1, OW, image)).reshape(r1 - r0, OW, O, KH, KW, C)

    parallel_for(OH, body)
    return gw.transpose(0, 1, 2, 5, 3, 4)


def locally_connected2d_backward_input(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], win: Window) \
        -> np.ndarray:
    """gx (N,H,W,C): gcol = gy @ w at each place, each tap added to where it looked."""
    N, OH, OW, O = gy.shape
    (KH, KW), C = win.kernel, x_shape[3]
    mats = w.transpose(0, 1, 2, 4, 5, 3).reshape(OH * OW, O, -1)
    gcol = np.empty((N, OH, OW, KH, KW, C), gy.dtype)

    def body(r0: int, r1: int) -> None:
        part = gy[:, r0:r1].transpose(1, 2, 0, 3).reshape((r1 - r0) * OW, N, O) @ mats[r0 * OW:r1 * OW]
        gcol[:, r0:r1] = part.reshape(r1 - r0, OW, N, KH, KW, C).transpose(2, 0, 1, 3, 4, 5)

    parallel_for(OH, body)
    gx = np.zeros(x_shape, gy.dtype)
    parallel_for(N, lambda n0, n1: add_taps(gx[n0:n1], gcol[n0:n1], win, OH, OW, 0))
    return gx
