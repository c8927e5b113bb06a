"""python -m benchmarks.own_pictures DIR: what trained weights are worth for few pictures.

Three and ten classes of Imagenette (DIR/{train,val}/n*/), 40 training pictures of each class, drawn
anew for each seed, and all pictures of DIR/val to test. Three trainings by the same command, each
with five seeds:

    scratch      the network of the bundled model from random weights, at a rate of 0.01
    fine-tuned   --weights pretrained
    frozen       the same with --freeze conv

Times are the processor's seconds of one thread (time.process_time) and not the clock's, since
others work on the machine; the figure that `train` redraws after each epoch is left out. Nothing
was tuned on the test pictures: rates, epochs and batches are the defaults of --weights.
"""
import argparse
import contextlib
import io
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minitorch_alex import streams, train
from minitorch_alex.errors import DataError
from minitorch_alex.files import write_atomic
from minitorch_alex.training import cli, runs
from minitorch_alex.verdict import grid

CLASSES = {3: ("n01440764", "n02102040", "n03028079"),  # tench, English springer, church
           10: ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916",
                "n03417042", "n03425413", "n03445777", "n03888257")}
PICTURES = 40  # of each class, to train on
# The bundled network from random weights, for as many epochs as --weights trains it.
SCRATCH = (
    "-a alexnet_cifar --set hidden=(512,512) --set image_size=28 --set crop=28 --set pad=0 "
    "--set dropout=0.3 "
    "--set \"after=('relu pool bn','relu pool bn','relu bn','relu bn','relu pool bn')\" "
    "--lr 0.01 -b 16 --epochs 20 --set schedule=cosine"
)
VARIANTS = {
    "scratch": SCRATCH,
    "fine-tuned": "--weights pretrained",
    "frozen": "--weights pretrained --freeze conv",
}
TITLES = {"scratch": "from scratch", "fine-tuned": "`--weights pretrained`",
          "frozen": "`--weights pretrained --freeze conv`"}
BEGIN = "<!-- own pictures -->"  # around the table in the pages that show it
END = "<!-- /own pictures -->"
ALWAYS = "--val-split 0 --threads 1"


def select(source: Path, target: Path, count: int, seed: int) -> None:
    """Link the pictures of one training into target/{train,test}/CLASS."""
    for wnid in CLASSES[count]:
        files = sorted((source / "train" / wnid).iterdir())
        drawn = streams.rng(seed, f"own pictures {wnid}").permutation(len(files))[:PICTURES]
        parts = {"train": [files[i] for i in drawn], "test": (source / "val" / wnid).iterdir()}
        for part, chosen in parts.items():
            folder = target / part / wnid
            folder.mkdir(parents=True)
            for file in chosen:
                os.symlink(file.resolve(), folder / file.name)


def measure(source: Path, count: int, variant: str, seed: int) -> dict[str, Any]:
    """One training: its test error in %, and the processor's seconds."""
    train.plots.curves = lambda *_: None  # in this process, which does nothing else
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        select(source, pictures, count, seed)
        flags = [str(pictures), *shlex.split(f"{VARIANTS[variant]} {ALWAYS}"), "--seed", str(seed),
                 "--runs-dir", folder, "--name", "run"]
        begin = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            train.main(flags)
        seconds = time.process_time() - begin
        result = json.loads((Path(folder) / "run" / "result.json").read_text())
    row = {"classes": count, "variant": variant, "seed": seed,
           "test_images": result["test_images"], "error": result["test"]["top1_error"],
           "cpu_seconds": round(seconds, 1)}
    print(row, file=sys.stderr, flush=True)
    return row


def measured_before(file: Path) -> list[dict[str, Any]]:
    """The trainings that a file of --keep has."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each number of classes and variant: mean, least and largest accuracy in %, and the
    median of the seconds."""
    lines = []
    for count in sorted({row["classes"] for row in rows}):
        for variant in VARIANTS:
            group = [row for row in rows
                     if row["classes"] == count and row["variant"] == variant]
            right = [100 - row["error"] for row in group]
            lines.append({"classes": count, "variant": variant, "seeds": len(group),
                          "accuracy": round(statistics.mean(right), 1),
                          "least": round(min(right), 1), "largest": round(max(right), 1),
                          "cpu_seconds": round(statistics.median(
                              row["cpu_seconds"] for row in group), 1)})
    return lines


def table(record: Mapping[str, Any]) -> str:
    """The summary for README and docs/results.md."""
    rows = [[str(line["classes"]), TITLES[line["variant"]], f"{line['accuracy']:.1f} %",
             f"{line['least']:.1f} - {line['largest']:.1f}", str(line["seeds"]),
             f"{line['cpu_seconds']:.1f}"]
            for line in record["summary"]]
    return grid(["classes", "training", "right", "from - to", "seeds", "processor seconds"], rows,
                left=2)


def paste(record: Mapping[str, Any], root: Path) -> None:
    """Put the table into the pages that show it."""
    for name in ("README.md", "docs/own_pictures.md"):
        text = (root / name).read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        page = f"{before}{BEGIN}\n{table(record)}\n{END}{after}"
        write_atomic(root / name, [page.encode()])


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and write the record; the exit code."""
    parser = cli.parser("benchmarks.own_pictures", (__doc__ or "").partition("\n\n")[2])
    parser.add_argument("source", type=cli.path, metavar="DIR", help="imagenette, with train/ and "
                                                                     "val/")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--keep", type=cli.path, default=Path("own_pictures.jsonl"),
                        metavar="FILE", help="keep each training here, so that a benchmark that "
                                             "was stopped goes on (default: own_pictures.jsonl)")
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("I", "N"),
                        help="only the I-th of each N trainings, without a record at the end, so "
                             "that several processes can share them")
    parser.add_argument("--no-training", action="store_true",
                        help="write the record of the trainings that were kept")
    parser.add_argument("--out", type=cli.path, default=Path("results/own_pictures.json"),
                        metavar="FILE")
    args: argparse.Namespace = parser.parse_args(argv)
    if not (args.source / "train").is_dir():
        raise DataError(f"{args.source} has no folder train; give the folder of Imagenette")
    tasks = [(count, variant, seed) for count in CLASSES for seed in range(args.seeds)
             for variant in VARIANTS]
    index, shares = args.share
    for task in () if args.no_training else tasks[index::shares]:
        done = [(row["classes"], row["variant"], row["seed"])
                for row in measured_before(args.keep)]
        if task not in done:
            row = measure(args.source, *task)
            with open(args.keep, "a") as file:
                file.write(json.dumps(row) + "\n")
    if shares > 1:
        return 0
    rows = sorted(measured_before(args.keep),
                  key=lambda row: tasks.index((row["classes"], row["variant"], row["seed"])))
    flags = {name: f"train DIR {words} {ALWAYS}" for name, words in VARIANTS.items()}
    record = {**runs.provenance(0), "device": f"{runs.cpu_name()}, 1 thread",
              "command": "python -m benchmarks.own_pictures data/imagenette-224",
              "seeds": args.seeds, "flags": flags,
              "note": "cpu_seconds are of time.process_time, one thread, on a machine that others "
                      "used too; the curves were not drawn",
              "summary": summary(rows), "trainings": rows}
    write_atomic(args.out, [(json.dumps(record, indent=1) + "\n").encode()])
    if args.out == parser.get_default("out"):
        paste(record, Path())
    print(f"{table(record)}\n{args.out}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
