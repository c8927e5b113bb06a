"""The forms in which people have ImageNet: folders and tars, listed without decoding.

    kaggle      ILSVRC/Data/CLS-LOC/{train/WNID/*.JPEG, val/*.JPEG}, LOC_val_solution.csv,
                LOC_synset_mapping.txt
    official    ILSVRC2012_img_train.tar (of a thousand tars), ILSVRC2012_img_val.tar,
                ILSVRC2012_devkit_t12.tar.gz
    folders     train/CLASS/*, val/CLASS/*; or CLASS/* alone, of which a share is held out
    tiny        train/WNID/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt,
                wnids.txt, words.txt
    imagenette  folders of ten known classes

Tars are read without unpacking: an image is a span of bytes in them, and no name in them ever
becomes a path.
"""
import csv
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import scandir
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from ..errors import DataError, UserError
from ..files import read_lines, reason_of
from .devkit import read_devkit
from .synsets import known_words
from .trees import (
    SPECIAL,
    Member,
    Members,
    PassedOver,
    identity,
    images_below,
    images_in,
    note_outside,
    subfolders,
    tell_name,
)

# The ten classes of Imagenette, by their numbers in WordNet.
IMAGENETTE = {"n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916",
              "n03417042", "n03425413", "n03445777", "n03888257"}
TRAIN_FOLDERS = ("train",)
VAL_FOLDERS = ("val", "valid", "validation", "test")  # the first that there is counts
# Lists of names next to the class folders.
TINY_ANSWERS = "val_annotations.txt"
NO_CLASS_TAR = "not tars of a class, such as n01440764.tar"
NAME_LISTS = {"words.txt", "wnids.txt", "LOC_synset_mapping.txt"}
WNID = re.compile(r"n\d{8}")


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


# One function per layout.


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
    labels = _read_solution(answers)
    notes = _add_labelled(val, images, lambda name: labels.get(name.rsplit(".", 1)[0]), answers)
    return Contents(names, train, val, notes, passed)


def _read_solution(path: Path) -> dict[str, str]:
    """{image: WNID} of Kaggle's LOC_val_solution.csv, whose lines are ImageId,PredictionString."""
    lines = read_lines(path, "the labels of the validation images",
                       "Kaggle has it next to the archive")
    try:
        rows = csv.DictReader(lines, delimiter=_separator(lines[0]), skipinitialspace=True)
        return {row["ImageId"].strip(): row["PredictionString"].split()[0]
                for row in rows if any(row.values())}
    except (LookupError, AttributeError, ValueError, csv.Error):
        raise DataError(f"{path} is damaged: expected lines of ImageId,PredictionString") from None


def _read_official(root: Path) -> Contents:
    trains = sorted(root.glob("*_img_train.tar"))
    vals = sorted(root.glob("*_img_val.tar"))
    kits = sorted(p for p in root.glob("*devkit*")
                  if p.is_dir() or p.name.endswith((".tar.gz", ".tgz", ".tar")))
    if not trains:
        raise DataError(f"{root} has no ILSVRC2012_img_train.tar, which the official layout has")
    names, truth = read_devkit(kits[0]) if kits else ({}, [])
    passed = PassedOver()
    train = Part(trains[0], _tar_of_tars(trains[0], passed),
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
    notes = _add_labelled(val, _tar_members(vals[0], passed), label, kits[0])
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

    As published, they lie in val/images, and a list says their classes. Many people have sorted
    them by class, into val/images/WNID/ or into val/WNID/, whole or in part.
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
    """The folder for one part of a set, by the first of `names` that has folders in it, or else
    that is there at all; in capital letters too. None where there is none."""
    folders = subfolders(root)
    there = [folder for name in names
             for folder in sorted(folders, key=lambda folder: folder != name)  # exactly so first
             if folder.lower() == name]
    return next((folder for folder in there if subfolders(root / folder)),
                there[0] if there else None)


def folder_names(root: Path) -> dict[str, str]:
    """{WNID: name} of what lists there are for folders of classes; ImageNet's need none."""
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


# What they share: folders, tars, text files.


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


def _tar_of_tars(path: Path, passed: PassedOver) -> Members:
    """The images of each tar WNID.tar in a tar, as spans of the outer one: nothing is unpacked."""
    members: Members = {}
    with _open_tar(path) as outer:
        for tar in tqdm(outer, total=1000, desc=f"listing {path.name}", unit="class", leave=False,
                        disable=None):
            wnid = Path(tar.name).stem
            if not (tar.isreg() and tar.name.endswith(".tar") and WNID.fullmatch(wnid)):
                if not tar.isdir():
                    passed.add(NO_CLASS_TAR, f"{path.name}:{tar.name}")
                continue
            with _open_tar(path, outer.extractfile(tar), tar.name) as inner:
                images = _tar_images(inner, f"{path.name}:{wnid}.tar:", tar.offset_data, passed)
                members.setdefault(wnid, []).extend(images)
    return members


def _tar_members(path: Path, passed: PassedOver) -> list[Member]:
    """The images of a tar."""
    with _open_tar(path) as tar:
        bar = tqdm(tar, desc=f"listing {path.name}", unit="image", leave=False, disable=None)
        return list(_tar_images(bar, f"{path.name}:", 0, passed))


def _tar_images(members: Iterable[tarfile.TarInfo], prefix: str, start: int,
                passed: PassedOver) -> Iterator[Member]:
    """The images among the members of a tar whose first byte is at `start`. A member's name serves
    for sorting and for messages only."""
    for member in members:
        name = member.name.rsplit("/", 1)[-1]
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            passed.add(SPECIAL, prefix + member.name)
        elif tell_name(name, prefix + member.name, passed):
            yield Member(name, prefix + member.name, start + member.offset_data, member.size)


@contextmanager
def _open_tar(path: Path, file: IO[bytes] | None = None,
              inner: str = "") -> Iterator[tarfile.TarFile]:
    """A tar, open for reading all of its members: `path`, or `file`, which is its member `inner`.
    What goes wrong on the way is a DataError that names it."""
    try:
        with tarfile.open(path, "r:", file) as tar:
            yield tar
            _check_end(tar)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a damaged tar can fail in any way at all
        name = f"{path}: {inner} in it" if inner else str(path)
        raise DataError(f"{name} is cut short, damaged or not a tar ({reason_of(error)}); compare "
                        "its size and md5 with those of the download page") from None


def _check_end(tar: tarfile.TarFile) -> None:
    """Look for the empty block after the last member: tarfile takes a file that was cut off there
    for a whole one."""
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)  # where reading ended
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it has no end")


def read_names(path: Path) -> dict[str, str]:
    """{WNID: name} of a file with one class per line; {} where there is no such file.

    A tab, a space (Kaggle's), a semicolon or a comma ends the WNID.
    """
    if not path.is_file():
        return {}
    names = {}
    for line in read_lines(path):
        wnid, _, name = line.partition("\t")
        if not name:
            parts = re.split(r"[\s;,]+", line, maxsplit=1)
            wnid, name = parts if len(parts) == 2 else (line, "")
        if name.strip():
            names[wnid.strip().strip('"')] = name.strip().strip('"')
    return names


def split_fields(line: str) -> list[str]:
    """The fields of a line of a table, whichever of tab, semicolon, comma and blank separates
    them."""
    return [cell.strip().strip('"') for cell in line.split(_separator(line))]


def _separator(line: str) -> str:
    return next((mark for mark in "\t;," if mark in line), " ")
