"""Weights from elsewhere and to elsewhere: safetensors, and PyTorch's .pth read without PyTorch
and without risk.

A .pth file is a zip archive: data.pkl, a pickle that describes a dictionary of tensors, and a raw
file for each storage. A pickle is a program; here it may name four things (a dictionary, a tensor,
a parameter, a storage of numbers) and is refused at the first other name, before anything has run.
Format: pytorch/pytorch torch/serialization.py.
"""
import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..errors import RunError
from ..files import write_atomic
from ..nn import Module

# torch's storage classes, and NumPy's names of what is in them.
STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2",
            "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1",
            "ByteStorage": "<u1", "BoolStorage": "?"}


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """name -> array, from a .safetensors or a (zip) .pth file; the content decides which it is.

    Raises RunError when it cannot be read or is neither.
    """
    path = Path(path)
    try:
        if zipfile.is_zipfile(path):
            return read_pth(path)
        return safetensors.numpy.load(path.read_bytes())
    except OSError as error:
        raise RunError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise RunError(f"{path} is neither a safetensors file nor a .pth of PyTorch 1.6 or later: "
                       f"{error}") from None


def write(model: Module, path: str | os.PathLike) -> None:
    """Write the model's parameters as a safetensors file, by name. Raises DiskError when it cannot
    be written."""
    state = {name: np.asarray(array, order="C") for name, array in model.state_dict().items()}
    write_atomic(path, [safetensors.numpy.save(state)])


def load_into(model: Module, path: str | os.PathLike) -> None:
    """Give a model the weights of a file, or of a checkpoint of this package.

    Raises RunError when they do not fit, naming each missing, surplus or misshapen entry; the
    model is unchanged then.
    """
    state = read(path)
    if any(name.startswith("model.") for name in state):
        state = {name.removeprefix("model."): array for name, array in state.items()
                 if name.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RunError as error:
        raise RunError(f"{path}: {error}") from None


def read_pth(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """name -> array from a zip .pth that holds a dictionary of tensors (a state_dict).

    Raises RunError for anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Everything is in one folder of the archive, whose name differs from file to file.
            names = archive.namelist()
            program = next((name for name in names if f"/{name}".endswith("/data.pkl")), None)
            if program is None:
                raise RunError("no data.pkl in the archive")
            folder = program.removesuffix("data.pkl")
            order = f"{folder}byteorder"
            if order in names and archive.read(order) != b"little":
                raise RunError("big-endian numbers")
            state = _TensorUnpickler(archive, folder, archive.read(program)).load()
    except RunError as error:
        raise RunError(f"{path}: {error}") from None
    except Exception as error:  # a damaged archive or pickle can fail in any way at all
        raise RunError(f"{path} is damaged or not a state_dict: "
                       f"{type(error).__name__}: {error}") from None
    if not isinstance(state, dict) or not all(isinstance(a, np.ndarray) for a in state.values()):
        raise RunError(f"{path} does not hold a plain state_dict, a dictionary of tensors; "
                       "save it with torch.save(model.state_dict(), ...)")
    return dict(state)


class _Storage:
    """Stands for torch.FloatStorage and its like: the type of the numbers."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)


class _TensorUnpickler(pickle.Unpickler):
    """Builds dictionaries of NumPy arrays; refuses every name that a state_dict does not need."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, program: bytes) -> None:
        super().__init__(io.BytesIO(program), encoding="utf-8")
        self.archive = archive
        self.folder = folder

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name in the pickle. Raises RunError for a name that is not allowed."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, requires_grad, hooks: data
        if module == "torch" and name in STORAGES:
            return _Storage(STORAGES[name])
        raise RunError(f"the pickle asks for {module}.{name}, which no state_dict needs; refused, "
                       "nothing was run")

    def persistent_load(self, pid: Any) -> np.ndarray:
        """The numbers of one storage, by ("storage", type, file, device, count)."""
        kind, storage, key, _device, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not str(key).isalnum():
            raise RunError("the pickle refers to something that is not a storage of numbers; "
                           "refused")
        numbers = np.frombuffer(self.archive.read(f"{self.folder}data/{key}"), storage.dtype)
        if len(numbers) != count:
            raise RunError(f"storage {key} has {len(numbers)} numbers, expected {count}")
        return numbers


def _tensor(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_: Any) -> np.ndarray:
    """A new array from numbers in a storage. Raises RunError when it would reach outside."""
    if len(shape) != len(strides) or min((*shape, *strides, offset), default=0) < 0:
        raise RunError(f"a tensor of shape {tuple(shape)} with strides {tuple(strides)}")
    reach = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    # Stride 0 would let a few bytes ask for gigabytes, hence the size as well as the reach.
    size = math.prod(shape)
    if size and max(reach, size) > len(storage):
        raise RunError(f"a tensor of shape {tuple(shape)} is larger than its storage of "
                       f"{len(storage)} numbers")
    start = storage[offset:] if size else storage[:0]
    steps = [s * storage.itemsize for s in strides]  # in bytes
    return np.lib.stride_tricks.as_strided(start, shape, steps).copy()
