"""Folders of images, one per class, as PyTorch's ImageFolder has them: decoded once, kept in
memory.

    DIR/train/n01440764/anything.JPEG      each folder in train/ is a class of that name
    DIR/val/n01440764/anything.JPEG        the official validation set is the test set here

What counts as a class and as an image, and what they are called, is as in `prepare`: layouts.py
and trees.py. An image becomes RGB, its short side is scaled, and the central square is taken
(paper, section 2).
"""
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import DataError
from ..files import reason_of
from ..machine import available_cpus, memory_bytes
from .dataset import Dataset
from .decoding import central_square, decode_rgb, is_image_file, read_image_file
from .layouts import (
    TRAIN_FOLDERS,
    Part,
    folder_names,
    part_folder,
    read_folders,
    short_names,
)
from .sources import check_no_class_is_empty
from .trees import BY_CONTENT, Member, PassedOver, subfolders

# Files so called are images, or damaged. What others are is decided by how they begin.
SUFFIXES = (".jpeg", ".jpg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def load_folder(data_dir: str | Path, size: int,
                memory: int | None = None) -> tuple[Dataset, Dataset]:
    """(train, test) of DIR/train and DIR/val, as images of size x size.

    The order is one image of each class in turn, so that a prefix has all classes. `memory` is the
    number of bytes that the pixels may take, by default half of the machine's memory: while a
    validation set is split off, they are there twice. Raises DataError for a folder that is
    missing or empty, for an image that cannot be read, and for more images than fit.
    """
    data_dir = Path(data_dir)
    names = folder_classes(data_dir)
    _, train_part, val_part, notes, passed = read_folders(data_dir)
    classes = sorted(train_part.members)
    _check_validation(val_part, train_part)
    train_files, train_labels = _list_images(train_part, classes, passed)
    test_files, test_labels = _list_images(val_part, classes, passed)
    check_no_class_is_empty(train_part)
    for note in notes + passed.notes():
        print(f"note: {data_dir}: {note}", file=sys.stderr)
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
    return (Dataset(train, train_labels, names, f"{data_dir.name} (train)",
                    files=_names_below(data_dir, train_files)),
            Dataset(test, test_labels, names, f"{data_dir.name} (val)",
                    files=_names_below(data_dir, test_files)))


def folder_classes(data_dir: str | Path) -> tuple[str, ...]:
    """The names of the classes, in the order of the folders in DIR/train: a label is a place in
    this tuple.

    A folder's name is the class's, but for WordNet's numbers with a list of their names. Raises
    DataError when there are no folders.
    """
    data_dir = Path(data_dir)
    train = data_dir / (part_folder(data_dir, TRAIN_FOLDERS) or "train")
    wnids = subfolders(train)
    if not wnids:
        raise DataError(f"{train} has no folders; expected {train}/CLASS/*.JPEG and "
                        f"{data_dir / 'val'}/CLASS/*.JPEG, one folder per class")
    names = folder_names(data_dir)
    return short_names([(wnid, names.get(wnid, wnid)) for wnid in wnids])


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
        raise _unreadable(path, error) from None


def _check_validation(val: Part, train: Part) -> None:
    """Raise DataError when there is no folder of validation images, or a class in it that is not
    trained."""
    folder = val.where / val.folder
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: {val.expected}; images that are not divided into "
                        "train and val can be split by python -m minitorch_alex.prepare")
    unknown = sorted(set(val.members) - set(train.members))
    if unknown:
        raise DataError(f"{folder}/{unknown[0]} is not a class: {train.where / train.folder} has "
                        "no folder of that name")


def _list_images(part: Part, classes: Sequence[str], passed: PassedOver
                 ) -> tuple[list[Path], np.ndarray]:
    """(files, labels) of the images of a part, one of each class in turn.

    Files that are not images by their content are taken out of the part.
    """
    entries = []
    for label, wnid in enumerate(classes):
        members = [m for m in part.members.get(wnid, []) if _is_image(part.where, m, passed)]
        if wnid in part.members:
            part.members[wnid] = members
        entries += [(place, label, part.where / member.path)
                    for place, member in enumerate(sorted(members))]
    if not entries:
        raise DataError(f"{part.where / part.folder} has no images: {part.expected}")
    entries.sort(key=lambda entry: entry[:2])  # by place and then by class: one of each in turn
    return [file for _, _, file in entries], np.array([label for _, label, _ in entries])


def _names_below(data_dir: Path, files: Sequence[Path]) -> np.ndarray:
    """(N,): the names of the files as seen from the folder, with slashes on every system."""
    return np.array([file.relative_to(data_dir).as_posix() for file in files], object)


def _is_image(where: Path, member: Member, passed: PassedOver) -> bool:
    """Whether a file is an image, perhaps a damaged one. Raises DataError when it cannot be
    read."""
    if member.name.lower().endswith(SUFFIXES):
        return True
    path = where / member.path
    try:
        if is_image_file(path):
            return True
    except OSError as error:
        raise _unreadable(path, error) from None
    passed.add(BY_CONTENT, member.path)
    return False


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as an image: {reason_of(error)}; "
                     "repair or remove it")
