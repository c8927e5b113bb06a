"""The images that `prepare` takes, listed in the order in which they are to be stored.

A source is a folder in one of the layouts of layouts.py, or is drawn (synthetic.py). Classes are
sorted by WNID, and a label is a place in that order, as in Caffe and torchvision. Training images
are sorted by class and file name and then shuffled, validation images are sorted by file name. So
the same images give the same lists in every layout.
"""
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DataError, UsageError
from ..files import reason_of
from ..streams import rng
from .decoding import read_image_file
from .layouts import LAYOUTS, Part, recognise
from .synthetic import class_name, draw_picture
from .trees import Member, Members

FOLDERS = ("folders", "imagenette")  # the layouts that load_folder reads too


@dataclass(frozen=True, eq=False)
class Split:
    """N images, in the order in which they are to be stored.

    where    the folder that the names start from, or the tar with the spans; None: drawn images
    names    of each image, for messages; a path below `where` if that is a folder
    labels   int32 (N,)
    spans    int64 (N, 2): offset and length in bytes; (N, 0) where there is no tar
    """

    where: Path | None
    names: list[str] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    spans: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def part(self, start: int, stop: int) -> "Split":
        """The images start..stop-1."""
        return Split(self.where, self.names[start:stop], self.labels[start:stop],
                     self.spans[start:stop])

    def read(self, i: int) -> bytes:
        """The file of image i.

        Raises DataError when it cannot be read: then something is wrong with the disk, not with
        the image. Raises ValueError when it is too large for an image.
        """
        if self.where is None:
            return draw_picture(self.names[i], int(self.labels[i]))
        path = self.where if self.spans.size else self.where / self.names[i]
        try:
            if not self.spans.size:
                return read_image_file(path)
            return read_image_file(path, *self.spans[i].tolist())
        except OSError as error:
            raise DataError(f"cannot read {path}: {reason_of(error)}") from None


@dataclass(frozen=True, eq=False)
class Listing:
    """What a source has.

    layout    one of LAYOUTS, or "synthetic"
    classes   (WNID, name) sorted by WNID
    splits    "train" and "val"
    notes     sentences about what was left out
    folders   where it is
    """

    layout: str
    classes: list[tuple[str, str]]
    splits: dict[str, Split]
    notes: list[str]
    folders: list[Path]


def list_source(root: str | Path, layout: str | None = None, *, limit: int = 0,
                val_split: float = 0.0) -> Listing:
    """All images of the folder `root`, in the order in which they are to be stored.

    layout      one of LAYOUTS; None recognises it
    limit       at most this many images of each class and split, the first by name; 0 takes all
    val_split   the share of each class to hold out, for a source without validation images

    Raises DataError for a folder that has none of the layouts, lacks a part of its own or, in
    plain folders, has a class without training images, and UsageError for a val_split where there
    are validation images.
    """
    root = Path(os.path.expanduser(root))
    if layout is None or not root.is_dir():
        recognised = recognise(root, val_split > 0)  # raises when there is no folder
        layout = layout or recognised
    names, train, val, notes, passed = LAYOUTS[layout](root)
    if any(val.members.values()):
        if val_split:
            raise UsageError(f"--val-split {val_split:g}: {root} has validation images; "
                             "leave the flag out")
    elif any(train.members.values()):
        if not val_split:
            raise DataError(f"{root} has no validation images: {val.expected}; or hold out some "
                            "of the training images, a twentieth say, with --val-split 0.05")
        train, val = _hold_out(train, val_split)
    classes = sorted(train.members)
    if layout in FOLDERS:  # others are whole, or say themselves which classes there are
        check_no_class_is_empty(train)
    notes = notes + _notes_on_classes(train.members, val.members) + passed.notes()

    pairs = _labelled_members(classes, train.members, limit)
    order = rng(0, "prepare").permutation(len(pairs))
    val_pairs = _labelled_members(classes, val.members, limit)
    splits = {
        "train": _split(train, [pairs[i] for i in order]),
        "val": _split(val, sorted(val_pairs, key=lambda pair: (pair[1].name, pair[0]))),
    }
    for split, part, name in (("train", train, "training"), ("val", val, "validation")):
        if not len(splits[split]):
            raise DataError(f"{root} has no {name} images: {part.expected}")
    return Listing(layout, [(wnid, names.get(wnid, wnid)) for wnid in classes], splits, notes,
                   [train.where, val.where])


def check_no_class_is_empty(train: Part) -> None:
    """Raise DataError when there are training images, but not of all classes: the labels would
    have a place that nothing is learnt of."""
    empty = sorted(wnid for wnid, members in train.members.items() if not members)
    if empty and len(empty) < len(train.members):
        more = f" ({len(empty):,} such classes)" if len(empty) > 1 else ""
        raise DataError(f"the class {empty[0]} has no training images in {train.where}{more}; "
                        "add some, or remove its folder")


def _notes_on_classes(train: Members, val: Members) -> list[str]:
    """Sentences about classes that only one of the splits has."""
    notes = []
    missing = sorted(wnid for wnid in val if wnid not in train and val[wnid])
    if missing:
        count = sum(len(val[wnid]) for wnid in missing)
        examples = ", ".join(missing[:3]) + (" and others" if len(missing) > 3 else "")
        notes.append("validation images of classes without training images are left out: "
                     f"{count:,} of {examples}")
    return notes + [f"the class {wnid} has no training images"
                    for wnid in sorted(train) if not train[wnid]]


def _labelled_members(classes: list[str], members: Members,
                      limit: int) -> list[tuple[int, Member]]:
    """(label, member), sorted by class and file name; with a limit, the first of each class."""
    return [(label, member) for label, wnid in enumerate(classes)
            for member in sorted(members.get(wnid, []))[:limit or None]]


def _split(part: Part, pairs: list[tuple[int, Member]]) -> Split:
    names = [member.path for _, member in pairs]
    labels = np.array([label for label, _ in pairs], np.int32)
    spans = np.zeros((len(pairs), 0), np.int64)
    if part.where.is_file():
        spans = np.array([(member.offset, member.length) for _, member in pairs], np.int64)
        spans = spans.reshape(-1, 2)  # (0,) -> (0, 2) when there are none
    return Split(part.where, names, labels, spans)


def _hold_out(train: Part, share: float) -> tuple[Part, Part]:
    """(rest, held out): of each class's N images round(share N), drawn at random, are held out."""
    draw = rng(0, "prepare val")
    rest: Members = {}
    held_out: Members = {}
    for wnid in sorted(train.members):
        members = sorted(train.members[wnid])
        order = draw.permutation(len(members))
        count = round(share * len(members))
        held_out[wnid] = [members[i] for i in order[:count]]
        rest[wnid] = [members[i] for i in order[count:]]
    return (Part(train.where, rest, train.expected),
            Part(train.where, held_out, f"--val-split {share:g} of so few images gives none"))


def list_synthetic(count: int, classes: int = 10) -> Listing:
    """`count` drawn images to train on and a tenth as many to validate on, at least one per class.

    Raises UsageError for numbers that make no sense.
    """
    if not 1 <= classes <= 1000 or count < classes:
        raise UsageError(f"--synthetic {count} --classes {classes}: expected 1 to 1000 classes "
                         "and at least one image per class")
    named = [(f"n9{label:07}", class_name(label, classes)) for label in range(classes)]
    splits = {}
    for split, n in (("train", count), ("val", max(classes, count // 10))):
        order = rng(0, f"prepare {split}").permutation(n)
        splits[split] = Split(None, [f"{split}/{i:08}.JPEG" for i in order],
                              (order % classes).astype(np.int32), np.zeros((n, 0), np.int64))
    return Listing("synthetic", named, splits, [], [])
