"""Where arrays live: choosing a backend, and moving arrays across its two doors.

Everything above this file is written for `xp`, the array module of the arrays at hand (NumPy, or a device's
look-alike), and for `kernels_for(x)`, the kernel module that belongs to them. No operation asks which backend is
current: it asks its arrays. Arrays of two backends in one operation are an error, never a silent copy.
"""
import functools
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Any

import numpy as np

from .errors import BackendError, UsageError
from .streams import manual_seed, next_dropout_key, next_weight_rng, rng, set_step  # noqa: F401  moved; goes soon


@dataclass(frozen=True)
class Backend:
    """One kind of array: its name, its type, its array module and its kernels."""

    name: str
    array_type: type | tuple[type, ...]
    xp: ModuleType | Any
    kernels: ModuleType | Any


_backends: dict[str, Backend] = {}
_offers: dict[str, Any] = {}  # the kernels of backends that are loaded when first asked for
_homes: dict[type, Backend] = {}  # type of array -> its backend, as far as asked for
_current = "numpy"


def register(name: str, array_type: type | tuple[type, ...], xp: Any, kernels: Any) -> None:
    """Make a backend known. The NumPy one registers itself when `minitorch_alex.kernels` is imported."""
    _backends[name] = Backend(name, array_type, xp, kernels)


def offer(name: str, kernels: Any) -> None:
    """Name the kernels of a backend ("cupy") whose array module is only imported when `use` asks for it."""
    _offers[name] = kernels


def use(name: str) -> Backend:
    """Choose where new arrays are made. BackendError (exit code 3) when `name` is not available: there is no
    silent fallback to another one."""
    global _current
    if name not in _backends and name in _offers:
        cupy = _load_cupy()
        register(name, cupy.ndarray, cupy, _offers[name])
    if name not in _backends:
        raise BackendError(f"backend {name!r} is not available here; available: {', '.join(sorted(_backends))}")
    _current = name
    return _backends[name]


def is_available(name: str) -> bool:
    """Whether `use(name)` would work: for "cupy" that CuPy is installed and finds a device, not only the first."""
    try:
        return name in _backends or (name in _offers and bool(_load_cupy()))
    except BackendError:
        return False


def current() -> Backend:
    """The backend that new arrays are made on."""
    return _backends[_current]


def _home(kind: type) -> Backend | None:
    """The backend whose arrays are of this type. Every operation asks, so the answer is kept while it holds."""
    home = _homes.get(kind)
    if home is None or _backends.get(home.name) is not home:
        home = next((b for b in _backends.values() if issubclass(kind, b.array_type)), None)
        if home is not None:
            _homes[kind] = home
    return home


def _backend_of(*arrays: Any) -> Backend:
    """The backend of these arrays (None entries are skipped); BackendError when they are of two, or of none."""
    found = None
    for array in arrays:
        if array is None:
            continue
        home = _home(type(array))
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
    """The door in: `value` as an array of the current backend, copied only where it must be. The order of its axes in
    memory stays (channels last, say), which CuPy by itself would undo on the host."""
    if isinstance(value, current().array_type):
        return value if dtype is None else value.astype(dtype, copy=False)
    value = to_numpy(value)
    axes = sorted(range(value.ndim), key=lambda axis: -value.strides[axis])
    device = current().xp.asarray(np.asarray(value.transpose(axes), order="C"), dtype=dtype)
    return device.transpose(np.argsort(axes).tolist())


def to_numpy(array: Any) -> np.ndarray:
    """The door out: a host copy of a device array (for NumPy the array itself). On a GPU this waits for the device."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


# the device

WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
INSTALL = 'pip install "cupy-cuda13x[ctk]" for CUDA 13, "cupy-cuda12x[ctk]" for CUDA 12 (nvidia-smi says which)'


def _load_cupy() -> Any:
    """CuPy, in working order; otherwise a BackendError of one line that says what is missing and what to install."""
    def stop(why: str) -> BackendError:
        return BackendError(f"backend 'cupy' is not available here: {why}; or use the numpy backend")

    wheels = [name for name in WHEELS if _is_installed(name)]
    if len(wheels) > 1:
        raise stop(f"{' and '.join(wheels)} are both installed, over each other: pip uninstall -y {' '.join(wheels)}, "
                   f"then {INSTALL}")
    try:
        import cupy
        if cupy.cuda.is_available():
            cupy.ones((2, 2), np.float32) @ cupy.ones((2, 2), np.float32)  # needs cuBLAS, and a compiler for `ones`
            return cupy
        why = "finds no NVIDIA driver or no GPU that it can use (nvidia-smi must list one)"
    except Exception as error:  # CuPy raises whatever the library that is missing makes it raise
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise stop(f"CuPy is not installed; {INSTALL}") from None
        reason = (str(error).strip().splitlines() or [""])[0]
        why = f"does not work ({type(error).__name__}: {reason}); reinstall it: {INSTALL}"
    raise stop(f"CuPy is installed but {why}")


def _is_installed(package: str) -> bool:
    try:
        return bool(distribution(package))
    except PackageNotFoundError:
        return False


PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_precision = "fp32"


def set_precision(precision: str) -> None:
    """How the GPU multiplies float32 matrices: "fp32" in full; "tf32", which rounds the factors to 10 bits of fraction;
    "fp16" and "bf16", which round them to two bytes (kernels/half.py). Sums stay float32. Convolutions and linear
    layers are such products. BackendError where it cannot be had: on NumPy, and for tf32 and bf16 on GPUs before
    Ampere (2020)."""
    global _precision
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if _current == "cupy":
        if precision in ("tf32", "bf16") and int(current().xp.cuda.Device().compute_capability) < 80:
            raise BackendError(f"this GPU has no {precision.upper()} (compute capability below 8.0); use precision "
                               "fp32 or fp16")
        # for `@` outside of the kernels; private, but CuPy's only switch at run time
        from cupy._core import _routines_linalg, set_compute_type
        kinds = _routines_linalg
        set_compute_type(np.float32, kinds.COMPUTE_TYPE_TF32 if precision == "tf32" else kinds.COMPUTE_TYPE_DEFAULT)
    elif precision != "fp32":
        raise BackendError(f"precision {precision!r} needs the cupy backend, the current one is {_current!r}")
    _precision = precision


def precision() -> str:
    """What set_precision was told last."""
    return _precision


def synchronize() -> None:
    """Wait until the device has done all it was asked to; NumPy never runs ahead. Before reading a clock."""
    if _current == "cupy":
        current().xp.cuda.get_current_stream().synchronize()


def memory() -> tuple[int, int]:
    """(used, held): the bytes of living arrays on the device, and what CuPy's pool has taken from it, which is the peak
    so far since it gives nothing back. (0, 0) for NumPy, which keeps no account."""
    if _current != "cupy":
        return 0, 0
    pool = current().xp.get_default_memory_pool()
    return pool.used_bytes(), pool.total_bytes()


def capacity() -> int:
    """The bytes of the device that arrays may take in all: --memory-limit, else its memory. 0 for NumPy."""
    if _current != "cupy":
        return 0
    return current().xp.get_default_memory_pool().get_limit() or _device_memory()


@functools.cache
def _device_memory() -> int:
    return current().xp.cuda.Device().mem_info[1]
