"""python -m minitorch_alex.predict IMAGE...: what does a trained model see in these images?

The model is that of a run (--weights RUN), or the bundled one: minitorch_alex/pretrained.
"""
import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from . import data, models, plots
from .data.decoding import UnknownFormatError, central_square, decode_rgb, read_image_file
from .errors import DataError, DivergedError, UsageError
from .evaluate import VIEWS, probabilities
from .files import decode_text
from .training import class_list, cli, runs, weights
from .training.cli import Flag

FLAGS = (
    Flag("-w --weights", "a run directory or a checkpoint in one; with --model, a .safetensors or "
         ".pth file", shown="the bundled small AlexNet, which knows CIFAR-10's classes",
         options={"type": cli.path, "metavar": "RUN"}),
    Flag("-a --arch --model", f"the model of a weights file: {', '.join(models.MODELS)}",
         options={"metavar": "NAME"}),
    Flag("--classes", "names of the classes, one per line",
         options={"type": cli.path, "metavar": "FILE"}),
    Flag("--top", "how many classes to name", 5, minimum=1, options={"type": int, "metavar": "N"}),
    Flag("--views", "single (the centre of the image), or nine or ten (the mean over so many "
         "windows, as in evaluate: slower and more accurate)", "single",
         options={"choices": VIEWS, "metavar": "KIND"}),
    Flag("--out", "draw the images and the probabilities (png, svg or pdf)",
         options={"type": cli.home, "metavar": "FILE"}),
    Flag("--previous", "use the run's checkpoint before the last one", False,
         options={"action": "store_true"}),
)

# R G B of 0..255: Caffe's mean pixel of ILSVRC-2012
IMAGENET_MEAN = np.array([123, 117, 104], np.float32)
# What torchvision's own weights were trained on is (pixels / 255 - mean) / std: documentation of
# torchvision.models.alexnet. The division by 255 std is the network's first layer here.
TORCHVISION_MEAN = np.array([0.485, 0.456, 0.406], np.float32)


@dataclass(frozen=True)
class Predictor:
    """A trained model with all it needs to look at an image.

    side      images are resized to this short side, and the central square is taken
    prepare   uint8 (N, side, side, 3) -> the model's inputs, float32 (V, N, H, W, 3), as in
              evaluation: V views over which probabilities are averaged
    about     human-readable: what the model is and what is done to images
    """

    model: models.Network
    classes: Sequence[str]
    side: int
    prepare: Callable[[np.ndarray], np.ndarray]
    about: str

    def __call__(self, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Probabilities (N, K) for uint8 images (N, side, side, 3).

        Raises DivergedError when they are not finite.
        """
        means = []
        for start in range(0, len(images), batch_size):
            views = self.prepare(images[start:start + batch_size])
            means.append(np.mean([probabilities(self.model, view) for view in views], axis=0))
        probs = np.concatenate(means)
        if not np.isfinite(probs).all():
            raise DivergedError("the model's outputs are not finite: its weights have diverged")
        return probs


# Reading images.


def read_image(path: str | Path) -> Image.Image:
    """An image of any format that Pillow reads, as RGB.

    It is rotated as its EXIF data says; transparent parts become white; 16-bit grey is scaled to 8
    bits. Raises DataError when the file is missing or not an image.
    """
    try:
        return decode_rgb(read_image_file(path), as_viewed=True)
    except UnknownFormatError:
        raise DataError(f"{path} is not an image that Pillow can read") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read the image {path}: {reason}") from None


def square(image: Image.Image, side: int) -> np.ndarray:
    """The central square of an image whose short side is made `side`: uint8 (side, side, 3)."""
    return np.asarray(central_square(image, side))


# Models.


def of_run(path: Path, previous: bool = False, views: str = "single") -> Predictor:
    """The model of a run, or of a checkpoint in one, with the run's own preprocessing and the
    names of the classes that it was trained with: its data is not needed."""
    run, file = runs.find(path, previous)
    config = run.read_config()
    model, arrays, meta = runs.load_model(file, config)
    mean = arrays["data.mean"]
    transform = runs.build_transform(config, mean)
    names, remark = class_list.known(config)
    about = f"{config['model']} from {file}, epoch {meta['epoch']}"
    return Predictor(model.eval(), names, side=mean.shape[0],
                     prepare=lambda images: transform.views(images, views),
                     about=f"{about}; {remark}" if remark else about)


def pretrained(views: str = "single") -> Predictor:
    """The bundled model; its README.md is its model card."""
    predictor = of_run(runs.PRETRAINED, views=views)
    known = ", ".join(predictor.classes)
    return replace(predictor, about=f"{predictor.about}; it knows only {known}")


def of_weights(path: Path, name: str, views: str = "single") -> Predictor:
    """The model called `name` with the weights of a file, and as many classes as these have.

    Without a run, the preprocessing follows from the model: torchvision's for its network,
    otherwise pixels minus ImageNet's mean colour. Raises RunError when the weights do not fit.
    """
    num_classes = models.default_classes(name)
    model = models.build(name, num_classes)
    # The bias of the last layer has one number per class; buffers come after it in a state_dict.
    last = list(dict(model.named_parameters()))[-1]
    bias = weights.by_names_of(model, weights.read(path)).get(last)
    if bias is not None and bias.ndim == 1 and 1 <= len(bias) != num_classes:
        num_classes = len(bias)
        model = models.build(name, num_classes)
    weights.load_into(model, path)

    size = model.image_size
    side = size if size < 64 else round(size * 256 / 224)  # large images are cut from larger ones
    if name == "alexnet_torchvision":
        mean = 255 * TORCHVISION_MEAN
        how = "torchvision's mean and std"
    else:
        mean = IMAGENET_MEAN
        how = "ImageNet's mean colour"

    def prepare(images: np.ndarray) -> np.ndarray:
        return _windows(images, size, views).astype(np.float32) - mean

    return Predictor(model.eval(), [f"class {i}" for i in range(num_classes)], side, prepare,
                     f"{name} with the weights of {path}; images are normalised by {how}")


def _windows(images: np.ndarray, size: int, views: str) -> np.ndarray:
    """(N, side, side, 3) -> (V, N, size, size, 3): the views of each image."""
    if views == "nine":
        return data.nine_crop(images, size)
    if views == "ten":
        return data.ten_crop(images, size)
    return data.center_crop(images, size)[None]


def choose(path: Path | None, name: str | None, previous: bool, views: str) -> Predictor:
    """The model that the command line asks for. Raises UsageError for flags that contradict each
    other."""
    if path is None and (name or previous):
        flag = "--model" if name else "--previous"
        raise UsageError(f"{flag} says how to read --weights; add --weights, or remove {flag} to "
                         "use the bundled model")
    if path is None:
        return pretrained(views)
    if name is None and path.is_file() and not (path.parent / "config.json").exists():
        raise UsageError(f"{path} does not belong to a run; say which model its weights are for, "
                         "with --model NAME")
    if name and path.is_dir():
        raise UsageError(f"{path} is a directory, and a run knows its model; remove --model, or "
                         "give a weights file")
    return of_weights(path, name, views) if name else of_run(path, previous, views)


# The command.


def read_classes(path: Path, count: int) -> list[str]:
    """Names of classes, one per line or, on a single line, between semicolons. Blank lines do not
    count.

    Raises DataError when the file cannot be read, UsageError when it does not have `count` names.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot read the names of classes {path}: {reason}") from None
    lines = text.strip().split("\n")
    if len(lines) == 1 < count:
        lines = text.split(";")
    # An empty second column of a table leaves a separator at the end.
    names = [name for line in lines if (name := line.strip().rstrip(";,"))]
    if len(names) != count:
        raise UsageError(f"{path} names {len(names)} classes, the model has {count}; "
                         "give one name per line")
    return names


def as_text(probs: np.ndarray, classes: Sequence[str], top: int) -> str:
    """The `top` most probable classes of one image, one per line; probs (K,)."""
    order = np.argsort(-probs, kind="stable")[:top]
    return "\n".join(f"  {100 * probs[k]:6.2f} %  {classes[k]}" for k in order)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Raises UsageError for a value that makes no sense."""
    parser = cli.parser("minitorch_alex.predict", "What does a trained model see in these images?")
    parser.add_argument("images", nargs="+", type=cli.path, metavar="IMAGE",
                        help="images of any size and format")
    cli.add_flags(parser, FLAGS)
    cli.add_device_flags(parser)
    args = parser.parse_args(argv)
    cli.check_flags(args, FLAGS)
    return args


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    cli.use_device(vars(args))
    predictor = choose(args.weights, args.model, args.previous, args.views)
    originals = [read_image(path) for path in args.images]
    names = predictor.classes
    if args.classes:
        names = read_classes(args.classes, len(names))

    print(predictor.about)
    probs = predictor(np.stack([square(image, predictor.side) for image in originals]))
    for path, image, row in zip(args.images, originals, probs, strict=True):
        print(f"\n{path}  ({image.width} x {image.height})\n{as_text(row, names, args.top)}")
    if args.out:
        squares = [square(image, min(image.width, image.height, 256)) for image in originals]
        titles = [path.name for path in args.images]
        plots.predictions(squares, probs, names, args.out, titles, args.top)
        print(f"\n{args.out}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
