"""The device on which a network runs: its flags (DEVICE_FLAGS), what they set, and its description.

    --backend NAME       numpy, or cupy for a GPU
    --threads N          threads that share the work on the CPU (kernels/workers.py)
    --conv NAME          how the CPU computes convolutions: im2col, winograd
                         (kernels/cpu/winograd.py), or auto, the faster one for each layer
                         (training/convolution.py)
    --winograd           the same as --conv winograd
    --workspace GB       on the CPU, how much freed memory is kept for the next step
                         (kernels/memory.py)
    --precision NAME     precision of float32 matrix products on a GPU (backend.set_precision):
                         fp32 multiplies in full; tf32, fp16 and bf16 round the factors for the
                         tensor cores. fp16 (kernels/half.py) scales each factor, and bf16 has the
                         range of float32, so the loss need not be scaled; locally connected layers
                         stay in float32.
    --memory-limit GB    limit of CuPy's memory pool, in 10^9 bytes; CUDA itself takes some hundred
                         MB on top
    --deterministic      bit-identical results run after run, or an error. The kernels of this
                         package always sum in a fixed order, and NumPy does so for a fixed number
                         of threads, which a run keeps. That leaves cuBLAS: it promises equal bits
                         on one GPU model and one version of CUDA, but with several streams only if
                         its workspace is fixed, which must happen before it starts.
"""
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ... import backend, kernels
from ...errors import UsageError
from ...kernels.cpu import algorithms
from .flags import Flag, add_flags

DEVICE_FLAGS = (
    Flag("--backend", "numpy or cupy", "numpy", stored="config", options={"metavar": "NAME"}),
    Flag("--threads", "worker threads", 0, shown="the available CPUs", minimum=0,
         stored="config", on_resume="any", options={"type": int, "metavar": "N"}),
    Flag("--winograd", "the same as --conv winograd", "auto", shown="off", stored="config",
         options={"dest": "conv", "action": "store_const", "const": "winograd"}),
    Flag("--conv", "how the CPU computes convolutions: im2col; winograd, with a quarter of the "
         "multiplications, whose float32 results are accurate to 5e-6 instead of 5e-7; or auto, "
         "which times both before it begins and takes the faster one for each layer", "auto",
         stored="config", options={"metavar": "NAME"}),
    Flag("--workspace", "on the CPU, freed memory to keep for the next step", None,
         shown="all; 0 keeps none and is slower", stored="config", on_resume="any",
         options={"type": float, "metavar": "GB"}),
    Flag("--precision", "precision of matrix products on the GPU: fp32, tf32, fp16 or bf16; tf32 "
         "and fp16 round the factors to 11 significant bits for the tensor cores, bf16 to 8; fp16 "
         "and bf16 also halve their bytes; no loss scaling is needed", "fp32", stored="config",
         options={"metavar": "NAME"}),
    Flag("--memory-limit", "GPU memory to use at most", 0.0, shown="all", stored="config",
         on_resume="any", options={"type": float, "metavar": "GB"}),
    Flag("--deterministic", "make repeated runs on one machine bit-identical, or exit with an "
         "error (fixes cuBLAS's workspace; every other sum already has a fixed order)", False,
         stored="config", on_resume="any", options={"action": "store_true"}),
)
CONVOLUTIONS = ("auto", "im2col", "winograd")
DEVICE_DEFAULTS: dict[str, Any] = {flag.dest: flag.default for flag in DEVICE_FLAGS}

# The variable of cuBLAS's workspace, and its values for which cuBLAS promises equal bits.
WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")
# The module cupy of this process, once it has started under a variable that a program set.
_started_fixed: list[Any] = []


def add_device_flags(parser: Any) -> None:
    """Add DEVICE_FLAGS to a parser or a group of one."""
    add_flags(parser, DEVICE_FLAGS)


# What they set.


def use_device(settings: Mapping[str, Any]) -> None:
    """Set up the backend, the threads and the algorithms as the settings named in DEVICE_DEFAULTS
    say; with threads of 0 or None their number stays. Raises UsageError for values that make no
    sense, BackendError for a backend that is not available."""
    _check_device(settings)
    name = settings["backend"]
    workspace = settings["workspace"]
    if settings.get("threads"):
        kernels.set_threads(settings["threads"])
    kernels.set_winograd(settings["conv"] == "winograd")
    kernels.set_workspace(None if workspace is None else int(workspace * 1e9))
    if name == "cupy" and settings["deterministic"]:
        fix_workspace()
    xp = backend.use(name).xp
    if name in ("numpy", "cupy"):
        backend.set_precision(settings["precision"])
    if settings["memory_limit"]:
        xp.get_default_memory_pool().set_limit(size=int(settings["memory_limit"] * 1e9))


def _check_device(settings: Mapping[str, Any]) -> None:
    """Raises UsageError for settings that make no sense, alone or together."""
    name = settings["backend"]
    precision = settings["precision"]
    limit = settings["memory_limit"]
    workspace = settings["workspace"]
    threads = settings.get("threads") or 0
    if threads < 0:
        raise UsageError(f"--threads must be 0 (the available CPUs) or more, got {threads}")
    if precision not in backend.PRECISIONS:
        *others, last = backend.PRECISIONS
        raise UsageError(f"unknown --precision {precision!r}, expected {', '.join(others)} or "
                         f"{last}")
    if not 0 <= limit < float("inf"):
        raise UsageError(f"--memory-limit must be above 0 (in GB), got {limit:g}")
    if workspace is not None and not 0 <= workspace < float("inf"):
        raise UsageError(f"--workspace must be 0 or more (in GB), got {workspace:g}")
    if settings["conv"] not in CONVOLUTIONS:
        raise UsageError(f"unknown --conv {settings['conv']!r}, expected auto, im2col or winograd")
    if name == "cupy" and (settings["conv"] == "winograd" or workspace is not None):
        raise UsageError("--conv winograd and --workspace only work on the CPU; remove them or "
                         "use --backend numpy")
    if name == "numpy" and precision != "fp32":
        raise UsageError(f"--precision {precision} needs --backend cupy: "
                         "NumPy multiplies float32 in full")
    if name == "numpy" and limit:
        raise UsageError("--memory-limit needs --backend cupy: "
                         "NumPy keeps no account of its memory")


def fix_workspace() -> None:
    """Make cuBLAS promise equal bits whatever other streams do. It reads the variable when it
    starts: what a first program of this process has set holds for a second one.

    Raises UsageError when CuPy has started already without the variable, or it has another value.
    """
    value = os.environ.get(WORKSPACE_VARIABLE)
    if value is None and ("cupy" not in sys.modules or sys.modules["cupy"] in _started_fixed):
        os.environ[WORKSPACE_VARIABLE] = WORKSPACES[0]
    elif value not in WORKSPACES:
        raise UsageError(f"--deterministic needs CUBLAS_WORKSPACE_CONFIG={WORKSPACES[0]} in the "
                         f"environment before CuPy starts; it is {value or 'not set'}")


@contextlib.contextmanager
def restore_device() -> Iterator[None]:
    """Run the block; afterwards the number of threads, the algorithms of convolutions and the one
    variable of the environment that `use_device` may set are as they were before."""
    variable = os.environ.get(WORKSPACE_VARIABLE)
    threads = kernels.get_threads()
    policy = algorithms.policy()
    try:
        yield
    finally:
        if kernels.get_threads() != threads:
            kernels.set_threads(threads)
        algorithms.use(policy)
        if variable is None and WORKSPACE_VARIABLE in os.environ:
            del os.environ[WORKSPACE_VARIABLE]
            _started_fixed.append(sys.modules.get("cupy"))


# What it is.


def describe_device(settings: Mapping[str, Any] = DEVICE_DEFAULTS) -> str:
    """The GPU, its memory, the versions of CUDA and CuPy, and how it is set up, in one line; "" for
    every other backend."""
    if backend.current().name != "cupy":
        return ""
    cupy = backend.current().xp
    runtime = cupy.cuda.runtime
    device = cupy.cuda.Device()
    name = runtime.getDeviceProperties(device.id)["name"].decode()
    parts = [name, f"{device.mem_info[1] / 1e9:.0f} GB",
             f"driver for CUDA {_version(runtime.driverGetVersion())}",
             f"CUDA {_version(runtime.runtimeGetVersion())}",
             f"cupy {cupy.__version__}", settings["precision"]]
    if settings["memory_limit"]:
        parts.append(f"at most {settings['memory_limit']:g} GB")
    if settings["deterministic"]:
        parts.append("deterministic")
    return ", ".join(parts)


def _version(number: int) -> str:
    """CUDA's 12090 as 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}"


def device_record(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says about the device: {} for NumPy; for CuPy the device, how it was set up,
    and the memory that CuPy's pool has taken, which is the peak."""
    if backend.current().name != "cupy":
        return {}
    chosen = {name: settings[name] for name in ("precision", "memory_limit", "deterministic")}
    return {"device": describe_device(settings), **chosen, **device_memory()}


def device_memory() -> dict[str, float]:
    """{"device_memory_gb": the peak so far}, or {} for a backend that keeps no account."""
    held = backend.memory()[1]
    return {"device_memory_gb": round(held / 1e9, 3)} if held else {}
