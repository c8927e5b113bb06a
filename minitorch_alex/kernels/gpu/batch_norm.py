"""Batch normalisation: sums over the rows of a (rows, C) matrix, then one pass over it."""
from typing import Any

from ... import backend
from ..launch import launch
from ..window import ceil_div
from .bias import STEP, sum_rows

Array = Any  # a CuPy array


def batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel: x (..., C) -> (C,), (C,)."""
    C = x.shape[-1]
    rows = x.reshape(-1, C)  # (..., C) -> (M, C)
    M = len(rows)
    mean = sum_rows(rows) / M
    sums = backend.xp_of(x).empty((ceil_div(M, STEP), C), x.dtype)
    launch("square_sums", x, C, len(sums), (rows, mean, sums), M, C, STEP)
    return mean, sum_rows(sums) / M


def batch_norm(x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """y = (x - mean) scale + shift, channel by channel: x (..., C) -> (..., C)."""
    C = x.shape[-1]
    y = backend.xp_of(x, mean, scale, shift).empty_like(x)
    M = x.size // C
    launch("batch_norm", x, C, M, (x, mean, scale, shift, y), M, C)
    return y


def batch_norm_backward(gy: Array, x: Array, mean: Array, inv_std: Array, scale: Array,
                        training: bool) -> tuple[Array, Array, Array]:
    """gx, gw = sum gy xhat, gb = sum gy, with xhat = (x - mean) inv_std; `naive_later` has the
    formula."""
    xp = backend.xp_of(gy, x, mean, inv_std, scale)
    C = x.shape[-1]
    M = x.size // C
    gb = sum_rows(gy)
    sums = xp.empty((ceil_div(M, STEP), C), x.dtype)
    launch("product_sums", x, C, len(sums), (gy, x, mean, inv_std, sums), M, C, STEP)
    gw = sum_rows(sums)
    gx = xp.empty_like(x)
    share = 1 / M if training else 0.0  # in evaluation mean and variance are constants
    launch("batch_norm_backward", x, C, M, (gy, x, mean, inv_std, scale, gw, gb, gx), M, C, share)
    return gx, gw, gb
