"""Labelled pictures in folders, read when they are needed: to measure a model on any number of
them. (A training reads each picture many times, and keeps them in memory: folders.py.)
"""
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..machine import available_cpus
from .folders import list_images, read_square
from .layouts import TRAIN_FOLDERS, VAL_FOLDERS, Part, part_folder, read_folders, read_part
from .trees import PassedOver, subfolders

# Where the pictures to measure on are, the first folder that there is.
PARTS = {"test": ("test", *VAL_FOLDERS[:3]), "val": VAL_FOLDERS[:3], "train": TRAIN_FOLDERS}


class PictureFiles:
    """The `images` of a Dataset as files: looks like uint8 (N, S, S, 3), and reads on demand.

        pictures[17]   pictures[rows]   pictures[start:stop]      as of an array, always a copy
        pictures.subset(rows)                                     fewer images, nothing is read

    An index is read by as many threads as there are CPUs. Raises DataError for a file that cannot
    be read.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, files: Sequence[Path], size: int) -> None:
        self.files = np.array(files, object)
        self.size = size
        self.shape = (len(self.files), size, size, 3)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.asarray(np.arange(len(self))[key])  # any index of NumPy, as numbers of rows
        files = self.files[rows.reshape(-1)]  # (*rows.shape) -> (rows.size,)
        with ThreadPoolExecutor(available_cpus()) as pool:
            squares = list(pool.map(lambda file: read_square(file, self.size), files))
        images = np.stack(squares) if squares else np.empty((0, *self.shape[1:]), np.uint8)
        # (rows.size, S, S, 3) -> (*rows.shape, S, S, 3)
        return images.reshape(*rows.shape, *self.shape[1:])

    def subset(self, rows: Any) -> "PictureFiles":
        return PictureFiles(self.files[rows], self.size)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """The images `rows` into `out`, uint8 (n, S, S, 3)."""
        for file, place in zip(self.files[rows], out, strict=True):
            place[...] = read_square(file, self.size)

    def cut(self, rows: np.ndarray, tops: np.ndarray, lefts: np.ndarray, flips: np.ndarray,
            out: np.ndarray) -> None:
        """Of image rows[i] the window with the corner (tops[i], lefts[i]), mirrored where
        flips[i], into `out`, uint8 (n, h, w, 3)."""
        h, w = out.shape[1:3]
        for file, top, left, mirrored, place in zip(self.files[rows], tops, lefts, flips, out,
                                                    strict=True):
            window = read_square(file, self.size)[top:top + h, left:left + w]
            place[...] = window[:, ::-1] if mirrored else window


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
