"""python -m minitorch_alex.plots RUN [RUN...]: what a run has learnt, as the paper shows it, and
why it answers as it does."""
import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import backend, models, plots, profile
from ..classifier import read_image, square
from ..data import Dataset
from ..errors import DiskError, RunError, UsageError, UserError
from ..evaluate import confusion_matrix, predict
from ..nn import Conv2d, Linear, LocallyConnected2d, ReLU, Tanh
from ..training import cli, runs
from . import reasons
from .subject import Subject, one_of_each


def draw_kernels(subject: Subject, file: Path) -> None:
    """Figure 3. In the paper's net the first kernels come in halves, because each group of the
    next convolution sees the maps of one GPU only: there are as many parts as the next convolution
    has groups."""
    layers = [layer for layer in subject.model.children() if isinstance(layer, Conv2d)]
    if not layers:
        raise RunError(f"{subject.name} has no convolution, so there are no kernels to "
                       "draw")
    weight = backend.to_numpy(layers[0].weight.data)
    halves = layers[1].groups if len(layers) > 1 else 1
    kind = subject.options.scale
    scale = "all on one scale" if kind == "common" else "each on its own scale"
    note = f"{subject.note}, " if subject.note else ""
    plots.kernels(weight, file, halves, kind, f"{subject.title}: first kernels",
                  f"{len(weight)} of {weight.shape[2]} × {weight.shape[3]}, {note}{scale}, "
                  "grey is 0")


def draw_maps(subject: Subject, file: Path) -> None:
    """The maps of each convolution after its ReLU or tanh, for --maps IMAGE or the first image of
    the data."""
    if subject.options.maps:
        image = square(read_image(subject.options.maps), subject.side)
    else:
        image = subject.chosen(1)[0][0] if subject.options.images else subject.images.images[0]
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
        raise RunError(f"{subject.name} has no convolution with a ReLU or tanh: there are no maps "
                       "to draw")
    plots.maps(image, layers, file, f"{subject.title}: maps after {activation}")


def draw_activations(subject: Subject, file: Path) -> None:
    """Histograms of the outputs of each layer with weights, for up to 128 images of the data."""
    images = subject.images.images[:128]
    layers = [(name, y) for name, layer, y in subject.outputs(images)
              if isinstance(layer, Conv2d | LocallyConnected2d | Linear)]
    plots.activations(layers, file, f"{subject.title}: outputs of layers",
                      f"{len(images)} {subject.split} images, {subject.note}, before ReLU")


def draw_confusion(subject: Subject, file: Path) -> None:
    """The confusion matrix of the images, single view."""
    part = subject.images
    matrix = confusion_matrix(subject.probs, part.labels, len(part.classes))
    plots.confusion(matrix, part.classes, file, f"{subject.title}, {subject.note}")


def draw_predictions(subject: Subject, file: Path) -> None:
    """Figure 4, left: eight images and their five most probable classes."""
    part = subject.images.subset(one_of_each(subject.images, 8))
    probs = predict(subject.model, part, subject.transform)
    plots.predictions(part.images, probs, part.classes, file,
                      [part.classes[k] for k in part.labels], labels=part.labels,
                      title=f"{subject.title}: {subject.split} images (red: the true class)")


def draw_neighbours(subject: Subject, file: Path) -> None:
    """Figure 4, right: images, and the training images whose features before the last layer
    are nearest."""
    train = subject.parts["train"]
    part = subject.images.subset(one_of_each(subject.images, 5))
    nearest = find_neighbours(features(subject, part), features(subject, train), 6)
    plots.neighbours(part.images, train.images[nearest], [part.classes[k] for k in part.labels],
                     [[train.classes[k] for k in train.labels[row]] for row in nearest], file,
                     f"{subject.title}: nearest neighbours",
                     f"left: {subject.split} images; right: nearest of {len(train):,} training "
                     "images by the last hidden layer")


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
    "cam": ("cam.png", reasons.draw_cam),
    "saliency": ("saliency.png", reasons.draw_saliency),
    "occlusion": ("occlusion.png", reasons.draw_occlusion),
    "deconv": ("deconv.png", reasons.draw_deconv),
    "mistakes": ("mistakes.png", reasons.draw_mistakes),
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


def parser() -> argparse.ArgumentParser:
    """The flags, in groups."""
    result = cli.parser("minitorch_alex.plots",
                        "Draw what a run has learnt, and why it answers as it does; by default, "
                        "all figures that\nthe run allows.")
    result.add_argument("runs", nargs="*", type=cli.path, metavar="RUN",
                        help="run directories (runs/NAME), pretrained (the bundled model), or "
                        "weights files (.safetensors, .pth)")
    switch = result.add_argument_group("what has been learnt").add_argument
    switch("--curves", action="store_true", help="loss and error; several runs share one figure")
    switch("--kernels", action="store_true",
           help="the first layer's kernels (the paper's figure 3)")
    switch("--maps", nargs="?", const="", type=cli.home, metavar="IMAGE",
           help="the feature maps of an image (default: the first test image)")
    switch("--activations", action="store_true", help="histograms of each layer's outputs")
    switch("--confusion", action="store_true", help="the confusion matrix of the test images")
    switch("--predictions", action="store_true",
           help="test images with their top 5 (figure 4, left)")
    switch("--neighbours", action="store_true",
           help="the training images nearest to test images by their features (figure 4, right)")
    switch = result.add_argument_group("why it answers as it does").add_argument
    switch("--cam", action="store_true",
           help="where the two most probable classes are seen (Grad-CAM)")
    switch("--saliency", action="store_true",
           help="which pixels change the answer (the gradient of its logit)")
    switch("--occlusion", action="store_true",
           help="the answer while a square covers a part (Zeiler and Fergus 2013)")
    switch("--deconv", action="store_true",
           help="what maps respond to: their strongest activations, projected back to the pixels "
           "(Zeiler and Fergus 2013)")
    switch("--mistakes", action="store_true",
           help="the images that are wrong, most sure first, with the names of their files; "
           "mistakes.csv has all of them")
    add_choices(result)
    cli.add_device_flags(result)
    return result


def add_choices(result: argparse.ArgumentParser) -> None:
    """The flags that say what a figure is drawn of, and how."""
    add = result.add_argument_group("which images").add_argument
    add("--images", nargs="+", type=cli.path, metavar="IMAGE", default=[],
        help="image files of any size for --cam, --saliency, --occlusion and --maps (default: "
        "images of the data, one of each class)")
    add("--split", choices=("test", "val", "train"), default="test",
        help="part of the data that images are taken from (default: test)")
    add("--limit", type=int, default=10_000, metavar="N",
        help="use the first N training and the first N test images (default: 10000)")
    add("--data-dir", type=cli.home, metavar="DIR",
        help="directory of the data (default: as in training)")
    add = result.add_argument_group("how").add_argument
    add("-a", "--arch", "--model", dest="model", metavar="NAME",
        help="the model of a weights file, where its weights fit several: "
        f"{', '.join(models.MODELS)}")
    add("--classes", type=cli.path, metavar="FILE",
        help="names of the classes, one per line (default: those of the training)")
    add("--class", dest="class_name", metavar="NAME",
        help="explain this class (default: the most probable ones)")
    add("--layer", metavar="NAME",
        help="the convolution for --cam (default: the last) and --deconv (default: each)")
    add("--square", type=int, metavar="N",
        help="side of the square of --occlusion, in pixels that the network sees (default: a "
        "quarter of the image)")
    add("--scale", choices=("common", "each"), default="common",
        help="color scale of the kernels: one for all of them, or one for each (default: "
        "common)")
    add("--out", type=cli.path, metavar="DIR",
        help="directory for the figures (default: the run's directory; for the bundled model "
        "and for weights files the current one)")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UsageError for numbers below 1, for two runs of the same name and
    without a run."""
    args = parser().parse_args(argv)
    if not args.runs:
        # `--maps runs/first` and `--images a.png runs/first`: a flag that takes files has taken
        # the run as well.
        args.runs = [path for path in args.images if path.is_dir()]
        args.images = [path for path in args.images if not path.is_dir()]
        if args.maps and Path(args.maps).is_dir():
            args.runs.append(Path(args.maps))
            args.maps = ""
    if not args.runs:
        raise UsageError("expected a run to draw: runs/NAME, pretrained for the bundled model, or "
                         "a file of weights")
    for flag in ("limit", "square"):
        value = getattr(args, flag)
        if value is not None and value < 1:
            raise UsageError(f"--{flag} must be at least 1, got {value}")
    # "." and ".." have no name to call a figure by.
    args.runs = [path.resolve() if path.name in ("", "..") else path for path in args.runs]
    if len({path.name for path in args.runs}) < len(args.runs):
        raise UsageError("two of the runs have the same name; give runs with different names")
    return args


def folder_of(path: Path, args: argparse.Namespace) -> Path:
    """Where the figures of a run go; those of the bundled model and of what is not a folder into
    the current one."""
    is_own = path.is_dir() and not runs.Run(path).is_bundled
    return args.out or (path if is_own else Path("."))


def draw_curves(args: argparse.Namespace) -> None:
    """The curves of one run, or of several laid over each other."""
    paths = args.runs
    logs = {path.name: runs.Run(path).read_log() for path in paths}
    empty = [str(path) for path in paths if not logs[path.name]]
    if empty:
        raise RunError(f"there is no log in {', '.join(empty)}; give run directories such as "
                       "runs/NAME")
    folder = folder_of(paths[0], args)
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
    if not must_draw and path.is_dir() and not runs.Run(path).exists():
        print(f"{path}: no checkpoint yet, so no other figures")
        return
    subject = Subject(path, args)
    for name, (file_name, draw) in FIGURES.items():
        if name not in figures:
            continue
        if args.out and len(args.runs) > 1:
            file_name = f"{path.name}-{file_name}"
        file = folder_of(path, args) / file_name
        try:
            draw(subject, file)
            print(file)
        except UserError as error:
            if must_draw or isinstance(error, DiskError):
                raise
            print(f"{file.name} is left out: {error}")


if __name__ == "__main__":
    cli.run_cli(main)
