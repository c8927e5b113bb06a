"""The fully connected layer."""
from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..tensor import Tensor
from .conv import check_dtypes
from .layout import contiguous


class Linear(Function):
    """y = x w^T + b; saves x and w.   gx = gy w,  gw = gy^T x,  gb = sum over the batch of gy."""

    def forward(self, x, w, b):
        x, w = contiguous(x), contiguous(w)
        self.save(x, w)
        return backend.kernels_for(x, w, b).linear(x, w, contiguous(b))

    def backward(self, gy):
        x, w = self.saved
        gy, k = contiguous(gy), backend.kernels_for(gy)
        return (k.linear_backward_input(gy, w) if self.needs[0] else None,
                k.linear_backward_weight(gy, x) if self.needs[1] else None,
                k.sum_rows(gy) if self.needs[2] else None)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N,I) times weight (O,I) transposed, plus bias (O,): (N,O). ShapeError when the shapes do not fit."""
    if x.ndim != 2:
        raise ShapeError(f"linear: got input {x.shape}, expected (N, features); flatten images first")
    if weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ShapeError(f"linear: got input {x.shape}, expected (N, {weight.shape[-1]}) for weight {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: got bias {bias.shape}, expected {weight.shape[:1]}")
    check_dtypes("linear", x, weight, bias)
    return Linear()(x, weight, bias)
