"""Which of the known mistakes gives what the learner's code gave.

Each mistake is planted into the solution, and what comes out is compared case by case:

    the learner's     right  right  0.5  2.0        the first wrong number is in the third case
    pad forgotten     right  0.0                    no: it fails earlier
    divided by N      right  right  0.5  1.5        it fails there too, and differs later
    mean for sum      right  right  0.5  2.0        this is it
"""
import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .attempts import Attempt, attempts, exception
from .cases import Faster
from .compare import same_output
from .exercise import Bug, Exercise
from .places import load, looking_in, solution


def matching_bugs(
    exercise: Exercise, lesson: str, yours: list[Attempt], passed: int
) -> tuple[tuple[Bug, ...], bool]:
    """(the known mistakes that fail first in the same case with the same output, whether they
    agree in all later cases too).

    Those that agree to the end are told, all of them: nothing tells them apart. Where none does,
    those that agree longest.
    """
    path = solution(lesson)
    steps: dict[Bug, int] = {}
    whole = 0
    with looking_in(path.parent):
        for bug in exercise.bugs:
            other = _attempts_with(exercise, path, bug)
            alike = 0  # how many cases, from the first, went the same way
            for mine in yours:
                theirs = other(alike)
                if theirs is None or not _same_attempt(mine, theirs, exact=alike <= passed):
                    break
                alike += 1
            if alike > passed:  # the failed one is among them
                steps[bug] = alike
                whole = max(whole, alike)
    # One that agrees as long as any other does, and no further, may still be another mistake:
    # `sure` says whether there was no later case that told them apart.
    best = tuple(bug for bug, alike in steps.items() if alike == whole)
    sure = whole == len(yours)
    if not sure and np.size(_numbers(yours[passed].got)) < 4:
        return (), False  # a few numbers agree by chance
    return best, sure


def _numbers(got: Any) -> Any:
    """The numbers of an output, () if it is none."""
    if isinstance(got, tuple | list):
        return [number for part in got for number in np.ravel(_numbers(part))]
    return got if isinstance(got, np.ndarray | int | float | np.number) else ()


@functools.cache
def _attempts_with(exercise: Exercise, path: Path, bug: Bug) -> Callable[[int], Attempt | None]:
    """A function that gives attempt i of the solution with a mistake in it, each made once."""
    # Cached, and run only as far as the learner's own attempts go: with two hundred mistakes a
    # lesson would otherwise take minutes.
    module = _with_bug(path, bug)
    rest = attempts(exercise, lambda: module, (str(module.__file__),))
    made: list[Attempt] = []

    def get(i: int) -> Attempt | None:
        while len(made) <= i:
            attempt = next(rest, None)
            if attempt is None:
                return None
            made.append(attempt)
        return made[i]
    return get


@functools.cache
def _with_bug(path: Path, bug: Bug) -> ModuleType:
    """The solution with one mistake in it."""
    text = path.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:  # somebody rewrote the solution and forgot the mistake
        raise RuntimeError(f"bug {bug.name!r}: its text occurs {text.count(bug.old)} times in "
                           f"{path}, expected once")
    return load(path, text.replace(bug.old, bug.new))


def _same_attempt(a: Attempt, b: Attempt, exact: bool) -> bool:
    """Whether a case went the same way twice; of later exceptions only the type counts."""
    if bool(a.problem) != bool(b.problem) or a.unsteady and not b.unsteady:
        return False
    # times are never equal; that both are too slow is all that counts
    if not a.problem or isinstance(a.case, Faster):
        return True
    # the message may have a shape in it, which a second mistake changes
    if exception(a) and not exact:
        return exception(a) is exception(b)
    return same_output(a.got, b.got)
