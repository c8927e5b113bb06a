"""Where arrays live: choosing a backend, moving arrays across its two doors, and random streams.

Everything above this file is written for `xp`, the array module of the arrays at hand (NumPy, or a device's
look-alike), and for `kernels_for(x)`, the kernel module that belongs to them. No operation asks which backend is
current: it asks its arrays. Arrays of two backends in one operation are an error, never a silent copy.

Randomness has two kinds, and neither is ever stored:

* `rng(seed, purpose, ...)`: a host generator for weights, shuffles, crops and colours, the same numbers on every
  backend. A pure function of its arguments, so resuming needs no saved state.
* `next_dropout_key()`: two 32-bit words for the counter hash of a dropout mask (kernels.naive.dropout), a function
  of (seed, step, number of the draw within the step).
"""
import zlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .errors import BackendError, UsageError


@dataclass(frozen=True)
class Backend:
    """One kind of array: its name, its type, its array module and its kernels."""

    name: str
    array_type: type | tuple[type, ...]
    xp: ModuleType | Any
    kernels: ModuleType | Any


_backends: dict[str, Backend] = {}
_current = "numpy"


def register(name: str, array_type: type | tuple[type, ...], xp: Any, kernels: Any) -> None:
    """Make a backend known. The NumPy one registers itself when `minitorch_alex.kernels` is imported."""
    _backends[name] = Backend(name, array_type, xp, kernels)


def use(name: str) -> Backend:
    """Choose where new arrays are made. BackendError (exit code 3) when `name` is not available: there is no
    silent fallback to another one."""
    global _current
    if name not in _backends:
        raise BackendError(f"backend {name!r} is not available here; available: {', '.join(sorted(_backends))}")
    _current = name
    return _backends[name]


def current() -> Backend:
    """The backend that new arrays are made on."""
    return _backends[_current]


def _backend_of(*arrays: Any) -> Backend:
    found = None
    for array in arrays:
        if array is None:
            continue
        home = next((b for b in _backends.values() if isinstance(array, b.array_type)), None)
        if home is None:
            raise BackendError(f"got a {type(array).__name__}, expected an array of: {', '.join(sorted(_backends))}; "
                               "wrap data in a Tensor first")
        if found is not None and home is not found:
            raise BackendError(f"one operation got arrays of two backends, {found.name!r} and {home.name!r}; "
                               "move one of them with backend.asarray or backend.to_numpy")
        found = home
    if found is None:
        raise BackendError("an operation needs at least one array")
    return found


def xp_of(*arrays: Any) -> Any:
    """The array module of these arrays (None entries are skipped); BackendError when they are of two kinds."""
    return _backend_of(*arrays).xp


def kernels_for(*arrays: Any) -> Any:
    """The kernel module of these arrays (None entries are skipped); BackendError when they are of two kinds."""
    return _backend_of(*arrays).kernels


def is_array(value: Any) -> bool:
    """Whether `value` is an array of some registered backend."""
    return any(isinstance(value, b.array_type) for b in _backends.values())


def asarray(value: Any, dtype: Any = None) -> Any:
    """The door in: `value` as an array of the current backend, copied only where it must be."""
    if isinstance(value, current().array_type):
        return value if dtype is None else value.astype(dtype, copy=False)
    return current().xp.asarray(to_numpy(value), dtype=dtype)


def to_numpy(array: Any) -> np.ndarray:
    """The door out: a host copy of a device array (for NumPy the array itself). On a GPU this waits for the device."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


# random streams

_seed, _step, _draws_in_step, _weight_draws = 0, 0, 0, 0


def rng(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A generator that depends on its arguments alone: PCG64 over SeedSequence([seed, crc32(purpose), *counters]).
    The purpose keeps streams apart: the shuffle of epoch 3 never shares numbers with its crops."""
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *counters])))


def manual_seed(seed: int) -> None:
    """Seed what follows: initial weights, in the order in which they are made, and dropout, from step 0."""
    global _seed, _weight_draws
    rng(seed, "check")  # a bad seed is refused here, not at the first draw
    _seed, _weight_draws = seed, 0
    set_step(0)


def set_step(step: int) -> None:
    """Say which training step comes next. Its dropout masks then depend on (seed, step, position in the step) alone,
    which is what makes a resumed run equal the uninterrupted one to the bit."""
    global _step, _draws_in_step
    _step, _draws_in_step = step, 0


def next_weight_rng() -> np.random.Generator:
    """The host generator of the next parameter to be initialised."""
    global _weight_draws
    _weight_draws += 1
    return rng(_seed, "weights", _weight_draws)


def next_dropout_key() -> tuple[int, int]:
    """The key of the next dropout mask: two 32-bit words from (seed, step, how many masks this step has drawn)."""
    global _draws_in_step
    _draws_in_step += 1
    words = np.random.SeedSequence([_seed, zlib.crc32(b"dropout"), _step, _draws_in_step]).generate_state(2)
    return int(words[0]), int(words[1])
