"""Folders of pictures, a class a folder, as PyTorch's ImageFolder has them: decoded once and kept in memory.

    DIR/train/n01440764/anything.JPEG         each folder in train/ is a class; its name is the class's name
    DIR/val/n01440764/anything.JPEG           the official validation set, which here is the test set

A picture becomes RGB, its short side is scaled, and the central square is taken (paper, section 2).
"""
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import DataError
from ..machine import available_cpus, memory_bytes
from .dataset import Dataset
from .decoding import central_square, decode_rgb

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")


def load_folder(data_dir: str | Path, size: int, memory: int | None = None) -> tuple[Dataset, Dataset]:
    """(train, test) of DIR/train and DIR/val, as pictures of size x size.

    The order is a picture of each class in turn, so that a prefix has all classes. `memory` is the number of bytes
    that the pixels may take, by default half of the machine's memory: while a validation set is split off, they are
    there twice. DataError for a folder that is missing or empty, for a picture that cannot be read, and for more
    pictures than fit.
    """
    data_dir = Path(data_dir)
    classes = folder_classes(data_dir)
    parts = [_list(data_dir / part, classes) for part in ("train", "val")]
    count, room = sum(len(files) for files, _ in parts), memory or memory_bytes() // 2
    need = count * size * size * 3
    if need > room:
        raise DataError(f"{data_dir} has {count:,} pictures; at {size} x {size} they take {need / 1e9:,.1f} GB, and a "
                        f"folder is kept in memory up to {room / 1e9:,.1f} GB: make a prepared set of it with "
                        f"python -m minitorch_alex.prepare {data_dir} DST, and train on that")
    train, test = (Dataset(read_pictures(files, size, f"{data_dir.name}/{part}"), labels, classes,
                           f"{data_dir.name} ({part})")
                   for part, (files, labels) in zip(("train", "val"), parts, strict=True))
    return train, test


def folder_classes(data_dir: str | Path) -> tuple[str, ...]:
    """The names of the folders in DIR/train, sorted: a label is a place in this tuple. DataError without them."""
    train = Path(data_dir) / "train"
    classes = tuple(sorted(p.name for p in train.glob("*/") if not p.name.startswith(".")))
    if not classes:
        raise DataError(f"{train} has no folders; expected {train}/CLASS/*.JPEG and {Path(data_dir) / 'val'}"
                        "/CLASS/*.JPEG, a folder for each class")
    return classes


def read_pictures(files: Sequence[Path], size: int, name: str) -> np.ndarray:
    """uint8 (N, size, size, 3) of picture files, decoded by as many threads as there are CPUs."""
    images = np.empty((len(files), size, size, 3), np.uint8)

    def read(i: int) -> None:
        images[i] = read_square(files[i], size)

    pool = ThreadPoolExecutor(available_cpus())
    try:
        for _ in tqdm(pool.map(read, range(len(files))), total=len(files), desc=f"reading {name}", unit="image",
                      leave=False, disable=None):
            pass
    finally:  # after a picture that cannot be read the others are of no use
        pool.shutdown(cancel_futures=True)
    return images


def read_square(path: Path, size: int) -> np.ndarray:
    """uint8 (size, size, 3): the central square of a picture whose short side is made `size`, as `prepare` stores it.
    DataError when it cannot be read."""
    try:
        return np.asarray(central_square(decode_rgb(path.read_bytes()), size))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as a picture: {reason}; mend it or take it away") from None


def _list(folder: Path, classes: Sequence[str]) -> tuple[list[Path], np.ndarray]:
    """(files, labels) of the pictures in FOLDER/CLASS/, one of each class in turn."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: expected {folder}/CLASS/*.JPEG beside the other part; pictures without "
                        "such a division can be split by python -m minitorch_alex.prepare")
    strange = sorted({p.name for p in folder.glob("*/") if not p.name.startswith(".")} - set(classes))
    if strange:
        raise DataError(f"{folder}/{strange[0]} is no class: {folder.parent / 'train'} has no folder of that name")
    found = []
    for label, name in enumerate(classes):
        files = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in SUFFIXES)
        found += [(place, label, file) for place, file in enumerate(files)]
    if not found:
        raise DataError(f"{folder} has no pictures: expected {folder}/{classes[0]}/*.JPEG and so on")
    found.sort(key=lambda item: item[:2])
    return [file for _, _, file in found], np.array([label for _, label, _ in found])


