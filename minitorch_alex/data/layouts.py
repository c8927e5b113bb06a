"""The forms in which people have ImageNet: folders and tars, listed without decoding.

    kaggle      ILSVRC/Data/CLS-LOC/{train/WNID/*.JPEG, val/*.JPEG}, LOC_val_solution.csv,
                LOC_synset_mapping.txt
    official    ILSVRC2012_img_train.tar (of a thousand tars), ILSVRC2012_img_val.tar,
                ILSVRC2012_devkit_t12.tar.gz
    folders     train/CLASS/*, val/CLASS/*; or CLASS/* alone, of which a share is held out
    tiny        train/WNID/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt,
                wnids.txt, words.txt
    imagenette  folders of ten known classes

How folders are walked is in trees.py, how tars are read in tars.py, and the lists next to the
images in lists.py.
"""
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from os import scandir
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from ..errors import DataError
from ..files import read_lines
from .devkit import read_devkit
from .lists import read_names, read_solution, split_fields
from .synsets import known_words
from .tars import class_tars, tar_members
from .trees import (
    Member,
    Members,
    PassedOver,
    identity,
    images_below,
    images_in,
    note_outside,
    subfolders,
)

# The ten classes of Imagenette, by their numbers in WordNet.
IMAGENETTE = {"n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916",
              "n03417042", "n03425413", "n03445777", "n03888257"}
TRAIN_FOLDERS = ("train",)
VAL_FOLDERS = ("val", "valid", "validation", "test")  # the first one that exists is read
TINY_ANSWERS = "val_annotations.txt"  # Tiny-ImageNet's labels
NAME_LISTS = {"words.txt", "wnids.txt", "LOC_synset_mapping.txt"}  # next to the class folders


@dataclass
class Part:
    """The images that a layout has for one split.

    where      the folder or the tar that they are in
    members    by WNID
    expected   what should be there, for messages
    folder     the folder below `where` with the class folders, where there is one
    """

    where: Path
    members: Members
    expected: str
    folder: str = ""


class Contents(NamedTuple):
    """What a source has: names of classes by WNID, its two parts, and what is left out: images in
    sentences, and other files counted."""

    names: dict[str, str]
    train: Part
    val: Part
    notes: list[str]
    passed: PassedOver


def recognise(root: Path, flat: bool = False) -> str:
    """The layout of the folder `root`; with `flat`, CLASS/* alone counts as one.

    Raises DataError when it has none of the layouts.
    """
    if not root.is_dir():
        raise DataError(f"{root} is a file; give the folder that contains it" if root.exists()
                        else f"there is no folder {root}")
    layout = _layout_of(root, flat)
    if layout:
        return layout
    inner = [name for name in subfolders(root) if _layout_of(root / name)]
    if inner:
        raise DataError(f"{root} has no images of its own, but {root / inner[0]} has; "
                        "give that folder")
    names = sorted(entry.name for entry in scandir(root))
    content = ", ".join(names[:3]) or "nothing"
    if len(names) > 3:
        content += f" and {len(names) - 3:,} more"
    raise DataError(f"{root} is not an ImageNet: it has {content}; expected "
                    "ILSVRC/Data/CLS-LOC (kaggle), ILSVRC2012_img_train.tar (official), wnids.txt "
                    "and train/ (tiny), or train/CLASS/* and val/CLASS/* (folders); CLASS/* alone "
                    "needs --val-split")


def _layout_of(root: Path, flat: bool = False) -> str | None:
    if _cls_loc(root):
        return "kaggle"
    if list(root.glob("*_img_train.tar")):
        return "official"
    if (root / "wnids.txt").is_file() and (root / "train").is_dir():
        return "tiny"
    classes = subfolders(root / (part_folder(root, TRAIN_FOLDERS) or "train"))
    if flat and not classes:
        classes = subfolders(root)
    if not classes:
        return None
    return "imagenette" if set(classes) <= IMAGENETTE else "folders"


# One function per layout. Each raises DataError for a tree that lacks what its layout must have.


def _read_kaggle(root: Path) -> Contents:
    base = _cls_loc(root)
    if not base:
        raise DataError(f"{root} has no ILSVRC/Data/CLS-LOC/train, which the kaggle layout has")
    # The text files are at the top of the tree, and `root` may be a folder inside it.
    tops = [root, *list(root.resolve().parents)[:3]]
    top = next((p for p in tops if (p / "LOC_synset_mapping.txt").is_file()), root)
    names = read_names(top / "LOC_synset_mapping.txt")
    passed = PassedOver()
    train = Part(base, _class_folders(base, "train", passed),
                 f"expected {base}/train/WNID/*.JPEG")
    if subfolders(base / "val"):  # sorted into folders, as for torchvision
        val = Part(base, _class_folders(base, "val", passed), f"expected {base}/val/WNID/*.JPEG")
        return Contents(names, train, val, [], passed)
    answers = top / "LOC_val_solution.csv"
    val = Part(base, {}, f"expected {base}/val/*.JPEG with {answers}")
    images = images_in(base / "val", "val/", passed)
    if not images:
        return Contents(names, train, val, [], passed)
    labels = read_solution(answers)
    notes = _add_labelled(val, images, lambda name: labels.get(name.rsplit(".", 1)[0]), answers)
    return Contents(names, train, val, notes, passed)


def _read_official(root: Path) -> Contents:
    trains = sorted(root.glob("*_img_train.tar"))
    vals = sorted(root.glob("*_img_val.tar"))
    kits = sorted(p for p in root.glob("*devkit*")
                  if p.is_dir() or p.name.endswith((".tar.gz", ".tgz", ".tar")))
    if not trains:
        raise DataError(f"{root} has no ILSVRC2012_img_train.tar, which the official layout has")
    names, truth = read_devkit(kits[0]) if kits else ({}, [])
    passed = PassedOver()
    train = Part(trains[0], class_tars(trains[0], passed),
                 f"expected tars such as n01440764.tar in {trains[0]}")
    expected = f"expected ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz in {root}"
    if not vals:
        return Contents(names, train, Part(trains[0], {}, expected), [], passed)
    if not kits:
        raise DataError(f"{root} has {vals[0].name}, but not its labels: {expected}")

    def label(name: str) -> str | None:
        number = re.search(r"_val_(\d{8})\.", name)
        if number and 0 < int(number[1]) <= len(truth):
            return truth[int(number[1]) - 1]
        return None

    val = Part(vals[0], {}, expected)
    notes = _add_labelled(val, tar_members(vals[0], passed), label, kits[0])
    return Contents(names, train, val, notes, passed)


def _read_tiny(root: Path) -> Contents:
    names = read_names(root / "words.txt")
    passed = PassedOver()
    train = Part(root, _class_folders(root, "train", passed),
                 f"expected {root}/train/WNID/images/*.JPEG")
    val, notes = _tiny_validation(root, "val", passed)
    return Contents(names, train, val, notes, passed)


def _tiny_validation(root: Path, folder: str, passed: PassedOver) -> tuple[Part, list[str]]:
    """(the images of Tiny-ImageNet's folder for validation, a note on those left out).

    As published, they are in val/images, and a list says their classes. Many people have sorted
    them by class, into val/images/WNID/ or into val/WNID/, all or some of them.
    """
    place = f"{folder}/images"
    answers = root / folder / TINY_ANSWERS
    val = Part(root, {}, f"expected {root / place}/*.JPEG with {answers}", folder)
    images = images_in(root / place, f"{place}/", passed)
    inside = _class_folders(root, place, PassedOver())
    outside = _class_folders(root, folder, passed, {"images", TINY_ANSWERS})
    for wnid in sorted({*inside, *outside}):
        val.members[wnid] = inside.get(wnid, []) + outside.get(wnid, [])
    if not images:
        return val, []
    rows = [split_fields(line) for line in read_lines(answers, "the labels of the images")]
    labels = {row[0]: row[1] for row in rows if len(row) > 1}
    return val, _add_labelled(val, images, labels.get, answers)


def read_folders(root: Path) -> Contents:
    """CLASS/* in train and val, or CLASS/* alone, which is training images then."""
    names = folder_names(root)
    passed = PassedOver()
    train_folder = part_folder(root, TRAIN_FOLDERS)
    if train_folder is None:
        train = Part(root, _class_folders(root, "", passed), f"expected {root}/CLASS/*.JPEG")
        expected = f"expected {root}/train/CLASS/*.JPEG and {root}/val/CLASS/*.JPEG"
        return Contents(names, train, Part(root, {}, expected), [], passed)
    train = Part(root, _class_folders(root, train_folder, passed),
                 f"expected {root}/{train_folder}/CLASS/*.JPEG", train_folder)
    folder = part_folder(root, VAL_FOLDERS) or "val"
    unread = [name for name in VAL_FOLDERS if name != folder and subfolders(root / name)]
    notes = [f"the folder {root / name} is not read: validation images are those of {folder}"
             for name in unread]
    if "images" in subfolders(root / folder) and "images" not in train.members:
        val, more_notes = _tiny_validation(root, folder, passed)
        return Contents(names, train, val, notes + more_notes, passed)
    expected = f"expected {root}/{folder}/CLASS/*.JPEG"
    if not subfolders(root / folder) and images_in(root / folder, "", PassedOver()):
        expected += ", but the images lie in it without folders"
    val = Part(root, _class_folders(root, folder, passed), expected, folder)
    return Contents(names, train, val, notes, passed)


def read_part(root: Path, names: Sequence[str], passed: PassedOver) -> Part:
    """CLASS/* in the folder for one part of a set, by the first of `names` that is there."""
    folder = part_folder(root, names) or names[0]
    return Part(root, _class_folders(root, folder, passed),
                f"expected {root}/{folder}/CLASS/*.JPEG", folder)


def part_folder(root: Path, names: Sequence[str]) -> str | None:
    """The folder for one part of a set, or None: of the folders that are called one of `names`, in
    small or capital letters, the first one that has folders in it; else the first one."""
    folders = subfolders(root)
    there = [folder for name in names
             for folder in sorted(folders, key=lambda folder: folder != name)  # exactly so first
             if folder.lower() == name]
    return next((folder for folder in there if subfolders(root / folder)),
                there[0] if there else None)


def folder_names(root: Path) -> dict[str, str]:
    """{WNID: name} for folders of classes: ImageNet's own names, and over them those of the lists
    that are there."""
    names = read_names(root / "words.txt") | read_names(root / "LOC_synset_mapping.txt")
    classes = subfolders(root / (part_folder(root, TRAIN_FOLDERS) or "train"))
    return known_words(classes) | names


LAYOUTS: dict[str, Callable[[Path], Contents]] = {
    "kaggle": _read_kaggle,
    "official": _read_official,
    "folders": read_folders,
    "tiny": _read_tiny,
    "imagenette": read_folders,
}


# What they share.


def _cls_loc(root: Path) -> Path | None:
    """ILSVRC/Data/CLS-LOC of a Kaggle tree, whichever of these folders `root` is; None where there
    is none."""
    for tail in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC"):
        if (root / tail / "train").is_dir():
            return root / tail
    if root.name == "CLS-LOC" and (root / "train").is_dir():
        return root
    return None


def _add_labelled(part: Part, members: Iterable[Member], label_of: Callable[[str], str | None],
                  answers: Path) -> list[str]:
    """Add images that are not sorted by class to `part`, by the WNID that label_of(file name)
    gives. Returns a note on those without a label, which are left out."""
    unknown = []
    for member in members:
        wnid = label_of(member.name)
        if wnid is None:
            unknown.append(member.name)
        else:
            part.members.setdefault(wnid, []).append(member)
    if not unknown:
        return []
    return [f"validation images without a label in {answers.name} are left out: "
            f"{len(unknown):,}, for example {unknown[0]!r}"]


def _class_folders(base: Path, split: str, passed: PassedOver,
                   purposes: Collection[str] = NAME_LISTS) -> Members:
    """The images of base/split/CLASS/, at any depth. `purposes` are names there that are neither
    classes nor passed over."""
    place = f"{split}/" if split else ""
    folder = base / split
    note_outside(folder, place, passed, purposes)
    above = {identity(path) for path in (base, folder) if path.is_dir()}
    bar = tqdm(subfolders(folder), desc=f"listing {split or base.name}", unit="class",
               leave=False, disable=None)
    return {wnid: images_below(folder / wnid, f"{place}{wnid}/", passed, above)
            for wnid in bar if wnid not in purposes}
