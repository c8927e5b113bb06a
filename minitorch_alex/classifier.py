"""A trained network with all it needs to look at pictures: what `mt.load` gives, and what predict,
evaluate and onnx work with.

    model = load("runs/x")                 or "pretrained", or a file of weights
    seen = model("cat.jpg")                a path, one of Pillow's images, an array; or many
    seen.name, seen.probability, seen.top(5)

    picture of any size   --square-->  uint8 (side, side, 3)  --prepare-->  float32 (V, N, h, w, 3)
    --network-->   probabilities (N, K), the mean over the V views
"""
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np
from PIL import Image

from . import backend, models, nn
from . import functional as F
from .autograd import no_grad
from .data import Transform
from .data.decoding import (
    UnknownFormatError,
    central_square,
    decode_rgb,
    read_image_file,
    rgb_as_viewed,
)
from .errors import DataError, DivergedError, KindError, ShapeError, UsageError
from .files import decode_text, reason_of
from .nn import Module
from .tensor import Tensor
from .training import architectures, class_list, runs
from .training.finetune import mean_color

VIEWS = ("single", "nine", "ten")
BATCH_SIZE = 64  # pictures that go through the network together
Picture: TypeAlias = str | os.PathLike | Image.Image | np.ndarray


class Guess(NamedTuple):
    """One class, and how probable a model finds it, 0..1."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model sees in one picture: the probabilities (K,) of its K classes, and their names
    in the same order."""

    probabilities: np.ndarray
    classes: Sequence[str]

    def top(self, count: int = 5) -> list[Guess]:
        """The `count` most probable classes, the most probable one first; all where there are
        fewer. Raises UsageError for a count below 1."""
        if count < 1:
            raise UsageError(f"top: got {count}, expected at least 1")
        # Stable: of equal ones, the class that comes first in the list.
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [Guess(self.classes[k], float(self.probabilities[k])) for k in order]

    @property
    def name(self) -> str:
        """The most probable class."""
        return self.top(1)[0].name

    @property
    def probability(self) -> float:
        """That of the most probable class, 0..1."""
        return self.top(1)[0].probability

    def __repr__(self) -> str:
        return f"<{self.name}, {100 * self.probability:.2f} %>"


@dataclass(frozen=True)
class Classifier:
    """A trained network, the names of its classes, and what it does with a picture.

    side        a picture is resized to this short side, and its central square is taken
    transform   what is done to that square: a window of it, minus the mean image
    views       "single", the central window; "nine" or "ten": the mean over so many windows
    name        that of the model: alexnet_cifar
    about       human-readable: what the model is and what is done to pictures
    file        where its weights are
    """

    model: models.Network
    classes: Sequence[str]
    side: int
    transform: Transform
    views: str
    name: str
    about: str
    file: Path

    @overload  # a text is an iterable of texts too, but here it is one path
    def __call__(self, pictures: str | os.PathLike | Image.Image  # type: ignore[overload-overlap]
                 ) -> Prediction: ...
    @overload
    def __call__(self, pictures: np.ndarray) -> Any: ...
    @overload
    def __call__(self, pictures: Iterable[Picture]) -> list[Prediction]: ...

    def __call__(self, pictures: Any) -> Prediction | list[Prediction]:
        """What the model sees in one picture, or in each of many.

        A picture is a path, one of Pillow's images or an array of bytes as Pillow gives it: uint8
        (H, W, 3), (H, W, 4) with transparency or (H, W) in grey. Many are a list of pictures, of
        any kinds and sizes, or an array (N, H, W, 3).

        Raises KindError for anything else (floats too: whether they mean 0..1, 0..255 or are
        normalised cannot be seen), DataError for a file that cannot be read, DivergedError for a
        model whose outputs are not finite.
        """
        if is_picture(pictures):
            return next(self.stream([pictures]))
        if isinstance(pictures, Iterable):
            return list(self.stream(pictures))
        raise _wrong_kind(pictures)

    def stream(self, pictures: Iterable[Picture],
               batch_size: int = BATCH_SIZE) -> Iterator[Prediction]:
        """As `__call__`, one prediction after the other: however many pictures there are, only one
        batch of them is in memory, reduced to squares. Raises as `__call__`."""
        # islice takes no more than a batch, so that a generator of paths or of frames is read only
        # as fast as predictions are taken.
        remaining = iter(pictures)
        while batch := list(itertools.islice(remaining, batch_size)):
            squares = np.stack([square(to_image(picture), self.side) for picture in batch])
            for row in self.probabilities(squares, batch_size):
                yield Prediction(row, self.classes)

    def prepare(self, squares: np.ndarray) -> np.ndarray:
        """uint8 (N, side, side, 3) -> the network's inputs, float32 (V, N, h, w, 3): V views."""
        return self.transform.views(squares, self.views)

    def probabilities(self, squares: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Probabilities (N, K) for uint8 squares (N, side, side, 3).

        Raises DivergedError when they are not finite.
        """
        means = []  # of each batch, over its views
        for start in range(0, len(squares), batch_size):
            views = self.prepare(squares[start:start + batch_size])
            means.append(np.mean([softmax_outputs(self.model, view) for view in views], axis=0))
        probs = np.concatenate(means)
        if not np.isfinite(probs).all():
            raise DivergedError("the model's outputs are not finite: its weights have diverged")
        return probs

    @property
    def is_named(self) -> bool:
        """Whether its classes have names: those of most files of weights are only numbered."""
        return tuple(self.classes) != class_list.numbered(len(self.classes))

    def named(self, classes: Sequence[str]) -> "Classifier":
        """The same with other names of the classes. Raises UsageError for another number of
        them."""
        if len(classes) != len(self.classes):
            raise UsageError(f"got {len(classes)} names of classes, the model has "
                             f"{len(self.classes)}")
        return replace(self, classes=tuple(classes))


def softmax_outputs(model: Module, images: Any) -> np.ndarray:
    """Softmax outputs (N, K), on the host, for prepared images (N, H, W, 3) float32.

    The model runs in evaluation mode. The images may be on the device already.
    """
    x = backend.asarray(images.transpose(0, 3, 1, 2))  # (N, H, W, 3) -> (N, 3, H, W)
    with nn.evaluating(model), no_grad():
        return backend.to_numpy(F.softmax(model(Tensor(x))).data)


# Pictures.


def is_picture(value: Any) -> bool:
    """Whether a value is one picture: a path, one of Pillow's images, an array without a batch
    axis."""
    if isinstance(value, np.ndarray):
        return value.ndim < 4
    return isinstance(value, str | os.PathLike | Image.Image)


def to_image(picture: Picture) -> Image.Image:
    """A picture of any kind as RGB, turned as its EXIF data says. Raises as Classifier does."""
    if isinstance(picture, np.ndarray):
        return _image_of_array(picture)
    if isinstance(picture, str | os.PathLike):
        return read_image(Path(picture).expanduser())
    if not isinstance(picture, Image.Image):
        raise _wrong_kind(picture)
    try:
        return rgb_as_viewed(picture)
    except (OSError, ValueError, SyntaxError) as error:  # a file that Pillow has only opened
        name = getattr(picture, "filename", "") or "it"
        raise DataError(f"cannot read the image {name}: {reason_of(error)}") from None


def _image_of_array(array: np.ndarray) -> Image.Image:
    """uint8 (H, W), (H, W, 3) or (H, W, 4) as RGB. Raises KindError for other numbers, ShapeError
    for other shapes."""
    if array.dtype != np.uint8:
        # Nothing is guessed: an almost black picture in 0..255 would pass for a bright one in
        # 0..1.
        advice = "round it to bytes: (255 * x).round().astype(np.uint8) if it holds 0..1"
        if array.dtype.kind not in "fc":
            advice = "convert it: x.astype(np.uint8)"
        raise KindError(f"got a picture of {array.dtype}, expected uint8, values 0..255; {advice}")
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)):
        return rgb_as_viewed(Image.fromarray(np.ascontiguousarray(array)))
    advice = ""
    if array.ndim == 3 and array.shape[2] == 1:
        advice = "; drop the last axis: x[:, :, 0]"
    elif array.ndim == 3 and array.shape[0] in (1, 3, 4):
        advice = "; bring the channels to the end: x.transpose(1, 2, 0)"
    raise ShapeError(f"got a picture of shape {array.shape}, expected (height, width, 3){advice}")


def _wrong_kind(value: Any) -> KindError:
    return KindError(f"got {type(value).__name__} in place of a picture, expected a path, one of "
                     "Pillow's images, an array of uint8, or a list of them")


def read_image(path: str | Path) -> Image.Image:
    """An image of any format that Pillow reads, as RGB.

    It is rotated as its EXIF data says; transparent parts become white; 16-bit grey is scaled to 8
    bits. Raises DataError when the file is missing or not an image.
    """
    try:
        return decode_rgb(read_image_file(path), as_viewed=True)
    except UnknownFormatError:
        raise DataError(f"{one_line(path)} is not an image that Pillow can read") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the image {one_line(path)}: {reason_of(error)}") from None


def one_line(path: str | os.PathLike) -> str:
    """A path as it is shown: a line break or another control character in it as an escape."""
    return "".join(character if character.isprintable() or character == " "
                   or "\ud800" <= character <= "\udfff"  # a byte that is not UTF-8
                   else character.encode("unicode_escape").decode("ascii")
                   for character in os.fspath(path))


def square(image: Image.Image, side: int) -> np.ndarray:
    """The central square of an image whose short side is made `side`: uint8 (side, side, 3).
    Raises DataError for an image without pixels."""
    try:
        return np.asarray(central_square(image, side))
    except ValueError as error:
        raise DataError(f"cannot use an image of {image.width} x {image.height}: "
                        f"{reason_of(error)}") from None


# Models.


def load(source: str | os.PathLike = "pretrained", arch: str | None = None,
         classes: str | os.PathLike | Sequence[str] | None = None, views: str = "single",
         previous: bool = False) -> Classifier:
    """A trained model, from anywhere.

    source    a run (runs/NAME), a checkpoint in one, "pretrained" for the small AlexNet that comes
              with the package, or a file of weights: .safetensors, or .pth of PyTorch
    arch      the model of a file of weights (alexnet_torchvision); it is recognised by its weights
              where only one model has such ones
    classes   names for its classes: a list, or a file with one name per line; a run knows its own,
              and a thousand outputs of a file are taken for ImageNet's
    views     "single", the centre of a picture; "nine", "ten": the mean over so many windows,
              slower and more accurate
    previous  take the run's checkpoint before the last one

    Raises RunError when there is no such model, UsageError for arguments that do not fit it.
    """
    if views not in VIEWS:
        raise UsageError(f"unknown views {views!r}, expected one of {', '.join(VIEWS)}")
    path = Path(source).expanduser()
    # A checkpoint in a run's directory knows everything; a file elsewhere is only weights.
    is_loose = path.is_file() and not (path.parent / "config.json").exists()
    if arch and path.is_dir():
        raise UsageError(f"{path} is a directory, and a run knows its model; remove --model, or "
                         "give a weights file")
    if arch or is_loose:
        classifier = of_weights(path, arch, views)
    else:
        classifier = of_run(path, previous, views)
    if classes is None:
        return classifier
    # A text is a file of names, never a name of its own.
    if isinstance(classes, str | os.PathLike):
        classes = read_classes(Path(classes).expanduser(), len(classifier.classes))
    return classifier.named(classes)


def of_run(path: str | os.PathLike, previous: bool = False, views: str = "single") -> Classifier:
    """The model of a run, or of a checkpoint in one, with the run's own preprocessing and the
    names of the classes that it was trained with: its data is not needed."""
    run, file = runs.find(path, previous)
    config = run.read_config()
    model, arrays, meta = runs.load_model(file, config)
    mean = arrays["data.mean"]
    names, remark = class_list.known(config)
    about = f"{config['model']} from {file}, epoch {meta['epoch']}"
    if run.is_bundled:
        remark = f"it knows only {', '.join(names)}"
    return Classifier(model.eval(), names, side=mean.shape[0],
                      transform=runs.build_transform(config, mean).eval(), views=views,
                      name=config["model"], about=f"{about}; {remark}" if remark else about,
                      file=file)


def of_weights(path: str | os.PathLike, arch: str | None = None,
               views: str = "single") -> Classifier:
    """The model with the weights of a file, and as many classes as these have. Without `arch` it
    is recognised (architectures.recognise).

    Without a run, the preprocessing follows from the model: torchvision's for its network,
    otherwise pixels minus ImageNet's mean colour. A thousand classes are taken for ImageNet's,
    others are numbered. Raises RunError when the weights do not fit.
    """
    name, model, num_classes = architectures.load(path, arch)
    size = model.image_size
    side = size if size < 64 else round(size * 256 / 224)  # large images are cut from larger ones
    mean, how = mean_color(name)
    # A mean colour is a mean image without a pattern: so the same transform does for both.
    mean_image = np.broadcast_to(mean, (side, side, 3))
    about = f"{name} with the weights of {path}; images are normalised by {how}"
    if num_classes == class_list.IMAGENET:
        about += f"; its {num_classes:,} classes are taken for ImageNet's"
    return Classifier(model.eval(), class_list.of_outputs(num_classes), side,
                      Transform(mean_image, crop=size, random=False), views, name, about,
                      Path(path))


def read_classes(path: Path, count: int) -> list[str]:
    """Names of classes, one per line or, on a single line, between semicolons. Blank lines do not
    count.

    Raises DataError when the file cannot be read, UsageError when it does not have `count` names.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the names of classes {path}: {reason_of(error)}") from None
    lines = text.strip().split("\n")
    if len(lines) == 1 < count:
        lines = text.split(";")
    # An empty second column of a table leaves a separator at the end.
    names = [name for line in lines if (name := line.strip().rstrip(";,"))]
    if len(names) != count:
        raise UsageError(f"{path} names {len(names)} classes, the model has {count}; "
                         "give one name per line")
    return names
