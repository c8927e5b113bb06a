"""Bias and ReLU in one pass over memory, after the product of a layer with weights."""
from .. import backend
from .gates import Gate
from .layout import contiguous, to_nchw, to_nhwc
from .places import bias_gradient


class BiasReLU(Gate):
    """y = max(x + b, 0), with one b for each channel of x (N,C,H,W) or column of x (N,O). Saves y.

        gx = gy where y > 0, else 0;   gb = the sum of gx over all axes but that of b

    For kernels that have it; fusion.py has its use.
    """

    def forward(self, x, b):
        x = to_nhwc(x)
        b = contiguous(b)
        y = backend.kernels_for(x, b).bias_relu(x, b)
        self.save(y)
        return to_nchw(y)

    def backward(self, gy):
        (y,) = self.saved
        passed = self.has_passed(gy)
        gx = to_nhwc(gy)
        if not passed:
            gx = backend.kernels_for(gx).relu_backward(gx, y)
        return to_nchw(gx), bias_gradient(self, gx)  # gb (C,) from gx (N,H,W,C)
