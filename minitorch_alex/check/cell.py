"""Judging what was written in a cell of a notebook, without a file.

A cell has no module of its own: its names are the notebook's. So the checks get a module in which
the learner's names stand among those that the exercise file would have had.
"""
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

from ..errors import UsageError
from . import Exercise, Verdict, exercises, judge, lesson_name, lessons_folder, load, solution


def check_cell(number: str, names: dict[str, Any]) -> tuple[Exercise, Verdict]:
    """The verdict on exercise `number` ("2.1") as written in `names`, a notebook's variables.

    The rest of the module (imports, tables) is that of the solution. Raises UsageError when there
    is no such exercise, or something that it asks for is not among the names.
    """
    lesson = lesson_name(number)
    exercise = next((e for e in exercises(lesson) if e.number == number), None)
    if exercise is None:
        raise UsageError(f"there is no exercise {number}; lesson {lesson[:2]} has "
                         f"{', '.join(e.number for e in exercises(lesson))}")
    wanted = [*exercise.names, *exercise.also]
    missing = [name for name in wanted if name not in names]
    # Taking it from the solution would call an exercise solved of which half is missing.
    if missing:
        raise UsageError(f"exercise {number} asks for {' and '.join(wanted)}: define "
                         f"{' and '.join(missing)} in a cell first")
    module = load(solution(lesson))
    written = ModuleType(module.__name__)
    written.__dict__.update(module.__dict__)
    written.__dict__.update({name: names[name] for name in wanted})
    # `yours` looks next to this path for the earlier lessons, so it is that of the exercises
    path = lessons_folder() / "exercises" / f"{lesson}.py"
    return exercise, judge(exercise, path, written, _files(names[name] for name in wanted))


def _files(values: Iterable[Any]) -> tuple[str, ...]:
    """The names of the files (of a cell: made up by the notebook) that functions come from."""
    names: list[str] = []
    for value in values:
        # a class has no code, its methods have
        members = vars(value).values() if isinstance(value, type) else [value]
        names += [member.__code__.co_filename for member in members
                  if isinstance(member, FunctionType)]
    return tuple(names)
