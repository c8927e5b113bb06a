"""python -m minitorch_alex.lessons DIR: the lessons, with exercises and solutions, in a folder of
your own.
"""
import argparse
import shutil
from pathlib import Path

from .check import LESSONS, packaged_lessons
from .check.reset import original_file
from .errors import DataError
from .training import cli


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.parser(
        "minitorch_alex.lessons",
        "Copy the lessons, their exercises and solutions into a folder.",
        cli.EXIT_CODES)
    parser.add_argument("folder", nargs="?", type=cli.path, default=Path("lessons"), metavar="DIR",
                        help="a folder that is empty or not there yet (default: lessons)")
    return parser.parse_args(argv)


def copy_lessons(folder: Path) -> None:
    """Copy the lessons out of the package, or out of a clone.

    Raises DataError when the folder is not empty, or an exercise as it was given is not found.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is there already and not empty; name another folder")
    source = packaged_lessons()
    hidden = shutil.ignore_patterns("__pycache__", "*.before", "exercises", "data", "runs",
                                    ".ipynb_checkpoints")
    shutil.copytree(source, folder, ignore=hidden, dirs_exist_ok=True)
    (folder / "exercises").mkdir()
    for lesson in LESSONS:  # as they were given: in a clone they may be solved
        (folder / "exercises" / f"{lesson}.py").write_bytes(original_file(lesson, source))
    measured = source.parent / "results" / "cpu_speed_epyc.json"  # in a clone; lesson 02 shows it
    if measured.exists():
        (folder / "results").mkdir()
        shutil.copy(measured, folder / "results")


def main(argv: list[str] | None = None) -> int:
    folder = parse(argv).folder
    copy_lessons(folder)
    print(f"the lessons are in {folder}; begin with\n"
          f"  python {folder / '01_conv.py'}\n"
          f"  python -m minitorch_alex.check 01 --exercises {folder / 'exercises'}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
