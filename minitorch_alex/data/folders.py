"""Folders of images, one per class, as PyTorch's ImageFolder has them: decoded once, kept in
memory.

    DIR/train/n01440764/anything.JPEG      each folder in train/ is a class of that name
    DIR/val/n01440764/anything.JPEG        the official validation set is the test set here

An image becomes RGB, its short side is scaled, and the central square is taken (paper, section 2).
"""
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import DataError
from ..machine import available_cpus, memory_bytes
from .dataset import Dataset
from .decoding import central_square, decode_rgb, read_image_file

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")


def load_folder(data_dir: str | Path, size: int,
                memory: int | None = None) -> tuple[Dataset, Dataset]:
    """(train, test) of DIR/train and DIR/val, as images of size x size.

    The order is one image of each class in turn, so that a prefix has all classes. `memory` is the
    number of bytes that the pixels may take, by default half of the machine's memory: while a
    validation set is split off, they are there twice. Raises DataError for a folder that is
    missing or empty, for an image that cannot be read, and for more images than fit.
    """
    data_dir = Path(data_dir)
    classes = folder_classes(data_dir)
    train_files, train_labels = _list_images(data_dir / "train", classes)
    test_files, test_labels = _list_images(data_dir / "val", classes)
    count = len(train_files) + len(test_files)
    needed = count * size * size * 3
    limit = memory or memory_bytes() // 2
    if needed > limit:
        raise DataError(f"{data_dir} has {count:,} images; at {size} x {size} they take "
                        f"{needed / 1e9:,.1f} GB, and a folder is kept in memory up to "
                        f"{limit / 1e9:,.1f} GB; make a prepared set of it with "
                        f"python -m minitorch_alex.prepare {data_dir} DST, and train on that")
    train = read_pictures(train_files, size, f"{data_dir.name}/train")
    test = read_pictures(test_files, size, f"{data_dir.name}/val")
    return (Dataset(train, train_labels, classes, f"{data_dir.name} (train)"),
            Dataset(test, test_labels, classes, f"{data_dir.name} (val)"))


def folder_classes(data_dir: str | Path) -> tuple[str, ...]:
    """The names of the folders in DIR/train, sorted: a label is a place in this tuple.

    Raises DataError when there are none.
    """
    train = Path(data_dir) / "train"
    classes = tuple(_class_folders(train))
    if not classes:
        raise DataError(f"{train} has no folders; expected {train}/CLASS/*.JPEG and "
                        f"{Path(data_dir) / 'val'}/CLASS/*.JPEG, one folder per class")
    return classes


def read_pictures(files: Sequence[Path], size: int, name: str) -> np.ndarray:
    """uint8 (N, size, size, 3) of image files, decoded by as many threads as there are CPUs.

    Raises DataError when one cannot be read.
    """
    images = np.empty((len(files), size, size, 3), np.uint8)

    def read(i: int) -> None:
        images[i] = read_square(files[i], size)

    pool = ThreadPoolExecutor(available_cpus())
    try:
        for _ in tqdm(pool.map(read, range(len(files))), total=len(files), desc=f"reading {name}",
                      unit="image", leave=False, disable=None):
            pass
    finally:  # after an image that cannot be read, the others are of no use
        pool.shutdown(cancel_futures=True)
    return images


def read_square(path: Path, size: int) -> np.ndarray:
    """uint8 (size, size, 3): the central square of an image whose short side is made `size`, as
    `prepare` stores it. Raises DataError when it cannot be read."""
    try:
        return np.asarray(central_square(decode_rgb(read_image_file(path)), size))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as an image: {reason}; "
                        "repair or remove it") from None


def _class_folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("*/") if not p.name.startswith("."))


def _list_images(folder: Path, classes: Sequence[str]) -> tuple[list[Path], np.ndarray]:
    """(files, labels) of the images in FOLDER/CLASS/, one of each class in turn."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: expected {folder}/CLASS/*.JPEG; images that are "
                        "not divided into train and val can be split by "
                        "python -m minitorch_alex.prepare")
    unknown = sorted(set(_class_folders(folder)) - set(classes))
    if unknown:
        raise DataError(f"{folder}/{unknown[0]} is not a class: {folder.parent / 'train'} has no "
                        "folder of that name")
    entries = []
    for label, name in enumerate(classes):
        files = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in SUFFIXES)
        entries += [(place, label, file) for place, file in enumerate(files)]
    if not entries:
        raise DataError(f"{folder} has no images: expected {folder}/{classes[0]}/*.JPEG and so on")
    entries.sort(key=lambda entry: entry[:2])  # by place and then by class: one of each in turn
    return [file for _, _, file in entries], np.array([label for _, label, _ in entries])
