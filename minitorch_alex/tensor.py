"""Tensor: an array, its gradient, and the operation that made it."""
from typing import Any

import numpy as np

from . import autograd, backend
from .errors import UsageError


class Tensor:
    """An n-dimensional array that remembers where it came from.

        data            the raw array, float32 or float64 (NumPy or device), never a Tensor
        grad            the accumulated gradient, a raw array of the same shape, on leaves only; None before backward
        requires_grad   whether backward should reach it
        creator         the Function that made it, None for a leaf

    Anything `numpy.asarray` takes may be given as data; integers and Python floats become float32, an array of
    float32 or float64 keeps its dtype. Names and meanings are PyTorch's. The operators (+ - * / ** @) and the methods
    sum, mean, reshape, permute, transpose, exp, log are given to the class by functional/basic.py, which defines them.
    """

    __slots__ = ("__weakref__", "creator", "data", "grad", "grad_place", "requires_grad")
    __array_priority__ = 100  # array + Tensor asks Tensor.__radd__

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            raise UsageError("Tensor(data) got a Tensor; pass its .data, or use it as it is")
        if isinstance(data, np.generic):  # what NumPy makes of a 0-d result
            data = np.asarray(data)
        elif not backend.is_array(data):
            data = backend.asarray(np.asarray(data, np.float32))
        if data.dtype not in (np.float32, np.float64):
            data = data.astype(np.float32)
        self.data = data
        self.grad: Any = None
        self.grad_place: Any = None  # a view into an optimiser's flat gradient buffer, see optim.SGD
        self.requires_grad = requires_grad
        self.creator: autograd.Function | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        how = f", from {type(self.creator).__name__}" if self.creator else ", leaf" if self.requires_grad else ""
        values = np.array2string(backend.to_numpy(self.data), precision=4, threshold=20, prefix="Tensor(")
        return f"Tensor({values}, shape {self.shape}, {self.dtype}{how})"

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add d(self * gradient).sum()/d(leaf) to the .grad of every leaf behind self. See autograd.backward."""
        autograd.backward(self, gradient.data if isinstance(gradient, Tensor) else gradient, retain_graph)

    def detach(self) -> "Tensor":
        """The same data as a leaf that no gradient passes."""
        return Tensor(self.data)

    def item(self) -> float:
        """The value of a one-element tensor. On a GPU this waits for the device: ask for it rarely."""
        if self.size != 1:
            raise UsageError(f"item() needs a tensor of one element, got shape {self.shape}")
        return float(backend.to_numpy(self.data).reshape(()))

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array (for NumPy tensors the array itself, not a copy)."""
        return backend.to_numpy(self.data)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None
