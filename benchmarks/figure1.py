"""python -m benchmarks.figure1: the race of the paper's Figure 1, from the runs that took part.

Figure 1 of the paper (section 3.1): a four-layer convolutional network on CIFAR-10 reaches 25 %
training error with ReLU six times faster than with tanh, "the learning rates for each network
were chosen independently", "no regularization of any kind was employed". Here the network is
quick_26 with the initial weights of its file, on all 50,000 images, raw pixels minus the mean:

    python -m minitorch_alex.train -a quick_26 --data cifar10 --val-split 0 --wd 0 \\
        --set "milestones=()" --set activation=tanh --lr 0.002 --epochs 60 --seed 0 --name NAME

The training error of an epoch is that of the images as they were trained on, while the weights
moved. A run that was stopped counts as far as it went.

What the factor hangs on shows a second race, from a scaled start, with a record and a figure of its
own: the same command with --set start=scaled, and

    python -m benchmarks.figure1 runs/f1s-* --record results/figure1_scaled.json \\
        --figure results/figure1_scaled.png --device ... --commit ... --date ...

With --add the runs join those of the record, each with the device, commit and date that it was made
with; one of the same non-linearity, rate and seed is replaced.
"""
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minitorch_alex.errors import DataError
from minitorch_alex.files import write_atomic
from minitorch_alex.plots.style import INK, styled, write
from minitorch_alex.training import cli

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "results" / "figure1.json"
FIGURE = ROOT / "results" / "figure1.png"
LEVEL = 25.0  # % training error, the paper's dashed line
COLOURS = {"relu": "#1f6fb4", "tanh": "#c4532d"}

# Where data and runs lie on somebody's machine is not part of what was trained.
PLACES = re.compile(r" --(data-dir|runs-dir) \S+")

Run = Mapping[str, Any]  # of the record: activation, lr, seed, seconds, finished, train_error


def read_epochs(directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The settings of a run, and the epochs in its log. Raises DataError when it is not a run."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        lines = (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise DataError(f"{directory} is not the directory of a run: {error}; expected a "
                        "config.json and a log.jsonl of whole lines") from None
    return config, [row for row in rows if row["kind"] == "epoch"]


def read_run(directory: Path) -> dict[str, Any]:
    """One run of the race, from its directory. Raises DataError when it is not such a run."""
    config, epochs = read_epochs(directory)
    if config["model"] != "quick_26" or not epochs:
        raise DataError(f"{directory} holds {len(epochs)} epochs of {config['model']}, expected at "
                        "least one of quick_26")
    return {
        "activation": config["model_fields"].get("activation", "relu"),
        "start": config["model_fields"].get("start", "file"),
        "lr": config["recipe"]["lr"],
        "seed": config["seed"],
        "command": PLACES.sub("", config["command"]),
        "finished": (directory / "result.json").exists(),
        "seconds": epochs[-1]["seconds"],
        "train_error": [round(row["train_error"], 3) for row in epochs],
    }


def epochs_to_level(run: Run) -> int | None:
    """The first epoch with a training error of at most LEVEL; None if there is none."""
    for epoch, error in enumerate(run["train_error"], start=1):
        if error <= LEVEL:
            return epoch
    return None


def order(run: Run) -> tuple[Any, ...]:
    """The order of the table: ReLU first, then by rate and seed."""
    return run["activation"], run["lr"], run["seed"]


def others(record: Mapping[str, Any], taken: Sequence[Run]) -> list[Run]:
    """The runs of a record that are not replaced by those taken now, each with its origin."""
    replaced = {order(run) for run in taken}
    return [{key: record[key] for key in ("commit", "device", "date")} | run
            for run in record["runs"] if order(run) not in replaced]


def rows(runs: Iterable[Run]) -> list[list[str]]:
    """The table: one row per run."""
    table = []
    for run in sorted(runs, key=order):
        epochs = len(run["train_error"])
        reached = epochs_to_level(run)
        table.append([
            run["activation"], f"{run['lr']:g}", str(run["seed"]),
            f"epoch {reached}" if reached else f"not in {epochs} epochs",
            f"{run['train_error'][-1]:.2f} % after {epochs}",
            "" if run["finished"] else "stopped early",
        ])
    return table


def draw(runs: Sequence[Run], path: Path) -> None:
    """Training error over the epochs on the axes of the paper: a solid line for ReLU, a dashed one
    for tanh, and a dot where a run reaches the level."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(7, 4.6), dpi=160, layout="constrained")
        axes = figure.subplots()
        axes.axhline(LEVEL / 100, color=INK, linewidth=1, linestyle=(0, (2, 3)))
        for kind, style in (("relu", "solid"), ("tanh", (0, (5, 2)))):
            label = kind  # of the first line of its kind
            for run in runs:
                if run["activation"] == kind:
                    draw_run(axes, run, style, label)
                    label = ""
        label_rates(axes, runs)
        axes.set(xlabel="epochs", ylabel="training error rate", xlim=(0, None), ylim=(0, 0.75))
        axes.set_title(title(runs), fontsize=12, fontweight="bold")
        axes.legend(frameon=False, loc="upper right")
        write(figure, path)


def title(runs: Sequence[Run]) -> str:
    """What the runs have in common."""
    starts = {run.get("start", "file") for run in runs}
    if starts == {"scaled"}:
        return "quick_26 on CIFAR-10 from a scaled start, by learning rate"
    return "quick_26 on CIFAR-10, without regularisation, by learning rate"


def draw_run(axes: Any, run: Run, style: Any, label: str) -> None:
    """The line of one run, and the dot where it reaches LEVEL."""
    colour = COLOURS[run["activation"]]
    errors = [error / 100 for error in run["train_error"]]
    axes.plot(range(1, len(errors) + 1), errors, color=colour, linewidth=1.5, linestyle=style,
              alpha=0.8, label=label)
    reached = epochs_to_level(run)
    if reached:
        axes.plot(reached, errors[reached - 1], "o", color=colour, markersize=4)


def label_rates(axes: Any, runs: Sequence[Run]) -> None:
    """The learning rate behind the longest line of each rate, apart from others that end there."""
    from matplotlib.patheffects import withStroke

    longest: dict[tuple[str, float], Run] = {}
    for run in sorted(runs, key=lambda run: len(run["train_error"])):
        longest[run["activation"], run["lr"]] = run
    halo = withStroke(linewidth=3, foreground="white")  # where a label stands on another line
    width = max(len(run["train_error"]) for run in runs) / 13  # of a label, in epochs
    taken: list[tuple[int, float]] = []  # (epochs, height) of the labels so far
    for (kind, rate), run in sorted(longest.items()):
        epochs = len(run["train_error"])
        height = run["train_error"][-1] / 100
        while any(abs(epochs - x) < width and abs(height - y) < 0.022 for x, y in taken):
            height -= 0.002
        taken.append((epochs, height))
        label = axes.annotate(f"{rate:g}", (epochs, height), (5, 0), fontsize=8, va="center",
                              textcoords="offset points", color=COLOURS[kind],
                              annotation_clip=False)
        label.set_path_effects([halo])


def main(argv: Sequence[str] | None = None) -> int:
    """Take runs into the record, if there are any, and draw the figure; the exit code."""
    parser = cli.parser("benchmarks.figure1", "The race of the paper's Figure 1: a record and a "
                        "figure of runs of quick_26 with relu and tanh.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN",
                        help="directories of runs (default: draw the record that is there)")
    parser.add_argument("--add", action="store_true",
                        help="keep the other runs of the record")
    parser.add_argument("--device", metavar="TEXT", help="what the runs were made on")
    parser.add_argument("--commit", metavar="HASH", help="by what code")
    parser.add_argument("--date", metavar="DATE", help="and when")
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE",
                        help="default: results/figure1.json")
    parser.add_argument("--figure", type=Path, default=FIGURE, metavar="FILE",
                        help="default: results/figure1.png")
    args = parser.parse_args(argv)
    if args.runs:
        origin = {"commit": args.commit, "device": args.device, "date": args.date}
        taken = [read_run(directory) | origin for directory in args.runs]
        if args.add:
            taken += others(json.loads(args.record.read_text(encoding="utf-8")), taken)
        command = "python -m benchmarks.figure1 RUN..."
        if args.record.name != RECORD.name:
            command += f" --record {args.record.name} --figure {args.figure.name}"
        content = {"command": command, **origin,
                   "seed": min(run["seed"] for run in taken), "level": LEVEL,
                   "runs": sorted(taken, key=order)}
        write_atomic(args.record, [(json.dumps(content, indent=1) + "\n").encode()])
    runs = json.loads(args.record.read_text(encoding="utf-8"))["runs"]
    draw(runs, args.figure)
    for row in rows(runs):
        print("  ".join(row))
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
