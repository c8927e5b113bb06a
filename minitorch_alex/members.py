"""What evaluate measures: trained models of runs, each on the data of its run, and weights from
anywhere on a folder of pictures.

    Member         a run; it knows its data, and how to prepare it
    FolderMember   -w WEIGHTS DIR: pictures in DIR/CLASS or DIR/val/CLASS. Their folders have to be
                   matched with the outputs of the network, by `match`
"""
import argparse
import copy
import difflib
import hashlib
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .classifier import Classifier, load
from .data import Dataset, Transform, is_prepared, load_imagenet, prepared_classes, read_index
from .data.layouts import folder_names
from .data.lists import read_names
from .data.picture_files import PictureFiles, list_part
from .data.synsets import imagenet_names, imagenet_words, known_words, short_names
from .errors import DataError, UsageError
from .models import Network
from .training import class_list, convolution, runs
from .training.runs import Run

SYNSETS = "LOC_synset_mapping.txt"  # Kaggle's list of ImageNet's classes, in the order of outputs
WNID = re.compile(r"(n\d{8})\b[\s,:]*")
# (model, images, transform, kind of views, batch size) -> probabilities (N, K)
Measure = Callable[[Network, Dataset, Transform, str, int], np.ndarray]


class Member:
    """One of the trained models that are evaluated, with what it needs to look at images."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self.path = path
        self.run, self.file = runs.find(path, args.previous)
        self.config = self.run.read_config()
        self.config["data_dir"] = args.data_dir or self.config["data_dir"]
        self.split = args.split
        self.limit = args.limit
        self.conv = args.conv

    @property
    def folder(self) -> Path:
        """Where numbers and figures go: the run's directory, but for the bundled model."""
        if self.run.is_bundled:
            return Path("runs") / runs.PRETRAINED.name
        return self.run.directory

    @property
    def part(self) -> str:
        """What the files of numbers and figures are called by."""
        return self.split

    def source(self) -> dict[str, Any]:
        """What the record of the numbers says besides about the model; of a run, its own record
        does."""
        return {}

    def on_validation_images(self) -> "Member":
        """The same model, to be measured on all of its validation images."""
        twin = copy.copy(self)  # the weights are read when they are needed, not here
        twin.split = "val"
        twin.limit = None
        return twin

    def sees(self) -> dict[str, Any]:
        """The settings that decide which images it is measured on. The test images do not depend
        on how training and validation images were divided."""
        names = ["data", "data_dir", "data_size"]
        if self.split != "test":
            names += ["val_split", "limit", "seed"]
        return {name: self.config[name] for name in names}

    def images(self) -> Dataset:
        """The images to measure on. Raises DataError when the run has no such part, or when the
        data has other classes than the run."""
        images = getattr(runs.load_data(self.config), self.split)
        if images is None:
            raise DataError(f"this run has no {self.split} part; it was trained with --val-split "
                            f"{self.config['val_split']}")
        self.check_classes(images)
        return images.subset(slice(self.limit)) if self.limit else images

    def check_classes(self, images: Dataset) -> None:
        """Raises DataError when the model's outputs mean other classes than the labels do."""
        class_list.check(images, self.config, f"{self.run.directory} was trained with")

    def called(self, images: Dataset) -> str:
        """The name of the images, with their part."""
        return images.name if f"({self.split})" in images.name else f"{images.name} ({self.split})"

    def open(self) -> tuple[Network, Transform, str]:
        """(the model, what is done to images, where both are from)."""
        saved = runs.load_model(self.file, self.config)
        return (saved.model, runs.build_transform(self.config, saved.arrays["data.mean"]),
                f"{self.config['model']} from {self.file}, epoch {saved.meta['epoch']}")

    def predict(self, images: Dataset, kinds: Sequence[str], batch_size: int,
                measure: Measure) -> Iterator[tuple[str, np.ndarray, float]]:
        """(kind of views, probabilities (N, K), seconds) for each kind."""
        model, transform, about = self.open()
        if self.conv == "auto":
            convolution.use_for_inference(self.config, model, batch_size)
        print(f"{about}; {len(images):,} images of {self.called(images)}")
        for views in kinds:
            begin = time.perf_counter()
            probs = measure(model, images, transform, views, batch_size)
            yield views, probs, time.perf_counter() - begin


class FolderMember(Member):
    """A model from anywhere, which is measured on a folder of pictures."""

    def __init__(self, directory: Path, args: argparse.Namespace) -> None:
        self.classifier = load(args.weights, args.model, args.classes, previous=args.previous)
        self.path = directory
        self.file = self.classifier.file
        self.run = Run(Path("runs") / self.file.stem)
        self.split = args.split
        self.limit = args.limit
        self.conv = args.conv
        self.config = {"model": self.classifier.name, "seed": 0,
                       "data_dir": str(directory), "conv": "auto"}

    @property
    def folder(self) -> Path:
        """runs/NAME for the weights NAME.pth: their own folder may be anywhere."""
        return self.run.directory

    @property
    def part(self) -> str:
        return self.path.resolve().name

    def source(self) -> dict[str, Any]:
        return {"weights": self.file.name, "data": self.part,
                "weights_sha256": hashlib.sha256(self.file.read_bytes()).hexdigest()}

    def sees(self) -> dict[str, Any]:
        return {"data_dir": self.config["data_dir"]}

    def images(self) -> Dataset:
        """The pictures, with the outputs of the network as their labels. Raises DataError when
        there are none, or when their folders are not the network's classes."""
        if is_prepared(self.path):
            images, folders, shown = self._prepared()
        else:
            side = self.classifier.side
            files, labels, folders, where = list_part(self.path, self.split)
            known = known_words(folders) | folder_names(self.path)
            shown = short_names([(name, known.get(name, name)) for name in folders])
            images = Dataset(PictureFiles(files, side), labels, shown, str(where))
        classifier = with_synsets(self.classifier, self.path)
        outputs, classes = match(folders, shown, classifier, self.path)
        images = Dataset(images.images, outputs[images.labels], classes, images.name)
        return images.subset(slice(self.limit)) if self.limit else images

    def _prepared(self) -> tuple[Dataset, tuple[str, ...], tuple[str, ...]]:
        """(the images of a prepared set, the folders its classes came from, their names). Raises
        UsageError for images of another size than the network's."""
        train, val = load_imagenet(self.path)
        images = train if self.split == "train" else val
        # Stored squares were resized once already; resizing them again would be another picture.
        size = images.images.shape[1]
        if size != self.classifier.side:
            raise UsageError(f"{self.path} has images of {size} x {size}, {self.classifier.name} "
                             f"takes {self.classifier.side} x {self.classifier.side}; prepare "
                             f"them with --size {self.classifier.side}")
        index = read_index(self.path)
        folders = tuple(entry["wnid"] for entry in index["classes"])
        return images, folders, prepared_classes(index)

    def called(self, images: Dataset) -> str:
        return images.name  # the folder

    def check_classes(self, images: Dataset) -> None:
        """Nothing is left to check: `images` has matched the classes."""

    def open(self) -> tuple[Network, Transform, str]:
        return self.classifier.model, self.classifier.transform, self.classifier.about


def with_synsets(classifier: Classifier, root: Path) -> Classifier:
    """A classifier that nobody has given names gets those of LOC_synset_mapping.txt, where it lies
    in the folder of the pictures or above it and has as many; otherwise one with ImageNet's names
    gets the WordNet numbers in front of them, by which folders are called."""
    is_imagenet = tuple(classifier.classes) == imagenet_names()
    if classifier.is_named and not is_imagenet:
        return classifier
    for folder in (root, root.parent):
        names = read_names(folder / SYNSETS)
        if len(names) == len(classifier.classes):
            return classifier.named(_lines(names))
    return classifier.named(_lines(imagenet_words())) if is_imagenet else classifier


def _lines(names: Mapping[str, str]) -> list[str]:
    """Classes as in the lines of LOC_synset_mapping.txt: n01440764 tench, Tinca tinca."""
    return [f"{wnid} {name}" for wnid, name in names.items()]


def match(folders: Sequence[str], shown: Sequence[str], classifier: Classifier,
          root: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """(which output each folder stands for, the names of all outputs).

    A folder stands for the class of its WordNet number, its name, or the name that is shown for
    it. Outputs without names are those of all folders in alphabetical order, as in torchvision's
    ImageFolder, so there have to be as many. Raises DataError when a folder has no output.
    """
    count = len(classifier.classes)
    if not classifier.is_named:
        if len(folders) != count:
            raise DataError(f"{root} has {len(folders)} folders, {classifier.name} has {count} "
                            "outputs, and which is which is not known; name the outputs with "
                            "--classes FILE, one per line and in their order: the name of a "
                            "folder, or a WordNet number")
        return np.arange(count), tuple(shown)

    outputs, names = _by_name(classifier.classes)
    found = [next((outputs[key] for key in (folder, _key(folder), name, _key(name))
                   if key in outputs), None)
             for folder, name in zip(folders, shown, strict=True)]
    unknown = [folder for folder, output in zip(folders, found, strict=True) if output is None]
    if len(unknown) == count and names == imagenet_names():
        # A thousand outputs and a thousand other folders: the names were a guess, and a wrong one.
        return np.arange(count), tuple(shown)
    if unknown:
        raise DataError(f"{root} has folders that are none of the {count} classes of "
                        f"{classifier.name}: {_listed(unknown, names)}; rename or remove them, or "
                        "name the outputs with --classes FILE")
    return np.array(found, np.int64), names


def _by_name(classes: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """({every way to call an output: which one it is}, the name that is shown of each): its line
    in the list, its number and its short name count, exactly and then as `_key` takes them."""
    pairs = [_split_wnid(name) for name in classes]
    names = short_names(pairs) if all(wnid for wnid, _ in pairs) else tuple(classes)
    alike: dict[str, int] = {}
    exact: dict[str, int] = {}
    for k in reversed(range(len(classes))):  # of two classes of one name, the first counts
        for name in filter(None, (classes[k], pairs[k][0], names[k])):
            alike[_key(name)] = k
            exact[name] = k
    return alike | exact, names


def _listed(unknown: Sequence[str], names: Sequence[str]) -> str:
    """Three of the folders that stand for no output, the first with the name it may mean."""
    word = _key(unknown[0])
    near = [name for name in names if word in _key(name).split()]  # springer: English springer
    near = near or difflib.get_close_matches(unknown[0], names, n=1)
    first = f"{unknown[0]!r} (perhaps {near[0]!r})" if near else repr(unknown[0])
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    return ", ".join([first, *map(repr, unknown[1:3])]) + more


def _split_wnid(name: str) -> tuple[str, str]:
    """("n01440764", "tench, Tinca tinca") of the two together; ("", name) without a number."""
    number = WNID.match(name)
    return (number[1], name[number.end():] or number[1]) if number else ("", name)


def _key(name: str) -> str:
    """A name for comparisons: small letters, accents as one character each, "_" as a blank."""
    return unicodedata.normalize("NFC", name).casefold().replace("_", " ").strip()
