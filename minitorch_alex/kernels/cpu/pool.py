"""Pooling. A window's maximum is the maximum of its rows' maxima, so each axis is done by itself."""
import numpy as np

from ..window import Window
from .blocks import image_blocks


def _max_along(source: np.ndarray, win: Window, axis: int, best: np.ndarray, won: np.ndarray) -> None:
    """best = max over the taps of one axis (0 rows, 1 columns), won = the first tap that reaches it."""
    size, out, lead = source.shape[axis + 1], best.shape[axis + 1], (slice(None),) * (axis + 1)
    for k in range(win.kernel[axis]):
        outs, ins = win.tap(axis, k, size, out)
        if k == 0 and outs == slice(0, out):
            np.copyto(best, source[(*lead, ins)])
            won.fill(0)
            continue
        if k == 0:
            best.fill(-np.inf)  # what lies in the padding never wins
            won.fill(0)
        here, there = best[(*lead, outs)], source[(*lead, ins)]
        winner = won[(*lead, outs)]
        np.maximum(winner, np.multiply(there > here, won.dtype.type(k)), out=winner)
        np.maximum(here, there, out=here)


def max_pool2d(x: np.ndarray, win: Window) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """y (N,OH,OW,C), and which tap won along the columns (N,H,OW,C) and then along the rows (N,OH,OW,C).
    Columns first, then rows: of equal values the first in row-major order wins, as in torch."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    small = np.min_scalar_type(max(win.kernel))
    y = np.empty((N, OH, OW, C), x.dtype)
    won_column, won_row = np.empty((N, H, OW, C), small), np.empty((N, OH, OW, C), small)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, OW, C), x.dtype)
        _max_along(x[n0:n1], win, 1, middle, won_column[n0:n1])
        _max_along(middle, win, 0, y[n0:n1], won_row[n0:n1])

    image_blocks(N, 2 * H * W * C * x.itemsize, body)
    return y, (won_column, won_row)


def _add_winners(g: np.ndarray, won: np.ndarray, win: Window, axis: int, gx: np.ndarray) -> None:
    """gx = each gradient at the cell that won along one axis; what gx held before does not matter."""
    lead, K, S = (slice(None),) * (axis + 1), win.kernel[axis], win.stride[axis]
    first = S if K >= S and win.padding[axis] == 0 and win.dilation[axis] == 1 else 0
    if not first:
        gx[...] = 0
    for k in range(K):
        outs, ins = win.tap(axis, k, gx.shape[axis + 1], g.shape[axis + 1])
        here, there = g[(*lead, outs)], gx[(*lead, ins)]
        if k < first:  # between them the first S taps see every cell once: nothing to add to yet
            np.multiply(here, won[(*lead, outs)] == k, out=there)
            gx[(*lead, slice(ins.stop - 1 + S, None, S))] = 0  # but for those past the last window
        else:
            there += here * (won[(*lead, outs)] == k)


def max_pool2d_backward(gy: np.ndarray, saved: tuple[np.ndarray, np.ndarray], x_shape: tuple[int, ...], win: Window) \
        -> np.ndarray:
    """gx (N,H,W,C): each gradient goes to the winning row, then to the winning column."""
    N, H, W, C = x_shape
    won_column, won_row = saved
    gx = np.empty(x_shape, gy.dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, gy.shape[2], C), gy.dtype)
        _add_winners(gy[n0:n1], won_row[n0:n1], win, 0, middle)
        _add_winners(middle, won_column[n0:n1], win, 1, gx[n0:n1])

    image_blocks(N, 2 * H * W * C * gy.itemsize, body)
    return gx


def _divisors(win: Window, H: int, W: int, count_include_pad: bool, dtype: np.dtype) -> np.ndarray:
    """(OH,OW,1): by how many cells each window's sum is divided."""
    sides = []
    for axis, (size, out) in enumerate(zip((H, W), win.out(H, W), strict=True)):
        P = win.padding[axis]
        start = np.arange(out) * win.stride[axis] - P
        stop = np.minimum(start + win.kernel[axis], size + P)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, size)
        sides.append(stop - start)
    return np.outer(*sides)[:, :, None].astype(dtype)


def sum_along(source: np.ndarray, win: Window, axis: int, total: np.ndarray, back: bool = False) -> None:
    """total = sum over the taps of one axis; `back` adds the other way round, from outputs to inputs."""
    lead, total[...] = (slice(None),) * (axis + 1), 0
    size, out = (total, source) if back else (source, total)
    for k in range(win.kernel[axis]):
        outs, ins = win.tap(axis, k, size.shape[axis + 1], out.shape[axis + 1])
        if back:
            total[(*lead, ins)] += source[(*lead, outs)]
        else:
            total[(*lead, outs)] += source[(*lead, ins)]


def avg_pool2d(x: np.ndarray, win: Window, count_include_pad: bool) -> np.ndarray:
    """y (N,OH,OW,C): each window's sum over its number of cells inside the image (and its padding, if counted)."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    y, cells = np.empty((N, OH, OW, C), x.dtype), _divisors(win, H, W, count_include_pad, x.dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, OW, C), x.dtype)
        sum_along(x[n0:n1], win, 1, middle)
        sum_along(middle, win, 0, y[n0:n1])
        y[n0:n1] /= cells

    image_blocks(N, 2 * H * W * C * x.itemsize, body)
    return y


def avg_pool2d_backward(gy: np.ndarray, x_shape: tuple[int, ...], win: Window, count_include_pad: bool) -> np.ndarray:
    """gx (N,H,W,C): each cell receives gy / cells from every window that saw it."""
    N, H, W, C = x_shape
    gx, cells = np.empty(x_shape, gy.dtype), _divisors(win, H, W, count_include_pad, gy.dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, gy.shape[2], C), gy.dtype)
        sum_along(gy[n0:n1] / cells, win, 0, middle, back=True)
        sum_along(middle, win, 1, gx[n0:n1], back=True)

    image_blocks(N, 2 * H * W * C * gy.itemsize, body)
    return gx
