"""ImageNet as people have it: five layouts, recognised and listed without opening a picture.

    kaggle      ILSVRC/Data/CLS-LOC/{train/WNID/*.JPEG, val/*.JPEG}, LOC_val_solution.csv, LOC_synset_mapping.txt
    official    ILSVRC2012_img_train.tar (of a thousand tars), ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz
    folders     train/CLASS/*, val/CLASS/*; or CLASS/* alone, of which a share is held out
    tiny        train/WNID/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt, wnids.txt, words.txt
    imagenette  folders of ten known classes

and `synthetic`, drawn pictures of many sizes for whoever has none of them. Tars are read where they lie: an image is a
span of bytes in them, and no name in them ever becomes a path.

Classes are sorted by WNID, and a label is a place in that order, as in Caffe and torchvision. Training images are
sorted by class and file name and then shuffled, validation images sorted by file name; so the same images give the
same lists in every layout.
"""
import colorsys
import csv
import io
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import scandir
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..errors import DataError, UsageError
from ..streams import rng
from .devkit import read_devkit
from .shapes import CLASSES as FIGURES
from .shapes import signed_distance

IMAGENETTE = {
    "n01440764": "tench, Tinca tinca", "n02102040": "English springer, English springer spaniel",
    "n02979186": "cassette player", "n03000684": "chain saw, chainsaw", "n03028079": "church, church building",
    "n03394916": "French horn, horn", "n03417042": "garbage truck, dustcart", "n03425413": "gas pump, gasoline pump, "
    "petrol pump, island dispenser", "n03445777": "golf ball", "n03888257": "parachute, chute",
}
VAL_FOLDERS = ("val", "valid", "validation")
# Any other file is taken for an image, whatever it is called: what it is decides its content.
NO_IMAGES = {".txt", ".csv", ".xml", ".json", ".md", ".html", ".mat", ".db", ".ini", ".npy", ".zip", ".tar", ".gz"}
WNID = re.compile(r"n\d{8}")

Member = tuple[str, str, int, int]  # file name alone, name for people, offset and length in a tar (0, 0 in a folder)
Members = Mapping[str, list[Member]]  # by WNID


@dataclass(frozen=True, eq=False)
class Split:
    """N images, in the order in which they are to be stored.

    where    the folder below which the names lie, or the tar that the spans are in; None: they are drawn
    names    of each image, for people; a path below `where` if that is a folder
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
        return Split(self.where, self.names[start:stop], self.labels[start:stop], self.spans[start:stop])

    def read(self, i: int) -> bytes:
        """The file of image i. DataError when it cannot be read: that is a matter of the disk, not of the image."""
        if self.where is None:
            return draw_picture(self.names[i], int(self.labels[i]))
        path = self.where if self.spans.size else self.where / self.names[i]
        try:
            with open(path, "rb") as file:
                if not self.spans.size:
                    return file.read()
                offset, length = self.spans[i].tolist()
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from None


@dataclass(frozen=True, eq=False)
class Listing:
    """What a source has: classes as (WNID, name) sorted by WNID, the splits "train" and "val", and notes for people on
    what was left out. `folders` are where it was found."""

    layout: str
    classes: list[tuple[str, str]]
    splits: dict[str, Split]
    notes: list[str]
    folders: list[Path]


def recognise(root: Path, flat: bool = False) -> str:
    """The layout of the folder `root`; with `flat`, CLASS/* alone counts as one. DataError when it is none of them."""
    if not root.is_dir():
        raise DataError(f"{root} is a file; give the folder that it lies in" if root.exists()
                        else f"there is no folder {root}")
    found = _layout_of(root, flat)
    if found:
        return found
    inside = [name for name in _folders(root) if _layout_of(root / name)]
    if inside:
        raise DataError(f"{root} has no images by itself, but {root / inside[0]} has: give that one")
    there = sorted(entry.name for entry in scandir(root))
    shown = ", ".join(there[:3]) + (f" and {len(there) - 3:,} more" if len(there) > 3 else "") if there else "nothing"
    raise DataError(f"{root} is no ImageNet: it has {shown}; expected ILSVRC/Data/CLS-LOC (kaggle), "
                    "ILSVRC2012_img_train.tar (official), wnids.txt and train/ (tiny), or train/CLASS/* and "
                    "val/CLASS/* (folders); CLASS/* alone needs --val-split")


def _layout_of(root, flat=False):
    if _cls_loc(root):
        return "kaggle"
    if list(root.glob("*_img_train.tar")):
        return "official"
    if (root / "wnids.txt").is_file() and (root / "train").is_dir():
        return "tiny"
    classes = _folders(root / "train") or (_folders(root) if flat else [])
    return "imagenette" if classes and set(classes) <= set(IMAGENETTE) else "folders" if classes else None


def list_source(root: str | Path, layout: str | None = None, *, limit: int = 0, val_split: float = 0.0) -> Listing:
    """All images of the folder `root`, in the order in which they are to be stored.

    layout      one of LAYOUTS; None recognises it
    limit       so many images of each class and split, the first by name; 0 takes all
    val_split   a source without validation images gives up this share of each class to them

    DataError for a folder that is none of the layouts, or lacks a part of its own.
    """
    root = Path(root)
    layout = layout or recognise(root, val_split > 0)
    if not root.is_dir():
        recognise(root)  # says so
    names, train, val, notes = LAYOUTS[layout](root)
    if any(val.members.values()):
        if val_split:
            raise UsageError(f"--val-split {val_split:g}: {root} has validation images; leave the flag out")
    elif any(train.members.values()):
        if not val_split:
            raise DataError(f"{root} has no validation images: {val.expected}; or hold out some of the training "
                            "images, a twentieth say, with --val-split 0.05")
        val = _hold_out(train, val_split)
    classes = sorted(train.members)
    strange = sorted(set(val.members) - set(classes))
    if strange:
        count = sum(len(val.members[wnid]) for wnid in strange)
        notes.append(f"validation images of classes without training images are left out: {count:,} of "
                     f"{', '.join(strange[:3])}{' and others' if len(strange) > 3 else ''}")
    notes += [f"the class {wnid} has no training images" for wnid in classes if not train.members[wnid]]

    def chosen(part: _Part) -> list[tuple[int, Member]]:
        return [(label, member) for label, wnid in enumerate(classes)
                for member in sorted(part.members.get(wnid, []))[:limit or None]]

    pairs = chosen(train)
    splits = {"train": _split(train, [pairs[i] for i in rng(0, "prepare").permutation(len(pairs))]),
              "val": _split(val, sorted(chosen(val), key=lambda pair: (pair[1][0], pair[0])))}
    for split, part, what in (("train", train, "training"), ("val", val, "validation")):
        if not len(splits[split]):
            raise DataError(f"{root} has no {what} images: {part.expected}")
    return Listing(layout, [(wnid, names.get(wnid, wnid)) for wnid in classes], splits, notes, [train.where, val.where])


@dataclass
class _Part:
    """What a layout found for one split: its images, where they lie, and what it looked for, for messages."""

    where: Path
    members: Members
    expected: str


def _split(part: _Part, pairs: list[tuple[int, Member]]) -> Split:
    spans = np.array([span for _, (_, _, *span) in pairs], np.int64).reshape(-1, 2)
    return Split(part.where, [name for _, (_, name, *_) in pairs], np.array([label for label, _ in pairs], np.int32),
                 spans if part.where.is_file() else spans[:, :0])


def _hold_out(train, share):
    """Move round(share N) of each class's N images, drawn at random, from `train` to a part of their own."""
    draw, kept, held = rng(0, "prepare val"), {}, {}
    for wnid in sorted(train.members):
        members = sorted(train.members[wnid])
        order = draw.permutation(len(members))
        cut = round(share * len(members))
        held[wnid], kept[wnid] = [members[i] for i in order[:cut]], [members[i] for i in order[cut:]]
    train.members = kept
    return _Part(train.where, held, f"--val-split {share:g} of so few images is none")


# Each layout's function gives ({WNID: name}, train part, val part, notes).

def _kaggle(root):
    base = _cls_loc(root)
    if not base:
        raise DataError(f"{root} has no ILSVRC/Data/CLS-LOC/train, which the kaggle layout has")
    top = next((p for p in (root, *list(root.resolve().parents)[:3]) if (p / "LOC_synset_mapping.txt").is_file()), root)
    names = _names(top / "LOC_synset_mapping.txt", " ")
    train = _Part(base, _class_folders(base, "train"), f"expected {base}/train/WNID/*.JPEG")
    if _folders(base / "val"):  # sorted into folders, as for torchvision
        return names, train, _Part(base, _class_folders(base, "val"), f"expected {base}/val/WNID/*.JPEG"), []
    expected = f"expected {base}/val/*.JPEG with {top}/LOC_val_solution.csv"
    files = _images(base / "val", "val/")
    if not files:
        return names, train, _Part(base, {}, expected), []
    answers = top / "LOC_val_solution.csv"
    try:
        with open(answers, newline="", encoding="utf-8") as file:
            labels = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    except OSError as error:
        raise DataError(f"cannot read {answers}, the labels of the validation images: {error.strerror}; Kaggle has it "
                        "beside the archive") from None
    except (LookupError, AttributeError, ValueError, csv.Error):
        raise DataError(f"{answers} is damaged: expected lines of ImageId,PredictionString") from None
    return names, train, *_labelled(base, files, lambda name: labels.get(name.rsplit(".", 1)[0]), expected, answers)


def _official(root):
    trains, vals = sorted(root.glob("*_img_train.tar")), sorted(root.glob("*_img_val.tar"))
    kits = sorted(p for p in root.glob("*devkit*") if p.is_dir() or p.name.endswith((".tar.gz", ".tgz", ".tar")))
    if not trains:
        raise DataError(f"{root} has no ILSVRC2012_img_train.tar, which the official layout has")
    names, truth = read_devkit(kits[0]) if kits else ({}, [])
    train = _Part(trains[0], _tar_of_tars(trains[0]), f"expected tars such as n01440764.tar in {trains[0]}")
    expected = f"expected ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz in {root}"
    if not vals:
        return names, train, _Part(trains[0], {}, expected), []
    if not kits:
        raise DataError(f"{root} has {vals[0].name}, but not its labels: {expected}")

    def label(name):
        number = re.search(r"_val_(\d{8})\.", name)
        return truth[int(number[1]) - 1] if number and 0 < int(number[1]) <= len(truth) else None

    members = list(_tar_members(vals[0]))
    return names, train, *_labelled(vals[0], members, label, expected, kits[0])


def _tiny(root):
    names = _names(root / "words.txt", "\t")
    train = _Part(root, _class_folders(root, "train"), f"expected {root}/train/WNID/images/*.JPEG")
    if not (root / "val" / "images").is_dir() and _folders(root / "val"):  # sorted into folders by somebody
        return names, train, _Part(root, _class_folders(root, "val"), f"expected {root}/val/WNID/*.JPEG"), []
    answers = root / "val" / "val_annotations.txt"
    expected = f"expected {root}/val/images/*.JPEG with {answers}"
    files = _images(root / "val" / "images", "val/images/")
    if not files:
        return names, train, _Part(root, {}, expected), []
    labels = dict(line.split("\t")[:2] for line in _lines(answers) if line.count("\t"))
    return names, train, *_labelled(root, files, labels.get, expected, answers)


def _of_folders(root):
    names = _names(root / "words.txt", "\t") | _names(root / "LOC_synset_mapping.txt", " ")
    if not (root / "train").is_dir():
        train = _Part(root, _class_folders(root, ""), f"expected {root}/CLASS/*.JPEG")
        return names, train, _Part(root, {}, f"expected {root}/train/CLASS/*.JPEG and {root}/val/CLASS/*.JPEG"), []
    train = _Part(root, _class_folders(root, "train"), f"expected {root}/train/CLASS/*.JPEG")
    if set(train.members) <= set(IMAGENETTE):
        names = IMAGENETTE | names
    val = next((name for name in VAL_FOLDERS if (root / name).is_dir()), "val")
    expected = f"expected {root}/{val}/CLASS/*.JPEG"
    if not _folders(root / val) and _images(root / val, ""):
        expected += ", but the images lie in it without folders"
    return names, train, _Part(root, _class_folders(root, val), expected), []


LAYOUTS: dict[str, Callable] = {"kaggle": _kaggle, "official": _official, "folders": _of_folders, "tiny": _tiny,
                                "imagenette": _of_folders}


def _cls_loc(root):
    """ILSVRC/Data/CLS-LOC of a Kaggle tree, for whichever of these folders is given; None where there is none."""
    tails = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
    found = [root / tail for tail in tails if (root / tail / "train").is_dir()]
    if not found and root.name == "CLS-LOC" and (root / "train").is_dir():
        found = [root]
    return found[0] if found else None


def _labelled(where, members, label_of, expected, answers):
    """(part, notes) of images in one heap, each labelled by its file name; those without a label are left out."""
    found, unknown = defaultdict(list), []
    for member in members:
        wnid = label_of(member[0])
        if wnid is None:
            unknown.append(member[0])
        else:
            found[wnid].append(member)
    notes = [f"validation images without a label in {answers.name} are left out: {len(unknown):,}, of which one is "
             f"{unknown[0]!r}"] if unknown else []
    return _Part(where, dict(found), expected), notes


def _folders(path):
    """The names of the folders in a folder, sorted, but for hidden ones; none where there is no such folder."""
    if not path.is_dir():
        return []
    try:
        return sorted(entry.name for entry in scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {path}: {error.strerror or error}") from None


def _is_image(name):
    return not name.startswith(".") and Path(name).suffix.lower() not in NO_IMAGES and name != "Thumbs.db"


def _images(path: Path, prefix: str) -> list[Member]:
    if not path.is_dir():
        return []
    try:
        return [(e.name, prefix + e.name, 0, 0) for e in scandir(path) if _is_image(e.name) and e.is_file()]
    except OSError as error:
        raise DataError(f"cannot read the folder {path}: {error.strerror or error}") from None


def _class_folders(base: Path, split: str) -> Members:
    """The images of base/split/CLASS/, or of the folder `images` in it, as Tiny-ImageNet has it."""
    prefix = f"{split}/" if split else ""
    found = {}
    for wnid in tqdm(_folders(base / split), desc=f"listing {split or base.name}", unit="class", leave=False,
                     disable=None):
        sub = f"{prefix}{wnid}/"
        found[wnid] = _images(base / sub, sub) or _images(base / sub / "images", f"{sub}images/")
    return found


def _tar_of_tars(path: Path) -> Members:
    """The images of each tar WNID.tar in a tar, as spans of the outer one: nothing is unpacked."""
    found: dict[str, list[Member]] = {}
    with _opened(path) as outer:
        for tar in tqdm(outer, total=1000, desc=f"listing {path.name}", unit="class", leave=False, disable=None):
            wnid = Path(tar.name).stem
            if not (tar.isreg() and tar.name.endswith(".tar") and WNID.fullmatch(wnid)):
                continue
            with _opened(path, outer.extractfile(tar), tar.name) as inner:
                found.setdefault(wnid, []).extend(_spans(inner, f"{path.name}:{wnid}.tar:", tar.offset_data))
    return found


def _tar_members(path: Path) -> Iterator[Member]:
    with _opened(path) as tar:
        yield from _spans(tqdm(tar, desc=f"listing {path.name}", unit="image", leave=False, disable=None),
                          f"{path.name}:", 0)


def _spans(members: Iterable[tarfile.TarInfo], prefix: str, start: int) -> Iterator[Member]:
    """The images among the members of a tar whose first byte lies at `start`. A member's name serves for sorting and
    for messages only."""
    for member in members:
        name = member.name.rsplit("/", 1)[-1]
        if member.isreg() and not member.issparse() and _is_image(name):
            yield name, prefix + member.name, start + member.offset_data, member.size


@contextmanager
def _opened(path: Path, file: IO[bytes] | None = None, inside: str = "") -> Iterator[tarfile.TarFile]:
    """A tar, open for reading all of its members; what goes wrong on the way is a DataError that names it."""
    try:
        with tarfile.open(path, "r:", file) as tar:
            yield tar
            tar.fileobj.seek(tar.offset)  # where reading ended: tarfile takes a file cut off there for a whole one
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it has no end")
    except (OSError, tarfile.TarError) as error:
        what = f"{path}: {inside} in it" if inside else str(path)
        raise DataError(f"{what} is cut short, damaged or no tar ({error}); compare its size and md5 with those of the "
                        "download page") from None


def _lines(path):
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _names(path: Path, separator: str) -> dict[str, str]:
    """{WNID: name} of a file with a class a line; {} where there is no such file."""
    pairs = (line.partition(separator) for line in (_lines(path) if path.is_file() else []))
    return {wnid: name.strip() for wnid, _, name in pairs if name.strip()}


def list_synthetic(count: int, classes: int = 10) -> Listing:
    """`count` pictures to train on and a tenth as many to validate on, at least one of each class. UsageError for
    numbers that make no sense."""
    if not 1 <= classes <= 1000 or count < classes:
        raise UsageError(f"--synthetic {count} --classes {classes}: expected 1 to 1000 classes and a picture of each")
    named = [(f"n9{c:07}", FIGURES[c % 10] + (f" {c // 10}" if classes > 10 else "")) for c in range(classes)]
    splits = {}
    for split, n in (("train", count), ("val", max(classes, count // 10))):
        order = rng(0, f"prepare {split}").permutation(n)
        splits[split] = Split(None, [f"{split}/{i:08}.JPEG" for i in order], (order % classes).astype(np.int32),
                              np.zeros((n, 0), np.int64))
    return Listing("synthetic", named, splits, [], [])


def draw_picture(name: str, label: int) -> bytes:
    """A JPEG file of about ImageNet's sizes, which depends on the arguments alone: a figure of class label % 10 of
    data.shapes on a shaded, noisy ground. The tens of the label are how far its hue is from that of the ground, the
    hundreds how pale the ground is."""
    draw = rng(int(re.search(r"\d+", name)[0]), f"prepare {name.split('/')[0]} picture", label)
    long, aspect = int(draw.integers(320, 640)), draw.uniform(0.55, 1)
    w, h = (long, round(long * aspect))[::1 if draw.random() < 0.7 else -1]
    side = min(w, h)
    radius, lean = draw.uniform(0.2, 0.42) * side, draw.uniform(-np.pi, np.pi) / 12
    x, y = (np.arange(n, dtype=np.float32) for n in (w, h))
    dx, dy = (x - draw.uniform(0.35, 0.65) * w) / radius, (y[:, None] - draw.uniform(0.35, 0.65) * h) / radius
    u, v = (np.float32(a) for a in np.broadcast_arrays(np.cos(lean) * dx + np.sin(lean) * dy,
                                                       np.cos(lean) * dy - np.sin(lean) * dx))
    cover = np.clip(0.5 - signed_distance(FIGURES[label % 10], u, v) * radius, 0, 1)[..., None]
    hue, tens, hundreds = draw.random(), label // 10 % 10, label // 100
    front = 255 * np.float32(colorsys.hsv_to_rgb((hue + tens / 10) % 1, 0.7, draw.uniform(0.75, 1)))
    ground = 255 * np.float32(colorsys.hsv_to_rgb(hue, 0.9 - 0.08 * hundreds, draw.uniform(0.2, 0.5)))
    shade = draw.uniform(-40, 40) * (x / w - 0.5) + draw.uniform(-40, 40) * (y[:, None] / h - 0.5)
    picture = cover * (front - ground) + (ground + shade[..., None])
    picture += np.float32(draw.uniform(4, 20)) * draw.standard_normal((h, w, 3), dtype=np.float32)
    file = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()
