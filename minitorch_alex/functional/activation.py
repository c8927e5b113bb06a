"""Non-linearities."""
from .. import backend
from ..autograd import Function
from ..tensor import Tensor
from .gates import Gate
from .layout import to_nchw, to_nhwc


class ReLU(Gate):
    """y = max(x, 0): it does not saturate for x > 0, so its gradient there is 1 (paper section
    3.1). Saves y. The layer behind may have done its backward pass, see gates.py."""

    def forward(self, x):
        x = to_nhwc(x)
        y = backend.kernels_for(x).relu(x)
        self.save(y)
        return to_nchw(y)

    def backward(self, gy):
        (y,) = self.saved  # y > 0 exactly where x > 0, and the next layer saves y anyway
        if self.has_passed(gy):
            return gy
        gy = to_nhwc(gy)
        return to_nchw(backend.kernels_for(gy).relu_backward(gy, y))


class Tanh(Function):
    """y = tanh(x): saturates, its gradient 1 - y^2 vanishes for large |x|. Saves y."""

    def forward(self, x):
        x = to_nhwc(x)
        y = backend.kernels_for(x).tanh(x)
        self.save(y)
        return to_nchw(y)

    def backward(self, gy):
        (y,) = self.saved  # the derivative is a function of y, so x is not needed
        gy = to_nhwc(gy)
        return to_nchw(backend.kernels_for(gy).tanh_backward(gy, y))


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return ReLU()(x)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh()(x)
