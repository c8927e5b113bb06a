"""Element by element, by array operations alone: what no layer of AlexNet needs and everybody
reaches for.

Comparisons give raw arrays of booleans, not Tensors: a Tensor holds floating-point numbers, which
have gradients. `where` and indexing take such arrays.
"""
from typing import Any

from .. import backend
from ..autograd import Function
from ..errors import UsageError
from ..tensor import Operand, Tensor
from .basic import Pow, check_broadcast, is_number, quotient


class Sqrt(Function):
    """y = sqrt(x); saves y.   gx = gy / (2 y)."""

    def forward(self, x):
        y = backend.xp_of(x).sqrt(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy / (2 * y)


class Abs(Function):
    """y = |x|; saves the sign of x, which is 0 at the kink."""

    def forward(self, x):
        xp = backend.xp_of(x)
        self.save(xp.sign(x))
        return xp.abs(x)

    def backward(self, gy):
        (sign,) = self.saved
        return gy * sign


class Sigmoid(Function):
    """y = 1 / (1 + e^-x) = (1 + tanh(x/2)) / 2, which cannot overflow; saves y.
    gx = gy y (1 - y)."""

    def forward(self, x):
        y = (backend.xp_of(x).tanh(x * 0.5) + 1) * 0.5
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * y * (1 - y)


class LeakyReLU(Function):
    """y = x where x > 0, else slope x; saves the slope of each element."""

    def __init__(self, slope: float) -> None:
        self.slope = float(slope)

    def forward(self, x):
        positive = (x > 0).astype(x.dtype)
        slopes = positive + self.slope * (1 - positive)
        self.save(slopes)
        return x * slopes

    def backward(self, gy):
        (slopes,) = self.saved
        return gy * slopes


class Round(Function):
    """y = x rounded, by "floor" or "trunc": flat everywhere, so its gradient is 0."""

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def forward(self, x):
        return getattr(backend.xp_of(x), self.rule)(x)

    def backward(self, gy):
        return gy * 0.0


class Power(Function):
    """y = a^b for two tensors; saves a, b and y.   ga = gy b a^(b-1),  gb = gy y ln a.

    Where b is 0, y is 1 whatever a is; where a is 0 and b not below 0, y does not change with b.
    The formulas would give NaN there, so they are not asked.
    """

    def forward(self, a, b):
        y = a ** b
        self.save(a, b, y)
        return y

    def backward(self, gy):
        a, b, y = self.saved
        xp = backend.xp_of(a, b)
        ga = None
        gb = None
        if self.needs[0]:
            one = xp.ones_like(b)
            ga = gy * b * a ** xp.where(b == 0, one, b - 1)
        if self.needs[1]:
            flat = (a == 0) & (b >= 0)
            gb = gy * y * xp.log(xp.where(flat, xp.ones_like(a), a))
        return ga, gb


class Extremum(Function):
    """y = the larger ("maximum") or smaller ("minimum") of a and b; saves both. Equal numbers share
    the gradient by halves."""

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, a, b):
        self.save(a, b)
        return getattr(backend.xp_of(a, b), self.name)(a, b)

    def backward(self, gy):
        a, b = self.saved
        larger = (a > b).astype(gy.dtype) + 0.5 * (a == b).astype(gy.dtype)
        share = larger if self.name == "maximum" else 1 - larger
        return gy * share, gy * (1 - share)


class Clamp(Function):
    """y = min(max(x, low), high), with None for no bound; saves all three. Each element's gradient
    goes to x, low or high, whichever it came from."""

    def forward(self, x, low, high):
        xp = backend.xp_of(x, low, high)
        self.save(x, low, high)
        y = x if low is None else xp.maximum(x, low)
        return y if high is None else xp.minimum(y, high)

    def backward(self, gy):
        x, low, high = self.saved
        xp = backend.xp_of(gy)
        at_low = xp.zeros_like(gy)
        at_high = xp.zeros_like(gy)
        if high is not None:
            at_high = (x > high).astype(gy.dtype)
            if low is not None:  # bounds in the wrong order: the upper one comes last and wins
                at_high = xp.maximum(at_high, (low > high).astype(gy.dtype))
        if low is not None:
            at_low = (x < low).astype(gy.dtype) * (1 - at_high)
        return gy * (1 - at_low - at_high), gy * at_low, gy * at_high


class Where(Function):
    """y = a where the condition holds, else b; saves nothing but the condition."""

    def __init__(self, condition: Any) -> None:
        self.condition = condition

    def forward(self, a, b):
        return backend.xp_of(a, b).where(self.condition, a, b)

    def backward(self, gy):
        nothing = backend.xp_of(gy).zeros_like(gy)
        xp = backend.xp_of(gy)
        return xp.where(self.condition, gy, nothing), xp.where(self.condition, nothing, gy)


class Cast(Function):
    """y = x in another precision."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, x):
        self.x_dtype = x.dtype
        return x.astype(self.dtype)

    def backward(self, gy):
        return gy.astype(self.x_dtype)


def tensor_like(value: Any, like: Tensor) -> Tensor:
    """A Tensor as it is; a number or an array as a Tensor of the dtype and back end of `like`."""
    if isinstance(value, Tensor):
        return value
    array = value if backend.is_array(value) else backend.xp_of(like.data).asarray(value)
    return Tensor(array.astype(like.dtype))


def _two(name: str, a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    """Both operands as Tensors of shapes that broadcast; one of them is a Tensor already."""
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        raise UsageError(f"{name}: got {type(a).__name__} and {type(b).__name__}, expected a Tensor "
                         "among them")
    left = a if isinstance(a, Tensor) else tensor_like(a, like=b)  # type: ignore[arg-type]
    right = tensor_like(b, left)
    check_broadcast(name, left, right)
    return left, right


def sqrt(x: Tensor) -> Tensor:
    """The square root."""
    return Sqrt()(x)


def abs(x: Tensor) -> Tensor:
    """The absolute value; its gradient at 0 is 0."""
    return Abs()(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return Sigmoid()(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope x."""
    return LeakyReLU(negative_slope)(x)


def power(x: Operand, p: Operand) -> Tensor:
    """x^p for a Tensor x and a number or Tensor p, or a number x and a Tensor p; broadcast.

    `pow` is the same function under PyTorch's name.
    """
    if is_number(p) and isinstance(x, Tensor):
        return Pow(p)(x)
    return Power()(*_two("pow", x, p))


pow = power


def div(a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """a / b, element by element, broadcast.

    rounding_mode "floor" rounds the result down, "trunc" towards 0, and then no gradient passes.
    Raises UsageError for another word.
    """
    if rounding_mode is None:
        return quotient(a, b)
    if rounding_mode not in ("floor", "trunc"):
        raise UsageError(f"div: got rounding_mode {rounding_mode!r}, expected None, 'floor' or "
                         "'trunc'")
    return Round(rounding_mode)(quotient(a, b))


def maximum(a: Operand, b: Operand) -> Tensor:
    """The larger of a and b, element by element, broadcast; equal ones share the gradient."""
    return Extremum("maximum")(*_two("maximum", a, b))


def minimum(a: Operand, b: Operand) -> Tensor:
    """The smaller of a and b, element by element, broadcast; equal ones share the gradient."""
    return Extremum("minimum")(*_two("minimum", a, b))


def clamp(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """min where x is below it, max where x is above it, else x; the bounds are numbers or Tensors,
    broadcast. Raises UsageError without a bound."""
    if min is None and max is None:
        raise UsageError("clamp: got no bound, expected min, max or both")
    bounds = [None if bound is None else _two("clamp", x, bound)[1] for bound in (min, max)]
    return Clamp()(x, *bounds)


def where(condition: Any, a: Operand, b: Operand) -> Tensor:
    """a where the condition, a raw array of booleans, holds, else b; all three broadcast.

    Raises UsageError for a condition of another kind.
    """
    first, second = _two("where", a, b)
    if isinstance(condition, Tensor):
        raise UsageError("where: expected a raw array of booleans, x > 0 for example, got a Tensor")
    xp = backend.xp_of(first.data, second.data)
    mask = xp.asarray(condition)  # a list, or an array of the host as labels may be
    if mask.dtype.kind != "b":
        raise UsageError("where: expected a raw array of booleans, x > 0 for example, got "
                         f"{type(condition).__name__} of {mask.dtype}")
    return Where(mask)(first, second)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """x in float32 or float64; the gradient comes back in the precision of x."""
    return x if x.dtype == dtype else Cast(dtype)(x)


def _compare(name: str, a: Operand, b: Operand) -> Any:
    left, right = _two(name, a, b)
    if name == "eq":
        return left.data == right.data
    if name == "ne":
        return left.data != right.data
    if name == "lt":
        return left.data < right.data
    return left.data <= right.data


def eq(a: Operand, b: Operand) -> Any:
    """a == b, element by element: a raw array of booleans."""
    return _compare("eq", a, b)


def ne(a: Operand, b: Operand) -> Any:
    """a != b, element by element: a raw array of booleans."""
    return _compare("ne", a, b)


def lt(a: Operand, b: Operand) -> Any:
    """a < b, element by element: a raw array of booleans."""
    return _compare("lt", a, b)


def le(a: Operand, b: Operand) -> Any:
    """a <= b, element by element: a raw array of booleans."""
    return _compare("le", a, b)


def gt(a: Operand, b: Operand) -> Any:
    """a > b, element by element: a raw array of booleans."""
    return _compare("lt", b, a)


def ge(a: Operand, b: Operand) -> Any:
    """a >= b, element by element: a raw array of booleans."""
    return _compare("le", b, a)
