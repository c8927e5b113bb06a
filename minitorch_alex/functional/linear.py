"""The fully connected layer."""
import math

from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..tensor import Tensor
from .conv import check_dtypes
from .layout import contiguous
from .places import bias_gradient, places


class Linear(Function):
    """y = x w^T + b; saves x and w, each where the other's gradient is wanted.

    gx = gy w,  gw = gy^T x,  gb = sum over the batch of gy.
    """

    def forward(self, x, w, b):
        x = contiguous(x)
        w = contiguous(w)
        b = contiguous(b)
        kernels = backend.kernels_for(x, w, b)
        if hasattr(kernels, "linear_forward"):  # kernels that save something else
            y, saved = kernels.linear_forward(x, w, b)
        else:
            y = kernels.linear(x, w, b)
            saved = x if self.needs[1] else None, w if self.needs[0] else None
        self.save(*saved)
        return y

    def backward(self, gy):
        gy = contiguous(gy)
        kernels = backend.kernels_for(gy)
        if hasattr(kernels, "linear_backward"):
            gx, gw = kernels.linear_backward(gy, self.saved, self.needs, places(self))
        else:
            x, w = self.saved
            gx = kernels.linear_backward_input(gy, w) if self.needs[0] else None
            gw = kernels.linear_backward_weight(gy, x) if self.needs[1] else None
        gb = bias_gradient(self, gy)  # (N,O) -> (O,)
        return gx, gw, gb


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., I) times weight (O,I) transposed, plus bias (O,): (..., O). A weight (I,) is one
    output without an axis: (...).

    Raises ShapeError when the shapes do not fit, UsageError when the dtypes differ.
    """
    if weight.ndim not in (1, 2) or x.ndim < 1 or x.shape[-1] != weight.shape[-1]:
        features = weight.shape[-1] if weight.ndim else "features"
        raise ShapeError(f"linear: got input {x.shape}, expected (N, {features}) for weight "
                         f"{weight.shape}; flatten images first")
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise ShapeError(f"linear: got bias {bias.shape}, expected {weight.shape[:-1]}")
    check_dtypes("linear", x, weight, bias)
    if x.ndim == weight.ndim == 2:
        return Linear()(x, weight, bias)
    I = weight.shape[-1]
    rows = x.reshape(math.prod(x.shape[:-1]), I)  # (..., I) -> (N, I)
    matrix = weight.reshape(math.prod(weight.shape[:-1]), I)  # (O, I) or (I,) -> (O, I)
    offsets = None if bias is None else bias.reshape(len(matrix))  # (O,) or () -> (O,)
    y = Linear()(rows, matrix, offsets)
    return y.reshape(*x.shape[:-1], *weight.shape[:-1])  # (N, O) -> (..., O)
