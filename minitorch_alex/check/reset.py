"""Putting an exercise back to how it was given, and leaving the rest of the file as it is."""
import ast
import shutil
from pathlib import Path

from ..errors import DataError
from . import Exercise, exercises, lessons_folder, packaged_lessons
from .given import given


def reset(lesson: str, number: str | None, folder: Path) -> Path:
    """Put one exercise, or with None the whole file of a lesson, back; returns the copy that is
    kept of the learner's file.

    Raises DataError when one exercise is asked for in a file that Python cannot read, or the file
    as it was given is not to be found.
    """
    original = original_file(lesson, lessons_folder(), packaged_lessons())
    path = folder / f"{lesson}.py"
    copy = path.with_suffix(".py.before")
    if path.exists():
        shutil.copyfile(path, copy)
    if number is None or not path.exists():
        path.write_bytes(original)
        return copy
    exercise = next(e for e in exercises(lesson) if e.number == number)
    try:
        # utf-8-sig: Windows' Notepad begins a file with a byte order mark
        text = path.read_text(encoding="utf-8-sig")
        text = with_given(text, original.decode("utf-8"), exercise)
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}), so no part of it can be put back; "
                        f"--reset {lesson[:2]} puts back the whole file") from None
    path.write_text(text, encoding="utf-8")
    return copy


def text_given(exercise: Exercise, original: str) -> str:
    """The definitions of one exercise as it was given, out of the text of its file."""
    lines = original.splitlines(keepends=True)
    places = [_place(original, name) for name in [*exercise.names, *exercise.also]]
    return "\n\n".join("".join(lines[slice(*place)]) for place in places if place is not None)


def original_file(lesson: str, *folders: Path) -> bytes:
    """The exercise file of a lesson as it was given, out of one of these folders of lessons.

    Raises DataError where it is not found.
    """
    content = given(lesson, *folders)
    if content is None:
        raise DataError(f"lessons/exercises/{lesson}.py as it was given is neither in the package "
                        "nor in the history of a clone; get that file anew where you have the "
                        "lessons from")
    return content


def with_given(text: str, original: str, exercise: Exercise) -> str:
    """`text` with the definitions of the exercise as they are in `original`."""
    for name in [*exercise.names, *exercise.also]:
        there = _place(original, name)
        if there is None:
            continue
        lines_given = original.splitlines(keepends=True)[slice(*there)]
        here = _place(text, name)  # anew each time: what was put back before moved the lines
        if here is None:
            text = text.rstrip("\n") + "\n\n\n" + "".join(lines_given)
        else:
            lines = text.splitlines(keepends=True)
            lines[slice(*here)] = lines_given
            text = "".join(lines)
    return text


def _place(text: str, name: str) -> tuple[int, int] | None:
    """The lines [begin, end) of the last definition of a name at the top level; None: none."""
    place = None
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            # a decorator stands above its `def`, and belongs to it
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            names = [node.name]
        elif isinstance(node, ast.Assign):
            first = node.lineno
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        else:
            continue
        # no break: of several definitions Python takes the last, so that is the one to replace
        if name in names and node.end_lineno is not None:
            place = first - 1, node.end_lineno
    return place
