"""Running the cases of an exercise, whatever the learner's code does."""
import contextlib
import linecache
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from .calls import Calls, watched
from .cases import Case, Faster, Same
from .exercise import Exercise
from .limit import Late

UNSTEADY = ("two calls with the same arguments did not do the same: {}. Is something kept from "
            "one call to the next (a global, a default argument), drawn at random, or read before "
            "it is written (np.empty, as_strided past the end)?")


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
    except (GeneratorExit, KeyboardInterrupt):  # the judge has seen enough, or Ctrl-C
        raise
    except BaseException as error:  # anything that a learner's code can raise, sys.exit included
        yield _raised(exercise, label, error, files, calls)


def _attempt(
    exercise: Exercise, case: Case, calls: Calls, files: tuple[str, ...]
) -> Attempt:
    """Run one case."""
    calls.reset()
    # what is timed must not run twice as long because each call is made twice
    timed = calls.pause() if isinstance(case, Faster) else contextlib.nullcontext()
    try:
        # a learner's overflow is a wrong number to explain, not a warning on the terminal
        with np.errstate(all="ignore"), timed:
            got, problem = case.outcome()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return replace(_raised(exercise, case.label, error, files, calls), case=case)
    # A right result says nothing yet: the arguments may be spoilt, or the next call be different.
    # Of several faults the first is told that a learner would want to mend first.
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
    # type and message stand in for the output, so that a known mistake that raises is recognised
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
    # the innermost line of the learner's own files: what NumPy does below it tells them nothing
    frames = [(frame, number) for frame, number in traceback.walk_tb(error.__traceback__)
              if frame.f_code.co_filename in files]
    if not frames:
        return text
    frame, number = frames[-1]
    line = linecache.getline(frame.f_code.co_filename, number).strip()
    # "operands could not be broadcast" is a riddle without the shapes of what the line names
    shapes = {name: value.shape for name, value in frame.f_locals.items()
              if isinstance(value, np.ndarray) and re.search(rf"\b{re.escape(name)}\b", line)}
    told = ", ".join(f"{name} is {shape}" for name, shape in shapes.items())
    return f"line {number}: {line}   {text}" + (f"   (there {told})" if told else "")


def exception(attempt: Attempt) -> type | None:
    """The type of the exception that ended a case."""
    got = attempt.got
    raised = isinstance(got, tuple) and len(got) == 2 and isinstance(got[0], type)
    return got[0] if raised else None
