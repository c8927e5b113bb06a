"""python -m minitorch_alex.predict IMAGE...: what does a trained model see in these pictures?

The model is that of a run (--weights RUN), or the one that comes with the package: minitorch_alex/pretrained.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from . import data, models, plots
from .data.decoding import central_square, grey_to_8_bits
from .errors import DataError, DivergedError, UsageError
from .evaluate import probabilities
from .nn import Module
from .training import cli, runs, weights

IMAGENET_MEAN = np.float32([123, 117, 104])  # R G B of 0..255, Caffe's mean pixel of ILSVRC-2012
# what torchvision's own weights were trained on: (pixels / 255 - mean) / std (docs: torchvision.models.alexnet)
TORCHVISION_MEAN, TORCHVISION_STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Predictor:
    """A trained model with all it needs to look at a picture.

    side      pictures are resized to this short side, and their central square is taken
    prepare   uint8 (N, side, side, 3) -> the model's inputs, float32 (V, N, H, W, 3), as evaluation has them: V views
              over which probabilities are averaged
    about     what the model is and what is done to pictures, for people
    """

    model: Module
    classes: Sequence[str]
    side: int
    prepare: Any
    about: str

    def __call__(self, pictures: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """(N, K) probabilities for uint8 pictures (N, side, side, 3). DivergedError when they are not finite."""
        parts = [np.mean([probabilities(self.model, view) for view in self.prepare(pictures[i:i + batch_size])], axis=0)
                 for i in range(0, len(pictures), batch_size)]
        if not np.isfinite(probs := np.concatenate(parts)).all():
            raise DivergedError("the model's outputs are not finite: its weights have diverged")
        return probs


def read_image(path: str | Path) -> Image.Image:
    """A picture of any format and kind that Pillow reads as RGB: turned as its EXIF says, transparency on white, 16-bit
    grey scaled to 8. DataError when there is none."""
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            image = grey_to_8_bits(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except Image.UnidentifiedImageError:
        raise DataError(f"{path} is no image that Pillow can read") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path} has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow says SyntaxError of a broken PNG
        raise DataError(f"cannot read the image {path}: {getattr(error, 'strerror', None) or error}") from None


def square(image: Image.Image, side: int) -> np.ndarray:
    """The central square of a picture whose short side is made `side`: uint8 (side, side, 3)."""
    return np.asarray(central_square(image, side))


def of_run(path: Path, previous: bool = False, views: str = "single") -> Predictor:
    """The model of a run, or of a checkpoint in one, with the run's own preprocessing."""
    run, file = runs.find(path, previous)
    config = run.read_config()
    model, arrays, meta = runs.load_model(file, config)
    mean = arrays["data.mean"]
    classes, transform = data.class_names(config["data"], config["data_dir"]), runs.build_transform(config, mean)
    return Predictor(model.eval(), classes, mean.shape[0], lambda pictures: transform.views(pictures, views),
                     f"{config['model']} from {file}, epoch {meta['epoch']}")


def pretrained(views: str = "single") -> Predictor:
    """The model that comes with the package; its README.md is its model card."""
    found = of_run(runs.PRETRAINED, views=views)
    return replace(found, about=f"{found.about}; it knows nothing but {', '.join(found.classes)}")


def of_weights(path: Path, name: str, views: str = "single") -> Predictor:
    """The model called `name` with the weights of a file, and as many classes as they have. Without a run, the
    preprocessing follows from the model: torchvision's for its net, otherwise pixels minus ImageNet's mean colour."""
    classes = models.default_classes(name)
    model: Any = models.build(name, classes)
    state, last = weights.read(path), list(model.state_dict())[-1]
    found = state.get(last, state.get(f"model.{last}"))
    if found is not None and found.shape != (classes,):
        classes = len(found)
        model = models.build(name, classes)
    weights.load_into(model, path)
    side = model.image_size if model.image_size < 64 else round(model.image_size * 256 / 224)
    if name == "alexnet_torchvision":
        scale, what = 255 * TORCHVISION_STD, "torchvision's mean and std"
        mean = 255 * TORCHVISION_MEAN
    else:
        scale, what, mean = np.float32([1, 1, 1]), "ImageNet's mean colour", IMAGENET_MEAN

    cuts = {"single": lambda x, size: data.center_crop(x, size)[None], "nine": data.nine_crop, "ten": data.ten_crop}

    def prepare(pictures: np.ndarray) -> np.ndarray:
        return (cuts[views](pictures, model.image_size).astype(np.float32) - mean) / scale

    return Predictor(model.eval(), [f"class {i}" for i in range(classes)], side, prepare,
                     f"{name} with the weights of {path}; pictures by {what}")


def choose(path: Path | None, name: str | None, previous: bool, views: str) -> Predictor:
    """The model that the command line asks for. UsageError when it does not say enough."""
    if path is None and (name or previous):
        raise UsageError(f"{'--model' if name else '--previous'} says how to read --weights: give that too, or leave "
                         "out both for the model that comes with the package")
    if path is None:
        return pretrained(views)
    if name is None and path.is_file() and not (path.parent / "config.json").exists():
        raise UsageError(f"{path} lies in no run: say which model its weights are for, with --model NAME")
    return of_weights(path, name, views) if name else of_run(path, previous, views)


def read_classes(path: Path, count: int) -> list[str]:
    """Names, one a line. DataError when the file cannot be read, UsageError when it has another number of names."""
    try:
        names = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the names of classes {path}: {error}") from None
    if len(names) != count:
        raise UsageError(f"{path} names {len(names)} classes, the model has {count}: one line each is expected")
    return names


def as_text(probs: np.ndarray, classes: Sequence[str], top: int) -> str:
    """The `top` most probable classes of one picture, a line each."""
    return "\n".join(f"  {100 * probs[k]:6.2f} %  {classes[k]}" for k in np.argsort(-probs, kind="stable")[:top])


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("minitorch_alex.predict", "What does a trained model see in these pictures?")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures of any size and format")
    parser.add_argument("-w", "--weights", type=Path, metavar="RUN",
                        help="a run directory or a checkpoint in one; with --model a .safetensors or .pth file "
                             "(default: a small AlexNet that comes with the package and knows CIFAR-10's classes)")
    parser.add_argument("-a", "--arch", "--model", dest="model", metavar="NAME",
                        help=f"the model of a weights file: {', '.join(models.MODELS)}")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="names of the classes, one a line")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to name (default: 5)")
    parser.add_argument("--views", choices=("single", "nine", "ten"), default="single",
                        help="the middle of the picture, or the mean over several windows of it as evaluate has them: "
                             "slower and better (default: single)")
    parser.add_argument("--out", metavar="FILE", help="draw pictures and probabilities (png, svg or pdf)")
    parser.add_argument("--previous", action="store_true", help="use the run's checkpoint before the last one")
    cli.add_device_flags(parser)
    args = parser.parse_args(argv)
    if args.top < 1:
        raise UsageError(f"--top must be at least 1, got {args.top}")
    cli.use_device(vars(args))
    predictor = choose(args.weights, args.model, args.previous, args.views)
    originals = [read_image(path) for path in args.images]
    classes = read_classes(args.classes, len(predictor.classes)) if args.classes else predictor.classes
    print(predictor.about)
    probs = predictor(np.stack([square(image, predictor.side) for image in originals]))
    for path, image, row in zip(args.images, originals, probs, strict=True):
        print(f"\n{path}  ({image.width} x {image.height})\n{as_text(row, classes, args.top)}")
    if args.out:
        shown = [square(image, min(image.width, image.height, 256)) for image in originals]
        plots.predictions(shown, probs, classes, args.out, [path.name for path in args.images], args.top)
        print(f"\n{args.out}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
