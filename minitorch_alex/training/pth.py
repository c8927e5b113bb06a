"""PyTorch's .pth files, read without PyTorch and without risk.

Since PyTorch 1.6 a .pth is a zip archive: data.pkl, a pickle that describes a dictionary of
tensors, and a raw file for each storage. A pickle is a program; here it may name what a checkpoint
is made of (a dictionary, a tensor, a parameter, a storage of numbers) and is refused at the first
other name, before anything has run. Settings that stand beside the tensors in people's checkpoints
(argparse.Namespace, NumPy numbers) become empty objects: nothing of theirs is looked at.

Nothing is believed either: sizes are compared before a byte is inflated, a storage is read once
however many tensors are views of it, and tensors stay views.

Format: pytorch/pytorch torch/serialization.py.
"""
import io
import math
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import RunError

BFLOAT16 = "bfloat16"  # the upper half of a float32; NumPy has no such type

# torch's storage classes, and NumPy's names of what is in them.
STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2",
            "BFloat16Storage": BFLOAT16, "LongStorage": "<i8", "IntStorage": "<i4",
            "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?"}
# torch's dtypes, which newer files name in place of a storage class.
DTYPES = {"float32": "<f4", "float64": "<f8", "float16": "<f2", "bfloat16": BFLOAT16,
          "int64": "<i8", "int32": "<i4", "int16": "<i2", "int8": "<i1", "uint8": "<u1",
          "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "bool": "?"}
# What else stands in checkpoints, none of which is needed to read the weights.
SETTINGS = {("argparse", "Namespace"), ("collections", "Counter"), ("collections", "defaultdict"),
            ("torch", "device"), ("torch", "Size"), ("torch", "Tensor"), ("numpy", "dtype"),
            ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
            ("_codecs", "encode"), ("torch.nn.parameter", "Parameter"),
            ("torch.nn.parameter", "Buffer"), ("builtins", "set"), ("__builtin__", "set"),
            ("__builtin__", "long"), ("builtins", "int")}
# Under these names checkpoints keep the weights, in the order in which they are looked for.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module",
          "weights", "params")

MAX_PROGRAM = 8 << 20       # bytes of a data.pkl; those of thousands of layers have one MB
MOST_REPEATED = 1 << 26     # numbers of a tensor that repeats some; AlexNet's fc6 has 37,748,736


def read_pth(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """name -> array, read-only, from a zip .pth that holds a dictionary of tensors (a state_dict),
    or a checkpoint with one inside: {"state_dict": ...}, {"model": ...} and their like.

    Raises RunError for anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            state = _find_state(_load(archive))
    except RunError as error:
        reason = " ".join(str(error).split())  # a name in the pickle may have several lines
        raise RunError(f"{path}: {reason}") from None
    except Exception as error:  # a damaged archive or pickle can fail in any way at all
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{path} is damaged or not a state_dict: {reason[:300]}") from None
    if state is None:
        raise RunError(f"{path} does not hold a plain state_dict, a dictionary of tensors; "
                       "save it with torch.save(model.state_dict(), ...)")
    return state


def _load(archive: zipfile.ZipFile) -> Any:
    """The object in the archive, tensors as NumPy arrays."""
    # Everything is in one folder of the archive, whose name differs from file to file.
    names = archive.namelist()
    program = next((name for name in names if f"/{name}".endswith("/data.pkl")), None)
    if program is None:
        raise RunError("no data.pkl in the archive")
    folder = program.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in names and _entry(archive, order, 16, exactly=False) != b"little":
        raise RunError("big-endian numbers")
    if f"{folder}constants.pkl" in names:
        raise RunError("a TorchScript program, not a state_dict; load it with torch.jit.load and "
                       "save its state_dict()")
    code = _entry(archive, program, MAX_PROGRAM, exactly=False)
    _check_program(code)
    return _TensorUnpickler(archive, folder, code).load()


def _entry(archive: zipfile.ZipFile, name: str, size: int, exactly: bool = True) -> bytes:
    """The bytes of one file of an archive, which must be `size`, or at most that many.

    Raises RunError otherwise, before anything is inflated: what the directory says is compared
    first, and no more than it says is read, whatever the compressed bytes would give.
    """
    info = archive.getinfo(name)
    if info.file_size > size or (exactly and info.file_size < size):
        raise RunError(f"{name} has {info.file_size} bytes, expected {size}"
                       f"{'' if exactly else ' at most'}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RunError(f"{name} is compressed in a way that PyTorch does not use")
    if info.compress_size > _size_of(archive):  # or reading would reserve memory for it
        raise RunError(f"{name} has {info.compress_size} bytes, more than the archive")
    with archive.open(info) as file:
        content = file.read(info.file_size)  # a bound: without one it would inflate all at once
    if len(content) != info.file_size:
        raise RunError(f"{name} ends after {len(content)} of {info.file_size} bytes")
    return content


def _size_of(archive: zipfile.ZipFile) -> int:
    """The bytes of the archive's own file."""
    assert archive.fp is not None  # it is open
    return archive.fp.seek(0, os.SEEK_END)


def _check_program(code: bytes) -> None:
    """Raises RunError for a pickle that would make the unpickler reserve memory for a memo of more
    entries than the pickle has bytes."""
    for operation, argument, _ in pickletools.genops(code):
        is_number = operation.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if is_number and not 0 <= int(argument or 0) <= len(code):
            raise RunError(f"the pickle numbers an object {argument}, but has {len(code)} bytes; "
                           "refused, nothing was run")


def _find_state(value: Any, depth: int = 3) -> dict[str, np.ndarray] | None:
    """The dictionary of tensors in a checkpoint: the object itself, or what it holds under one of
    the usual names. None where there is none."""
    if not isinstance(value, dict) or not depth:
        return None
    if all(isinstance(name, str) and isinstance(array, np.ndarray)
           for name, array in value.items()):
        return dict(value)
    inside = (_find_state(value.get(name), depth - 1) for name in NESTED)
    return next((state for state in inside if state), None)


class _Storage:
    """Stands for torch.FloatStorage and its like, and for torch.float32: the type of the
    numbers."""

    def __init__(self, name: str, dtype: str) -> None:
        self.name = name
        self.is_bfloat16 = dtype == BFLOAT16
        self.dtype = np.dtype("<u2" if self.is_bfloat16 else dtype)

    def numbers(self, raw: bytes | np.ndarray) -> np.ndarray:
        """The numbers in these bytes; those of bfloat16 as float32, of which they are the upper
        halves."""
        numbers = np.frombuffer(raw, self.dtype)
        if not self.is_bfloat16:
            return numbers
        return (numbers.astype("<u4") << 16).view("<f4")


def bfloat16_to_float32(raw: bytes) -> np.ndarray:
    """The numbers of a bfloat16 array."""
    return _Storage(BFLOAT16, BFLOAT16).numbers(raw)


class _Untyped:
    """Stands for torch.storage.UntypedStorage: the file names the type with each tensor."""


class _Setting:
    """Stands for whatever else a checkpoint holds: takes anything, keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "_Setting":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, name: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """What a pickled list's content is handed to."""

    def extend(self, values: Any) -> None:
        """The same for several."""


class _TensorUnpickler(pickle.Unpickler):
    """Builds dictionaries of NumPy arrays; refuses every name that a checkpoint does not need."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, program: bytes) -> None:
        super().__init__(io.BytesIO(program), encoding="utf-8")
        self.archive = archive
        self.folder = folder
        self.storages: dict[tuple[str, str], np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name in the pickle. Raises RunError for a name that is not allowed."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in SETTINGS:
            return _Setting
        if (module, name) == ("torch.storage", "UntypedStorage"):
            return _Untyped
        if (module, name) in REBUILDERS:
            return REBUILDERS[module, name]
        if module == "torch" and name in STORAGES:
            return _Storage(name, STORAGES[name])
        if module == "torch" and name in DTYPES:
            return _Storage(name, DTYPES[name])
        if module == "torch" and name.lower().startswith(("float8", "float4", "complex", "q")):
            raise RunError(f"the file holds numbers of the type torch.{name}, which NumPy cannot "
                           "read; save float32: {name: t.float() for name, t in state.items()}")
        raise RunError(f"the pickle asks for {module}.{name}, which no state_dict needs; refused, "
                       "nothing was run")

    def persistent_load(self, pid: Any) -> Any:
        """The numbers of one storage, by ("storage", type, file, device, count)."""
        kind, storage, key, _device, count = pid
        is_untyped = storage is _Untyped
        if (kind != "storage" or not (is_untyped or isinstance(storage, _Storage))
                or not str(key).isalnum() or not isinstance(count, int)):
            raise RunError("the pickle refers to something that is not a storage of numbers; "
                           "refused")
        typed = _Storage("uint8", "<u1") if is_untyped else storage
        place = str(key), typed.name
        if place not in self.storages:
            name = f"{self.folder}data/{key}"
            try:
                raw = _entry(self.archive, name, count * typed.dtype.itemsize)
            except KeyError:
                raise RunError(f"storage {key} is not in the archive") from None
            self.storages[place] = typed.numbers(raw)
        return self.storages[place]


def _tensor(storage: Any, offset: int, shape: tuple, strides: tuple, *more: Any) -> np.ndarray:
    """An array of numbers in a storage, as a view. Raises RunError when it would reach outside.

    `more` ends, where PyTorch has put it there, in a dictionary of properties: {"neg": True} says
    that the tensor has the storage's numbers with the other sign.
    """
    shape = _sizes(shape)
    strides = _sizes(strides)
    if not isinstance(storage, np.ndarray) or len(shape) != len(strides):
        raise RunError(f"a tensor of shape {shape} with strides {strides}")
    reach = _sizes((offset,))[0] + sum((n - 1) * s for n, s in zip(shape, strides)) + 1
    size = math.prod(shape)
    # Where numbers stand at several places (expand, unfold), a few bytes may stand for gigabytes:
    # the view needs no memory, whoever copies it does.
    if size and (reach > len(storage) or size > max(MOST_REPEATED, len(storage))):
        raise RunError(f"a tensor of shape {shape} is larger than its storage of "
                       f"{len(storage)} numbers")
    start = storage[offset:] if size else storage[:0]
    steps = [s * storage.itemsize for s in strides]  # in bytes
    view = np.lib.stride_tricks.as_strided(start, shape, steps, writeable=False)
    properties = more[-1] if more and type(more[-1]) is dict else {}
    return -view if properties.get("neg") else view


def _sizes(values: Any) -> tuple[int, ...]:
    """A tensor's shape, strides or offset. Raises RunError unless they are numbers from 0 on that
    a machine can address."""
    if not (isinstance(values, tuple | list) and len(values) <= 64
            and all(type(n) is int and 0 <= n < 1 << 48 for n in values)):
        raise RunError("a tensor whose shape, strides or offset make no sense")
    return tuple(values)


def _tensor_of_type(storage: Any, offset: int, shape: tuple, strides: tuple, requires_grad: Any,
                    hooks: Any, dtype: Any, *more: Any) -> np.ndarray:
    """A tensor whose type stands beside an untyped storage."""
    if not isinstance(dtype, _Storage) or not isinstance(storage, np.ndarray):
        raise RunError("a tensor of an unknown type")
    if storage.dtype != np.uint8 or storage.nbytes % dtype.dtype.itemsize:
        raise RunError(f"a storage of {storage.nbytes} bytes for numbers of {dtype.dtype}")
    return _tensor(dtype.numbers(storage), offset, shape, strides, *more)


def _of_type(rebuild: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor of a subclass: the tensor."""
    if rebuild not in (_tensor, _tensor_of_type, _parameter):
        raise RunError("a tensor of an unknown kind; refused, nothing was run")
    return rebuild(*arguments)


def _parameter(data: Any, *_: Any) -> Any:
    return data


REBUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
}
