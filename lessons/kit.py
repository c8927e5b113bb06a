"""What all lessons share: flags, headings, predictions, tables, pictures, and the numbers that their text states.

    import kit                          # finds minitorch_alex beside this folder, installed or not
    lesson = kit.Lesson("01_conv")

A lesson is the same file as a script, in an editor's notebook, and as a page of the book. In a terminal the headings
and questions are printed; in a notebook the text around the cells has the headings, and questions, tables and pictures
are shown where they are made. A notebook has no command line: there the flags come from the environment variable
MINITORCH_LESSON.
"""
import argparse
import html
import json
import os
import shlex
import sys
import textwrap
import time
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import matplotlib  # noqa: E402  (after the path of the package)

IN_NOTEBOOK = "ipykernel" in sys.modules
if not IN_NOTEBOOK:
    matplotlib.use("Agg")  # no window, no display

import numpy as np  # noqa: E402

import minitorch_alex as mt  # noqa: E402
from minitorch_alex import data, kernels  # noqa: E402
from minitorch_alex.errors import DataError, UserError  # noqa: E402
from minitorch_alex.plots.style import STYLE  # noqa: E402
from minitorch_alex.training import cli  # noqa: E402

matplotlib.rcParams.update(STYLE)
matplotlib.rcParams["axes.grid"] = False


class Lesson:
    """One lesson in progress.

    name   of the file, "01_conv"
    mine   whether the lesson offers --mine: to run with the learner's exercises in place of the package's parts

    Attributes: quick, seed, out (the folder of its pictures and numbers), mine (None, or the learner's folder).
    """

    seed = 0

    def __init__(self, name: str, mine: bool = False) -> None:
        self.name, self.begin, self.files, self.numbers = name, time.perf_counter(), [], {}
        about = tomllib.loads((HERE / "lessons.toml").read_text(encoding="utf-8")).get(name, {})
        self.title = f"{int(name[:2])}. {about.get('title', name[3:])}"
        args = self._parse(about, mine)
        self.quick, self.ask, self.plots = args.quick, args.ask, not args.no_plots
        self.mine = getattr(args, "mine", None)
        self.data_name, self.data_dir, self.out = args.data, args.data_dir, Path(args.out) / name
        sys.excepthook = _one_line
        self.out.mkdir(parents=True, exist_ok=True)
        cli.use_device(vars(args))
        kernels.keep_freed_memory()
        mt.manual_seed(self.seed)
        if not IN_NOTEBOOK:
            print(f"{self.title}\n{about.get('goal', '')}\n"
                  f"about {about.get('quick_seconds' if self.quick else 'full_seconds', '?')} s on two cores"
                  + ("" if self.quick else "; --quick is shorter"))

    def _parse(self, about: dict[str, Any], mine: bool) -> argparse.Namespace:
        parser = argparse.ArgumentParser(
            prog=f"python lessons/{self.name}.py", description=f"{self.title}: {about.get('goal', '')}",
            epilog=cli.EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="smaller sizes: under a minute on two cores")
        parser.add_argument("--ask", action="store_true", help="wait for your prediction before each result")
        parser.add_argument("--data", default="shapes", choices=("shapes", "cifar10"), metavar="NAME",
                            help="shapes (drawn on the fly, the default) or cifar10")
        parser.add_argument("--data-dir", default="data", metavar="DIR", help="where cifar10 is (default: data)")
        parser.add_argument("--no-plots", action="store_true", help="draw no pictures")
        parser.add_argument("--out", default="runs/lessons", metavar="DIR",
                            help="where pictures and numbers go (default: runs/lessons)")
        parser.add_argument("--backend", default="numpy", metavar="NAME", help="numpy (default) or cupy")
        parser.add_argument("--threads", type=int, default=0, metavar="N",
                            help="worker threads (default: the available CPUs)")
        if mine:
            parser.add_argument("--mine", nargs="?", const=str(HERE / "exercises"), metavar="DIR",
                                help="train with your own exercises in place of the package's parts "
                                "(default: lessons/exercises)")
        parser.set_defaults(**{k: v for k, v in cli.DEVICE_DEFAULTS.items() if k not in ("backend", "threads")})
        return parser.parse_args(shlex.split(os.environ.get("MINITORCH_LESSON", "")) if IN_NOTEBOOK else None)

    def pick(self, quick: Any, full: Any) -> Any:
        """`quick` with --quick, `full` without."""
        return quick if self.quick else full

    def section(self, heading: str) -> None:
        """A heading in the terminal; in a notebook the text has it."""
        if not IN_NOTEBOOK:
            print(f"\n{heading}\n{'-' * len(heading)}")

    def predict(self, question: str, *choices: str) -> None:
        """Ask before a result is shown: a wrong guess is remembered longer than a fact that was only read."""
        if IN_NOTEBOOK:
            listed = "".join(f"<li>{html.escape(choice)}</li>" for choice in choices)
            return _display(f'<div class="predict"><strong>Predict:</strong> {html.escape(question)}'
                            f'<ol type="a">{listed}</ol></div>')
        print(_wrapped(f"predict: {question}"))
        for letter, choice in zip("abcdefgh", choices, strict=False):
            print(textwrap.fill(f"    {letter}) {choice}", 96, subsequent_indent="       "))
        if self.ask and sys.stdin.isatty():
            input("    your guess: ")

    def answer(self, text: str) -> None:
        """What the last prediction should have been, after the result."""
        if IN_NOTEBOOK:
            return _display(f'<div class="answer"><strong>Answer:</strong> {html.escape(text)}</div>')
        print(_wrapped(f"answer: {text}") + "\n")

    def table(self, header: list[str] | tuple[str, ...], rows: list[Any]) -> None:
        """Rows of text and numbers, aligned: text to the left, numbers to the right."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
        number = [all(isinstance(row[i], int | float | np.number) for row in rows) for i in range(len(header))]

        def line(row: list[str]) -> str:
            placed = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, number, strict=True))
            return "  ".join(placed).rstrip()

        lines = [line(list(header)), "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, cells)]
        if IN_NOTEBOOK:  # lines that scroll where a window is narrow, and never wrap
            return _display(f'<pre style="white-space: pre; overflow-x: auto">{html.escape(chr(10).join(lines))}</pre>')
        print(*lines, "", sep="\n")

    def show(self, figure: Any, name: str) -> None:
        """The figure as OUT/LESSON/name.png, and in a notebook where it is made. Not with --no-plots."""
        import matplotlib.pyplot as plt

        if self.plots:
            path = self.out / f"{name}.png"
            figure.savefig(path, dpi=200, bbox_inches="tight")
            self.files.append(path)
            if IN_NOTEBOOK:
                from IPython.display import Image, display
                display(Image(path, retina=True))  # shown at 100 dots an inch: sharp on fine screens
            else:
                print(f"picture: {path}\n")
        plt.close(figure)

    def number(self, key: str, value: float) -> float:
        """Note a number that the text or lessons.toml states; numbers.json keeps it. Returns it."""
        self.numbers[key] = float(value)
        return value

    def data(self, n_train: int, n_test: int, size: int = 32) -> tuple[data.Dataset, data.Dataset]:
        """(train, test) of the data set of --data, that many images each. CIFAR-10 comes at 32 only."""
        if self.data_name == "cifar10" and size != 32:
            raise DataError(f"CIFAR-10's images are 32 x 32, this section needs {size} x {size}: take --data shapes")
        train, test = data.load(self.data_name, self.data_dir, n_train=n_train, n_test=n_test, size=size)
        return train.subset(slice(n_train)), test.subset(slice(n_test))

    def done(self) -> None:
        """The end: the numbers on disk, the time, what to do now."""
        seconds = time.perf_counter() - self.begin
        path = self.out / "numbers.json"
        path.write_text(json.dumps({"quick": self.quick, "data": self.data_name, "seconds": round(seconds, 1),
                                    "numbers": self.numbers}, indent=1) + "\n")
        if not IN_NOTEBOOK:
            print(f"\n{seconds:.0f} s; {len(self.files)} pictures in {self.out}")
            print(f"now you: edit lessons/exercises/{self.name}.py, then   "
                  f"python -m minitorch_alex.check {self.name[:2]}")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 96, subsequent_indent="    ", break_on_hyphens=False)


def _display(shown: str) -> None:
    """HTML in a notebook, where it is made."""
    from IPython.display import HTML, display

    display(HTML(shown))


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def _one_line(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """A user's error as one line with its exit code, as in the package's commands; anything else as Python shows it."""
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
