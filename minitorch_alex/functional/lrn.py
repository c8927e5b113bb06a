"""Local response normalisation (paper section 3.3): strong neighbours turn a response down."""
import math

from ..errors import ShapeError
from ..tensor import Tensor
from .conv import check_images
from .gates import BehindGate
from .layout import to_nchw, to_nhwc
from .lrn_within import LocalResponseNormWithin


class LocalResponseNorm(BehindGate):
    """y_i = x_i D_i^-beta,  D_i = k + a sum_{j in window(i)} x_j^2,  over neighbouring channels.

        gx_i = gy_i D_i^-beta - 2 a beta x_i sum_{j: i in window(j)} gy_j x_j D_j^(-beta-1)

    The second term is the neighbours' share: x_i is in their windows. Those windows together are
    the mirror image of i's own (the same one for odd sizes). Saves x and D.
    """

    def __init__(self, size: int, a: float, beta: float, k: float, groups: int) -> None:
        self.size = size
        self.a = a
        self.beta = beta
        self.k = k
        self.groups = groups

    def forward(self, x):
        x = to_nhwc(x)
        y, scale = self.kernel("lrn", x)(x, self.size, self.a, self.beta, self.k, self.groups)
        self.save(x, scale)  # scale is D: without it backward would sum the squares again
        return to_nchw(y)

    def backward(self, gy):
        x, scale = self.saved
        gy = to_nhwc(gy)
        backward = self.kernel("lrn_backward", gy)
        gx = backward(gy, x, scale, self.size, self.a, self.beta, self.groups)
        return self.hand_back(to_nchw(gx))


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75,
                        k: float = 1.0, groups: int = 1, within_map: bool = False) -> Tensor:
    """y = x / (k + alpha / M * sum of squares over a window of M cells)^beta, for x (N,C,H,W), or
    across channels for x (N,C,L) and (N,C,D,H,W).

    The window is `size` channels, i - size//2 ... i - size//2 + size - 1 (M = size), cut at the
    edges and, with `groups`, at the seams between groups: in the paper the windows do not cross
    from one GPU to the other. With within_map it is size x size places of one channel (M = size^2;
    the 2012 code's `rnorm` layers).

    Conventions differ. The paper prints alpha without a division; the 2012 code, Caffe and torch
    divide by the window size, as here: pass alpha * size for the printed formula. The paper sets
    k = 2, torch and Caffe 1. Raises ShapeError for a size below 1 or groups that do not divide the
    channels.
    """
    if x.ndim in (3, 5) and not within_map:
        N, C = x.shape[:2]
        # (N, C, D, H, W) -> (N, C, D*H*W, 1) and back: each place is normalised by itself
        flat = x.reshape(N, C, math.prod(x.shape[2:]), 1)
        # (N, C, D*H*W, 1) -> (N, C, D, H, W)
        return local_response_norm(flat, size, alpha, beta, k, groups).reshape(x.shape)
    check_images("local_response_norm", x)
    if size < 1 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(f"local_response_norm: got size {size}, groups {groups} for {x.shape[1]} "
                         "channels, expected a size of at least 1 and groups that divide the "
                         "channels")
    if within_map:  # size x size cells
        return LocalResponseNormWithin(size, alpha / size ** 2, beta, k)(x)
    return LocalResponseNorm(size, alpha / size, beta, k, groups)(x)
