"""Shards: files of a thousand small images each, written once so that training reads bytes and decodes little.

    tar    the WebDataset layout: KEY.jpg (quality 95, as in 2012) and KEY.cls, the label as text
    npy    uint8 (N, size, size, 3)

What a shard holds depends on its images and the settings alone, and it gets its name in one step when it is whole.
Beside it `partial/SHARD.npz` keeps what the index will say of it: where each image lies, the sums over all pixels that
the mean image and the colour covariance need, what was rejected. A shard with such a file is never made again. The sums
are integers, so that they do not depend on the order in which shards are done.
"""
import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from ..files import disk_error, replacing
from .decoding import central_square, decode_rgb
from .sources import Split
from .transforms import principal_axes

FORMATS = ("tar", "npy")
QUALITY = 95  # of the 2012 code's make-data; colour at half resolution, as its OpenCV did and Pillow does
SAMPLE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("label", "<i4")])
PARTIAL = "partial"


@dataclass(frozen=True, eq=False)
class Shard:
    """One shard to be made: number `number` of `split`, of these images, of which the first has the key `first`."""

    split: str
    number: int
    first: int
    images: Split

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05}"


class Settings(NamedTuple):
    """What all shards have in common: the folder that they go to, "tar" or "npy", and the side of the stored images."""

    folder: Path
    format: str
    size: int


@dataclass(eq=False)
class Moments:
    """Sums over `images` images: `total` int64 (size, size, 3) of the pixels, `products` int64 (3, 3) of the channels'
    products. Exact: a million images of 256 x 256 sum up to less than 2^63."""

    images: int
    total: np.ndarray
    products: np.ndarray

    @classmethod
    def zero(cls, size: int) -> "Moments":
        """Of no image at all."""
        return cls(0, np.zeros((size, size, 3), np.int64), np.zeros((3, 3), np.int64))

    def add(self, image: np.ndarray) -> None:
        """One more image, uint8 (size, size, 3)."""
        pixels = image.reshape(-1, 3).astype(np.float64)  # which holds these sums exactly, and has a fast product
        self.merge(Moments(1, image, np.rint(pixels.T @ pixels).astype(np.int64)))

    def merge(self, other: "Moments") -> None:
        """All that `other` has counted."""
        self.images += other.images
        self.total += other.total
        self.products += other.products

    def mean_image(self) -> np.ndarray:
        """float32 (size, size, 3), 0..255."""
        return (self.total / self.images).astype(np.float32)

    def color(self) -> dict[str, Any]:
        """Mean, covariance (divided by N), eigenvalues, the largest first, and eigenvectors, one a column with its
        largest entry positive, of all pixels as RGB colours on the 0..255 scale."""
        n = self.images * self.total.shape[0] * self.total.shape[1]
        sums = [int(s) for s in self.total.sum(axis=(0, 1))]
        # Python's integers: n Sxy - Sx Sy cancels most digits, and the quotient is rounded once.
        covariance = [[(n * int(self.products[i, j]) - sums[i] * sums[j]) / n**2 for j in range(3)] for i in range(3)]
        axes = principal_axes(np.array(covariance))
        return {"mean": [s / n for s in sums], "covariance": covariance,
                "eigenvalues": axes.eigenvalues.tolist(), "eigenvectors": axes.eigenvectors.tolist()}


class Done(NamedTuple):
    """What is known of a finished shard: its file's bytes and sha256, samples (SAMPLE), rejected images as (file,
    reason), and moments (of training shards; of no image otherwise)."""

    bytes: int
    sha256: str
    samples: np.ndarray
    rejected: list[tuple[str, str]]
    moments: Moments


def shards_of(split: str, images: Split, per_shard: int) -> list[Shard]:
    """The images of a split in shards of `per_shard`, the last one with what is left."""
    return [Shard(split, number, first, images.part(first, first + per_shard))
            for number, first in enumerate(range(0, len(images), per_shard))]


def encode(image: Image.Image) -> bytes:
    """A picture as the JPEG file that a tar shard holds."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def write_shard(shard: Shard, settings: Settings, tell: Callable[[], None] = lambda: None) -> None:
    """Make one shard. `tell` is called after each image, also after one that was rejected.

    DataError when a source file cannot be read at all, DiskError when the shard cannot be written; nothing is left of
    it then.
    """
    path = _path(settings, shard)
    write = _write_tar if settings.format == "tar" else _write_npy
    rejected: list[tuple[str, str]] = []
    try:
        with replacing(path, _scratch(settings, path)) as file:
            entries, moments = write(file, _squares(shard, settings.size, rejected, tell), settings.size,
                                     len(shard.images), shard.split == "train")
            file.flush()
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        samples = np.array([(shard.number, *entry) for entry in entries], SAMPLE)
        notes = _notes(settings, shard)
        with replacing(notes, _scratch(settings, notes)) as file:
            about = {"bytes": size, "sha256": sha256, "images": moments.images, "rejected": rejected}
            np.savez(file, about=json.dumps(about), samples=samples, total=moments.total.astype(np.uint32),
                     products=moments.products)
    except OSError as error:
        advice = "make room, and give the same command again: finished shards are kept"
        raise disk_error(path, error, advice) from None


def is_finished(shard: Shard, settings: Settings) -> bool:
    """Whether a shard has been made: it is there with as many bytes as its notes say."""
    try:
        with np.load(_notes(settings, shard)) as notes:
            return _path(settings, shard).stat().st_size == json.loads(str(notes["about"]))["bytes"]
    except (OSError, ValueError, LookupError, zipfile.BadZipFile):
        return False


def read_notes(shard: Shard, settings: Settings) -> Done:
    """What is known of a finished shard."""
    with np.load(_notes(settings, shard)) as notes:
        about = json.loads(str(notes["about"]))
        return Done(about["bytes"], about["sha256"], notes["samples"], [tuple(pair) for pair in about["rejected"]],
                    Moments(about["images"], notes["total"].astype(np.int64), notes["products"]))


def _path(settings: Settings, shard: Shard) -> Path:
    return settings.folder / f"{shard.name}.{settings.format}"


def _notes(settings: Settings, shard: Shard) -> Path:
    return settings.folder / PARTIAL / f"{shard.name}.npz"


def _scratch(settings: Settings, path: Path) -> Path:
    """Where a file is written before it is whole: a name of this process alone, in the same file system."""
    return settings.folder / PARTIAL / f"{path.name}.{os.getpid()}.part"


def _squares(shard, size, rejected, tell) -> Iterator[tuple[int, int, Image.Image]]:
    """(key, label, picture) of each image that can be decoded; the others go to `rejected`."""
    for i in range(len(shard.images)):
        try:
            picture = central_square(decode_rgb(shard.images.read(i)), size)
        except ValueError as error:
            rejected.append((shard.images.names[i], str(error)))
        else:
            yield shard.first + i, int(shard.images.labels[i]), picture
        tell()


Images = Iterable[tuple[int, int, Image.Image]]
Entries = list[tuple[int, int, int]]  # offset, length, label


def _write_tar(file: IO[bytes], images: Images, size: int, _count: int, sums: bool) -> tuple[Entries, Moments]:
    entries, moments = [], Moments.zero(size)
    for key, label, picture in images:
        jpeg = encode(picture)
        entries.append((_add(file, f"{key:08}.jpg", jpeg), len(jpeg), label))
        _add(file, f"{key:08}.cls", str(label).encode())
        if sums:  # of the pixels as they are stored, which are not quite those that were encoded
            with Image.open(io.BytesIO(jpeg)) as stored:
                moments.add(np.asarray(stored))
    file.write(bytes(2 * tarfile.BLOCKSIZE))  # the end of a tar, and zeros to full records, as tar writes them
    file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
    return entries, moments


def _add(file: IO[bytes], name: str, data: bytes) -> int:
    """Append a file to a tar, without owner and time, and return where its bytes begin."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    file.write(header.tobuf(tarfile.USTAR_FORMAT))
    offset = file.tell()
    file.write(data)
    file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
    return offset


def _write_npy(file: IO[bytes], images: Images, size: int, count: int, sums: bool) -> tuple[Entries, Moments]:
    def header(n):
        about = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, about)

    header(count)
    entries, moments = [], Moments.zero(size)
    for _, label, picture in images:
        pixels = np.asarray(picture)
        file.write(pixels.tobytes())
        entries.append((len(entries), 0, label))
        if sums:
            moments.add(pixels)
    file.seek(0)
    header(len(entries))  # as long as the first one: NumPy leaves room for any number of rows
    return entries, moments
