"""Judging the exercises of the lessons: what was expected, what came, and which known mistake gives exactly that.

An exercise is checked by cases, which a generator yields in order; the first that fails ends it. Its bugs are edits of
the solution's source text: a learner's wrong output is compared with what each edited solution gives in the same case,
and where they agree the bug's sentence says what happened. So the checker recognises a mistake by what it does, not by
how it is written.

    def check_square(m):                                  # m: the learner's file, as a module
        yield Same("3 squared", lambda: m.square(3.0), 9.0)

    Exercise("1.1", "square", "square a number", check_square,
             bugs=(Bug("doubled", "this is twice the number, not its square", old="x * x", new="2 * x"),))
"""
import contextlib
import functools
import linecache
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DataError, UsageError

LESSONS = ("01_conv", "02_im2col", "03_autograd", "04_gradcheck", "05_relu_pool", "06_lrn", "07_dropout", "08_train",
           "09_alexnet")


# What a check is made of

@dataclass(frozen=True)
class Bug:
    """A known mistake: the solution's source with `old`, which stands in it once, replaced by `new`; `says` tells the
    learner what it is."""

    name: str
    says: str
    old: str
    new: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: its number ("1.2"), the name in the learner's file, the goal in a few words, the generator of its
    cases, hints from a nudge to nearly the answer, and the mistakes that it knows."""

    number: str
    name: str
    goal: str
    check: Callable[[ModuleType], Iterator["Case"]]
    hints: tuple[str, ...] = ()
    bugs: tuple[Bug, ...] = ()


@dataclass(frozen=True)
class Same:
    """The learner's result equals the expected one: an array, a number, or a tuple of them."""

    label: str
    run: Callable[[], Any]
    expected: Any
    rtol: float = 1e-9
    atol: float = 1e-12

    def outcome(self) -> tuple[Any, str]:
        got = self.run()
        return got, difference(got, self.expected, self.rtol, self.atol)


@dataclass(frozen=True)
class Holds:
    """A property: run() gives (whether it holds, what was seen)."""

    label: str
    run: Callable[[], tuple[bool, str]]

    def outcome(self) -> tuple[Any, str]:
        ok, seen = self.run()
        return seen, "" if ok else seen


@dataclass(frozen=True)
class Faster:
    """`fast` takes at most 1 / times of the time of `slow`, the best of three rounds, or of up to ten while it is not
    so yet: a floor far below what is usual, so that a busy machine does not fail it."""

    label: str
    fast: Callable[[], Any]
    slow: Callable[[], Any]
    times: float

    def outcome(self) -> tuple[Any, str]:
        fast = slow = float("inf")
        for i in range(10):
            fast, slow = min(fast, _seconds(self.fast)), min(slow, _seconds(self.slow))
            if i >= 2 and slow >= self.times * fast:
                break
        ratio = slow / max(fast, 1e-9)
        return None, "" if ratio >= self.times else (f"yours takes {1e3 * fast:.3g} ms, the other {1e3 * slow:.3g} ms: "
                                                     f"{ratio:.1f} times as fast, expected {self.times:g} times")


@dataclass(frozen=True)
class Answer:
    """A number that the learner worked out. within: the largest difference that still counts as right."""

    label: str
    run: Callable[[], Any]
    expected: float
    within: float = 0.0

    def outcome(self) -> tuple[Any, str]:
        got = self.run()
        if got is None:
            raise NotImplementedError("no answer yet: it is None")
        if not isinstance(got, int | float | np.number) or isinstance(got, bool):
            return got, f"the answer should be a number, it is {got!r}"
        return got, "" if abs(got - self.expected) <= self.within else f"{got:,} is not it"


Case = Same | Holds | Faster | Answer


def _seconds(f: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    f()
    return time.perf_counter() - begin


def difference(got: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-12) -> str:
    """"" when the two agree, else what is wrong in a line: the shape, the dtype, or the first wrong index."""
    if expected is None:
        return "" if got is None else f"expected None, got {type(got).__name__}"
    if got is None:
        return "nothing came back (None): is the return missing?"
    if isinstance(expected, tuple):
        if not isinstance(got, tuple | list) or len(got) != len(expected):
            return f"expected {len(expected)} results, got {len(got) if isinstance(got, tuple | list) else 'one'}"
        for i, (g, e) in enumerate(zip(got, expected, strict=True)):
            if text := difference(g, e, rtol, atol):
                return f"result {i + 1} of {len(expected)}: {text}"
        return ""
    try:
        g, e = np.asarray(got), np.asarray(expected)
    except ValueError as error:
        return f"the result is not an array: {error}"
    if g.dtype == object or g.dtype.kind in "US":
        return f"expected an array of numbers, got {type(got).__name__}"
    if g.shape != e.shape:
        return f"expected shape {e.shape}, got {g.shape}"
    if g.dtype.kind != e.dtype.kind and not (g.dtype.kind in "iu" and e.dtype.kind in "iuf"):
        return f"expected {e.dtype}, got {g.dtype}"
    wrong = ~np.isclose(g, e, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return ""
    if not g.ndim:
        return f"got {g.item():.10g}, expected {e.item():.10g}"
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"first difference at index {where}: got {g[where]:.10g}, expected {e[where]:.10g} "
            f"({wrong.sum():,} of {g.size:,} differ)")


# The files

learner_folder: Path | None = None  # where `yours` looks; None: lessons/exercises


@contextlib.contextmanager
def looking_in(folder: Path) -> Iterator[None]:
    """Inside, `yours` looks for the learner's files in `folder`."""
    global learner_folder
    before, learner_folder = learner_folder, folder
    try:
        yield
    finally:
        learner_folder = before


def lessons_folder() -> Path:
    """The folder lessons/: in the current folder, or next to the package.

    Raises DataError when it is in neither place.
    """
    for place in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (place / "lessons" / "exercises").is_dir():
            return place / "lessons"
    raise DataError("there is no folder lessons/ with the exercises and their checks: it is not part of the "
                    "installed package; run this command in a clone of the repository")


def lesson_name(number: str) -> str:
    """"03_autograd" for "03", "3" or "3.2". UsageError for what is no lesson."""
    digits = number.partition(".")[0]
    if not digits.isdigit() or not 1 <= int(digits) <= len(LESSONS):
        raise UsageError(f"there is no lesson {number!r}; there are 01 to {len(LESSONS):02}, with exercises 1.1 and on")
    return LESSONS[int(digits) - 1]


def exercises(name: str) -> tuple[Exercise, ...]:
    """The exercises of a lesson ("03_autograd")."""
    return checks(name).EXERCISES


def checks(name: str) -> ModuleType:
    """The checks of a lesson ("03_autograd"): lessons/checks/03_autograd.py as a module, read once.

    Raises DataError when the lessons are not there.
    """
    return _checks_at(lessons_folder() / "checks" / f"{name}.py")


@functools.cache
def _checks_at(path: Path) -> ModuleType:
    if not path.exists():
        raise DataError(f"there is no {path}; git checkout brings the checks of the exercises back")
    return load(path)


def load(path: Path, source: str | None = None) -> ModuleType:
    """The file at `path` as a module of its own, afresh each time; with `source`, that text in its place."""
    if not path.exists():
        raise DataError(f"there is no {path}; git checkout brings an exercise back")
    text = path.read_text(encoding="utf-8") if source is None else source
    file = str(path) if source is None else f"<{path.name}, edited>"
    module = ModuleType(path.stem)
    module.__file__ = file
    linecache.cache.pop(file, None)
    exec(compile(text, file, "exec"), module.__dict__)
    return module


def solution(name: str) -> Path:
    """The file with a lesson's solutions."""
    return lessons_folder() / "solutions" / f"{name}.py"


@functools.cache
def _with_bug(path: Path, bug: Bug) -> ModuleType:
    """The solution with one mistake in it."""
    text = path.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise RuntimeError(f"bug {bug.name!r}: its text stands {text.count(bug.old)} times in {path}, expected once")
    return load(path, text.replace(bug.old, bug.new))


def yours(lesson: str, name: str) -> Callable[..., Any]:
    """For use in exercises: function `name` of an earlier lesson, the learner's own once it passes its check, and until
    then the solution's."""
    folder = learner_folder or lessons_folder() / "exercises"
    path = folder / f"{lesson_name(lesson)}.py"
    return _settled(path, path.stat().st_mtime if path.exists() else 0.0, name)


@functools.cache
def _settled(path: Path, changed: float, name: str) -> Callable[..., Any]:
    exercise = next(e for e in exercises(path.stem) if name in {e.name, *e.name.split(", ")})
    if path.exists() and judge(exercise, path).passed:
        return getattr(load(path), name)
    return getattr(load(solution(path.stem)), name)


# Judging

@dataclass(frozen=True)
class Verdict:
    """How an exercise went: passed, or not written yet, or the case that failed, why, and the mistake it looks like."""

    passed: bool
    cases: int = 0
    written: bool = True
    label: str = ""
    problem: str = ""
    bug: Bug | None = None


def judge(exercise: Exercise, path: Path, module: ModuleType | None = None) -> Verdict:
    """Check the exercise in the learner's file at `path`, or in a module that was loaded from it."""
    with looking_in(path.parent):
        index, label, got, problem, written = _first_failure(exercise, lambda: module or load(path), str(path))
    if not problem:
        return Verdict(True, index)
    bug = _recognised(exercise, path.stem, index, got) if written else None
    return Verdict(False, index, written, label, problem, bug)


def _first_failure(exercise: Exercise, module: Callable[[], ModuleType], file: str) -> tuple[int, str, Any, str, bool]:
    """(its number, label, what the learner's code gave, what is wrong, whether it is written); "" in the place of what
    is wrong when all cases pass, and then the number is how many there are."""
    index, label = 0, "reading the file"
    try:
        cases = exercise.check(module())
        while True:
            label = "the first call" if index == 0 else f"after {label}"
            case = next(cases, None)
            if case is None:
                return index, "", None, "", True
            label = case.label
            with np.errstate(all="ignore"):
                got, problem = case.outcome()
            if problem:
                return index, label, got, problem, True
            index += 1
    except NotImplementedError as error:
        return index, label, None, str(error) or "not written yet", False
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # anything that a learner's code can do, sys.exit included
        return index, label, (type(error), str(error)), _fault(error, file), True


def _fault(error: BaseException, file: str) -> str:
    """An exception of the learner's code as a line: where in their file, and what."""
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {text}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"line {frames[-1].lineno}: {frames[-1].line}   {text}" if frames else text


def _recognised(exercise: Exercise, lesson: str, index: int, got: Any) -> Bug | None:
    """The known mistake that fails in the same case with the same output."""
    path = solution(lesson)
    with looking_in(path.parent):
        for bug in exercise.bugs:
            module = _with_bug(path, bug)
            number, _, other, problem, _ = _first_failure(exercise, lambda m=module: m, module.__file__)
            if problem and number == index and _alike(got, other):
                return bug
    return None


def _alike(a: Any, b: Any) -> bool:
    """Whether two outputs are the same: arrays to rounding, a single number, which a learner may have rounded, to three
    digits, anything else exactly."""
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_alike, a, b))
    try:
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype.kind in "biufc" and b.dtype.kind in "biufc":
            rtol = 1e-6 if a.ndim or a.dtype.kind + b.dtype.kind in ("ii", "bb") else 1e-3
            return a.shape == b.shape and bool(np.allclose(a, b, rtol=rtol, atol=1e-9, equal_nan=True))
        return bool(np.array_equal(a, b))
    except (TypeError, ValueError):
        return False


def commentary(exercise: Exercise, lesson: str) -> str:
    """What the solution says about an exercise: the docstring of its first function after "Commentary:", or for a
    number the comment that begins with "# 1.3: "."""
    path = solution(lesson)
    value = getattr(load(path), exercise.name.split(", ")[0])
    if callable(value):
        text = (value.__doc__ or "").partition("Commentary:")[2]
    else:
        found = re.search(rf"^# {re.escape(exercise.number)}: ((?:.*\n)(?:# .*\n)*)", path.read_text("utf-8"), re.M)
        text = found[1].replace("\n# ", " ") if found else ""
    return " ".join(text.split())


__all__ = ["LESSONS", "Answer", "Bug", "Case", "Exercise", "Faster", "Holds", "Same", "Verdict",
           "checks", "commentary", "difference", "exercises", "judge", "lesson_name",
           "lessons_folder", "load", "looking_in", "solution", "yours"]
