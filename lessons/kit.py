"""What all lessons share: flags, headings, predictions, tables, figures, and the numbers in their
text.

    import kit                    # finds minitorch_alex next to this folder, installed or not
    lesson = kit.Lesson("01_conv")

The same file is a script, a notebook in an editor, and a page of the book. In a terminal the
headings and the questions are printed. In a notebook the text around the cells has the headings,
and questions, tables and figures appear below the cell that makes them. A notebook has no command
line: its flags come from the environment variable MINITORCH_LESSON.
"""
import argparse
import html
import json
import os
import re
import shlex
import sys
import textwrap
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from minitorch_alex.plots.style import STYLE, load_matplotlib  # noqa: E402  (after the path)

matplotlib = load_matplotlib()  # also where MPLBACKEND names a backend that is not installed


# nbconvert's own style for <pre> is a proportional font
TABLE = "white-space: pre; overflow-x: auto; font-family: monospace"


def in_notebook() -> bool:
    """Whether cells are run in a notebook; a script that is started by %run in one is a script."""
    script = re.fullmatch(r"\d\d_\w+\.py", Path(sys.argv[0]).name)
    return "ipykernel" in sys.modules and not script


if "ipykernel" not in sys.modules:
    matplotlib.use("Agg")  # no window, no display

import numpy as np  # noqa: E402

import minitorch_alex as mt  # noqa: E402
from minitorch_alex import data, kernels  # noqa: E402
from minitorch_alex.check import (  # noqa: E402
    commentary,
    exercises,
    lesson_name,
    packaged_lessons,
)
from minitorch_alex.check.__main__ import report  # noqa: E402
from minitorch_alex.check.cell import check_cell  # noqa: E402
from minitorch_alex.check.reset import original_file, text_given  # noqa: E402
from minitorch_alex.errors import DataError, UserError  # noqa: E402
from minitorch_alex.training import cli  # noqa: E402

matplotlib.rcParams.update(STYLE)
matplotlib.rcParams["axes.grid"] = False


def fastest(f: Callable[[], Any], rounds: int = 3) -> float:
    """Seconds of the fastest of several calls of f: other programs disturbed the slower ones."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        f()
        times.append(time.perf_counter() - begin)
    return min(times)


def results(name: str) -> Path:
    """A file of measurements: results/ of the repository, or what was copied with the lessons."""
    paths = [place / "results" / name for place in (HERE.parent, HERE)]
    return next((path for path in paths if path.exists()), paths[0])


def exercise(number: str) -> None:
    """Print exercise `number` ("2.1") as it was given, to be copied into a cell."""
    try:
        lesson = lesson_name(str(number))
        one = next((e for e in exercises(lesson) if e.number == str(number)), None)
        if one is None:
            raise UserError(f"lesson {lesson[:2]} has "
                            f"{', '.join(e.number for e in exercises(lesson))}, got {number}")
        print(text_given(one, original_file(lesson, HERE, packaged_lessons()).decode("utf-8")))
    except UserError as error:
        print(f"error: {error}")


def check(number: str, hints: int | None = None) -> bool:
    """Check exercise `number` ("2.1") as you wrote it in a cell, and print the verdict.

    hints is how many hints to show if it is not right. Returns whether it is right.
    """
    number = str(number)  # 2.1 without quotes is what one types first
    names = sys.modules["__main__"].__dict__
    try:
        one, verdict = check_cell(number, names)
    except UserError as error:  # one line, in place of a notebook's traceback
        print(f"error: {error}")
        return False
    report(one, verdict, hints, f'kit.check("{number}", hints=1)')
    if verdict.passed:
        print(_wrapped(commentary(one, lesson_name(number))))
    return verdict.passed


class Lesson:
    """One lesson in progress.

    name   name of the file without .py, "01_conv"
    mine   whether the lesson offers --mine: to run with the learner's exercises in place of the
           package's parts

    Attributes: quick, seed, out (the folder for its figures and numbers), mine (None, or the
    learner's folder).
    """

    seed = 0

    def __init__(self, name: str, mine: bool = False) -> None:
        self.name = name
        self.begin = time.perf_counter()
        self.files: list[Path] = []
        self.numbers: dict[str, float] = {}
        about = tomllib.loads((HERE / "lessons.toml").read_text(encoding="utf-8")).get(name, {})
        self.title = f"{int(name[:2])}. {about.get('title', name[3:])}"
        args = self._parse(about, mine)
        self.quick = args.quick
        self.ask = args.ask
        self.plots = not args.no_plots
        self.mine = getattr(args, "mine", None)
        self.data_name = args.data
        self.data_dir = args.data_dir
        self.out = Path(args.out) / name
        sys.excepthook = _report_error
        self.out.mkdir(parents=True, exist_ok=True)
        cli.use_device(vars(args))
        kernels.keep_freed_memory()
        mt.manual_seed(self.seed)
        if not in_notebook():
            seconds = about.get("quick_seconds" if self.quick else "full_seconds", "?")
            shorter = "" if self.quick else "; --quick is shorter"
            print(f"{self.title}\n{about.get('goal', '')}")
            print(f"about {seconds} s on two cores{shorter}")

    def _parse(self, about: dict[str, Any], mine: bool) -> argparse.Namespace:
        parser = argparse.ArgumentParser(
            prog=f"python lessons/{self.name}.py",
            description=f"{self.title}: {about.get('goal', '')}",
            epilog=cli.EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add = parser.add_argument
        add("--quick", action="store_true", help="smaller sizes: under a minute on two cores")
        add("--ask", action="store_true", default=True,
            help="wait for your prediction before each result (the default at a terminal)")
        add("--no-ask", action="store_false", dest="ask", help="do not wait")
        add("--data", default="shapes", choices=("shapes", "cifar10"), metavar="NAME",
            help="shapes (drawn on the fly, the default) or cifar10")
        add("--data-dir", type=cli.home, default="data", metavar="DIR", help="where cifar10 is (default: data)")
        add("--no-plots", action="store_true", help="draw no figures")
        add("--out", type=cli.home, default="runs/lessons", metavar="DIR",
            help="folder for figures and numbers (default: runs/lessons)")
        if mine:
            add("--mine", type=cli.home, nargs="?", const=str(HERE / "exercises"), metavar="DIR",
                help="train with your own exercises in place of the package's parts "
                "(default: lessons/exercises)")
        # of the package's flags for the device two are enough here; the others keep their defaults
        parser.set_defaults(**cli.DEVICE_DEFAULTS)
        for flag in cli.DEVICE_FLAGS:
            if flag.dest in ("backend", "threads"):
                flag.add_to(parser)
        if in_notebook():
            return parser.parse_args(shlex.split(os.environ.get("MINITORCH_LESSON", "")))
        return parser.parse_args()

    def pick(self, quick: Any, full: Any) -> Any:
        """`quick` when the lesson runs with --quick, `full` otherwise."""
        return quick if self.quick else full

    def section(self, heading: str) -> None:
        """Print a heading in the terminal; in a notebook the text has it already."""
        if not in_notebook():
            print(f"\n{heading}\n{'-' * len(heading)}")

    def predict(self, question: str, *choices: str) -> None:
        """Ask before a result is shown: a wrong guess is remembered longer than a fact read."""
        if in_notebook():
            listed = "".join(f"<li>{html.escape(choice)}</li>" for choice in choices)
            return _display(
                f'<div class="predict"><strong>Predict:</strong> {html.escape(question)}'
                f'<ol type="a">{listed}</ol></div>'
            )
        print(_wrapped(f"predict: {question}"))
        for letter, choice in zip("abcdefgh", choices, strict=False):
            print(textwrap.fill(f"    {letter}) {choice}", 96, subsequent_indent="       "))
        if self.ask and sys.stdin.isatty() and sys.stdout.isatty():
            input("    your guess (Enter goes on): ")

    def answer(self, text: str) -> None:
        """The answer to the last prediction, shown after the result."""
        if in_notebook():
            return _display(
                '<details class="answer"><summary><strong>Answer</strong></summary>'
                f"{html.escape(text)}</details>"
            )
        print(_wrapped(f"answer: {text}") + "\n")

    def table(self, header: list[str] | tuple[str, ...], rows: list[Any]) -> None:
        """Print rows of text and numbers as a table: text to the left, numbers to the right."""
        cells = [[_cell(value) for value in row] for row in rows]
        columns = range(len(header))
        widths = [max(len(line[i]) for line in [list(header), *cells]) for i in columns]
        numeric = [
            all(isinstance(row[i], int | float | np.number) for row in rows) for i in columns
        ]

        def align(row: list[str]) -> str:
            placed = (cell.rjust(width) if right else cell.ljust(width)
                      for cell, width, right in zip(row, widths, numeric, strict=True))
            return "  ".join(placed).rstrip()

        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        lines = [align(list(header)), rule, *map(align, cells)]
        if in_notebook():  # the lines scroll where a window is narrow, and never wrap
            text = html.escape("\n".join(lines))
            return _display(f'<pre style="{TABLE}">{text}</pre>')
        print(*lines, "", sep="\n")

    def show(self, figure: Any, name: str) -> None:
        """Save the figure as OUT/LESSON/name.png, and show it in a notebook, unless --no-plots."""
        import matplotlib.pyplot as plt

        if self.plots:
            path = self.out / f"{name}.png"
            figure.savefig(path, dpi=200, bbox_inches="tight")
            self.files.append(path)
            if in_notebook():
                from IPython.display import Image, display

                display(Image(path, retina=True))  # at 100 dots per inch: sharp on fine screens
            else:
                print(f"figure: {path}\n")
        plt.close(figure)

    def explore(self, picture: str, caption: str, still: str, **data: Any) -> None:
        """Show a picture that is moved by sliders, in a notebook and in the book.

        picture   "window", "lrn" or "momentum": what explore.js draws
        caption   what to try
        still     what the picture shows before it is moved, for a terminal and without JavaScript
        data      what is drawn, made by the lesson: numbers, lists or arrays
        """
        if in_notebook():
            return _display(movable(picture, caption, still, **data))
        print(_wrapped(f"{still} In a notebook and in the book you move this by hand.") + "\n")

    def number(self, key: str, value: float) -> float:
        """Record a number that the text or lessons.toml states, for numbers.json; returns it."""
        self.numbers[key] = float(value)
        return value

    def data(self, n_train: int, n_test: int, size: int = 32) -> tuple[data.Dataset, data.Dataset]:
        """(train, test): n_train and n_test images of size x size from the data set of --data.

        Raises DataError when CIFAR-10 is asked for a size other than 32.
        """
        if self.data_name == "cifar10" and size != 32:
            raise DataError(f"CIFAR-10's images are 32 x 32, this section needs {size} x {size}: "
                            "use --data shapes")
        train, test = data.load(
            self.data_name, self.data_dir, n_train=n_train, n_test=n_test, size=size
        )
        return train.subset(slice(n_train)), test.subset(slice(n_test))

    def done(self) -> None:
        """End the lesson: write numbers.json, print the time and what to do next."""
        seconds = time.perf_counter() - self.begin
        path = self.out / "numbers.json"
        content = {"quick": self.quick, "data": self.data_name, "seconds": round(seconds, 1),
                   "numbers": self.numbers}
        path.write_text(json.dumps(content, indent=1) + "\n")
        if not in_notebook():
            print(f"\n{seconds:.0f} s; {len(self.files)} figures in {self.out}")
            print(f"now you: edit lessons/exercises/{self.name}.py, then   "
                  f"python -m minitorch_alex.check {self.name[:2]}")


def movable(picture: str, caption: str, still: str, **data: Any) -> str:
    """The HTML of a picture with sliders, which needs no other file: style and script are in it."""
    numbers = json.dumps(data, default=np.ndarray.tolist).replace("</", "<\\/")
    script = (HERE / "explore.js").read_text(encoding="utf-8")
    style = (HERE / "explore.css").read_text(encoding="utf-8")
    return f'''<figure class="explore" id="explore-{picture}" data-picture="{picture}">
<figcaption>{html.escape(caption)}</figcaption>
<p class="still">{html.escape(still)}</p>
<script type="application/json">{numbers}</script>
</figure>
<style>{style}</style>
<script>{script}
window.explore.start(document.getElementById("explore-{picture}"));</script>'''


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 96, subsequent_indent="    ", break_on_hyphens=False)


def _display(shown: str) -> None:
    """Show HTML in a notebook, below the cell that makes it."""
    from IPython.display import HTML, display

    display(HTML(shown))


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def _report_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a user's error as one line and exit with its code, as the package's commands do.

    Anything else is printed with its traceback.
    """
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        code = 130
    elif isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    else:
        return sys.__excepthook__(kind, error, trace)
    sys.stdout.flush()
    os._exit(code)  # an excepthook cannot choose the exit code
