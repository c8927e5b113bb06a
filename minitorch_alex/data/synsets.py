"""What the classes of ImageNet are called: nouns of WordNet, by their numbers (WNIDs).

    folder or output      number        words                        shown as
    n01440764, or 0       n01440764     tench, Tinca tinca           tench

imagenet_classes.txt has the thousand of the challenge, in the order of the outputs of every
network that was trained on it: that of the sorted numbers. It is read when a name is needed first.
"""
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType

WORDNET = re.compile(r"n\d+")  # as of WordNet: its names are lists of synonyms


@cache
def imagenet_words() -> Mapping[str, str]:
    """{WNID: words} of the thousand classes, in the order of outputs 0 to 999."""
    file = resources.files(__package__).joinpath("imagenet_classes.txt")
    # Lines that begin with # are the license of the words.
    lines = (line for line in file.read_text(encoding="utf-8").splitlines()
             if not line.startswith("#"))
    pairs = (line.split(" ", 1) for line in lines)
    return MappingProxyType(dict(pairs))  # shared by all callers: nobody may change it


@cache
def imagenet_names() -> tuple[str, ...]:
    """What the outputs 0 to 999 are called: tench, goldfish, ..., toilet tissue."""
    return short_names(list(imagenet_words().items()))


def known_words(wnids: Collection[str]) -> dict[str, str]:
    """{WNID: words} of folders that are all among the thousand classes; {} where one is not, so
    that the classes of a set are either all named or none."""
    words = imagenet_words()
    if not wnids or not all(wnid in words for wnid in wnids):
        return {}
    return {wnid: words[wnid] for wnid in wnids}


def short_names(classes: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """A name for each class, (WNID, name): the first of its WordNet names, with the number where
    two classes share it (crane). The name of a folder that is not WordNet's stays whole."""
    names = [_first_name(name, wnid) for wnid, name in classes]
    counts = Counter(names)
    return tuple(f"{name} ({wnid})" if counts[name] > 1 else name
                 for name, (wnid, _) in zip(names, classes, strict=True))


def _first_name(name: str, wnid: str) -> str:
    """The first of WordNet's names, which commas separate; of another folder all of its name."""
    if WORDNET.fullmatch(wnid):
        name = name.split(",")[0]
    return name.strip() or wnid
