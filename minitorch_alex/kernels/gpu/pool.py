"""Pooling. The kernels of cuda/pool.cu gather in both directions."""
from typing import Any

import numpy as np

from ... import backend
from ...errors import ShapeError
from ..launch import launch
from ..window import Window

Array = Any  # a CuPy array

PADDING_ONLY = 65535  # the winner of a window without a pixel: NO_PIXEL of pool.cu


def _pool_args(x_shape: tuple[int, ...], win: Window) -> tuple[int, ...]:
    """The arguments that all pooling kernels have in common."""
    return (*x_shape, *win.out(*x_shape[1:3]), *win.kernel, *win.stride, *win.padding)


def max_pool2d(x: Array, win: Window) -> tuple[Array, Array]:
    """y (N,OH,OW,C), and won (N,OH,OW,C) uint16: the tap kh KW + kw of the largest number, or
    65535 where a window sees padding only.

    Raises ShapeError when the window has more cells than two bytes can count.
    """
    return _max_pool2d(x, win, of_relu=False)


def max_pool2d_of_relu(x: Array, win: Window) -> tuple[Array, Array]:
    """As max_pool2d where x is the result of a ReLU: won is 65535 also where no pixel is positive,
    so that max_pool2d_backward gives the gradient of what that ReLU was given.

    Raises ShapeError when the window has more cells than two bytes can count.
    """
    return _max_pool2d(x, win, of_relu=True)


def _max_pool2d(x: Array, win: Window, of_relu: bool) -> tuple[Array, Array]:
    xp = backend.xp_of(x)
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    if win.kernel[0] * win.kernel[1] > PADDING_ONLY:
        raise ShapeError(f"max_pool2d: a window of {win.kernel} has more than {PADDING_ONLY} "
                         "cells; use a smaller kernel")
    y = xp.empty((N, OH, OW, C), x.dtype)
    won = xp.empty((N, OH, OW, C), np.uint16)
    launch("max_pool2d", x, OW * C, N * OH, (x, y, won), *_pool_args(x.shape, win), *win.dilation,
           of_relu)
    return y, won


def max_pool2d_backward(gy: Array, saved: Array, x_shape: tuple[int, ...], win: Window) -> Array:
    """gx (N,H,W,C): each pixel collects gy from the windows that it won."""
    N, H, W, C = x_shape
    gx = backend.xp_of(gy, saved).empty(x_shape, gy.dtype)
    launch("max_pool2d_backward", gy, C, N * H, (gy, saved, gx),
           *_pool_args(x_shape, win), *win.dilation)
    return gx


def avg_pool2d(x: Array, win: Window, count_include_pad: bool) -> Array:
    """y (N,OH,OW,C): each window's sum over its number of cells inside the image (and in its
    padding, if that counts)."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    y = backend.xp_of(x).empty((N, OH, OW, C), x.dtype)
    launch("avg_pool2d", x, OW * C, N * OH, (x, y),
           *_pool_args(x.shape, win), bool(count_include_pad))
    return y


def avg_pool2d_backward(gy: Array, x_shape: tuple[int, ...], win: Window,
                        count_include_pad: bool) -> Array:
    """gx (N,H,W,C): each pixel receives gy / cells from every window that saw it."""
    N, H, W, C = x_shape
    gx = backend.xp_of(gy).empty(x_shape, gy.dtype)
    launch("avg_pool2d_backward", gy, W * C, N * H, (gy, gx),
           *_pool_args(x_shape, win), bool(count_include_pad))
    return gx
