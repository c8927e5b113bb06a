"""The self-test passes where all is well, on NumPy and through the GPU's kernels, and fails where something is not."""
import os
import subprocess
import sys
from pathlib import Path

import host_cuda
import numpy as np
import pytest

from minitorch_alex import backend, functional, selftest
from minitorch_alex.kernels import cpu
from minitorch_alex.training import feed
from minitorch_alex.training.cli import run_cli

needs_compiler = pytest.mark.skipif(host_cuda.COMPILER is None, reason="no g++ to compile the kernels for the CPU")


@pytest.fixture
def short(monkeypatch):
    """Without the minute of training and measuring."""
    monkeypatch.setattr(selftest.learning, "training", lambda steps: [2.3 - i / 100 for i in range(steps)])
    monkeypatch.setattr(selftest.command, "speed", lambda quick: iter(["fast"]))


def main(*args):
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: selftest.main(list(args)))
    return stop.value.code


def test_as_a_user_runs_it():
    """All of it, on NumPy: a page that ends well."""
    done = subprocess.run([sys.executable, "-m", "minitorch_alex.selftest", "--quick"], text=True, capture_output=True,
                          timeout=900, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)})
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "all passed" and len(lines) < 60
    for text in ("numpy on", f"numpy {np.__version__}", "convolution", "operations agree", "must fall below 1.9",
                 "the same bits", "GFLOP/s", "images/s trained, 8 at a time"):
        assert text in done.stdout, text
    assert done.stdout.count("  ok  ") == len(selftest.FAMILIES) + 2


@needs_compiler
def test_through_the_gpus_kernels(short, capsys):
    with host_cuda.installed():
        assert main("--backend", "host cuda", "--quick") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "all passed" and "the largest difference from NumPy's" in out
    assert out.count("  ok  ") == len(selftest.FAMILIES) + 3 and "the same bits as on the host" in out


@needs_compiler
def test_through_the_gpus_kernels_in_half_precision(short, capsys):
    """The tolerance is that of the factors, the gradients are those of float64, and the ceiling is the product's."""
    with host_cuda.installed(), host_cuda.multiplying("fp16"):
        assert main("--backend", "host cuda", "--quick", "--precision", "fp16") == 0
        calls = host_cuda.cublas.calls
        assert selftest.product_speed(64) > 0 and host_cuda.cublas.calls == calls + 6
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "all passed"
    for family, low, high in (("convolution", 1e-5, 2e-3), ("fully connected", 1e-5, 2e-3), ("pools", 0, 1e-6)):
        line = next(line for line in out.splitlines() if f"  {family}  " in line)
        assert low <= float(line.split("float32 ")[1].split()[0]) < high, line


@needs_compiler
@pytest.mark.parametrize("family", selftest.FAMILIES, ids=lambda f: f.__name__)
def test_the_kernels_are_compared_with_another_implementation(family):
    """All cases: each backend's errors are those of rounding, and not nothing, in float32."""
    assert 0 <= selftest.kernel_error(family, np.float64, 8) < 1e-13
    with host_cuda.installed():
        assert 0 < selftest.kernel_error(family, np.float32, 8) < 2e-6


@pytest.mark.parametrize("name, line", (
    ("conv2d_backward_input", "convolution"), ("max_pool2d", "pools"), ("lrn_within_backward", "normalisation"),
    ("sgd", "update"), ("dropout", "dropout"), ("locally_connected2d_backward_weight", "locally connected"),
    ("softmax_cross_entropy_backward", "loss"), ("tanh_backward", "activations"), ("sum_rows", "fully connected")))
def test_a_wrong_kernel_is_named_and_the_code_is_1(short, monkeypatch, capsys, name, line):
    right = getattr(cpu, name)

    def wrong(*args):
        result = right(*args)
        first = args[0] if name == "sgd" else result[0] if isinstance(result, tuple) else result
        first *= 1.001
        return result

    monkeypatch.setattr(cpu, name, wrong)
    assert main("--quick") == 1
    out, err = capsys.readouterr()
    assert f"  FAIL  {line:<18} AssertionError: float32 differs by" in out and err == ""
    assert out.splitlines()[-1].startswith("failed: ") and line in out.splitlines()[-1]
    assert "fast" in out, "the other checks go on"


def test_a_wrong_gradient_is_named(short, monkeypatch, capsys):
    right = functional.tanh
    monkeypatch.setattr(functional, "tanh", lambda x: right(x) + right(x).detach())
    assert main("--quick") == 1
    assert "tanh: gradcheck: input 0" in capsys.readouterr().out


@pytest.mark.parametrize("losses, again, text", (
    ([2.3] * 100, [2.3] * 20, "the loss fell from 2.300 to 2.300 only"),
    ([2.3 - i / 100 for i in range(100)], [2.3] * 20, "the same seed gave another loss in step 2: 2.3, 2.29"),
    ([float("nan")] * 100, [2.3] * 20, "to nan only")))
def test_training_that_does_not_learn_or_does_not_repeat_fails(monkeypatch, losses, again, text):
    monkeypatch.setattr(selftest.learning, "training", lambda steps: losses if steps == 100 else again)
    with pytest.raises(AssertionError, match=text):
        selftest.check_training()


@needs_compiler
def test_pixels_that_differ_by_a_bit_fail(monkeypatch):
    with host_cuda.installed():
        augment = feed.Feed._augment
        monkeypatch.setattr(feed.Feed, "_augment", lambda self, *args: augment(self, *args) * 1.0000001)
        with pytest.raises(AssertionError, match="pixels or labels differ"):
            selftest.check_input()


def test_whatever_a_measurement_raises_is_a_failure_of_one_line(short, monkeypatch, capsys):
    def broken(quick):
        yield "product 7"
        raise MemoryError("asked for 7 GB\nand more")
    monkeypatch.setattr(selftest.command, "speed", broken)
    assert main("--quick") == 1
    out = capsys.readouterr().out
    assert "  FAIL  MemoryError: asked for 7 GB\n" in out and out.splitlines()[-1] == "failed: speed"


def test_the_shortest_time_counts_and_not_the_first(monkeypatch):
    ticks = iter([0.0, 9.0, 10.0, 13.0, 20.0, 22.0])
    monkeypatch.setattr(selftest.measurements.time, "perf_counter", lambda: next(ticks))
    assert selftest.seconds(lambda: None, 2) == 2.0


@needs_compiler
def test_the_upload_is_measured_through_page_locked_memory():
    with host_cuda.installed():
        assert feed.upload_speed(1 << 16, repeats=2) > 0


def test_bad_usage(capsys):
    assert main("--threads", "-1") == 2 and main("--precision", "tf32") == 2 and main("--backend", "jax") == 3
    assert backend.current().name == "numpy"
    with pytest.raises(SystemExit):
        selftest.main(["--help"])
    assert "1  something failed" in capsys.readouterr().out
