"""Data as arrays: sets of images, the transforms of the paper, and the loader that turns them into batches.

    train, test = load("cifar10", "data")
    transform = Transform(train.mean_image(), crop=24, flip=True)
    loader = Loader(train, batch_size=128, transform=transform, seed=0)
    for x, labels in loader.epoch(0): ...

Nothing here knows a Tensor: a batch is NumPy until it goes in at the backend's door.
"""
from pathlib import Path

from ..errors import DataError
from .cifar10 import load_cifar10
from .dataset import Dataset
from .loader import Loader
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
    resize_short_side,
    subtract_mean,
    ten_crop,
)

NAMES = ("cifar10", "shapes")


def load(name: str, data_dir: str | Path = "data", download: bool = False, *, n_train: int = 10_000,
         n_test: int = 2_000, size: int = 32, seed: int = 0) -> tuple[Dataset, Dataset]:
    """(train, test) of the data set called `name`.

    "cifar10" is read from `data_dir`, or fetched to there with `download`. "shapes" is made on the fly and
    takes the other four arguments. Raises DataError for a name not in NAMES, and whatever the set raises.
    """
    if name == "cifar10":
        return load_cifar10(data_dir, download)
    if name == "shapes":
        return load_shapes(n_train, n_test, size, seed)
    raise DataError(f"no data set {name!r}; there are: {', '.join(NAMES)}")


__all__ = [
    "NAMES", "ColorPCA", "Dataset", "Loader", "Transform", "center_crop", "fit_pca", "horizontal_flip",
    "load", "load_cifar10", "load_shapes", "make_shapes", "nine_crop", "pca_color", "random_crop",
    "resize_short_side", "subtract_mean", "ten_crop",
]
