"""Judging the exercises of the lessons: what was expected, what came out, and which known mistake
gives exactly that.

An exercise is checked by cases, which a generator yields in order; the first that fails ends it.
Its bugs are edits of the solution's source text: a learner's wrong output is compared with the
output of each edited solution in the same case, and where they agree, the bug's sentence explains
what happened. So the checker recognises a mistake by its effect, not by the way it is written.

    def check_square(m):                                  # m: the learner's file, as a module
        yield Same("3 squared", lambda: m.square(3.0), 9.0)

    Exercise("1.1", "square", "square a number", check_square,
             bugs=(Bug("doubled", "this is twice the number, not its square",
                       old="x * x", new="2 * x"),))

The checks of lesson 1 are in lessons/checks/01_conv.py, next to its exercises and solutions.
"""
import contextlib
import functools
import linecache
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DataError, UsageError

LESSONS = ("01_conv", "02_im2col", "03_autograd", "04_gradcheck", "05_relu_pool", "06_lrn",
           "07_dropout", "08_train", "09_alexnet")


# What a check is made of

@dataclass(frozen=True)
class Bug:
    """A known mistake: the solution's source with `old`, which occurs in it once, replaced by
    `new`.

    `says` tells the learner what the mistake is.
    """

    name: str
    says: str
    old: str
    new: str


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    number   as in "1.2"
    name     what the learner writes: a function, a class or a number; two are joined by ", "
    goal     the task in a few words
    check    the generator of its cases
    hints    from a nudge to nearly the answer
    bugs     the mistakes that it recognises
    """

    number: str
    name: str
    goal: str
    check: Callable[[ModuleType], Iterator["Case"]]
    hints: tuple[str, ...] = ()
    bugs: tuple[Bug, ...] = ()

    @property
    def names(self) -> list[str]:
        """What the learner writes, one name each."""
        return self.name.split(", ")


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
    """A property: run() returns (whether it holds, what was observed)."""

    label: str
    run: Callable[[], tuple[bool, str]]

    def outcome(self) -> tuple[Any, str]:
        holds, observed = self.run()
        return observed, "" if holds else observed


@dataclass(frozen=True)
class Faster:
    """`fast` takes at most 1 / times of the time of `slow`.

    Both are timed at least three times, and up to ten times while the ratio is not reached yet.
    The ratio is far below the usual one, so that a busy machine does not fail it.
    """

    label: str
    fast: Callable[[], Any]
    slow: Callable[[], Any]
    times: float

    def outcome(self) -> tuple[Any, str]:
        fast = slow = float("inf")
        for i in range(10):
            fast = min(fast, _seconds(self.fast))
            slow = min(slow, _seconds(self.slow))
            if i >= 2 and slow >= self.times * fast:
                break
        ratio = slow / max(fast, 1e-9)
        if ratio >= self.times:
            return None, ""
        return None, (f"yours takes {1e3 * fast:.3g} ms, the other {1e3 * slow:.3g} ms: "
                      f"{ratio:.1f} times as fast, expected {self.times:g} times")


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
        if not isinstance(got, int | float | np.number) or isinstance(got, bool):
            return got, f"the answer should be a number, got {got!r}"
        right = abs(got - self.expected) <= self.within
        return got, "" if right else f"{got:,} is not the answer"


Case = Same | Holds | Faster | Answer


def _seconds(f: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    f()
    return time.perf_counter() - begin


def difference(got: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-12) -> str:
    """What differs, in one line: the shape, the dtype or the first wrong index; "" if nothing."""
    if expected is None:
        return "" if got is None else f"expected None, got {type(got).__name__}"
    if got is None:
        return "nothing came back (None): is the return missing?"
    if isinstance(expected, tuple):
        return _difference_of_tuples(got, expected, rtol, atol)
    try:
        g = np.asarray(got)
    except ValueError as error:
        return f"the result is not an array: {error}"
    e = np.asarray(expected)
    if g.dtype == object or g.dtype.kind in "US":
        return f"expected an array of numbers, got {type(got).__name__}"
    if g.shape != e.shape:
        return f"expected shape {e.shape}, got {g.shape}"
    integers_for_floats = g.dtype.kind in "iu" and e.dtype.kind in "iuf"
    if g.dtype.kind != e.dtype.kind and not integers_for_floats:
        return f"expected {e.dtype}, got {g.dtype}"
    wrong = ~np.isclose(g, e, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return ""
    if not g.ndim:
        return f"got {g.item():.10g}, expected {e.item():.10g}"
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"first difference at index {index}: got {g[index]:.10g}, expected {e[index]:.10g} "
            f"({wrong.sum():,} of {g.size:,} differ)")


def _difference_of_tuples(got: Any, expected: tuple, rtol: float, atol: float) -> str:
    count = len(got) if isinstance(got, tuple | list) else "one"
    if count != len(expected):
        return f"expected {len(expected)} results, got {count}"
    for i, (g, e) in enumerate(zip(got, expected, strict=True), 1):
        if text := difference(g, e, rtol, atol):
            return f"result {i} of {len(expected)}: {text}"
    return ""


# The files

learner_folder: Path | None = None  # where `yours` looks; None: lessons/exercises


@contextlib.contextmanager
def looking_in(folder: Path) -> Iterator[None]:
    """Inside this context, `yours` looks for the learner's files in `folder`."""
    global learner_folder
    before = learner_folder
    learner_folder = folder
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
    raise DataError("there is no folder lessons/ with the exercises and their checks: it is not "
                    "part of the installed package; run this command in a clone of the repository")


def lesson_name(number: str) -> str:
    """"03_autograd" for "03", "3" or "3.2". Raises UsageError when there is no such lesson."""
    digits = number.partition(".")[0]
    if not digits.isdigit() or not 1 <= int(digits) <= len(LESSONS):
        raise UsageError(f"there is no lesson {number!r}; give a lesson from 01 to "
                         f"{len(LESSONS):02}, or an exercise such as 1.1")
    return LESSONS[int(digits) - 1]


def exercises(name: str) -> tuple[Exercise, ...]:
    """The exercises of a lesson ("03_autograd"). Raises DataError when there are no lessons."""
    return checks(name).EXERCISES


def checks(name: str) -> ModuleType:
    """The checks of a lesson ("03_autograd"): lessons/checks/03_autograd.py, read once.

    Raises DataError when the lessons are not here.
    """
    return _checks_at(lessons_folder() / "checks" / f"{name}.py")


@functools.cache
def _checks_at(path: Path) -> ModuleType:
    if not path.exists():
        raise DataError(f"there is no {path}; git checkout brings the checks of the exercises "
                        "back")
    return load(path)


def load(path: Path, source: str | None = None) -> ModuleType:
    """The file at `path` as a new module each time; with `source`, that text in its place.

    Raises DataError when there is no such file.
    """
    if not path.exists():
        raise DataError(f"there is no {path}; git checkout brings an exercise back")
    # As Python reads its files: with a byte order mark or a coding line, if they have one.
    text = decode_source(path.read_bytes()) if source is None else source
    file = str(path) if source is None else f"<{path.name}, edited>"
    module = ModuleType(path.stem)
    module.__file__ = file
    linecache.cache.pop(file, None)  # otherwise a traceback would quote the file as it was before
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
        raise RuntimeError(f"bug {bug.name!r}: its text occurs {text.count(bug.old)} times in "
                           f"{path}, expected once")
    return load(path, text.replace(bug.old, bug.new))


def yours(lesson: str, name: str) -> Callable[..., Any]:
    """For use in exercises: function `name` of an earlier lesson.

    It is the learner's own once it passes its check, and the solution's until then: a mistake in
    lesson 2 must not make a right answer in lesson 4 look wrong.
    """
    folder = learner_folder or lessons_folder() / "exercises"
    path = folder / f"{lesson_name(lesson)}.py"
    return _own_or_solution(path, path.stat().st_mtime if path.exists() else 0.0, name)


@functools.cache
def _own_or_solution(path: Path, changed: float, name: str) -> Callable[..., Any]:
    exercise = next(e for e in exercises(path.stem) if name in (e.name, *e.names))
    if path.exists() and judge(exercise, path).passed:
        return getattr(load(path), name)
    return getattr(load(solution(path.stem)), name)


# Judging

@dataclass(frozen=True)
class Verdict:
    """How an exercise went: passed, not written yet, or failed.

    cases     how many cases passed
    written   False when the learner's code raised NotImplementedError
    label     the case that failed
    problem   why it failed
    bug       the known mistake that fails in the same way
    """

    passed: bool
    cases: int = 0
    written: bool = True
    label: str = ""
    problem: str = ""
    bug: Bug | None = None


@dataclass(frozen=True)
class _Run:
    """The cases of an exercise, up to the first that fails; no problem when all passed."""

    cases: int  # how many passed
    label: str = ""
    got: Any = None  # the output of the learner's code in the case that failed
    problem: str = ""
    written: bool = True


def judge(exercise: Exercise, path: Path, module: ModuleType | None = None) -> Verdict:
    """Check the exercise in the learner's file at `path`, or in a module loaded from it."""
    with looking_in(path.parent):
        run = _run_cases(exercise, lambda: module or load(path), str(path))
    if not run.problem:
        return Verdict(True, run.cases)
    bug = _matching_bug(exercise, path.stem, run) if run.written else None
    return Verdict(False, run.cases, run.written, run.label, run.problem, bug)


def _run_cases(exercise: Exercise, load_module: Callable[[], ModuleType], file: str) -> _Run:
    passed = 0
    label = "reading the file"
    try:
        cases = exercise.check(load_module())
        while True:
            label = "the first call" if passed == 0 else f"after {label}"
            case = next(cases, None)
            if case is None:
                return _Run(passed)
            label = case.label
            with np.errstate(all="ignore"):
                got, problem = case.outcome()
            if problem:
                return _Run(passed, label, got, problem)
            passed += 1
    except NotImplementedError as error:
        return _Run(passed, label, None, str(error) or "not written yet", written=False)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # anything that a learner's code can raise, sys.exit included
        return _Run(passed, label, (type(error), str(error)), _error_line(error, file))


def _error_line(error: BaseException, file: str) -> str:
    """An exception of the learner's code as one line: where in their file, and what."""
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {text}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"line {frames[-1].lineno}: {frames[-1].line}   {text}" if frames else text


def _matching_bug(exercise: Exercise, lesson: str, run: _Run) -> Bug | None:
    """The known mistake that fails in the same case with the same output."""
    path = solution(lesson)
    with looking_in(path.parent):
        for bug in exercise.bugs:
            module = _with_bug(path, bug)
            other = _run_cases(
                exercise, functools.partial(_with_bug, path, bug), str(module.__file__))
            if other.problem and other.cases == run.cases and _alike(run.got, other.got):
                return bug
    return None


def _alike(a: Any, b: Any) -> bool:
    """Whether two outputs are the same: arrays up to rounding, anything else exactly.

    A single number may have been rounded by the learner, so three digits have to agree.
    """
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_alike, a, b))
    try:
        x = np.asarray(a)
        y = np.asarray(b)
        if x.shape != y.shape:
            return False
        if x.dtype.kind not in "biufc" or y.dtype.kind not in "biufc":
            return bool(np.array_equal(x, y))
        exact = x.ndim or x.dtype.kind + y.dtype.kind in ("ii", "bb")
        rtol = 1e-6 if exact else 1e-3
        return bool(np.allclose(x, y, rtol=rtol, atol=1e-9, equal_nan=True))
    except (TypeError, ValueError):
        return False


def commentary(exercise: Exercise, lesson: str) -> str:
    """What the solution says about an exercise.

    For a function, the part of its docstring after "Commentary:"; for a number, the comment that
    begins with "# 1.3: ".
    """
    path = solution(lesson)
    value = getattr(load(path), exercise.names[0])
    if callable(value):
        text = (value.__doc__ or "").partition("Commentary:")[2]
    else:
        pattern = rf"^# {re.escape(exercise.number)}: ((?:.*\n)(?:# .*\n)*)"
        comment = re.search(pattern, path.read_text("utf-8"), re.M)
        text = comment[1].replace("\n# ", " ") if comment else ""
    return " ".join(text.split())


__all__ = ["LESSONS", "Answer", "Bug", "Case", "Exercise", "Faster", "Holds", "Same", "Verdict",
           "checks", "commentary", "difference", "exercises", "judge", "lesson_name",
           "lessons_folder", "load", "looking_in", "solution", "yours"]
