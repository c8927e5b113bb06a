"""Where arrays live: choosing a backend, and moving arrays across its two doors.

Everything above this file is written for `xp`, the array module of the arrays at hand (NumPy, or a
device's look-alike), and for `kernels_for(x)`, the kernel module that belongs to them. No
operation asks which backend is current: it asks its arrays. Arrays of two backends in one
operation are an error, never a silent copy.
"""
import functools
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from .errors import BackendError, KindError, UsageError


@dataclass(frozen=True)
class Backend:
    """One kind of array: its name, its type, its array module and its kernels."""

    name: str
    array_type: type | tuple[type, ...]
    xp: ModuleType | Any
    kernels: ModuleType | Any


_backends: dict[str, Backend] = {}
_offers: dict[str, Any] = {}  # the kernels of backends that are loaded when first asked for
_homes: dict[type, Backend] = {}  # type of array -> its backend: every operation asks
_current = "numpy"  # where new arrays are made; operations ask their arrays instead


def register(name: str, array_type: type | tuple[type, ...], xp: Any, kernels: Any) -> None:
    """Make a backend known. NumPy's is registered when `minitorch_alex.kernels` is imported."""
    _backends[name] = Backend(name, array_type, xp, kernels)
    _homes.clear()


def offer(name: str, kernels: Any) -> None:
    """Name the kernels of a backend ("cupy") whose array module is only imported by `use`."""
    _offers[name] = kernels


def use(name: str) -> Backend:
    """Choose where new arrays are made. There is no silent fallback: raises BackendError (exit
    code 3) when the backend is not available."""
    global _current
    if name not in _backends and name in _offers:
        cupy = _load_cupy()  # now and not earlier: it takes seconds, and NumPy needs no GPU
        register(name, cupy.ndarray, cupy, _offers[name])
    if name not in _backends:
        raise BackendError(f"backend {name!r} is not available here; available: "
                           f"{', '.join(sorted(_backends))}")
    _current = name
    return _backends[name]


def is_available(name: str) -> bool:
    """Whether `use(name)` would work: for "cupy", whether CuPy is installed and finds a device."""
    try:
        return name in _backends or (name in _offers and bool(_load_cupy()))
    except BackendError:
        return False


def current() -> Backend:
    """The backend that new arrays are made on."""
    return _backends[_current]


# A Tensor's kinds of numbers, as dtypes: comparing with np.float32 itself would make one each
# time.
FLOATS = np.dtype(np.float32), np.dtype(np.float64)


def _find_home(kind: type) -> Backend:
    """The backend whose arrays are of this type, kept in _homes. Raises BackendError when there is
    none."""
    for home in _backends.values():
        if issubclass(kind, home.array_type):
            _homes[kind] = home
            return home
    raise BackendError(f"got a {kind.__name__}, expected an array of: "
                       f"{', '.join(sorted(_backends))}; wrap data in a Tensor first")


def _backend_of(*arrays: Any) -> Backend:
    """The backend that all these arrays belong to; None entries are skipped."""
    common = None
    for array in arrays:
        if array is None:
            continue
        home = _homes.get(type(array)) or _find_home(type(array))
        if common is not None and home is not common:
            raise BackendError(f"one operation got arrays of two backends, {common.name!r} and "
                               f"{home.name!r}; move one of them with backend.asarray or "
                               "backend.to_numpy")
        common = home
    if common is None:
        raise BackendError("an operation needs at least one array")
    return common


def xp_of(*arrays: Any) -> Any:
    """The array module of these arrays; None entries are skipped.

    Raises BackendError when they belong to two backends.
    """
    return _backend_of(*arrays).xp


def kernels_for(*arrays: Any) -> Any:
    """The kernel module of these arrays; None entries are skipped.

    Raises BackendError when they belong to two backends.
    """
    return _backend_of(*arrays).kernels


def is_array(value: Any) -> bool:
    """Whether `value` is an array of some registered backend."""
    return any(isinstance(value, b.array_type) for b in _backends.values())


def asarray(value: Any, dtype: Any = None) -> Any:
    """The door in: `value` as an array of the current backend, copied only where it must be.

    The order of its axes in memory stays, channels last for instance.
    """
    is_here = isinstance(value, current().array_type)
    if is_here:
        return value if dtype is None else value.astype(dtype, copy=False)
    value = to_numpy(value)
    # CuPy copies into C order. So the axes are first put in the order that they have in memory, and
    # on the device back in the order that they had.
    axes = sorted(range(value.ndim), key=lambda axis: -value.strides[axis])
    in_memory = value.transpose(axes)  # (N,C,H,W) -> (N,H,W,C) for channels last
    device = current().xp.asarray(np.asarray(in_memory, order="C"), dtype=dtype)
    return device.transpose(np.argsort(axes).tolist())  # (N,H,W,C) -> (N,C,H,W)


def float_array(value: Any) -> Any:
    """`value` as an array of float32 or float64: itself if it is one; other arrays of real
    numbers, and what NumPy makes of lists and numbers, in float32, the latter on the current
    backend.

    Subclasses of NumPy's arrays become plain ones, because a product of np.matrix, for instance,
    would not be element by element. Raises KindError for what is not real numbers.
    """
    if type(value) is np.ndarray and value.dtype in FLOATS:  # what every operation returns
        return value
    array = value
    if not is_array(value):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:  # lists of lists of different lengths
            raise KindError(f"got a {type(value).__name__} that makes no array: {error}") from None
    elif isinstance(value, np.ma.MaskedArray):
        raise KindError("got a masked array, expected numbers everywhere; use its .filled(value)")
    elif isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)  # itself, unless it is a subclass or what NumPy makes of a 0-d
    if array.dtype.kind not in "biuf":
        raise KindError(f"got a {type(value).__name__} of {array.dtype}, expected real numbers")
    if not is_array(value):
        return asarray(array.astype(np.float32))
    return array if array.dtype in FLOATS else array.astype(np.float32)


def to_numpy(array: Any) -> np.ndarray:
    """The door out: a host copy of a device array, for which a GPU has to finish its work; of a
    NumPy array the array itself."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


# The device.

WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
INSTALL = ('pip install "cupy-cuda13x[ctk]" for CUDA 13, "cupy-cuda12x[ctk]" for CUDA 12 '
           "(nvidia-smi says which)")


def _load_cupy() -> Any:
    """CuPy, in working order. Raises BackendError, one line that says what is missing and what to
    install."""
    wheels = [name for name in WHEELS if _is_installed(name)]
    if len(wheels) > 1:
        raise _no_cupy(f"{' and '.join(wheels)} are both installed, over each other: "
                       f"pip uninstall -y {' '.join(wheels)}, then {INSTALL}")
    try:
        import cupy
        if cupy.cuda.is_available():
            # A product needs cuBLAS, and `ones` needs a compiler: what is missing shows here.
            cupy.ones((2, 2), np.float32) @ cupy.ones((2, 2), np.float32)
            return cupy
        fault = "finds no NVIDIA driver or no GPU that it can use (nvidia-smi must list one)"
    except Exception as error:  # CuPy raises whatever the missing library makes it raise
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise _no_cupy(f"CuPy is not installed; {INSTALL}") from None
        reason = (str(error).strip().splitlines() or [""])[0]
        fault = f"does not work ({type(error).__name__}: {reason}); reinstall it: {INSTALL}"
    raise _no_cupy(f"CuPy is installed but {fault}")


def _no_cupy(reason: str) -> BackendError:
    return BackendError(f"backend 'cupy' is not available here: {reason}; or use the numpy "
                        "backend")


def _is_installed(package: str) -> bool:
    try:
        return bool(distribution(package))
    except PackageNotFoundError:
        return False


PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_precision = "fp32"


def set_precision(precision: str) -> None:
    """Choose how the GPU multiplies float32 matrices, in convolutions and linear layers too.

        "fp32"            in full
        "tf32"            factors rounded to 10 bits of fraction, for the tensor cores
        "fp16", "bf16"    factors rounded to two bytes (kernels/half.py)

    Sums stay float32. Raises BackendError where that is not possible: on NumPy, and for tf32 and
    bf16 on GPUs before Ampere (2020). Raises UsageError for another word.
    """
    global _precision
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}, expected one of "
                         f"{', '.join(PRECISIONS)}")
    if _current == "cupy":
        xp = current().xp
        if precision in ("tf32", "bf16") and int(xp.cuda.Device().compute_capability) < 80:
            raise BackendError(f"this GPU has no {precision.upper()} (compute capability below "
                               "8.0); use precision fp32 or fp16")
        # For `@` outside of the kernels; private, but CuPy's only switch at run time.
        from cupy._core import _routines_linalg as kinds
        from cupy._core import set_compute_type
        set_compute_type(np.float32, kinds.COMPUTE_TYPE_TF32 if precision == "tf32"
                         else kinds.COMPUTE_TYPE_DEFAULT)
    elif precision != "fp32":
        raise BackendError(f"precision {precision!r} needs the cupy backend, the current one is "
                           f"{_current!r}")
    _precision = precision


def precision() -> str:
    """The precision that set_precision chose last."""
    return _precision


def nccl() -> Any:
    """CuPy's NCCL, through which GPUs send to each other (comm/nccl.py). Raises BackendError when
    CuPy has none."""
    try:
        from cupy.cuda import nccl
    except ImportError as error:
        raise BackendError("several GPUs need NCCL, and this CuPy finds none "
                           f"({error}); pip install nvidia-nccl-cu13, or cu12") from None
    return nccl


def devices() -> int:
    """How many GPUs this process sees; 0 for NumPy."""
    return current().xp.cuda.runtime.getDeviceCount() if _current == "cupy" else 0


def use_device(number: int) -> None:
    """Compute on this GPU from here on, in this thread. Of NumPy there is only one."""
    if _current == "cupy":
        current().xp.cuda.Device(number).use()


def pinned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A host array in page-locked memory, which the device reads and writes without the
    processor's help. Its content is what was there before."""
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    memory = current().xp.cuda.alloc_pinned_memory(max(1, n_bytes))  # 0 bytes have no address
    return np.ndarray(shape, dtype, buffer=memory)


def synchronize() -> None:
    """Wait until the device has finished its work, before a clock is read."""
    if _current == "cupy":
        current().xp.cuda.get_current_stream().synchronize()


def memory() -> tuple[int, int]:
    """(used, held): the bytes of living arrays on the device, and those that CuPy's pool has
    taken, which is the peak so far since the pool gives nothing back. (0, 0) for NumPy, which
    keeps no account."""
    if _current != "cupy":
        return 0, 0
    pool = current().xp.get_default_memory_pool()
    return pool.used_bytes(), pool.total_bytes()


def capacity() -> int:
    """The bytes of the device that arrays may take in all: --memory-limit, else its memory. 0 for
    NumPy."""
    if _current != "cupy":
        return 0
    return current().xp.get_default_memory_pool().get_limit() or _device_memory()


@functools.cache
def _device_memory() -> int:
    return current().xp.cuda.Device().mem_info[1]
