"""The fully connected layer."""
from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..tensor import Tensor
from .conv import check_dtypes
from .layout import contiguous


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
        gx = None
        gw = None
        if hasattr(kernels, "linear_backward"):
            gx, gw = kernels.linear_backward(gy, self.saved, self.needs)
        else:
            x, w = self.saved
            if self.needs[0]:
                gx = kernels.linear_backward_input(gy, w)
            if self.needs[1]:
                gw = kernels.linear_backward_weight(gy, x)
        gb = kernels.sum_rows(gy) if self.needs[2] else None  # (N,O) -> (O,)
        return gx, gw, gb


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N,I) times weight (O,I) transposed, plus bias (O,): (N,O).

    Raises ShapeError when the shapes do not fit, UsageError when the dtypes differ.
    """
    if x.ndim != 2:
        raise ShapeError(f"linear: got input {x.shape}, expected (N, features); flatten images "
                         "first")
    if weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ShapeError(f"linear: got input {x.shape}, expected (N, {weight.shape[-1]}) for "
                         f"weight {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: got bias {bias.shape}, expected {weight.shape[:1]}")
    check_dtypes("linear", x, weight, bias)
    return Linear()(x, weight, bias)
