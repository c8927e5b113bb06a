"""The fast kernels against the naive ones over drawn shapes, and what no formula states: threads,
blocks, NaN."""
import inspect
import re
import sys
from dataclasses import replace
from pathlib import Path

import checks
import numpy as np
import pytest
from checks import NormCase, WindowCase, assert_close, normal
from checks.cases import POOL_CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_alex.errors import UsageError
from minitorch_alex.kernels import Window, cpu, im2col, naive, naive_later, set_winograd, workers
from minitorch_alex.kernels.cpu import by_rows, conv, product
from minitorch_alex.kernels.window import ceil_div, group_slices

drawn = settings(deadline=None, derandomize=True, max_examples=40, database=None)
LIMITS = (("kernel", 1, 4), ("stride", 1, 4), ("padding", 0, 2), ("dilation", 1, 2))
pairs = {name: st.tuples(st.integers(low, high), st.integers(low, high))
         for name, low, high in LIMITS}
paddings = st.tuples(st.integers(0, 4), st.integers(0, 4))
thread_counts = st.sampled_from((1, 2, 4))


@st.composite
def conv_cases(draw):
    """Windows of all kinds over small images; those that do not fit are thrown away."""
    case = draw(st.builds(
        WindowCase, N=st.integers(1, 3), H=st.integers(1, 8), W=st.integers(1, 8),
        C=st.integers(1, 3), O=st.integers(1, 3), groups=st.integers(1, 3),
        ceil_mode=st.booleans(), **pairs))
    return checks.fitting(case)


@st.composite
def pool_cases(draw, dilations=pairs["dilation"]):
    """As conv_cases, with a padding of at most half the kernel and no groups."""
    case = draw(st.builds(
        WindowCase, N=st.integers(1, 3), H=st.integers(1, 9), W=st.integers(1, 9),
        C=st.integers(1, 3), ceil_mode=st.booleans(), kernel=pairs["kernel"],
        stride=pairs["stride"], dilation=dilations))
    padding = tuple(draw(st.integers(0, k // 2)) for k in case.kernel)
    return checks.fitting(replace(case, padding=padding))


norm_cases = st.builds(
    NormCase, C=st.integers(1, 8), size=st.integers(1, 9), alpha=st.sampled_from((1e-4, 1.0)),
    beta=st.sampled_from((0.75, 0.5, 1.0)), k=st.sampled_from((1.0, 2.0)),
    groups=st.integers(1, 3))


@pytest.fixture
def threads():
    """Set the thread count of a test; put back afterwards."""
    before = workers.get_threads()
    yield workers.set_threads
    workers.set_threads(before)


@pytest.mark.parametrize("check", checks.KERNEL_CHECKS, ids=lambda f: f.__name__)
def test_every_check_passes(check):
    check()


def test_naive_and_cpu_have_the_same_kernels_with_the_same_arguments():
    def arguments(module, names):
        return {name: list(inspect.signature(getattr(module, name)).parameters) for name in names}
    helpers = {"cells", "group_channels", "average_divisor", "window_around", "channel_window",
               "dropout_hash"}
    explained = {name for name, f in vars(naive).items() if inspect.isfunction(f)} - helpers
    later = {name for name, f in vars(naive_later).items() if inspect.isfunction(f)}
    own = arguments(cpu, set(cpu.__all__) - set(checks.together.NAMES))
    assert own == arguments(naive, explained) | arguments(naive_later, later)
    convolutions = {"conv2d", "conv2d_backward_weight", "conv2d_backward_input"}
    assert arguments(im2col, convolutions) == arguments(naive, convolutions)


@pytest.mark.parametrize("module", (checks.kernels, checks.engine, checks.later), ids=lambda m: m.__name__)
def test_no_check_is_forgotten(module):
    """Each function check_... of the file is in its CHECKS, once."""
    names = [name for name in vars(module) if name.startswith("check_")]
    assert sorted(names) == sorted(check.__name__ for check in (*module.CHECKS, *getattr(module, "KERNEL_CHECKS", ())))


KERNELS = Path(naive.__file__).parent
RESHAPED = ("naive.py", "im2col.py", *(f"cpu/{path.name}" for path in KERNELS.glob("cpu/*.py")))


@pytest.mark.parametrize("name", sorted(RESHAPED))
def test_the_shapes_stand_where_an_array_is_reshaped(name):
    """In a comment like `# (N, H, W, C) -> (N*H*W, C)`, on that line or up to three above."""
    lines = KERNELS.joinpath(name).read_text(encoding="utf-8").splitlines()
    silent = [f"{name}:{i + 1}: {line.strip()}" for i, line in enumerate(lines)
              if re.search(r"\.(reshape|transpose)\(", line)
              and not any(re.search(r"#.*->", near) for near in lines[max(0, i - 3):i + 1])]
    assert silent == []


# drawn shapes


@drawn
@given(conv_cases())
def test_conv2d(case):
    checks.conv2d_forward(case)
    checks.conv2d_weight_gradient(case)
    checks.conv2d_input_gradient(case)


@drawn
@given(conv_cases())
def test_the_two_oracles_of_the_convolution_agree(case):
    checks.oracles_agree(case)


@drawn
@given(conv_cases())
def test_the_convolution_gradients_are_its_adjoints(case):
    checks.conv2d_adjoint(case)


@drawn
@given(st.builds(
    WindowCase, N=st.integers(1, 5), H=st.integers(1, 12), W=st.integers(1, 12),
    C=st.integers(1, 3), O=st.integers(1, 3), groups=st.integers(1, 2),
    kernel=st.sampled_from(((3, 3), (5, 5))), padding=paddings), thread_counts)
def test_winograd(case, count):
    winograd_with(case, count)


@drawn
@given(
    st.builds(WindowCase, N=st.integers(1, 5), H=st.integers(1, 20), W=st.integers(1, 20),
              C=st.integers(1, 3), O=st.integers(1, 3), padding=paddings, ceil_mode=st.booleans()),
    st.sampled_from(((2, 5), (2, 6), (2, 9), (3, 7), (3, 14), (4, 11), (4, 12))), thread_counts)
def test_winograd_with_a_stride_folds_it(case, stride_and_kernel, count):
    S, K = stride_and_kernel
    winograd_with(replace(case, kernel=(K, K), stride=(S, S)), count)


def winograd_with(case, count):
    before = workers.get_threads()
    workers.set_threads(count)
    try:
        checks.winograd(checks.fitting(case))
    finally:
        workers.set_threads(before)


@pytest.mark.parametrize(("K", "N", "rows"), [
    (75, 32, 32), (800, 32, 32), (1600, 32, 16), (4000, 32, 0),
    (384, 64, 32), (960, 64, 16), (2000, 64, 0),
    (120, 96, 32), (480, 96, 0), (120, 128, 0), (120, 48, 0), (120, 10, 0)])
def test_a_narrow_product_is_cut_where_blas_has_kernels_for_small_ones(K, N, rows, monkeypatch):
    monkeypatch.setattr(product, "blas_architectures", lambda: frozenset({"SkylakeX"}))
    assert product._rows_of_a_piece(K, N) == rows
    monkeypatch.setattr(product, "blas_architectures", lambda: frozenset({"Haswell"}))
    assert product._rows_of_a_piece(K, N) == 0


@pytest.mark.parametrize(("size", "C", "O", "K", "changes", "t"), [
    (32, 3, 32, 5, {}, 2), (32, 3, 48, 3, {}, 2), (224, 3, 64, 3, {}, 2),  # colours
    (15, 32, 32, 5, {}, 3), (16, 32, 32, 5, {}, 2), (16, 16, 16, 5, {}, 4), (16, 32, 48, 5, {}, 2),
    (16, 64, 64, 5, {}, 1), (7, 64, 32, 5, {}, 1),  # enough kernels; a prime number of outputs
    (16, 32, 32, 5, {"groups": 2}, 1), (16, 32, 32, 5, {"stride": (2, 2)}, 1), (16, 32, 32, 1, {}, 1)])
def test_how_many_outputs_share_a_window(size, C, O, K, changes, t):
    groups = changes.pop("groups", 1)
    win = Window((K, K), padding=(K // 2, K // 2), **changes)
    assert conv.outputs_per_window(np.empty((1, size, size, C), np.float32), O, win, groups) == t


@pytest.mark.parametrize(("N", "size", "C", "O", "K", "changes", "suits"), [
    (4, 16, 32, 32, 5, {}, True), (4, 13, 384, 256, 3, {"groups": 2}, True), (4, 8, 32, 64, 3, {}, True),
    (4, 32, 3, 32, 5, {}, False), (4, 16, 16, 16, 5, {}, False),    # narrow rows
    (4, 16, 32, 32, 5, {"padding": (0, 0)}, False),                 # a third more rows than outputs
    (4, 16, 32, 32, 5, {"stride": (2, 2)}, False), (4, 16, 128, 32, 1, {}, False),
    (4, 112, 64, 64, 3, {}, False), (1, 16, 32, 32, 5, {}, False)])  # a large image; one for two threads
def test_which_layers_are_computed_row_by_row(N, size, C, O, K, changes, suits, monkeypatch):
    monkeypatch.setattr(by_rows, "get_threads", lambda: 2)
    groups = changes.get("groups", 1)
    settings = {"padding": (K // 2, K // 2)} | {key: value for key, value in changes.items() if key != "groups"}
    x = np.empty((N, size, size, C), np.float32)
    assert by_rows.suits(x, O, Window((K, K), **settings), groups) is suits


def test_winograd_is_what_runs_when_it_is_switched_on():
    """By its other rounding: or the tests above would prove nothing."""
    x = normal(2, 9, 9, 4).astype(np.float32)
    w = normal(4, 4, 5, 5).astype(np.float32)
    win = Window.of(5, padding=2)
    plain = cpu.conv2d(x, w, None, win, 1)
    set_winograd(True)
    winograd = cpu.conv2d(x, w, None, win, 1)
    set_winograd(False)
    assert not np.array_equal(plain, winograd) and np.allclose(plain, winograd, atol=1e-3)


@drawn
@given(conv_cases())
def test_locally_connected2d(case):
    checks.locally_connected2d(case)


@drawn
@given(conv_cases())
def test_with_one_kernel_everywhere_the_locally_connected_layer_is_the_convolution(case):
    case = replace(case, groups=1)
    x, w, b, _ = case.arrays()
    _, OH, OW, _ = case.y_shape
    everywhere = np.broadcast_to(w, (OH, OW, *w.shape)).copy()
    biases = np.broadcast_to(b, (OH, OW, *b.shape)).copy()
    got = cpu.locally_connected2d(x, everywhere, biases, case.win)
    assert_close(got, cpu.conv2d(x, w, b, case.win, 1), 1e-12, "locally_connected2d")


@drawn
@given(pool_cases())
def test_max_pool2d(case):
    checks.max_pool2d(case)


@drawn
@given(pool_cases(dilations=st.just((1, 1))))
def test_avg_pool2d(case):
    checks.avg_pool2d(case)


@drawn
@given(norm_cases)
def test_lrn(case):
    checks.lrn_forward(case)
    checks.lrn_gradient(case)


@drawn
@given(norm_cases)
def test_lrn_within(case):
    checks.lrn_within(case)


@drawn
@given(conv_cases())
def test_the_taps_of_a_window_are_its_cells(case):
    """Window.tap, by which `cpu` slices, lists the same (output, input) pairs as the naive loop
    over positions."""
    win = case.win
    OH, OW = case.y_shape[1:3]
    by_position = {(kh, kw, oh, ow, ih, iw) for oh in range(OH) for ow in range(OW)
                   for kh, kw, ih, iw in naive.cells(win, oh, ow, case.H, case.W)}

    def along(axis, k, size, out):
        outs, ins = win.tap(axis, k, size, out)
        return zip(range(out)[outs], range(size)[ins], strict=True)
    by_tap = {(kh, kw, oh, ow, ih, iw)
              for kh in range(case.kernel[0]) for kw in range(case.kernel[1])
              for oh, ih in along(0, kh, case.H, OH) for ow, iw in along(1, kw, case.W, OW)}
    assert by_tap == by_position


# windows by hand


def test_divisions_round_up():
    assert [ceil_div(a, 4) for a in (-5, -4, 0, 1, 4, 5)] == [-1, -1, 0, 1, 1, 2]


def test_each_group_has_its_share_of_the_channels():
    assert group_slices(6, 2) == [slice(0, 3), slice(3, 6)]


def test_a_window_of_dilation_2_stride_4_padding_1_on_ten_pixels():
    """The drawing of the configurable layer: kernel 3 on 10 x 10 gives 2 x 2, with taps at -1 1 3
    and at 3 5 7."""
    win = Window.of(3, 4, 1, 2)
    assert win.out(10, 10) == (2, 2)
    x = np.arange(100.0).reshape(1, 10, 10, 1)
    y = cpu.conv2d(x, np.ones((1, 1, 3, 3)), None, win, 1)
    seen = ((1, 3), (3, 5, 7))
    for oh, ow in np.ndindex(2, 2):
        assert y[0, oh, ow, 0] == x[0][np.ix_(seen[oh], seen[ow])].sum()


def test_the_convolution_does_not_flip_its_kernel():
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    w = np.array([10.0, 1.0]).reshape(1, 1, 1, 2)
    y = cpu.conv2d(x, w, np.array([0.5]), Window.of((1, 2)), 1)
    assert y.ravel().tolist() == [12.5, 23.5]


def test_ceil_mode_reads_zeros_past_the_edge():
    win = Window.of(2, 2, ceil_mode=True)
    y = cpu.conv2d(np.ones((1, 3, 3, 1)), np.ones((1, 1, 2, 2)), None, win, 1)
    assert y[0, :, :, 0].tolist() == [[4, 2], [2, 1]]
    for count_include_pad in (False, True):
        y = cpu.avg_pool2d(np.ones((1, 3, 3, 1)), win, count_include_pad)
        assert y.tolist() == np.ones((1, 2, 2, 1)).tolist()


def test_the_two_divisors_of_average_pooling():
    win = Window.of(2, 2, 1)
    x = np.full((1, 2, 2, 1), 4.0)
    assert cpu.avg_pool2d(x, win, True)[0, :, :, 0].tolist() == [[1, 1], [1, 1]]
    assert cpu.avg_pool2d(x, win, False)[0, :, :, 0].tolist() == [[4, 4], [4, 4]]


@pytest.mark.parametrize("kernels", (naive, cpu))
def test_of_equal_values_the_first_wins_the_whole_gradient(kernels):
    x = np.array([[1, 3, 3], [3, 0, 3], [3, 3, 3]], np.float64).reshape(1, 3, 3, 1)
    y, saved = kernels.max_pool2d(x, Window.of(2, 1))
    gy = np.array([[1, 2], [4, 8]], np.float64).reshape(1, 2, 2, 1)
    gx = kernels.max_pool2d_backward(gy, saved, x.shape, Window.of(2, 1))
    assert (y == 3).all()
    assert gx[0, :, :, 0].tolist() == [[0, 3, 0], [4, 0, 8], [0, 0, 0]]


@pytest.mark.parametrize("kernels", (naive, cpu))
def test_a_nan_is_not_lost_in_relu_or_pooling(kernels):
    """A net that has diverged must show it in its loss."""
    x = np.array([[1.0, np.nan], [3.0, -2.0]]).reshape(1, 2, 2, 1)
    assert np.isnan(kernels.relu(x)).sum() == 1
    assert np.isnan(kernels.max_pool2d(x, Window.of(2))[0]).all()


@pytest.mark.parametrize("kernels", (naive, cpu))
def test_an_unknown_rule_is_refused(kernels):
    w = normal(3)
    with pytest.raises(UsageError, match="'adam'.*'2012', 'torch' or 'nesterov'"):
        kernels.sgd(w, w, w, 0.1, 0.9, 0.0, "adam")


def test_lrn_with_alpha_0_is_a_constant_and_the_seam_is_not_crossed():
    x = normal(2, 3, 3, 8)
    assert_close(cpu.lrn(x, 5, 0.0, 0.75, 2.0, 1)[0], x * 2 ** -0.75, 1e-12, "alpha 0")
    halves = [cpu.lrn(np.ascontiguousarray(half), 5, 1.0, 0.75, 2.0, 1)[0]
              for half in np.split(x, 2, axis=3)]
    apart = np.concatenate(halves, axis=3)
    assert_close(cpu.lrn(x, 5, 1.0, 0.75, 2.0, 2)[0], apart, 1e-12, "two groups")
    assert abs(cpu.lrn(x, 5, 1.0, 0.75, 2.0, 1)[0] - apart).max() > 1e-3


# threads, blocks and tiles


def battery(kernels, dtype=np.float64):
    """Every kernel once, on arrays larger than one small block, as {name: [results]}."""
    N, H, W, C = shape = (5, 20, 19, 4)
    O = 6
    x = normal(*shape).astype(dtype)
    gx = normal(*shape, seed=1).astype(dtype)
    results = {}

    def run(name, *args):
        args = [checks.in_precision(a, dtype) for a in args]
        result = getattr(kernels, name)(*args)
        results.setdefault(name, []).extend(result if isinstance(result, tuple) else [result])
        return result

    for win in (Window.of((2, 3), 1, 1), Window.of(2, (1, 2), dilation=2, ceil_mode=True)):
        out = win.out(H, W)
        w = normal(O, C // 2, *win.kernel)
        gy = normal(N, *out, O)
        run("conv2d", x, w, normal(O), win, 2)
        run("conv2d_backward_weight", x, gy, win, 2)
        run("conv2d_backward_input", gy, w, x.shape, win, 2)
        y, saved = kernels.max_pool2d(x, win)
        results.setdefault("max_pool2d", []).append(y)
        run("max_pool2d_backward", normal(N, *out, C), saved, x.shape, win)
    win = Window.of(3, 2)
    local = normal(9, 9, O, C, 3, 3)
    gy = normal(N, 9, 9, O)
    run("locally_connected2d", x, local, normal(9, 9, O), win)
    run("locally_connected2d_backward_weight", x, gy, win)
    run("locally_connected2d_backward_input", gy, local, x.shape, win)
    run("avg_pool2d", x, win, False)
    run("avg_pool2d_backward", normal(N, 9, 9, C), x.shape, win, True)
    _, scale = run("lrn", x, 4, 1.0, 0.75, 2.0, 2)
    run("lrn_backward", gx, x, scale, 4, 1.0, 0.75, 2)
    _, scale = run("lrn_within", x, 3, 1.0, 0.75, 1.0)
    run("lrn_within_backward", gx, x, scale, 3, 1.0, 0.75)
    run("relu_backward", gx, run("relu", x))
    run("tanh_backward", gx, run("tanh", x))
    run("dropout", x, 0.5, 2.0, (7, 9))
    run("sum_rows", x)
    rows = normal(6, 300)
    weights = normal(280, 300)
    run("linear", rows, weights, normal(280))
    run("linear_backward_input", normal(6, 280), weights)
    run("linear_backward_weight", normal(6, 280), rows)
    _, probs = run("softmax_cross_entropy", normal(6, 10), np.arange(6))
    run("softmax_cross_entropy_backward", normal(6), probs, np.arange(6))
    flat = normal(1000).astype(dtype)
    velocity = normal(1000, seed=1).astype(dtype)
    run("sgd", flat, normal(1000, seed=2), velocity, 0.1, 0.9, 0.01, "2012")
    results["sgd"] = [flat, velocity]
    return results


@pytest.fixture(scope="module")
def oracle():
    return battery(naive)


def cut(monkeypatch, **sizes):
    """Set BLOCK, TILE and GRAIN wherever a module of `cpu` has them."""
    for name, module in list(sys.modules.items()):
        for size, value in sizes.items():
            if name.startswith(cpu.__name__ + ".") and hasattr(module, size):
                monkeypatch.setattr(module, size, value)


def assert_same(got, want, tolerance=1e-12):
    assert got.keys() == want.keys()
    for name in want:
        for one, other in zip(got[name], want[name], strict=True):
            assert_close(one, other, tolerance, name)


@pytest.mark.parametrize("count", (1, 2, 4))
def test_any_number_of_threads_gives_the_answer_and_the_same_bits_each_time(
        count, threads, oracle, monkeypatch):
    threads(count)
    cut(monkeypatch, TILE=256, GRAIN=1)
    first = battery(cpu, np.float32)
    second = battery(cpu, np.float32)
    for name in first:
        for one, other in zip(first[name], second[name], strict=True):
            assert np.array_equal(one, other), f"{name}: two runs differ"
    assert_same(first, oracle, 1e-5)
    assert_same(battery(cpu), oracle)


@pytest.mark.parametrize("count", (1, 3))
@pytest.mark.parametrize("block, tile", ((64, 7), (6000, 100), (1 << 30, 1 << 30)))
def test_blocks_smaller_than_an_image_and_larger_than_the_batch(
        block, tile, count, threads, oracle, monkeypatch):
    cut(monkeypatch, BLOCK=block, TILE=tile, GRAIN=1)
    threads(count)
    assert_same(battery(cpu), oracle)


def test_a_batch_smaller_than_the_pieces(threads, monkeypatch):
    threads(4)
    cut(monkeypatch, GRAIN=1)
    case = WindowCase(N=1, groups=2, padding=(1, 1))
    checks.conv2d_forward(case)
    checks.conv2d_weight_gradient(case)
    checks.conv2d_input_gradient(replace(case, stride=(2, 2)))
    checks.max_pool2d(replace(case, groups=1))


@pytest.mark.parametrize("case", POOL_CASES, ids=str)
def test_pools_give_the_same_bits_on_one_thread_as_on_several(case, threads):
    """One thread copies columns apart. And NumPy's buffer is afterwards what it was."""
    x = np.random.default_rng(0).integers(-2, 3, case.x_shape).astype(np.float32)
    x.reshape(-1)[-1:] = np.nan
    results = []
    size = np.getbufsize()
    for count in (1, 3):
        threads(count)
        y, won = cpu.max_pool2d(x, case.win)
        results.append((y, *won, cpu.max_pool2d_values(x, case.win)[0],
                        cpu.max_pool2d_backward(y, won, x.shape, case.win),
                        cpu.avg_pool2d(x, case.win, True)))
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()
    assert np.getbufsize() == size


def test_activations_come_out_contiguous_in_the_dtype_of_the_input():
    for dtype in (np.float32, np.float64):
        for name, arrays in battery(cpu, dtype).items():
            for array in arrays:
                assert array.dtype == dtype, name
                assert array.flags.c_contiguous or name.endswith("backward_weight"), name


def test_an_error_in_a_thread_reaches_the_caller(threads):
    threads(2)

    def body(start, stop):
        if stop == 10:
            raise RuntimeError("the last piece")
    with pytest.raises(RuntimeError, match="the last piece"):
        workers.parallel_for(10, body)
    seen = []
    workers.parallel_for(10, lambda start, stop: seen.append((start, stop)))
    assert sorted(i for start, stop in seen for i in range(start, stop)) == list(range(10))


@pytest.mark.parametrize("kernels", (naive, cpu))
def test_the_two_rules_take_the_same_steps_while_lr_stays_the_same(kernels):
    a = np.array([1.0, -2.0])
    b = np.array([1.0, -2.0])
    va = np.zeros(2)
    vb = np.zeros(2)
    for step in range(5):
        g = normal(2, seed=step)
        kernels.sgd(a, g, va, 0.1, 0.9, 0.01, "2012")
        kernels.sgd(b, g, vb, 0.1, 0.9, 0.01, "torch")
        assert_close(a, b, 1e-12, f"step {step}")
    kernels.sgd(a, g, va, 0.01, 0.9, 0.01, "2012")
    kernels.sgd(b, g, vb, 0.01, 0.9, 0.01, "torch")
    assert np.abs(a - b).max() > 1e-3
