"""Folders of images, one per class, as PyTorch's ImageFolder has them: decoded once, kept in
memory.

    DIR/train/n01440764/anything.JPEG      each folder in train/ is a class of that name
    DIR/val/n01440764/anything.JPEG        what training watches; without DIR/test it is the test
                                           set, as ImageNet's official validation set is
    DIR/test/n01440764/anything.JPEG       the test set

    DIR/cat/anything.JPEG                  or classes alone: a fifth of each is the test set

What counts as a class and as an image, and what they are called, is as in `prepare`: layouts.py
and trees.py. An image becomes RGB, its short side is scaled, and the central square is taken
(paper, section 2).
"""
import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ..errors import DataError
from ..files import reason_of
from ..machine import available_cpus, memory_bytes
from .dataset import Dataset
from .decoding import central_square, decode_rgb, is_image_file, read_image_file
from .layouts import (
    TRAIN_FOLDERS,
    VAL_FOLDERS,
    Part,
    folder_names,
    part_folder,
    read_folders,
    read_part,
)
from .sources import check_no_class_is_empty
from .synsets import known_words, short_names
from .trees import BY_CONTENT, Member, PassedOver, subfolders

# Files so called are images, or damaged. What others are is decided by how they begin.
SUFFIXES = (".jpeg", ".jpg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


# How the pictures of DIR are divided, as a run notes it (data_parts in its config.json).
VAL_IS_TEST = "train val"      # DIR/val is the test set; what is watched is split off DIR/train
THREE = "train val test"       # each folder is what it says
CLASSES_ALONE = "CLASS"        # DIR/CLASS/*: the test set is split off, and then what is watched
TEST_SHARE = 0.2               # of each class of CLASSES_ALONE
# Folders of classes that are so called are parts, whose right names nobody has given them.
NO_CLASSES = {"train", "training", "trainset", "val", "valid", "validation", "dev", "test",
              "testing", "testset"}


class Parts(NamedTuple):
    """The three parts of a set: to train on, to watch (None where there is no folder for it), and
    to test."""

    train: Dataset
    val: Dataset | None
    test: Dataset


def load_folder(data_dir: str | Path, size: int,
                memory: int | None = None) -> tuple[Dataset, Dataset]:
    """(train, test) of DIR/train and DIR/val, or of DIR/CLASS/*, as images of size x size.

    `memory` and the errors are those of `load_parts`.
    """
    kind = CLASSES_ALONE if _has_classes_alone(Path(data_dir)) else VAL_IS_TEST
    train, _, test = load_parts(data_dir, size, kind, memory)
    return train, test


def divided_as(data_dir: str | Path) -> str:
    """How the pictures of a folder are divided: VAL_IS_TEST, THREE or CLASSES_ALONE."""
    data_dir = Path(data_dir)
    if _has_classes_alone(data_dir):
        return CLASSES_ALONE
    # A folder test/ of pictures without classes cannot be tested on: Kaggle's competitions.
    has_test = any(subfolders(data_dir / name) for name in subfolders(data_dir)
                   if name.lower() == "test")
    has_val = part_folder(data_dir, VAL_FOLDERS[:3]) is not None
    return THREE if has_val and has_test else VAL_IS_TEST


def load_parts(data_dir: str | Path, size: int, kind: str, memory: int | None = None) -> Parts:
    """The pictures of a folder that is divided as `kind` says, as images of size x size.

    The order is one image of each class in turn, so that a prefix has all classes. `memory` is the
    number of bytes that the pixels may take, by default half of the machine's memory: while a
    validation set is split off, they are there twice. Raises DataError for a folder that is
    missing or empty, for an image that cannot be read, and for more images than fit.
    """
    data_dir = Path(data_dir)
    names = folder_classes(data_dir)
    parts, notes, passed = _read_parts(data_dir, kind)
    classes = sorted(parts["train"].members)
    for name, part in parts.items():
        if name != "train":
            _check_part(part, parts["train"])
    listed = {name: list_images(part, classes, passed) for name, part in parts.items()}
    check_no_class_is_empty(parts["train"])
    for note in notes + passed.notes():
        print(f"note: {data_dir}: {note}", file=sys.stderr)
    _check_memory(data_dir, sum(len(files) for files, _ in listed.values()), size, memory)

    sets = {}
    for name, (files, labels) in listed.items():
        called = "val" if name == "test" and kind == VAL_IS_TEST else name
        images = read_pictures(files, size, f"{data_dir.name}/{called}")
        sets[name] = Dataset(images, labels, names, f"{data_dir.name} ({called})",
                             files=_names_below(data_dir, files))
    return Parts(sets["train"], sets.get("val"), sets["test"])


def _check_memory(data_dir: Path, count: int, size: int, memory: int | None) -> None:
    """Raise DataError when so many images do not fit into `memory` bytes."""
    needed = count * size * size * 3
    limit = memory or memory_bytes() // 2
    if needed > limit:
        raise DataError(f"{data_dir} has {count:,} images; at {size} x {size} they take "
                        f"{needed / 1e9:,.1f} GB, and a folder is kept in memory up to "
                        f"{limit / 1e9:,.1f} GB; make a prepared set of it with "
                        f"python -m minitorch_alex.prepare {data_dir} DST, and train on that")


def folder_classes(data_dir: str | Path) -> tuple[str, ...]:
    """The names of the classes, in the order of the folders in DIR/train, or in DIR where these
    are the classes: a label is a place in this tuple.

    A folder's name is the class's, but for WordNet's numbers that are ImageNet's, or have a list
    of their names. Raises DataError when there are no folders, or a single one.
    """
    data_dir = Path(data_dir)
    names = folder_names(data_dir)
    if _has_classes_alone(data_dir):
        wnids = subfolders(data_dir)
        _check_classes_alone(data_dir, wnids)
        names = known_words(wnids) | names
    else:
        train = data_dir / (part_folder(data_dir, TRAIN_FOLDERS) or "train")
        wnids = subfolders(train)
        if not wnids:
            raise DataError(f"{train} has no folders; expected {train}/CLASS/*.JPEG and "
                            f"{data_dir / 'val'}/CLASS/*.JPEG, or {data_dir}/CLASS/*.JPEG: one "
                            "folder per class")
    return short_names([(wnid, names.get(wnid, wnid)) for wnid in wnids])


# Classes alone, without a folder for each part.


def _has_classes_alone(data_dir: Path) -> bool:
    """Whether the folders in DIR are classes: there is neither train/ nor val/ or test/."""
    folders = subfolders(data_dir)
    parts = {*TRAIN_FOLDERS, *VAL_FOLDERS}
    return bool(folders) and not any(name.lower() in parts for name in folders)


def _check_classes_alone(data_dir: Path, folders: Sequence[str]) -> None:
    """Raise DataError for folders that are not classes, or a single one."""
    part = next((name for name in folders if name.lower() in NO_CLASSES), None)
    if part:
        raise DataError(f"{data_dir}/{part} looks like a part of the pictures and not like a "
                        "class; call the parts train, val and test, with one folder per class in "
                        "each")
    if len(folders) == 1:
        raise DataError(f"{data_dir} has the single folder {folders[0]!r}, and a network needs "
                        f"two classes to tell apart; give {data_dir / folders[0]} if the classes "
                        "are in there")


def _keep_for_test(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """(to train on, to test) of the pictures of one class.

    Which ones follows from their names, by a hash: the same in every session and on every machine,
    and a picture that is added later does not shuffle the others from one side to the other.
    """
    order = sorted(members, key=lambda member: hashlib.sha256(member.path.encode()).digest())
    count = round(TEST_SHARE * len(members))
    if len(members) > 1:
        count = max(count, 1)  # of few pictures too
    return order[count:], order[:count]


def _read_parts(data_dir: Path, kind: str) -> tuple[dict[str, Part], list[str], PassedOver]:
    """(the parts by name: train, perhaps val, test; notes; what was passed over)."""
    if kind == THREE:
        passed = PassedOver()
        names = {"train": TRAIN_FOLDERS, "val": VAL_FOLDERS[:3], "test": ("test",)}
        return ({part: read_part(data_dir, folders, passed) for part, folders in names.items()},
                [], passed)
    _, train, val, notes, passed = read_folders(data_dir)
    if kind == VAL_IS_TEST:
        return {"train": train, "test": val}, notes, passed
    # Files that are no images by their content would take places of either side.
    for wnid, members in train.members.items():
        train.members[wnid] = [m for m in members if _is_image(data_dir, m, passed)]
    test = Part(train.where, {}, train.expected)
    for wnid, members in train.members.items():
        train.members[wnid], test.members[wnid] = _keep_for_test(members)
    return {"train": train, "test": test}, notes, passed


# Reading.


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


def _check_part(part: Part, train: Part) -> None:
    """Raise DataError when there is no folder for a part, or a class in it that is not trained."""
    folder = part.where / part.folder
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: {part.expected}; images that are not divided into "
                        "train and val can be split by python -m minitorch_alex.prepare")
    unknown = sorted(set(part.members) - set(train.members))
    if unknown:
        raise DataError(f"{folder}/{unknown[0]} is not a class: {train.where / train.folder} has "
                        "no folder of that name")


def list_images(part: Part, classes: Sequence[str], passed: PassedOver
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
