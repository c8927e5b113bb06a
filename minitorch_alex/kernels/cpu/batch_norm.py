"""Batch normalisation: sums over the rows of a (rows, C) matrix, then one pass over it."""
from collections.abc import Callable

import numpy as np

from ..window import ceil_div
from ..workers import parallel_for
from .blocks import TILE, row_tiles


def _sum_of(rows: int, C: int, dtype: np.dtype,
            terms: Callable[[slice], np.ndarray]) -> np.ndarray:
    """The sum over all rows of terms(t) (tile, C), which is never there as a whole; tile by tile as
    in dense.sum_rows, in a fixed order."""
    step = max(1, TILE // C)
    sums = np.empty((ceil_div(rows, step), C), dtype)
    ones = np.ones(min(step, rows), dtype)

    def body(i0: int, i1: int) -> None:
        for i in range(i0, i1):
            tile = slice(i * step, min((i + 1) * step, rows))
            np.matmul(ones[:tile.stop - tile.start], terms(tile), out=sums[i])

    parallel_for(len(sums), body)
    return sums.sum(axis=0)


def batch_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel: x (..., C) -> (C,), (C,).

    In two passes: the mean of x^2 minus the square of the mean would cancel in float32.
    """
    C = x.shape[-1]
    x_rows = x.reshape(-1, C)  # (..., C) -> (M, C)
    M = len(x_rows)
    mean = _sum_of(M, C, x.dtype, lambda t: x_rows[t]) / M
    var = _sum_of(M, C, x.dtype, lambda t: np.square(x_rows[t] - mean)) / M
    return mean, var


def batch_norm(x: np.ndarray, mean: np.ndarray, scale: np.ndarray,
               shift: np.ndarray) -> np.ndarray:
    """y = (x - mean) scale + shift, channel by channel: x (..., C) -> (..., C)."""
    C = x.shape[-1]
    y = np.empty_like(x)
    x_rows = x.reshape(-1, C)  # (..., C) -> (M, C)
    y_rows = y.reshape(-1, C)  # (..., C) -> (M, C), a view: what is written there stands in y

    def body(t: slice) -> None:
        part = np.subtract(x_rows[t], mean, out=y_rows[t])
        part *= scale
        part += shift

    row_tiles(len(x_rows), C, body)
    return y


def batch_norm_backward(gy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray,
                        scale: np.ndarray,
                        training: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """gx, gw = sum gy xhat, gb = sum gy, with xhat = (x - mean) inv_std.

    In training gx = scale (gy - gb/M - xhat gw/M), in evaluation scale gy. Written as
    scale (gy - gb/M) - (x - mean) slope, it takes one multiplication per element less.
    """
    C = x.shape[-1]
    gx = np.empty_like(x)
    # (..., C) -> (M, C)
    g_rows, x_rows, gx_rows = (a.reshape(-1, C) for a in (gy, x, gx))
    M = len(x_rows)
    gb = _sum_of(M, C, x.dtype, lambda t: g_rows[t])
    gw = _sum_of(M, C, x.dtype, lambda t: g_rows[t] * (x_rows[t] - mean)) * inv_std
    M = max(1, M)  # a batch may be empty
    level = gb / M
    slope = scale * inv_std * gw / M

    def body(t: slice) -> None:
        part = gx_rows[t]
        if not training:
            np.multiply(g_rows[t], scale, out=part)
            return
        np.subtract(g_rows[t], level, out=part)
        part *= scale
        part -= (x_rows[t] - mean) * slope

    row_tiles(M, C, body)
    return gx, gw, gb
