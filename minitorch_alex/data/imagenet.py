"""A prepared set, ImageNet or any other that `prepare` made: shards on the disk, read on demand.

    DIR/index.json                           classes, shards, statistics; it marks a prepared set
        train-samples.npy, val-samples.npy   where each image is: shard, offset, length, label
        train-files.npy, val-files.npy       what it was called in the source (not in older sets)
        train-00000.tar, ...                 JPEGs, each read as a run of bytes and decoded, or
        train-00000.npy, ...                 bytes uint8 (n, S, S, 3), mapped into memory

Only the table of samples (20 bytes per image) stays in memory; the names of files are mapped.
Reading is safe in threads, and faster with several: Pillow releases the interpreter lock while it
decodes. `python -m benchmarks.reader` measures how many images per second that gives, next to
processes.
"""
import io
import json
import os
import threading
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image

from ..errors import DataError
from ..files import reason_of
from .dataset import Dataset
from .on_demand import OnDemand
from .synsets import short_names
from .transforms import ColorPCA

OPEN_SHARDS = 128  # kept open at a time; ImageNet has more shards than a process may have files
MIRRORED = Image.Transpose.FLIP_LEFT_RIGHT
REPAIR = "prepare the set again, or copy this file again"  # what helps against a damaged shard


def is_prepared(data_dir: str | Path) -> bool:
    """Whether a folder is a prepared set."""
    return (Path(data_dir) / "index.json").is_file()


def load_imagenet(data_dir: str | Path) -> tuple[Dataset, Dataset]:
    """(train, val) of a prepared set, both with the mean image and the colour axes of the whole
    training set.

    Raises DataError when the index, a table or a shard is missing, damaged or does not fit the
    others; a shard is checked when it is first read.
    """
    data_dir = Path(data_dir)
    index = read_index(data_dir)
    try:
        size = int(index["size"])
        classes = prepared_classes(index)
        mean = _read_array(data_dir / index["mean_image"], (size, size, 3))
        pca = _color_axes(index["color"])
        sets = []
        for part in ("train", "val"):
            pictures, labels = _open_split(data_dir, index, part)
            files = _map_files(data_dir / f"{part}-files.npy", len(labels))
            sets.append(Dataset(pictures, labels, classes, f"{data_dir.name} ({part})", mean, pca,
                                files))
    except (LookupError, AttributeError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(f"{data_dir / 'index.json'} is damaged or of another kind "
                        f"({type(error).__name__}: {error}); prepare the set again") from error
    return sets[0], sets[1]


def _color_axes(color: dict[str, Any]) -> ColorPCA:
    """The colour axes in an index. Raises ValueError when they do not have the right shapes."""
    values = np.array(color["eigenvalues"], np.float64)
    vectors = np.array(color["eigenvectors"], np.float64)
    if values.shape != (3,) or vectors.shape != (3, 3):
        raise ValueError(f"colour axes of the shapes {values.shape} and {vectors.shape}, "
                         "expected (3,) and (3, 3)")
    return ColorPCA(values, vectors)


def _open_split(data_dir: Path, index: dict[str, Any],
                part: str) -> tuple["Pictures", np.ndarray]:
    """(images, labels) of "train" or "val". Only the table of samples is read."""
    split = index["splits"][part]
    size = int(index["size"])
    path = data_dir / f"{part}-samples.npy"
    table = _read_array(path)
    _check_table(path, table, split, index["format"])
    shard_type = TarShard if index["format"] == "tar" else NpyShard
    opened = lru_cache(OPEN_SHARDS)(partial(shard_type, data_dir, size))
    shards = tuple((shard["file"], shard["bytes"], shard["images"]) for shard in split["shards"])
    return Pictures(table, size, shards, opened), table["label"]


def read_index(data_dir: str | Path) -> dict[str, Any]:
    """The index of a prepared set. Raises DataError when there is none, or one of another
    version."""
    file = Path(data_dir) / "index.json"
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{data_dir} is not a prepared set (no {file.name}); make one with "
                        f"python -m minitorch_alex.prepare SOURCE {data_dir}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}; prepare the set again") from None
    if (not isinstance(index, dict) or index.get("version") != 1
            or index.get("format") not in ("tar", "npy")):
        raise DataError(f"{file} is not an index of version 1 with the format tar or npy; "
                        "prepare the set again")
    return index


def prepared_classes(index: dict[str, Any]) -> tuple[str, ...]:
    """A name for each class, as short_names makes it. Raises DataError for an index without
    them."""
    try:
        pairs = [(entry["wnid"], entry.get("name", "")) for entry in index["classes"]]
        if not pairs:
            raise LookupError("it is empty")
        return short_names(pairs)
    except (LookupError, AttributeError, TypeError) as error:
        raise DataError("the index of a prepared set has no list of classes "
                        f"({type(error).__name__}: {error}); prepare the set again") from None


class Shard(Protocol):
    """One open file of images."""

    def read(self, offset: int, length: int, out: np.ndarray, /) -> None:
        """The image at `offset` into `out`, uint8 (S, S, 3)."""

    def cut(self, offset: int, length: int, top: int, left: int, mirrored: bool,
            out: np.ndarray, /) -> None:
        """The window of it with the corner (top, left) into `out`, uint8 (h, w, 3)."""


class Pictures(OnDemand):
    """The `images` of a Dataset on the disk, in shards.

    table   where each image is: a structured array with the fields shard, offset, length
    shards  (file, bytes, images) of each shard
    opened  (file, bytes, images) -> the shard, a cache that keeps the last ones open
    """

    def __init__(self, table: np.ndarray, size: int, shards: tuple[tuple[str, int, int], ...],
                 opened: Any) -> None:
        super().__init__(len(table), size)
        self.table = table
        self.shards = shards
        self.opened = opened

    def subset(self, rows: Any) -> Self:
        return type(self)(self.table[rows], self.size, self.shards, self.opened)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        for (shard, offset, length), place in zip(self._samples(rows), out, strict=True):
            shard.read(offset, length, place)

    def cut(self, rows: np.ndarray, tops: np.ndarray, lefts: np.ndarray, flips: np.ndarray,
            out: np.ndarray) -> None:
        """The same pixels as by transforms.crop and transforms.flip, but no others are copied."""
        windows = zip(tops.tolist(), lefts.tolist(), flips.tolist(), out, strict=True)
        for (shard, offset, length), (top, left, mirrored, place) in zip(
                self._samples(rows), windows, strict=True):
            shard.cut(offset, length, top, left, mirrored, place)

    def close(self) -> None:
        """Close the files. They are opened again on demand, and closed with the last set that
        reads them."""
        self.opened.cache_clear()

    def _samples(self, rows: np.ndarray) -> Iterator[tuple[Shard, int, int]]:
        """(shard, offset, length) of each row."""
        entries = self.table[rows]
        for number, offset, length in zip(entries["shard"].tolist(), entries["offset"].tolist(),
                                          entries["length"].tolist(), strict=True):
            # Eviction drops only the cache's reference: a thread that still reads from the shard
            # has its own.
            yield self.opened(*self.shards[number]), offset, length


class TarShard:
    """A tar of JPEGs, open for reading at any place, by several threads at a time."""

    def __init__(self, folder: Path, size: int, file: str, n_bytes: int, _images: int) -> None:
        self.path = folder / file
        self.size = size
        self.lock = threading.Lock()
        self.fd = _open_checked(self.path, n_bytes)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def _bytes_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""
        if hasattr(os, "pread"):  # it has no position that threads would share
            return os.pread(self.fd, length, offset)
        with self.lock:  # Windows
            os.lseek(self.fd, offset, os.SEEK_SET)
            return os.read(self.fd, length)

    def decode(self, offset: int, length: int) -> Image.Image:
        """The image whose JPEG is at `offset`. Raises DataError when it is damaged.

        Pillow's draft mode, which decodes to a smaller image, would not help: stored images
        already have the size that is wanted.
        """
        try:
            blob = self._bytes_at(offset, length)
            image = Image.open(io.BytesIO(blob), formats=("JPEG",))
            if image.size != (self.size, self.size):
                raise ValueError(f"an image of {image.width} x {image.height}, expected "
                                 f"{self.size} x {self.size}")
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # a damaged file can fail in any way at all
            raise DataError(f"{self.path} is damaged at byte {offset:,}: {reason_of(error)}; "
                            f"{REPAIR}") from None
        return image if image.mode == "RGB" else image.convert("RGB")

    def read(self, offset: int, length: int, out: np.ndarray) -> None:
        out[...] = self.decode(offset, length)

    def cut(self, offset: int, length: int, top: int, left: int, mirrored: bool,
            out: np.ndarray) -> None:
        height, width = out.shape[:2]
        window = self.decode(offset, length).crop((left, top, left + width, top + height))
        # Pillow's transpose, not NumPy's: (H, W, 3), the columns from right to left
        out[...] = window.transpose(MIRRORED) if mirrored else window


class NpyShard:
    """Bytes uint8 (n, S, S, 3), mapped into memory: the system reads only what is touched."""

    def __init__(self, folder: Path, size: int, file: str, n_bytes: int, images: int) -> None:
        path = folder / file
        os.close(_open_checked(path, n_bytes))
        try:
            self.images = np.load(path, mmap_mode="r")
        except Exception as error:  # a damaged header can fail in any way at all
            raise DataError(f"{path} is damaged: {reason_of(error)}; {REPAIR}") from None
        shape = (images, size, size, 3)
        if self.images.dtype != np.uint8 or self.images.shape != shape:
            raise DataError(f"{path} contains {self.images.dtype} {self.images.shape}, expected "
                            f"uint8 {shape}: it belongs to another set; prepare the set again")

    def read(self, row: int, _length: int, out: np.ndarray) -> None:
        out[...] = self.images[row]

    def cut(self, row: int, _length: int, top: int, left: int, mirrored: bool,
            out: np.ndarray) -> None:
        height, width = out.shape[:2]
        window = self.images[row, top:top + height, left:left + width]
        if not mirrored:
            out[...] = window
            return
        # One channel at a time: NumPy moves single bytes three times as fast as pixels of three.
        for channel in range(3):
            out[..., channel] = window[:, ::-1, channel]


def _open_checked(path: Path, n_bytes: int) -> int:
    """A descriptor of a file that has the length in the index. Raises DataError otherwise."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise DataError(f"cannot open the shard {path}: {reason_of(error)}; {REPAIR}") from None
    size = os.fstat(fd).st_size
    if size != n_bytes:
        os.close(fd)
        raise DataError(f"{path} is damaged: {size:,} bytes, expected {n_bytes:,}; {REPAIR}")
    return fd


def _read_array(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    try:
        # Mapped first: that fails at once when the header claims more than the file has.
        array = np.array(np.load(path, mmap_mode="r"))
    except Exception as error:  # a damaged header can fail in any way at all
        raise DataError(f"{path} cannot be read: {reason_of(error)}; "
                        "prepare the set again") from None
    if shape is not None and array.shape != shape:
        raise DataError(f"{path} has the shape {array.shape}, expected {shape}; "
                        "prepare the set again")
    return array


def _map_files(path: Path, count: int) -> np.ndarray | None:
    """The names of the files, (count,) of bytes, mapped into memory; None for a set without them.
    """
    if not path.exists():
        return None
    try:
        files = np.load(path, mmap_mode="r")
    except Exception as error:  # a damaged header can fail in any way at all
        raise DataError(f"{path} cannot be read: {reason_of(error)}; "
                        "prepare the set again") from None
    if files.shape != (count,) or files.dtype.kind != "S":
        raise DataError(f"{path} has {files.dtype} {files.shape}, expected the names of {count:,} "
                        "files; prepare the set again")
    return files


def _check_table(path: Path, table: np.ndarray, split: dict[str, Any], kind: str) -> None:
    """Raise DataError unless each row is within its shard, so that readers need no checks."""
    missing = {"shard", "offset", "length", "label"} - set(table.dtype.names or ())
    if missing or len(table) != split["images"]:
        lack = f" without {min(missing)}" if missing else ""
        raise DataError(f"{path} has {len(table):,} rows{lack}, expected {split['images']:,} of "
                        "shard, offset, length and label; prepare the set again")
    # A tar is addressed in bytes, an npy in images.
    unit = "bytes" if kind == "tar" else "images"
    lengths = table["length"] if kind == "tar" else np.uint64(1)
    limits = np.array([shard[unit] for shard in split["shards"]], np.uint64)
    known = table["shard"] < len(limits)
    limit_of_row = limits[np.where(known, table["shard"], 0)]
    wrong = np.flatnonzero(~known | (table["offset"] + lengths > limit_of_row))
    if wrong.size:
        raise DataError(f"{path} is damaged: row {wrong[0]} is outside of its shard; "
                        "prepare the set again")
