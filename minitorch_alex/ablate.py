"""python -m minitorch_alex.ablate NAME: rerun a claim about AlexNet: trainings, a table, a figure.

Every training is an ordinary run under RUNS/ablate, made by `train` in a process of its own. So
this command can be stopped at any time and run again: finished trainings are kept, and one that
was interrupted is resumed. The directory of a run is named after its flags, so a training that
several claims need is done once. With --jobs several trainings run at a time: one of a small
network leaves most of a GPU idle.

The claims are data in claims.py; verdict.py says what the trainings show.
"""
import argparse
import hashlib
import json
import math
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import plots, verdict
from .claims import ALL, CLAIMS, LONG, Claim, Figure
from .errors import DivergedError, UsageError, UserError
from .files import write_atomic
from .training import cli, runs
from .verdict import Record

# kind of view in evaluate-test.json -> variant in the record
VIEWS = {"single": "single view", "nine": "nine views", "ten": "ten views"}
# what a record keeps of each epoch
CURVE = ("epoch", "train_loss", "train_error", "val_loss", "val_error", "lr")


class Training(NamedTuple):
    """One training of a plan: its variant and seed, its directory, and the flags of `train`."""

    variant: str
    seed: int
    directory: Path
    flags: list[str]


# The command line


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments; flags of `train`, those after "--", as `args.flags`.

    Raises UsageError for an unknown claim, and when --seeds or --jobs is less than 1.
    """
    parser = cli.parser(
        "minitorch_alex.ablate",
        "Rerun a claim about AlexNet. Flags of train may follow after --, for example: "
        "-- --data-dir data --threads 2",
        epilog=f"claims:\n{_list_of_claims()}\n\n{cli.EXIT_CODES}")
    parser.add_argument("name", metavar="NAME", help="the claim, see below")
    parser.add_argument("--seeds", type=int, default=3, metavar="N",
                        help="trainings per variant (default: 3)")
    parser.add_argument("--runs-dir", type=cli.home, default="runs", metavar="DIR",
                        help="keep the trainings in DIR/ablate (default: runs)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="trainings at a time, each with its output in a file (default: 1, "
                             "with its output here)")
    parser.add_argument("--out", type=cli.path, metavar="DIR",
                        help="write the numbers and the figure here (default: RUNS/ablate-NAME)")
    parser.add_argument("--dry-run", action="store_true",
                        help="list the trainings and count them, then exit")
    # Only what stands before "--" is ours: argparse would take flags of train for its own.
    words = sys.argv[1:] if argv is None else argv
    end = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:end])
    args.flags = words[end + 1:]
    if args.name not in (*CLAIMS, "all"):
        raise UsageError(f"there is no claim {args.name!r}; choose one of: {', '.join(CLAIMS)}, "
                         "all")
    for flag, value in (("--seeds", args.seeds), ("--jobs", args.jobs)):
        if value < 1:
            raise UsageError(f"{flag} must be at least 1, got {value}")
    return args


def _list_of_claims() -> str:
    texts = {name: claim.statement for name, claim in CLAIMS.items()}
    texts["all"] = ("all of these except stall, which needs a folder of photographs, and "
                    f"those on all of CIFAR-10, which take longer: {', '.join(LONG)}")
    width = max(map(len, texts)) + 2
    lines = [textwrap.fill(text, 100, initial_indent=f"  {name:<{width}}",
                           subsequent_indent=" " * (width + 2))
             for name, text in texts.items()]
    return "\n".join(lines)


# Trainings


def plan(claim: Claim, seeds: int, runs_dir: str, extra: Sequence[str]) -> list[Training]:
    """The trainings of a claim, seed by seed, so that one seed of every variant is done early."""
    folder = Path(runs_dir) / "ablate"
    trainings = []
    for seed in range(seeds):
        for variant, difference in claim.variants.items():
            flags = [*shlex.split(claim.base), *shlex.split(difference), *extra]
            trainings.append(_training(variant, seed, flags, difference, folder))
    return trainings


def _training(variant: str, seed: int, flags: Sequence[str], difference: str,
              folder: Path) -> Training:
    """One training in `folder`. Its name shows the variant's flags; a digest makes it unique."""
    digest = hashlib.sha256("\0".join(flags).encode()).hexdigest()[:8]
    # "--set lrn_alpha=0.4096" becomes "lrn_alpha-0.4096"
    words = re.sub(r"[^\w.]+", "-", difference.replace("--set", "")).strip("-")[:40] or "base"
    name = f"{words}-{digest}-{seed}"
    own = ["--seed", str(seed), "--name", name, "--runs-dir", str(folder)]
    return Training(variant, seed, folder / name, [*flags, *own])


def call(module: str, flags: Sequence[str], directory: Path, log: Path | None = None) -> None:
    """Run `python -m minitorch_alex.<module>`, its output in the file `log` if there is one.

    Raises UserError with its exit code when it fails.
    """
    # A process of its own: its memory and threads end with it, and Ctrl-C reaches both processes.
    command = [sys.executable, "-m", f"minitorch_alex.{module}", *flags]
    if log is None:
        code = subprocess.run(command).returncode
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file,
                                  stderr=subprocess.STDOUT).returncode
    if code:
        where = f" (see {log})" if log else ""
        error = UserError(f"{module} in {directory} ended with exit code {code}{where}; run the "
                          "same command again to resume")
        error.exit_code = code
        raise error


def train(directory: Path, flags: list[str], log: Path | None = None) -> None:
    """Do one training, or resume it where it was interrupted, unless it is finished."""
    run = runs.Run(directory)
    if not run.result.exists():
        call("train", ["--resume", str(directory)] if run.exists() else flags, directory, log)


def evaluate(directory: Path) -> dict[str, dict[str, float]]:
    """The test errors of a finished training by each of VIEWS; measured once, then read."""
    file = directory / "evaluate-test.json"
    # The user may have evaluated this run before, with fewer views.
    if not file.exists() or not VIEWS.keys() <= _views(file).keys():
        call("evaluate", [str(directory), "--worst", "0"], directory)
    return _views(file)


def _views(file: Path) -> dict[str, dict[str, float]]:
    return json.loads(file.read_text())["views"]


# The record


def collect(directory: Path, figure: Figure) -> dict[str, Any]:
    """What one training showed: errors in percent, and the curves that the figure needs."""
    run = runs.Run(directory)
    result = json.loads(run.result.read_text())
    log = run.read_log()
    epochs = [row for row in log if row["kind"] == "epoch"]
    steps = [row for row in log if row["kind"] == "interval"]
    last = epochs[-1]
    outcome = {
        "run": directory.name,
        "seed": result["seed"],
        "seconds": result["seconds"],
        "test_error": result["test"]["top1_error"],
        "train_error": round(last["train_error"], 2),
        "val_error": round(last["val_error"], 2) if "val_error" in last else None,
        # Three lines of the log: a single one scatters.
        "last_loss": round(float(np.mean([row["loss"] for row in steps[-3:]])), 4),
    }
    if figure == "loss":
        outcome["loss"] = [[row["step"], round(row["loss"], 4)] for row in steps]
    if figure == "fit":
        outcome["curve"] = [{key: round(row[key], 4) for key in CURVE if key in row}
                            for row in epochs]
    if figure == "race":
        points = verdict.running_error(steps, verdict.WINDOW / result["train_images"])
        outcome["race"] = [[round(epoch, 3), round(error, 2)] for epoch, error in points]
        outcome["epochs"] = verdict.first_crossing(points)
    return outcome


def outcomes_by_variant(claim: Claim, trainings: Sequence[Training]) -> dict[str, list[dict]]:
    """variant -> what each of its trainings showed. The variants of "views" are the views."""
    variants: dict[str, list[dict]] = {variant: [] for variant in claim.variants}
    for training in trainings:
        variants[training.variant].append(collect(training.directory, claim.figure))
    if claim.figure != "views":
        return variants
    (single,) = variants.values()  # such a claim has one variant
    views = [evaluate(training.directory) for training in trainings]
    return {text: [{**outcome, "test_error": view[kind]["top1_error"]}
                   for outcome, view in zip(single, views, strict=True)]
            for kind, text in VIEWS.items()}


def record_of(name: str, claim: Claim, trainings: Sequence[Training],
              seeds: int) -> dict[str, Any]:
    """The JSON of a claim: where it comes from, what was asked, what was seen."""
    results = [json.loads(runs.Run(t.directory).result.read_text()) for t in trainings]
    first = results[0]
    config = runs.Run(trainings[0].directory).read_config()
    source = runs.provenance(0)
    # The trainings may be older than this command: name their machines and their commits.
    machine = {key: first[key] for key in ("backend", "numpy", "python") if key in first}
    record = {
        **source,
        "command": without_paths(source["command"]),
        **machine,
        "device": distinct("device", results, "; "),
        "commit": distinct("commit", results, ", "),
        "date": distinct("date", results, ", "),
        "name": name,
        "claim": claim.statement,
        "published": claim.published,
        "picture": claim.figure,
        "seeds": seeds,
        "classes": config["num_classes"],
        "epochs": config["recipe"]["epochs"],
        "train_images": first["train_images"],
        "base": claim.base,
        "flags": dict(claim.variants),
        "variants": outcomes_by_variant(claim, trainings),
    }
    record["verdict"] = verdict.table(record)
    return record


def distinct(key: str, results: Sequence[Mapping[str, Any]], between: str) -> str:
    """The different values under a key, each once, in the order of the results."""
    return between.join(dict.fromkeys(str(result[key]) for result in results))


def without_paths(command: str) -> str:
    """A command in which paths elsewhere on the machine are cut to their last part, since results/
    is published: --data-dir /home/me/data becomes --data-dir data."""
    elsewhere = r"(^|=)(?:/|~/|\.\./)(?:.*/)?(?=[^/])"
    return shlex.join(re.sub(elsewhere, r"\1", word) for word in shlex.split(command))


def report(name: str, claim: Claim, trainings: Sequence[Training],
           args: argparse.Namespace) -> None:
    """Write numbers and figure of a claim whose trainings are finished; print its table."""
    record = record_of(name, claim, trainings, args.seeds)
    out = args.out or Path(args.runs_dir) / f"ablate-{name}"
    out.mkdir(parents=True, exist_ok=True)
    numbers = out / f"ablate-{name}.json"
    figure = out / f"ablate-{name}.png"
    text = json.dumps(record, indent=1, allow_nan=False)
    text = re.sub(r"\[\s+([-.\d]+),\s+([-.\d]+)\s+\]", r"[\1, \2]", text)  # one line per point
    write_atomic(numbers, [(text + "\n").encode()])
    draw(record, figure)
    print(f"\n{verdict.table(record)}\n\n{numbers}\n{figure}")


# The figure


def draw(record: Record, path: Path) -> None:
    """Draw the figure that illustrates a claim."""
    variants = record["variants"]
    name = record["name"]
    match record["picture"]:
        case "loss":
            lines = {v: [t["loss"] for t in trainings] for v, trainings in variants.items()}
            chance = math.log(record["classes"])
            plots.losses(lines, path, chance, f"{name}: training loss")
        case "race":
            best = verdict.fastest(verdict.outcomes(record)).values()
            lines = {o.variant: [t["race"] for t in variants[o.variant]] for o in best}
            title = f"{name}: training error, each at its best rate"
            plots.race(lines, path, verdict.LEVEL, title)
        case "fit":
            logs = {v: mean_curve(trainings) for v, trainings in variants.items()}
            seeds = record["seeds"]
            title = "one seed each" if seeds == 1 else f"means of {seeds} seeds"
            plots.curves(logs, path, f"{name}: {title}")
        case _:  # dots, views
            errors = {v: [t["test_error"] for t in trainings] for v, trainings in variants.items()}
            plots.dots(errors, path, "test error, %", f"{name}: each seed, and the mean")


def mean_curve(trainings: Sequence[Record]) -> list[dict[str, Any]]:
    """The mean of several trainings in the form of a single log, as plots.curves reads it."""
    rows = []
    for i, row in enumerate(trainings[0]["curve"]):
        means = {key: float(np.mean([t["curve"][i][key] for t in trainings])) for key in row}
        rows.append({"kind": "epoch", **means})
    test_error = float(np.mean([t["test_error"] for t in trainings]))
    return [*rows, {"kind": "test", "epoch": rows[-1]["epoch"], "test_error": test_error}]


# The program


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code. Raises UserError, see `parse`, `call` and `report`."""
    args = parse(argv)
    names = ALL if args.name == "all" else [args.name]
    plans = {name: plan(CLAIMS[name], args.seeds, args.runs_dir, args.flags) for name in names}
    total = len({training.directory for trainings in plans.values() for training in trainings})
    started: set[Path] = set()
    divergence: UserError | None = None
    for name, trainings in plans.items():
        claim = CLAIMS[name]
        print(f"{name}: {claim.statement}\npublished: {claim.published}")
        try:
            run(trainings, started, total, args.dry_run, args.jobs)
            if not args.dry_run:
                report(name, claim, trainings, args)
        except UserError as error:
            if error.exit_code != DivergedError.exit_code:
                raise
            divergence = divergence or error  # raised at the end: the other claims can still run
            print(f"\n{name}: {error}")
        print()
    if divergence:
        raise divergence
    if args.dry_run:
        finished = sum(runs.Run(directory).result.exists() for directory in started)
        print(f"{total} different trainings, {finished} of them done")
    return 0


def run(trainings: Sequence[Training], started: set[Path], total: int, dry_run: bool,
        jobs: int) -> None:
    """Do the trainings that are not yet in `started`, add them to it, and announce all.

    With several jobs, the first that fails lets the others that are under way end, and none is
    begun any more. Raises its UserError, see `call`.
    """
    under_way: set[Future[None]] = set()
    with ThreadPoolExecutor(jobs) as pool:  # whose threads wait for processes
        for variant, seed, directory, flags in trainings:
            if directory in started:
                print(f"\n        {variant}, seed {seed}: shared, {directory}")
                continue
            started.add(directory)
            # flush: the output of the training, another process, must come after this line
            print(f"\n[{len(started)}/{total}] {variant}, seed {seed}: train {shlex.join(flags)}",
                  flush=True)
            if dry_run:
                continue
            if jobs == 1:
                train(directory, flags)
                continue
            log = directory.parent / f"{directory.name}.txt"
            under_way.add(pool.submit(train, directory, flags, log))
            if len(under_way) == jobs:
                under_way = first_to_end(under_way)
        while under_way:
            under_way = first_to_end(under_way)


def first_to_end(under_way: set[Future[None]]) -> set[Future[None]]:
    """Wait until one of the trainings ends; the others. Raises what it raised."""
    ended, others = wait(under_way, return_when=FIRST_COMPLETED)
    for future in ended:
        future.result()
    return others


if __name__ == "__main__":
    cli.run_cli(main)
