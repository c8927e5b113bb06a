"""Checks of the engine: gradients against finite differences, values, the graph, layers and the
update.

They run on whatever backend is current.
"""
from dataclasses import replace

import numpy as np

import minitorch_alex as mt
from minitorch_alex import backend
from minitorch_alex import functional as F
from minitorch_alex.errors import UsageError
from minitorch_alex.kernels import naive

from .cases import CONV_CASES, LRN_CASES, POOL_CASES, NormCase
from .compare import assert_close, normal

# operations: gradients


def leaf(array):
    """A tensor of the current backend that wants a gradient."""
    return mt.Tensor(backend.asarray(np.asarray(array)), requires_grad=True)


def host(array):
    """The array on the host, whichever backend it lives on."""
    return backend.to_numpy(array)


def spaced(*shape, seed=0):
    """Distinct values, 0.1 apart and at least 0.05 away from 0, in random order: no kink lies
    within reach of a finite difference."""
    count = int(np.prod(shape))
    order = np.random.default_rng([seed, *shape]).permutation(count)
    return ((order - count // 2 + 0.5) * 0.1).reshape(shape)


def gradients(fn, *arrays):
    """mt.gradcheck of fn at these arrays."""
    assert mt.gradcheck(fn, [leaf(a) for a in arrays])


def nchw(case):
    return case.N, case.C * case.groups, case.H, case.W


def conv2d_gradients(case, with_bias=True):
    def conv2d(x, w, b=None):
        return F.conv2d(x, w, b, case.stride, case.padding, case.dilation, case.groups,
                        case.ceil_mode)

    _, w, b, _ = case.arrays()
    x = normal(*nchw(case))
    if with_bias:
        gradients(conv2d, x, w, b)
    else:
        gradients(conv2d, x, w)


def locally_connected2d_gradients(case):
    def local(x, w, b):
        return F.locally_connected2d(x, w, b, case.stride, case.padding, case.dilation)

    case = replace(case, groups=1, ceil_mode=False)
    _, w, b, _ = case.local_arrays()
    gradients(local, normal(*nchw(case)), w, b.transpose(2, 0, 1))  # b: (OH, OW, O) -> (O, OH, OW)


def max_pool2d_gradients(case):
    def max_pool2d(x):
        return F.max_pool2d(x, case.kernel, case.stride, case.padding, case.dilation,
                            case.ceil_mode)

    gradients(max_pool2d, spaced(*nchw(case)))


def avg_pool2d_gradients(case):
    x = normal(*nchw(case))
    settings = case.kernel, case.stride, case.padding, case.ceil_mode
    for count_include_pad in (False, True):
        gradients(lambda x, c=count_include_pad: F.avg_pool2d(x, *settings, c), x)


def lrn_gradients(case, within_map=False):
    def norm(x):
        alpha = case.alpha * case.size  # which is divided by size again
        return F.local_response_norm(x, case.size, alpha, case.beta, case.k, groups, within_map)

    groups = 1 if within_map else case.groups
    shape = (2, 2, case.C, 3) if within_map else (2, case.C * groups, 2, 2)
    gradients(norm, normal(*shape))


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
    """alpha 1e-4 hides wrong neighbours below the usual tolerances: what gradcheck allows must be
    finer."""
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


BROADCASTS = (
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((3,), (2, 2, 3)),
    ((), (2, 3)),
    ((1,), (2, 3)),
    ((2, 1, 3), (4, 1)),
    ((1, 1), (1, 1)),
    ((2, 3, 1), (2, 1, 4)),
)


def check_gradients_of_arithmetic():
    """With every kind of broadcasting; the divisor is kept away from 0."""
    for one, other in BROADCASTS:
        for fn in (F.add, F.sub, F.mul):
            gradients(fn, normal(*one), normal(*other, seed=1))
        gradients(F.div, normal(*one), 1 + np.abs(normal(*other, seed=1)))


def check_gradients_of_single_operands():
    x = normal(3, 4)
    positive = 0.5 + np.abs(normal(3, 4))
    for fn in (F.exp, F.neg, F.transpose, lambda x: x * 3.0, lambda x: 3 - x, lambda x: x + 1,
               lambda x: x / 4, lambda x: F.reshape(x, 2, -1), lambda x: F.flatten(x, 0)):
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
    """ln K when nothing is known; the mean and not the sum; the value of a case worked out by
    hand."""
    labels = np.array([0, 3, 9, 9])
    chance = F.cross_entropy(leaf(np.zeros((4, 10))), labels)
    assert_close(chance.item(), np.log(10), 1e-12, "cross entropy at chance")
    logits = leaf(np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 4.0]]))
    probabilities = np.array([[1 / 8, 2 / 8, 5 / 8], [0.3, 0.3, 0.4]])
    losses = -np.log([5 / 8, 3 / 10])
    for reduction, want in (("none", losses), ("sum", losses.sum()), ("mean", losses.mean())):
        got = F.cross_entropy(logits, np.array([2, 0]), reduction)
        assert_close(host(got.data), want, 1e-12, f"cross entropy, {reduction}")
    assert_close(host(F.softmax(logits).data), probabilities, 1e-12, "softmax")
    assert_close(host(F.log_softmax(logits).data), np.log(probabilities), 1e-12, "log softmax")


def check_dropout_in_training_and_evaluation():
    """Inverted: x / keep or nothing, then x itself. 2012: x or nothing, then x keep. The gradient
    passes through the very mask of the forward pass, masks change from draw to draw and come back
    with the seed and the step."""
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
        second = F.dropout(t, 0.25, True, rule)
        assert (host(second.data) != host(y.data)).any(), "two draws, one mask"
        mt.set_step(0)
        again = F.dropout(t, 0.25, True, rule)
        assert np.array_equal(host(again.data), host(y.data)), "one step, two masks"
        layer = mt.nn.Dropout(0.25, rule)
        assert (host(layer(t).data) == 0).any()
        mt.nn.Sequential(layer).eval()
        assert_close(host(layer(t).data), x * at_test, 1e-12, f"{rule} in evaluation")


def check_values_of_local_response_norm():
    """alpha is divided by the number of cells of the window, size or size^2, as in torch and the
    2012 code."""
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
    """A softmax whose backward returns 0: every row sums to 1, so the plain sum of outputs has
    gradient 0 indeed."""
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
    """A tensor used several times collects from every use, once each; the second of two backwards
    adds to the first."""
    x = leaf([3.0])
    y = x * x + x          # 2 x + 1
    z = y * y + y          # (2 y + 1) (2 x + 1) with y = 12
    z.sum().backward()
    assert host(x.grad).tolist() == [25.0 * 7.0]
    (x * 2.0).sum().backward()
    assert host(x.grad).tolist() == [25.0 * 7.0 + 2.0]
    a = leaf([1.0])
    b = leaf([1.0])
    y = a + b
    for _ in range(60):
        y = y + y
    y.backward()
    assert host(a.grad).tolist() == host(b.grad).tolist() == [2.0 ** 60]


def check_the_graph_is_freed():
    """A second backward raises and says how to keep the graph; with retain_graph it adds the same
    gradient again."""
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
    a = leaf([1.0])
    b = leaf([1.0])
    total = a + b
    (total + a * 3.0).sum().backward()
    assert host(a.grad).tolist() == [4.0] and host(b.grad).tolist() == [1.0]
    c = leaf([1.0])
    d = leaf([1.0])
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
    """Two steps of the class: weights a (lr 0.1, decay 0.02), biases b (lr 0.2, no decay), m 0.9,
    g 0.5; then lr / 10.

    2012   a   v = -0.02*0.1 - 0.1*0.5              = -0.052      w = 0.948
               v = -0.0468 - 0.02*0.01*0.948 - 0.005              w = 0.8960104
           b   v = -0.2*0.5                         = -0.1        w = 0.9
               v = -0.09 - 0.02*0.5                 = -0.1        w = 0.8
    torch  a   v = 0.5 + 0.02                       = 0.52        w = 0.948
               v = 0.468 + 0.5 + 0.02*0.948         = 0.98696     w = 0.9381304
           b   v = 0.5                                            w = 0.9
               v = 0.45 + 0.5                       = 0.95        w = 0.881
    """
    by_hand = {"2012": ((0.948, 0.9), (0.8960104, 0.8)),
               "torch": ((0.948, 0.9), (0.9381304, 0.881))}
    for rule, steps in by_hand.items():
        a, b = (mt.nn.Parameter.drawn((2,), mt.init.constant(1.0)) for _ in range(2))
        for p in (a, b):
            p.data = p.data.astype(np.float64)
        groups = [{"params": [a]}, {"params": [b], "lr": 0.2, "weight_decay": 0.0}]
        sgd = mt.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.02, rule=rule)
        for want_a, want_b in steps:
            sgd.zero_grad()
            ((a + b) * 0.5).sum().backward()
            sgd.step()
            assert_close(host(a.data), [want_a] * 2, 1e-12, f"{rule}: a")
            assert_close(host(b.data), [want_b] * 2, 1e-12, f"{rule}: b")
            for group in sgd.param_groups:
                group["lr"] /= 10


CHECKS = (
    check_gradients_of_conv2d,
    check_gradients_of_locally_connected2d,
    check_gradients_of_max_pool2d,
    check_gradients_of_avg_pool2d,
    check_gradients_of_lrn,
    check_gradients_of_lrn_at_the_papers_alpha,
    check_gradients_of_lrn_within,
    check_gradients_of_activations,
    check_gradients_of_dropout,
    check_gradients_of_linear,
    check_gradients_of_softmax,
    check_gradients_of_cross_entropy,
    check_gradients_of_arithmetic,
    check_gradients_of_single_operands,
    check_values_of_cross_entropy,
    check_dropout_in_training_and_evaluation,
    check_values_of_local_response_norm,
    check_ties_in_max_pool2d,
    check_gradcheck_is_not_blind,
    check_fan_out,
    check_the_graph_is_freed,
    check_no_grad,
    check_gradients_are_not_shared,
    check_state_dict_is_a_copy,
    check_sgd_optimizer,
)
