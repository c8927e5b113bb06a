"""python -m benchmarks.unfinished: how far trainings have come that were stopped before their end.

    python -m benchmarks.unfinished runs/conv_local_13 runs/conv_local_11 \\
        --device ... --commit ... --date ...

writes the record results/unfinished.json, which benchmarks.claims shows, and a figure of the
training errors so far. The training error of an epoch is that of the images as they were trained
on, cut and mirrored, while the weights moved. A network that has a record of its own by now is left
out by benchmarks.claims.
"""
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minitorch_alex.errors import DataError
from minitorch_alex.files import write_atomic
from minitorch_alex.plots.style import styled, write
from minitorch_alex.training import cli

from .figure1 import PLACES, read_epochs

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "results" / "unfinished.json"
FIGURE = ROOT / "results" / "unfinished.png"
COLOURS = ("#1f6fb4", "#c4532d", "#2e8b57", "#8250a8")

Run = Mapping[str, Any]  # of the record: model, command, seed, epochs, seconds, train_error


def read_run(directory: Path) -> dict[str, Any]:
    """One training, from its directory. Raises DataError when it is not one, or has not come to
    the end of an epoch."""
    config, epochs = read_epochs(directory)
    if not epochs:
        raise DataError(f"{directory} has not come to the end of an epoch yet, expected at least "
                        "one; train it further with --resume")
    return {
        "model": config["model"],
        "command": PLACES.sub("", config["command"]),
        "seed": config["seed"],
        "epochs": config["recipe"]["epochs"],
        "seconds": epochs[-1]["seconds"],
        "train_error": [round(row["train_error"], 3) for row in epochs],
    }


def progress(run: Run) -> str:
    """How far it is, in words."""
    errors = run["train_error"]
    return (f"not finished: {errors[-1]:.1f} % training error after {len(errors)} of "
            f"{run['epochs']} epochs")


def draw(runs: Sequence[Run], path: Path) -> None:
    """Training error in percent over the epochs, one line per network, named in the legend."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(7, 4), dpi=160, layout="constrained")
        axes = figure.subplots()
        for run, colour in zip(runs, itertools.cycle(COLOURS)):
            errors = run["train_error"]
            axes.plot(range(1, len(errors) + 1), errors, color=colour, linewidth=1.5,
                      label=f"{run['model']}, {len(errors)} of {run['epochs']} epochs")
        axes.set(xlabel="epochs", ylabel="training error, %", xlim=(0, None), ylim=(0, None))
        axes.set_title("Unfinished trainings", fontsize=12, fontweight="bold")
        axes.legend(frameon=False, loc="upper right")
        write(figure, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the record of some runs and draw the figure; the exit code."""
    parser = cli.parser("benchmarks.unfinished", "A record and a figure of trainings that were "
                        "stopped before their end.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directories of runs")
    parser.add_argument("--device", metavar="TEXT", required=True,
                        help="what the runs were made on")
    parser.add_argument("--commit", metavar="HASH", required=True, help="by what code")
    parser.add_argument("--date", metavar="DATE", required=True, help="and when")
    parser.add_argument("--note", metavar="TEXT", default="",
                        help="what else a reader should know, a sentence")
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE",
                        help="default: results/unfinished.json")
    parser.add_argument("--figure", type=Path, default=FIGURE, metavar="FILE",
                        help="default: results/unfinished.png")
    args = parser.parse_args(argv)
    runs = [read_run(directory) for directory in args.runs]
    content = {"command": "python -m benchmarks.unfinished RUN...", "commit": args.commit,
               "device": args.device, "date": args.date, "note": args.note,
               "seed": min(run["seed"] for run in runs), "runs": runs}
    write_atomic(args.record, [(json.dumps(content, indent=1) + "\n").encode()])
    draw(runs, args.figure)
    for run in runs:
        print(f"{run['model']}: {progress(run)}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
