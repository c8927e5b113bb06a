"""Softmax and its logarithm, as one operation each, so that neither overflow nor log(0) can happen."""
from typing import Any

from .. import backend
from ..autograd import Function
from ..tensor import Tensor
from .basic import axes_of
from .pointwise import cast


class LogSoftmax(Function):
    """y = x - log sum exp x over one axis; saves y.   gx = gy - softmax(x) sum gy."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x):
        xp = backend.xp_of(x)
        y = x - x.max(axis=self.dim, keepdims=True)  # exp of at most 0: it cannot overflow
        y = y - xp.log(xp.exp(y).sum(axis=self.dim, keepdims=True))
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy - backend.xp_of(y).exp(y) * gy.sum(axis=self.dim, keepdims=True)


class Softmax(Function):
    """y = exp x / sum exp x over one axis; saves y.   gx = y (gy - sum gy y)."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x):
        # Shifting x by its maximum changes nothing in the quotient, and exp cannot overflow.
        y = backend.xp_of(x).exp(x - x.max(axis=self.dim, keepdims=True))
        y = y / y.sum(axis=self.dim, keepdims=True)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return y * (gy - (gy * y).sum(axis=self.dim, keepdims=True))


def softmax(x: Tensor, dim: int = -1, dtype: Any = None) -> Tensor:
    """exp x / sum exp x over the axis `dim`, computed in `dtype` if one is given."""
    return _along("softmax", Softmax, x, dim, dtype)


def log_softmax(x: Tensor, dim: int = -1, dtype: Any = None) -> Tensor:
    """log(softmax(x)) over the axis `dim`, without overflow, in `dtype` if one is given."""
    return _along("log_softmax", LogSoftmax, x, dim, dtype)


def _along(name: str, function: type[LogSoftmax] | type[Softmax], x: Tensor, dim: int,
           dtype: Any) -> Tensor:
    """A softmax of x along one axis; a tensor without axes counts as one of a single element."""
    axes_of(name, x, dim)  # raises for an axis that x does not have
    if not x.size:  # there is no largest element to subtract
        return cast(x, dtype or x.dtype)
    if x.ndim == 0:
        # () -> (1,) -> ()
        return function(0)(cast(x, dtype or x.dtype).reshape(1)).reshape(())
    return function(dim)(cast(x, dtype or x.dtype))
