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
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from . import explain
from .calls import Calls, watched
from .limit import Late

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
    in_place the arguments that the learner's function is meant to change, by name
    also     what else the learner changes for it, by name
    restart  whether the cases after one that failed may be run, to compare with known mistakes;
             not where a wrong answer may not end
    """

    number: str
    name: str
    goal: str
    check: Callable[[ModuleType], Iterator["Case"]]
    hints: tuple[str, ...] = ()
    bugs: tuple[Bug, ...] = ()
    in_place: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    restart: bool = True

    @property
    def names(self) -> list[str]:
        """What the learner writes, one name each."""
        return self.name.split(", ")


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
        return got, "" if problem and self.rounded(got) else problem

    def rounded(self, got: Any) -> bool:
        """Whether the result is right to float32's seven digits and no further."""
        if self.rtol == 0 or not difference(got, self.expected, self.rtol, self.atol):
            return False
        return _near(got, self.expected)


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


def _near(got: Any, expected: Any) -> bool:
    """Whether numbers agree to about seven digits, those of float32."""
    if isinstance(expected, tuple):
        same_length = isinstance(got, tuple | list) and len(got) == len(expected)
        return same_length and all(map(_near, got, expected))
    largest = float(np.abs(np.asarray(expected, np.float64)).max(initial=0))
    return not difference(got, expected, 1e-6, 1e-7 * largest)


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
    """The folder with the lessons: the current one, lessons/ in it, or the package's.

    Raises DataError when there is none.
    """
    here = Path.cwd()
    if (here / "lessons" / "exercises").is_dir():
        return here / "lessons"
    if all((here / part).is_dir() for part in ("exercises", "checks", "solutions")):
        return here
    return packaged_lessons()


def packaged_lessons() -> Path:
    """The lessons that came with the package: lessons/ next to it in a clone, a folder in it where
    it was installed.

    Raises DataError when they are in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package.parent / "lessons", package / "lesson_files"):
        if (place / "exercises").is_dir():
            return place
    raise DataError("there is no folder lessons/ with the exercises and their checks: they are "
                    "not part of the installed package; run this command in a clone of the "
                    "repository")


def exercises_folder() -> Path:
    """Where the learner's files are, if nothing else is said.

    Raises DataError where that would be inside the installed package.
    """
    folder = lessons_folder()
    if folder.name == "lesson_files":
        raise DataError("the exercises are still in the installed package; "
                        "python -m minitorch_alex.lessons DIR copies them into a folder, then run "
                        "this command there or give --exercises DIR/exercises")
    return folder / "exercises"


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
    # as bytes, so that Python reads a byte order mark and a coding line as it does in any file
    text = path.read_bytes() if source is None else source
    file = str(path) if source is None else f"<{path.name}, edited>"
    module = ModuleType(f"{path.parent.name}.{path.stem}" + ("" if source is None else ", edited"))
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses and pickle look a class's module up there
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
    folder = learner_folder or exercises_folder()
    path = folder / f"{lesson_name(lesson)}.py"
    return _own_or_solution(path, path.stat().st_mtime if path.exists() else 0.0, name)


@functools.cache
def _own_or_solution(path: Path, changed: float, name: str) -> Callable[..., Any]:
    exercise = next(e for e in exercises(path.stem) if name in (e.name, *e.names))
    if path.exists() and judge(exercise, path).passed:
        return getattr(load(path), name)
    return getattr(load(solution(path.stem)), name)


# Judging

UNSTEADY = ("two calls with the same arguments did not do the same: {}. Is something kept from one "
            "call to the next (a global, a default argument), drawn at random, or read before it "
            "is written (np.empty, as_strided past the end)?")
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


@dataclass(frozen=True)
class Attempt:
    """One case as it went; no problem when it passed.

    got        the output of the learner's code; (type, message) of what it raised
    unsteady   whether a second call gave something else
    arguments  those of the last call of the learner's function, by name
    """

    label: str
    got: Any = None
    problem: str = ""
    written: bool = True
    case: Case | None = None
    unsteady: bool = False
    rounded: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


def judge(exercise: Exercise, path: Path, module: ModuleType | None = None,
          sources: tuple[str, ...] = ()) -> Verdict:
    """Check the exercise in the learner's file at `path`, or in a module in place of it.

    sources   further files whose lines are the learner's, such as the cells of a notebook
    """
    files = str(path), *sources
    with looking_in(path.parent):
        rest = attempts(exercise, lambda: module or load(path), files)
        passed, failed = _until_failure(rest)
        if failed is None:
            note = ROUNDED if any(a.rounded for a in passed) else ""
            return Verdict(True, len(passed), note=note)
        if not failed.written:
            return Verdict(False, len(passed), False, failed.label, failed.problem)
        if _exception(failed) is Late:  # the other cases may not end either
            return Verdict(False, len(passed), True, failed.label, failed.problem)
        later = list(_for_a_while(rest)) if exercise.restart else []
    bugs, sure = _matching_bugs(exercise, path.stem, [*passed, failed, *later], len(passed))
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
    if failed.unsteady:
        return ""
    return explain.clue(failed.got, getattr(failed.case, "expected", None), failed.arguments,
                        [a.label for a in passed])


def attempts(
    exercise: Exercise, load_module: Callable[[], ModuleType], files: tuple[str, ...]
) -> Iterator[Attempt]:
    """The cases of an exercise as they go, in order, those after a failed one too.

    An error outside a case (while the file is read) is the last attempt.
    """
    calls = Calls()
    label = "reading the file"
    try:
        module = watched(load_module(), exercise.names, exercise.in_place, calls)
        cases = exercise.check(module)
        label = "the first call"
        while (case := next(cases, None)) is not None:
            yield _attempt(exercise, case, calls, files)
            label = f"after {case.label}"
    except GeneratorExit:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # anything that a learner's code can raise, sys.exit included
        yield _raised(exercise, label, error, files, calls)


def _attempt(
    exercise: Exercise, case: Case, calls: Calls, files: tuple[str, ...]
) -> Attempt:
    """Run one case."""
    calls.reset()
    timed = calls.pause() if isinstance(case, Faster) else contextlib.nullcontext()
    try:
        with np.errstate(all="ignore"), timed:
            got, problem = case.outcome()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return replace(_raised(exercise, case.label, error, files, calls), case=case)
    if not problem and calls.changed:
        names = " and ".join(dict.fromkeys(calls.changed))
        got = "changed", names
        problem = (f"the result is right, but the argument {names} came back changed: it belongs "
                   "to the caller; work on a new array")
    elif calls.unsteady and not (problem and calls.changed):
        problem = UNSTEADY.format(calls.unsteady) + (f" The first call: {problem}" if problem
                                                     else "")
        got = ("unsteady",) if got is None else got
    return Attempt(case.label, got, problem, True, case, bool(calls.unsteady),
                   isinstance(case, Same) and not problem and case.rounded(got), calls.arguments)


def _raised(
    exercise: Exercise, label: str, error: BaseException, files: tuple[str, ...], calls: Calls
) -> Attempt:
    """The attempt that ended in this exception."""
    got = type(error), str(error)
    if isinstance(error, NotImplementedError) and _is_given(exercise, error):
        return Attempt(label, got, str(error) or "not written yet", written=False)
    return Attempt(label, got, _error_line(error, files), arguments=calls.arguments)


def _is_given(exercise: Exercise, error: NotImplementedError) -> bool:
    """Whether the error is the given one: the first statement of its function, or an Answer's.

    A learner may raise NotImplementedError too, in a branch of their own.
    """
    text = str(error)
    return text.startswith((f"exercise {exercise.number}", "no answer yet"))


def _error_line(error: BaseException, files: tuple[str, ...]) -> str:
    """An exception of the learner's code as one line: where in their file, and what.

    The shapes of the arrays that the line names are added.
    """
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, Late):
        text = "it did not end in the time limit; is there a loop that never stops?"
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {text}"
    frames = [(frame, number) for frame, number in traceback.walk_tb(error.__traceback__)
              if frame.f_code.co_filename in files]
    if not frames:
        return text
    frame, number = frames[-1]
    line = linecache.getline(frame.f_code.co_filename, number).strip()
    shapes = {name: value.shape for name, value in frame.f_locals.items()
              if isinstance(value, np.ndarray) and re.search(rf"\b{re.escape(name)}\b", line)}
    told = ", ".join(f"{name} is {shape}" for name, shape in shapes.items())
    return f"line {number}: {line}   {text}" + (f"   (there {told})" if told else "")


def _for_a_while(rest: Iterator[Attempt], seconds: float = 3.0) -> Iterator[Attempt]:
    """What comes within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and (attempt := next(rest, None)) is not None:
        yield attempt


def _matching_bugs(
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
            alike = 0
            for mine in yours:
                theirs = other(alike)
                if theirs is None or not _same_attempt(mine, theirs, exact=alike <= passed):
                    break
                alike += 1
            if alike > passed:
                steps[bug] = alike
                whole = max(whole, alike)
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


def _exception(attempt: Attempt) -> type | None:
    """The type of the exception that ended a case."""
    got = attempt.got
    raised = isinstance(got, tuple) and len(got) == 2 and isinstance(got[0], type)
    return got[0] if raised else None


@functools.cache
def _attempts_with(exercise: Exercise, path: Path, bug: Bug) -> Callable[[int], Attempt | None]:
    """A function that gives attempt i of the solution with a mistake in it, each made once."""
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


def _same_attempt(a: Attempt, b: Attempt, exact: bool) -> bool:
    """Whether a case went the same way twice; of later exceptions only the type counts."""
    if bool(a.problem) != bool(b.problem) or a.unsteady and not b.unsteady:
        return False
    if not a.problem or isinstance(a.case, Faster):
        return True
    if _exception(a) and not exact:
        return _exception(a) is _exception(b)
    return _alike(a.got, b.got)


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
           "checks", "commentary", "difference", "exercises", "exercises_folder", "judge",
           "lesson_name", "lessons_folder", "load", "looking_in", "packaged_lessons", "solution",
           "yours"]
