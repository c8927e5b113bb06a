"""python -m minitorch_alex.ablate NAME: a claim about AlexNet, rerun: each variant with each seed, a table, a picture.

Every training is an ordinary run under RUNS/ablate, by `train` in a process of its own, so that this command can be
stopped at any time: what is done is not done again, and what was begun goes on. A run's directory is named after its
flags: a training that several claims ask for is done once.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import plots
from .errors import DivergedError, UsageError, UserError
from .files import write_atomic
from .training import cli, runs


@dataclass(frozen=True)
class Ablation:
    """One claim.

    claim      what is said, and where
    theirs     the numbers that were published with it
    base       flags of `train` for all variants; what the user adds comes after them
    variants   the further flags of each; the first is the one that the claim is for
    picture    what shows the claim: "loss" over the steps; "fit", training and validation error over the epochs;
               "dots", the test error of each seed; "race", the training error until it is LEVEL; "views", the test
               error of the same nets by one view and by averages over several (there is one variant then)
    """

    claim: str
    theirs: str
    base: str
    variants: Mapping[str, str]
    picture: str = "dots"


class Training(NamedTuple):
    """One training of a plan: which it is, where it is kept, and the flags of `train`."""

    variant: str
    seed: int
    directory: Path
    flags: list[str]


LEVEL = 25.0   # %, the training error that Figure 1 of the paper counts to
WINDOW = 2000  # images: the training error of a race is the mean over the last so many
VIEWS = {"single": "single view", "nine": "nine views", "ten": "ten views"}

NO_LRN = "--set \"after=('relu pool','relu pool','relu','relu','relu pool')\""
# A narrow AlexNet whose stem walks in steps of 2; on 10,000 images it takes about 50 seconds of two quiet cores.
NET = "-a alexnet_cifar --data cifar10 --set kernels=(5,5,3,3,3) --set strides=(2,1,1,1,1) " \
      "--set paddings=(2,2,1,1,1) --set channels=(32,64,96,96,64) --set hidden=(512,512)"
CIFAR = NET + " -b 64 --limit 10000 --val-split 0.04 --epochs 16 --set milestones=(12,15)"
# No dropout, augmentation, weight decay, LRN or drop of the rate; fewer images, so that 25 % is not far.
RACE = f"{NET} {NO_LRN} -b 32 --limit 4000 --val-split 0.02 --epochs 24 --set milestones=() --set dropout=0 " \
       "--set pad=0 --set flip=False --wd 0 --print-freq 20"
PLAIN = "--set pad=0 --set flip=False"
RATES = (0.00125, 0.0025, 0.005, 0.01)
PAPER = "--set init=gaussian --set init_bias=(0,1,0,1,1,1,1,0)"
# Pixels of 0..255 are 64 times as large as this net's, and LRN compares alpha with the square of its inputs: this is
# to the scaled pixels what 0.0001 is to those of the paper.
LRN = "--set lrn_alpha=0.4096"
PHOTOS = "--data folder -b 32 --limit 4800 --val-split 0.04 --epochs 2 --set schedule=steps --print-freq 10"

ABLATIONS = {
    "relu-vs-tanh": Ablation(
        "With ReLU a net gets to 25 % training error several times as fast as with tanh (section 3.1, Figure 1)",
        "six times, on CIFAR-10, with a net of four layers, rates chosen for each, no regularisation", RACE, {
            **{f"relu, rate {lr}": f"--lr {lr}" for lr in RATES},
            **{f"tanh, rate {lr}": f"--set activation=tanh --lr {lr}" for lr in RATES}}, "race"),
    "init": Ablation(
        "The initial weights of the paper (0.01 in all layers, biases of 1) leave the loss at ln C where pixels are "
        "scaled to size 1", "not in the paper; see docs/stall.md", CIFAR, {
            "He, biases 0": "",
            "paper": PAPER,
            "paper, pixels 0-255": f"{PAPER} --set input_scale=1.0",
            "paper, weights of He": "--set init_bias=(0,1,0,1,1,1,1,0)"}, "loss"),
    "stall": Ablation(
        "With standardised inputs the initial weights of 2012 leave the loss at ln C; with pixels of 0..255 it falls",
        "several reimplementations report a flat loss; Caffe's readme gives flat loss as the reason for biases of 0.1",
        PHOTOS, {
            "source, 0-255": "-a alexnet_source_2012",
            "source, standardised": "-a alexnet_source_2012 --set input_scale=0.0172",
            "paper, 0-255": "-a alexnet",
            "paper, standardised": "-a alexnet --set input_scale=0.0172"}, "loss"),
    "lrn": Ablation(
        "Response normalisation lowers the error (section 3.3)",
        "1.4 / 1.2 points on ImageNet; 13 % to 11 % on CIFAR-10", CIFAR, {
            "with": LRN, "with, alpha 0.0001": "",
            "without": NO_LRN}),
    "lrn-convention": Ablation(
        "alpha as printed, or divided by the window's size as in the source and Caffe: does it matter?",
        "not compared in the paper", CIFAR, {
            "alpha as printed": LRN, "alpha / 5": f"{LRN} --set lrn_alpha_over_size=True",
            "alpha / 5, k = 1": f"{LRN} --set lrn_alpha_over_size=True --set lrn_k=1.0"}),
    "overlapping-pool": Ablation(
        "Pools of 3 at stride 2 are better than pools of 2 (section 3.4)", "0.4 / 0.3 points on ImageNet", CIFAR, {
            "3 at stride 2": "", "2 at stride 2": "--set pool_size=2"}),
    "dropout": Ablation(
        "Without dropout the network overfits substantially (section 4.2)", "no number", CIFAR, {
            "0.5": "", "none": "--set dropout=0", "0.5, images as they are": PLAIN,
            "none, images as they are": f"{PLAIN} --set dropout=0"}, "fit"),
    "augmentation": Ablation(
        "Without crops and flips the network overfits substantially; PCA colour is worth more than a point of top-1 "
        "error (section 4.1)", "over 1 point for colour on ImageNet", CIFAR, {
            "shifts and flips": "", "and PCA colour": "--set color=source", "none": PLAIN},
        "fit"),
    "groups": Ablation(
        "Two columns are better than one of half the width (section 3.2)", "1.7 / 1.2 points on ImageNet", CIFAR, {
            "two columns": "", "merged": "--set groups=(1,1,1,1,1) --set lrn_groups=1",
            "one column, half": "--set groups=(1,1,1,1,1) --set lrn_groups=1 --set channels=(16,32,48,48,64)"}),
    "update-rule": Ablation(
        "The rate inside the velocity (section 5) or outside, as in PyTorch: they differ where the rate drops",
        "not compared in the paper", CIFAR, {"2012": "", "torch": "--set rule=torch"}),
    "ten-view": Ablation(
        "The mean of ten views is better than a single one (section 4.1)",
        "39.0 / 18.3 % to 37.5 / 17.0 % on ImageNet 2010", CIFAR, {"the net": ""}, "views"),
}
ALL = [name for name in ABLATIONS if name != "stall"]  # stall needs photographs


def parse(argv: list[str] | None) -> argparse.Namespace:
    names = "\n".join(textwrap.fill(text, 100, initial_indent=f"  {name:<18}", subsequent_indent=" " * 20)
                      for name, text in [*((name, a.claim) for name, a in ABLATIONS.items()), (
                          "all", "all of these but stall, which needs a folder of photographs")])
    parser = cli.parser("minitorch_alex.ablate",
                        "Rerun a claim. Flags of train may follow after --, say: -- --data-dir data --threads 2",
                        epilog=f"claims:\n{names}\n\n{cli.EXIT_CODES}")
    parser.add_argument("name", metavar="NAME", help="which claim, see below")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each variant (default: 3)")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR",
                        help="the trainings are kept in DIR/ablate (default: runs)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where numbers and picture go (default: RUNS/ablate-NAME)")
    parser.add_argument("--dry-run", action="store_true", help="print the trainings and their number, and stop")
    argv = sys.argv[1:] if argv is None else argv
    end = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:end])
    args.flags = argv[end + 1:]
    return args


def plan(ablation: Ablation, seeds: int, runs_dir: str, extra: Sequence[str]) -> list[Training]:
    """The trainings of an ablation, seed by seed."""
    found, folder = [], Path(runs_dir) / "ablate"
    for seed in range(seeds):
        for variant, more in ablation.variants.items():
            flags = [*shlex.split(ablation.base), *shlex.split(more), *extra]
            digest = hashlib.sha256("\0".join(flags).encode()).hexdigest()[:8]
            words = re.sub(r"[^\w.]+", "-", more.replace("--set", "")).strip("-")[:40] or "base"
            name = f"{words}-{digest}-{seed}"
            found.append(Training(variant, seed, folder / name, [*flags, "--seed", str(seed), "--name", name,
                                                                 "--runs-dir", str(folder)]))
    return found


def call(module: str, flags: Sequence[str], directory: Path) -> None:
    """python -m minitorch_alex.<module>. UserError with its exit code when it fails."""
    code = subprocess.run([sys.executable, "-m", f"minitorch_alex.{module}", *flags]).returncode
    if code:
        error = UserError(f"{module} in {directory} ended with exit code {code}; the same command goes on from here")
        error.exit_code = code
        raise error


def train(directory: Path, flags: list[str]) -> None:
    """One training, unless it is done; goes on where it was stopped."""
    run = runs.Run(directory)
    if not run.result.exists():
        call("train", ["--resume", str(directory)] if run.exists() else flags, directory)


def evaluate(directory: Path) -> dict[str, dict[str, float]]:
    """The test errors of a finished training by each of VIEWS, measured once."""
    file = directory / "evaluate-test.json"
    if not file.exists() or not VIEWS.keys() <= json.loads(file.read_text())["views"].keys():
        call("evaluate", [str(directory), "--worst", "0"], directory)
    return json.loads(file.read_text())["views"]


def collect(directory: Path, picture: str) -> dict[str, Any]:
    """What one training showed: errors in percent, and the curves that the picture needs."""
    run = runs.Run(directory)
    result, log = json.loads(run.result.read_text()), run.read_log()
    epochs = [row for row in log if row["kind"] == "epoch"]
    steps = [row for row in log if row["kind"] == "interval"]
    found = {"run": directory.name, "seed": result["seed"], "seconds": result["seconds"],
             "test_error": result["test"]["top1_error"], "train_error": round(epochs[-1]["train_error"], 2),
             "val_error": round(epochs[-1]["val_error"], 2) if "val_error" in epochs[-1] else None,
             "last_loss": round(float(np.mean([row["loss"] for row in steps[-3:]])), 4)}
    if picture == "loss":
        found["loss"] = [[row["step"], round(row["loss"], 4)] for row in steps]
    if picture == "fit":
        found["curve"] = [{key: round(row[key], 4) for key in ("epoch", "train_loss", "train_error", "val_loss",
                                                               "val_error", "lr") if key in row} for row in epochs]
    if picture == "race":
        points = running_error(steps, WINDOW / result["train_images"])
        found["race"] = [[round(epoch, 3), round(error, 2)] for epoch, error in points]
        found["epochs"] = reached(points)
    return found


def running_error(steps: Sequence[Mapping[str, Any]], width: float) -> list[tuple[float, float]]:
    """(epochs done, mean training error over the last `width` epochs, or over all where there are fewer yet) at each
    line of the log. A line holds the mean since the one before it, and a part of it counts as that mean."""
    at = np.array([0.0, *(row["epoch"] for row in steps)])
    total = np.cumsum([0.0, *np.diff(at) * [row["error"] for row in steps]])  # of errors, in % times epochs
    begin = np.maximum(at[1:] - width, 0)
    errors = (total[1:] - np.interp(begin, at, total)) / (at[1:] - begin)
    return list(zip(at[1:].tolist(), errors.tolist(), strict=True))


def reached(points: Sequence[tuple[float, float]], level: float = LEVEL) -> float | None:
    """After how many epochs the error is `level` for the first time, on the line from point to point; None: never."""
    for (before, high), (after, low) in zip(points, points[1:], strict=False):
        if low <= level < high:
            return round(before + (after - before) * (high - level) / (high - low), 3)
    return None


def fastest(content: Mapping[str, Any]) -> dict[str, str]:
    """The variant of each unit that is there first: reached by most seeds, then in the fewest epochs in their mean."""
    def rank(variant: str) -> tuple[int, float]:
        epochs = [t["epochs"] for t in content["variants"][variant] if t["epochs"] is not None]
        return -len(epochs), float(np.mean(epochs)) if epochs else 0.0

    found: dict[str, str] = {}
    for variant in sorted(content["variants"], key=rank):
        found.setdefault(unit(variant), variant)
    return {name: found[name] for name in dict.fromkeys(map(unit, content["variants"]))}


def unit(variant: str) -> str:
    """The relu of "relu, rate 0.01"."""
    return variant.partition(",")[0]


def spread(values: Sequence[float]) -> str:
    """The mean, and with several values the smallest and largest."""
    text = f"{np.mean(values):.2f}"
    return f"{text} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else text


def table(content: Mapping[str, Any]) -> str:
    """The variants as a Markdown table, and a sentence about what is seen."""
    race = content.get("picture") == "race"
    lines = [f"| variant | {f'epochs to {LEVEL:.0f} % | ' * race}test error % | training error % | loss at the end | "
             "seeds | time |", "|---|" + "---:|" * (5 + race)]
    for name, trainings in content["variants"].items():
        test, fit, loss = ([t[k] for t in trainings] for k in ("test_error", "train_error", "last_loss"))
        time = f"{sum(t['seconds'] for t in trainings) / 60:.1f} min"
        cells = [name, *([arrivals(trainings)] if race else []), spread(test), spread(fit), spread(loss)]
        lines.append(f"| {' | '.join(cells)} | {len(trainings)} | {time} |")
    return "\n".join([*lines, "", verdict(content)])


def arrivals(trainings: Sequence[Mapping[str, Any]]) -> str:
    """After how many epochs the trainings of a race were at LEVEL, or how many were not."""
    epochs = [t["epochs"] for t in trainings if t["epochs"] is not None]
    if not epochs:
        return "not reached"
    return spread(epochs) + (f", {len(epochs)} of {len(trainings)} seeds," if len(epochs) < len(trainings) else "")


def verdict(content: Mapping[str, Any]) -> str:
    """What the numbers say, plainly: a variant that did not learn, an effect, or none."""
    if content.get("picture") == "race":
        return race_verdict(content)
    errors = {name: [t["test_error"] for t in trainings] for name, trainings in content["variants"].items()}
    first, *others = errors
    guess, parts = 100 * (1 - 1 / content["classes"]), []
    for name in errors:
        losses = [t["last_loss"] for t in content["variants"][name]]
        if np.mean(losses) > math.log(content["classes"]) - 0.03:
            parts.append(f"{name}: the loss stayed at ln {content['classes']} = {math.log(content['classes']):.3f}")
    for name in others:
        gap = float(np.mean(errors[name]) - np.mean(errors[first]))
        apart = min(errors[name]) > max(errors[first]) or max(errors[name]) < min(errors[first])
        if content.get("picture") == "views":  # the same nets: each is compared with itself
            gaps = np.subtract(errors[name], errors[first])
            apart = bool((gaps > 0).all() or (gaps < 0).all())
        if len(errors[name]) < 2:
            parts.append(f"{name}: {gap:+.1f} points beside {first}, one seed")
        else:
            parts.append(f"{name}: {gap:+.1f} points beside {first}" + ("" if apart else ", no effect that stands out "
                         "from the scatter of the seeds"))
    if content.get("picture") == "fit":
        parts += [f"{name}: validation error {np.mean([t['val_error'] - t['train_error'] for t in trainings]):+.1f} "
                  "points beside training error at the end" for name, trainings in content["variants"].items()
                  if all(t["val_error"] is not None for t in trainings)]
    return "; ".join(parts) + f" (a guess errs in {guess:.0f} %)."


def race_verdict(content: Mapping[str, Any]) -> str:
    """Who is at LEVEL first, each unit at its best rate, and by how much."""
    parts, means, best = [], {}, fastest(content)
    for name, variant in best.items():
        trainings = content["variants"][variant]
        epochs = [t["epochs"] for t in trainings if t["epochs"] is not None]
        rates = [v for v in content["variants"] if unit(v) == name]
        if not epochs:
            parts.append(f"{name}: {LEVEL:.0f} % not reached in {content['epochs']} epochs at any of its rates")
            continue
        edge = ", the last of those tried on this side" if len(rates) > 1 and variant in (rates[0], rates[-1]) else ""
        parts.append(f"{name}: {LEVEL:.0f} % training error after {arrivals(trainings)} epochs at its best "
                     f"{variant.partition(', ')[2]}{edge}")
        if len(epochs) == len(trainings):
            means[name] = float(np.mean(epochs))
    first, second = best
    if len(means) == 2:
        one, other = ([t["epochs"] for t in content["variants"][best[name]]] for name in best)
        apart = min(other) > max(one) or max(other) < min(one)
        ratio = means[second] / means[first]
        clear = f": here {second if ratio < 1 else first} is the faster" if apart else \
            ", no effect that stands out from the scatter of the seeds"
        parts.append(f"{second} takes {ratio:.1f} times the epochs of {first}"
                     + (", one seed" if len(one) < 2 else clear))
    elif first in means and all(t["epochs"] is None for t in content["variants"][best[second]]):
        parts.append(f"{second} takes more than {content['epochs'] / means[first]:.1f} times the epochs of {first}")
    else:
        parts.append("there is no ratio: not every seed arrived")
    return "; ".join(parts) + "."


def draw(content: Mapping[str, Any], path: Path) -> None:
    """The picture that shows the claim."""
    variants, name, picture = content["variants"], content["name"], content["picture"]
    if picture == "loss":
        plots.losses({v: [t["loss"] for t in ts] for v, ts in variants.items()}, path, math.log(content["classes"]),
                     f"{name}: training loss")
    elif picture == "race":
        plots.race({v: [t["race"] for t in variants[v]] for v in fastest(content).values()}, path, LEVEL,
                   f"{name}: training error, each at its best rate")
    elif picture == "fit":
        plots.curves({v: mean_curve(ts) for v, ts in variants.items()}, path,
                     f"{name}: means of {content['seeds']} seeds")
    else:
        plots.dots({v: [t["test_error"] for t in ts] for v, ts in variants.items()}, path, "test error, %",
                   f"{name}: each seed, and the mean")


def mean_curve(trainings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean of several trainings as the log of one, for plots.curves."""
    rows = [{"kind": "epoch", **{key: float(np.mean([t["curve"][i][key] for t in trainings])) for key in row}}
            for i, row in enumerate(trainings[0]["curve"])]
    test = {"kind": "test", "epoch": rows[-1]["epoch"],
            "test_error": float(np.mean([t["test_error"] for t in trainings]))}
    return [*rows, test]


def without_paths(command: str) -> str:
    """A command with paths elsewhere on the machine cut to their last part: results/ is published."""
    return shlex.join(re.sub(r"(^|=)(?:/|~/|\.\./)(?:.*/)?(?=[^/])", r"\1", word) for word in shlex.split(command))


def report(name: str, ablation: Ablation, trainings: Sequence[Training], args: argparse.Namespace) -> None:
    """Collect the finished trainings of a claim; write its numbers and picture, and print its table."""
    variants: dict[str, list[dict[str, Any]]] = {variant: [] for variant in ablation.variants}
    for training in trainings:
        variants[training.variant].append(collect(training.directory, ablation.picture))
    if ablation.picture == "views":
        (found,) = variants.values()
        views = [evaluate(training.directory) for training in trainings]
        variants = {text: [{**t, "test_error": v[kind]["top1_error"]} for t, v in zip(found, views, strict=True)]
                    for kind, text in VIEWS.items()}
    first = runs.Run(trainings[0].directory)
    config, result = first.read_config(), json.loads(first.result.read_text())
    commits = [json.loads(runs.Run(training.directory).result.read_text())["commit"] for training in trainings]
    source = runs.provenance(0)
    content = {**source, "command": without_paths(source["command"]),
               **{key: result[key] for key in ("backend", "device", "numpy", "python") if key in result},
               "commit": ", ".join(dict.fromkeys(map(str, commits))),
               "name": name, "claim": ablation.claim, "published": ablation.theirs, "picture": ablation.picture,
               "seeds": args.seeds, "classes": config["num_classes"], "epochs": config["recipe"]["epochs"],
               "train_images": result["train_images"], "base": ablation.base, "flags": dict(ablation.variants),
               "variants": variants}
    content["verdict"] = verdict(content)
    out = args.out or Path(args.runs_dir) / f"ablate-{name}"
    out.mkdir(parents=True, exist_ok=True)
    text = re.sub(r"\[\s+([-.\d]+),\s+([-.\d]+)\s+\]", r"[\1, \2]", json.dumps(content, indent=1, allow_nan=False))
    write_atomic(out / f"ablate-{name}.json", [(text + "\n").encode()])
    draw(content, out / f"ablate-{name}.png")
    print(f"\n{table(content)}\n\n{out / f'ablate-{name}.json'}\n{out / f'ablate-{name}.png'}")


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.name not in (*ABLATIONS, "all"):
        raise UsageError(f"there is no ablation {args.name!r}; there are: {', '.join(ABLATIONS)}, all")
    if args.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {args.seeds}")
    names = ALL if args.name == "all" else [args.name]
    plans = {name: plan(ABLATIONS[name], args.seeds, args.runs_dir, args.flags) for name in names}
    total, seen = len({training.directory for trainings in plans.values() for training in trainings}), set()
    diverged = None
    for name, trainings in plans.items():
        print(f"{name}: {ABLATIONS[name].claim}\npublished: {ABLATIONS[name].theirs}")
        try:
            for variant, seed, directory, flags in trainings:
                if directory in seen:
                    print(f"\n        {variant}, seed {seed}: shared, {directory}")
                    continue
                seen.add(directory)
                print(f"\n[{len(seen)}/{total}] {variant}, seed {seed}: train {shlex.join(flags)}", flush=True)
                if not args.dry_run:
                    train(directory, flags)
            if not args.dry_run:
                report(name, ABLATIONS[name], trainings, args)
        except UserError as error:
            if error.exit_code != DivergedError.exit_code:
                raise
            diverged = diverged or error  # the other claims need not wait for this one
            print(f"\n{name}: {error}")
        print()
    if diverged:
        raise diverged
    if args.dry_run:
        done = sum(runs.Run(directory).result.exists() for directory in seen)
        print(f"{total} different trainings, {done} of them done")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
