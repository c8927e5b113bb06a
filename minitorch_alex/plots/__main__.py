"""python -m minitorch_alex.plots RUN [RUN...]: what a run has learnt, as the paper shows it."""
import argparse
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, plots, profile
from ..data import Dataset
from ..errors import DataError, RunError, UsageError
from ..evaluate import predict
from ..nn import Conv2d, Linear, LocallyConnected2d, ReLU, Tanh
from ..predict import read_image, square
from ..tensor import Tensor
from ..training import cli, runs


class Subject:
    """A run, with what pictures need of it. The data are read when they are first asked for."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self.run, file = runs.find(path)
        self.config = self.run.read_config()
        if args.data_dir:
            self.config["data_dir"] = args.data_dir
        self.model, arrays, meta = runs.load_model(file, self.config)
        self.model.eval()
        self.mean = arrays["data.mean"]
        self.prepare = runs.build_transform(self.config, self.mean).eval()
        self.limit, self.maps, self.scale = args.limit, args.maps, args.scale
        self.title = f"{self.config['model']} on {self.config['data']}"
        self.note = f"after epoch {meta['epoch']}"

    @cached_property
    def parts(self) -> dict[str, Dataset]:
        """{"train", "test"}, each cut to --limit."""
        whole = runs.load_data(self.config)
        return {"train": whole.train.subset(slice(self.limit)), "test": whole.test.subset(slice(self.limit))}

    def outputs(self, images: np.ndarray) -> list[tuple[str, Any, np.ndarray]]:
        """(name, layer, output) of each layer for uint8 images (N, H, W, 3)."""
        x = Tensor(backend.asarray(self.prepare(images).transpose(0, 3, 1, 2)))
        return [(name, layer, backend.to_numpy(y.data)) for name, layer, y in profile.outputs(self.model, x)]


def draw_kernels(subject: Subject, file: Path) -> None:
    """Figure 3. The halves are those of the next convolution: of its groups each sees one."""
    layers = [layer for layer in subject.model.children() if isinstance(layer, Conv2d)]
    if not layers:
        raise RunError(f"{subject.config['model']} has no convolution, so there are no kernels to draw")
    weight = backend.to_numpy(layers[0].weight.data)
    halves = layers[1].groups if len(layers) > 1 else 1
    per = "all on one scale" if subject.scale == "common" else "each on its own scale"
    plots.kernels(weight, file, halves, subject.scale, f"{subject.title}: first kernels",
                  f"{len(weight)} of {weight.shape[2]} × {weight.shape[3]}, {subject.note}, {per}, grey is 0")


def draw_maps(subject: Subject, file: Path) -> None:
    """The maps of each convolution after its ReLU or tanh, for --maps IMAGE or the first test image."""
    side = subject.mean.shape[0]
    picture = square(read_image(subject.maps), side) if subject.maps else subject.parts["test"].images[0]
    layers, waiting, words = [], "", "ReLU"
    for name, layer, y in subject.outputs(picture[None]):
        if isinstance(layer, Conv2d | LocallyConnected2d):
            waiting = name
        elif isinstance(layer, ReLU | Tanh) and waiting and y.ndim == 4:
            layers.append((waiting, abs(y[0])))
            waiting, words = "", "ReLU" if isinstance(layer, ReLU) else "tanh, their signs left out"
    if not layers:
        raise RunError(f"{subject.config['model']} has no convolution with a ReLU or tanh: there are no maps to draw")
    plots.maps(picture, layers, file, f"{subject.title}: maps after {words}")


def draw_activations(subject: Subject, file: Path) -> None:
    """Histograms of what each layer with weights gives for up to 128 test images."""
    images = subject.parts["test"].images[:128]
    layers = [(name, y) for name, layer, y in subject.outputs(images)
              if isinstance(layer, Conv2d | LocallyConnected2d | Linear)]
    plots.activations(layers, file, f"{subject.title}: outputs of layers",
                      f"{len(images)} test images, {subject.note}, before ReLU")


def draw_confusion(subject: Subject, file: Path) -> None:
    """The confusion matrix of the test images, single view."""
    test = subject.parts["test"]
    matrix = np.zeros((len(test.classes),) * 2, np.int64)
    np.add.at(matrix, (test.labels, predict(subject.model, test, subject.prepare).argmax(axis=1)), 1)
    plots.confusion(matrix, test.classes, file, f"{subject.title}, {subject.note}")


def draw_predictions(subject: Subject, file: Path) -> None:
    """Figure 4, left: eight test images and their five most probable classes."""
    test = subject.parts["test"]
    test = test.subset(one_of_each(test, 8))
    probs = predict(subject.model, test, subject.prepare)
    plots.predictions(test.images, probs, test.classes, file, [test.classes[k] for k in test.labels],
                      labels=test.labels, title=f"{subject.title}: test images")


def draw_neighbours(subject: Subject, file: Path) -> None:
    """Figure 4, right: test images, and the training images whose features before the last layer are nearest."""
    train, test = subject.parts["train"], subject.parts["test"]
    test = test.subset(one_of_each(test, 5))
    nearest = find_neighbours(features(subject, test), features(subject, train), 6)
    plots.neighbours(test.images, train.images[nearest], [test.classes[k] for k in test.labels],
                     [[train.classes[k] for k in train.labels[row]] for row in nearest], file,
                     f"{subject.title}: nearest neighbours",
                     f"left: test images; right: nearest of {len(train):,} training images by the last hidden layer")


def one_of_each(dataset: Dataset, count: int) -> np.ndarray:
    """Indices of `count` images: the first of each class, then the second, and so on."""
    turn = np.zeros(len(dataset), np.int64)
    for k in range(len(dataset.classes)):
        mine = dataset.labels == k
        turn[mine] = np.arange(mine.sum())
    return np.lexsort((dataset.labels, turn))[:count]


def features(subject: Subject, dataset: Dataset, batch_size: int = 250) -> np.ndarray:
    """(N, F) float32: what the last layer is given for each image."""
    parts = []
    for start in range(0, len(dataset), batch_size):
        x = subject.prepare(dataset.images[start:start + batch_size])
        before = after = Tensor(backend.asarray(x.transpose(0, 3, 1, 2)))
        for _, _, y in profile.outputs(subject.model, after):
            before, after = after, y
        parts.append(backend.to_numpy(before.data).reshape(len(x), -1))
    return np.concatenate(parts)


def find_neighbours(queries: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
    """(N, count): for each query the rows of `features` at the smallest Euclidean distance, nearest first."""
    distances = (features.astype(np.float64) ** 2).sum(axis=1) - 2 * queries.astype(np.float64) @ features.T
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


PICTURES: dict[str, tuple[str, Callable[[Subject, Path], None]]] = {
    "kernels": ("kernels.png", draw_kernels), "maps": ("maps.png", draw_maps),
    "activations": ("activations.png", draw_activations), "confusion": ("confusion-test.png", draw_confusion),
    "predictions": ("predictions.png", draw_predictions), "neighbours": ("neighbours.png", draw_neighbours)}


def draw_curves(paths: list[Path], file: Path) -> None:
    """The curves of one run, or of several laid over each other."""
    logs = {path.name: runs.Run(path).read_log() for path in paths}
    empty = [str(path) for path in paths if not logs[path.name]]
    if empty:
        raise RunError(f"there is no log in {', '.join(empty)}; give run directories such as runs/NAME")
    if len(paths) > 1:
        plots.curves(logs, file)
    else:
        config = runs.Run(paths[0]).read_config()
        plots.curves(logs[paths[0].name], file, f"{config['model']} on {config['data']}")


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("minitorch_alex.plots",
                        "Draw what a run has learnt. Without a choice: everything that the run allows.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories (runs/NAME)")
    parser.add_argument("--curves", action="store_true", help="loss and error; of several runs in one picture")
    parser.add_argument("--kernels", action="store_true", help="the first layer's kernels (the paper's figure 3)")
    parser.add_argument("--maps", nargs="?", const="", metavar="IMAGE",
                        help="the feature maps of a picture (default: the first test image)")
    parser.add_argument("--activations", action="store_true", help="histograms of each layer's outputs")
    parser.add_argument("--confusion", action="store_true", help="the confusion matrix of the test images")
    parser.add_argument("--predictions", action="store_true", help="test images with their top 5 (figure 4, left)")
    parser.add_argument("--neighbours", action="store_true",
                        help="the training images nearest to test images by their features (figure 4, right)")
    parser.add_argument("--scale", choices=("common", "each"), default="common",
                        help="of kernels: one for all (default), or each its own")
    parser.add_argument("--limit", type=int, default=10_000, metavar="N",
                        help="use the first N training and the first N test images (default: 10000)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where pictures go (default: the run's directory)")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data is (default: as in training)")
    cli.add_device_flags(parser)
    args = parser.parse_args(argv)
    if args.limit < 1:
        raise UsageError(f"--limit must be at least 1, got {args.limit}")
    if len({path.resolve().name for path in args.runs}) < len(args.runs):
        raise UsageError("two of the runs have one name: give runs of different names")
    paths = [path.resolve() if path.name in ("", "..") else path for path in args.runs]
    cli.use_device(vars(args))

    wanted = [name for name in ("curves", *PICTURES) if getattr(args, name) not in (False, None)]
    everything = not wanted
    many = len(paths) > 1
    if everything or "curves" in wanted:
        file = (args.out or paths[0]) / ("curves-compared.png" if many else "curves.png")
        draw_curves(paths, file)
        print(file)
    for path in paths if everything or set(wanted) - {"curves"} else []:
        if everything and not runs.Run(path).exists():
            print(f"{path}: no checkpoint yet, so no other pictures")
            continue
        subject = Subject(path, args)
        for name, (file_name, draw) in PICTURES.items():
            if not everything and name not in wanted:
                continue
            file = (args.out or path) / (f"{path.name}-{file_name}" if many and args.out else file_name)
            try:
                draw(subject, file)
                print(file)
            except (DataError, RunError) as error:
                if not everything:
                    raise
                print(f"{file.name} is left out: {error}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
