"""The development kit of ILSVRC-2012: which classes there are, and which one each validation image shows.

`data/meta.mat` is a MAT-file of level 5 with one array of structs, `synsets`; the thousand without children are the
classes. `data/ILSVRC2012_validation_ground_truth.txt` has an ILSVRC2012_ID a line, in the order of the images' numbers.
These IDs are in no order of the WNIDs, and a label of this package is a place among the sorted WNIDs.

Only what such a file needs is read here: structs, strings and numbers, compressed or not. The format is MathWorks'
"MAT-File Format", chapter 1, "Level 5 MAT-Files".
"""
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

MATRIX, COMPRESSED = 14, 15  # data types of elements
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
STRINGS = {1: "latin1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
STRUCT, CHAR, NUMERIC = 2, 4, range(6, 16)  # classes of arrays
MAX_BYTES = 1 << 28  # of a variable once decompressed; the real one has 1.5 MB


def read_devkit(path: str | Path) -> tuple[dict[str, str], list[str]]:
    """({wnid: words} of the classes, [wnid of validation image 1, 2, ...]) of the kit, an archive or a folder.

    DataError when the kit cannot be read or is not what it claims to be.
    """
    path = Path(path)
    try:
        synsets = mat_variables(_file(path, "meta.mat"))["synsets"]
        by_id = {int(s["ILSVRC2012_ID"][0]): s for s in synsets if not s["num_children"][0]}
        truth = [int(line) for line in _file(path, "ILSVRC2012_validation_ground_truth.txt").split()]
        return {s["WNID"]: s["words"] for s in by_id.values()}, [by_id[i]["WNID"] for i in truth]
    except OSError as error:
        raise DataError(f"cannot read the development kit {path}: {error.strerror or error}") from None
    except (tarfile.TarError, zlib.error, struct.error, EOFError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"the development kit {path} is damaged or another one than ILSVRC-2012's "
                        f"({type(error).__name__}: {error}); expected ILSVRC2012_devkit_t12.tar.gz, md5 "
                        "fa75699e90414af021442c21a62c3abf") from None


def _file(path, name):
    """The bytes of data/NAME in the kit, wherever in it that lies."""
    if path.is_dir():
        for file in path.rglob(f"data/{name}"):
            return file.read_bytes()
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isreg() and f"/{member.name}".endswith(f"/data/{name}") and member.size < MAX_BYTES:
                    return tar.extractfile(member).read()
    raise LookupError(f"no data/{name} in it")


def mat_variables(raw: bytes) -> dict[str, Any]:
    """{name: value} of a level 5 MAT-file. A struct array becomes a list of dictionaries, a string a str, numbers a
    flat NumPy array; anything else None. Raises ValueError, struct.error or zlib.error for what is no such file."""
    if len(raw) < 128 or raw[126:128] not in (b"IM", b"MI"):
        raise ValueError("no MAT-file of level 5")
    order = "<" if raw[126:128] == b"IM" else ">"
    variables = {}
    for kind, data in _elements(memoryview(raw)[128:], order):
        if kind == COMPRESSED:
            kind, data = next(_elements(memoryview(zlib.decompressobj().decompress(data, MAX_BYTES)), order))
        if kind == MATRIX:
            name, value = _array(data, order)
            variables[name] = value
    return variables


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(data type, bytes) of the elements that follow one another."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if kind >> 16:  # a small element: size and type in one word, up to four bytes in the next
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            at += 8
        else:
            at = start + size + (-size % 8 if kind != COMPRESSED else 0)
        if start + size > len(data):
            raise ValueError("cut short")
        yield kind, data[start:start + size]


def _array(data: memoryview, order: str) -> tuple[str, Any]:
    """(name, value) of an array element: flags, dimensions, name, and what its class asks for."""
    if not data:
        return "", None
    parts = _elements(data, order)
    (_, flags), (_, dimensions), (_, name) = next(parts), next(parts), next(parts)
    kind = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    count = int(np.prod(np.frombuffer(dimensions, f"{order}i4"), dtype=np.int64))
    value: Any = None
    if kind == STRUCT:
        (_, width), (_, names) = next(parts), next(parts)
        width = struct.unpack_from(f"{order}i", width)[0]
        fields = [bytes(names[i:i + width]).split(b"\0")[0].decode() for i in range(0, len(names), width)]
        values = [_array(field, order)[1] for _, field in parts]
        if len(values) != count * len(fields):
            raise ValueError(f"{count} structs of {len(fields)} fields have {len(values)} values")
        value = [dict(zip(fields, values[i:i + len(fields)], strict=True))
                 for i in range(0, len(values), len(fields) or 1)]
    elif kind == CHAR:
        stored, text = next(parts, (16, b""))
        encoding = STRINGS[stored]
        value = bytes(text).decode(encoding + ("" if encoding in ("utf-8", "latin1")
                                               else "-le" if order == "<" else "-be"))
    elif kind in NUMERIC:
        stored, numbers = next(parts, (2, b""))
        value = np.frombuffer(numbers, order + NUMBERS[stored])
    return bytes(name).decode("latin1"), value
