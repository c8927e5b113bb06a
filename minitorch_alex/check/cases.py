"""The four kinds of case that an exercise is checked by.

Each has a label, and outcome(), which runs the learner's code and returns (what came out, what is
wrong with it in one line, "" if nothing is).
"""
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compare import difference, near


@dataclass(frozen=True)
class Same:
    """The learner's result equals the expected one: an array, a number, or a tuple of them.

    A result that was rounded to float32 on the way is right too, and `rounded` says so; where the
    tolerance is 0, it has to be exact.
    """

    label: str
    run: Callable[[], Any]
    expected: Any
    rtol: float = 1e-9
    atol: float = 1e-12

    def outcome(self) -> tuple[Any, str]:
        got = self.run()
        problem = difference(got, self.expected, self.rtol, self.atol)
        # judged right, with a remark: the idea is understood, and float32 is what training uses
        return got, "" if problem and self.rounded(got) else problem

    def rounded(self, got: Any) -> bool:
        """Whether the result is right to float32's seven digits and no further."""
        if self.rtol == 0 or not difference(got, self.expected, self.rtol, self.atol):
            return False
        return near(got, self.expected)


@dataclass(frozen=True)
class Holds:
    """A property: run() returns (whether it holds, what was observed)."""

    label: str
    run: Callable[[], tuple[bool, str]]

    def outcome(self) -> tuple[Any, str]:
        holds, observed = self.run()
        return observed, "" if holds else observed


@dataclass(frozen=True)
class Faster:
    """`fast` takes at most 1 / times of the time of `slow`.

    Both are timed at least five times, and up to fifteen times while the ratio is not reached yet;
    the fastest of each counts. The ratio is far below the usual one, so that a busy machine does
    not fail it.
    """

    label: str
    fast: Callable[[], Any]
    slow: Callable[[], Any]
    times: float

    def outcome(self) -> tuple[Any, str]:
        fast = slow = float("inf")
        # in turns, so that another program which takes the processor slows both
        for i in range(15):
            fast = min(fast, _seconds(self.fast))
            slow = min(slow, _seconds(self.slow))
            if i >= 4 and slow >= self.times * fast:
                break
        if slow >= self.times * fast:
            return None, ""
        return None, (f"yours takes {1e3 * fast:.3g} ms, the other {1e3 * slow:.3g} ms; "
                      f"it should take less than {_part(self.times)} of that")


@dataclass(frozen=True)
class Answer:
    """A number that the learner worked out. within: the largest difference that is still right."""

    label: str
    run: Callable[[], Any]
    expected: float
    within: float = 0.0

    def outcome(self) -> tuple[Any, str]:
        got = self.run()
        if got is None:
            raise NotImplementedError("no answer yet: it is None")
        # True is an int for Python, and no answer to "how many?"
        if not isinstance(got, int | float | np.number) or isinstance(got, bool):
            return got, f"the answer should be a number, got {got!r}"
        right = abs(got - self.expected) <= self.within
        return got, "" if right else f"{got:,} is not the answer"


Case = Same | Holds | Faster | Answer


def _seconds(f: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    f()
    return time.perf_counter() - begin


def _part(n: float) -> str:
    return "half" if n == 2 else f"1/{n:g}"
