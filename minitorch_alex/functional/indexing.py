"""x[index]: every way to index that NumPy and PyTorch share."""
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from ..errors import UsageError
from ..tensor import Tensor

BASIC = (int, slice, type(None), type(Ellipsis))


class Index(Function):
    """y = x[index]. Each element of y gives its gradient back to the place that it came from; a
    place that was asked for several times collects from all.

    Integers, slices, None and ... name each place at most once: there the gradient is assigned.
    Arrays may name one more often, so `scatter_add` adds it up, in a fixed order.
    """

    def __init__(self, index: tuple) -> None:
        self.index = index

    def forward(self, x):
        self.x_shape = x.shape
        return x[self.index]

    def backward(self, gy):
        xp = backend.xp_of(gy)
        size = int(np.prod(self.x_shape, dtype=np.int64))
        if all(isinstance(part, BASIC) for part in self.index):
            gx = xp.zeros(self.x_shape, gy.dtype)
            gx[self.index] = gy
            return gx
        # The number of each element of x, indexed as x was: where each element of y came from.
        places = xp.arange(size).reshape(self.x_shape)[self.index]
        places = xp.ascontiguousarray(places.reshape(-1))         # shape of y -> (M,)
        grads = xp.ascontiguousarray(xp.asarray(gy).reshape(-1))  # shape of y -> (M,)
        total = backend.kernels_for(grads, places).scatter_add(grads, places, size)
        return total.reshape(self.x_shape)  # (size,) -> the shape of x


def _part(part: Any, like: Tensor) -> Any:
    """One entry of an index, its lists and host arrays as arrays of the back end of `like`.

    Raises UsageError for a Tensor, which holds no integers.
    """
    if isinstance(part, Tensor):
        raise UsageError("an index is a raw array of integers or booleans (x.argmax(), x > 0), "
                         "got a Tensor, which holds floating-point numbers")
    if isinstance(part, BASIC) and not isinstance(part, bool):
        return part
    if isinstance(part, np.integer):
        return int(part)
    if backend.is_array(part) and not isinstance(part, np.ndarray):
        return part
    array = np.asarray(part)
    if array.size == 0 and array.dtype.kind == "f":  # an empty list
        array = array.astype(np.int64)
    return backend.xp_of(like.data).asarray(array)


def index(x: Tensor, key: Any) -> Tensor:
    """x[key]: integers, slices, None, ..., and raw arrays or lists of integers or booleans, as in
    NumPy. Raises IndexError outside of x, UsageError for a Tensor as index."""
    parts = key if isinstance(key, tuple) else (key,)
    return Index(tuple(_part(part, x) for part in parts))(x)
