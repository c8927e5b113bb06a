"""Local response normalisation, across channels and within a map."""
from typing import Any

from ... import backend
from ..launch import launch

Array = Any  # a CuPy array


def lrn(x: Array, size: int, alpha: float, beta: float, k: float,
        groups: int) -> tuple[Array, Array]:
    """(y, scale): y = x scale^-beta with scale = k + alpha * (sum of x^2 over the window of
    channels)."""
    xp = backend.xp_of(x)
    C = x.shape[3]
    pixels = x.size // C
    y = xp.empty_like(x)
    scale = xp.empty_like(x)
    launch("lrn", x, C, pixels, (x, y, scale), pixels, C, C // groups, size,
           float(alpha), float(beta), float(k))
    return y, scale


def lrn_backward(gy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float,
                 groups: int) -> Array:
    """gx_i = gy_i scale_i^-beta - 2 alpha beta x_i sum_j gy_j x_j scale_j^(-beta-1), over the j
    whose windows contain i."""
    return _lrn_backward(gy, x, scale, size, alpha, beta, groups, of_relu=False)


def lrn_backward_of_relu(gy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float,
                         groups: int) -> Array:
    """As lrn_backward where x is the result of a ReLU: the gradient of what that ReLU was given, 0
    where x is not positive."""
    return _lrn_backward(gy, x, scale, size, alpha, beta, groups, of_relu=True)


def _lrn_backward(gy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float,
                  groups: int, of_relu: bool) -> Array:
    C = x.shape[3]
    pixels = x.size // C
    gx = backend.xp_of(gy, x, scale).empty_like(x)
    launch("lrn_backward", x, C, pixels, (gy, x, scale, gx), pixels, C, C // groups, size,
           float(alpha), float(beta), of_relu)
    return gx


def lrn_within(x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
    """(y, scale): y = x scale^-beta with scale = k + alpha * (sum of x^2 over size x size pixels
    of the same map)."""
    xp = backend.xp_of(x)
    y = xp.empty_like(x)
    scale = xp.empty_like(x)
    launch("lrn_within", x, x.size, 1, (x, y, scale), *x.shape, size,
           float(alpha), float(beta), float(k))
    return y, scale


def lrn_within_backward(gy: Array, x: Array, scale: Array, size: int, alpha: float,
                        beta: float) -> Array:
    """As lrn_backward, with the sum over the pixels whose windows contain pixel i."""
    gx = backend.xp_of(gy, x, scale).empty_like(x)
    launch("lrn_within_backward", x, x.size, 1, (gy, x, scale, gx), *x.shape, size,
           float(alpha), float(beta))
    return gx
