"""Local response normalisation, across channels and within a map."""
import numpy as np

from ..window import Window
from .blocks import image_blocks, row_tiles
from .pool import sum_along


def _power(scale: np.ndarray, beta: float) -> np.ndarray:
    """scale^beta; for the paper's 3/4 by square roots, which are several times cheaper than a power."""
    if beta != 0.75:
        return scale ** beta
    root = np.sqrt(scale)
    root *= np.sqrt(root)
    return root


def _bands(C: int, size: int, groups: int, factor: np.ndarray, mirrored: bool = False) \
        -> list[tuple[slice, slice, np.ndarray]]:
    """factor times the window sum over channels, as matrix products: (from, to, band), with band[j, i] = factor where
    channel j lies in the window of channel i, i - size//2 ... i - size//2 + size - 1, inside i's group; `mirrored`
    transposes it: the channels whose windows hold i. Cut to 32 channels: all else of the C x C band is zero."""
    before, after = size // 2, size - 1 - size // 2
    if mirrored:
        before, after = after, before
    plan, cg = [], C // groups
    for g0 in range(0, C, cg):
        for c0 in range(g0, g0 + cg, 32):
            to = slice(c0, min(c0 + 32, g0 + cg))
            source = slice(max(g0, to.start - before), min(g0 + cg, to.stop + after))
            j, i = np.arange(source.start, source.stop)[:, None], np.arange(to.start, to.stop)[None, :]
            plan.append((source, to, ((j >= i - before) & (j <= i + after)) * factor))
    return plan


def lrn(x: np.ndarray, size: int, alpha: float, beta: float, k: float, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """y = x scale^-beta with scale = k + alpha * (sum of x^2 over the channel window); returns (y, scale)."""
    C = x.shape[3]
    y, scale = np.empty_like(x), np.empty_like(x)
    rows, y_rows, s_rows = x.reshape(-1, C), y.reshape(-1, C), scale.reshape(-1, C)
    plan = _bands(C, size, groups, x.dtype.type(alpha))

    def body(t: slice) -> None:
        squares, part = np.square(rows[t]), s_rows[t]
        for source, to, band in plan:
            np.matmul(squares[:, source], band, out=part[:, to])
        part += k
        np.divide(rows[t], _power(part, beta), out=y_rows[t])

    row_tiles(len(rows), C, body)
    return y, scale


def lrn_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float, groups: int) \
        -> np.ndarray:
    """gx_i = gy_i scale_i^-beta - 2 alpha beta x_i sum_j gy_j x_j scale_j^(-beta-1), over the windows j that hold i."""
    C = x.shape[3]
    gx = np.empty_like(x)
    x_rows, g_rows, s_rows, gx_rows = (a.reshape(-1, C) for a in (x, gy, scale, gx))
    plan = _bands(C, size, groups, x.dtype.type(-2 * alpha * beta), mirrored=True)

    def body(t: slice) -> None:
        direct = g_rows[t] / _power(s_rows[t], beta)
        cross = direct * x_rows[t]
        cross /= s_rows[t]
        part = gx_rows[t]
        for source, to, band in plan:
            np.matmul(cross[:, source], band, out=part[:, to])
        part *= x_rows[t]
        part += direct

    row_tiles(len(x_rows), C, body)
    return gx


def _box_sum(values: np.ndarray, size: int, mirrored: bool = False) -> np.ndarray:
    """The sum over rows h - size//2 ... h - size//2 + size - 1 and the like columns, zeros outside the map."""
    before = size - 1 - size // 2 if mirrored else size // 2
    win, same = Window((size, size), padding=(before, before)), values.shape
    middle, total = np.empty(same, values.dtype), np.empty(same, values.dtype)
    sum_along(values, win, 1, middle)
    sum_along(middle, win, 0, total)
    return total


def lrn_within(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> tuple[np.ndarray, np.ndarray]:
    """y = x scale^-beta with scale = k + alpha * (sum of x^2 over a size x size window of the same map)."""
    y, scale = np.empty_like(x), np.empty_like(x)

    def body(n0: int, n1: int) -> None:
        np.multiply(_box_sum(np.square(x[n0:n1]), size), alpha, out=scale[n0:n1])
        scale[n0:n1] += k
        np.divide(x[n0:n1], _power(scale[n0:n1], beta), out=y[n0:n1])

    image_blocks(x.shape[0], 4 * x.nbytes // max(1, len(x)), body)
    return y, scale


def lrn_within_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float) \
        -> np.ndarray:
    """As lrn_backward, the sum running over the spatial windows that hold a cell."""
    gx = np.empty_like(x)

    def body(n0: int, n1: int) -> None:
        n = slice(n0, n1)
        direct = gy[n] / _power(scale[n], beta)
        np.multiply(_box_sum(direct * x[n] / scale[n], size, mirrored=True), x[n], out=gx[n])
        gx[n] *= -2 * alpha * beta
        gx[n] += direct

    image_blocks(x.shape[0], 4 * x.nbytes // max(1, len(x)), body)
    return gx
