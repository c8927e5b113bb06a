"""Checks of the kernels: the fast ones give what the oracles give.

`cpu` here is the kernels under test: tests of the GPU's kernels put these in its place
(`checks.kernels.cpu = ...`) and run the same checks.
"""
from dataclasses import replace
from unittest import mock

import numpy as np

from minitorch_alex.kernels import Window, cpu, im2col, naive, set_winograd, workers
from minitorch_alex.kernels.cpu import blocks, by_rows, product

from .cases import (
    CONV_CASES,
    LARGE_CONV_CASES,
    LRN_CASES,
    POOL_CASES,
    WINOGRAD_CASES,
    WindowCase,
)
from .compare import assert_close, dot, in_precision, normal


def agree(name, *args, double=1e-12, single=1e-5, oracle=naive):
    """The fast kernel `name` gives what the oracle's gives: to 1e-12 in float64, to 1e-5 in
    float32 (compared with the oracle in float64), in the dtype of its input. Returns the oracle's
    result."""
    expected = getattr(oracle, name)(*args)
    for dtype, tolerance in ((np.float64, double), (np.float32, single)):
        rounded = [in_precision(a, dtype) for a in args]
        want = getattr(oracle, name)(*[in_precision(a, np.float64) for a in rounded])
        got = getattr(cpu, name)(*rounded)
        pairs = zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]
        for one, other in pairs:
            assert one.dtype == dtype, f"{name}: got {one.dtype}, expected {dtype.__name__}"
            assert_close(one, other, tolerance, f"{name} in {dtype.__name__}")
    return expected


# convolution




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
    """<conv(x; w), gy> = <x, backward_input(gy; w)> = <w, backward_weight(x, gy)>: each backward
    is the transpose of the linear map that it belongs to. Needs no oracle."""
    x, w, _, gy = case.arrays()
    want = dot(cpu.conv2d(x, w, None, case.win, case.groups), gy)
    through_x = dot(x, cpu.conv2d_backward_input(gy, w, x.shape, case.win, case.groups))
    through_w = dot(w, cpu.conv2d_backward_weight(x, gy, case.win, case.groups))
    assert_close([through_x, through_w], [want, want], 1e-11, "adjoint of the convolution")


def oracles_agree(case):
    """The two oracles of the convolution, loops and one matrix product, say the same. They share
    the arithmetic of output sizes and nothing else."""
    x, w, b, gy = case.arrays()
    for name, args in (("conv2d", (x, w, b, case.win, case.groups)),
                       ("conv2d", (x, w, None, case.win, case.groups)),
                       ("conv2d_backward_weight", (x, gy, case.win, case.groups)),
                       ("conv2d_backward_input", (gy, w, x.shape, case.win, case.groups))):
        product = getattr(im2col, name)(*args)
        loops = getattr(naive, name)(*args)
        assert_close(product, loops, 1e-12, f"im2col.{name}")


def conv2d_of_a_layer(case):
    """All three kernels of the convolution at a size at which the loops would take minutes."""
    x, w, b, gy = case.arrays()
    agree("conv2d", x, w, b, case.win, case.groups, oracle=im2col)
    agree("conv2d_backward_weight", x, gy, case.win, case.groups, oracle=im2col)
    agree("conv2d_backward_input", gy, w, x.shape, case.win, case.groups, oracle=im2col)


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
    """Values on a coarse grid, all negative: ties in most windows, and a padding of zeros would
    win."""
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
    x = normal(*case.x_shape)
    gy = normal(case.N, *case.win.out(case.H, case.W), case.x_shape[3])
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


def check_narrow_products():
    """In pieces or whole, and of matrices that are parts of larger ones: the product, each row of it."""
    rng = np.random.default_rng(0)
    for P, K, N in ((70, 9, 32), (64, 40, 64), (5, 9, 32), (50, 600, 64), (41, 3000, 32), (33, 20, 96), (20, 7, 10)):
        a = rng.standard_normal((P, K + 3)).astype(np.float32)[:, 2:-1]
        for stack in ((), (3,)):
            b = rng.standard_normal((*stack, K, N)).astype(np.float32)
            out = np.full((*stack, P, N + 5), np.nan, np.float32)
            for names in ({"SkylakeX"}, {"Haswell"}, set()):
                with mock.patch.object(product, "blas_architectures", lambda names=names: frozenset(names)):
                    product.matmul_narrow(a, b, out[..., 3:-2])
                assert_close(out[..., 3:-2], a.astype(float) @ b, 1e-5, f"{P} x {K} x {N}, {names}")
                assert np.isnan(out[..., :3]).all() and np.isnan(out[..., -2:]).all()


def check_the_oracles_of_conv2d():
    for case in CONV_CASES:
        oracles_agree(case)


def check_conv2d_at_the_size_of_layers():
    for case in LARGE_CONV_CASES:
        conv2d_of_a_layer(case)


def check_conv2d_by_rows():
    """Row by row of the kernel, also where im2col is taken for being faster: every case without a
    stride from row to row, shared by two threads, however little work it is."""
    cases = [replace(case, N=5) for case in CONV_CASES if case.stride[0] == 1 < case.kernel[0]]
    cases.append(replace(cases[0], padding=(7, 1)))  # each row of the kernel sees padding in some window
    # the first and the last row of the kernel see nothing else
    cases.append(WindowCase(N=5, H=2, kernel=(3, 2), padding=(2, 0), dilation=(2, 1)))
    before = workers.get_threads()
    workers.set_threads(2)
    try:
        with (mock.patch.object(by_rows, "MIN_WIDTH", 1), mock.patch.object(by_rows, "MAX_HEIGHTS", np.inf),
              mock.patch.object(blocks, "GRAIN", 1)):
            for case in cases:
                x = np.empty(case.x_shape)
                assert by_rows.suits(x, case.O * case.groups, case.win, case.groups)
                conv2d_forward(case)
                conv2d_weight_gradient(case)
                conv2d_input_gradient(case)
                x, w, b, _ = case.arrays()
                y = by_rows.conv2d(x, w, b, case.win, case.groups, relu=False)
                positive = by_rows.conv2d(x, w, b, case.win, case.groups, relu=True)
                assert np.array_equal(positive, np.maximum(y, 0))
    finally:
        workers.set_threads(before)


def check_winograd():
    before = workers.get_threads()
    try:
        workers.set_threads(2)  # each has a share of the weight gradient
        for case in WINOGRAD_CASES:
            winograd(case)
    finally:
        workers.set_threads(before)


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
    # rounded up, a third window of 5 cells would start past the image (at 6 - 1 = 5): dropped; of
    # 6 cells it holds one
    assert Window.of(2, 3, 1, ceil_mode=True).out(5, 6) == (2, 3)


# local response normalisation


def lrn_forward(case):
    x = normal(2, 2, 3, case.C * case.groups)
    agree("lrn", x, case.size, case.alpha, case.beta, case.k, case.groups)


def lrn_gradient(case):
    x = normal(2, 2, 3, case.C * case.groups)
    gy = normal(2, 2, 3, case.C * case.groups, seed=1)
    _, scale = naive.lrn(x, case.size, case.alpha, case.beta, case.k, case.groups)
    agree("lrn_backward", gy, x, scale, case.size, case.alpha, case.beta, case.groups)


def lrn_within(case):
    x = normal(2, case.C, 4, 2)
    gy = normal(2, case.C, 4, 2, seed=1)
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
    x = normal(3, 5)
    g = normal(3, 5, seed=1)
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
    """Over 100,000 elements: the share kept, and the shares kept together with a neighbour, with
    the same element under the next key, and in each quarter, all within 4 sigma of what
    independent draws give."""
    n = 100_000
    for key in KEYS[3:]:
        for p in (0.25, 0.5):
            kept = cpu.dropout(np.ones(n), p, 1.0, key) != 0
            next_key = (key[0] + 1) & 0xFFFFFFFF, key[1]
            other = cpu.dropout(np.ones(n), p, 1.0, next_key) != 0
            q = 1 - p
            single = [kept, *np.split(kept, 4)]
            both = [kept[1:] & kept[:-1], kept[64:] & kept[:-64], kept & other]
            # neighbouring pairs share elements, which widens sigma by less than sqrt(3)
            for shares, want, widening in ((single, q, 1), (both, q * q, 3 ** 0.5)):
                for share in shares:
                    sigma = np.sqrt(want * (1 - want) / len(share)) * widening
                    mean = share.mean()
                    assert abs(mean - want) < 4 * sigma, f"p {p} key {key}: {mean} for {want}"


def check_dropout_tiles():
    """Elements keep their numbers when an array is cut into tiles."""
    n = 150_001  # more than two tiles
    kept = cpu.dropout(np.ones(n), 0.5, 1.0, KEYS[3]) != 0
    for i in range(0, n, 7001):
        assert kept[i] == (naive.dropout_hash(i, KEYS[3]) >= 2 ** 31), f"element {i}"


def check_wide_linear():
    """Wide enough for every thread to have a share of the features."""
    x = normal(2, 300)
    w = normal(700, 300)
    b = normal(700)
    gy = normal(2, 700)
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
    before = workers.get_threads()
    grain = blocks.GRAIN
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
    x = normal(3, 4)
    w = normal(5, 4)
    b = normal(5)
    gy = normal(3, 5)
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
    """Two steps of each rule, lr 0.1 then 0.01, worked out by hand: m 0.9, wd 0.01, w 1, g 0.5, v
    0.25."""
    by_hand = {"2012": ((0.174, 1.174), (0.1514826, 1.3254826)),
               "torch": ((0.735, 0.9265), (1.170765, 0.91479235))}  # (v, w) after each step
    for kernels in (naive, cpu):
        for rule, steps in by_hand.items():
            w = np.full(3, 1.0)
            g = np.full(3, 0.5)
            v = np.full(3, 0.25)
            for lr, (want_v, want_w) in zip((0.1, 0.01), steps, strict=True):
                kernels.sgd(w, g, v, lr, 0.9, 0.01, rule)
                assert_close(v, np.full(3, want_v), 1e-12, f"{kernels.__name__} {rule}: v")
                assert_close(w, np.full(3, want_w), 1e-12, f"{kernels.__name__} {rule}: w")
            assert np.array_equal(g, np.full(3, 0.5)), "the gradient must be left alone"


CHECKS = (
    check_conv2d_forward,
    check_conv2d_weight_gradient,
    check_conv2d_input_gradient,
    check_conv2d_adjoint,
    check_narrow_products,
    check_the_oracles_of_conv2d,
    check_conv2d_at_the_size_of_layers,
    check_conv2d_by_rows,
    check_winograd,
    check_locally_connected2d,
    check_max_pool2d,
    check_avg_pool2d,
    check_output_sizes,
    check_lrn_forward,
    check_lrn_gradient,
    check_lrn_gradient_at_the_papers_alpha,
    check_lrn_within,
    check_relu_and_tanh,
    check_dropout_hash,
    check_dropout_statistics,
    check_dropout_tiles,
    check_wide_linear,
    check_threads_share_the_batch,
    check_linear,
    check_softmax_cross_entropy,
    check_sgd,
)
