"""What convolution and pooling are asked now and then: padding by a word, which cell won a window,
another divisor."""
from typing import Any

import numpy as np

from .. import backend
from ..errors import ShapeError, UsageError
from ..kernels import naive
from ..kernels.window import Pair, Window
from ..tensor import Tensor


def padding_of(padding: int | Pair | str, kernel: int | Pair, stride: int | Pair,
               dilation: int | Pair) -> int | Pair:
    """The padding of a convolution in numbers. The word "valid" means none; "same" means enough
    that the output has the input's size, D (K-1) cells in all, of which an odd one belongs to the
    right and bottom.

    Raises UsageError for another word, ShapeError for "same" with a stride above 1.
    """
    if not isinstance(padding, str):
        return padding
    if padding not in ("valid", "same"):
        raise UsageError(f"conv2d: got padding {padding!r}, expected a number, 'valid' or 'same'")
    if padding == "valid":
        return 0
    win = Window.of(kernel, stride, 0, dilation)
    if win.stride != (1, 1):
        raise ShapeError(f"conv2d: padding 'same' needs stride 1, got {stride}")
    return win.span(0) // 2, win.span(1) // 2


def cells_before(padding: int | Pair | str, kernel: int | Pair, stride: int | Pair,
                 dilation: int | Pair) -> int | Pair:
    """How many cells of the padding lie above and to the left of the input: with "same" the
    smaller half, else as many as below and to the right."""
    if padding != "same":
        return padding_of(padding, kernel, stride, dilation)
    win = Window.of(kernel, stride, 0, dilation)
    return (win.span(0) - 1) // 2, (win.span(1) - 1) // 2


def winning_cells(x: Tensor, win: Window) -> Any:
    """(N,C,OH,OW): which cell h W + w of its map won each window, the first of equal ones; a NaN
    wins. A raw array, found tap by tap without the kernels, which keep it in forms of their own."""
    xp = backend.xp_of(x.data)
    N, C, H, W = x.shape
    OH, OW = win.out(H, W)
    cells = xp.arange(H * W).reshape(H, W)  # (H*W,) -> (H, W): the number of each cell
    best = xp.full((N, C, OH, OW), -np.inf, x.dtype)
    winners = xp.zeros((N, C, OH, OW), xp.int64)
    for kh, kw in np.ndindex(*win.kernel):
        oh, ih = win.tap(0, kh, H, OH)
        ow, iw = win.tap(1, kw, W, OW)
        there = x.data[:, :, ih, iw]
        here = best[:, :, oh, ow]
        wins = (there > here) | (xp.isnan(there) & ~xp.isnan(here))
        winners[:, :, oh, ow] = xp.where(wins, cells[ih, iw], winners[:, :, oh, ow])
        best[:, :, oh, ow] = xp.where(wins, there, here)
    return winners


def sum_factors(win: Window, x: Tensor, divisor: int) -> Any:
    """(OH,OW): what turns the means of the windows, padding counted, into sums over `divisor`.

    Raises ShapeError for a divisor of 0.
    """
    if not divisor:
        raise ShapeError("avg_pool2d: got divisor_override 0, expected another number")
    H, W = x.shape[2:]
    OH, OW = win.out(H, W)
    cells = [[naive.average_divisor(win, oh, ow, H, W, True) for ow in range(OW)]
             for oh in range(OH)]
    return backend.asarray(np.array(cells, x.dtype) / x.dtype.type(divisor))
