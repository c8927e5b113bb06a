"""The largest and the smallest element, of everything or along axes."""
from typing import Any, NamedTuple

from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..tensor import Operand, Tensor
from .basic import Dims, axes_of
from .pointwise import maximum, minimum


class Extreme(Function):
    """y = the "max" or "min" over some axes (all if None); saves which elements it equals. Equal
    ones share the gradient evenly."""

    def __init__(self, name: str, axis: tuple[int, ...] | None, keepdims: bool) -> None:
        self.name = name
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, x):
        y = getattr(x, self.name)(axis=self.axis, keepdims=True)
        ties = (x == y).astype(x.dtype)
        self.save(ties / ties.sum(axis=self.axis, keepdims=True))
        # (N, 1, W) -> (N, W), where axis 1 was reduced
        return y if self.keepdims else y.reshape(_without(y.shape, self.axis))

    def backward(self, gy):
        (shares,) = self.saved
        if self.axis is not None and not self.keepdims:
            gy = backend.xp_of(gy).expand_dims(gy, self.axis)
        return gy * shares


class Pick(Function):
    """y = the element at one index along an axis; saves nothing but the indices, which have size 1
    there: (..., 1, ...)."""

    def __init__(self, indices: Any, axis: int) -> None:
        self.indices = indices
        self.axis = axis

    def forward(self, x):
        self.x_shape = x.shape
        return backend.xp_of(x).take_along_axis(x, self.indices, self.axis)

    def backward(self, gy):
        xp = backend.xp_of(gy)
        n = self.x_shape[self.axis]
        along = [1] * len(self.x_shape)
        along[self.axis] = n
        places = xp.arange(n).reshape(along)  # (n,) -> (1, ..., n, ..., 1)
        return gy * (places == self.indices).astype(gy.dtype)  # no scattering: 0 elsewhere


class Extremes(NamedTuple):
    """What max and min give along an axis: the values, and a raw array of where they stand."""

    values: Tensor
    indices: Any


def _without(shape: tuple[int, ...], axis: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape after these axes (all if None) are dropped."""
    return () if axis is None else tuple(n for i, n in enumerate(shape) if i not in axis)


def _not_empty(name: str, x: Tensor) -> None:
    if not x.size:
        raise ShapeError(f"{name} of a tensor without elements, of shape {x.shape}")


def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest element over the axes `dim`, or of all; equal ones share the gradient."""
    _not_empty("amax", x)
    return Extreme("max", axes_of("amax", x, dim), keepdim)(x)


def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest element over the axes `dim`, or of all; equal ones share the gradient."""
    _not_empty("amin", x)
    return Extreme("min", axes_of("amin", x, dim), keepdim)(x)


def _where_extreme(name: str, x: Tensor, dim: int | None, keepdim: bool) -> Any:
    """The index of the first largest ("argmax") or smallest ("argmin") element."""
    _not_empty(name, x)
    axes = axes_of(name, x, dim)
    axis = axes[0] if axes else None
    data = x.data if x.ndim else x.data.reshape(1)  # () -> (1,)
    indices = getattr(data, name)(axis=axis)
    if not keepdim:
        return indices
    xp = backend.xp_of(data)
    if axis is None:
        return xp.asarray(indices).reshape((1,) * x.ndim)  # () -> (1, ..., 1)
    return xp.expand_dims(indices, axis)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the largest element stands along `dim` (in the flattened tensor if None), the first of
    equal ones: a raw array of integers, which indexing and cross_entropy take."""
    return _where_extreme("argmax", x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the smallest element stands, as `argmax`."""
    return _where_extreme("argmin", x, dim, keepdim)


def _extremes(name: str, x: Tensor, dim: int, keepdim: bool) -> Extremes:
    if x.ndim == 0:  # as in PyTorch, a number has an axis 0 of one element
        return Extremes(x.reshape(()), argmax(x, dim))
    axes = axes_of(name, x, dim)
    assert axes is not None
    indices = _where_extreme(f"arg{name}", x, dim, keepdim=True)
    values = Pick(indices, axes[0])(x)
    if keepdim:
        return Extremes(values, indices)
    shape = _without(values.shape, axes)
    # (N, 1, W) -> (N, W), where dim is 1
    return Extremes(values.reshape(shape), indices.reshape(shape))


def max(x: Tensor, dim: int | Operand | None = None, keepdim: bool = False) -> Any:
    """The largest element. With `dim` the pair (values, indices) along that axis, where the first
    of equal ones takes the gradient; with a Tensor in its place, `maximum` of the two."""
    if dim is None:
        return amax(x)
    return _extremes("max", x, dim, keepdim) if isinstance(dim, int) else maximum(x, dim)


def min(x: Tensor, dim: int | Operand | None = None, keepdim: bool = False) -> Any:
    """The smallest element, as `max`."""
    if dim is None:
        return amin(x)
    return _extremes("min", x, dim, keepdim) if isinstance(dim, int) else minimum(x, dim)
