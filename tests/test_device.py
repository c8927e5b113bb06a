"""Choosing and setting up a backend: what is missing is said in one line, and the flags do what they say or refuse.

Without a GPU: a module that looks like CuPy stands in for it, and records what it is asked.
"""
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import host_cuda
import numpy as np
import pytest

from minitorch_alex import backend, evaluate, predict, profile, selftest, train
from minitorch_alex.errors import BackendError, UsageError
from minitorch_alex.kernels import gpu, memory
from minitorch_alex.kernels.cpu import algorithms
from minitorch_alex.kernels.window import Window
from minitorch_alex.plots import __main__ as plots
from minitorch_alex.training import cli
from minitorch_alex.training.cli import run_cli


class FakePool:
    def __init__(self):
        self.limit = None

    def used_bytes(self):
        return 10

    def total_bytes(self):
        return 30_000_000

    def set_limit(self, size):
        self.limit = size


def fake_cupy(available=True, capability="90", broken=None):
    """A module that looks like CuPy to backend.py and training/cli/device.py."""
    def ones(shape, dtype):
        if broken:
            raise broken
        return np.ones(shape, dtype)
    log, pool = [], FakePool()
    stream = SimpleNamespace(synchronize=lambda: log.append("synchronize"))
    runtime = SimpleNamespace(getDeviceProperties=lambda number: {"name": b"NVIDIA H200"},
                              driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12090)
    cuda = SimpleNamespace(is_available=lambda: available, get_current_stream=lambda: stream, runtime=runtime,
                           Device=lambda: SimpleNamespace(compute_capability=capability, id=0,
                                                          mem_info=(10**9, 150_000_000_000)))
    return SimpleNamespace(cuda=cuda, ones=ones, ndarray=type("ndarray", (), {}), log=log, __version__="14.2.0",
                           get_default_memory_pool=lambda: pool)


@pytest.fixture
def machine(monkeypatch):
    """Describe a machine: its `cupy` module (None: there is none) and the wheels that pip lists."""
    asked = []
    core = SimpleNamespace(set_compute_type=lambda dtype, kind: asked.append((np.dtype(dtype).name, kind)),
                           _routines_linalg=SimpleNamespace(COMPUTE_TYPE_DEFAULT="full", COMPUTE_TYPE_TF32="tf32"))

    def describe(module, *wheels):
        def distribution(name):
            if name not in wheels:
                raise PackageNotFoundError(name)
            return SimpleNamespace(name=name)
        monkeypatch.setitem(sys.modules, "cupy", module)
        monkeypatch.setitem(sys.modules, "cupy._core", core)
        monkeypatch.setattr(backend, "distribution", distribution)
        return asked
    before, current = dict(backend._backends), backend._current
    backend._backends.pop("cupy", None)
    yield describe
    backend._backends.clear()
    backend._backends.update(before)
    backend._current, backend._precision = current, "fp32"


MISSING = pytest.mark.parametrize("module, wheels, texts", (
    (None, (), ("CuPy is not installed", 'pip install "cupy-cuda13x[ctk]" for CUDA 13', "cupy-cuda12x")),
    (fake_cupy(available=False), ("cupy-cuda13x",), ("no NVIDIA driver or no GPU", "nvidia-smi")),
    (fake_cupy(), ("cupy-cuda12x", "cupy-cuda13x"), ("cupy-cuda12x and cupy-cuda13x are both installed",
                                                     "pip uninstall -y cupy-cuda12x cupy-cuda13x")),
    (fake_cupy(broken=ImportError("libcublas.so.13: cannot open\nand much more")), ("cupy-cuda13x",),
     ("ImportError: libcublas.so.13: cannot open)", "pip install")),
    (SimpleNamespace(), (), ("does not work (AttributeError",)),
), ids=("no CuPy", "no device", "two wheels", "no cuBLAS", "an empty folder named cupy"))


@MISSING
def test_without_a_working_cupy_one_line_says_what_to_install(machine, module, wheels, texts):
    machine(module, *wheels)
    assert not backend.is_available("cupy")
    with pytest.raises(BackendError) as caught:
        backend.use("cupy")
    message = str(caught.value)
    assert caught.value.exit_code == 3 and "\n" not in message and message.startswith("backend 'cupy' is not available")
    assert all(text in message for text in (*texts, "numpy")), message
    assert backend.current().name == "numpy" and "cupy" not in backend._backends


@MISSING
@pytest.mark.parametrize("program, args", (
    (train.main, ["--data", "shapes"]), (evaluate.main, ["runs/any"]), (selftest.main, []), (plots.main, ["runs/any"]),
    (predict.main, ["any.png", "--weights", "runs/any"]), (profile.main, ["quick_26"])),
    ids=("train", "evaluate", "selftest", "plots", "predict", "profile"))
def test_every_program_says_it_and_ends_with_code_3(machine, module, wheels, texts, program, args, capsys, monkeypatch,
                                                    tmp_path):
    monkeypatch.chdir(tmp_path)
    machine(module, *wheels)
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: program([*args, "--backend", "cupy"]))
    err = capsys.readouterr().err
    assert stop.value.code == 3 and err.startswith("error: backend 'cupy' is not available") and err.count("\n") == 1
    assert all(text in err for text in texts) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ("", "class cuda:\n    is_available = staticmethod(lambda: False)\n"),
                         ids=("an empty module", "no device"))
def test_where_cupy_finds_no_gpu_its_tests_are_collected_and_skipped(module, tmp_path):
    """That CuPy can be imported is not enough to run them, nor its absence a failure."""
    (tmp_path / "cupy.py").write_text(module)
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider",
                           str(root / "tests" / "test_gpu.py")], cwd=root, text=True, capture_output=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root)))})
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0 and re.fullmatch(r"\d+ skipped in .*", last), done.stdout + done.stderr
    assert done.stdout.count(": CuPy finds no GPU here") > 10


def test_with_a_working_one_the_kernels_are_those_of_gpu(machine):
    cupy = fake_cupy()
    machine(cupy, "cupy-cuda13x")
    assert backend.is_available("cupy") and backend.is_available("numpy") and not backend.is_available("jax")
    assert backend.use("cupy").kernels is gpu and backend.current().xp is cupy
    assert backend.kernels_for(cupy.ndarray()) is gpu
    with pytest.raises(BackendError, match="'numpy' and 'cupy'"):
        backend.xp_of(np.zeros(1), cupy.ndarray())
    assert backend.memory() == (10, 30_000_000)
    backend.synchronize()
    assert cupy.log == ["synchronize"]


def test_precision_is_cupys_switch(machine):
    cupy = fake_cupy()
    asked = machine(cupy, "cupy-cuda13x")
    backend.use("cupy")
    backend.set_precision("tf32")
    backend.set_precision("fp32")
    assert asked == [("float32", "tf32"), ("float32", "full")]
    backend.set_precision("tf32")
    backend.set_precision("fp16")  # what `@` multiplies even then, three dimensions say, it multiplies in full
    assert asked[3] == ("float32", "full") and backend.precision() == "fp16"
    cupy.cuda.Device = lambda: SimpleNamespace(compute_capability="75")
    with pytest.raises(BackendError, match="no TF32"):
        backend.set_precision("tf32")
    with pytest.raises(UsageError, match="fp8"):
        backend.set_precision("fp8")
    assert backend.precision() == "fp16", "a refusal changes nothing"
    backend.set_precision("fp32")
    assert backend.precision() == "fp32"


def test_on_numpy_there_is_nothing_to_set_or_wait_for():
    backend.set_precision("fp32")
    backend.synchronize()
    assert backend.memory() == (0, 0) and cli.describe_device() == "" and cli.device_memory() == {}
    assert cli.device_record(cli.DEVICE_DEFAULTS) == {}
    for precision in ("tf32", "fp16"):
        with pytest.raises(BackendError, match=f"'{precision}' needs the cupy backend"):
            backend.set_precision(precision)
    assert backend.precision() == "fp32"


# the flags


def settings(**changes):
    return {**cli.DEVICE_DEFAULTS, **changes}


def test_the_flags_reach_cupy_and_the_record(machine, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    cupy = fake_cupy()
    asked = machine(cupy, "cupy-cuda13x")
    chosen = settings(backend="cupy", precision="tf32", memory_limit=1.5, deterministic=True)
    cli.use_device(chosen)
    assert backend.current().name == "cupy" and asked == [("float32", "tf32")]
    assert cupy.get_default_memory_pool().limit == 1_500_000_000
    text = "NVIDIA H200, 150 GB, driver for CUDA 13.0, CUDA 12.9, cupy 14.2.0, tf32, at most 1.5 GB, deterministic"
    assert cli.describe_device(chosen) == text
    assert cli.device_record(chosen) == {"device": text, "precision": "tf32", "memory_limit": 1.5,
                                         "deterministic": True, "device_memory_gb": 0.03}


def test_half_precision_is_a_flag_like_the_others(machine):
    machine(fake_cupy(), "cupy-cuda13x")
    chosen = settings(backend="cupy", precision="fp16")
    cli.use_device(chosen)
    assert backend.precision() == "fp16" and ", fp16" in cli.describe_device(chosen)
    cli.use_device(settings(backend="cupy"))
    assert backend.precision() == "fp32", "the next program of this process has its own"
    cli.use_device(chosen)
    cli.use_device(settings())
    assert backend.precision() == "fp32"


def test_without_flags_cupys_own_limit_stays_and_float32_is_full_whatever_the_environment_says(machine):
    cupy = fake_cupy()
    asked = machine(cupy, "cupy-cuda13x")
    cli.use_device(settings(backend="cupy"))
    assert cupy.get_default_memory_pool().limit is None and asked == [("float32", "full")]


@pytest.mark.parametrize("value, started, fixed", (
    (None, False, True), (":16:8", True, True), (":4096:8", False, True), (None, True, False), (":0:0", False, False)))
def test_deterministic_fixes_cublas_workspace_before_it_starts_or_refuses(machine, monkeypatch, value, started, fixed):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", value or "")
    if value is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    if started:
        machine(fake_cupy(), "cupy-cuda13x")
    else:
        monkeypatch.delitem(sys.modules, "cupy", raising=False)
    if fixed:
        cli.device.fix_workspace()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (value or ":4096:8")
    else:
        with pytest.raises(UsageError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment"):
            cli.device.fix_workspace()


@pytest.mark.parametrize("changes, text", (
    ({"precision": "fp8"}, "'fp8', expected fp32, tf32, fp16 or bf16"),
    ({"precision": "tf32"}, "tf32 needs --backend cupy"),
    ({"precision": "fp16"}, "fp16 needs --backend cupy: NumPy multiplies float32 in full"),
    ({"memory_limit": 4.0}, "--memory-limit needs --backend cupy"), ({"memory_limit": -1.0}, "above 0"),
    ({"workspace": -1.0}, "--workspace must be 0 or more"), ({"workspace": float("nan")}, "0 or more"),
    ({"conv": "winograd", "backend": "cupy"}, "only work on the CPU"),
    ({"conv": "fft"}, "unknown --conv 'fft', expected auto, im2col or winograd"),
    ({"memory_limit": float("nan")}, "above 0"), ({"memory_limit": float("inf"), "backend": "cupy"}, "above 0")))
def test_flags_that_make_no_sense_are_refused(changes, text):
    with pytest.raises(UsageError, match=text) as caught:
        cli.use_device(settings(**changes))
    assert "\n" not in str(caught.value) and backend.current().name == "numpy"


def test_winograd_and_the_workspace_reach_the_kernels():
    win = Window.of(3)
    x = np.zeros((1, 5, 5, 4))
    for on, limit in ((True, 0.5), (False, None)):
        cli.use_device(settings(conv="winograd" if on else "im2col", workspace=limit))
        assert algorithms.use_winograd("outputs", x, 4, win, 1) is on
        assert memory._workspace == (None if limit is None else 500_000_000)


@pytest.mark.skipif(host_cuda.COMPILER is None, reason="no g++ to compile the kernels for the CPU")
def test_profile_times_the_kernels_of_the_backend_it_is_given(capsys):
    with host_cuda.installed():
        before = host_cuda.mode.launches
        assert profile.main(["quick_26", "-b", "2", "--backend", "host cuda"]) == 0
    assert host_cuda.mode.launches > before + 30 and "backward" in capsys.readouterr().out


def test_deterministic_makes_sense_on_numpy_and_sets_nothing(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    cli.use_device(settings(deterministic=True))
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


class OutOfMemoryError(MemoryError):
    """CuPy's message, to the letter (cupy.cuda.memory.OutOfMemoryError)."""

    def __init__(self, size, total, limit=0):
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited}).")


@pytest.mark.parametrize("error, line", (
    (OutOfMemoryError(1_610_612_736, 2_400_000_000, 4_000_000_000),
     "on the GPU: asked for 1.61 GB, 2.40 GB are in use, the limit is 4.00 GB"),
    (OutOfMemoryError(512_000_000, 80_000_000_000),
     "on the GPU: asked for 0.51 GB, 80.00 GB are in use, the GPU has no more"),
    (RuntimeError("cudaErrorMemoryAllocation: out of memory\nmore"),
     "on the GPU: cudaErrorMemoryAllocation: out of memory"),
    (MemoryError("Unable to allocate 7 GiB for an array"), "Unable to allocate 7 GiB for an array"),
))
def test_out_of_memory_is_one_line_with_what_was_asked_the_limit_and_the_remedy(error, line, capsys):
    def main():
        raise error
    with pytest.raises(SystemExit) as stop:
        run_cli(main)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"error: out of memory ({line}); use a smaller --batch-size\n"


def test_other_errors_pass_unchanged():
    error = KeyError("3 bytes and 4 bytes")

    def main():
        raise error
    with pytest.raises(KeyError) as caught:
        run_cli(main)
    assert caught.value is error
