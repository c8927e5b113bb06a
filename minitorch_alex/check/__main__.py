"""python -m minitorch_alex.check 03: are your exercises right, and if not, which mistake is it?"""
import argparse
import contextlib
import json
import sys
import textwrap
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..errors import DataError, UsageError
from ..training import cli
from . import (
    LESSONS,
    Exercise,
    Verdict,
    commentary,
    exercises,
    exercises_folder,
    judge,
    lesson_name,
    solution,
)
from .limit import Late, time_limit
from .reset import reset

NOT_SOLVED = 8  # exit code
TIME_LIMIT = 120  # seconds an exercise may take


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.parser(
        "minitorch_alex.check",
        "Check your exercises. Without a lesson: all in order, up to the first lesson that is not "
        "solved.",
        cli.EXIT_CODES.replace(
            "\n  130", f"\n  {NOT_SOLVED}  an exercise is not solved yet\n  130"))
    parser.add_argument("what", nargs="?", metavar="LESSON",
                        help="a lesson (03) or one exercise (3.2)")
    parser.add_argument("--list", action="store_true",
                        help="list all exercises, and which are solved")
    parser.add_argument("--reset", metavar="N.M",
                        help="put an exercise (2.3) or a lesson (02) back to how it was given; "
                        "your file is kept as FILE.before")
    parser.add_argument("--json", action="store_true",
                        help="print the verdicts on all exercises (or the lesson) as JSON")
    parser.add_argument("--hint", nargs="?", type=int, const=1, metavar="N",
                        help="show a hint, or the first N hints, for each unsolved exercise")
    parser.add_argument("--watch", action="store_true",
                        help="check again whenever the file changes; Ctrl-C ends it")
    parser.add_argument("--exercises", type=cli.path, metavar="DIR",
                        help="folder of your files (default: lessons/exercises)")
    return parser.parse_args(argv)


def chosen(what: str | None) -> tuple[list[str], str | None]:
    """(the lessons that the argument names, the one exercise or None).

    Raises UsageError when there is no such lesson or exercise.
    """
    if what is None:
        return list(LESSONS), None
    name = lesson_name(what)
    if "." not in what:
        return [name], None
    number = f"{int(name[:2])}.{what.partition('.')[2]}"
    numbers = [e.number for e in exercises(name)]
    if number not in numbers:
        raise UsageError(f"there is no exercise {what}; lesson {name[:2]} has "
                         f"{', '.join(numbers)}")
    return [name], number


def say(text: str, indent: str) -> None:
    """Print a paragraph, wrapped to 100 columns."""
    for line in text.splitlines():
        print(textwrap.fill(line, 100, initial_indent=indent, subsequent_indent=indent,
                            break_on_hyphens=False))


def report(exercise: Exercise, verdict: Verdict, hints: int | None, ask: str = "") -> None:
    """Print the verdict on one exercise; `ask` is how to get a hint, if not by this command."""
    head = f"  {exercise.number}  {exercise.name:<28}"
    if verdict.passed:
        print(f"{head} right ({verdict.cases} check{'s' * (verdict.cases != 1)})")
        if verdict.note:
            say(f"note: {verdict.note}", "       ")
        return
    print(f"{head} {'not right yet' if verdict.written else 'not written yet'}")
    if verdict.written:
        say(f"in: {verdict.label}", "       ")
    say(verdict.problem, "       ")
    for i, bug in enumerate(verdict.bugs):
        begin = "It looks like" if i == 0 else "The same output comes from"
        say(f"{begin} this mistake ({bug.name}): {bug.says}", "       ")
    if verdict.clue:
        say(f"What can be seen: {verdict.clue}", "       ")
    if hints:
        for i, hint in enumerate(exercise.hints[:hints], 1):
            say(f"hint {i} of {len(exercise.hints)}: {hint}", "       ")
    elif exercise.hints:
        command = ask or f"python -m minitorch_alex.check {exercise.number} --hint"
        print(f"       for a hint: {command}")


def check_lesson(name: str, only: str | None, folder: Path, hints: int | None) -> bool:
    """Check the exercises of a lesson and print the verdicts; returns whether all passed."""
    path = folder / f"{name}.py"
    print(f"lesson {name[:2]}   {path}")
    selected = [e for e in exercises(name) if only in (None, e.number)]
    solved = True
    for exercise in selected:
        verdict = judge_in_time(exercise, path)
        report(exercise, verdict, hints)
        sys.stdout.flush()  # each verdict as it comes, also into a pipe
        solved = solved and verdict.passed
    if solved:
        print(f"\n  {'All' if len(selected) > 1 else 'It is'} right. To compare: {solution(name)}")
        for exercise in selected:
            if text := commentary(exercise, name):
                say(f"{exercise.number} {exercise.name}: {text}", "  ")
    print()
    return solved


def judge_in_time(exercise: Exercise, path: Path) -> Verdict:
    """judge, stopped after TIME_LIMIT seconds: a loop may never end."""
    what = f"exercise {exercise.number} ({exercise.name})"
    try:
        with time_limit(TIME_LIMIT, what, NOT_SOLVED):
            verdict = judge(exercise, path)
    except Late:  # it came while the checker itself was at work
        verdict = Verdict(False, label="in all", problem="it did not end in the time limit")
    # `judge` knows that the time was up, but not how long it was
    if "did not end in the time limit" in verdict.problem:
        return replace(verdict, problem=verdict.problem.replace(
            "the time limit", f"{TIME_LIMIT} s"))
    return verdict


def listing(folder: Path) -> None:
    """Print all exercises: whether it is solved, number, name and task."""
    count = solved = 0
    for name in LESSONS:
        path = folder / f"{name}.py"
        print(f"lesson {name[:2]}   {path}")
        for exercise in exercises(name):
            right = path.exists() and quietly(exercise, path).passed
            count += 1
            solved += right
            print(f"  {'x' if right else ' '} {exercise.number}  {exercise.name:<31} "
                  f"{exercise.goal}", flush=True)
    print(f"{solved} of {count} are solved (x)")


def quietly(exercise: Exercise, path: Path) -> Verdict:
    """judge_in_time, with what the learner's code prints on the error output."""
    with contextlib.redirect_stdout(sys.stderr):
        return judge_in_time(exercise, path)


def as_json(names: list[str], only: str | None, folder: Path) -> bool:
    """Print the verdicts as one JSON object; returns whether all passed.

    The fields stay as they are, new ones may come: docs/teaching.md describes them.
    """
    rows = []
    for name in names:
        path = folder / f"{name}.py"
        for exercise in exercises(name):
            if only in (None, exercise.number):
                verdict = quietly(exercise, path)
                rows.append({
                    "exercise": exercise.number, "name": exercise.name, "lesson": name,
                    "passed": verdict.passed, "written": verdict.written,
                    "cases_passed": verdict.cases, "case": verdict.label,
                    "problem": verdict.problem, "mistakes": [b.name for b in verdict.bugs],
                    "clue": verdict.clue, "note": verdict.note,
                })
    solved = sum(bool(row["passed"]) for row in rows)
    print(json.dumps({"exercises": rows, "solved": solved, "of": len(rows)}, indent=1))
    return solved == len(rows)


def watch(names: Iterable[str], only: str | None, folder: Path, hints: int | None) -> int:
    """Check, and again after each change of a file, until all is right or Ctrl-C."""
    # the time of the last change is asked for three times a second: it works on every file system,
    # where notifications do not, and costs nothing
    paths = {name: folder / f"{name}.py" for name in names}
    checked: list[float] | None = None
    while True:
        changed = [path.stat().st_mtime for path in paths.values() if path.exists()]
        if changed != checked:
            checked = changed
            if all(check_lesson(name, only, folder, hints) for name in paths):
                return 0
            print(f"watching {folder}; save the file to check again, Ctrl-C to stop", flush=True)
        time.sleep(0.3)


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    folder = args.exercises or exercises_folder()
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give --exercises the folder of your files")
    if args.hint is not None and args.hint < 1:
        raise UsageError(f"--hint must be 1 or more, got {args.hint}")
    if args.list:
        listing(folder)
        return 0
    if args.reset is not None:
        (name,), only = chosen(args.reset)
        copy = reset(name, only, folder)
        print(f"{folder / name}.py: {only or 'all of it'} as it was given; before: {copy}")
        return 0
    # in order, and not beyond the first lesson that is unsolved: the later ones build on it
    names, only = chosen(args.what)
    if args.json:
        return 0 if as_json(names, only, folder) else NOT_SOLVED
    if args.watch:
        return watch(names, only, folder, args.hint)
    for name in names:
        if not check_lesson(name, only, folder, args.hint):
            return NOT_SOLVED
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
