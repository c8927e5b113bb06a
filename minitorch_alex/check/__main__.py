"""python -m minitorch_alex.check 03: are the exercises of a lesson right, and if not, which mistake is it?"""
import argparse
import signal
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..training import cli
from . import (
    LESSONS,
    Exercise,
    Verdict,
    commentary,
    exercises,
    judge,
    lesson_name,
    lessons_folder,
    solution,
)

NOT_SOLVED = 8  # exit code
TIME_LIMIT = 120  # seconds an exercise may take


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.parser(
        "minitorch_alex.check",
        "Check your exercises. Without a lesson: all in order, up to the first that is not solved.",
        cli.EXIT_CODES.replace("\n  130", f"\n  {NOT_SOLVED}  an exercise is not solved yet\n  130"))
    parser.add_argument("what", nargs="?", metavar="LESSON", help="a lesson (03) or one exercise (3.2)")
    parser.add_argument("--list", action="store_true", help="all exercises, without checking them")
    parser.add_argument("--hint", nargs="?", type=int, const=1, metavar="N",
                        help="show a hint, or the first N, for what is not solved yet")
    parser.add_argument("--watch", action="store_true", help="check again whenever the file changes; Ctrl-C ends it")
    parser.add_argument("--exercises", type=Path, metavar="DIR", help="your files (default: lessons/exercises)")
    return parser.parse_args(argv)


def chosen(what: str | None) -> tuple[list[str], str | None]:
    """(the lessons that the argument means, the one exercise or None). UsageError for what does not exist."""
    if what is None:
        return list(LESSONS), None
    name = lesson_name(what)
    if "." not in what:
        return [name], None
    number = f"{int(name[:2])}.{what.partition('.')[2]}"
    numbers = [e.number for e in exercises(name)]
    if number not in numbers:
        raise UsageError(f"there is no exercise {what}; lesson {name[:2]} has {', '.join(numbers)}")
    return [name], number


def say(text: str, indent: str) -> None:
    """A paragraph, wrapped to the width of a page."""
    for line in text.splitlines():
        print(textwrap.fill(line, 100, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))


def report(exercise: Exercise, verdict: Verdict, hints: int | None) -> None:
    """One exercise's verdict."""
    head = f"  {exercise.number}  {exercise.name:<28}"
    if verdict.passed:
        print(f"{head} right ({verdict.cases} check{'s' * (verdict.cases != 1)})")
        return
    print(f"{head} {'not right yet' if verdict.written else 'not written yet'}")
    if verdict.written:
        say(f"in: {verdict.label}", "       ")
    say(verdict.problem, "       ")
    if verdict.bug:
        say(f"It looks like this mistake ({verdict.bug.name}): {verdict.bug.says}", "       ")
    if hints:
        for i, hint in enumerate(exercise.hints[:hints], 1):
            say(f"hint {i} of {len(exercise.hints)}: {hint}", "       ")
    elif exercise.hints:
        print(f"       a hint: python -m minitorch_alex.check {exercise.number} --hint")


def check_lesson(name: str, only: str | None, folder: Path, hints: int | None) -> bool:
    """Check and report the exercises of a lesson; whether all of them passed."""
    path = folder / f"{name}.py"
    print(f"lesson {name[:2]}   {path}")
    asked = [e for e in exercises(name) if only in (None, e.number)]
    verdicts = [timed(exercise, path) for exercise in asked]
    for exercise, verdict in zip(asked, verdicts, strict=True):
        report(exercise, verdict, hints)
    solved = all(verdict.passed for verdict in verdicts)
    if solved:
        print(f"\n  {'All' if len(asked) > 1 else 'It is'} right. To compare: {solution(name)}")
        for exercise in asked:
            if text := commentary(exercise, name):
                say(f"{exercise.number} {exercise.name}: {text}", "  ")
    print()
    return solved


def timed(exercise: Exercise, path: Path) -> Verdict:
    """judge, ended after TIME_LIMIT seconds where the system can do that: a loop may never end."""
    def late(number: int, frame: Any) -> None:
        raise TimeoutError(f"it did not end in {TIME_LIMIT} s; is there a loop that never stops?")

    before = signal.signal(signal.SIGALRM, late) if hasattr(signal, "SIGALRM") else None
    if before is not None:
        signal.alarm(TIME_LIMIT)
    try:
        return judge(exercise, path)
    finally:
        if before is not None:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)


def listing(folder: Path) -> None:
    """All exercises: number, name, and what is to be done."""
    for name in LESSONS:
        print(f"lesson {name[:2]}   {folder / name}.py")
        for exercise in exercises(name):
            print(f"  {exercise.number}  {exercise.name:<28} {exercise.goal}")


def watch(names: Iterable[str], only: str | None, folder: Path, hints: int | None) -> int:
    """Check, and again after each change of a file, until all is right or Ctrl-C."""
    names, seen = list(names), None
    while True:
        now = [(folder / f"{name}.py").stat().st_mtime for name in names if (folder / f"{name}.py").exists()]
        if now != seen:
            seen = now
            if all(check_lesson(name, only, folder, hints) for name in names):
                return 0
            print(f"watching {folder}; save the file to check again, Ctrl-C to stop", flush=True)
        time.sleep(0.3)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    folder = args.exercises or lessons_folder() / "exercises"
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} of exercises")
    if args.hint is not None and args.hint < 1:
        raise UsageError(f"--hint must be 1 or more, got {args.hint}")
    if args.list:
        listing(folder)
        return 0
    names, only = chosen(args.what)
    if args.watch:
        return watch(names, only, folder, args.hint)
    for name in names:
        if not check_lesson(name, only, folder, args.hint):
            return NOT_SOLVED
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
