"""ImageNet as `prepare` leaves it, and any other set that it made: shards on the disk, read when they are asked for.

    DIR/index.json                           classes, shards, statistics; without it a folder is no prepared set
        train-samples.npy, val-samples.npy   where each picture lies: shard, offset, length, label
        train-00000.tar, ...                 JPEGs, of which a run of bytes is read and decoded (Pillow), or
        train-00000.npy, ...                 bytes uint8 (n, S, S, 3), mapped into memory

Nothing but the table of samples (20 bytes a picture) stays in memory. Reading is safe in threads, and pays there:
Pillow lets go of the interpreter lock while it decodes. `python -m benchmarks.reader` measures how many pictures a
second that gives, beside processes.
"""
import io
import json
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import DataError
from .dataset import Dataset
from .transforms import ColorPCA

OPEN_SHARDS = 128  # kept open at a time; ImageNet has more shards than a process may have files
MIRRORED = Image.Transpose.FLIP_LEFT_RIGHT


def is_prepared(data_dir: str | Path) -> bool:
    """Whether a folder is a prepared set."""
    return (Path(data_dir) / "index.json").is_file()


def load_imagenet(data_dir: str | Path) -> tuple[Dataset, Dataset]:
    """(train, val) of a prepared set, both with the mean image and the colour axes of the whole training set.

    DataError when the index, a table or a shard is missing, damaged or does not fit the others; a shard is looked at
    when it is first read.
    """
    data_dir = Path(data_dir)
    index = read_index(data_dir)
    try:
        size, kind, classes = int(index["size"]), index["format"], prepared_classes(index)
        mean = _read_array(data_dir / index["mean_image"], (size, size, 3))
        pca = ColorPCA(np.array(index["color"]["eigenvalues"]), np.array(index["color"]["eigenvectors"]))
        parts = []
        for part in ("train", "val"):
            shards = index["splits"][part]["shards"]
            table = _read_array(data_dir / f"{part}-samples.npy")
            _check_table(data_dir / f"{part}-samples.npy", table, index["splits"][part], kind)
            opened = lru_cache(OPEN_SHARDS)(partial(TarShard if kind == "tar" else NpyShard, data_dir, size))
            pictures = Pictures(table, size, tuple((s["file"], s["bytes"], s["images"]) for s in shards), opened)
            parts.append(Dataset(pictures, table["label"], classes, f"{data_dir.name} ({part})", mean, pca))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{data_dir / 'index.json'} is damaged or of another kind ({type(error).__name__}: {error}); "
                        "prepare the set again") from error
    return parts[0], parts[1]


def read_index(data_dir: str | Path) -> dict[str, Any]:
    """The index of a prepared set. DataError when there is none, or one of another version."""
    file = Path(data_dir) / "index.json"
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{data_dir} is no prepared set (no {file.name}); make one with "
                        f"python -m minitorch_alex.prepare SOURCE {data_dir}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}; prepare the set again") from None
    if not isinstance(index, dict) or index.get("version") != 1 or index.get("format") not in ("tar", "npy"):
        raise DataError(f"{file} is no index of version 1 with the format tar or npy; prepare the set again")
    return index


def prepared_classes(index: dict[str, Any]) -> tuple[str, ...]:
    """A name for each class: the first of its WordNet names, with the number where two classes share it (crane)."""
    short = [entry.get("name", "").split(",")[0].strip() or entry["wnid"] for entry in index["classes"]]
    return tuple(f"{name} ({entry['wnid']})" if short.count(name) > 1 else name
                 for name, entry in zip(short, index["classes"], strict=True))


class Pictures:
    """What Dataset.images is for a set on the disk: looks like uint8 (N, S, S, 3), and reads what it is asked for.

        pictures[17]   pictures[rows]   pictures[start:stop]      as of an array, always a copy
        pictures.subset(rows)                                     fewer pictures of the same files, nothing read

    table   where each picture lies: a structured array with the fields shard, offset, length
    shards  (file, bytes, images) of each shard
    opened  (file, bytes, images) -> the shard, the last ones used kept open
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, table: np.ndarray, size: int, shards: tuple[tuple[str, int, int], ...], opened: Any) -> None:
        self.table, self.size, self.shards, self.opened = table, size, shards, opened
        self.shape = (len(table), size, size, 3)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.asarray(np.arange(len(self))[key])
        images = np.empty((rows.size, *self.shape[1:]), np.uint8)
        self.read(rows.reshape(-1), images)
        return images.reshape(*rows.shape, *self.shape[1:])

    def subset(self, rows: Any) -> "Pictures":
        return Pictures(self.table[rows], self.size, self.shards, self.opened)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """The pictures `rows` into `out`, uint8 (n, S, S, 3)."""
        for shard, (offset, length), place in self._places(rows, out):
            shard.read(offset, length, place)

    def cut(self, rows: np.ndarray, tops: np.ndarray, lefts: np.ndarray, flips: np.ndarray, out: np.ndarray) -> None:
        """Of picture rows[i] the window with the corner (tops[i], lefts[i]), mirrored where flips[i], into `out`, uint8
        (n, h, w, 3): the pixels of transforms.crop and transforms.flip, the others are not copied."""
        corners = zip(tops.tolist(), lefts.tolist(), flips.tolist(), strict=True)
        for (shard, (offset, length), place), corner in zip(self._places(rows, out), corners, strict=True):
            shard.cut(offset, length, *corner, place)

    def close(self) -> None:
        """Close the files. They are opened again when they are needed, and closed with the last set that reads them."""
        self.opened.cache_clear()

    def _places(self, rows, out):
        entries = self.table[rows]
        for number, offset, length, place in zip(entries["shard"].tolist(), entries["offset"].tolist(),
                                                 entries["length"].tolist(), out, strict=True):
            # Eviction drops the cache's reference only: a thread that still reads from a shard has its own.
            yield self.opened(*self.shards[number]), (offset, length), place


class TarShard:
    """A tar of JPEGs, open for reading at any place: os.pread has no position that threads could share."""

    def __init__(self, folder: Path, size: int, file: str, n_bytes: int, _images: int) -> None:
        self.path, self.size = folder / file, size
        self.fd = _open_checked(self.path, n_bytes)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def decode(self, offset: int, length: int) -> Image.Image:
        """The picture whose JPEG lies at `offset`. Pillow's draft mode, which would be faster where a smaller picture
        is wanted, is left alone: stored pictures have the size that is wanted already."""
        try:
            blob = os.pread(self.fd, length, offset)
            image = Image.open(io.BytesIO(blob), formats=("JPEG",))
            if image.size != (self.size, self.size):
                raise ValueError(f"a picture of {image.width} x {image.height}, expected {self.size} x {self.size}")
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.path} is damaged at byte {offset:,}: {_reason(error)}; prepare the set "
                            "again, or copy this file afresh") from None
        return image if image.mode == "RGB" else image.convert("RGB")

    def read(self, offset: int, length: int, out: np.ndarray) -> None:
        out[...] = self.decode(offset, length)

    def cut(self, offset: int, length: int, top: int, left: int, mirrored: bool, out: np.ndarray) -> None:
        image = self.decode(offset, length).crop((left, top, left + out.shape[1], top + out.shape[0]))
        out[...] = image.transpose(MIRRORED) if mirrored else image


class NpyShard:
    """Bytes uint8 (n, S, S, 3), mapped into memory: the system reads what is touched."""

    def __init__(self, folder: Path, size: int, file: str, n_bytes: int, images: int) -> None:
        path = folder / file
        os.close(_open_checked(path, n_bytes))
        try:
            self.images = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged: {_reason(error)}; prepare the set again, or copy this file "
                            "afresh") from None
        if self.images.dtype != np.uint8 or self.images.shape != (images, size, size, 3):
            raise DataError(f"{path} holds {self.images.dtype} {self.images.shape}, expected uint8 "
                            f"{(images, size, size, 3)}: it is of another set; prepare the set again")

    def read(self, row: int, _length: int, out: np.ndarray) -> None:
        out[...] = self.images[row]

    def cut(self, row: int, _length: int, top: int, left: int, mirrored: bool, out: np.ndarray) -> None:
        window = self.images[row, top:top + out.shape[0], left:left + out.shape[1]]
        if not mirrored:
            out[...] = window
            return
        for channel in range(3):  # bytes apart, which NumPy moves three times as fast as pixels of three bytes
            out[..., channel] = window[:, ::-1, channel]


def _open_checked(path, n_bytes):
    """A descriptor of a file that has the length the index says. DataError otherwise."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise DataError(f"cannot open the shard {path}: {error.strerror}; prepare the set again, or copy this file "
                        "afresh") from None
    if (got := os.fstat(fd).st_size) != n_bytes:
        os.close(fd)
        raise DataError(f"{path} is damaged: {got:,} bytes, expected {n_bytes:,}; prepare the set again, or copy this "
                        "file afresh")
    return fd


def _read_array(path, shape=None):
    try:
        array = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}; prepare the set again") from None
    if shape is not None and array.shape != shape:
        raise DataError(f"{path} has the shape {array.shape}, expected {shape}; prepare the set again")
    return array


def _check_table(path, table, split, kind):
    """DataError unless each row lies within its shard: what reads a picture needs no checks of its own then."""
    missing = {"shard", "offset", "length", "label"} - set(table.dtype.names or ())
    if missing or len(table) != split["images"]:
        raise DataError(f"{path} has {len(table):,} rows{' without ' + min(missing) if missing else ''}, expected "
                        f"{split['images']:,} of shard, offset, length and label; prepare the set again")
    limits = np.array([s["bytes" if kind == "tar" else "images"] for s in split["shards"]], np.uint64)
    known = table["shard"] < len(limits)
    ends = table["offset"] + (table["length"] if kind == "tar" else np.uint64(1))
    wrong = np.flatnonzero(~known | (ends > limits[np.where(known, table["shard"], 0)]))
    if wrong.size:
        raise DataError(f"{path} is damaged: row {wrong[0]} lies outside of its shard; prepare the set again")


def _reason(error):
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
