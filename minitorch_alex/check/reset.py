"""Putting an exercise back to how it was given: lessons/given/ has all files as they were."""
import ast
import shutil
from pathlib import Path

from ..errors import DataError
from . import Exercise, exercises, lessons_folder


def reset(lesson: str, number: str | None, folder: Path) -> Path:
    """Put one exercise, or with None the whole file of a lesson, back; returns the copy that is
    kept of the learner's file.

    Raises DataError when one exercise is asked for in a file that Python cannot read.
    """
    given = lessons_folder() / "given" / f"{lesson}.py"
    path = folder / f"{lesson}.py"
    if not given.exists():
        raise DataError(f"there is no {given}; git checkout brings it back")
    copy = path.with_suffix(".py.before")
    if path.exists():
        shutil.copyfile(path, copy)
    if number is None or not path.exists():
        shutil.copyfile(given, path)
        return copy
    exercise = next(e for e in exercises(lesson) if e.number == number)
    original = given.read_text(encoding="utf-8")
    try:
        text = path.read_text(encoding="utf-8-sig")
        text = with_given(text, original, exercise)
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}), so no part of it can be put back; "
                        f"--reset {lesson[:2]} puts back the whole file") from None
    path.write_text(text, encoding="utf-8")
    return copy


def with_given(text: str, original: str, exercise: Exercise) -> str:
    """`text` with the definitions of the exercise as they are in `original`."""
    for name in [*exercise.names, *exercise.also]:
        there = _place(original, name)
        if there is None:
            continue
        given = original.splitlines(keepends=True)[slice(*there)]
        here = _place(text, name)
        if here is None:
            text = text.rstrip("\n") + "\n\n\n" + "".join(given)
        else:
            lines = text.splitlines(keepends=True)
            lines[slice(*here)] = given
            text = "".join(lines)
    return text


def _place(text: str, name: str) -> tuple[int, int] | None:
    """The lines [begin, end) of the last definition of a name at the top level; None: none."""
    place = None
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            names = [node.name]
        elif isinstance(node, ast.Assign):
            first = node.lineno
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        else:
            continue
        if name in names and node.end_lineno is not None:
            place = first - 1, node.end_lineno
    return place
