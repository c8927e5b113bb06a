"""What a learner's function is not supposed to do besides returning a right result: change its
arguments, or remember something from one call to the next.

`watched(module, ...)` is the module with its functions wrapped. Each call is made twice with the
same arguments, and the arguments are compared with what they were:

    calls = Calls()
    m = watched(module, ["relu"], (), calls)
    m.relu(x)
    calls.changed, calls.unsteady       (["x"], "") if relu wrote into x
"""
import contextlib
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

PLAIN = (int, float, bool, str, np.number, type(None))


class Calls:
    """What was seen while a case ran.

    changed    names of arguments that a call changed
    unsteady   how two calls with the same arguments differed; "" if they did not
    arguments  name and value of each argument of the last call, as it was before the call
    """

    def __init__(self) -> None:
        self.paused = False
        self.reset()

    def reset(self) -> None:
        self.changed: list[str] = []
        self.unsteady = ""
        self.arguments: dict[str, Any] = {}

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Inside this context, calls go straight through: for what is timed."""
        self.paused = True
        try:
            yield
        finally:
            self.paused = False


def watched(
    module: ModuleType, names: list[str], in_place: tuple[str, ...], calls: Calls
) -> ModuleType:
    """A copy of the module whose functions `names` report to `calls`.

    in_place   names of the arguments that the exercise wants changed
    """
    # a copy: the functions inside the file go on to call each other directly, once each
    copy = ModuleType(module.__name__)
    copy.__dict__.update(module.__dict__)
    for name in names:
        function = module.__dict__.get(name)
        if isinstance(function, FunctionType):
            copy.__dict__[name] = _Watched(function, in_place, calls)
    return copy


class _Watched:
    """A function that is called twice for each call of it."""

    def __init__(
        self, function: Callable[..., Any], in_place: tuple[str, ...], calls: Calls
    ) -> None:
        self.function = function
        self.in_place = in_place
        self.calls = calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plain = all(_is_plain(a) for a in [*args, *kwargs.values()])
        if self.calls.paused or not plain:  # a graph or a callback would be walked twice
            return self.function(*args, **kwargs)
        first = [*args, *kwargs.values()]
        before = [_copy(a) for a in first]
        names = _names(self.function, len(args), list(kwargs))
        self.calls.arguments = dict(zip(names, before, strict=True))
        result = self.function(*args, **kwargs)
        for name, now, was in zip(names, first, before, strict=True):
            if name not in self.in_place and not _same(now, was, exact=True):
                self.calls.changed.append(name)
        # the second call may write into the very array that the first returned
        kept = _copy(result)
        self._again(args, kwargs, before, result)
        return kept if self.calls.unsteady else result

    def _again(self, args: tuple, kwargs: dict[str, Any], before: list[Any], result: Any) -> None:
        """The same call once more, on copies; notes what is different."""
        kept = _copy(result)
        second = [_copy(a) for a in before]
        try:
            again = self.function(*second[:len(args)],
                                  **dict(zip(kwargs, second[len(args):], strict=True)))
        except Exception as error:
            self.calls.unsteady = f"the second raised {type(error).__name__}: {error}"
            return
        if not _same(again, kept):
            self.calls.unsteady = "their results differ"
        elif not all(_same(a, b) for a, b in zip(second, [*args, *kwargs.values()], strict=True)):
            self.calls.unsteady = "they left different numbers in their arguments"
        elif _share(again, result):
            self.calls.unsteady = ("both results are one and the same array, so the second call "
                                   "overwrites what the first returned")


def _names(function: Callable[..., Any], count: int, keywords: list[str]) -> list[str]:
    """The names of the arguments of a call, by position and then by keyword."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    positional = [*parameters, *(f"argument {i + 1}" for i in range(len(parameters), count))]
    return [*positional[:count], *keywords]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN) or isinstance(value, np.ndarray) and value.dtype != object


def _copy(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_copy, value))
    if isinstance(value, list):
        return [_copy(v) for v in value]
    return np.copy(value, order="K") if isinstance(value, np.ndarray) else value


def _same(a: Any, b: Any, exact: bool = False) -> bool:
    """Whether two values are equal; not exactly: up to what another address does to a sum.

    What is not plain (a dict, a function) counts as equal.
    """
    if not (_is_plain(a) and _is_plain(b)):
        return True
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(_same(x, y, exact) for x, y in zip(a, b, strict=True))
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return type(a) is type(b) and bool(a == b)
    try:
        x = np.asarray(a)
        y = np.asarray(b)
    except ValueError:  # lists that are not rectangular
        return True
    return _same_arrays(x, y, exact)


def _same_arrays(x: np.ndarray, y: np.ndarray, exact: bool) -> bool:
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.dtype.kind not in "fc":
        return bool(np.array_equal(x, y))
    if exact:
        return bool(np.array_equal(x, y, equal_nan=True))
    with np.errstate(all="ignore"):
        largest = float(np.abs(x[np.isfinite(x)]).max(initial=0))
        # the copies lie at other addresses, so BLAS may sum in another order
        near = 1e3 * np.finfo(x.dtype).eps
        return bool(np.allclose(x, y, rtol=near, atol=near * largest, equal_nan=True))


def _share(a: Any, b: Any) -> bool:
    """Whether two results have memory in common."""
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return any(_share(x, y) for x in a for y in b)
    arrays = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return arrays and a.size > 0 and bool(np.may_share_memory(a, b))
