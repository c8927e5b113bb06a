"""The verdict on an exercise."""
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from . import explain, places
from .attempts import Attempt, attempts, exception
from .exercise import Bug, Exercise
from .limit import Late
from .mistakes import matching_bugs
from .places import exercises, exercises_folder, lesson_name, load, looking_in, solution

ROUNDED = ("right to seven digits only: precision was lost, so there is a float32 somewhere "
           "between float64 numbers (np.float32, a result array of float32?)")


@dataclass(frozen=True)
class Verdict:
    """How an exercise went: passed, not written yet, or failed.

    cases     how many cases passed
    written   False when the learner's code is still the given `raise NotImplementedError`
    label     the case that failed
    problem   why it failed
    bugs      the known mistakes that fail in the same way
    clue      what the wrong result has to do with the right one, where no known mistake fits
    note      a remark on what passed
    """

    passed: bool
    cases: int = 0
    written: bool = True
    label: str = ""
    problem: str = ""
    bugs: tuple[Bug, ...] = ()
    clue: str = ""
    note: str = ""

    @property
    def bug(self) -> Bug | None:
        """The first of the known mistakes."""
        return self.bugs[0] if self.bugs else None


def judge(exercise: Exercise, path: Path, module: ModuleType | None = None,
          sources: tuple[str, ...] = ()) -> Verdict:
    """Check the exercise in the learner's file at `path`, or in a module in place of it.

    sources   further files whose lines are the learner's, such as the cells of a notebook
    """
    if module is None and not path.exists():
        return Verdict(False, written=False, label="reading the file",
                       problem=f"there is no {path}; --reset {path.stem[:2]} brings it back")
    files = str(path), *sources
    # `yours` in the exercises of a later lesson has to find the same learner's earlier ones
    with looking_in(path.parent):
        rest = attempts(exercise, lambda: module or load(path), files)
        passed, failed = _until_failure(rest)
        if failed is None:
            note = ROUNDED if any(a.rounded for a in passed) else ""
            return Verdict(True, len(passed), note=note)
        if not failed.written:
            return Verdict(False, len(passed), False, failed.label, failed.problem)
        if exception(failed) is Late:  # the other cases may not end either
            return Verdict(False, len(passed), True, failed.label, failed.problem)
        # The first failure is what is told; the cases after it tell known mistakes apart which
        # give the same numbers in that one.
        later = list(_for_a_while(rest)) if exercise.restart else []
    bugs, sure = matching_bugs(exercise, path.stem, [*passed, failed, *later], len(passed))
    clue = "" if bugs and sure else _clue(failed, passed)
    if bugs and not sure:
        clue = ("only this case looks like it, others do not: there may be a second mistake, or "
                "another one" + (f". {clue}" if clue else ""))
    return Verdict(False, len(passed), True, failed.label, failed.problem, bugs, clue)


def _until_failure(rest: Iterator[Attempt]) -> tuple[list[Attempt], Attempt | None]:
    """The attempts that passed, and the first that did not; None when all passed."""
    passed: list[Attempt] = []
    for attempt in rest:
        if attempt.problem:
            return passed, attempt
        passed.append(attempt)
    return passed, None


def _clue(failed: Attempt, passed: list[Attempt]) -> str:
    """What the wrong result has to do with the right one; "" when it changes from call to call."""
    if failed.unsteady:  # whatever a comparison showed, the next call would contradict it
        return ""
    return explain.clue(failed.got, getattr(failed.case, "expected", None), failed.arguments,
                        [a.label for a in passed])


def _for_a_while(rest: Iterator[Attempt], seconds: float = 3.0) -> Iterator[Attempt]:
    """What comes within so many seconds: a slow solution must not make its learner wait."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and (attempt := next(rest, None)) is not None:
        yield attempt


def yours(lesson: str, name: str) -> Callable[..., Any]:
    """For use in exercises: function `name` of an earlier lesson.

    It is the learner's own once it passes its check, and the solution's until then: a mistake in
    lesson 2 must not make a right answer in lesson 4 look wrong.
    """
    folder = places.learner_folder or exercises_folder()
    path = folder / f"{lesson_name(lesson)}.py"
    return _own_or_solution(path, path.stat().st_mtime if path.exists() else 0.0, name)


@functools.cache  # judged once for each time the file is saved
def _own_or_solution(path: Path, changed: float, name: str) -> Callable[..., Any]:
    exercise = next(e for e in exercises(path.stem) if name in (e.name, *e.names))
    if path.exists() and judge(exercise, path).passed:
        return getattr(load(path), name)
    return getattr(load(solution(path.stem)), name)
