"""Batch normalisation of a batch that several ranks have in parts, with the statistics of the whole:

    forward     every rank's (M_r, mean_r, var_r)  ->  mean = sum M_r mean_r / M
                                                       var  = sum M_r (var_r + (mean_r - mean)^2) / M
    backward    every rank's sums gw_r, gb_r       ->  gw, gb, which the gradient of each x needs

So a layer of C channels sends 2 C + 1 numbers forward and 2 C back, whatever the images. All ranks
take part in both directions, also one whose part is empty.
"""
from typing import Any

import numpy as np

from .. import backend
from ..comm import Comm


def moments(x: Any, kernels: Any, ranks: Comm) -> tuple[Any, Any, int]:
    """(mean, biased variance, number of values) of each channel of all ranks' x (N_r, ..., C)."""
    xp = backend.xp_of(x)
    C = x.shape[-1]
    own = xp.zeros((1, 2 * C + 1), np.float64)
    if x.size:
        own[0, :C], own[0, C:-1] = kernels.batch_moments(x)
        own[0, -1] = x.size // C
    rows = ranks.gather(own)  # (1, 2 C + 1) -> (P, 2 C + 1)
    counts = rows[:, -1:]     # (P, 1)
    count = int(counts.sum())
    # In float64: the same on every rank, and no rounding of its own.
    mean = (counts * rows[:, :C]).sum(axis=0) / max(1, count)
    spread = rows[:, C:-1] + xp.square(rows[:, :C] - mean)  # (P, C)
    var = (counts * spread).sum(axis=0) / max(1, count)
    return mean.astype(x.dtype), var.astype(x.dtype), count


def backward(gy: Any, saved: tuple[Any, Any, Any, Any], count: int, kernels: Any,
             ranks: Comm) -> tuple[Any, Any, Any]:
    """gx, and this rank's share of gw and gb, for gy (N_r, ..., C) and M = count values of all.

    The kernel for constant statistics gives scale gy; what flows through the statistics, which
    depend on every rank's x, comes on top:

        gx = scale gy - (x - mean) scale inv_std gw/M - scale gb/M
    """
    x, mean, inv_std, scale = saved
    xp = backend.xp_of(gy)
    C = len(mean)
    gx = gy
    gw = xp.zeros(C, gy.dtype)
    gb = xp.zeros(C, gy.dtype)
    if gy.size:
        gx, gw, gb = kernels.batch_norm_backward(gy, x, mean, inv_std, scale, False)
    sums = ranks.sum(xp.concatenate([gw, gb]))  # (C,), (C,) -> (2 C,)
    if gy.size:
        slope = -scale * inv_std * sums[:C] / count
        gx += kernels.batch_norm(x, mean, slope, -scale * sums[C:] / count)
    return gx, gw, gb
