"""Checkpoints: one safetensors file that is either complete and unharmed, or refused.

The file holds the arrays ("model.*", "optim.*") and, in the header's metadata, two strings:

    "minitorch_alex"   the `meta` dictionary as JSON: epoch, batch, step, schedule, config, ...
    "sha256"           the digest of the whole file, taken with these 64 digits set to zero

No random state is stored, because none is kept between batches: shuffles, crops and dropout masks
are functions of seed, epoch and step. No pickle: loading a checkpoint runs no code, and any
safetensors reader opens it.

Format: u64 header length (little-endian) | JSON header | array bytes.
https://github.com/huggingface/safetensors
"""
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..errors import RunError
from ..files import write_atomic

NO_DIGEST = "0" * 64
MAX_HEADER = 100_000_000  # bytes; safetensors' own limit


def save(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any],
         rotate: bool = False) -> None:
    """Write `arrays` and `meta` (anything json.dumps takes) to `path`, all or nothing.

    With `rotate`, the checkpoint that `path` held is kept as `previous(path)`. Once the first one
    has been written there is a complete checkpoint at every moment, under kill -9 and power cuts
    too. Raises DiskError when it cannot be written; the files that were there are untouched.
    """
    metadata = {"minitorch_alex": json.dumps(meta), "sha256": NO_DIGEST}
    # safetensors 0.8.0 silently writes wrong bytes for an array that is not C-contiguous, hence
    # order="C" (np.ascontiguousarray would do, but it gives a 0-d array an axis).
    plain = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    blob = safetensors.numpy.save(plain, metadata)
    digest = hashlib.sha256(blob).hexdigest()
    field = _digest_field(digest)
    start = blob.index(_digest_field(NO_DIGEST))
    spare = previous(path) if rotate else None
    write_atomic(path, [blob[:start], field, memoryview(blob)[start + len(field) :]], spare)


def load(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a checkpoint: (arrays by name, meta). The arrays own writable memory.

    Raises RunError when there is no such file, or it is truncated, altered in any bit, or not a
    checkpoint at all. The message names the file, what is wrong and, if it is intact, the previous
    checkpoint to resume from.
    """
    try:
        return _read(Path(path))
    except RunError as error:
        spare = previous(path)
        try:
            _read(spare)
        except RunError:
            raise error from None
        raise RunError(f"{error}; the checkpoint before it is intact: --resume {spare}") from None


def is_checkpoint(path: str | os.PathLike) -> bool:
    """Whether a file begins as a checkpoint of this package does; what follows may be damaged."""
    path = Path(path)
    try:
        with open(path, "rb") as f:
            length = int.from_bytes(f.read(8), "little")
            if length > min(path.stat().st_size, MAX_HEADER):
                return False
            _metadata(path, f.read(length))
    except (OSError, RunError):
        return False
    return True


def previous(path: str | os.PathLike) -> Path:
    """Where `save` keeps the one before: x.safetensors -> x.previous.safetensors."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """`load` without the look at the previous checkpoint."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as f:
            length = int.from_bytes(f.read(8), "little")
            if length > min(size, MAX_HEADER):
                raise RunError(f"{path} is not a safetensors file, or its start is damaged")
            meta, digest = _metadata(path, f.read(length))
            f.seek(0)
            blob = f.read()
    except OSError as error:
        raise RunError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error

    # The digest was taken with zeros in its own place, see `save`.
    header = blob[: 8 + length]
    data = memoryview(blob)[8 + length :]
    sha = hashlib.sha256(header.replace(_digest_field(digest), _digest_field(NO_DIGEST)))
    sha.update(data)
    if sha.hexdigest() != digest:
        raise RunError(f"{path} is damaged: its {size} bytes are not those once written (SHA-256)")
    try:
        return safetensors.numpy.load(blob), json.loads(meta)
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{path} is not a checkpoint of minitorch_alex: {reason[:300]}") from None


def _metadata(path: Path, header: bytes) -> tuple[str, str]:
    """(meta as JSON, digest) from a header that may be anything.

    Raises RunError when it is not as `save` writes it.
    """
    try:
        metadata = json.loads(header).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError):
        raise RunError(f"{path} is not a safetensors file, or its header is damaged") from None
    try:
        return metadata["minitorch_alex"], str(metadata["sha256"])
    except (LookupError, TypeError):
        raise RunError(f"{path} is a safetensors file, but not a checkpoint of "
                       "minitorch_alex") from None


def _digest_field(digest: str) -> bytes:
    """The digest as it is written in the header, where nothing else looks like it: quotes inside
    of strings are escaped."""
    return f'"sha256":"{digest}"'.encode("ascii", "replace")
