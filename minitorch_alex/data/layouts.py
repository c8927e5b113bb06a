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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import scandir
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from ..errors import DataError
from .devkit import read_devkit

IMAGENETTE = {
    "n01440764": "tench, Tinca tinca",
    "n02102040": "English springer, English springer spaniel",
    "n02979186": "cassette player",
    "n03000684": "chain saw, chainsaw",
    "n03028079": "church, church building",
    "n03394916": "French horn, horn",
    "n03417042": "garbage truck, dustcart",
    "n03425413": "gas pump, gasoline pump, petrol pump, island dispenser",
    "n03445777": "golf ball",
    "n03888257": "parachute, chute",
}
VAL_FOLDERS = ("val", "valid", "validation")
# Any other file is taken for an image: a file's type is decided by its content, not by its name.
NOT_IMAGES = {".txt", ".csv", ".xml", ".json", ".md", ".html", ".mat", ".db", ".ini", ".npy",
              ".zip", ".tar", ".gz"}
WNID = re.compile(r"n\d{8}")


class Member(NamedTuple):
    """An image of a source. Members sort by file name."""

    name: str    # the file name alone
    path: str    # below the folder of its part, or "TAR:NAME" for messages
    offset: int  # its span of bytes in a tar; 0, 0 in a folder
    length: int


Members = dict[str, list[Member]]  # by WNID


@dataclass
class Part:
    """The images that a layout has for one split.

    where      the folder or the tar that they are in
    members    by WNID
    expected   what should be there, for messages
    """

    where: Path
    members: Members
    expected: str


class Contents(NamedTuple):
    """What a source has: names of classes by WNID, its two parts, and notes on what is left
    out."""

    names: dict[str, str]
    train: Part
    val: Part
    notes: list[str]


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
    inner = [name for name in _subfolders(root) if _layout_of(root / name)]
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
    classes = _subfolders(root / "train")
    if flat and not classes:
        classes = _subfolders(root)
    if not classes:
        return None
    return "imagenette" if set(classes) <= set(IMAGENETTE) else "folders"


# One function per layout.


def _read_kaggle(root: Path) -> Contents:
    base = _cls_loc(root)
    if not base:
        raise DataError(f"{root} has no ILSVRC/Data/CLS-LOC/train, which the kaggle layout has")
    # The text files are at the top of the tree, and `root` may be a folder inside it.
    tops = [root, *list(root.resolve().parents)[:3]]
    top = next((p for p in tops if (p / "LOC_synset_mapping.txt").is_file()), root)
    names = _read_names(top / "LOC_synset_mapping.txt", " ")
    train = Part(base, _class_folders(base, "train"), f"expected {base}/train/WNID/*.JPEG")
    if _subfolders(base / "val"):  # sorted into folders, as for torchvision
        val = Part(base, _class_folders(base, "val"), f"expected {base}/val/WNID/*.JPEG")
        return Contents(names, train, val, [])
    answers = top / "LOC_val_solution.csv"
    val = Part(base, {}, f"expected {base}/val/*.JPEG with {answers}")
    images = _images(base / "val", "val/")
    if not images:
        return Contents(names, train, val, [])
    labels = _read_solution(answers)
    notes = _add_labelled(val, images, lambda name: labels.get(name.rsplit(".", 1)[0]), answers)
    return Contents(names, train, val, notes)


def _read_solution(path: Path) -> dict[str, str]:
    """{image: WNID} of Kaggle's LOC_val_solution.csv, whose lines are ImageId,PredictionString."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {row["ImageId"]: row["PredictionString"].split()[0]
                    for row in csv.DictReader(file)}
    except OSError as error:
        raise DataError(f"cannot read {path}, the labels of the validation images: "
                        f"{error.strerror}; Kaggle has it next to the archive") from None
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
    train = Part(trains[0], _tar_of_tars(trains[0]),
                 f"expected tars such as n01440764.tar in {trains[0]}")
    expected = f"expected ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz in {root}"
    if not vals:
        return Contents(names, train, Part(trains[0], {}, expected), [])
    if not kits:
        raise DataError(f"{root} has {vals[0].name}, but not its labels: {expected}")

    def label(name: str) -> str | None:
        number = re.search(r"_val_(\d{8})\.", name)
        if number and 0 < int(number[1]) <= len(truth):
            return truth[int(number[1]) - 1]
        return None

    val = Part(vals[0], {}, expected)
    notes = _add_labelled(val, _tar_members(vals[0]), label, kits[0])
    return Contents(names, train, val, notes)


def _read_tiny(root: Path) -> Contents:
    names = _read_names(root / "words.txt", "\t")
    train = Part(root, _class_folders(root, "train"), f"expected {root}/train/WNID/images/*.JPEG")
    if not (root / "val" / "images").is_dir() and _subfolders(root / "val"):  # sorted by somebody
        val = Part(root, _class_folders(root, "val"), f"expected {root}/val/WNID/*.JPEG")
        return Contents(names, train, val, [])
    answers = root / "val" / "val_annotations.txt"
    val = Part(root, {}, f"expected {root}/val/images/*.JPEG with {answers}")
    images = _images(root / "val" / "images", "val/images/")
    if not images:
        return Contents(names, train, val, [])
    rows = [line.split("\t") for line in _read_lines(answers) if "\t" in line]
    labels = {row[0]: row[1] for row in rows}
    return Contents(names, train, val, _add_labelled(val, images, labels.get, answers))


def _read_folders(root: Path) -> Contents:
    names = (_read_names(root / "words.txt", "\t")
             | _read_names(root / "LOC_synset_mapping.txt", " "))
    if not (root / "train").is_dir():
        train = Part(root, _class_folders(root, ""), f"expected {root}/CLASS/*.JPEG")
        expected = f"expected {root}/train/CLASS/*.JPEG and {root}/val/CLASS/*.JPEG"
        return Contents(names, train, Part(root, {}, expected), [])
    train = Part(root, _class_folders(root, "train"), f"expected {root}/train/CLASS/*.JPEG")
    if set(train.members) <= set(IMAGENETTE):
        names = IMAGENETTE | names
    folder = next((name for name in VAL_FOLDERS if (root / name).is_dir()), "val")
    expected = f"expected {root}/{folder}/CLASS/*.JPEG"
    if not _subfolders(root / folder) and _images(root / folder, ""):
        expected += ", but the images lie in it without folders"
    val = Part(root, _class_folders(root, folder), expected)
    return Contents(names, train, val, [])


LAYOUTS: dict[str, Callable[[Path], Contents]] = {
    "kaggle": _read_kaggle,
    "official": _read_official,
    "folders": _read_folders,
    "tiny": _read_tiny,
    "imagenette": _read_folders,
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


def _subfolders(path: Path) -> list[str]:
    """The names of the folders in a folder, sorted, except hidden ones; none where there is no
    such folder."""
    if not path.is_dir():
        return []
    try:
        return sorted(entry.name for entry in scandir(path)
                      if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {path}: {error.strerror or error}") from None


def _may_be_image(name: str) -> bool:
    hidden = name.startswith(".") or name == "Thumbs.db"
    return not hidden and Path(name).suffix.lower() not in NOT_IMAGES


def _images(path: Path, prefix: str) -> list[Member]:
    """The images in a folder, whose path is `prefix` below the folder of their part."""
    if not path.is_dir():
        return []
    try:
        return [Member(entry.name, prefix + entry.name, 0, 0) for entry in scandir(path)
                if _may_be_image(entry.name) and entry.is_file()]
    except OSError as error:
        raise DataError(f"cannot read the folder {path}: {error.strerror or error}") from None


def _class_folders(base: Path, split: str) -> Members:
    """The images of base/split/CLASS/, or of the folder `images` in it, as Tiny-ImageNet has
    it."""
    members: Members = {}
    bar = tqdm(_subfolders(base / split), desc=f"listing {split or base.name}", unit="class",
               leave=False, disable=None)
    for wnid in bar:
        folder = f"{split}/{wnid}/" if split else f"{wnid}/"
        members[wnid] = (_images(base / folder, folder)
                         or _images(base / folder / "images", f"{folder}images/"))
    return members


def _tar_of_tars(path: Path) -> Members:
    """The images of each tar WNID.tar in a tar, as spans of the outer one: nothing is unpacked."""
    members: Members = {}
    with _open_tar(path) as outer:
        for tar in tqdm(outer, total=1000, desc=f"listing {path.name}", unit="class", leave=False,
                        disable=None):
            wnid = Path(tar.name).stem
            if not (tar.isreg() and tar.name.endswith(".tar") and WNID.fullmatch(wnid)):
                continue
            with _open_tar(path, outer.extractfile(tar), tar.name) as inner:
                images = _tar_images(inner, f"{path.name}:{wnid}.tar:", tar.offset_data)
                members.setdefault(wnid, []).extend(images)
    return members


def _tar_members(path: Path) -> list[Member]:
    """The images of a tar."""
    with _open_tar(path) as tar:
        bar = tqdm(tar, desc=f"listing {path.name}", unit="image", leave=False, disable=None)
        return list(_tar_images(bar, f"{path.name}:", 0))


def _tar_images(members: Iterable[tarfile.TarInfo], prefix: str, start: int) -> Iterator[Member]:
    """The images among the members of a tar whose first byte is at `start`. A member's name serves
    for sorting and for messages only."""
    for member in members:
        name = member.name.rsplit("/", 1)[-1]
        if member.isreg() and not member.issparse() and _may_be_image(name):
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
    except (OSError, tarfile.TarError) as error:
        name = f"{path}: {inner} in it" if inner else str(path)
        raise DataError(f"{name} is cut short, damaged or not a tar ({error}); compare its size "
                        "and md5 with those of the download page") from None


def _check_end(tar: tarfile.TarFile) -> None:
    """Look for the empty block after the last member: tarfile takes a file that was cut off there
    for a whole one."""
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)  # where reading ended
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it has no end")


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _read_names(path: Path, separator: str) -> dict[str, str]:
    """{WNID: name} of a file with one class per line; {} where there is no such file."""
    if not path.is_file():
        return {}
    rows = [line.partition(separator) for line in _read_lines(path)]
    return {wnid: name.strip() for wnid, _, name in rows if name.strip()}
