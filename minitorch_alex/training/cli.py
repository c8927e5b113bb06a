"""The command line: how every program parses its flags, sets up its device, and ends.

Programs that run a network share these flags (DEVICE_FLAGS):

    --backend NAME       numpy, or cupy for a GPU
    --threads N          threads that share the work on the CPU (kernels/workers.py)
    --winograd           convolutions on the CPU by Winograd's algorithm (kernels/cpu/winograd.py)
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
import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .. import backend, kernels
from ..errors import UsageError, UserError
from ..kernels.cpu import algorithms
from . import jobs

EXIT_CODES = """exit codes:
  0  done
  1  out of memory, or an internal error
  2  wrong usage: a flag, a name, a shape
  3  the backend is not available
  4  data missing or damaged
  5  the loss became NaN or infinite
  6  a run directory or checkpoint cannot be used
  7  a file could not be written (disk full, no permission)
  8  one of several ranks has waited for the others longer than --timeout
  130, 143  interrupted by Ctrl-C or SIGTERM
  141  the reader of the output (head, say) went away"""
# In EXIT_CODES; a command says there what is kept.
INTERRUPTED = "interrupted by Ctrl-C or SIGTERM"


# Programs: parse, run, end.


def parser(name: str, about: str, epilog: str = EXIT_CODES,
           kind: type[argparse.ArgumentParser] = argparse.ArgumentParser,
           **options: Any) -> argparse.ArgumentParser:
    """The parser of `python -m NAME`; `about` and `epilog` are printed by --help with their line
    breaks."""
    return kind(prog=_called_as or f"python -m {name}", description=about,
                epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, **options)


_called_as = ""  # how the user has called the program, where not by python -m


@contextlib.contextmanager
def called_as(name: str) -> Iterator[None]:
    """Inside, the usage of a program begins with this name: "minitorch-alex train"."""
    global _called_as
    before = _called_as
    _called_as = name
    try:
        yield
    finally:
        _called_as = before


def run_cli(main: Callable[[], int | None]) -> None:
    """Run a program's `main` and exit; a UserError becomes one line on stderr and an exit code. Of
    several ranks, one that ends early ends all."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a line appears at once in a pipe too
    try:
        with guest_of_process(), jobs.quiet():
            code = main() or 0
    except SystemExit as stop:  # argparse's
        jobs.abort(stop.code if isinstance(stop.code, int) else 1)
        raise
    except UserError as error:
        jobs.report(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of the output, `head` say, went away
        # Python flushes at exit, which would fail again: let it flush into nothing.
        with contextlib.suppress(OSError, ValueError):  # a notebook's stdout has no descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:
        text = out_of_memory(error)
        if text is None:
            jobs.crash()
            raise
        jobs.report(f"{text}; use a smaller --batch-size")
        code = 1
    else:  # all ranks end alike, and wait for each other
        sys.exit(code)
    jobs.abort(code)
    sys.exit(code)


@contextlib.contextmanager
def guest_of_process() -> Iterator[None]:
    """Inside, a name that the encoding of stdout or stderr lacks is printed as an escape; after it
    both are as they were, and so are the number of threads, the algorithms and the one variable of
    the environment that a program sets (_fix_workspace).

    Every program's `main` runs in it, also where a notebook or a script calls it.
    """
    variable = os.environ.get(WORKSPACE_VARIABLE)
    threads = kernels.get_threads()
    policy = algorithms.policy()
    handlers = []
    for stream in (sys.stdout, sys.stderr):
        # A user's own choice, PYTHONIOENCODING=ascii:replace, never fails. A notebook's stream
        # takes any text.
        fails = getattr(stream, "errors", None) in ("strict", "surrogateescape")
        if fails and isinstance(stream, io.TextIOWrapper):
            handlers.append((stream, stream.errors))
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in handlers:
            if not stream.closed:
                stream.reconfigure(errors=errors)
        if kernels.get_threads() != threads:
            kernels.set_threads(threads)
        algorithms.use(policy)
        if variable is None and WORKSPACE_VARIABLE in os.environ:
            del os.environ[WORKSPACE_VARIABLE]
            _started_fixed.append(sys.modules.get("cupy"))


def out_of_memory(error: Exception) -> str | None:
    """What an out-of-memory error of the host or the GPU says in one line; None for any other
    error.

    CuPy's own classes can only be named where CuPy is installed, so they are recognised by their
    texts.
    """
    text = str(error)
    # "Out of memory allocating 1,000 bytes (allocated so far: 2,000 bytes, limit set to: ..."
    sizes = [int(size.replace(",", "")) / 1e9 for size in re.findall(r"([\d,]+) bytes", text)]
    if isinstance(error, MemoryError) and len(sizes) >= 2:
        limit = f"the limit is {sizes[2]:,.2f} GB" if len(sizes) > 2 else "the GPU has no more"
        return (f"out of memory (on the GPU: asked for {sizes[0]:,.2f} GB, "
                f"{sizes[1]:,.2f} GB are in use, {limit})")
    if isinstance(error, MemoryError):
        return f"out of memory ({text})" if text else "out of memory"
    if "cudaErrorMemoryAllocation" in text or "CUBLAS_STATUS_ALLOC_FAILED" in text:
        return f"out of memory (on the GPU: {text.splitlines()[0]})"
    return None


def hide_bars() -> bool | None:
    """tqdm's `disable`: None shows bars on a terminal only. A program without a console
    (pythonw) has no stderr at all."""
    return True if sys.stderr is None else None


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss, for times that were measured."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def duration(seconds: float) -> str:
    """Seconds in words, for estimates: 12 s, 3 min, 2 h 40 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


# Flags.


def path(text: str) -> Path:
    """The type of a flag that names a file: `~` is the user's home, also in --out=~/x, where no
    shell expands it."""
    return Path(home(text))


def home(text: str) -> str:
    """As `path`, as text: the form in which a run keeps its data_dir."""
    return os.path.expanduser(text)


@dataclass(frozen=True)
class Flag:
    """One flag: its place in a parser, its default and the end of its help text follow from here.

    names      as typed, the last one gives the attribute: "-p --print-freq"
    help       what --help says, without the default
    default    the value when the flag is not given
    shown      the default in the words of --help, where the value alone does not say it
    minimum    the smallest value that makes sense, if there is one
    stored     training only: where a run keeps the value, in its "config", in the "recipe"
               therein, or "nowhere"
    on_resume  training only: whether a run that is resumed takes the flag: only with the "same"
               value, with "any", or "never"
    options    what argparse's add_argument takes besides: type, metavar, action, choices, nargs,
               const, dest
    """

    names: str
    help: str
    default: Any = None
    shown: str = ""
    minimum: float | None = None
    stored: Literal["config", "recipe", "nowhere"] = "nowhere"
    on_resume: Literal["same", "any", "never"] = "same"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dest(self) -> str:
        """The attribute that holds the value: print_freq."""
        return self.options.get("dest") or self.names.split()[-1].lstrip("-").replace("-", "_")

    @property
    def name(self) -> str:
        """The flag as messages quote it: --print-freq."""
        return self.names.split()[-1]

    def check(self, value: Any) -> None:
        """Raises UsageError when the value is below the minimum."""
        if self.minimum is not None and value is not None and not value >= self.minimum:
            least = "0 or more" if self.minimum == 0 else f"at least {self.minimum:g}"
            raise UsageError(f"{self.name} must be {least}, got {value}")

    def add_to(self, parser: Any, default: Any = ...) -> None:
        """Add the flag to a parser or a group of one, with another default if one is given."""
        value = self.default if default is ... else default
        silent = self.default is None or self.default is False or self.default == ()
        text = self.shown or ("" if silent else str(self.default))
        suffix = f" (default: {text})" if text else ""
        # argparse itself would take the first long name for the attribute
        options = {"dest": self.dest, **self.options}
        parser.add_argument(*self.names.split(), default=value, help=self.help + suffix, **options)


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


def add_flags(parser: Any, flags: Iterable[Flag]) -> None:
    """Add flags to a parser or a group of one."""
    for flag in flags:
        flag.add_to(parser)


def add_device_flags(parser: Any) -> None:
    """Add DEVICE_FLAGS to a parser or a group of one."""
    add_flags(parser, DEVICE_FLAGS)


def check_flags(args: argparse.Namespace, flags: Iterable[Flag]) -> None:
    """Raises UsageError for a value below the flag's minimum."""
    for flag in flags:
        flag.check(getattr(args, flag.dest))


# The device that the flags describe.

# The variable of cuBLAS's workspace, and its values for which cuBLAS promises equal bits.
WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")
# The module cupy of this process, once it has started under a variable that a program set.
_started_fixed: list[Any] = []


def use_device(settings: Mapping[str, Any]) -> None:
    """Set up the backend and the threads as the settings named in DEVICE_DEFAULTS say; threads of
    0 or None stay as they are. Raises UsageError for values that make no sense, BackendError for a
    backend that is not available."""
    _check_device(settings)
    name = settings["backend"]
    workspace = settings["workspace"]
    if settings.get("threads"):
        kernels.set_threads(settings["threads"])
    kernels.set_winograd(settings["conv"] == "winograd")
    kernels.set_workspace(None if workspace is None else int(workspace * 1e9))
    if name == "cupy" and settings["deterministic"]:
        _fix_workspace()
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


def _fix_workspace() -> None:
    """Make cuBLAS promise equal bits whatever other streams do. It reads the variable when it
    starts: what a first program of this process has set holds for a second one."""
    value = os.environ.get(WORKSPACE_VARIABLE)
    if value is None and ("cupy" not in sys.modules or sys.modules["cupy"] in _started_fixed):
        os.environ[WORKSPACE_VARIABLE] = WORKSPACES[0]
    elif value not in WORKSPACES:
        raise UsageError(f"--deterministic needs CUBLAS_WORKSPACE_CONFIG={WORKSPACES[0]} in the "
                         f"environment before CuPy starts; it is {value or 'not set'}")


def describe_device(settings: Mapping[str, Any] = DEVICE_DEFAULTS) -> str:
    """The GPU, its memory, the versions of CUDA and CuPy, and how it is set up; "" for every other
    backend."""
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
    """What a result notes about the device: nothing for NumPy; for CuPy the device, how it was set
    up, and the memory that CuPy's pool has taken, which is the peak."""
    if backend.current().name != "cupy":
        return {}
    chosen = {name: settings[name] for name in ("precision", "memory_limit", "deterministic")}
    return {"device": describe_device(settings), **chosen, **device_memory()}


def device_memory() -> dict[str, float]:
    """{"device_memory_gb": the peak so far}, or {} for a backend that keeps no account."""
    held = backend.memory()[1]
    return {"device_memory_gb": round(held / 1e9, 3)} if held else {}
