"""What a Tensor does besides arithmetic when it meets an operator: indexing, comparing, becoming a
number. A base of Tensor, in a file of its own so that tensor.py stays short."""
import functools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from . import backend


class Operators:
    """Each method calls the function of the same name in functional/."""

    __slots__ = ()

    def __rpow__(self: Any, base: Any) -> Any:
        return _functional().power(base, self)

    def __rmatmul__(self: Any, other: Any) -> Any:
        return _functional().matmul(other, self)

    def __abs__(self: Any) -> Any:
        return _functional().abs(self)

    def __getitem__(self: Any, key: Any) -> Any:
        return _functional().index(self, key)

    def __iter__(self: Any) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    # Comparisons give raw arrays of booleans. Equal tensors are not the same key of a dictionary:
    # a Tensor hashes by identity.

    def __eq__(self: Any, other: object) -> Any:
        return _functional().eq(self, other) if _is_operand(other) else NotImplemented

    def __ne__(self: Any, other: object) -> Any:
        return _functional().ne(self, other) if _is_operand(other) else NotImplemented

    def __lt__(self: Any, other: Any) -> Any:
        return _functional().lt(self, other)

    def __le__(self: Any, other: Any) -> Any:
        return _functional().le(self, other)

    def __gt__(self: Any, other: Any) -> Any:
        return _functional().gt(self, other)

    def __ge__(self: Any, other: Any) -> Any:
        return _functional().ge(self, other)

    __hash__ = object.__hash__

    def __float__(self: Any) -> float:
        return self.item()

    def __bool__(self: Any) -> bool:
        return bool(self.item())

    def __format__(self: Any, spec: str) -> str:
        """A number's format for a tensor without axes: f"{loss:.3f}"."""
        return format(self.item(), spec) if self.ndim == 0 and spec else format(repr(self), spec)

    def where(self: Any, condition: Any, other: Any) -> Any:
        """self where the condition holds, else other. See functional.where."""
        return _functional().where(condition, self, other)


def _is_operand(value: object) -> bool:
    """Whether a comparison knows what to do with the value."""
    return isinstance(value, Operators | int | float) or backend.is_array(value)


@functools.cache
def _functional() -> ModuleType:
    """functional/, imported when an operator is first used: it imports tensor.py."""
    from . import functional
    return functional
