"""Weights from elsewhere and to elsewhere: safetensors, and PyTorch's .pth (pth.py).

The names in a file are tried as they are; where they do not fit, without the parts that other
tools have put in front or between: `module.` (DataParallel), `_orig_mod.` (torch.compile),
`model.` (checkpoints of this package and of others).
"""
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from safetensors import SafetensorError

from ..errors import RunError
from ..files import write_atomic
from ..nn import Module
from .pth import bfloat16_to_float32, read_pth

# What safetensors calls the types of numbers that NumPy has, and NumPy's names of them.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
          "I8": "<i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?"}
WRAPPERS = ("module", "_orig_mod")  # parts of names that stand for a wrapper around a module
PREFIXES = ("model.", "net.", "network.")
OWN = ("optim.", "data.")  # what stands beside "model." in a checkpoint of this package


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """name -> array, from a .safetensors or a (zip) .pth file; the content decides which it is.

    bfloat16 becomes float32. Raises RunError when the file cannot be read, is neither, or holds
    numbers that NumPy does not have, of 8 or 4 bits.
    """
    path = Path(path)
    try:
        if _is_zip(path):
            return read_pth(path)
        return _decode(path, path.read_bytes())
    except OSError as error:
        raise RunError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path} is neither a safetensors file nor a .pth of PyTorch 1.6 or later: "
                       f"{reason}") from None


def _is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, a damaged one included: its start or its end says so."""
    with open(path, "rb") as file:
        start = file.read(9)
        if start[8:] == b"{":  # a safetensors file, whatever its numbers may look like
            return False
        if start[:4] == b"PK\x03\x04":
            return True
        try:
            return zipfile.is_zipfile(file)
        except (ValueError, zipfile.BadZipFile):
            return True  # an archive's end, and something wrong with it


def _decode(path: Path, content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file."""
    state = {}
    for name, entry in safetensors.deserialize(content):
        kind = entry["dtype"]
        if kind == "BF16":
            numbers = bfloat16_to_float32(entry["data"])
        elif kind in DTYPES:
            numbers = np.frombuffer(entry["data"], DTYPES[kind])
        else:
            raise RunError(f"{path}: {name} holds numbers of the type {kind}, which NumPy cannot "
                           "read; save float32: {name: t.float() for name, t in state.items()}")
        try:
            state[name] = numbers.reshape(entry["shape"])  # (size,) -> its own
        except ValueError as error:  # more axes, or longer ones, than NumPy has
            raise RunError(f"{path}: {name} has the shape {str(entry['shape'])[:100]}: "
                           f"{error}") from None
    return state


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
    fill(model, read(path), path)


def fill(model: Module, state: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    """`load_into` for weights that were read already, from the file `path`."""
    try:
        model.load_state_dict(by_names_of(model, dict(state)))
    except RunError as error:
        message = " ".join(str(error).split())  # names come from the file, with line breaks even
        raise RunError(message if str(path) in message else f"{path}: {message}") from None


def by_names_of(model: Module, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`state` under the names that the model has, as far as they can be found, and without the
    counts of batches (num_batches_tracked) that PyTorch keeps and this package does not.

    Of the ways to read the names that give all of the model's, the first; if none does, the first
    of those that give the most, so that an error names what is really missing.
    """
    own = set(model.state_dict())
    state = {name: array for name, array in state.items()
             if name in own or not name.endswith(".num_batches_tracked")}
    best = state
    for candidate in _readings(state):
        if own == candidate.keys():
            return candidate
        if len(own & candidate.keys()) > len(own & best.keys()):
            best = candidate
    return best


def _readings(state: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The state by its names as they are, without wrappers, without a prefix, without both."""
    yield state
    bare = _renamed(state, {name: _unwrapped(name) for name in state})
    yield bare
    for prefix in PREFIXES:
        for names in (state, bare):
            inside = _without_prefix(names, prefix)
            yield inside
            yield _renamed(inside, {name: _unwrapped(name) for name in inside})


def _unwrapped(name: str) -> str:
    """features.module.0.weight -> features.0.weight; the last part is the parameter's own name."""
    *modules, last = name.split(".")
    return ".".join([part for part in modules if part not in WRAPPERS] + [last])


def _without_prefix(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The entries without a prefix. Those that lack it stay, and will be surplus, but for the
    optimizer's and the data's of our own checkpoints."""
    if not any(name.startswith(prefix) for name in state):
        return state
    own = [name for name in state if name.startswith(prefix) or not name.startswith(OWN)]
    return _renamed({name: state[name] for name in own},
                    {name: name.removeprefix(prefix) for name in own})


def _renamed(state: dict[str, np.ndarray], names: dict[str, str]) -> dict[str, np.ndarray]:
    """The state by other names; as it is where two entries would get the same one."""
    if len(set(names.values())) < len(names):
        return state
    return {names[name]: array for name, array in state.items()}
