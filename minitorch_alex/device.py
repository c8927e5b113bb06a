"""What a program asks of its backend, and what it reports of it: the flags that all programs with a network share.

    --winograd                convolutions on the CPU by Winograd's algorithm (kernels/cpu/winograd.py)
    --workspace GB            on the CPU, freed memory that is kept for the next step (kernels/memory.py)
    --precision NAME           of float32 matrix products on a GPU (backend.set_precision): fp32 is full, tf32 and fp16
                               round the factors for the tensor cores. fp16 (kernels/half.py) scales each of them, so
                               that the loss need not be scaled; locally connected layers stay in float32.
    --memory-limit GB          of CuPy's memory pool, in 10^9 bytes; CUDA itself takes some hundred MB besides
    --deterministic            equal bits run for run, or a refusal. The kernels of this package sum in a fixed order
                               always, and NumPy does for a fixed number of threads, which a run keeps. What is left is
                               cuBLAS: it promises equal bits on one GPU model and one version of CUDA, but with several
                               streams at work only if its workspace is fixed, which must happen before it starts.
"""
import argparse
import functools
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from . import backend, kernels
from .errors import UsageError

DEFAULTS: dict[str, Any] = {"backend": "numpy", "precision": "fp32", "memory_limit": 0.0, "deterministic": False,
                            "winograd": False, "workspace": None}
WORKSPACES = (":4096:8", ":16:8")  # the values of CUBLAS_WORKSPACE_CONFIG for which cuBLAS promises equal bits


def add_flags(parser: Any) -> None:
    """--backend and the flags above, for a parser or a group of one."""
    parser.add_argument("--backend", metavar="NAME", help="numpy (default) or cupy")
    parser.add_argument("--winograd", action="store_true", help="on the CPU, convolve with a quarter of the "
                        "multiplications: faster for nets of AlexNet's width; float32 is good to 5e-6, not to 5e-7")
    parser.add_argument("--workspace", type=float, metavar="GB", help="on the CPU, freed memory to keep for the next "
                        "step (default: all; 0 keeps none and is slower)")
    parser.add_argument("--precision", metavar="NAME",
                        help="of matrix products on the GPU: fp32 (default); tf32 or fp16: factors are rounded to 11 "
                        "significant bits for the tensor cores, fp16 also halves their bytes; no loss scale is needed")
    parser.add_argument("--memory-limit", type=float, metavar="GB", help="GPU memory to use at most (default: all)")
    parser.add_argument("--deterministic", action="store_true",
                        help="equal bits run for run on one machine, or a refusal: fixes cuBLAS's workspace; all else "
                        "sums in a fixed order anyway")


def use(settings: Mapping[str, Any]) -> None:
    """Choose and set up the backend as the settings named in DEFAULTS say. UsageError for what makes no sense,
    BackendError for what is not to be had here."""
    name, precision, limit = (settings[k] for k in ("backend", "precision", "memory_limit"))
    if precision not in ("fp32", "tf32", "fp16"):
        raise UsageError(f"unknown --precision {precision!r}, expected fp32, tf32 or fp16")
    if not 0 <= limit < float("inf"):
        raise UsageError(f"--memory-limit must be above 0 (in GB), got {limit:g}")
    workspace = settings["workspace"]
    if workspace is not None and not 0 <= workspace < float("inf"):
        raise UsageError(f"--workspace must be 0 or more (in GB), got {workspace:g}")
    if name == "cupy" and (settings["winograd"] or workspace is not None):
        raise UsageError("--winograd and --workspace are of the CPU's kernels: leave them out, or take --backend numpy")
    kernels.set_winograd(settings["winograd"])
    kernels.set_workspace(None if workspace is None else int(workspace * 1e9))
    if name == "numpy" and precision != "fp32":
        raise UsageError(f"--precision {precision} needs --backend cupy: NumPy multiplies float32 in full")
    if name == "numpy" and limit:
        raise UsageError("--memory-limit needs --backend cupy: NumPy keeps no account of its memory")
    if name == "cupy" and settings["deterministic"]:
        _fix_workspace()
    xp = backend.use(name).xp
    if name in ("numpy", "cupy"):
        backend.set_precision(precision)
    if limit:
        xp.get_default_memory_pool().set_limit(size=int(limit * 1e9))


def _fix_workspace() -> None:
    """Make cuBLAS promise equal bits whatever other streams do. It reads the variable when it starts."""
    value = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if value is None and "cupy" not in sys.modules:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = WORKSPACES[0]
    elif value not in WORKSPACES:
        raise UsageError(f"--deterministic needs CUBLAS_WORKSPACE_CONFIG={WORKSPACES[0]} in the environment before "
                         f"CuPy starts; it is {value or 'not set'}")


def describe(settings: Mapping[str, Any] = DEFAULTS) -> str:
    """The GPU, its memory, the versions of CUDA and CuPy, and how it is set up; "" where the backend is another."""
    if backend.current().name != "cupy":
        return ""
    cupy = backend.current().xp
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    name = runtime.getDeviceProperties(device.id)["name"].decode()
    driver, built = (f"{v // 1000}.{v % 1000 // 10}" for v in (runtime.driverGetVersion(), runtime.runtimeGetVersion()))
    text = f"{name}, {device.mem_info[1] / 1e9:.0f} GB, driver for CUDA {driver}, CUDA {built}, cupy {cupy.__version__}"
    text += f", {settings['precision']}"
    text += f", at most {settings['memory_limit']:g} GB" if settings["memory_limit"] else ""
    return text + (", deterministic" if settings["deterministic"] else "")


def record(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a result notes of the device: nothing for NumPy; for CuPy the device, how it was set up, and the memory that
    CuPy's pool has taken, which is the peak."""
    if backend.current().name != "cupy":
        return {}
    return {"device": describe(settings), **{k: settings[k] for k in ("precision", "memory_limit", "deterministic")},
            **memory()}


def memory() -> dict[str, float]:
    """{"device_memory_gb": the peak so far}, or {} for a backend that keeps no account."""
    held = backend.memory()[1]
    return {"device_memory_gb": round(held / 1e9, 3)} if held else {}


def clear_memory_errors(main: Callable[..., int]) -> Callable[..., int]:
    """`main` with a device's out-of-memory errors as a MemoryError that says what was asked for, what was in use and
    what the limit was, for errors.run_cli to print."""
    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> int:
        try:
            return main(*args, **kwargs)
        except Exception as error:  # CuPy's own classes, which only CuPy can name
            sizes = [int(size.replace(",", "")) / 1e9 for size in re.findall(r"([\d,]+) bytes", str(error))]
            if isinstance(error, MemoryError) and len(sizes) >= 2:
                limit = f"the limit is {sizes[2]:,.2f} GB" if len(sizes) > 2 else "the GPU has no more"
                text = f"on the GPU: asked for {sizes[0]:,.2f} GB, {sizes[1]:,.2f} GB are in use, {limit}"
                raise MemoryError(text) from None
            if any(code in str(error) for code in ("cudaErrorMemoryAllocation", "CUBLAS_STATUS_ALLOC_FAILED")):
                raise MemoryError(f"on the GPU: {str(error).splitlines()[0]}") from None
            raise
    return run


def parse(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The arguments, with DEFAULTS for the flags above that were not given."""
    parser.set_defaults(**DEFAULTS)
    return parser.parse_args(argv)
