"""The CUDA kernels and kernels/gpu/ without a GPU.

The .cu files are compiled twice. g++ compiles them for the CPU (host_cuda.py), where all that
holds for kernels.cpu is shown for kernels.gpu: the same checks and the same drawn shapes, with
launches larger and smaller than the work, in both orders. nvcc and NVRTC, where there is one,
compile them for GPUs, without a warning.
"""
import contextlib
import ctypes
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import checks
import edge_rules
import host_cuda
import numpy as np
import pytest
import shared_passes
import test_kernels
from checks import assert_close, normal
from host_cuda import StrictArray, launching
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants.cuda import MUTANTS
from test_kernels import battery, conv_cases, norm_cases, pool_cases

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import backend, nn
from minitorch_alex.data.enlarge import bilinear_taps, enlarge
from minitorch_alex.data.transforms import ColorPCA, Transform
from minitorch_alex.errors import BackendError, ShapeError, UsageError
from minitorch_alex.kernels import Window, cpu, gpu, half, launch, naive
from minitorch_alex.kernels import products as multiplication
from minitorch_alex.kernels.gpu import columns
from minitorch_alex.kernels.window import ceil_div

drawn = settings(deadline=None, derandomize=True, max_examples=25, database=None)
words = st.integers(0, 2**32 - 1)
launches = st.tuples(st.sampled_from((None, (1, 1, 1), (2, 3, 4), (1, 50, 33))), st.booleans())
needs_compiler = pytest.mark.skipif(host_cuda.COMPILER is None,
                                    reason="no g++ to compile the kernels for the CPU")


@pytest.fixture
def on_host():
    """The current backend is the one of host_cuda, and `checks` tries kernels.gpu on it instead of
    kernels.cpu."""
    if host_cuda.COMPILER is None:
        pytest.skip("no g++ to compile the kernels for the CPU")
    with pytest.MonkeyPatch.context() as monkeypatch, host_cuda.installed():
        monkeypatch.setattr(checks.kernels, "cpu", host_cuda.OnDevice())
        yield


def on_device(test):
    """`on_host` for a test with drawn arguments, around each example."""
    def run(*args, **kwargs):
        with pytest.MonkeyPatch.context() as monkeypatch, host_cuda.installed():
            monkeypatch.setattr(checks.kernels, "cpu", host_cuda.OnDevice())
            test(*args, **kwargs)
    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__signature__ = inspect.signature(test)  # hypothesis reads the names of the arguments
    return needs_compiler(run)


@contextlib.contextmanager
def working_in(workspace):
    """Within it, a column matrix takes this many bytes at most."""
    before = columns.WORKSPACE
    columns.WORKSPACE = workspace
    try:
        yield
    finally:
        columns.WORKSPACE = before


def forget():
    """Drop what has been compiled."""
    launch._kernel.cache_clear()
    launch._module.cache_clear()
    multiplication._settings.cache_clear()


# checks that only the device needs


def check_nan_passes():
    x = normal(1, 4, 4, 1)
    x[0, 1, 1, 0] = np.nan
    assert np.isnan(checks.kernels.cpu.relu(x)[0, 1, 1, 0])
    y, _ = checks.kernels.cpu.max_pool2d(x, Window.of(3, 1))
    assert np.isnan(y).all()


def check_many_rows():
    """More rows than one thread sums, and more than two rounds of threads do."""
    for rows in (127, 128, 129, 20_000):
        g = normal(rows, 3)
        assert_close(checks.kernels.cpu.sum_rows(g), g.sum(axis=0), 1e-12, f"sum of {rows} rows")
        assert_close(checks.kernels.cpu.sum_rows(g.astype(np.float32)), g.sum(axis=0), 1e-5,
                     f"sum of {rows} rows in float32")


def check_many_classes():
    """More classes than threads share a row; logits that overflow; minus infinity, which a mask
    may put there."""
    for K in (1, 31, 32, 33, 100):
        logits = normal(4, K) * 1000
        labels = np.arange(4) % K
        _, probs = checks.agree("softmax_cross_entropy", logits, labels)
        checks.agree("softmax_cross_entropy_backward", normal(4), probs, labels)
    masked = np.where(np.arange(100) % 32 == 5, -np.inf, normal(4, 100))
    checks.agree("softmax_cross_entropy", masked, np.arange(4))


def check_chunks():
    """A workspace of one image, of some, and of none of the batch."""
    case = checks.WindowCase(N=5, groups=2, padding=(1, 0))
    for workspace in (1, 15_000):
        with working_in(workspace):
            checks.conv2d_forward(case)
            checks.conv2d_weight_gradient(case)
            checks.conv2d_input_gradient(case)


def check_augment():
    """One kernel makes of a batch of bytes what Transform makes of it, number for number."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 9, 9, 3), np.uint8)
    mean = rng.uniform(0, 255, (9, 9, 3)).astype(np.float32)
    pca = ColorPCA(np.array([3000.0, 200.0, 50.0]), np.linalg.qr(rng.standard_normal((3, 3)))[0])
    for transform in (
            Transform(),
            Transform(mean),
            Transform(mean, crop=6, flip=True),
            Transform(None, crop=4, pad=1),
            Transform(mean, pad=2, flip=True),
            Transform(mean, crop=7, flip=True, pca=pca),
            Transform(mean, crop=7, pca=pca, convention="paper"),
            Transform(mean, crop=6).eval(),
            Transform(mean, crop=6, flip=True, crop_chunk=2),
            Transform(mean, flip=True, mean_follows_crop=True),
            Transform(mean, crop=6, flip=True, pad=1, mean_follows_crop=True)):
        want = transform(images, np.random.default_rng(1))
        # The same draws, in the order in which Transform makes them.
        draws = np.random.default_rng(1)
        N = len(images)
        size = transform.crop or 9
        chunk = transform.crop_chunk  # images that share a window and a mirror
        chunks = ceil_div(N, chunk)
        room = 9 + 2 * transform.pad - size
        rows = cols = np.full(N, room // 2)
        if transform.random and (transform.crop or transform.pad):
            rows = np.repeat(draws.integers(0, room + 1, chunks), chunk)[:N]
            cols = np.repeat(draws.integers(0, room + 1, chunks), chunk)[:N]
        flips = np.zeros(N, bool)
        if transform.flip:
            flips = np.repeat(draws.random(chunks) < 0.5, chunk)[:N]
        shift = None
        divisor = 1.0
        if transform.pca:
            source = transform.convention == "source"
            strength = np.sqrt(pca.eigenvalues) if source else pca.eigenvalues / 255
            noise = 0.1 * draws.standard_normal((N, 3)) * strength
            shift = (noise @ pca.eigenvectors.T).astype(np.float32)
            divisor = 1.1 if source else 1.0
        got = checks.kernels.cpu.augment(
            images, (size, size), rows.astype(np.int32), cols.astype(np.int32), flips,
            transform.mean, shift, divisor, transform.pad, transform.mean_follows_crop)
        assert got.dtype == np.float32 and np.array_equal(got, want), transform


def check_enlarge():
    """What Pillow makes of a batch, byte for byte; also where a side is a single pixel."""
    rng = np.random.default_rng(0)
    for H, W, size in ((5, 7, 9), (8, 8, 21), (1, 3, 4), (6, 6, 6)):
        images = rng.integers(0, 256, (3, H, W, 3), np.uint8)
        taps = [tuple(map(backend.asarray, bilinear_taps(pixels, size))) for pixels in (H, W)]
        got = backend.to_numpy(gpu.enlarge(backend.asarray(images), *taps))
        assert np.array_equal(got, enlarge(images, size)), (H, W, size)


# checks of factors in half precision


def single(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


# (shape of the images, output channels, window, groups)
HALF_CASES = (
    ((3, 9, 8, 3), 5, Window.of(3, 1, 1), 1),
    ((2, 11, 13, 3), 4, Window.of(5, 2, 1), 1),
    ((5, 7, 7, 8), 6, Window.of((3, 2), (2, 1), (1, 0)), 2),
    ((2, 12, 9, 6), 9, Window.of(3, 1, 2, 2), 3),
    ((1, 4, 4, 1), 1, Window.of(1), 1),
)


def products(k, draw, case):
    """name -> result of every function with a matrix product, on the numbers of
    `draw(*shape, seed=)`."""
    shape, O, win, groups = case
    x = draw(*shape)
    w = draw(O, shape[3] // groups, *win.kernel, seed=1)
    gy = draw(shape[0], *win.out(*shape[1:3]), O, seed=2)
    rows = draw(shape[1], 37)
    matrix = draw(O, 37, seed=1)
    grows = draw(shape[1], O, seed=2)
    return {
        "conv2d": k.conv2d(x, w, None, win, groups),
        "conv2d with a bias": k.conv2d(x, w, gy[0, 0, 0], win, groups),
        "conv2d_backward_weight": k.conv2d_backward_weight(x, gy, win, groups),
        "conv2d_backward_input": k.conv2d_backward_input(gy, w, shape, win, groups),
        "linear": k.linear(rows, matrix, None),
        "linear with a bias": k.linear(rows, matrix, grows[0]),
        "linear_backward_weight": k.linear_backward_weight(grows, rows),
        "linear_backward_input": k.linear_backward_input(grows, matrix),
    }


def half_errors(draw, precision="fp16"):
    """name -> the largest error of each product, as a share of the largest number of the result in
    float64."""
    def draw_double(*shape, seed=0):
        return draw(*shape, seed=seed).astype(np.float64)

    errors = {}
    for i, case in enumerate(HALF_CASES):
        wanted = products(naive, draw_double, case)
        for workspace in (columns.WORKSPACE, 1, 3000):
            with working_in(workspace), host_cuda.multiplying(precision):
                results = products(checks.kernels.cpu, draw, case)
            for name, want in wanted.items():
                got = results[name]
                assert got.dtype == np.float32 and got.shape == want.shape
                errors[name, i, workspace] = np.abs(got - want).max() / np.abs(want).max()
    return errors


def check_half_rounds():
    """Numbers of half precision, floats next to them and next to the middle between two, and drawn
    ones: NumPy's bits."""
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    steps = np.array([-1, 0, 1, 4095, 4096, 4097], np.int64)  # a half is 2^13 floats from the next
    near = (numbers.view(np.uint32)[:, None] + steps).astype(np.uint32)
    drawn_bits = np.random.default_rng(0).integers(0, 2**32, 50_000, dtype=np.uint32)
    x = np.concatenate([near.reshape(-1), drawn_bits]).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        want = x.astype(np.float16)
    as_it_is = backend.asarray(np.full(1, np.inf, np.float32))  # k = 0
    got = backend.to_numpy(half._scaled_half(backend.asarray(x), as_it_is))
    known = ~np.isnan(want)
    assert np.isnan(got[~known]).all()
    assert np.array_equal(got[known].view(np.uint16), want[known].view(np.uint16))


def check_half_finds_the_largest():
    """Of either sign, wherever it stands, in one, two and three rounds."""
    for size in (1, 2, 256, 257, 700, 70_000):
        for at in {0, size // 3, size - 1}:
            for value in (-3e7, 5e6):
                x = single(size)
                if at != size // 2:
                    x[size // 2] = np.nan
                x[at] = value
                largest = backend.to_numpy(half._largest(backend.asarray(x)))
                assert largest.tolist() == [abs(value)], (size, at)


def check_half_products():
    """Every product within the rounding of its factors, which is there: an error of 0 would mean
    full precision."""
    for precision, most in (("fp16", 2e-3), ("bf16", 2e-2)):
        errors = half_errors(single, precision)
        assert max(errors.values()) < most and min(errors.values()) > 1e-6, (precision, errors)
    errors = half_errors(single, "tf32")  # which cuBLAS may do in full where that is faster
    assert max(errors.values()) < 2e-3, errors


def check_tf32_is_asked_for():
    """Every product: an error of 0 would mean full precision, which the cuBLAS of the host does
    not choose."""
    assert min(half_errors(single, "tf32").values()) > 1e-6


def check_bf16_rounds():
    """Of the two bfloat16 numbers around a float the nearer one, of two equally near the even one:
    by their distances."""
    bits = np.random.default_rng(0).integers(0, 2**32, 50_000, dtype=np.uint32)
    upper = bits & 0xffff0000
    bits = np.concatenate([bits, upper | 0x8000, upper, upper | 0x7fff])
    x = bits.view(np.float32)
    x = x[(np.abs(x) >= 2.0**-126) & (np.abs(x) < 2.0**127)]  # normal, and so is the number above
    low = (x.view(np.uint32) & 0xffff0000).view(np.float32)    # towards 0
    high = (low.view(np.uint32) + 0x10000).view(np.float32)
    below = np.abs(x.astype(float) - low)
    above = np.abs(high.astype(float) - x)
    odd = low.view(np.uint32) >> 16 & 1
    want = np.where((above < below) | ((above == below) & (odd == 1)), high, low)
    with host_cuda.multiplying("bf16"):
        got = backend.to_numpy(half.factor(backend.asarray(x)).array)
        # Rounded as numbers, these would become -0 and infinity.
        odd_nans = np.array([0x7fffffff, 0x7f800001], np.uint32).view(np.float32)
        special = np.concatenate([odd_nans, np.array([np.nan, np.inf, -np.inf, 0], np.float32)])
        after = backend.to_numpy(half.factor(backend.asarray(special)).array)
    assert np.array_equal(host_cuda.floats(got), want)
    assert np.array_equal(host_cuda.floats(after), special, equal_nan=True)


def check_bf16_has_the_range_of_float32():
    """Powers of two change exponents only, and there is nothing to scale."""
    x, w = single(6, 40), single(5, 40, seed=1)
    with host_cuda.multiplying("bf16"):
        want = checks.kernels.cpu.linear(x, w, None)
        for a, b in ((-100, 0), (0, -100), (100, 0), (100, -100), (-60, -50), (60, 60)):
            got = checks.kernels.cpu.linear(np.ldexp(x, a), np.ldexp(w, b), None)
            assert np.array_equal(got, np.ldexp(want, a + b)), (a, b)


def check_kept_columns():
    """Training gives the same gradients whether the column matrices are kept or gathered again."""
    for case in (checks.WindowCase(N=5, groups=2, padding=(1, 0)), checks.WindowCase(N=3)):
        win = case.win
        groups = case.groups
        on_host = case.arrays()
        x, w, b, gy = on_host
        wanted = (naive.conv2d(x, w, b, win, groups),
                  naive.conv2d_backward_input(gy, w, x.shape, win, groups),
                  naive.conv2d_backward_weight(x, gy, win, groups))
        x, w, b, gy = (backend.asarray(a) for a in on_host)
        for room in (0, 1 << 40):
            with host_cuda.room_for_columns(room):
                y, saved = gpu.conv2d_forward(x, w, b, win, groups)
                assert (saved[0] is None) == (room > 0) and len(saved) == 4 + groups * (room > 0)
                gx, gw = gpu.conv2d_backward(gy, saved, x.shape, win, groups, (True, True))
            for got, want, name in zip((y, gx, gw), wanted, ("y", "gx", "gw"), strict=True):
                assert_close(backend.to_numpy(got), want, 1e-12,
                             f"{name} with {room} bytes for columns")


def check_half_rounds_factors_and_nothing_else():
    """The results are products in float64 of the rounded factors, up to the rounding of sums in
    float32, for rows and columns of any length; and the next product in full precision is one."""
    def rounded(x):
        scale = 2.0**(15 - np.frexp(np.abs(x).max())[1])
        return (x * scale).astype(np.float16) / scale

    for N, I, O in ((1, 1, 1), (3, 1, 5), (7, 363, 96), (128, 64, 100)):
        x = single(N, I)
        w = single(O, I, seed=1)
        gy = single(N, O, seed=2)
        for name, args, want in (
                ("linear", (x, w, None), rounded(x) @ rounded(w).T),
                ("linear_backward_input", (gy, w), rounded(gy) @ rounded(w)),
                ("linear_backward_weight", (gy, x), rounded(gy).T @ rounded(x))):
            with host_cuda.multiplying("fp16"):
                got, again = (getattr(checks.kernels.cpu, name)(*args) for _ in range(2))
            assert np.array_equal(got, again)
            assert_close(got, want, 5e-5, name)
            got = getattr(checks.kernels.cpu, name)(*args)
            assert_close(got, getattr(cpu, name)(*args), 1e-4, f"{name} in full")


def check_half_is_exact_for_small_integers():
    """Factors of few bits, and sums that float32 holds: nothing is rounded, so nothing differs."""
    def integers(*shape, seed=0):
        return np.random.default_rng(seed).integers(-40, 41, shape).astype(np.float32)
    errors = half_errors(integers)
    assert max(errors.values()) == 0, errors


def check_half_has_any_range():
    """Powers of two change exponents only, as long as the largest number of a factor is at least
    2^-48 and the results are normal floats."""
    x, w = single(6, 40), single(5, 40, seed=1)
    with host_cuda.multiplying("fp16"):
        want = checks.kernels.cpu.linear(x, w, None)
        for a, b in ((-48, 0), (0, -48), (100, 0), (100, -48), (-48, -48), (60, 60), (110, 10)):
            got = checks.kernels.cpu.linear(np.ldexp(x, a), np.ldexp(w, b), None)
            assert np.array_equal(got, np.ldexp(want, a + b)), (a, b)
        assert not checks.kernels.cpu.linear(np.ldexp(x, -100), np.ldexp(w, -100), None).any()
        wide = x.copy()
        wide[0] *= 2.0**-20  # a row of small numbers beside large ones keeps its bits
        row = checks.kernels.cpu.linear(wide, w, None)[0]
        right = wide[0].astype(float) @ w.T.astype(float)
        assert np.abs(row - right).max() < 2e-3 * np.abs(right).max()


def check_half_of_nothing():
    """Zeros give zeros, and an empty batch an empty result, or zeros."""
    with host_cuda.multiplying("fp16"):
        zeros = np.zeros((3, 9))
        for x, w in ((zeros, single(4, 9)), (single(3, 9), np.zeros((4, 9))), (zeros, zeros)):
            y = checks.kernels.cpu.linear(x.astype(np.float32), w.astype(np.float32), None)
            assert y.shape == (3, len(w)) and not y.any()
        assert checks.kernels.cpu.linear(single(0, 9), single(4, 9), None).shape == (0, 4)
        assert not checks.kernels.cpu.linear_backward_weight(single(0, 4), single(0, 9)).any()
        win, w = Window.of(3), single(6, 2, 3, 3)
        y = checks.kernels.cpu.conv2d(single(0, 5, 5, 4), w, None, win, 2)
        assert y.shape == (0, 3, 3, 6) and y.dtype == np.float32
        assert not checks.kernels.cpu.conv2d_backward_weight(single(0, 5, 5, 4), y, win, 2).any()
        gx = checks.kernels.cpu.conv2d_backward_input(y, w, (0, 5, 5, 4), win, 2)
        assert gx.shape == (0, 5, 5, 4)


def check_half_passes_nan():
    """A NaN or an infinity reaches the result, so that training that diverged is seen to have."""
    for bad in (np.nan, np.inf, -np.inf):
        for size in (40, 70_000):  # one, and three rounds of the search for the largest
            x, w = single(2, size), single(3, size, seed=1)
            x[1, size // 2] = bad
            with host_cuda.multiplying("fp16"):
                y = checks.kernels.cpu.linear(x, w, None)
            assert not np.isfinite(y[1]).any() and np.isfinite(y[0]).all()


def check_half_leaves_the_rest():
    """float64, and what is no product of two dimensions, are as in full precision, to the bit."""
    x, w = normal(3, 7), normal(4, 7)
    places = single(2, 5, 5, 2), single(3, 3, 4, 2, 3, 3), None, Window.of(3)
    want = checks.kernels.cpu.linear(x, w, None), checks.kernels.cpu.locally_connected2d(*places)
    with host_cuda.multiplying("fp16"):
        got = (checks.kernels.cpu.linear(x, w, None),
               checks.kernels.cpu.locally_connected2d(*places))
    assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


OWN_CHECKS = (
    check_nan_passes, check_many_rows, check_many_classes, check_chunks, check_augment,
    check_enlarge, check_half_rounds, check_half_finds_the_largest, check_half_products,
    check_half_rounds_factors_and_nothing_else, check_half_is_exact_for_small_integers,
    check_half_has_any_range, check_half_of_nothing, check_half_passes_nan,
    check_half_leaves_the_rest, check_bf16_rounds, check_bf16_has_the_range_of_float32,
    check_kept_columns, *shared_passes.CHECKS, *edge_rules.CHECKS,
)

# the kernels' text

# FLOAT -> the text that is compiled with it.
TEXTS = {
    "float": launch.source(),
    "double": launch.source(),
    "half_bits": launch.source("conv"),
}


def test_gpu_has_the_kernels_of_cpu_with_the_same_arguments():
    def arguments(module, names):
        return {name: list(inspect.signature(getattr(module, name)).parameters) for name in names}
    only_here = {"augment", "enlarge", "conv2d_forward", "conv2d_backward", "linear_forward",
                 "linear_backward", "bias_relu", "bias_gradient"}
    only_there = {"conv2d_relu", "lrn_values", "lrn_within_backward_of_relu", "lrn_within_values", "max_pool2d_values"}
    here = arguments(gpu, set(gpu.__all__) - only_here)
    assert here == arguments(cpu, set(cpu.__all__) - only_there)


def test_the_kernels_keep_to_their_rules_and_each_is_started_by_gpu():
    code = re.sub(r"//.*", "", launch.source())
    for forbidden in ("__shared__", "__syncthreads", "atomic", "__shfl", "#include", "template"):
        assert forbidden not in code, f"{forbidden} cannot run in order, or not at all, on a CPU"
    files = [*Path(gpu.__file__).parent.glob("*.py"), Path(half.__file__)]
    started = "".join(path.read_text(encoding="utf-8") for path in files)
    for name in host_cuda.signatures(code):
        assert f'"{name}"' in started, f"nobody starts {name}"
    files = {path.stem for path in (Path(launch.__file__).parent / "cuda").iterdir()}
    assert files == {"common", *launch.FILES}
    assert all(len(line) <= 100 for line in launch.source().splitlines())
    factors = [int(number) for number in re.findall(r"#pragma unroll (\d+)", launch.source())]
    assert len(factors) > 3
    assert all(factor.bit_count() == 1 for factor in factors), "powers of two: see common.cu"


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc")
@pytest.mark.parametrize("number", TEXTS)
def test_nvcc_compiles_for_ampere_and_hopper_without_a_warning(number, tmp_path):
    (tmp_path / "all.cu").write_text(TEXTS[number], encoding="utf-8")
    command = ["nvcc", "-std=c++17", f"-DFLOAT={number}", "-ftz=true", "-Werror", "all-warnings",
               "-fatbin", "--threads=1", "-gencode=arch=compute_80,code=sm_80",
               "-gencode=arch=compute_90,code=sm_90", "-Xptxas=-v", "all.cu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    spills = re.findall(r"(\d+) bytes spill", done.stderr)
    assert spills and set(spills) == {"0"}, "registers spill to memory"
    for name in host_cuda.signatures(TEXTS[number]):
        assert done.stderr.count(f"'{name}'") == 2, name


def nvrtc():
    """The run-time compiler that CuPy uses, where a wheel brought it."""
    for folder in map(Path, sys.path):
        for path in sorted(folder.glob("nvidia/*/lib/libnvrtc.so.*")):
            for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(builtins))  # which NVRTC 13.0 looks for on the system's path only
            return ctypes.CDLL(str(path))
    return None


@pytest.mark.skipif(nvrtc() is None, reason="no NVRTC (nvidia-cuda-nvrtc)")
@pytest.mark.parametrize("target", ("sm_80", "sm_90"))
@pytest.mark.parametrize("number", TEXTS)
def test_nvrtc_compiles_without_a_warning(number, target):
    library = nvrtc()
    program = ctypes.c_void_p()
    text = TEXTS[number].encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text, b"all.cu", 0, None, None) == 0
    options = [b"-std=c++17", f"-DFLOAT={number}".encode(), b"-ftz=true",
               f"-arch={target}".encode(),
               b"--device-as-default-execution-space"]  # what CuPy 14 makes of launch.py's options
    c_options = (ctypes.c_char_p * len(options))(*options)
    result = library.nvrtcCompileProgram(program, len(options), c_options)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert result == 0 and log.value.decode().strip() == "", log.value.decode()


# the kernels, run on the CPU

covered = {}  # kernel -> a check that launched it
ran = set()   # checks that have passed


@pytest.mark.parametrize("check", (*checks.KERNEL_CHECKS, *OWN_CHECKS), ids=lambda f: f.__name__)
def test_every_check_of_the_kernels_passes(check, on_host):
    before = set(host_cuda.launched)
    host_cuda.launched.clear()
    check()
    covered.update({name: check.__name__ for name in host_cuda.launched})
    ran.add(check.__name__)
    host_cuda.launched |= before


def test_a_gpu_runs_every_kernel_too():
    """test_gpu.py runs the checks above on a GPU: none of the kernels is left out there."""
    if ran < {check.__name__ for check in (*checks.KERNEL_CHECKS, *OWN_CHECKS)}:
        pytest.skip("some of the checks have not run in this process")
    assert set(covered) == set(host_cuda.signatures(launch.source()))


def test_tf32_is_asked_for(on_host):
    check_tf32_is_asked_for()


@pytest.mark.parametrize("check", checks.ENGINE_CHECKS, ids=lambda f: f.__name__)
def test_every_check_of_the_engine_passes(check, on_host):
    """Gradients by finite differences and the rest, each operation through kernels/gpu/ and the
    .cu files."""
    check()


@drawn
@given(conv_cases(), launches)
@on_device
def test_conv2d(case, launch):
    with launching(*launch):
        checks.conv2d_forward(case)
        checks.conv2d_weight_gradient(case)
        checks.conv2d_input_gradient(case)
        checks.conv2d_adjoint(case)


@drawn
@given(conv_cases(), launches)
@on_device
def test_locally_connected2d(case, launch):
    with launching(*launch):
        checks.locally_connected2d(case)


@drawn
@given(pool_cases(), launches)
@on_device
def test_max_pool2d(case, launch):
    with launching(*launch):
        checks.max_pool2d(case)


@drawn
@given(pool_cases(dilations=st.just((1, 1))), launches)
@on_device
def test_avg_pool2d(case, launch):
    with launching(*launch):
        checks.avg_pool2d(case)


@drawn
@given(norm_cases, launches)
@on_device
def test_lrn(case, launch):
    with launching(*launch):
        checks.lrn_forward(case)
        checks.lrn_gradient(case)
        checks.lrn_within(case)


@drawn
@given(st.integers(1, 9), st.integers(1, 70), st.integers(1, 300), launches)
@on_device
def test_rows(N, K, rows, launch):
    """Linear, bias, loss and sums over drawn sizes."""
    with launching(*launch):
        labels = np.arange(N) % K
        _, probs = checks.agree("softmax_cross_entropy", normal(N, K), labels)
        checks.agree("softmax_cross_entropy_backward", normal(N), probs, labels)
        checks.agree("linear", normal(N, 3), normal(K, 3), normal(K))
        checks.agree("sum_rows", normal(rows, K))


@drawn
@given(st.integers(1, 500), st.floats(0, 1), st.tuples(words, words), launches)
@on_device
def test_elements(n, p, key, launch):
    """Activations, dropout masks (equal to the naive ones, bit for bit) and updates over drawn
    sizes."""
    with launching(*launch):
        x = normal(n) + 3.0
        g = normal(n, seed=1)
        kept = checks.agree("dropout", x, p, 1.5, key) != 0
        assert np.array_equal(checks.kernels.cpu.dropout(x, p, 1.5, key) != 0, kept)
        checks.agree("relu_backward", g, checks.agree("relu", x - 3.0))
        checks.agree("tanh_backward", g, checks.agree("tanh", x - 3.0))
        for rule in ("2012", "torch"):
            got = [normal(n, seed=2), g, normal(n, seed=3)]
            want = [normal(n, seed=2), g, normal(n, seed=3)]
            checks.kernels.cpu.sgd(*got, 0.1, 0.9, 0.01, rule)
            naive.sgd(*want, 0.1, 0.9, 0.01, rule)
            assert_close(got, want, 1e-12, rule)


@pytest.fixture(scope="module")
def oracle():
    return battery(naive)


@pytest.mark.parametrize("workspace", (1, 100_000, 1 << 30))
def test_the_battery_in_chunks_of_any_size(workspace, on_host, oracle, monkeypatch):
    monkeypatch.setattr(columns, "WORKSPACE", workspace)
    test_kernels.assert_same(battery(checks.kernels.cpu), oracle)


def test_a_workspace_is_kept_to(on_host, monkeypatch):
    """The column matrix stays below its limit, and the shares of the batch are even."""
    monkeypatch.setattr(columns, "WORKSPACE", 1000)
    assert columns.chunks(7, 250) == [(0, 3), (3, 7)]
    assert columns.chunks(8, 300) == [(0, 2), (2, 5), (5, 8)]
    assert columns.chunks(3, 5000) == [(0, 1), (1, 2), (2, 3)]
    assert columns.chunks(0, 5000) == []
    x = StrictArray(normal(7, 5, 5, 2))
    sizes = [col.nbytes for *_, col in columns.gather(x, Window.of(3), 1)]
    assert len(sizes) == 7 and max(sizes) <= max(1000, 9 * 24 * 8)
    x = StrictArray(normal(7, 5, 5, 2).astype(np.float16))
    halves = [col for *_, col in columns.gather(x, Window.of(3), 1)]
    assert [len(col) // 9 for col in halves] == [1, 2, 2, 2]
    assert {col.dtype for col in halves} == {np.dtype(np.float16)}


def test_the_order_of_the_threads_does_not_matter(on_host):
    """Forwards, backwards and in another launch size: the same bits, as no thread reads what
    another one writes."""
    runs = []
    for grid, backwards in ((None, False), (None, True), ((3, 2, 32), False)):
        with launching(grid, backwards):
            runs.append(battery(checks.kernels.cpu, np.float32))
    for name, arrays in runs[0].items():
        for other in runs[1:]:
            for one, another in zip(arrays, other[name], strict=True):
                assert np.array_equal(one, another), name


def test_launches_cover_the_device_and_no_more(on_host, monkeypatch):
    asked = []

    def kernel(grid, block, args):
        asked.append((*grid, *block))

    monkeypatch.setattr(launch, "_kernel", lambda xp, dtype, name: kernel)
    like = StrictArray(np.zeros(1, np.float32))
    for across, down in ((1, 1), (33, 1), (368, 14080), (256, 3), (10**9, 1), (300, 10**6), (0, 5),
                         (5, 0)):
        launch.launch("any", like, across, down, ())
    assert asked == [(1, 1, 32), (1, 1, 64), (2, 4096, 192), (1, 3, 256), (8192, 1, 256),
                     (2, 4096, 160)]


def test_what_the_kernels_cannot_take_is_refused(on_host):
    for dtype in (np.float16, np.int32):
        with pytest.raises(BackendError, match=f"float32 and float64, got {np.dtype(dtype)}"):
            gpu.relu(StrictArray(np.zeros(3, dtype)))
    with pytest.raises(ShapeError, match="use a smaller batch"):
        huge = StrictArray(np.broadcast_to(0.0, (2**16, 2**15)))
        launch.launch("relu", StrictArray(np.zeros(3)), 1, 1, (huge,))
    with pytest.raises(UsageError, match="got rule 'adam', expected '2012', 'torch' or 'nesterov'"):
        checks.kernels.cpu.sgd(normal(3), normal(3), normal(3), 0.1, 0.9, 0.01, "adam")
    with pytest.raises(ShapeError, match="larger than the mean"):
        checks.kernels.cpu.augment(np.zeros((1, 8, 8, 3), np.uint8), (6, 6), np.zeros(1, np.int32),
                                   np.zeros(1, np.int32), np.zeros(1, bool),
                                   np.zeros((5, 5, 3), np.float32))


def test_a_wrong_label_makes_its_own_loss_nan(on_host):
    """Nothing outside of the array is read, and the other rows are right."""
    loss, probs = checks.kernels.cpu.softmax_cross_entropy(normal(4, 3), np.array([0, 3, -1, 2]))
    assert np.isnan(loss).tolist() == [False, True, True, False] and np.isfinite(probs).all()


def test_an_empty_batch(on_host):
    x, w, win = np.zeros((0, 5, 5, 4)), normal(6, 2, 3, 3), Window.of(3)
    y = checks.kernels.cpu.conv2d(x, w, normal(6), win, 2)
    assert y.shape == (0, 3, 3, 6)
    assert not checks.kernels.cpu.conv2d_backward_weight(x, y, win, 2).any()
    assert checks.kernels.cpu.conv2d_backward_input(y, w, x.shape, win, 2).shape == x.shape
    assert checks.kernels.cpu.sum_rows(y).tolist() == [0] * 6
    assert checks.kernels.cpu.max_pool2d(x, win)[0].shape == (0, 3, 3, 4)


def training(steps=3):
    """Losses and weights of a few steps of a small net with a layer of every kind."""
    mt.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, ceil_mode=True),
        nn.ReLU(),
        nn.LocalResponseNorm(5, k=2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 12, 3, padding=1, groups=2),
        nn.Tanh(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(48, 10))
    optimizer = mt.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    rng = np.random.default_rng(0)
    losses = []
    for step in range(steps):
        mt.set_step(step)
        x = rng.standard_normal((6, 21, 21, 3)).astype(np.float32)
        labels = rng.integers(0, 10, 6)
        optimizer.zero_grad()
        images = mt.Tensor(backend.asarray(x.transpose(0, 3, 1, 2)))
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, backend.to_numpy(optimizer.flat)


def test_training_in_half_precision_is_nearly_that_of_numpy_and_equal_each_time(on_host):
    """The same convolutions and layers, each through cuBLAS; and not the same bits as in full
    precision."""
    calls = host_cuda.cublas.calls
    with host_cuda.multiplying("fp16"):
        (losses, weights), (again, same) = training(20), training(20)
    per_step = 2 + 3 * 2 + 3  # the first convolution computes no gradient of its input
    assert host_cuda.cublas.calls - calls == 2 * 20 * per_step
    assert losses == again and np.array_equal(weights, same)
    backend.use("numpy")
    want_losses, want = training(20)
    assert_close(losses, want_losses, 1e-2, "losses")
    assert 0 < np.linalg.norm(weights - want) / np.linalg.norm(want) < 1e-2


def test_training_steps_are_those_of_numpy_and_equal_each_time(on_host):
    """The same initial weights, the same dropout masks: the two backends part by rounding only."""
    (losses, weights), (again, same) = training(), training()
    assert losses == again and np.array_equal(weights, same)
    backend.use("numpy")
    want_losses, want = training()
    assert_close(losses, want_losses, 1e-5, "losses")
    assert_close(weights, want, 1e-5, "weights")


def test_an_array_enters_the_device_in_the_order_it_has_in_memory(on_host, monkeypatch):
    """CuPy converts what it is given to C order, on the host; asarray hands it over in an order
    that is C already."""
    def as_cupy(value, dtype=None):
        assert value.flags.c_contiguous
        return StrictArray(np.array(value, dtype, order="C"))
    monkeypatch.setattr(host_cuda.host_xp, "asarray", as_cupy)
    images = normal(2, 4, 5, 3)
    x = backend.asarray(images.transpose(0, 3, 1, 2), np.float32)
    assert x.dtype == np.float32 and x.transpose(0, 2, 3, 1).flags.c_contiguous
    assert np.array_equal(x.get(), images.astype(np.float32).transpose(0, 3, 1, 2))
    for value in (3.5, [1, 2], np.float32(2), normal(3, 4)[::-1, ::2], np.zeros((0, 3))):
        assert np.array_equal(backend.asarray(value).get(), value)


# planted bugs


def test_there_are_enough_bugs_and_each_is_a_different_one():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 30
    assert {m.file for m in MUTANTS if hasattr(m, "file")} == {"common", *launch.FILES}
    readme = Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")
    assert f"; {len(MUTANTS)} more planted bugs are caught there" in readme


def check_named(name):
    own = {check.__name__: check for check in (*OWN_CHECKS, check_tf32_is_asked_for)}
    return own.get(name) or checks.BY_NAME[name]


@pytest.mark.parametrize("check", sorted({m.check for m in MUTANTS}))
def test_without_a_bug_the_checks_of_the_bugs_pass(check, on_host):
    with launching((2, 3, 5)):
        check_named(check)()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_bug_is_caught(mutant, on_host, monkeypatch):
    """In launches smaller than the work. It compiles, and an assertion fails: of the check, or of
    host_cuda.py."""
    flags = [flag for flag in host_cuda.FLAGS if flag not in ("-O1", "-Werror")]
    monkeypatch.setattr(host_cuda, "FLAGS", flags)
    monkeypatch.setattr(host_cuda.mode, "by_file", True)
    mutant.plant(monkeypatch)
    forget()
    try:
        with launching((2, 3, 5)), pytest.raises(AssertionError):
            check_named(mutant.check)()
    finally:
        forget()
