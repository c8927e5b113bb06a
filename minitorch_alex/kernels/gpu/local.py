"""The locally connected layer: a product for each place of the output, all in one call.

That call is three-dimensional, so it multiplies in full float32 whatever backend.set_precision
says: OH OW launches of small products would cost more than the tensor cores save.
"""
from typing import Any

from ... import backend
from ..launch import launch
from ..window import Window
from .columns import window_args

Array = Any  # a CuPy array


def _places(x: Array, win: Window) -> Array:
    """im2col with the places first: (OH OW, N, KH KW C)."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    width = win.kernel[0] * win.kernel[1] * C
    col = backend.xp_of(x).empty((OH * OW, N, width), x.dtype)
    launch("im2col", x, width, N * OH, (x, col),
           *window_args(x.shape, (OH, OW), 0, C, win), width, 1, N)
    return col


def locally_connected2d(x: Array, w: Array, b: Array | None, win: Window) -> Array:
    """y (N,OH,OW,O) with w (OH,OW,O,C,KH,KW) and b (OH,OW,O) or None: window @ w^T at each
    place."""
    xp = backend.xp_of(x, w, b)
    N = x.shape[0]
    OH, OW, O = w.shape[:3]
    # (OH, OW, O, C, KH, KW) -> (OH, OW, KH, KW, C, O) -> (OH*OW, KH*KW*C, O)
    matrices = w.transpose(0, 1, 4, 5, 3, 2).reshape(OH * OW, -1, O)
    y = xp.empty((N, OH, OW, O), x.dtype)
    # (OH*OW, N, O) -> (OH, OW, N, O) -> (N, OH, OW, O)
    y[...] = xp.matmul(_places(x, win), matrices).reshape(OH, OW, N, O).transpose(2, 0, 1, 3)
    if b is not None:
        y += b
    return y


def locally_connected2d_backward_weight(x: Array, gy: Array, win: Window) -> Array:
    """gw (OH,OW,O,C,KH,KW): gy^T @ window at each place."""
    N, OH, OW, O = gy.shape
    KH, KW = win.kernel
    C = x.shape[3]
    # (N, OH, OW, O) -> (OH, OW, O, N) -> (OH*OW, O, N)
    gys = gy.transpose(1, 2, 3, 0).reshape(OH * OW, O, N)
    gw = backend.xp_of(x, gy).matmul(gys, _places(x, win))
    # (OH*OW, O, KH*KW*C) -> (OH, OW, O, KH, KW, C) -> (OH, OW, O, C, KH, KW)
    return gw.reshape(OH, OW, O, KH, KW, C).transpose(0, 1, 2, 5, 3, 4)


def locally_connected2d_backward_input(gy: Array, w: Array, x_shape: tuple[int, ...],
                                       win: Window) -> Array:
    """gx (N,H,W,C): gcol = gy @ w at each place, then col2im."""
    xp = backend.xp_of(gy, w)
    N, OH, OW, O = gy.shape
    H, W, C = x_shape[1:]
    # (N, OH, OW, O) -> (OH, OW, N, O) -> (OH*OW, N, O)
    gys = gy.transpose(1, 2, 0, 3).reshape(OH * OW, N, O)
    # (OH, OW, O, C, KH, KW) -> (OH, OW, O, KH, KW, C) -> (OH*OW, O, KH*KW*C)
    matrices = w.transpose(0, 1, 2, 4, 5, 3).reshape(OH * OW, O, -1)
    gcol = xp.matmul(gys, matrices)
    gx = xp.empty(x_shape, gy.dtype)
    launch("col2im", gy, W * C, N * H, (gcol, gx),
           *window_args(x_shape, (OH, OW), 0, C, win), gcol.shape[2], 1, N)
    return gx
