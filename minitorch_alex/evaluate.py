"""python -m minitorch_alex.evaluate RUN [RUN...]: how good is a trained model, or the average of several?

Top-1 and top-5 error, for a single view and for averages over views, and the classes it errs on most. Several runs are
also taken together: their probabilities are averaged, as in the paper's table 2.
"""
import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import backend, kernels, plots
from . import functional as F
from .autograd import no_grad
from .data import Dataset, Transform
from .errors import DataError, DivergedError, UsageError
from .nn import Module
from .tensor import Tensor
from .training import cli, feed, runs


def probabilities(model: Module, images: Any) -> np.ndarray:
    """Softmax outputs (N, K) for prepared images (N, H, W, 3) float32, in evaluation mode, as host arrays. The images
    may be on the device already."""
    mode = model.training
    model.eval()
    with no_grad():
        logits = model(Tensor(backend.asarray(images.transpose(0, 3, 1, 2))))
        result = backend.to_numpy(F.softmax(logits).data)
    model.train(mode)
    return result


def predict(model: Module, dataset: Dataset, transform: Transform, views: str = "single", batch_size: int = 250,
            progress: bool = False) -> np.ndarray:
    """(N, K) probabilities over a data set.

    views   "single": the central crop.   "nine", "ten": the mean of the probabilities over the nine crops of the 2012
            CIFAR test or the paper's ten (section 4.1: corners and centre, and their mirror images)
    """
    parts = []
    for batch in tqdm(feed.views(dataset, transform, views, batch_size), total=-(-len(dataset) // batch_size),
                      desc=f"{dataset.name}, {views}", unit="batch", leave=False, disable=None if progress else True):
        parts.append(np.mean([probabilities(model, view) for view in batch], axis=0))
        kernels.trim_memory()
    probs = np.concatenate(parts)
    if not np.isfinite(probs).all():
        raise DivergedError(f"the model's outputs on {dataset.name} are not finite: its weights have diverged")
    return probs


def error_rates(probs: np.ndarray, labels: np.ndarray, top: int = 5) -> tuple[float, float, float]:
    """(mean cross-entropy, top-1 error %, top-`top` error %). A class counts as above the true one only if it is
    strictly more probable, and ties share: with t classes tied at the edge the right one is in by its fair chance. In
    the cross-entropy a probability below 1e-38 counts as 1e-38."""
    right = probs[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(right.astype(np.float64), 1e-38)).mean()
    return float(loss), *(float(100 * misses(probs, labels, min(n, probs.shape[1])).mean()) for n in (1, top))


def misses(probs: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """(N,) the chance that the true class of an image is not among the n most probable ones: 0 or 1, or between them
    where it is tied at the edge."""
    right = probs[np.arange(len(labels)), labels][:, None]
    above, tied = (probs > right).sum(axis=1), (probs == right).sum(axis=1)
    return 1 - np.clip((n - above) / tied, 0, 1)


def by_class(probs: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row a class that has images, the worst first: its number of images, top-1 and top-5 error in %, and the wrong
    class that its images are taken for most often, with the share of them that is (in %; None where there is none)."""
    errors = [misses(probs, labels, min(n, probs.shape[1])) for n in (1, 5)]
    guess, rows = probs.argmax(axis=1), []
    for k in np.unique(labels):
        mine = labels == k
        wrong = np.bincount(guess[mine], minlength=len(classes))
        wrong[k] = 0
        top1, top5 = (round(float(100 * error[mine].mean()), 2) for error in errors)
        rows.append({"class": classes[k], "images": int(mine.sum()), "top1_error": top1, "top5_error": top5,
                     "taken_for": classes[wrong.argmax()] if wrong.any() else None,
                     "taken_for_share": round(100 * float(wrong.max() / mine.sum()), 2)})
    return sorted(rows, key=lambda row: (-row["top1_error"], -row["top5_error"], row["class"]))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.parser("minitorch_alex.evaluate", (__doc__ or "").partition("\n\n")[2])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN",
                        help="a run directory (runs/NAME) or a checkpoint file in one; several are averaged too")
    parser.add_argument("--split", choices=("test", "val", "train"), default="test",
                        help="which part to measure on (default: test)")
    parser.add_argument("--views", choices=("single", "nine", "ten", "all"), default="all",
                        help="single view, the 9- or the 10-view average, or all three (default)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument("-b", "--batch-size", type=int, default=250, metavar="N",
                        help="images at a time (default: 250)")
    parser.add_argument("--worst", type=int, default=10, metavar="N",
                        help="list the N classes with the largest error (default: 10; the JSON file has all)")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data is (default: as in training)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where the numbers and the picture go (default: the first run's directory)")
    cli.add_device_flags(parser)
    parser.add_argument("--previous", action="store_true", help="use the checkpoint before the last one")
    return parser.parse_args(argv)


class Member:
    """One of the trained models that are evaluated together, with what it needs to look at images."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self.run, self.file = runs.find(path, args.previous)
        self.config = self.run.read_config()
        self.config["data_dir"] = args.data_dir or self.config["data_dir"]
        self.model, arrays, self.meta = runs.load_model(self.file, self.config)
        self.transform = runs.build_transform(self.config, arrays["data.mean"])

    def sees(self, split: str) -> dict[str, Any]:
        """The settings on which the images of a split depend: those of the test set not on what was held out."""
        names = ("data", "data_dir", "data_size") + (("val_split", "limit", "seed") if split != "test" else ())
        return {name: self.config[name] for name in names}

    def part(self, args: argparse.Namespace) -> Dataset:
        """The images to measure on. DataError when the run has no such part, or other classes."""
        part = runs.load_data(self.config)[args.split]
        if part is None:
            raise DataError(f"this run has no {args.split} part; it was trained with --val-split "
                            f"{self.config['val_split']}")
        if len(part.classes) != self.config["num_classes"]:
            raise DataError(f"{part.name} has {len(part.classes)} classes, {self.run.directory} was trained with "
                            f"{self.config['num_classes']}; give its data with --data-dir")
        return part.subset(slice(args.limit)) if args.limit else part


def scores(probs: np.ndarray, labels: np.ndarray, seconds: float, views: str) -> dict[str, float]:
    """Loss and errors, printed and rounded."""
    loss, top1, top5 = error_rates(probs, labels)
    print(f"  {views:<6} view{' ' if views == 'single' else 's'}  top-1 error {top1:6.2f} %   "
          f"top-5 error {top5:5.2f} %   loss {loss:.4f}   {seconds:.1f} s")
    return {"loss": round(loss, 4), "top1_error": round(top1, 2), "top5_error": round(top5, 2)}


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.batch_size < 1 or (args.limit is not None and args.limit < 1) or args.worst < 0:
        raise UsageError(f"--batch-size and --limit must be at least 1 and --worst 0 or more, got {args.batch_size}, "
                         f"{args.limit} and {args.worst}")
    cli.use_device(vars(args))
    kernels.keep_freed_memory()

    kinds = ("single", "nine", "ten") if args.views == "all" else (args.views,)
    totals: dict[str, Any] = dict.fromkeys(kinds, 0)  # the members' probabilities, added up
    times, members, first, last, part = dict.fromkeys(kinds, 0.0), [], None, None, None
    for path in args.runs:
        member = Member(path, args)
        if last is None or member.sees(args.split) != last.sees(args.split):
            labels, part = (None if part is None else part.labels), None  # two sets of images need not be there at once
            part = member.part(args)
            if labels is not None and not np.array_equal(labels, part.labels):
                raise UsageError(f"{path} and {args.runs[0]} see different {args.split} images: their probabilities "
                                 "cannot be averaged")
        first, last = first or member, member
        print(f"{member.config['model']} from {member.file}, epoch {member.meta['epoch']}; {len(part):,} images of "
              f"{part.name} ({args.split})")
        found: dict[str, Any] = {}
        for views in kinds:
            begin = time.perf_counter()
            probs = predict(member.model, part, member.transform, views, args.batch_size, progress=True)
            seconds = time.perf_counter() - begin
            found[views] = scores(probs, part.labels, seconds, views)
            totals[views] = totals[views] + probs
            times[views] += seconds
        members.append({"run": str(member.file), "model": member.config["model"], "views": found})
    if len(members) > 1:
        print(f"the average of the {len(members)}")
        found = {views: scores(totals[views] / len(members), part.labels, times[views], views) for views in kinds}

    main_view = "single" if args.views == "all" else args.views
    table = by_class(totals[main_view], part.labels, part.classes)
    if args.worst:
        width = max(len(row["class"]) for row in table[:args.worst])
        print(f"\n  the classes with the largest error ({main_view} view{'s' * (main_view != 'single')})")
        for row in table[:args.worst]:
            taken = f"   {row['taken_for_share']:.0f} % taken for {row['taken_for']}" if row["taken_for"] else ""
            print(f"  {row['class']:<{width}}  top-1 {row['top1_error']:6.2f} %   top-5 {row['top5_error']:6.2f} %   "
                  f"of {row['images']}{taken}")
    matrix = np.zeros((len(part.classes),) * 2, np.int64)
    np.add.at(matrix, (part.labels, totals[main_view].argmax(axis=1)), 1)
    name = args.split
    name += "-ensemble" if len(members) > 1 else ""
    folder = args.out or first.run.directory
    picture = folder / f"confusion-{name}.png"
    title = f"{first.config['model']} on {part.name}" + f", average of {len(members)}" * (len(members) > 1)
    plots.confusion(matrix, part.classes, picture, title)
    result = folder / f"evaluate-{name}.json"
    first.run.write_json(result, {
        **runs.provenance(first.config["seed"]), "model": first.config["model"], "split": args.split,
        "images": len(part), "views": found, **({"members": members} if len(members) > 1 else {}),
        **cli.device_record(vars(args)), "by_class": table,
        **({"confusion": matrix.tolist()} if len(part.classes) <= 100 else {})})  # a million numbers otherwise
    print(f"\n  {picture}\n  {result}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
