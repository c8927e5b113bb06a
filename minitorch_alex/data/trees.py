"""Folders of images as people have them: which files count, in one place for all readers.

    DIR/train/CLASS/anything, at any depth     an image: its content decides, not its name
              CLASS/._x.jpg  __MACOSX/  ...    left by a system or a program: passed over
              CLASS/boxes.txt                  by its name something else: passed over

What is passed over is counted, with its reason, and told in one line.
"""
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from ..files import reason_of

# Any other file is taken for an image.
NOT_IMAGES = {".txt", ".csv", ".xml", ".json", ".md", ".html", ".mat", ".db", ".ini", ".npy",
              ".zip", ".tar", ".gz"}
# Files and folders that systems and programs leave, besides the hidden ones; in small letters.
LEFT_BY_SYSTEMS = {
    "__macosx", "icon\r", "network trash folder", "temporary items",        # macOS
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler",  # Windows
    "system volume information",
    "lost+found",                                                           # Linux
    "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",    # disks in a network
    "__pycache__",
}
COMPANION = "_boxes.txt"  # of Tiny-ImageNet, one in each class: nothing to tell
HIDDEN = "hidden or left by a system"
BROKEN = "broken links"
BY_NAME = "not images by their names"
BY_CONTENT = "not images by their content"
SPECIAL = "neither files nor folders"
READ_ALREADY = "links to a folder above or to one that was read already"
OUTSIDE = "in no class folder"


class Member(NamedTuple):
    """An image of a source. Members sort by file name."""

    name: str    # the file name alone
    path: str    # below the folder of its part, or "TAR:NAME" for messages
    offset: int  # its span of bytes in a tar; 0, 0 in a folder
    length: int


Members = dict[str, list[Member]]  # by WNID
Identity = tuple[int, int] | str   # of a folder: its disk and its number there, or its path


class PassedOver:
    """Counts what a reader passes over, by reason, and keeps an example of each."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, str] = {}

    def add(self, reason: str, path: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, path)

    def notes(self) -> list[str]:
        """One sentence; none where nothing was passed over."""
        if not self.counts:
            return []
        total = sum(self.counts.values())
        things = "files or folders were" if total > 1 else "file or folder was"
        reasons = [f"{reason}: {count:,}, for example {self.examples[reason]!r}"
                   for reason, count in self.counts.items()]
        return [f"{total:,} {things} passed over ({'; '.join(reasons)})"]


def is_left_by_system(name: str) -> bool:
    """Whether a name is hidden (.DS_Store, ._x.jpg, .ipynb_checkpoints) or of a system's own
    file or folder."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def may_be_image(name: str) -> bool:
    """Whether a file's name leaves open that it is an image."""
    return not is_left_by_system(name) and Path(name).suffix.lower() not in NOT_IMAGES


def tell_name(name: str, path: str, passed: PassedOver) -> bool:
    """`may_be_image`, noting in `passed` a name that is not."""
    if may_be_image(name):
        return True
    if not name.endswith(COMPANION):
        passed.add(HIDDEN if is_left_by_system(name) else BY_NAME, path)
    return False


def subfolders(path: Path) -> list[str]:
    """The names of the folders in a folder, sorted, except those of systems; none where there is
    no such folder. Raises DataError when it cannot be read."""
    return [name for name, is_folder in _entries(path, "", PassedOver()) if is_folder]


def images_in(path: Path, place: str, passed: PassedOver) -> list[Member]:
    """The images in a folder itself, which is called `place` below the folder of its part."""
    return [Member(name, place + name, 0, 0) for name, is_folder in _entries(path, place, passed)
            if not is_folder and tell_name(name, place + name, passed)]


def images_below(path: Path, place: str, passed: PassedOver,
                 above: set[Identity]) -> list[Member]:
    """The images in a folder and in all folders below it, links included.

    `above` are the identities of the folders that it lies in: a link back to one of them, or a
    second one to the same folder, is passed over. So the walk ends, and an image counts once.
    """
    members: list[Member] = []
    start = identity(path)
    if start in above:
        passed.add(READ_ALREADY, place)
        return members
    seen = above | {start}
    waiting = [(path, place)]
    while waiting:
        folder, prefix = waiting.pop()
        for name, is_folder in _entries(folder, prefix, passed):
            if not is_folder:
                if tell_name(name, prefix + name, passed):
                    members.append(Member(name, prefix + name, 0, 0))
                continue
            inner = identity(folder / name)
            if inner in seen:
                passed.add(READ_ALREADY, prefix + name)
                continue
            seen.add(inner)
            waiting.append((folder / name, f"{prefix}{name}/"))
    return members


def identity(path: Path) -> Identity:
    """What is the same for all paths to a folder. Raises DataError when it cannot be read."""
    try:
        info = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not info.st_ino:  # some disks in a network number nothing
        return os.path.realpath(path)
    return info.st_dev, info.st_ino


def note_outside(path: Path, place: str, passed: PassedOver, known: Collection[str]) -> None:
    """Note the files in a folder that should have class folders alone; `known` have a purpose."""
    for name, is_folder in _entries(path, place, passed):
        if not is_folder and name not in known and tell_name(name, place + name, passed):
            passed.add(OUTSIDE, place + name)


def _entries(path: Path, place: str, passed: PassedOver) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a folder) of the files and folders in a folder, sorted, except those
    that systems leave, broken links, pipes and the like; none where there is no such folder."""
    if not path.is_dir():
        return
    try:
        with os.scandir(path) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(path, error) from None
    for entry in listed:
        if is_left_by_system(entry.name):
            passed.add(HIDDEN, place + entry.name)
        elif entry.is_file(follow_symlinks=False):  # the usual case, which asks the disk nothing
            yield entry.name, False
        elif entry.is_dir(follow_symlinks=False):
            yield entry.name, True
        else:
            mode = _mode_behind(entry)
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                yield entry.name, stat.S_ISDIR(mode)
            else:
                passed.add(SPECIAL if mode else BROKEN, place + entry.name)


def _mode_behind(entry: os.DirEntry[str]) -> int:
    """The mode of what a link leads to; 0 where it leads to nothing."""
    try:
        return entry.stat().st_mode
    except OSError:
        return 0


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot read the folder {path}: {reason_of(error)}")
