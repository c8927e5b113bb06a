"""Shards: files of a thousand small images each, written once so that training decodes little.

    tar    the WebDataset layout: KEY.jpg (quality 95, as cuda-convnet2's make-data) and KEY.cls,
           the label as text
    npy    uint8 (N, size, size, 3)

The content of a shard depends on its images and the settings alone. It gets its name in one step,
when it is whole. Next to it, `partial/SHARD.npz` notes what the index will say about it: where
each image is, the sums over its pixels (Moments), and which images were rejected. A shard with
such notes is never made again.
"""
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from ..files import disk_error, replacing
from .decoding import central_square, decode_rgb
from .moments import Moments
from .sources import Split

FORMATS = ("tar", "npy")
# As cuda-convnet2's make-data of 2014 (make-data/pyext/include/pyext.h:26). The release of 2012
# has no such program; a folder that it reads is named jpg_valid_2010_85 (fix-big-imgnet.py:7).
# Colour has half the resolution: OpenCV's default there, Pillow's here.
QUALITY = 95
SAMPLE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("label", "<i4")])
PARTIAL = "partial"

Images = Iterable[tuple[int, int, Image.Image]]  # key, label, image
Entries = list[tuple[int, int, int]]             # offset, length, label


@dataclass(frozen=True, eq=False)
class Shard:
    """Shard `number` of a split, to be made of these images; the key of the first one is
    `first`."""

    split: str
    number: int
    first: int
    images: Split

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05}"


class Settings(NamedTuple):
    """What all shards of a set have in common.

    folder   where they are written
    format   "tar" or "npy"
    size     side of the stored images
    """

    folder: Path
    format: str
    size: int


class Notes(NamedTuple):
    """What is known of a finished shard.

    bytes, sha256   of its file
    samples         where its images are (SAMPLE)
    rejected        (file, reason) of each image that could not be decoded
    moments         sums over its images, if they are training images
    """

    bytes: int
    sha256: str
    samples: np.ndarray
    rejected: list[tuple[str, str]]
    moments: Moments


def shards_of(split: str, images: Split, per_shard: int) -> list[Shard]:
    """The images of a split in shards of `per_shard`, the last one with the rest."""
    return [Shard(split, number, first, images.part(first, first + per_shard))
            for number, first in enumerate(range(0, len(images), per_shard))]


def encode(image: Image.Image) -> bytes:
    """An image as the JPEG file that a tar shard holds."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def write_shard(shard: Shard, settings: Settings, tell: Callable[[], None] = lambda: None) -> None:
    """Make one shard. `tell` is called after each image, rejected or not.

    Raises DataError when a source file cannot be read at all, and DiskError when the shard cannot
    be written. Then nothing of it is left.
    """
    path = _shard_path(shard, settings)
    write = _write_tar if settings.format == "tar" else _write_npy
    rejected: list[tuple[str, str]] = []
    try:
        with replacing(path, _scratch_path(settings, path)) as file:
            images = _decoded_images(shard, settings.size, rejected, tell)
            entries, moments = write(file, images, settings.size, len(shard.images),
                                     shard.split == "train")
            file.flush()
            size = file.seek(0, os.SEEK_END)
            digest = _sha256(file)
        samples = np.array([(shard.number, *entry) for entry in entries], SAMPLE)
        _write_notes(shard, settings, Notes(size, digest, samples, rejected, moments))
    except OSError as error:
        advice = "make room, and give the same command again: finished shards are kept"
        raise disk_error(path, error, advice) from None


def is_finished(shard: Shard, settings: Settings) -> bool:
    """Whether a shard has been made: it exists and has as many bytes as its notes say."""
    try:
        with np.load(_notes_path(shard, settings)) as arrays:
            expected = json.loads(str(arrays["about"]))["bytes"]
        return _shard_path(shard, settings).stat().st_size == expected
    except Exception:  # damaged notes can fail in any way at all
        return False


def _write_notes(shard: Shard, settings: Settings, notes: Notes) -> None:
    path = _notes_path(shard, settings)
    about = {"bytes": notes.bytes, "sha256": notes.sha256, "images": notes.moments.images,
             "rejected": notes.rejected}
    # 255 * images fits into 32 bits up to 16 million images in a shard, and halves the file.
    total = notes.moments.total.astype(np.uint32)
    with replacing(path, _scratch_path(settings, path)) as file:
        np.savez(file, about=json.dumps(about), samples=notes.samples, total=total,
                 products=notes.moments.products)


def read_notes(shard: Shard, settings: Settings) -> Notes:
    """What is known of a finished shard."""
    with np.load(_notes_path(shard, settings)) as arrays:
        about = json.loads(str(arrays["about"]))
        moments = Moments(about["images"], arrays["total"].astype(np.int64), arrays["products"])
        rejected = [(name, reason) for name, reason in about["rejected"]]
        return Notes(about["bytes"], about["sha256"], arrays["samples"], rejected, moments)


def _shard_path(shard: Shard, settings: Settings) -> Path:
    return settings.folder / f"{shard.name}.{settings.format}"


def _notes_path(shard: Shard, settings: Settings) -> Path:
    return settings.folder / PARTIAL / f"{shard.name}.npz"


def _scratch_path(settings: Settings, path: Path) -> Path:
    """Where a file is written before it is whole: a name of this process alone, in the same file
    system."""
    return settings.folder / PARTIAL / f"{path.name}.{os.getpid()}.part"


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _decoded_images(shard: Shard, size: int, rejected: list[tuple[str, str]],
                    tell: Callable[[], None]) -> Iterator[tuple[int, int, Image.Image]]:
    """(key, label, image) of each image that can be decoded; the others are added to
    `rejected`."""
    for i in range(len(shard.images)):
        try:
            image = central_square(decode_rgb(shard.images.read(i)), size)
        except ValueError as error:
            rejected.append((shard.images.names[i], str(error)))
        else:
            yield shard.first + i, int(shard.images.labels[i]), image
        tell()


def _write_tar(file: IO[bytes], images: Images, size: int, _count: int,
               sums: bool) -> tuple[Entries, Moments]:
    """Write a tar shard. Returns where each JPEG is and, with `sums`, the sums over the pixels."""
    entries: Entries = []
    moments = Moments.zero(size)
    for key, label, image in images:
        jpeg = encode(image)
        offset = _add_to_tar(file, f"{key:08}.jpg", jpeg)
        entries.append((offset, len(jpeg), label))
        _add_to_tar(file, f"{key:08}.cls", str(label).encode())
        if sums:  # of the pixels as stored, which differ a little from those that were encoded
            with Image.open(io.BytesIO(jpeg)) as stored:
                moments.add(np.asarray(stored))
    # A tar ends with two empty blocks, and with zeros up to a full record.
    file.write(bytes(2 * tarfile.BLOCKSIZE))
    file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
    return entries, moments


def _add_to_tar(file: IO[bytes], name: str, data: bytes) -> int:
    """Append a file to a tar, without owner and time, and return the offset of its first byte."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    file.write(header.tobuf(tarfile.USTAR_FORMAT))
    offset = file.tell()
    file.write(data)
    file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
    return offset


def _write_npy(file: IO[bytes], images: Images, size: int, count: int,
               sums: bool) -> tuple[Entries, Moments]:
    """Write an npy shard of at most `count` images. Returns the row of each (and a length of 0)
    and, with `sums`, the sums over the pixels."""
    entries: Entries = []
    moments = Moments.zero(size)
    _write_npy_header(file, count, size)
    for _, label, image in images:
        pixels = np.asarray(image)
        file.write(pixels.tobytes())
        entries.append((len(entries), 0, label))
        if sums:
            moments.add(pixels)
    # Only now is the number of images known. The header has the same length as the first one:
    # NumPy leaves room in it for any number of rows.
    file.seek(0)
    _write_npy_header(file, len(entries), size)
    return entries, moments


def _write_npy_header(file: IO[bytes], count: int, size: int) -> None:
    about = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, about)
