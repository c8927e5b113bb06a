"""What the outputs of a trained model mean: the names of its classes, kept with its weights.

A label is a place in the data's list of class names, and that list changes when a folder is added,
renamed or removed. So a run and each of its checkpoints keep the list that the model was trained
with, and data that is read again is compared with it name by name.

    "classes"       the names; output k of the model means the k-th
    "class_digest"  SHA-256 of the list in its order: two lists compared at a glance

Runs from before the names were kept have neither: they are compared by the number of classes. A
file of weights from elsewhere has none at all.
"""
import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from .. import data
from ..data import Dataset
from ..data.synsets import imagenet_names, known_words, short_names
from ..errors import DataError, RunError

SHOWN = 3  # names that a message lists
IMAGENET = 1000  # classes of the challenge


def digest(names: Sequence[str]) -> str:
    """SHA-256 of the names in their order, as a JSON list in ASCII."""
    return hashlib.sha256(json.dumps(list(names)).encode("ascii")).hexdigest()


def entries(names: Sequence[str]) -> dict[str, Any]:
    """The two settings that a configuration keeps of the names."""
    return {"classes": list(names), "class_digest": digest(names)}


def adopt(config: dict[str, Any], meta: Mapping[str, Any], file: Any) -> None:
    """Give a run's configuration the names that the checkpoint `file` has in its `meta`, where it
    has none of its own. Raises RunError when both have names and these differ."""
    of_weights = meta.get("config", {}).get("classes")
    if of_weights is None:
        return
    if config.setdefault("classes", of_weights) != of_weights:
        raise RunError(f"{file} was trained with other classes than config.json next to it lists: "
                       f"{difference(config['classes'], of_weights)}; put back the config.json "
                       "of that training (predict --classes shows other names)")
    config["class_digest"] = digest(of_weights)


def check(images: Dataset, config: Mapping[str, Any], owner: str) -> None:
    """Raises DataError when a label of the images means another class than that output of the
    run's model. `owner` names the run, with a verb: "the run has"."""
    count = config["num_classes"]
    advice = "the run was started on different data; point --data-dir to that data"
    names = config.get("classes")
    what = ""
    if names is not None and not are_same(names, images.classes):
        what = f" ({difference(images.classes, names)})"
    if len(images.classes) != count:
        raise DataError(f"{images.name} has {len(images.classes)} classes, {owner} {count}{what}: "
                        f"{advice}")
    if what:
        raise DataError(f"{images.name} has other classes than {owner}{what}: {advice}")


def difference(new: Sequence[str], old: Sequence[str]) -> str:
    """How two lists of names differ, in words: "'ant' is new, 'cat' is missing"."""
    added = [name for name in new if name not in old]
    removed = [name for name in old if name not in new]
    parts = [f"{_listed(names)} {'are' if len(names) > 1 else 'is'} {what}"
             for names, what in ((added, "new"), (removed, "missing")) if names]
    if parts:
        return ", ".join(parts)
    k = next((k for k, pair in enumerate(zip(new, old)) if pair[0] != pair[1]), 0)
    return f"the same names in another order: class {k} is {new[k]!r}, not {old[k]!r}"


def known(config: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """(the names of the classes of a run, a remark if they are not its own).

    A run from before names were kept takes them from its data, if that is there and has as many
    classes; otherwise its classes are numbered.
    """
    names = config.get("classes")
    if names is not None:
        return tuple(names), ""
    count = config["num_classes"]
    try:
        found = data.class_names(config["data"], config["data_dir"])
    except DataError as error:
        reason = str(error)
    else:
        if len(found) == count:
            return found, ""
        reason = f"the data in {config['data_dir']} has {len(found)} classes"
    return (numbered(count),
            f"its {count} classes have no names here ({reason}); --classes FILE names them")


def numbered(count: int) -> tuple[str, ...]:
    """What classes are called that have no names."""
    return tuple(f"class {k}" for k in range(count))


def of_outputs(count: int) -> tuple[str, ...]:
    """What so many outputs mean where nobody says it: ImageNet's classes for a thousand, because
    nearly all such weights are of its challenge; otherwise they are numbered."""
    return imagenet_names() if count == IMAGENET else numbered(count)


def are_same(new: Sequence[str], old: Sequence[str]) -> bool:
    """Whether two lists name the same classes in the same order."""
    return _normal(new) == _normal(old)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more


def _normal(names: Sequence[str]) -> list[str]:
    """Names as they are compared. Letters with accents are one character each, since a Mac's file
    system takes them apart; numbers of ImageNet's classes are names, since runs from before the
    package knew these have the numbers."""
    words = known_words(names)
    if words:
        names = short_names(list(words.items()))
    return [unicodedata.normalize("NFC", name) for name in names]
