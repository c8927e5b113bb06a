"""Arithmetic, reshaping, reduction. Broadcasting is NumPy's; autograd.unbroadcast undoes it,
nobody here needs to."""
from collections.abc import Sequence
from typing import Any, TypeGuard

from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..tensor import Operand, Tensor


class Add(Function):
    """y = a + b."""

    def forward(self, a, b):
        return a + b  # broadcasting here is undone by autograd.walk

    def backward(self, gy):
        return gy, gy  # one array for both: whoever receives it must not write into it


class Mul(Function):
    """y = a b; saves each where the other's gradient is wanted."""

    def forward(self, a, b):
        self.save(a if self.needs[1] else None, b if self.needs[0] else None)
        return a * b

    def backward(self, gy):
        a, b = self.saved
        ga = gy * b if self.needs[0] else None
        gb = gy * a if self.needs[1] else None
        return ga, gb


class Div(Function):
    """y = a / b; saves b, and a where it is needed.   ga = gy / b,  gb = -gy a / b^2."""

    def forward(self, a, b):
        self.save(a if self.needs[1] else None, b)
        return a / b

    def backward(self, gy):
        a, b = self.saved
        ga = gy / b if self.needs[0] else None
        gb = -gy * a / (b * b) if self.needs[1] else None
        return ga, gb


class MulScalar(Function):
    """y = c x with a Python number c: a number never changes the dtype, and has no gradient."""

    def __init__(self, c: float) -> None:
        self.c = float(c)  # a NumPy scalar would promote

    def forward(self, x):
        return x * self.c

    def backward(self, gy):
        return gy * self.c


class AddScalar(Function):
    """y = x + c with a Python number c."""

    def __init__(self, c: float) -> None:
        self.c = float(c)  # a NumPy scalar would promote

    def forward(self, x):
        return x + self.c

    def backward(self, gy):
        return gy  # the same array: adding a constant changes no slope


class DivScalar(Function):
    """y = x / c with a Python number c."""

    def __init__(self, c: float) -> None:
        self.c = float(c)  # a NumPy scalar would promote

    def forward(self, x):
        return x / self.c

    def backward(self, gy):
        return gy / self.c


class Pow(Function):
    """y = x^p for a Python number p; saves x.   gx = gy p x^(p-1)."""

    def __init__(self, p: float) -> None:
        self.p = float(p)

    def forward(self, x):
        self.save(x)
        return x ** self.p

    def backward(self, gy):
        (x,) = self.saved
        if self.p == 0:  # the formula would give 0 x^-1, which is NaN at x = 0
            return gy * 0.0
        return gy * (self.p * x ** (self.p - 1))


class Exp(Function):
    """y = e^x; saves y."""

    def forward(self, x):
        y = backend.xp_of(x).exp(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * y


class Log(Function):
    """y = ln x; saves x."""

    def forward(self, x):
        self.save(x)
        return backend.xp_of(x).log(x)

    def backward(self, gy):
        (x,) = self.saved
        return gy / x


class Sum(Function):
    """y = sum over `axis` (all axes if None)."""

    def __init__(self, axis: int | tuple[int, ...] | None, keepdims: bool) -> None:
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, x):
        self.shape = x.shape
        return x.sum(axis=self.axis, keepdims=self.keepdims)

    def backward(self, gy):
        xp = backend.xp_of(gy)
        if self.axis is not None and not self.keepdims:
            gy = xp.expand_dims(gy, self.axis)  # the summed axes come back with size 1
        return xp.broadcast_to(gy, self.shape)  # each term of a sum receives the sum's gradient


class Reshape(Function):
    """y = x in another shape, elements in row-major order of the logical shape whatever the memory
    order."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        self.x_shape = x.shape
        try:
            return x.reshape(self.shape)
        except ValueError:
            raise ShapeError(f"reshape: {x.shape} has {x.size} elements and does not fit "
                             f"{self.shape}") from None

    def backward(self, gy):
        return gy.reshape(self.x_shape)  # the shape of y -> the shape of x


class Permute(Function):
    """y = x with its axes in another order."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x):
        # (2, 3, 4) -> (4, 2, 3) for the axes (2, 0, 1)
        return x.transpose(self.axes)

    def backward(self, gy):
        # y's axis k is x's axis axes[k]; back again, x's axis i is the one of y that came from it.
        return gy.transpose(tuple(self.axes.index(i) for i in range(len(self.axes))))


def check_broadcast(name: str, a: Tensor, b: Tensor) -> None:
    """Raises ShapeError unless the shapes fit, compared from the last axis on: (4, 3) and (3,) do,
    (4, 3) and (4,) do not."""
    for m, n in zip(reversed(a.shape), reversed(b.shape), strict=False):
        if m != n and m != 1 and n != 1:
            raise ShapeError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast: counted "
                             f"from the last axis, {m} meets {n}, expected equal sizes or 1; "
                             "reshape one of them")


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def add(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a + alpha b, broadcast."""
    b = b if alpha == 1 else mul(b, alpha)
    if is_number(b):
        return AddScalar(b)(a)
    if is_number(a):
        return AddScalar(a)(b)
    a = _tensor(a)
    b = _tensor(b)
    check_broadcast("add", a, b)
    return Add()(a, b)


def mul(a: Operand, b: Operand) -> Tensor:
    """a b, element by element, broadcast."""
    if is_number(b):
        return MulScalar(b)(a)
    if is_number(a):
        return MulScalar(a)(b)
    a = _tensor(a)
    b = _tensor(b)
    check_broadcast("mul", a, b)
    return Mul()(a, b)


def quotient(a: Operand, b: Operand) -> Tensor:
    """a / b, element by element, broadcast."""
    if is_number(b):
        return DivScalar(b)(a)
    if is_number(a):
        return MulScalar(a)(Pow(-1)(b))  # a number has no gradient, so b^-1 is all there is
    a = _tensor(a)
    b = _tensor(b)
    check_broadcast("div", a, b)
    return Div()(a, b)


def neg(x: Tensor) -> Tensor:
    """-x."""
    return MulScalar(-1.0)(x)


def sub(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a - alpha b, broadcast."""
    return add(a, -b, alpha=alpha)


def exp(x: Tensor) -> Tensor:
    """e^x."""
    return Exp()(x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm."""
    return Log()(x)


Dims = int | Sequence[int] | None  # one axis, several, or all


def axes_of(name: str, x: Tensor, dim: Dims, axis: Dims = None) -> tuple[int, ...] | None:
    """The axes that `dim`, or `axis` in NumPy's words, names, counted from the front; None for all.

    As in PyTorch an empty tuple names all axes, and 0 and -1 those of a tensor without axes.
    Raises ShapeError for an axis that x does not have.
    """
    dim = axis if dim is None else dim
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    axes = tuple(d + x.ndim if d < 0 else d for d in dims)
    if any(not 0 <= d < (x.ndim or 1) and (d, x.ndim) != (-1, 0) for d in axes):
        raise ShapeError(f"{name}: got dim {dim} for a tensor of shape {x.shape}, expected "
                         f"{-(x.ndim or 1)} to {(x.ndim or 1) - 1}")
    return axes if axes and x.ndim else None


def sum(x: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None,
        keepdims: bool = False) -> Tensor:
    """The sum over the axes `dim`, or over everything; `axis` and `keepdims` are NumPy's words for
    the same."""
    return Sum(axes_of("sum", x, dim, axis), keepdim or keepdims)(x)


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None,
         keepdims: bool = False) -> Tensor:
    """The mean over the axes `dim`, or over everything; `axis` and `keepdims` as in `sum`."""
    total = Sum(axes_of("mean", x, dim, axis), keepdim or keepdims)(x)
    if total.size and not x.size:  # the means of no images are none; those of no pixels are unknown
        raise ShapeError(f"mean of a tensor without elements, of shape {x.shape}")
    return MulScalar(total.size / max(1, x.size))(total)  # each sum has x.size / total.size terms


def _axes(arguments: tuple) -> tuple[int, ...]:
    """The axes or sizes of a call: f(2, 3) and f((2, 3)) mean the same."""
    if len(arguments) == 1 and isinstance(arguments[0], tuple | list):
        return tuple(arguments[0])
    return arguments


def reshape(x: Tensor, *shape: int | tuple[int, ...]) -> Tensor:
    """x in another shape; one entry may be -1."""
    return Reshape(_axes(shape))(x)


def permute(x: Tensor, *dims: int) -> Tensor:
    """x with its axes in the order `dims`; negative ones count from the end."""
    order = tuple(d % x.ndim for d in _axes(dims))
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"permute: {_axes(dims)} does not name each of the {x.ndim} axes of "
                         f"{x.shape} once")
    return Permute(order)(x)


def transpose(x: Tensor, dim0: int = 0, dim1: int = 1) -> Tensor:
    """x with two axes exchanged."""
    if x.ndim == 0 and {dim0, dim1} <= {0, -1}:  # PyTorch's exception: nothing to exchange
        return x
    order = list(range(x.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return Permute(tuple(order))(x)
