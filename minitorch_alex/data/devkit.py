"""The development kit of ILSVRC-2012: the classes, and the class of each validation image.

`data/meta.mat` is a MAT-file of level 5 with one array of structs, `synsets`; the thousand without
children are the classes. `data/ILSVRC2012_validation_ground_truth.txt` has one ILSVRC2012_ID per
line, in the order of the images' numbers. These IDs do not follow the order of the WNIDs, and a
label of this package is a place among the sorted WNIDs.

Only what such a file needs is read here: structs, strings and numbers, compressed or not. The
format is MathWorks' "MAT-File Format", chapter 1, "Level 5 MAT-Files". In short, a file is a
header of 128 bytes and a chain of elements:

    element        type (4 bytes) | size (4 bytes) | data, padded to 8 bytes
    small element  size (2) and type (2) in one word | up to 4 bytes of data
    array          an element whose data are elements: flags | dimensions | name | contents
"""
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import decode_text, reason_of

# Types of elements.
MATRIX = 14
COMPRESSED = 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
           13: "u8"}
STRINGS = {1: "latin1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
# Classes of arrays.
STRUCT = 2
CHAR = 4
NUMERIC = range(6, 16)
MAX_BYTES = 1 << 28  # of a decompressed variable; the real one has 1.5 MB


def read_devkit(path: str | Path) -> tuple[dict[str, str], list[str]]:
    """({wnid: words} of the classes, [wnid of validation image 1, 2, ...]) of the kit, which is an
    archive or a folder.

    Raises DataError when the kit cannot be read or is not what it claims to be.
    """
    path = Path(path)
    try:
        synsets = mat_variables(_read_file(path, "meta.mat"))["synsets"]
        by_id = {int(s["ILSVRC2012_ID"][0]): s for s in synsets if not s["num_children"][0]}
        lines = decode_text(_read_file(path, "ILSVRC2012_validation_ground_truth.txt")).split()
        truth = [by_id[int(line)]["WNID"] for line in lines]
        return {s["WNID"]: s["words"] for s in by_id.values()}, truth
    except OSError as error:
        raise DataError(f"cannot read the development kit {path}: {reason_of(error)}") from None
    except Exception as error:  # a damaged kit can fail in any way at all
        raise DataError(f"the development kit {path} is damaged or another one than ILSVRC-2012's "
                        f"({type(error).__name__}: {reason_of(error)}); expected "
                        "ILSVRC2012_devkit_t12.tar.gz, md5 "
                        "fa75699e90414af021442c21a62c3abf") from None


def _read_file(path: Path, name: str) -> bytes:
    """The bytes of data/NAME in the kit, at any depth."""
    if path.is_dir():
        for file in path.rglob(f"data/{name}"):
            return file.read_bytes()
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                if f"/{member.name}".endswith(f"/data/{name}") and member.size < MAX_BYTES:
                    content = tar.extractfile(member) if member.isreg() else None
                    if content is not None:
                        return content.read()
    raise LookupError(f"no data/{name} in it")


def mat_variables(raw: bytes) -> dict[str, Any]:
    """{name: value} of a level 5 MAT-file. A struct array becomes a list of dictionaries, a string
    a str, numbers a flat NumPy array, anything else None.

    Raises ValueError, struct.error or zlib.error for anything that is not such a file.
    """
    if len(raw) < 128 or raw[126:128] not in (b"IM", b"MI"):
        raise ValueError("not a MAT-file of level 5")
    # The number that spells "MI" with its upper byte first: "IM" is how little-endian files have
    # it.
    order = "<" if raw[126:128] == b"IM" else ">"
    variables = {}
    for kind, data in _elements(memoryview(raw)[128:], order):
        if kind == COMPRESSED:
            # No more than MAX_BYTES: a few bytes can stand for any number of them.
            unpacked = zlib.decompressobj().decompress(data, MAX_BYTES)
            kind, data = next(_elements(memoryview(unpacked), order))
        if kind == MATRIX:
            name, value = _read_array(data, order)
            variables[name] = value
    return variables


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, data) of the elements that follow one another."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if kind >> 16:  # a small element, whose first word has size and type
            size = kind >> 16
            kind = kind & 0xFFFF
            start = at + 4
            at += 8
        else:
            padding = 0 if kind == COMPRESSED else -size % 8
            at = start + size + padding
        if start + size > len(data):
            raise ValueError("cut short")
        yield kind, data[start:start + size]


def _read_array(data: memoryview, order: str) -> tuple[str, Any]:
    """(name, value) of an array."""
    if not data:
        return "", None
    parts = _elements(data, order)
    _, flags = next(parts)
    _, dimensions = next(parts)
    _, name = next(parts)
    kind = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    value: Any = None
    if kind == STRUCT:
        count = int(np.prod(np.frombuffer(dimensions, f"{order}i4"), dtype=np.int64))
        value = _read_structs(parts, count, order)
    elif kind == CHAR:
        value = _read_text(parts, order)
    elif kind in NUMERIC:
        stored, numbers = next(parts, (2, b""))  # whole numbers are stored in as few bytes as fit
        value = np.frombuffer(numbers, order + NUMBERS[stored])
    return bytes(name).decode("latin1"), value


def _read_structs(parts: Iterator[tuple[int, memoryview]], count: int,
                  order: str) -> list[dict[str, Any]]:
    """A struct array: the width of a field's name, the names, then all values, struct by
    struct."""
    _, width_data = next(parts)
    _, names = next(parts)
    width = struct.unpack_from(f"{order}i", width_data)[0]
    fields = [bytes(names[i:i + width]).split(b"\0")[0].decode()
              for i in range(0, len(names), width)]
    values = [_read_array(data, order)[1] for _, data in parts]
    if len(values) != count * len(fields):
        raise ValueError(f"{count} structs of {len(fields)} fields have {len(values)} values")
    return [dict(zip(fields, values[i:i + len(fields)], strict=True))
            for i in range(0, len(values), len(fields) or 1)]


def _read_text(parts: Iterator[tuple[int, memoryview]], order: str) -> str:
    stored, text = next(parts, (16, memoryview(b"")))
    encoding = STRINGS[stored]
    if encoding not in ("utf-8", "latin1"):
        encoding += "-le" if order == "<" else "-be"
    return bytes(text).decode(encoding)
