"""Judging what was written in a cell of a notebook, without a file."""
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

from ..errors import UsageError
from . import Exercise, Verdict, exercises, judge, lesson_name, lessons_folder, load


def check_cell(number: str, names: dict[str, Any]) -> tuple[Exercise, Verdict]:
    """The verdict on exercise `number` ("2.1") as written in `names`, a notebook's variables.

    What `names` lacks is taken from the exercise as it was given. Raises UsageError when there is
    no such exercise, or none of it is among the names.
    """
    lesson = lesson_name(number)
    exercise = next((e for e in exercises(lesson) if e.number == number), None)
    if exercise is None:
        raise UsageError(f"there is no exercise {number}; lesson {lesson[:2]} has "
                         f"{', '.join(e.number for e in exercises(lesson))}")
    wanted = [name for name in [*exercise.names, *exercise.also] if name in names]
    if not wanted:
        raise UsageError(f"exercise {number} asks for {exercise.name}: define it in a cell first")
    path = lessons_folder() / "given" / f"{lesson}.py"
    module = load(path)
    written = ModuleType(module.__name__)
    written.__dict__.update(module.__dict__)
    written.__dict__.update({name: names[name] for name in wanted})
    return exercise, judge(exercise, path, written, _files(names[name] for name in wanted))


def _files(values: Iterable[Any]) -> tuple[str, ...]:
    """The names of the files (of a cell: made up by the notebook) that functions come from."""
    found = []
    for value in values:
        members = vars(value).values() if isinstance(value, type) else [value]
        found += [member.__code__.co_filename for member in members
                  if isinstance(member, FunctionType)]
    return tuple(found)
