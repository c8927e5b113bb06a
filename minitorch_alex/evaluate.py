"""python -m minitorch_alex.evaluate RUN: how good is a trained model? Top-1 and top-5, single view and averages."""
import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import backend, device, feed, kernels, plots, runs
from . import functional as F
from .autograd import no_grad
from .data import Dataset, Transform
from .errors import EXIT_CODES, DataError, DivergedError, UsageError, run_cli
from .nn import Module
from .tensor import Tensor


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
    rows = np.arange(len(labels))
    right = probs[rows, labels]
    above = (probs > right[:, None]).sum(axis=1)
    tied = (probs == right[:, None]).sum(axis=1)

    def error(n: int) -> float:
        return float(100 * (1 - np.clip((n - above) / tied, 0, 1)).mean())

    loss = -np.log(np.maximum(right.astype(np.float64), 1e-38)).mean()
    return float(loss), error(1), error(min(top, probs.shape[1]))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m minitorch_alex.evaluate", description=__doc__.partition(": ")[2], epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory (runs/NAME) or a checkpoint file in one")
    parser.add_argument("--split", choices=("test", "val", "train"), default="test",
                        help="which part to measure on (default: test)")
    parser.add_argument("--views", choices=("single", "nine", "ten", "all"), default="all",
                        help="single view, the 9- or the 10-view average, or all three (default)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument("-b", "--batch-size", type=int, default=250, metavar="N",
                        help="images at a time (default: 250)")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data is (default: as in training)")
    device.add_flags(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="worker threads (default: the CPUs at hand)")
    parser.add_argument("--previous", action="store_true", help="use the checkpoint before the last one")
    return device.parse(parser, argv)


@device.clear_memory_errors
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.batch_size < 1 or (args.limit is not None and args.limit < 1):
        raise UsageError(f"--batch-size and --limit must be at least 1, got {args.batch_size} and {args.limit}")
    device.use(vars(args))
    run, file = runs.find(args.run, args.previous)
    config = run.read_config()
    kernels.keep_freed_memory()
    if args.threads:
        kernels.set_threads(args.threads)
    model, arrays, meta = runs.load_model(file, config)
    part = runs.load_data({**config, "data_dir": args.data_dir or config["data_dir"]})[args.split]
    if part is None:
        raise DataError(f"this run has no {args.split} part; it was trained with --val-split {config['val_split']}")
    part = part.subset(slice(args.limit)) if args.limit else part
    transform = runs.build_transform(config, arrays["data.mean"])
    print(f"{config['model']} from {file}, epoch {meta['epoch']}; {len(part):,} images of {part.name} ({args.split})")

    report: dict[str, Any] = {**runs.provenance(config["seed"]), "model": config["model"], "split": args.split,
                              "images": len(part), "views": {}}
    for views in ("single", "nine", "ten") if args.views == "all" else (args.views,):
        begin = time.perf_counter()
        probs = predict(model, part, transform, views, args.batch_size, progress=True)
        loss, top1, top5 = error_rates(probs, part.labels)
        seconds = time.perf_counter() - begin
        report["views"][views] = {"loss": round(loss, 4), "top1_error": round(top1, 2), "top5_error": round(top5, 2)}
        print(f"  {views:<6} view{' ' if views == 'single' else 's'}  top-1 error {top1:6.2f} %   "
              f"top-5 error {top5:5.2f} %   loss {loss:.4f}   {seconds:.1f} s")
        if views == "single" or args.views == views:
            matrix = np.zeros((len(part.classes),) * 2, np.int64)
            np.add.at(matrix, (part.labels, probs.argmax(axis=1)), 1)
    report |= device.record(vars(args))
    picture = run.directory / f"confusion-{args.split}.png"
    plots.confusion(matrix, part.classes, picture, f"{config['model']} on {part.name}")
    result = run.directory / f"evaluate-{args.split}.json"
    run.write_json(result, {**report, "confusion": matrix.tolist()})
    print(f"  {picture}\n  {result}")
    return 0


if __name__ == "__main__":
    run_cli(main)
