"""ImageNet's tars, read without unpacking: an image in a tar is a span of bytes of one file.

    ILSVRC2012_img_val.tar      ILSVRC2012_val_00000001.JPEG, ...
    ILSVRC2012_img_train.tar    n01440764.tar     n01440764_10026.JPEG, ...
                                n01443537.tar     ...

A tar is uncompressed, and so is a tar within it: the span of an image in the inner one is a span
of the outer one. No name in a tar ever becomes a path.
"""
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tqdm import tqdm

from ..errors import DataError, UserError
from ..files import reason_of
from .trees import SPECIAL, Member, Members, PassedOver, tell_name

NO_CLASS_TAR = "not tars of a class, such as n01440764.tar"
WNID = re.compile(r"n\d{8}")


def class_tars(path: Path, passed: PassedOver) -> Members:
    """{WNID: images} of a tar that has one tar per class, WNID.tar, as spans of the outer one.

    Members with other names are counted in `passed`. Raises DataError for a damaged tar.
    """
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
                images = _images_of(inner, f"{path.name}:{wnid}.tar:", tar.offset_data, passed)
                members.setdefault(wnid, []).extend(images)
    return members


def tar_members(path: Path, passed: PassedOver) -> list[Member]:
    """The images of a tar, in its order. Raises DataError for a damaged tar."""
    with _open_tar(path) as tar:
        bar = tqdm(tar, desc=f"listing {path.name}", unit="image", leave=False, disable=None)
        return list(_images_of(bar, f"{path.name}:", 0, passed))


def _images_of(members: Iterable[tarfile.TarInfo], prefix: str, start: int,
               passed: PassedOver) -> Iterator[Member]:
    """The images among the members of a tar that begins at byte `start` of the file. A member's
    name serves for sorting and for messages only."""
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
    """A tar, open for reading all of its members: the file `path`; or `file`, its member `inner`.

    Raises DataError, which names the tar, for whatever fails while it is open.
    """
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
    """Raises ReadError when the empty block after the last member is missing: tarfile takes a file
    that was cut off just there for a whole one."""
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)  # where reading ended
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it has no end")
