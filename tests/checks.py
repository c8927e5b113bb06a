"""Checks that the tests and the planted bugs share: what a test proves on many drawn cases, a check proves on a few.

A check is a function `check_...` without arguments that returns when all is well and raises when not. `test_mutants.py`
plants each bug of `mutants/` and runs the check that is named there: it must fail. That is what shows that a check
looks at what it claims to look at. The case-level functions beside them take one case and serve the drawn tests too.
"""
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import assume

import minitorch_alex as mt
from minitorch_alex import backend
from minitorch_alex import functional as F
from minitorch_alex.errors import ShapeError, UsageError
from minitorch_alex.kernels import Window, cpu, naive, set_winograd, workers
from minitorch_alex.kernels.cpu import blocks

# comparing


def assert_close(got, want, tolerance, what):
    """The largest error, relative to the largest value wanted (or to 1), is at most `tolerance`; shapes are equal."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: got shape {got.shape}, expected {want.shape}"
    if got.size:
        scale = max(1.0, float(np.abs(want).max()))
        error = float(np.abs(got.astype(np.float64) - want).max()) / scale
        assert error <= tolerance, f"{what}: error {error:.3g}, allowed {tolerance:.3g}"


def normal(*shape, seed=0):
    """Standard normal numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def agree(name, *args, double=1e-12, single=1e-5):
    """The fast kernel `name` gives what the naive one gives: to 1e-12 in float64, to 1e-5 in float32 (against the
    naive one in float64), in the dtype of its input. Returns the naive result."""
    want = getattr(naive, name)(*args)
    for dtype, tolerance in ((np.float64, double), (np.float32, single)):
        given = [in_precision(a, dtype) for a in args]
        oracle = getattr(naive, name)(*[in_precision(a, np.float64) for a in given])
        got = getattr(cpu, name)(*given)
        parts = zip(got, oracle, strict=True) if isinstance(got, tuple) else [(got, oracle)]
        for part, other in parts:
            assert part.dtype == dtype, f"{name}: got {part.dtype}, expected {dtype.__name__}"
            assert_close(part, other, tolerance, f"{name} in {dtype.__name__}")
    return want


def in_precision(value, dtype):
    """Floating arrays in `dtype`; everything else as it is."""
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def dot(a, b):
    """The inner product of two arrays of one shape."""
    assert a.shape == b.shape, f"{a.shape} and {b.shape}"
    return float((a * b).sum())


# sliding windows


@dataclass(frozen=True)
class WindowCase:
    """An image batch and a window over it; C and O are per group."""

    N: int = 2
    H: int = 6
    W: int = 5
    C: int = 2
    O: int = 2
    groups: int = 1
    kernel: tuple[int, int] = (3, 2)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False

    @property
    def win(self):
        return Window.of(self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)

    @property
    def x_shape(self):
        return self.N, self.H, self.W, self.C * self.groups

    @property
    def y_shape(self):
        return self.N, *self.win.out(self.H, self.W), self.O * self.groups

    def arrays(self):
        """x, w, b and a cotangent of y for a convolution."""
        O = self.O * self.groups
        return normal(*self.x_shape), normal(O, self.C, *self.kernel), normal(O), normal(*self.y_shape, seed=1)

    def local_arrays(self):
        """x, w, b and a cotangent of y for a locally connected layer, which has no groups."""
        _, OH, OW, O = self.y_shape
        return (normal(*self.x_shape), normal(OH, OW, O, self.x_shape[3], *self.kernel), normal(OH, OW, O),
                normal(*self.y_shape, seed=1))


def fitting(case):
    """The case, if its window fits into its image; otherwise the drawn example is thrown away."""
    try:
        case.win.out(case.H, case.W)
    except ShapeError:
        assume(False)
    return case


CONV_CASES = (
    WindowCase(),
    WindowCase(padding=(1, 1), stride=(2, 3)),
    WindowCase(groups=2, padding=(1, 0)),
    WindowCase(kernel=(2, 5), padding=(0, 2), W=8, C=3),  # few channels, several outputs at once
    WindowCase(groups=3, stride=(2, 2), C=1),
    WindowCase(dilation=(2, 1), padding=(2, 1)),
    WindowCase(dilation=(2, 2), stride=(2, 1), H=7, W=6, padding=(1, 1)),
    WindowCase(H=8, W=8, kernel=(3, 3), stride=(4, 4), ceil_mode=True),
    WindowCase(kernel=(1, 1), padding=(1, 1)),
    WindowCase(kernel=(2, 2), stride=(3, 3), N=1),
)
WINOGRAD_CASES = (
    WindowCase(kernel=(3, 3), padding=(1, 1), H=9, W=6, groups=2),
    WindowCase(kernel=(5, 5), padding=(2, 0), H=5, W=8, N=3),
    WindowCase(kernel=(3, 3), padding=(1, 1), H=5, W=9, N=5, groups=2),  # laid side by side
    WindowCase(kernel=(5, 5), H=9, W=9, C=3, O=1),
    WindowCase(kernel=(11, 11), stride=(4, 4), padding=(2, 0), H=22, W=15, ceil_mode=True),
)
POOL_CASES = (
    WindowCase(kernel=(3, 3), stride=(2, 2)),
    WindowCase(kernel=(3, 3), stride=(2, 2), padding=(1, 1), H=7),
    WindowCase(kernel=(3, 3), stride=(2, 2), H=6, W=8, ceil_mode=True),
    WindowCase(kernel=(2, 3), stride=(1, 2), padding=(1, 1)),
    WindowCase(kernel=(2, 2), stride=(2, 3), padding=(1, 1), H=6, ceil_mode=True),
)


def conv2d_forward(case):
    x, w, b, _ = case.arrays()
    agree("conv2d", x, w, b, case.win, case.groups)
    agree("conv2d", x, w, None, case.win, case.groups)


def conv2d_weight_gradient(case):
    x, _, _, gy = case.arrays()
    agree("conv2d_backward_weight", x, gy, case.win, case.groups)


def conv2d_input_gradient(case):
    _, w, _, gy = case.arrays()
    agree("conv2d_backward_input", gy, w, case.x_shape, case.win, case.groups)


def conv2d_adjoint(case):
    """<conv(x; w), gy> = <x, backward_input(gy; w)> = <w, backward_weight(x, gy)>: each backward is the transpose of
    the linear map that it belongs to. Needs no oracle."""
    x, w, _, gy = case.arrays()
    want = dot(cpu.conv2d(x, w, None, case.win, case.groups), gy)
    through_x = dot(x, cpu.conv2d_backward_input(gy, w, x.shape, case.win, case.groups))
    through_w = dot(w, cpu.conv2d_backward_weight(x, gy, case.win, case.groups))
    assert_close([through_x, through_w], [want, want], 1e-11, "adjoint of the convolution")


def winograd(case):
    """Winograd's algorithm computes the same three products, with larger rounding."""
    x, w, b, gy = case.arrays()
    loose = {"double": 1e-11, "single": 1e-4}
    set_winograd(True)
    try:
        agree("conv2d", x, w, b, case.win, case.groups, **loose)
        agree("conv2d", x, w, None, case.win, case.groups, **loose)
        agree("conv2d_backward_weight", x, gy, case.win, case.groups, **loose)
        agree("conv2d_backward_input", gy, w, x.shape, case.win, case.groups, **loose)
    finally:
        set_winograd(False)


def locally_connected2d(case):
    case = replace(case, groups=1)
    x, w, b, gy = case.local_arrays()
    agree("locally_connected2d", x, w, b, case.win)
    agree("locally_connected2d", x, w, None, case.win)
    agree("locally_connected2d_backward_weight", x, gy, case.win)
    agree("locally_connected2d_backward_input", gy, w, x.shape, case.win)


def max_pool2d(case):
    """Values on a coarse grid, all negative: ties in most windows, and a padding of zeros would win."""
    x = np.random.default_rng(0).integers(-4, 0, case.x_shape).astype(np.float64)
    gy = normal(*case.x_shape[:1], *case.win.out(case.H, case.W), case.x_shape[3])
    want, saved = naive.max_pool2d(x, case.win)
    want_gx = naive.max_pool2d_backward(gy, saved, x.shape, case.win)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        y, saved = cpu.max_pool2d(x.astype(dtype), case.win)
        gx = cpu.max_pool2d_backward(gy.astype(dtype), saved, x.shape, case.win)
        assert y.dtype == gx.dtype == dtype
        assert np.array_equal(y, want), "max_pool2d picks other values"
        assert_close(gx, want_gx, tolerance, "max_pool2d_backward")


def avg_pool2d(case):
    x, gy = normal(*case.x_shape), normal(case.N, *case.win.out(case.H, case.W), case.x_shape[3])
    for count_include_pad in (False, True):
        agree("avg_pool2d", x, case.win, count_include_pad)
        agree("avg_pool2d_backward", gy, x.shape, case.win, count_include_pad)


def check_conv2d_forward():
    for case in CONV_CASES:
        conv2d_forward(case)


def check_conv2d_weight_gradient():
    for case in CONV_CASES:
        conv2d_weight_gradient(case)


def check_conv2d_input_gradient():
    for case in CONV_CASES:
        conv2d_input_gradient(case)


def check_conv2d_adjoint():
    for case in CONV_CASES:
        conv2d_adjoint(case)


def check_winograd():
    for case in WINOGRAD_CASES:
        winograd(case)


def check_locally_connected2d():
    for case in CONV_CASES:
        locally_connected2d(case)


def check_max_pool2d():
    for case in POOL_CASES:
        max_pool2d(case)


def check_avg_pool2d():
    for case in POOL_CASES:
        avg_pool2d(case)


def check_output_sizes():
    """The sizes that the paper's net stands on, and what tells the two roundings apart."""
    first = Window.of(11, 4, ceil_mode=True)
    pool = Window.of(3, 2, ceil_mode=True)
    sizes = [224]
    for win in (first, pool, Window.of(5, 1, 2), pool, Window.of(3, 1, 1), pool):
        sizes.append(win.out(sizes[-1], sizes[-1])[0])
    assert sizes == [224, 55, 27, 27, 13, 13, 6], sizes
    assert Window.of(11, 4).out(224, 227) == (54, 55)
    assert Window.of(3, 4, 1, 2).out(10, 10) == (2, 2)
    # rounded up, a third window of 5 cells would start past the image (at 6 - 1 = 5): dropped; of 6 cells it holds one
    assert Window.of(2, 3, 1, ceil_mode=True).out(5, 6) == (2, 3)


# local response normalisation


@dataclass(frozen=True)
class NormCase:
    """Channels and window of a normalisation; C is per group."""

    C: int = 7
    size: int = 5
    alpha: float = 1.0
    beta: float = 0.75
    k: float = 2.0
    groups: int = 1


LRN_CASES = tuple(
    NormCase(C, size, alpha, beta, k, groups)
    for alpha in (1e-4, 1.0)
    for C, size, beta, k, groups in (
        (7, 5, 0.75, 2.0, 1), (7, 4, 0.75, 2.0, 1), (3, 5, 0.75, 1.0, 1), (4, 4, 0.5, 1.0, 1), (5, 3, 0.75, 2.0, 2),
        (1, 3, 0.75, 1.0, 1), (40, 5, 0.75, 2.0, 1), (6, 1, 0.75, 2.0, 1), (3, 6, 0.75, 2.0, 2)))


def lrn_forward(case):
    x = normal(2, 2, 3, case.C * case.groups)
    agree("lrn", x, case.size, case.alpha, case.beta, case.k, case.groups)


def lrn_gradient(case):
    x, gy = normal(2, 2, 3, case.C * case.groups), normal(2, 2, 3, case.C * case.groups, seed=1)
    _, scale = naive.lrn(x, case.size, case.alpha, case.beta, case.k, case.groups)
    agree("lrn_backward", gy, x, scale, case.size, case.alpha, case.beta, case.groups)


def lrn_within(case):
    x, gy = normal(2, case.C, 4, 2), normal(2, case.C, 4, 2, seed=1)
    _, scale = agree("lrn_within", x, case.size, case.alpha, case.beta, case.k)
    agree("lrn_within_backward", gy, x, scale, case.size, case.alpha, case.beta)


def check_lrn_forward():
    for case in LRN_CASES:
        lrn_forward(case)


def check_lrn_gradient():
    for case in LRN_CASES:
        lrn_gradient(case)


def check_lrn_gradient_at_the_papers_alpha():
    for case in LRN_CASES:
        if case.alpha == 1e-4:
            lrn_gradient(case)


def check_lrn_within():
    for case in LRN_CASES[:4] + LRN_CASES[-9:-5]:
        lrn_within(case)


# activations, dropout, fully connected, loss, update


def check_relu_and_tanh():
    x, g = normal(3, 5), normal(3, 5, seed=1)
    x[0, 0] = 0.0
    agree("relu_backward", g, agree("relu", x))
    agree("tanh_backward", g, agree("tanh", x))


KEYS = ((0, 0), (1, 0), (0, 1), (0x12345678, 0x9ABCDEF0), (0xFFFFFFFF, 0xFFFFFFFF))


def check_dropout_hash():
    """The mask is the naive one's, number for number, so that it is also any other device's."""
    x = normal(2, 3, 4, 5) + 10.0  # no zeros: a zero in y says that it was dropped
    for key in KEYS:
        for p in (0.0, 0.25, 0.5, 1.0):
            want = agree("dropout", x, p, 1.75, key)
            assert np.array_equal(cpu.dropout(x, p, 1.75, key) == 0, want == 0)


def check_dropout_statistics():
    """Over 100,000 elements: the share kept, and the shares kept together with a neighbour, with the same element
    under the next key, and in each quarter, all within 4 sigma of what independent draws give."""
    n = 100_000
    for key in KEYS[3:]:
        for p in (0.25, 0.5):
            kept = cpu.dropout(np.ones(n), p, 1.0, key) != 0
            other = cpu.dropout(np.ones(n), p, 1.0, ((key[0] + 1) & 0xFFFFFFFF, key[1])) != 0
            q = 1 - p
            for share, want in ((kept, q), (kept[1:] & kept[:-1], q * q), (kept[64:] & kept[:-64], q * q),
                                (kept & other, q * q), *((quarter, q) for quarter in np.split(kept, 4))):
                # neighbouring pairs share elements, which widens sigma by less than sqrt(3)
                sigma = np.sqrt(want * (1 - want) / len(share)) * (1 if want == q else 3 ** 0.5)
                assert abs(share.mean() - want) < 4 * sigma, f"p {p} key {key}: {share.mean()} for {want}"


def check_dropout_tiles():
    """Elements keep their numbers when an array is cut into tiles."""
    n = 150_001  # more than two tiles
    kept = cpu.dropout(np.ones(n), 0.5, 1.0, KEYS[3]) != 0
    for i in range(0, n, 7001):
        assert kept[i] == (naive.dropout_hash(i, KEYS[3]) >= 2 ** 31), f"element {i}"


def check_wide_linear():
    """Wide enough for every thread to have a share of the features."""
    x, w, b, gy = normal(2, 300), normal(700, 300), normal(700), normal(2, 700)
    before = workers.get_threads()
    try:
        workers.set_threads(2)
        agree("linear", x, w, b)
        agree("linear_backward_input", gy, w)
        agree("linear_backward_weight", gy, x)
    finally:
        workers.set_threads(before)


def check_threads_share_the_batch():
    """With several threads every piece of the batch counts, however little work it is."""
    before, grain = workers.get_threads(), blocks.GRAIN
    blocks.GRAIN = 1
    try:
        for threads in (2, 3):
            workers.set_threads(threads)
            for case in CONV_CASES[:3]:
                case = replace(case, N=5)
                conv2d_forward(case)
                conv2d_weight_gradient(case)
                conv2d_input_gradient(case)
    finally:
        workers.set_threads(before)
        blocks.GRAIN = grain


def check_linear():
    x, w, b, gy = normal(3, 4), normal(5, 4), normal(5), normal(3, 5)
    agree("linear", x, w, b)
    agree("linear", x, w, None)
    agree("linear_backward_input", gy, w)
    agree("linear_backward_weight", gy, x)
    for shape in ((4,), (3, 4), (2, 3, 4, 5)):
        agree("sum_rows", normal(*shape))


def check_softmax_cross_entropy():
    labels = np.array([0, 3, 1, 3])
    for scale in (1.0, 1000.0):  # exp(1000) overflows, unless the largest logit is taken off first
        _, probs = agree("softmax_cross_entropy", normal(4, 5) * scale, labels)
        agree("softmax_cross_entropy_backward", normal(4), probs, labels)


def check_sgd():
    """Two steps of each rule, lr 0.1 then 0.01, worked out by hand: m 0.9, wd 0.01, w 1, g 0.5, v 0.25."""
    by_hand = {"2012": ((0.174, 1.174), (0.1514826, 1.3254826)), "torch": ((0.735, 0.9265), (1.170765, 0.91479235))}
    for kernels in (naive, cpu):
        for rule, steps in by_hand.items():
            w, g, v = np.full(3, 1.0), np.full(3, 0.5), np.full(3, 0.25)
            for lr, (want_v, want_w) in zip((0.1, 0.01), steps, strict=True):
                kernels.sgd(w, g, v, lr, 0.9, 0.01, rule)
                assert_close(v, np.full(3, want_v), 1e-12, f"{kernels.__name__} {rule}: v")
                assert_close(w, np.full(3, want_w), 1e-12, f"{kernels.__name__} {rule}: w")
            assert np.array_equal(g, np.full(3, 0.5)), "the gradient must be left alone"


KERNEL_CHECKS = [f for name, f in list(globals().items()) if name.startswith("check_")]

# operations: gradients against finite differences, on whatever backend is current


def leaf(array):
    """A tensor of the current backend that wants a gradient."""
    return mt.Tensor(backend.asarray(np.asarray(array)), requires_grad=True)


def host(array):
    """The array on the host, whichever backend it lives on."""
    return backend.to_numpy(array)


def spaced(*shape, seed=0):
    """Distinct values, 0.1 apart and at least 0.05 away from 0, in random order: no kink lies within reach of a
    finite difference."""
    count = int(np.prod(shape))
    return ((np.random.default_rng([seed, *shape]).permutation(count) - count // 2 + 0.5) * 0.1).reshape(shape)


def gradients(fn, *arrays):
    """mt.gradcheck of fn at these arrays."""
    assert mt.gradcheck(fn, [leaf(a) for a in arrays])


def nchw(case):
    return case.N, case.C * case.groups, case.H, case.W


def conv2d_gradients(case, with_bias=True):
    _, w, b, _ = case.arrays()
    gradients(lambda x, w, b=None: F.conv2d(x, w, b, case.stride, case.padding, case.dilation, case.groups,
                                            case.ceil_mode), normal(*nchw(case)), w, *([b] if with_bias else []))


def locally_connected2d_gradients(case):
    case = replace(case, groups=1, ceil_mode=False)
    _, w, b, _ = case.local_arrays()
    gradients(lambda x, w, b: F.locally_connected2d(x, w, b, case.stride, case.padding, case.dilation),
              normal(*nchw(case)), w, b.transpose(2, 0, 1))


def max_pool2d_gradients(case):
    gradients(lambda x: F.max_pool2d(x, case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode),
              spaced(*nchw(case)))


def avg_pool2d_gradients(case):
    for count_include_pad in (False, True):
        gradients(lambda x, c=count_include_pad: F.avg_pool2d(x, case.kernel, case.stride, case.padding,
                                                              case.ceil_mode, c), normal(*nchw(case)))


def lrn_gradients(case, within_map=False):
    groups = 1 if within_map else case.groups
    shape = (2, 2, case.C, 3) if within_map else (2, case.C * groups, 2, 2)
    gradients(lambda x: F.local_response_norm(x, case.size, case.alpha * case.size, case.beta, case.k, groups,
                                              within_map), normal(*shape))


def check_gradients_of_conv2d():
    for case in CONV_CASES:
        conv2d_gradients(case)
    conv2d_gradients(CONV_CASES[1], with_bias=False)


def check_gradients_of_locally_connected2d():
    for case in CONV_CASES[:2] + CONV_CASES[4:6]:
        locally_connected2d_gradients(case)


def check_gradients_of_max_pool2d():
    for case in POOL_CASES:
        max_pool2d_gradients(case)


def check_gradients_of_avg_pool2d():
    for case in POOL_CASES:
        avg_pool2d_gradients(case)


def check_gradients_of_lrn():
    for case in LRN_CASES:
        if case.C < 10:
            lrn_gradients(case)


def check_gradients_of_lrn_at_the_papers_alpha():
    """alpha 1e-4 hides wrong neighbours below the usual tolerances: what gradcheck allows must be finer."""
    for case in LRN_CASES:
        if case.alpha == 1e-4 and 3 <= case.C < 10:
            lrn_gradients(case)


def check_gradients_of_lrn_within():
    for size in (2, 3):
        lrn_gradients(NormCase(C=4, size=size), within_map=True)


def check_gradients_of_activations():
    for fn in (F.relu, F.tanh):
        gradients(fn, spaced(3, 4))
        gradients(fn, spaced(2, 3, 2, 2))


def check_gradients_of_dropout():
    def dropped(x):
        mt.set_step(3)  # gradcheck calls several times: each call must draw the same mask
        return F.dropout(x, 0.4)
    gradients(dropped, normal(4, 5))
    gradients(dropped, normal(2, 3, 2, 2))


def check_gradients_of_linear():
    gradients(F.linear, normal(3, 4), normal(5, 4), normal(5))
    gradients(F.linear, normal(3, 4), normal(5, 4))


def check_gradients_of_softmax():
    for fn in (F.softmax, F.log_softmax):
        gradients(fn, normal(3, 5))
        gradients(fn, normal(2, 3, 4))


def check_gradients_of_cross_entropy():
    for reduction in ("mean", "sum", "none"):
        gradients(lambda x, r=reduction: F.cross_entropy(x, np.array([1, 0, 4]), r), normal(3, 5))


BROADCASTS = (((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((3,), (2, 2, 3)), ((), (2, 3)), ((1,), (2, 3)),
              ((2, 1, 3), (4, 1)), ((1, 1), (1, 1)), ((2, 3, 1), (2, 1, 4)))


def check_gradients_of_arithmetic():
    """With every kind of broadcasting; the divisor is kept away from 0."""
    for one, other in BROADCASTS:
        for fn in (F.add, F.sub, F.mul):
            gradients(fn, normal(*one), normal(*other, seed=1))
        gradients(F.div, normal(*one), 1 + np.abs(normal(*other, seed=1)))


def check_gradients_of_single_operands():
    x, positive = normal(3, 4), 0.5 + np.abs(normal(3, 4))
    for fn in (F.exp, F.neg, F.transpose, lambda x: x * 3.0, lambda x: 3 - x, lambda x: x + 1, lambda x: x / 4,
               lambda x: F.reshape(x, 2, -1), lambda x: F.flatten(x, 0)):
        gradients(fn, x)
    for fn in (F.log, lambda x: x ** 3, lambda x: x ** -0.5, lambda x: 2 / x):
        gradients(fn, positive)
    for axis in (None, 0, 1, -1, (0, 2), (0, 1, 2)):
        for keepdims in (False, True):
            gradients(lambda x, a=axis, k=keepdims: F.sum(x, a, k), normal(2, 3, 4))
            gradients(lambda x, a=axis, k=keepdims: F.mean(x, a, k), normal(2, 3, 4))
    gradients(lambda x: F.permute(x, 2, 0, 3, 1), normal(2, 3, 1, 4))
    gradients(lambda x: F.transpose(x, -1, 1), normal(2, 3, 1, 4))
    gradients(F.matmul, normal(2, 3), normal(3, 4))


# operations: values


def check_values_of_cross_entropy():
    """ln K when nothing is known; the mean and not the sum; the value of a case worked out by hand."""
    labels = np.array([0, 3, 9, 9])
    chance = F.cross_entropy(leaf(np.zeros((4, 10))), labels)
    assert_close(chance.item(), np.log(10), 1e-12, "cross entropy at chance")
    logits = leaf(np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 4.0]]))  # probabilities 1/8 2/8 5/8 and 3/10 3/10 4/10
    losses = -np.log([5 / 8, 3 / 10])
    for reduction, want in (("none", losses), ("sum", losses.sum()), ("mean", losses.mean())):
        got = F.cross_entropy(logits, np.array([2, 0]), reduction)
        assert_close(host(got.data), want, 1e-12, f"cross entropy, {reduction}")
    assert_close(host(F.softmax(logits).data), [[1 / 8, 2 / 8, 5 / 8], [0.3, 0.3, 0.4]], 1e-12, "softmax")
    assert_close(host(F.log_softmax(logits).data), np.log([[1 / 8, 2 / 8, 5 / 8], [0.3, 0.3, 0.4]]), 1e-12, "log")


def check_dropout_in_training_and_evaluation():
    """Inverted: x / keep or nothing, then x itself. 2012: x or nothing, then x keep. The gradient passes through the
    very mask of the forward pass, masks change from draw to draw and come back with the seed and the step."""
    x = 1 + np.abs(normal(40, 50))
    for rule, scale, at_test in (("inverted", 1 / 0.75, 1.0), ("2012", 1.0, 0.75)):
        mt.manual_seed(5)
        t = leaf(x)
        y = F.dropout(t, 0.25, True, rule)
        y.sum().backward()
        mask = host(y.data) != 0
        assert 0.7 < mask.mean() < 0.8, f"{mask.mean()} kept of 0.75"
        assert_close(host(y.data), x * mask * scale, 1e-12, f"{rule} in training")
        assert_close(host(t.grad), mask * scale, 1e-12, f"gradient of {rule}")
        assert (host(F.dropout(t, 0.25, True, rule).data) != host(y.data)).any(), "two draws, one mask"
        mt.set_step(0)
        assert np.array_equal(host(F.dropout(t, 0.25, True, rule).data), host(y.data)), "one step, two masks"
        layer = mt.nn.Dropout(0.25, rule)
        assert (host(layer(t).data) == 0).any()
        mt.nn.Sequential(layer).eval()
        assert_close(host(layer(t).data), x * at_test, 1e-12, f"{rule} in evaluation")


def check_values_of_local_response_norm():
    """alpha is divided by the number of cells of the window, size or size^2, as in torch and the 2012 code."""
    x = normal(2, 6, 3, 3)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for within_map, cells in ((False, 5), (True, 25)):
        got = F.local_response_norm(leaf(x), 5, 1.0, 0.75, 2.0, within_map=within_map)
        want = (naive.lrn_within(nhwc, 5, 1 / cells, 0.75, 2.0) if within_map
                else naive.lrn(nhwc, 5, 1 / cells, 0.75, 2.0, 1))[0]
        assert_close(host(got.data), want.transpose(0, 3, 1, 2), 1e-12, "local_response_norm")


def check_ties_in_max_pool2d():
    """On a constant image the first cell of each window takes the whole gradient."""
    x = leaf(np.ones((1, 1, 4, 4)))
    y = F.max_pool2d(x, 2)
    y.backward(backend.asarray(np.array([[[[1.0, 2.0], [3.0, 4.0]]]])))
    assert host(x.grad)[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


def check_gradcheck_is_not_blind():
    """A softmax whose backward returns 0: every row sums to 1, so the plain sum of outputs has gradient 0 indeed."""
    class Lazy(mt.Function):
        def forward(self, x):
            return F.softmax(mt.Tensor(x)).data

        def backward(self, gy):
            return gy * 0.0
    try:
        mt.gradcheck(lambda x: Lazy()(x), [leaf(normal(2, 3))])
    except AssertionError as error:
        assert "input 0, element" in str(error)
    else:
        raise RuntimeError("gradcheck accepted a gradient of 0")


# the graph


def check_fan_out():
    """A tensor used several times collects from every use, once each; the second of two backwards adds to the first."""
    x = leaf([3.0])
    y = x * x + x          # 2 x + 1
    z = y * y + y          # (2 y + 1) (2 x + 1) with y = 12
    z.sum().backward()
    assert host(x.grad).tolist() == [25.0 * 7.0]
    (x * 2.0).sum().backward()
    assert host(x.grad).tolist() == [25.0 * 7.0 + 2.0]
    a, b = leaf([1.0]), leaf([1.0])
    y = a + b
    for _ in range(60):
        y = y + y
    y.backward()
    assert host(a.grad).tolist() == host(b.grad).tolist() == [2.0 ** 60]


def check_the_graph_is_freed():
    """A second backward raises and says how to keep the graph; with retain_graph it adds the same gradient again."""
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    try:
        y.backward()
    except UsageError as error:
        assert "retain_graph=True" in str(error)
    else:
        raise AssertionError("a second backward went through")
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert host(x.grad).tolist() == [4.0, 8.0]


def check_no_grad():
    x = leaf([1.0])
    with mt.no_grad():
        y = x * 2.0
    assert not y.requires_grad and y.creator is None
    assert (x * 2.0).requires_grad


def check_gradients_are_not_shared():
    """add hands the same array to both of its inputs; each leaf goes on adding to its own."""
    a, b = leaf([1.0]), leaf([1.0])
    total = a + b
    (total + a * 3.0).sum().backward()
    assert host(a.grad).tolist() == [4.0] and host(b.grad).tolist() == [1.0]
    c, d = leaf([1.0]), leaf([1.0])
    (c + d).sum().backward()
    c.grad += 1.0
    assert host(d.grad).tolist() == [1.0]


# layers and the update


def check_state_dict_is_a_copy():
    layer = mt.nn.Linear(3, 2)
    state = layer.state_dict()
    before = host(layer.weight.data).copy()
    state["weight"][...] = 7
    assert np.array_equal(host(layer.weight.data), before)
    layer.load_state_dict(state)
    assert (host(layer.weight.data) == 7).all()


def check_sgd_optimizer():
    """Two steps of the class: weights a (lr 0.1, decay 0.02), biases b (lr 0.2, no decay), m 0.9, g 0.5; then lr / 10.

    2012   a  v = -0.02*0.1 - 0.1*0.5 = -0.052   w = 0.948    v = -0.0468 - 0.02*0.01*0.948 - 0.005   w = 0.8960104
           b  v = -0.2*0.5            = -0.1     w = 0.9      v = -0.09 - 0.02*0.5 = -0.1             w = 0.8
    torch  a  v = 0.5 + 0.02          = 0.52     w = 0.948    v = 0.468 + 0.5 + 0.02*0.948 = 0.98696  w = 0.9381304
           b  v = 0.5                            w = 0.9      v = 0.45 + 0.5 = 0.95                   w = 0.881
    """
    by_hand = {"2012": ((0.948, 0.9), (0.8960104, 0.8)), "torch": ((0.948, 0.9), (0.9381304, 0.881))}
    for rule, steps in by_hand.items():
        a, b = (mt.nn.Parameter.drawn((2,), mt.init.constant(1.0)) for _ in range(2))
        for p in (a, b):
            p.data = p.data.astype(np.float64)
        sgd = mt.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.2, "weight_decay": 0.0}], lr=0.1, momentum=0.9,
                           weight_decay=0.02, rule=rule)
        for want_a, want_b in steps:
            sgd.zero_grad()
            ((a + b) * 0.5).sum().backward()
            sgd.step()
            assert_close(host(a.data), [want_a] * 2, 1e-12, f"{rule}: a")
            assert_close(host(b.data), [want_b] * 2, 1e-12, f"{rule}: b")
            for group in sgd.param_groups:
                group["lr"] /= 10


ENGINE_CHECKS = [f for name, f in list(globals().items()) if name.startswith("check_") and f not in KERNEL_CHECKS]
