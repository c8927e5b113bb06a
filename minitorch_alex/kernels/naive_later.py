"""The formulas, as loops, of what came after AlexNet: batch normalisation, Adam; and the adjoint
of indexing. `naive.py` has the rest."""
import math

import numpy as np

# Batch normalisation


def batch_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean[c] = (1/M) sum x[...,c];   var[c] = (1/M) sum (x[...,c] - mean[c])^2, over the M rows.

    x (..., C)  ->  mean (C,), var (C,), the biased variance
    """
    C = x.shape[-1]
    M = x.size // C
    mean = np.zeros(C, x.dtype)
    var = np.zeros(C, x.dtype)
    for index in np.ndindex(x.shape):
        mean[index[-1]] += x[index] / M
    for index in np.ndindex(x.shape):
        var[index[-1]] += (x[index] - mean[index[-1]]) ** 2 / M
    return mean, var


def batch_norm(x: np.ndarray, mean: np.ndarray, scale: np.ndarray,
               shift: np.ndarray) -> np.ndarray:
    """y[...,c] = (x[...,c] - mean[c]) scale[c] + shift[c], with scale = weight / standard
    deviation (Ioffe and Szegedy 2015, algorithm 1).

    x (..., C)  mean, scale, shift (C,)  ->  y (..., C)
    """
    y = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        c = index[-1]
        y[index] = (x[index] - mean[c]) * scale[c] + shift[c]
    return y


def batch_norm_backward(gy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray,
                        scale: np.ndarray,
                        training: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """With xhat = (x - mean) inv_std:   gw[c] = sum gy xhat,   gb[c] = sum gy   over the M rows,

        gx = scale (gy - gb / M - xhat gw / M)   in training: each x moves mean and variance
        gx = scale gy                            in evaluation, where both are constants

    gy, x (..., C)  mean, inv_std, scale (C,)  ->  gx (..., C), gw (C,), gb (C,)
    """
    C = x.shape[-1]
    M = x.size // C
    gw = np.zeros(C, x.dtype)
    gb = np.zeros(C, x.dtype)
    for index in np.ndindex(x.shape):
        c = index[-1]
        gw[c] += gy[index] * (x[index] - mean[c]) * inv_std[c]
        gb[c] += gy[index]
    gx = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        c = index[-1]
        gx[index] = scale[c] * gy[index]
        if training:
            xhat = (x[index] - mean[c]) * inv_std[c]
            gx[index] -= scale[c] * (gb[c] + xhat * gw[c]) / M
    return gx, gw, gb


# Indexing


def scatter_add(g: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """total[places[i]] += g[i]: the adjoint of y = x[places], where a place may occur repeatedly.

    g (n,)  places (n,) integers  ->  total (size,)
    """
    total = np.zeros(size, g.dtype)
    for i in range(len(places)):
        total[places[i]] += g[i]
    return total


# Update


def adam(w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, lr: float, beta1: float,
         beta2: float, eps: float, weight_decay: float, step: int) -> None:
    """Step number `step` (from 1) of Adam, in place on weights w and moments m, v (1-D).

        g' = g + wd w;   m := b1 m + (1 - b1) g';   v := b2 v + (1 - b2) g'^2
        w := w - lr (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)

    Kingma and Ba 2015, algorithm 1, with torch.optim.Adam's weight decay. The divisions undo that
    both moments start at 0.
    """
    for i in range(w.shape[0]):
        gradient = g[i] + weight_decay * w[i]
        m[i] = beta1 * m[i] + (1 - beta1) * gradient
        v[i] = beta2 * v[i] + (1 - beta2) * gradient ** 2
        mean = m[i] / (1 - beta1 ** step)
        square = v[i] / (1 - beta2 ** step)
        w[i] -= lr * mean / (math.sqrt(square) + eps)
