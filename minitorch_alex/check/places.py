"""Where the lessons are, and reading a file of theirs as a module."""
import contextlib
import functools
import linecache
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ..errors import DataError, UsageError
from .exercise import Exercise

LESSONS = ("01_conv", "02_im2col", "03_autograd", "04_gradcheck", "05_relu_pool", "06_lrn",
           "07_dropout", "08_train", "09_alexnet", "10_many")

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
    # the current folder first: a learner who has copied the lessons means those
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
    # site-packages is no place to write in: the next upgrade would delete what was solved
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


@functools.cache  # by path: the current folder decides which lessons are meant, and may change
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
    # not imported: the name begins with a digit, and an import would give the file as it was first
    exec(compile(text, file, "exec"), module.__dict__)
    return module


def solution(name: str) -> Path:
    """The file with a lesson's solutions."""
    return lessons_folder() / "solutions" / f"{name}.py"


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
