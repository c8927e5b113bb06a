"""Data as arrays: sets of images, the transforms of the paper, and the loader that turns them into
batches.

    train, test = load("cifar10", "data")
    transform = Transform(train.mean_image(), crop=24, flip=True)
    loader = Loader(train, batch_size=128, transform=transform, seed=0)
    for x, labels in loader.epoch(0): ...

Nothing here knows a Tensor: a batch is a NumPy array until the backend takes it.
"""
import os
from pathlib import Path

from ..errors import DataError
from . import cifar10, folders, shapes
from .cifar10 import load_cifar10
from .dataset import Dataset
from .decoding import resize_short_side
from .folders import Parts, divided_as, folder_classes, load_folder
from .imagenet import is_prepared, load_imagenet, prepared_classes, read_index
from .loader import Loader
from .scaled import scaled
from .shapes import load_shapes, make_shapes
from .transforms import (
    ColorPCA,
    Transform,
    center_crop,
    fit_pca,
    horizontal_flip,
    nine_crop,
    pca_color,
    random_crop,
    subtract_mean,
    ten_crop,
)

NAMES = ("cifar10", "shapes", "folder", "imagenet")


def load(name: str, data_dir: str | Path = "data", download: bool = False, *,
         n_train: int = 10_000, n_test: int = 2_000, size: int = 32,
         seed: int = 0) -> tuple[Dataset, Dataset]:
    """(train, test) of the data set called `name`.

    cifar10    read from `data_dir`, or downloaded to it with `download`
    shapes     made on the fly, from n_train, n_test, size and seed
    folder     the folders of images in `data_dir`, scaled to size x size
    imagenet   what `prepare` made of those or of any other source, in `data_dir`

    A prepared set is also found under the name "folder", and `~` is the home folder. Raises
    DataError for a name that is not in NAMES, and whatever the set raises.
    """
    data_dir = os.path.expanduser(data_dir)
    if name == "cifar10":
        return load_cifar10(data_dir, download)
    if name == "shapes":
        return load_shapes(n_train, n_test, size, seed)
    if name == "imagenet" or (name == "folder" and is_prepared(data_dir)):
        return load_imagenet(data_dir)
    if name == "folder":
        return load_folder(data_dir, size)
    raise DataError(f"no data set {name!r}; there are: {', '.join(NAMES)}")


def load_parts(name: str, data_dir: str | Path = "data", download: bool = False, *,
               size: int = 32, seed: int = 0, kind: str = folders.VAL_IS_TEST) -> Parts:
    """(train, val, test) of the data set called `name`; val is None where it has no such part.

    `kind` says how a folder of images is divided, see `parts_of`. Raises as `load` does.
    """
    directory = os.path.expanduser(data_dir)
    if name == "folder" and not is_prepared(directory):
        return folders.load_parts(directory, size, kind)
    train, test = load(name, data_dir, download, size=size, seed=seed)
    return Parts(train, None, test)


def stored_size(name: str, data_dir: str | Path) -> int | None:
    """The side of the images of a set that has them at one size; None for sets that are read, or
    drawn, at any."""
    directory = os.path.expanduser(data_dir)
    if name == "cifar10":
        return 32
    if name in ("folder", "imagenet") and is_prepared(directory):
        return int(read_index(directory)["size"])
    return None


def parts_of(name: str, data_dir: str | Path) -> str:
    """How the data is divided: folders.THREE, CLASSES_ALONE or, for all that is not a plain
    folder, VAL_IS_TEST."""
    directory = os.path.expanduser(data_dir)
    if name == "folder" and not is_prepared(directory):
        return divided_as(directory)
    return folders.VAL_IS_TEST


def class_names(name: str, data_dir: str | Path = "data") -> tuple[str, ...]:
    """The names of the classes that `load` gives, without reading an image. Raises as `load`
    does."""
    data_dir = os.path.expanduser(data_dir)
    if name == "cifar10":
        return cifar10.CLASSES
    if name == "shapes":
        return shapes.CLASSES
    if name == "imagenet" or (name == "folder" and is_prepared(data_dir)):
        return prepared_classes(read_index(data_dir))
    if name == "folder":
        return folder_classes(data_dir)
    raise DataError(f"no data set {name!r}; there are: {', '.join(NAMES)}")


__all__ = [
    "NAMES", "ColorPCA", "Dataset", "Loader", "Parts", "Transform", "center_crop", "class_names",
    "fit_pca", "horizontal_flip", "load", "load_cifar10", "load_folder", "load_imagenet",
    "load_parts", "load_shapes", "make_shapes", "nine_crop", "parts_of", "pca_color",
    "random_crop", "resize_short_side", "scaled", "stored_size", "subtract_mean", "ten_crop",
]
