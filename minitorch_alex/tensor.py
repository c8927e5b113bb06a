"""Tensor: an array, its gradient, and the operation that made it."""
import functools
from types import ModuleType
from typing import Any

import numpy as np

from . import autograd, backend
from .errors import UsageError
from .operators import Operators


class Tensor(Operators):
    """An n-dimensional array that remembers where it came from.

        data            the raw array, float32 or float64, on the host or on a device
        grad            the accumulated gradient, a raw array of the same shape, on leaves only;
                        None before backward
        requires_grad   whether backward should reach it
        version         how often its numbers were overwritten in place, see versions.py
        creator         the Function that made it, None for a leaf

    `data` may be anything that `numpy.asarray` takes; integers and Python floats become float32,
    an array of float32 or float64 keeps its dtype. Names and meanings are PyTorch's. Raises
    KindError for what is not real numbers, None and masked arrays for instance.
    """

    __slots__ = ("__weakref__", "_data", "creator", "grad", "grad_place", "requires_grad",
                 "version")
    __array_priority__ = 100  # array + Tensor asks Tensor.__radd__

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            # Wrapping would lose the graph: silence here would be a wrong gradient later.
            raise UsageError("Tensor(data) got a Tensor; pass its .data, or use it as it is")
        self._data = backend.float_array(data)
        self.version = 0
        self.grad: Any = None
        self.grad_place: Any = None  # a view into an optimizer's flat gradients, see optim.SGD
        self.requires_grad = requires_grad
        self.creator: autograd.Function | None = None

    @property
    def data(self) -> Any:
        """The raw array."""
        return self._data

    @data.setter
    def data(self, array: Any) -> None:
        if array is self._data:  # t.data -= g writes into the array and then assigns it again
            self.version += 1
        self._data = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        origin = ", leaf" if self.requires_grad else ""
        if self.creator:
            origin = f", from {type(self.creator).__name__}"
        values = np.array2string(backend.to_numpy(self.data), precision=4, threshold=20,
                                 prefix="Tensor(")
        return f"Tensor({values}, shape {self.shape}, {self.dtype}{origin})"

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add d(self * gradient).sum()/d(leaf) to the .grad of every leaf behind self. See
        autograd.backward."""
        autograd.backward(self, gradient.data if isinstance(gradient, Tensor) else gradient,
                          retain_graph)

    def detach(self) -> "Tensor":
        """The same data as a leaf that no gradient passes."""
        return Tensor(self.data)

    def item(self) -> float:
        """The value of a one-element tensor. On a GPU this waits for the device: ask for it
        rarely."""
        if self.size != 1:
            raise UsageError(f"item() needs a tensor of one element, got shape {self.shape}")
        return float(backend.to_numpy(self.data).reshape(()))  # (1, ..., 1) -> ()

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array (for NumPy tensors the array itself, not a copy)."""
        return backend.to_numpy(self.data)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    # The operators. Each calls the function of the same name in functional/, where the mathematics
    # is.

    def __add__(self, other: "Operand") -> "Tensor":
        return _functional().add(self, other)

    __radd__ = __add__

    def __sub__(self, other: "Operand") -> "Tensor":
        return _functional().sub(self, other)

    def __rsub__(self, other: "Operand") -> "Tensor":
        return _functional().add(other, -self)  # other - self, for 1 - x

    def __mul__(self, other: "Operand") -> "Tensor":
        return _functional().mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: "Operand") -> "Tensor":
        return _functional().div(self, other)

    def __rtruediv__(self, other: "Operand") -> "Tensor":
        return _functional().div(other, self)  # other / self, for 1 / x

    def __neg__(self) -> "Tensor":
        return _functional().neg(self)

    def __pow__(self, p: "Operand") -> "Tensor":
        return _functional().power(self, p)

    def __matmul__(self, other: "Tensor") -> "Tensor":
        return _functional().matmul(self, other)

    def sum(self, dim: Any = None, keepdim: bool = False, **words: Any) -> "Tensor":
        """The sum over the axes `dim`, or over everything. See functional.sum."""
        return _functional().sum(self, dim, keepdim, **words)

    def mean(self, dim: Any = None, keepdim: bool = False, **words: Any) -> "Tensor":
        """The mean over the axes `dim`, or over everything. See functional.mean."""
        return _functional().mean(self, dim, keepdim, **words)

    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements in another shape, as reshape(2, 3) or reshape((2, 3)); one entry may
        be -1."""
        return _functional().reshape(self, *shape)

    def permute(self, *dims: Any) -> "Tensor":
        """The axes in the order `dims`, as permute(1, 0) or permute((1, 0))."""
        return _functional().permute(self, *dims)

    def transpose(self, dim0: int = 0, dim1: int = 1) -> "Tensor":
        """Two axes exchanged."""
        return _functional().transpose(self, dim0, dim1)

    @property
    def T(self) -> "Tensor":
        """The transpose of a matrix."""
        return _functional().t(self)

    def exp(self) -> "Tensor":
        """e^x of each element."""
        return _functional().exp(self)

    def log(self) -> "Tensor":
        """The natural logarithm of each element."""
        return _functional().log(self)


Operand = Tensor | float | np.ndarray  # what may stand on the other side of an operator


@functools.cache
def _functional() -> ModuleType:
    """functional/, imported when an operator is first used: it is the floor above and imports this
    file."""
    from . import functional
    return functional
