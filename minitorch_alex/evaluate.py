"""python -m minitorch_alex.evaluate RUN [RUN...]: how good is a trained model?

Top-1 and top-5 error, for a single view and for averages over views, and the classes with the
largest error. With -w, weights from anywhere are measured on a folder of pictures, DIR/CLASS/* or
DIR/val/CLASS/*:

    evaluate -a alexnet_torchvision -w alexnet-owt-7be5be79.pth DIR

Several runs are also evaluated together: their probabilities are averaged, as in
the paper's table 2. With --search-weights the average is a weighted one, as its authors made it:
the weights are searched on the validation images.
"""
import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from . import __version__, comm, kernels, plots
from .classifier import VIEWS, softmax_outputs
from .data import Dataset, Transform
from .errors import DivergedError, UsageError
from .members import FolderMember, Member
from .models import MODELS, Network
from .nn import Module
from .training import cli, feed, ranks, runs
from .training.cli import Flag

TOP = 5  # guesses; with no more classes than that, one of them is always right
FEW = 25  # classes that a confusion matrix shows one by one, also without images
INTEGER = {"type": int, "metavar": "N"}
FLAGS = (
    Flag("-w --weights", "measure these on the folder DIR instead of runs: a .safetensors or .pth "
         "file, a run, or pretrained", options={"type": cli.path, "metavar": "FILE"}),
    Flag("-a --arch --model", "the model of a weights file, where its weights fit several: "
         f"{', '.join(MODELS)}", options={"metavar": "NAME"}),
    Flag("--classes", "of --weights: the names of the outputs in their order, one per line; "
         "a WordNet number or a name, as the class folders in DIR have it",
         shown="those of a run; LOC_synset_mapping.txt in DIR; ImageNet's for 1,000 outputs; or "
         "the folders in alphabetical order", options={"type": cli.path, "metavar": "FILE"}),
    Flag("--split", "part of the data to measure on: test, val or train", "test",
         options={"choices": ("test", "val", "train"), "metavar": "PART"}),
    Flag("--views", "single (the central crop), nine or ten (the mean over so many crops), or all",
         "all", options={"choices": (*VIEWS, "all"), "metavar": "KIND"}),
    Flag("--limit", "only the first N images", shown="all", minimum=1, options=INTEGER),
    Flag("-b --batch-size", "images at a time", 250, minimum=1, options=INTEGER),
    Flag("--worst", "list the N classes with the largest error; the JSON file has all of them", 10,
         minimum=0, options=INTEGER),
    Flag("--search-weights", "of several runs: weight their average by what has the least top-5 "
         "error on the validation images (0 to 1 in steps of 0.05, one run after the other)",
         False,
         options={"action": "store_true"}),
    Flag("--data-dir", "where the data is", shown="as in training",
         options={"type": cli.home, "metavar": "DIR"}),
    Flag("--out", "where the numbers and the figure go", shown="the first run's directory; of "
         "--weights FILE and of the bundled model, one in runs/",
         options={"type": cli.path, "metavar": "DIR"}),
    Flag("--previous", "use the checkpoint before the last one", False,
         options={"action": "store_true"}),
)


# The measurement itself, which train and others use too.


def predict(model: Module, dataset: Dataset, transform: Transform, views: str = "single",
            batch_size: int = 250, progress: bool = False,
            check: Callable[[], None] | None = None) -> np.ndarray:
    """Probabilities (N, K) for the images of a data set.

    views   "single": the central crop.   "nine", "ten": the mean of the probabilities over the
            nine crops of the 2012 CIFAR test, or over the paper's ten (section 4.1: the corners
            and the centre, and their mirror images)
    check   called before each batch; what it raises ends the evaluation

    Raises DivergedError when a probability is not finite.
    """
    batches = tqdm(feed.views(dataset, transform, views, batch_size), unit="batch", leave=False,
                   total=math.ceil(len(dataset) / batch_size), desc=f"{dataset.name}, {views}",
                   disable=cli.hide_bars() if progress else True)
    means = []
    for batch in batches:
        if check is not None:
            check()
        means.append(np.mean([softmax_outputs(model, view) for view in batch], axis=0))
        kernels.trim_memory()
    probs = np.concatenate(means)
    if not np.isfinite(probs).all():
        raise DivergedError(f"the model's outputs on {dataset.name} are not finite: "
                            "its weights have diverged")
    return probs


def error_rates(probs: np.ndarray, labels: np.ndarray, top: int = 5) -> tuple[float, float, float]:
    """(mean cross-entropy, top-1 error in %, top-`top` error in %) of probabilities (N, K).

    In the cross-entropy, a probability below 1e-38 counts as 1e-38. Ties: see `misses`.
    """
    of_true_class = probs[np.arange(len(labels)), labels].astype(np.float64)  # (N,)
    loss = -np.log(np.maximum(of_true_class, 1e-38)).mean()
    return float(loss), top_error(probs, labels, 1), top_error(probs, labels, top)


def rounded(loss: float, top1: float, top5: float, num_classes: int) -> dict[str, float | None]:
    """What `error_rates` gives, as records keep it; no top-5 error where there are no more classes
    than guesses."""
    return {"loss": round(loss, 4), "top1_error": round(top1, 2),
            "top5_error": round(top5, 2) if num_classes > TOP else None}


def top_error(probs: np.ndarray, labels: np.ndarray, n: int) -> float:
    """Share of images, in %, whose true class is not among the n most probable ones."""
    return float(100 * misses(probs, labels, n).mean())


def misses(probs: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """(N,): 1 where the true class of an image is not among the n most probable ones, otherwise 0.

    Ties are shared: if t classes tie for the last of the n places, the true class counts with the
    probability that a random tie-break would include it.
    """
    n = min(n, probs.shape[1])
    of_true_class = probs[np.arange(len(labels)), labels][:, None]  # (N,) -> (N, 1)
    above = (probs > of_true_class).sum(axis=1)  # (N, K) -> (N,), the classes that come first
    tied = (probs == of_true_class).sum(axis=1)  # the true class is one of them
    return 1 - np.clip((n - above) / tied, 0, 1)


def search_weights(members: Sequence[np.ndarray], labels: np.ndarray,
                   passes: int = 5) -> list[float]:
    """The weights of the members' probabilities, each (N, K), whose sum has the least top-5 error.

    As the authors of 2012 found those of their networks (AlexNet-Source-Code, avg-valid.py:49-71):
    all start at 0.5; of one member after the other the weights 0, 0.05, ... 1 are tried, and one
    that is better is kept; it ends after `passes` rounds, or when a round comes back to the last
    member that changed. Weights are fitted to these images, so their error is an optimistic one:
    measure on others.
    """
    grid = [step / 20 for step in range(21)]
    weights = [0.5] * len(members)
    best = top_error(_weighted(members, weights), labels, 5)
    last_change: int | None = None
    for _ in range(passes):
        for i in range(len(members)):
            if last_change == i:
                return weights
            others = _weighted(members, [*weights[:i], 0.0, *weights[i + 1:]])
            for weight in grid:
                if not weight and not others.any():
                    continue  # nobody would be left
                error = top_error(others + np.float32(weight) * members[i], labels, 5)
                if error < best:
                    best = error
                    weights[i] = weight
                    last_change = i
    return weights


def _weighted(members: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """(N, K): the weighted sum of the members' probabilities."""
    total = np.zeros_like(members[0])
    for probs, weight in zip(members, weights, strict=True):
        total += np.float32(weight) * probs
    return total


def by_class(probs: np.ndarray, labels: np.ndarray,
             classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per class that has images, largest error first.

    A row has the number of images, the top-1 and top-5 error in %, and the wrong class that is
    predicted most often, with the share of the images, in %, for which it is; None and 0 where no
    prediction is wrong. Then the precision in %, the share of right ones among the predictions of
    this class (None where there are none), and the recall, the share of its images that are
    recognised. The top-5 error is None where there are no more than five classes to guess from.
    """
    top1 = misses(probs, labels, 1)
    top5 = misses(probs, labels, 5)
    matrix = confusion_matrix(probs, labels, len(classes))
    rows = []
    for k, name in enumerate(classes):
        here = labels == k
        count = int(here.sum())
        if not count:
            continue
        wrong = matrix[k].copy()
        wrong[k] = 0
        predicted = int(matrix[:, k].sum())
        rows.append({"class": name, "images": count,
                     "top1_error": round(float(100 * top1[here].mean()), 2),
                     "top5_error": (round(float(100 * top5[here].mean()), 2)
                                    if len(classes) > TOP else None),
                     "taken_for": classes[int(wrong.argmax())] if wrong.any() else None,
                     "taken_for_share": round(100 * float(wrong.max() / count), 2),
                     "precision": (round(100 * float(matrix[k, k] / predicted), 2)
                                   if predicted else None),
                     "recall": round(100 * float(matrix[k, k] / count), 2)})
    return sorted(rows, key=lambda row: (-row["top1_error"], -(row["top5_error"] or 0),
                                         row["class"]))


def confusion_matrix(probs: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 (K, K): how many images of the class of a row are taken for the class of a column."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (labels, probs.argmax(axis=1)), 1)
    return matrix


def drawn(matrix: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(a confusion matrix (K, K), its classes) as they are drawn: of many classes, those without
    images become one, so that three folders of ImageNet's are not lost among a thousand."""
    there = matrix.sum(axis=1) > 0
    if len(classes) <= FEW or there.all():
        return matrix, tuple(classes)
    count = int(there.sum())
    small = np.zeros((count + 1, count + 1), matrix.dtype)  # the last is for the others
    small[:count, :count] = matrix[there][:, there]
    small[:count, count] = matrix[there][:, ~there].sum(axis=1)
    names = [name for name, has_images in zip(classes, there, strict=True) if has_images]
    return small, (*names, "others")


# The command.


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Raises UsageError for a value that makes no sense."""
    parser = cli.parser("minitorch_alex.evaluate", (__doc__ or "").partition("\n\n")[2])
    parser.add_argument("runs", type=cli.path, nargs="+", metavar="RUN",
                        help="a run directory (runs/NAME), a checkpoint file in one, or "
                             "pretrained; with --weights, a folder of pictures DIR")
    cli.add_flags(parser, FLAGS)
    cli.add_device_flags(parser)
    cli.add_flags(parser, ranks.FLAGS)
    args = parser.parse_args(argv)
    cli.check_flags(args, (*FLAGS, *ranks.FLAGS))
    if args.search_weights and len(args.runs) < 2:
        raise UsageError("--search-weights is for the average of several runs; name two or more")
    if args.weights is None and (args.model or args.classes):
        flag = "--model" if args.model else "--classes"
        raise UsageError(f"{flag} says how to read --weights, and a run knows it itself; remove "
                         f"{flag}, or add --weights FILE")
    if args.weights is not None and (len(args.runs) > 1 or args.data_dir):
        raise UsageError("with --weights, one folder of pictures is given and no --data-dir: "
                         "evaluate --weights FILE DIR")
    return args


def open_members(args: argparse.Namespace) -> Sequence[Member]:
    """The models that the command line names."""
    if args.weights is not None:
        return [FolderMember(args.runs[0], args)]
    return [Member(path, args) for path in args.runs]


def measure(model: Network, images: Dataset, transform: Transform, views: str,
            batch_size: int) -> np.ndarray:
    """`predict` with a bar, shared out among the processes of --ranks."""
    return ranks.predict(comm.current(), predict, model, images, transform, views, batch_size,
                         progress=True)


def check_same_images(members: Sequence[Member], reference: Dataset) -> None:
    """Raises UsageError when a member sees other images than the first, which sees `reference`,
    and DataError when it knows other classes.

    Probabilities can only be averaged image by image and class by class.
    """
    first = members[0]
    for member in members[1:]:
        member.check_classes(reference)
        if member.sees() == first.sees():
            continue
        if not np.array_equal(member.images().labels, reference.labels):
            raise UsageError(f"{member.path} and {first.path} see different {first.split} images: "
                             "their probabilities cannot be averaged")


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    code = ranks.launch("evaluate", argv, args.ranks)  # --ranks runs the program again, P times
    if code is not None:
        return code
    ranks.start(args.timeout, __version__)
    cli.use_device(vars(args))
    comm.choose_device(comm.current())
    kernels.keep_freed_memory()
    kinds = VIEWS if args.views == "all" else (args.views,)
    members = open_members(args)
    reference = members[0].images()
    check_same_images(members, reference)

    weights = dict.fromkeys(kinds, [1.0] * len(members))
    if args.search_weights:
        weights = searched_weights(members, kinds, args.batch_size)
    # The members' probabilities, times their weights, added up.
    totals: dict[str, Any] = dict.fromkeys(kinds, 0)
    times = dict.fromkeys(kinds, 0.0)
    reports = []
    for i, member in enumerate(members):
        # Members trained at other sizes see the same images at their own size.
        images = reference if member.sees() == members[0].sees() else member.images()
        scores = {}
        for views, probs, seconds in member.predict(images, kinds, args.batch_size,
                                                     measure):
            scores[views] = score(probs, images.labels, seconds, views)
            weight = weights[views][i]
            totals[views] = totals[views] + (probs if weight == 1 else np.float32(weight) * probs)
            times[views] += seconds
        report = {"run": str(member.file), "model": member.config["model"], "views": scores}
        if args.search_weights:
            report["weights"] = {views: weights[views][i] for views in kinds}
        reports.append(report)
    if len(members) > 1:
        print(f"the average of the {len(members)}")
        scores = {views: score(totals[views] / sum(weights[views]), reference.labels,
                               times[views], views)
                  for views in kinds}

    main_views = kinds[0]
    table = by_class(totals[main_views], reference.labels, reference.classes)
    print_worst(table[:args.worst], main_views)
    if comm.current().rank == 0:
        write_result(args, members, reports, scores, reference, table, totals[main_views])
    return 0


def searched_weights(members: Sequence[Member], kinds: Sequence[str],
                     batch_size: int) -> dict[str, list[float]]:
    """For each kind of views the members' weights, found on their validation images."""
    judges = [member.on_validation_images() for member in members]
    reference = judges[0].images()
    check_same_images(judges, reference)
    probs: dict[str, list[np.ndarray]] = {views: [] for views in kinds}
    for judge in judges:
        images = reference if judge.sees() == judges[0].sees() else judge.images()
        for views, of_views, _ in judge.predict(images, kinds, batch_size, measure):
            probs[views].append(of_views)
    weights = {views: search_weights(probs[views], reference.labels) for views in kinds}
    for views, found in weights.items():
        print(f"  weights, {views}: " + ", ".join(f"{weight:.2f}" for weight in found))
    return weights


def score(probs: np.ndarray, labels: np.ndarray, seconds: float,
          views: str) -> dict[str, float | None]:
    """Print loss and errors; return them rounded."""
    loss, top1, top5 = error_rates(probs, labels)
    name = "single view " if views == "single" else f"{views:<6} views"
    of_five = f"top-5 error {top5:5.2f} %   " if probs.shape[1] > TOP else ""
    print(f"  {name}  top-1 error {top1:6.2f} %   {of_five}loss {loss:.4f}   {seconds:.1f} s")
    return rounded(loss, top1, top5, probs.shape[1])


def print_worst(rows: Sequence[dict[str, Any]], views: str) -> None:
    """Print rows of `by_class`, one line each."""
    if not rows:
        return
    plural = "" if views == "single" else "s"
    print(f"\n  the classes with the largest error ({views} view{plural})")
    width = max(len(row["class"]) for row in rows)
    for row in rows:
        line = f"  {row['class']:<{width}}  top-1 {row['top1_error']:6.2f} %   "
        if row["top5_error"] is not None:
            line += f"top-5 {row['top5_error']:6.2f} %   "
        precision = "   never" if row["precision"] is None else f"{row['precision']:6.2f} %"
        line += f"precision {precision}   of {row['images']}"
        if row["taken_for"]:
            line += f"   {row['taken_for_share']:.0f} % taken for {row['taken_for']}"
        print(line)


def write_result(args: argparse.Namespace, members: Sequence[Member],
                 reports: Sequence[dict[str, Any]], scores: dict[str, dict[str, float | None]],
                 images: Dataset, table: Sequence[dict[str, Any]], probs: np.ndarray) -> None:
    """Write all numbers as JSON, draw the confusion matrix, and print where both are."""
    first = members[0]
    name = first.part
    title = f"{first.config['model']} on {images.name}"
    if len(members) > 1:
        name += "-ensemble"
        title += f", average of {len(members)}"
    folder = args.out or first.folder
    matrix = confusion_matrix(probs, images.labels, len(images.classes))

    content = {**runs.provenance(first.config["seed"]), "model": first.config["model"],
               "split": args.split, "images": len(images), "views": scores,
               **first.source()}
    if len(members) > 1:
        content["members"] = list(reports)
    content |= cli.device_record(vars(args))
    content["by_class"] = table
    if len(images.classes) <= 100:  # of 1000 classes it would be a million numbers
        content["confusion"] = matrix.tolist()
    result = folder / f"evaluate-{name}.json"
    first.run.write_json(result, content)
    print(f"\n  {result}")
    # The figure comes last: whatever keeps it from being drawn, the numbers are there.
    figure = folder / f"confusion-{name}.png"
    plots.confusion(*drawn(matrix, images.classes), figure, title)
    print(f"  {figure}")


if __name__ == "__main__":
    cli.run_cli(main)
