"""What `plots` draws: a run, the bundled model or a weights file, and the images it is shown."""
import argparse
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, profile
from ..classifier import load, read_classes, read_image, square
from ..data import Dataset
from ..errors import RunError, UsageError
from ..evaluate import predict
from ..tensor import Tensor
from ..training import class_list, runs

MOST = 24  # images of one's own in one figure


class Subject:
    """A trained model, and what the figures need to know about it. The data are read when a figure
    first needs them.

    model      in evaluation mode
    name       alexnet_cifar
    classes    the names of its outputs
    side       images are brought to side x side
    transform  uint8 (N, side, side, 3) -> the network's inputs, float32 (N, H, W, 3)
    config     the settings of its run; None for a weights file, which comes without data

    Raises whatever reading a run or a weights file raises.
    """

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self.options = args
        self.limit: int = args.limit
        self.split: str = args.split
        self.config: dict[str, Any] | None = None
        self.classes: tuple[str, ...] = ()
        if path.is_file() and not (path.parent / "config.json").exists():
            self._open_weights(path)
        else:
            self._open_run(path)
        if args.classes:
            self.classes = tuple(read_classes(args.classes, len(self.classes)))

    def _open_weights(self, path: Path) -> None:
        """A file of weights that belongs to no run."""
        model = load(path, self.options.model)
        self.model = model.model
        self.name = model.name
        self.classes = tuple(model.classes)
        self.side = model.side
        self.transform = model.transform
        self.title = f"{model.name} with {path.name}"
        self.note = ""

    def _open_run(self, path: Path) -> None:
        """A run, a checkpoint in one, or the bundled model."""
        if self.options.model:
            raise UsageError(f"-a {self.options.model} says which model a weights file is for, "
                             f"and a run such as {path} knows its own; leave -a out")
        run, file = runs.find(path)
        self.config = run.read_config()
        if self.options.data_dir:
            self.config["data_dir"] = self.options.data_dir
        self.model, arrays, meta = runs.load_model(file, self.config)
        self.model.eval()
        self.name = self.config["model"]
        self.classes = tuple(class_list.known(self.config)[0])
        self.side = arrays["data.mean"].shape[0]
        self.transform = runs.build_transform(self.config, arrays["data.mean"]).eval()
        self.title = f"{self.name} on {self.config['data']}"
        self.note = f"after epoch {meta['epoch']}"
        self.trained = f"{run.directory} was trained with"

    @cached_property
    def parts(self) -> dict[str, Dataset]:
        """{"train", "test"}, and "val" where the run has it; each cut to --limit."""
        if self.config is None:
            raise UsageError("a weights file has no images of its own; name some with --images")
        whole = runs.load_data(self.config)
        class_list.check(whole.train, self.config, self.trained)
        sets = {"train": whole.train, "val": whole.val, "test": whole.test}
        return {name: part.subset(slice(self.limit)) for name, part in sets.items()
                if part is not None}

    @property
    def images(self) -> Dataset:
        """The part of the data that --split names."""
        if self.split not in self.parts:
            raise RunError(f"the run has no {self.split} images (it was trained with --val-split "
                           "0); use --split test or train")
        return self.parts[self.split]

    @cached_property
    def probs(self) -> np.ndarray:
        """(N, K): the probabilities of these images, single view."""
        return predict(self.model, self.images, self.transform)

    def batch(self, images: np.ndarray) -> Tensor:
        """uint8 images (N, H, W, 3) as the network's input."""
        # (N, H, W, 3) -> (N, 3, H, W)
        return Tensor(backend.asarray(self.transform(images).transpose(0, 3, 1, 2)))

    def outputs(self, images: np.ndarray) -> list[tuple[str, Any, np.ndarray]]:
        """(name, layer, output) of each layer for uint8 images (N, H, W, 3)."""
        return [(name, layer, backend.to_numpy(y.data))
                for name, layer, y in profile.outputs(self.model, self.batch(images))]

    def seen(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3): images as the network sees them, cut out or enlarged.

        What it is given is that minus the mean, and black pixels are given as minus the mean: the
        difference of the two is what it sees, whatever the transform cuts and scales.
        """
        return as_pixels(self.transform(images) - self.transform(np.zeros_like(images)))

    def seen_as_zero(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3): the pixels that become 0 in the network's input, the mean."""
        return as_pixels(-self.transform(np.zeros_like(images)))

    def chosen(self, count: int) -> tuple[np.ndarray, list[str]]:
        """(uint8 images (N, side, side, 3), what to write above each): those of --images with the
        names of their files, or `count` of the data, one of each class in turn, with theirs."""
        paths = self.options.images
        if not paths:
            part = self.images
            rows = one_of_each(part, count)
            return part.images[rows], [part.classes[k] for k in part.labels[rows]]
        if len(paths) > MOST:
            raise UsageError(f"--images names {len(paths)} files, a figure has room for {MOST}; "
                             "draw them in several")
        images = np.stack([square(read_image(path), self.side) for path in paths])
        return images, [path.name for path in paths]


def as_pixels(values: np.ndarray) -> np.ndarray:
    """Numbers on the 0..255 scale as bytes."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def one_of_each(dataset: Dataset, count: int) -> np.ndarray:
    """Indices of `count` images: the first of each class, then the second, and so on."""
    # how many images of its class come before each image
    round_of = np.zeros(len(dataset), np.int64)
    for k in range(len(dataset.classes)):
        in_class = dataset.labels == k
        round_of[in_class] = np.arange(in_class.sum())
    return np.lexsort((dataset.labels, round_of))[:count]  # by round, then by class
