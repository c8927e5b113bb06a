"""Other shapes for the same elements, and tensors put together."""
import math
from collections.abc import Sequence

from .. import backend
from ..autograd import Function
from ..errors import ShapeError, UsageError
from ..tensor import Tensor
from .basic import axes_of, reshape, transpose


class Cat(Function):
    """y = arrays one after the other along an axis; each takes back its own part of the
    gradient."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays):
        self.sizes = [a.shape[self.axis] for a in arrays]
        return backend.xp_of(*arrays).concatenate(arrays, axis=self.axis)

    def backward(self, gy):
        gradients = []
        start = 0
        for size in self.sizes:
            part = (slice(None),) * self.axis + (slice(start, start + size),)
            gradients.append(gy[part])
            start += size
        return tuple(gradients)


class Expand(Function):
    """y = x repeated along axes of size 1 and along new axes in front. autograd.walk sums the
    gradient back, as after every broadcast."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        return backend.xp_of(x).broadcast_to(x, self.shape)

    def backward(self, gy):
        return gy


def view(x: Tensor, *shape: int) -> Tensor:
    """x in another shape, as `reshape`: whether memory is shared is not promised."""
    return reshape(x, *shape)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """x with the axes start_dim to end_dim made into one: flatten(x, 1) turns (N,C,H,W) into
    (N, C*H*W). As in PyTorch it starts with the first axis, and nn.Flatten with the second."""
    if x.ndim == 0:
        return reshape(x, 1)
    first = start_dim % x.ndim
    last = end_dim % x.ndim
    if not (-x.ndim <= start_dim < x.ndim and -x.ndim <= end_dim < x.ndim and first <= last):
        raise ShapeError(f"flatten: got start_dim {start_dim} and end_dim {end_dim} for a tensor "
                         f"of shape {x.shape}, expected two of its axes in order")
    middle = math.prod(x.shape[first:last + 1])
    return reshape(x, (*x.shape[:first], middle, *x.shape[last + 1:]))


def squeeze(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """x without its axes of size 1, or without those of them that `dim` names."""
    if dim is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axes = () if dim == () else axes_of("squeeze", x, dim) or ()
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in axes))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """x with a new axis of size 1, which becomes axis `dim` of the result."""
    if not -x.ndim - 1 <= dim <= x.ndim:
        raise ShapeError(f"unsqueeze: got dim {dim} for a tensor of shape {x.shape}, expected "
                         f"{-x.ndim - 1} to {x.ndim}")
    place = dim % (x.ndim + 1)
    return reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


def expand(x: Tensor, *sizes: int) -> Tensor:
    """x repeated to the shape `sizes`, where -1 keeps an axis; only axes of size 1 can grow."""
    wanted = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    new = len(wanted) - x.ndim
    shape = tuple(x.shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(wanted))
    kept = shape[max(new, 0):]
    if new < 0 or any(n not in (1, m) for n, m in zip(x.shape, kept, strict=True)):
        raise ShapeError(f"expand: {x.shape} does not expand to {wanted}; axes count from the "
                         "last one, and only those of size 1 can grow")
    return Expand(shape)(x)


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or a number as it is."""
    if x.ndim > 2:
        raise ShapeError(f"t: got a tensor of shape {x.shape}, expected at most two axes; use "
                         "transpose(dim0, dim1)")
    return transpose(x) if x.ndim == 2 else reshape(x, x.shape)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors put one after the other along `dim`; the other axes must be equal.

    As in PyTorch, tensors of shape (0,) are left out. Raises ShapeError when shapes do not fit,
    UsageError without tensors or with several dtypes.
    """
    if not len(tensors):
        raise UsageError("cat: got no tensors, expected at least one")
    parts = [x for x in tensors if x.shape != (0,)] or list(tensors[:1])
    if len({x.dtype for x in parts}) > 1:
        raise UsageError(f"cat: got tensors of {sorted({str(x.dtype) for x in parts})}, expected "
                         "one dtype")
    first = parts[0]
    axes = axes_of("cat", first, dim)
    if axes is None:
        raise ShapeError("cat: got tensors without axes; use stack")
    axis = axes[0]
    for x in parts:
        if x.ndim != first.ndim or any(n != m and i != axis for i, (n, m) in
                                       enumerate(zip(x.shape, first.shape, strict=True))):
            raise ShapeError(f"cat along axis {axis}: got shapes {first.shape} and {x.shape}, "
                             "expected equal sizes along the other axes")
    return Cat(axis)(*parts)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis `dim`."""
    shapes = {x.shape for x in tensors}
    if len(shapes) != 1:
        raise ShapeError(f"stack: got shapes {sorted(shapes)}, expected one shape")
    return cat([unsqueeze(x, dim) for x in tensors], dim)
