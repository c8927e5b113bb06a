"""python -m minitorch_alex.ablate NAME: a claim about AlexNet, rerun: each variant with each seed, a table, a picture.

Every training is an ordinary run under --runs-dir, by `train` in a process of its own, so that this command can be
stopped at any time: what is done is not done again, and what was begun goes on.
"""
import argparse
import json
import math
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import plots, runs
from .checkpoint import write_atomic
from .errors import EXIT_CODES, UsageError, UserError, run_cli


@dataclass(frozen=True)
class Ablation:
    """One claim.

    claim      what is said, and where
    theirs     the numbers that were published with it
    base       flags of `train` for all variants; what the user adds comes after them
    variants   the further flags of each; the first is the one that the claim is for
    """

    claim: str
    theirs: str
    base: str
    variants: Mapping[str, str]


CIFAR = "-a alexnet_cifar --data cifar10 --set channels=(32,64,96,96,64) --set hidden=(256,256) --limit 10000 " \
        "--epochs 20 --set milestones=(14,18)"
PHOTOS = "--data folder -b 32 --limit 4800 --val-split 0.04 --epochs 2 --set schedule=steps --print-freq 10"

ABLATIONS = {
    "stall": Ablation(
        "With standardised inputs the initial weights of 2012 leave the loss at ln C; with pixels of 0..255 it falls",
        "several reimplementations report a flat loss; Caffe's readme gives flat loss as the reason for biases of 0.1",
        PHOTOS, {
            "source, 0-255": "-a alexnet_source_2012",
            "source, standardised": "-a alexnet_source_2012 --set input_scale=0.0172",
            "paper, 0-255": "-a alexnet",
            "paper, standardised": "-a alexnet --set input_scale=0.0172"}),
    "lrn": Ablation(
        "Response normalisation lowers the error (section 3.3)",
        "1.4 / 1.2 points on ImageNet; 13 % to 11 % on CIFAR-10", CIFAR, {
            "with": "",
            "without": '--set "after=(\'relu pool\',\'relu pool\',\'relu\',\'relu\',\'relu pool\')"'}),
    "lrn-convention": Ablation(
        "alpha as printed, or divided by the window's size as in the source and Caffe: does it matter?",
        "not compared in the paper", CIFAR, {
            "alpha as printed": "", "alpha / 5": "--set lrn_alpha_over_size=True",
            "alpha / 5, k = 1": "--set lrn_alpha_over_size=True --set lrn_k=1.0"}),
    "overlapping-pool": Ablation(
        "Pools of 3 at stride 2 are better than pools of 2 (section 3.4)", "0.4 / 0.3 points on ImageNet", CIFAR, {
            "3 at stride 2": "", "2 at stride 2": "--set pool_size=2"}),
    "dropout": Ablation(
        "Without dropout the network overfits substantially (section 4.2)", "no number", CIFAR, {
            "0.5": "", "none": "--set dropout=0"}),
    "augmentation": Ablation(
        "Without crops and flips the network overfits substantially; PCA colour is worth more than a point of top-1 "
        "error (section 4.1)", "over 1 point for colour on ImageNet", CIFAR, {
            "shifts and flips": "", "and PCA colour": "--set color=source", "none": "--set pad=0 --set flip=False"}),
    "groups": Ablation(
        "Two columns are better than one of half the width (section 3.2)", "1.7 / 1.2 points on ImageNet", CIFAR, {
            "two columns": "", "merged": "--set groups=(1,1,1,1,1) --set lrn_groups=1",
            "one column, half": "--set groups=(1,1,1,1,1) --set lrn_groups=1 --set channels=(16,32,48,48,64)"}),
    "update-rule": Ablation(
        "The rate inside the velocity (section 5) or outside, as in PyTorch: they differ where the rate drops",
        "not compared in the paper", CIFAR, {"2012": "", "torch": "--set rule=torch"}),
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    names = "\n".join(textwrap.fill(a.claim, 100, initial_indent=f"  {name:<18}", subsequent_indent=" " * 20)
                      for name, a in ABLATIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m minitorch_alex.ablate", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Rerun a claim. Flags of train may follow after --, say: -- --data-dir data --threads 2",
        epilog=f"claims:\n{names}\n\n{EXIT_CODES}")
    parser.add_argument("name", metavar="NAME", help="which claim, see below")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each variant (default: 3)")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR",
                        help="where the trainings are kept (default: runs)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where numbers and picture go (default: RUNS/ablate-NAME)")
    parser.add_argument("--dry-run", action="store_true", help="print the trainings and stop")
    argv = sys.argv[1:] if argv is None else argv
    end = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:end])
    args.flags = argv[end + 1:]
    return args


def command(ablation: Ablation, variant: str, seed: int, name: str, runs_dir: str, extra: Sequence[str]) -> list[str]:
    """The flags of `train` for one training."""
    return [*shlex.split(ablation.base), *shlex.split(ablation.variants[variant]), *extra, "--seed", str(seed),
            "--name", name, "--runs-dir", runs_dir]


def train(directory: Path, flags: list[str]) -> None:
    """One training, unless it is done; goes on where it was stopped. UserError with train's exit code when it fails."""
    run = runs.Run(directory)
    if run.result.exists():
        return
    flags = ["--resume", str(directory)] if run.exists() else flags
    code = subprocess.run([sys.executable, "-m", "minitorch_alex.train", *flags]).returncode
    if code:
        error = UserError(f"the training in {directory} ended with exit code {code}; the same command goes on from "
                          "here")
        error.exit_code = code
        raise error


def collect(directory: Path) -> dict[str, Any]:
    """What one training showed: errors in percent, and its curves."""
    run = runs.Run(directory)
    result, log = json.loads(run.result.read_text()), run.read_log()
    last = [row for row in log if row["kind"] == "epoch"][-1]
    steps = [row for row in log if row["kind"] == "interval"]
    return {"seed": result["seed"], "seconds": result["seconds"], "test_error": result["test"]["top1_error"],
            "train_error": round(last["train_error"], 2), "val_error": round(last.get("val_error", math.nan), 2),
            "last_loss": round(float(np.mean([row["loss"] for row in steps[-3:]])), 4),
            "loss": [[row["step"], round(row["loss"], 4)] for row in steps]}


def spread(values: Sequence[float]) -> str:
    """The mean, and with several values the smallest and largest."""
    text = f"{np.mean(values):.2f}"
    return f"{text} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else text


def table(content: Mapping[str, Any]) -> str:
    """The variants as a Markdown table, and a sentence about what is seen."""
    lines = ["| variant | test error % | training error % | loss at the end | seeds | time |",
             "|---|---:|---:|---:|---:|---:|"]
    for name, trainings in content["variants"].items():
        test, fit, loss = ([t[k] for t in trainings] for k in ("test_error", "train_error", "last_loss"))
        time = f"{sum(t['seconds'] for t in trainings) / 60:.1f} min"
        lines.append(f"| {name} | {spread(test)} | {spread(fit)} | {spread(loss)} | {len(trainings)} | {time} |")
    return "\n".join([*lines, "", verdict(content)])


def verdict(content: Mapping[str, Any]) -> str:
    """What the numbers say, plainly: a variant that did not learn, an effect, or none."""
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
        if len(errors[name]) < 2:
            parts.append(f"{name}: {gap:+.1f} points beside {first}, one seed")
        else:
            parts.append(f"{name}: {gap:+.1f} points beside {first}" + ("" if apart else ", no effect that stands out "
                         "from the scatter of the seeds"))
    return "; ".join(parts) + f" (a guess errs in {guess:.0f} %)."


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.name not in ABLATIONS:
        raise UsageError(f"there is no ablation {args.name!r}; there are: {', '.join(ABLATIONS)}")
    if args.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {args.seeds}")
    ablation, extra = ABLATIONS[args.name], args.flags
    folder = Path(args.runs_dir) / f"ablate-{args.name}"
    print(f"{args.name}: {ablation.claim}\npublished: {ablation.theirs}")
    todo = [(variant, seed, folder / f"{i}-{seed}") for seed in range(args.seeds)
            for i, variant in enumerate(ablation.variants)]
    for number, (variant, seed, directory) in enumerate(todo, 1):
        flags = command(ablation, variant, seed, directory.name, str(folder), extra)
        print(f"\n[{number}/{len(todo)}] {variant}, seed {seed}: train {shlex.join(flags)}")
        if not args.dry_run:
            train(directory, flags)
    if args.dry_run:
        return 0

    trained = {v: [collect(d) for variant, _, d in todo if variant == v] for v in ablation.variants}
    first = runs.Run(todo[0][2])
    content = {**runs.provenance(0), "name": args.name, "claim": ablation.claim, "published": ablation.theirs,
               "commit": json.loads(first.result.read_text())["commit"], "seeds": args.seeds,
               "classes": first.read_config()["num_classes"], "base": ablation.base, "flags": dict(ablation.variants),
               "variants": trained}
    content["verdict"] = verdict(content)
    out = args.out or folder
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / f"ablate-{args.name}.json", [(json.dumps(content, indent=1) + "\n").encode()])
    plots.losses({v: [t["loss"] for t in ts] for v, ts in trained.items()}, out / f"ablate-{args.name}.png",
                 math.log(content["classes"]), f"{args.name}: training loss")
    print(f"\n{table(content)}\n\n{out / f'ablate-{args.name}.json'}\n{out / f'ablate-{args.name}.png'}")
    return 0


if __name__ == "__main__":
    run_cli(main)
