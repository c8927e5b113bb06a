"""Labelled pictures in folders, read when they are needed: to measure a model on any number of
them. (A training reads each picture many times, and keeps them in memory: folders.py.)
"""
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from ..errors import DataError
from ..machine import available_cpus
from .folders import list_images, read_square
from .layouts import TRAIN_FOLDERS, VAL_FOLDERS, Part, part_folder, read_folders, read_part
from .on_demand import OnDemand
from .trees import PassedOver, subfolders

# Where the pictures to measure on are, the first folder that there is.
PARTS = {"test": ("test", *VAL_FOLDERS[:3]), "val": VAL_FOLDERS[:3], "train": TRAIN_FOLDERS}


class PictureFiles(OnDemand):
    """The `images` of a Dataset as files of any size, of which central squares are read.

    Several are read by as many threads as there are CPUs. Raises DataError for a file that cannot
    be read.
    """

    def __init__(self, files: Sequence[Path], size: int) -> None:
        super().__init__(len(files), size)
        self.files = np.array(files, object)

    def subset(self, rows: Any) -> Self:
        return type(self)(self.files[rows], self.size)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        with ThreadPoolExecutor(available_cpus()) as pool:
            squares = pool.map(lambda file: read_square(file, self.size), self.files[rows])
            for square, place in zip(squares, out, strict=True):
                place[...] = square


class Labelled(NamedTuple):
    """Files of pictures, sorted by class."""

    files: list[Path]
    labels: np.ndarray        # (N,): places in `folders`
    folders: tuple[str, ...]  # the names of the class folders, in alphabetical order
    where: Path               # the folder that they are in


def list_part(root: str | Path, split: str) -> Labelled:
    """The pictures in DIR/CLASS/*, in the folder for a part of DIR (PARTS) or in DIR itself.

    Raises DataError when there are no class folders or no pictures.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; expected one with {root}/CLASS/*.JPEG")
    passed = PassedOver()
    part = _part(root, split, passed)
    classes = sorted(wnid for wnid, members in part.members.items() if members)
    if not classes:
        raise DataError(f"{root} has no pictures in folders of their classes: expected "
                        f"{root}/CLASS/*.JPEG or {root}/val/CLASS/*.JPEG; those of ImageNet's "
                        "archives are sorted by python -m minitorch_alex.prepare")
    files, labels = list_images(part, classes, passed)
    for note in passed.notes():
        print(f"note: {root}: {note}", file=sys.stderr)
    return Labelled(files, labels, tuple(classes), part.where / part.folder)


def _part(root: Path, split: str, passed: PassedOver) -> Part:
    """The part of a folder, or all of it where it has class folders alone."""
    folder = part_folder(root, PARTS[split])
    if folder and subfolders(root / folder):
        return read_part(root, PARTS[split], passed)
    whole = read_folders(root)
    if whole.train.folder:
        raise DataError(f"{root} has {whole.train.folder}, but no folder "
                        f"{' or '.join(PARTS[split])} with pictures in folders of their classes")
    passed.counts |= whole.passed.counts
    passed.examples |= whole.passed.examples
    return whole.train
