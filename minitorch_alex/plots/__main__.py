"""python -m minitorch_alex.plots RUN [RUN...]: what a run has learnt, as the paper shows it."""
import argparse
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, plots, profile
from ..data import Dataset
from ..errors import DiskError, RunError, UsageError, UserError
from ..evaluate import confusion_matrix, predict
from ..nn import Conv2d, Linear, LocallyConnected2d, ReLU, Tanh
from ..predict import read_image, square
from ..tensor import Tensor
from ..training import class_list, cli, runs


class Subject:
    """A run, and what the figures need to know about it. The data are read when a figure first
    needs them."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self.run, file = runs.find(path)
        self.config = self.run.read_config()
        if args.data_dir:
            self.config["data_dir"] = args.data_dir
        self.model, arrays, meta = runs.load_model(file, self.config)
        self.model.eval()
        self.mean = arrays["data.mean"]
        self.prepare = runs.build_transform(self.config, self.mean).eval()
        self.limit = args.limit
        self.maps = args.maps
        self.scale = args.scale
        self.title = f"{self.config['model']} on {self.config['data']}"
        self.note = f"after epoch {meta['epoch']}"

    @cached_property
    def parts(self) -> dict[str, Dataset]:
        """{"train", "test"}, each cut to --limit."""
        whole = runs.load_data(self.config)
        class_list.check(whole.train, self.config, f"{self.run.directory} was trained with")
        return {"train": whole.train.subset(slice(self.limit)),
                "test": whole.test.subset(slice(self.limit))}

    def batch(self, images: np.ndarray) -> Tensor:
        """uint8 images (N, H, W, 3) as the network's input."""
        x = self.prepare(images).transpose(0, 3, 1, 2)  # (N,H,W,3) -> (N,3,H,W)
        return Tensor(backend.asarray(x))

    def outputs(self, images: np.ndarray) -> list[tuple[str, Any, np.ndarray]]:
        """(name, layer, output) of each layer for uint8 images (N, H, W, 3)."""
        return [(name, layer, backend.to_numpy(y.data))
                for name, layer, y in profile.outputs(self.model, self.batch(images))]


def draw_kernels(subject: Subject, file: Path) -> None:
    """Figure 3. In the paper's net the first kernels come in halves, because each group of the
    next convolution sees the maps of one GPU only: there are as many parts as the next convolution
    has groups."""
    layers = [layer for layer in subject.model.children() if isinstance(layer, Conv2d)]
    if not layers:
        raise RunError(f"{subject.config['model']} has no convolution, so there are no kernels to "
                       "draw")
    weight = backend.to_numpy(layers[0].weight.data)
    halves = layers[1].groups if len(layers) > 1 else 1
    scale = "all on one scale" if subject.scale == "common" else "each on its own scale"
    plots.kernels(weight, file, halves, subject.scale, f"{subject.title}: first kernels",
                  f"{len(weight)} of {weight.shape[2]} × {weight.shape[3]}, {subject.note}, "
                  f"{scale}, grey is 0")


def draw_maps(subject: Subject, file: Path) -> None:
    """The maps of each convolution after its ReLU or tanh, for --maps IMAGE or the first test
    image."""
    side = subject.mean.shape[0]
    image = square(read_image(subject.maps),
                   side) if subject.maps else subject.parts["test"].images[0]
    layers = []
    convolution = ""  # the name of the last one, until its ReLU or tanh has come
    activation = ""
    for name, layer, y in subject.outputs(image[None]):
        if isinstance(layer, Conv2d | LocallyConnected2d):
            convolution = name
        elif isinstance(layer, ReLU | Tanh) and convolution and y.ndim == 4:
            layers.append((convolution, abs(y[0])))
            convolution = ""
            activation = "ReLU" if isinstance(layer, ReLU) else "tanh, their signs left out"
    if not layers:
        raise RunError(f"{subject.config['model']} has no convolution with a ReLU or tanh: there "
                       "are no maps to draw")
    plots.maps(image, layers, file, f"{subject.title}: maps after {activation}")


def draw_activations(subject: Subject, file: Path) -> None:
    """Histograms of the outputs of each layer with weights, for up to 128 test images."""
    images = subject.parts["test"].images[:128]
    layers = [(name, y) for name, layer, y in subject.outputs(images)
              if isinstance(layer, Conv2d | LocallyConnected2d | Linear)]
    plots.activations(layers, file, f"{subject.title}: outputs of layers",
                      f"{len(images)} test images, {subject.note}, before ReLU")


def draw_confusion(subject: Subject, file: Path) -> None:
    """The confusion matrix of the test images, single view."""
    test = subject.parts["test"]
    probs = predict(subject.model, test, subject.prepare)  # (N, K)
    matrix = confusion_matrix(probs, test.labels, len(test.classes))
    plots.confusion(matrix, test.classes, file, f"{subject.title}, {subject.note}")


def draw_predictions(subject: Subject, file: Path) -> None:
    """Figure 4, left: eight test images and their five most probable classes."""
    test = subject.parts["test"]
    test = test.subset(one_of_each(test, 8))
    probs = predict(subject.model, test, subject.prepare)
    plots.predictions(test.images, probs, test.classes, file,
                      [test.classes[k] for k in test.labels], labels=test.labels,
                      title=f"{subject.title}: test images (red: the true class)")


def draw_neighbours(subject: Subject, file: Path) -> None:
    """Figure 4, right: test images, and the training images whose features before the last layer
    are nearest."""
    train = subject.parts["train"]
    test = subject.parts["test"]
    test = test.subset(one_of_each(test, 5))
    nearest = find_neighbours(features(subject, test), features(subject, train), 6)
    plots.neighbours(test.images, train.images[nearest], [test.classes[k] for k in test.labels],
                     [[train.classes[k] for k in train.labels[row]] for row in nearest], file,
                     f"{subject.title}: nearest neighbours",
                     f"left: test images; right: nearest of {len(train):,} training images by the "
                     "last hidden layer")


def one_of_each(dataset: Dataset, count: int) -> np.ndarray:
    """Indices of `count` images: the first of each class, then the second, and so on."""
    # how many images of its class come before each image
    round_of = np.zeros(len(dataset), np.int64)
    for k in range(len(dataset.classes)):
        in_class = dataset.labels == k
        round_of[in_class] = np.arange(in_class.sum())
    return np.lexsort((dataset.labels, round_of))[:count]  # by round, then by class


def features(subject: Subject, dataset: Dataset, batch_size: int = 250) -> np.ndarray:
    """(N, F) float32: the input of the last layer for each image."""
    batches = []
    for start in range(0, len(dataset), batch_size):
        output = subject.batch(dataset.images[start:start + batch_size])
        for _, _, y in profile.outputs(subject.model, output):
            last_input = output
            output = y
        a = backend.to_numpy(last_input.data)
        batches.append(a.reshape(len(a), -1))  # (N, ...) -> (N, F)
    return np.concatenate(batches)


def find_neighbours(queries: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
    """(N, count): for each query the rows of `features` at the smallest Euclidean distance,
    nearest first."""
    # |f - q|^2 = |f|^2 - 2 q f + |q|^2, and the last term is the same for all rows of a query.
    squares = (features.astype(np.float64) ** 2).sum(axis=1)
    distances = squares - 2 * queries.astype(np.float64) @ features.T  # (N,F) @ (F,M) -> (N,M)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


FIGURES: dict[str, tuple[str, Callable[[Subject, Path], None]]] = {  # flag: (file, how to draw it)
    "kernels": ("kernels.png", draw_kernels),
    "maps": ("maps.png", draw_maps),
    "activations": ("activations.png", draw_activations),
    "confusion": ("confusion-test.png", draw_confusion),
    "predictions": ("predictions.png", draw_predictions),
    "neighbours": ("neighbours.png", draw_neighbours),
}


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    cli.use_device(vars(args))
    chosen = [name for name in ("curves", *FIGURES) if getattr(args, name) not in (False, None)]
    figures = chosen or ["curves", *FIGURES]
    if "curves" in figures:
        draw_curves(args)
    if set(figures) != {"curves"}:
        for path in args.runs:
            draw_run(path, figures, args, must_draw=bool(chosen))
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UsageError for a limit below 1 or two runs of the same name."""
    parser = cli.parser("minitorch_alex.plots",
                        "Draw what a run has learnt; by default, all figures that the run allows.")
    parser.add_argument("runs", nargs="+", type=cli.path, metavar="RUN", help="run directories "
                                                                          "(runs/NAME)")
    parser.add_argument("--curves", action="store_true", help="loss and error; several runs share "
                                                              "one figure")
    parser.add_argument("--kernels", action="store_true", help="the first layer's kernels (the "
                                                               "paper's figure 3)")
    parser.add_argument("--maps", nargs="?", const="", type=cli.home, metavar="IMAGE",
                        help="the feature maps of an image (default: the first test image)")
    parser.add_argument("--activations", action="store_true", help="histograms of each layer's "
                                                                   "outputs")
    parser.add_argument("--confusion", action="store_true", help="the confusion matrix of the "
                                                                 "test images")
    parser.add_argument("--predictions", action="store_true", help="test images with their top 5 "
                                                                   "(figure 4, left)")
    parser.add_argument("--neighbours", action="store_true",
                        help="the training images nearest to test images by their features "
                             "(figure 4, right)")
    parser.add_argument("--scale", choices=("common", "each"), default="common",
                        help="color scale of the kernels: one for all of them, or one for each "
                             "(default: common)")
    parser.add_argument("--limit", type=int, default=10_000, metavar="N",
                        help="use the first N training and the first N test images (default: "
                             "10000)")
    parser.add_argument("--out", type=cli.path, metavar="DIR",
                        help="directory for the figures (default: the run's directory)")
    parser.add_argument("--data-dir", type=cli.home, metavar="DIR",
                        help="directory of the data (default: as in training)")
    cli.add_device_flags(parser)
    args = parser.parse_args(argv)
    if args.limit < 1:
        raise UsageError(f"--limit must be at least 1, got {args.limit}")
    # "." and ".." have no name to call a figure by.
    args.runs = [path.resolve() if path.name in ("", "..") else path for path in args.runs]
    if len({path.name for path in args.runs}) < len(args.runs):
        raise UsageError("two of the runs have the same name; give runs with different names")
    return args


def draw_curves(args: argparse.Namespace) -> None:
    """The curves of one run, or of several laid over each other."""
    paths = args.runs
    logs = {path.name: runs.Run(path).read_log() for path in paths}
    empty = [str(path) for path in paths if not logs[path.name]]
    if empty:
        raise RunError(f"there is no log in {', '.join(empty)}; give run directories such as "
                       "runs/NAME")
    folder = args.out or paths[0]
    if len(paths) > 1:
        file = folder / "curves-compared.png"
        plots.curves(logs, file)
    else:
        file = folder / "curves.png"
        config = runs.Run(paths[0]).read_config()
        plots.curves(logs[paths[0].name], file, f"{config['model']} on {config['data']}")
    print(file)


def draw_run(path: Path, figures: list[str], args: argparse.Namespace, must_draw: bool) -> None:
    """Figures of one run. One that cannot be drawn is an error if it was asked for (must_draw);
    otherwise a line says why it is left out."""
    if not must_draw and not runs.Run(path).exists():
        print(f"{path}: no checkpoint yet, so no other figures")
        return
    subject = Subject(path, args)
    for name, (file_name, draw) in FIGURES.items():
        if name not in figures:
            continue
        if args.out and len(args.runs) > 1:
            file_name = f"{path.name}-{file_name}"
        file = (args.out or path) / file_name
        try:
            draw(subject, file)
            print(file)
        except UserError as error:
            if must_draw or isinstance(error, DiskError):
                raise
            print(f"{file.name} is left out: {error}")


if __name__ == "__main__":
    cli.run_cli(main)
