"""Every operation, layer and update on NumPy and on the strict stand-in of a device: one body, two kinds of array."""
import gc
import threading
import weakref
from dataclasses import replace

import checks
import numpy as np
import pytest
import strict_array
from checks import NormCase, WindowCase, host, leaf, normal, spaced
from hypothesis import given, settings
from hypothesis import strategies as st
from strict_array import StrictArray

import minitorch_alex as mt
from minitorch_alex import backend, nn
from minitorch_alex import functional as F
from minitorch_alex.errors import BackendError, RunError, ShapeError, UsageError

drawn = settings(deadline=None, derandomize=True, max_examples=12, database=None)


@pytest.fixture(scope="module", params=("numpy", "strict"), autouse=True)
def array_kind(request):
    """Everything below runs on both."""
    strict_array.install()
    mt.use(request.param)
    yield request.param
    mt.use("numpy")


small = {name: st.tuples(st.integers(low, high), st.integers(low, high))
         for name, low, high in (("kernel", 1, 3), ("stride", 1, 3), ("dilation", 1, 2))}


@st.composite
def windows(draw, padding_limit, dilations=small["dilation"]):
    """Small images and windows; `padding_limit` of the kernel size bounds the padding."""
    case = draw(st.builds(WindowCase, N=st.integers(1, 2), H=st.integers(1, 5), W=st.integers(1, 5),
                          C=st.integers(1, 2), O=st.integers(1, 2), groups=st.integers(1, 2),
                          kernel=small["kernel"], stride=small["stride"], dilation=dilations,
                          ceil_mode=st.booleans()))
    padding = tuple(draw(st.integers(0, padding_limit(k))) for k in case.kernel)
    return checks.fitting(replace(case, padding=padding))


conv_windows = windows(lambda k: 2)
pool_windows = windows(lambda k: k // 2)


# gradients


@pytest.mark.parametrize("check", checks.ENGINE_CHECKS, ids=lambda f: f.__name__)
def test_every_check_passes(check):
    check()


@drawn
@given(conv_windows)
def test_gradients_of_conv2d(case):
    checks.conv2d_gradients(case)


@drawn
@given(conv_windows)
def test_gradients_of_locally_connected2d(case):
    checks.locally_connected2d_gradients(replace(checks.fitting(replace(case, ceil_mode=False)), groups=1))


@drawn
@given(pool_windows)
def test_gradients_of_max_pool2d(case):
    checks.max_pool2d_gradients(case)


@drawn
@given(windows(lambda k: k // 2, dilations=st.just((1, 1))))
def test_gradients_of_avg_pool2d(case):
    checks.avg_pool2d_gradients(case)


@drawn
@given(st.builds(NormCase, C=st.integers(1, 5), size=st.integers(1, 6), alpha=st.sampled_from((1e-4, 1.0)),
                 beta=st.sampled_from((0.75, 0.5)), k=st.sampled_from((1.0, 2.0)), groups=st.integers(1, 2)),
       st.booleans())
def test_gradients_of_local_response_norm(case, within_map):
    checks.lrn_gradients(case, within_map)


@drawn
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), st.sampled_from((F.relu, F.tanh, F.exp)))
def test_gradients_of_activations_of_any_shape(shape, fn):
    checks.gradients(fn, spaced(*shape))


@drawn
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4))
def test_gradients_of_linear_and_the_losses(N, features, K):
    checks.gradients(F.linear, normal(N, features), normal(K, features), normal(K))
    labels = np.arange(N) % K
    checks.gradients(lambda x: F.cross_entropy(x, labels), normal(N, K))
    checks.gradients(F.log_softmax, normal(N, K))
    checks.gradients(F.softmax, normal(N, K))


@st.composite
def broadcasting_shapes(draw):
    """Two shapes that broadcast: from a common one, each with axes shrunk to 1 and leading axes left out."""
    common = draw(st.lists(st.integers(1, 3), min_size=0, max_size=4))

    def part():
        shrunk = [1 if draw(st.booleans()) else n for n in common]
        return tuple(shrunk[draw(st.integers(0, len(shrunk))):])
    return part(), part()


@drawn
@given(broadcasting_shapes())
def test_gradients_of_arithmetic_with_broadcasting(shapes):
    one, other = shapes
    for fn in (F.add, F.sub, F.mul):
        checks.gradients(fn, normal(*one), normal(*other, seed=1))
    checks.gradients(F.div, normal(*one), 1 + np.abs(normal(*other, seed=1)))


def test_gradients_of_a_small_alexnet():
    """Every kind of layer in one net, all parameters and the input, kinks kept away by seed."""
    mt.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, ceil_mode=True), nn.Tanh(), nn.LocalResponseNorm(3, alpha=1.0, k=2.0, groups=2),
        nn.MaxPool2d(3, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Tanh(),
        nn.LocallyConnected2d(4, 2, 3, 2), nn.Tanh(), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(2, 3)).astype(np.float64)
    parameters = list(net.parameters())

    def loss(x, *_):
        mt.set_step(1)
        return F.cross_entropy(net(x), np.array([0, 2]))
    assert mt.gradcheck(loss, [leaf(normal(2, 1, 10, 10)), *parameters])


def test_gradcheck_wants_double_precision():
    with pytest.raises(AssertionError, match="float64"):
        mt.gradcheck(F.exp, [leaf(normal(3).astype(np.float32))])


# memory order, precision, backends

OPERATIONS = {
    "conv2d": (lambda x, w: F.conv2d(x, w, None, 1, 1), (3, 4, 3, 3)),
    "conv2d with a stride": (lambda x, w: F.conv2d(x, w, None, 2, 1), (3, 4, 3, 3)),
    "locally_connected2d": (lambda x, w: F.locally_connected2d(x, w), (4, 3, 2, 4, 3, 3)),
    "max_pool2d": (lambda x, w: F.max_pool2d(x, 3, 2), (1,)),
    "avg_pool2d": (lambda x, w: F.avg_pool2d(x, 3, 2), (1,)),
    "local_response_norm": (lambda x, w: F.local_response_norm(x, 3, 1.0), (1,)),
    "within one map": (lambda x, w: F.local_response_norm(x, 3, 1.0, within_map=True), (1,)),
    "batch_norm": (lambda x, w: F.batch_norm(x, None, None, w, training=True), (4,)),
    "relu": (lambda x, w: F.relu(x), (1,)),
    "tanh": (lambda x, w: F.tanh(x), (1,)),
    "add": (lambda x, w: x + w, (4, 1, 1)),
    "mul": (lambda x, w: x * w, (1, 4, 6, 5)),
    "scalars": (lambda x, w: 2.0 * x / 3 - 1 + 0.5 ** 2, (1,)),
    "linear": (lambda x, w: F.linear(F.flatten(x, 1), w), (7, 120)),
    "softmax": (lambda x, w: F.softmax(F.flatten(x, 1)), (1,)),
    "log_softmax": (lambda x, w: F.log_softmax(F.flatten(x, 1)), (1,)),
    "mean": (lambda x, w: x.mean(axis=(0, 2)), (1,)),
    "dropout": (lambda x, w: (mt.set_step(0), F.dropout(x, 0.5))[1], (1,)),
}


def run(fn, x, w):
    """Output and gradients of fn at tensors made of x and w, with a random cotangent."""
    x, w = mt.Tensor(x, requires_grad=True), mt.Tensor(w, requires_grad=True)
    y = fn(x, w)
    y.backward(backend.asarray(normal(*y.shape, seed=9), y.dtype))
    return [y.data, x.grad] + ([w.grad] if w.grad is not None else [])


@pytest.mark.parametrize("name", OPERATIONS)
def test_memory_order_changes_nothing(name):
    """The same numbers as NCHW memory, channels last, and with holes; the weight's memory backwards too."""
    fn, w_shape = OPERATIONS[name]
    x, w = normal(2, 4, 6, 5), normal(*w_shape)
    plain = run(fn, backend.asarray(x), backend.asarray(w))
    last = backend.asarray(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    holes = backend.asarray(np.repeat(x, 2, axis=3))[:, :, :, ::2]
    backwards = backend.asarray(np.ascontiguousarray(w.T)).T
    for other_x, other_w in ((last, backend.asarray(w)), (holes, backend.asarray(w)), (backend.asarray(x), backwards)):
        for got, want in zip(run(fn, other_x, other_w), plain, strict=True):
            assert np.array_equal(host(got), host(want)), name


@pytest.mark.parametrize("name", OPERATIONS)
def test_float32_stays_float32_and_is_close_to_float64(name):
    fn, w_shape = OPERATIONS[name]
    x, w = normal(2, 4, 6, 5).astype(np.float32), normal(*w_shape).astype(np.float32)
    single = run(fn, backend.asarray(x), backend.asarray(w))
    double = run(fn, backend.asarray(x.astype(np.float64)), backend.asarray(w.astype(np.float64)))
    for got, want in zip(single, double, strict=True):
        assert got.dtype == np.float32 and want.dtype == np.float64
        checks.assert_close(host(got), host(want), 1e-5, name)


def test_a_numpy_scalar_does_not_promote_either():
    x = leaf(normal(3).astype(np.float32))
    for y in (x * np.float64(2), np.float64(2) * x, x + np.float64(2), x / np.float64(2), x ** np.float64(2)):
        assert y.dtype == np.float32


def test_convolutions_pass_channels_last_memory_on():
    """So that the next layer's conversion is free."""
    x = leaf(normal(2, 3, 6, 6))
    y = F.max_pool2d(F.relu(F.conv2d(x, leaf(normal(4, 3, 3, 3)))), 2)
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous


def test_arrays_of_two_backends_in_one_operation_are_refused():
    here, there = mt.Tensor(np.ones((2, 3))), mt.Tensor(StrictArray(np.ones((2, 3))))
    with pytest.raises(BackendError, match="'numpy' and 'strict'|'strict' and 'numpy'"):
        F.linear(here, there)


def test_an_operation_asks_its_arrays_and_not_the_current_backend(array_kind):
    other = np.ones((2, 3)) if array_kind == "strict" else StrictArray(np.ones((2, 3)))
    x = mt.Tensor(other, requires_grad=True)
    y = (F.relu(x) * 2.0).mean()
    y.backward()
    assert isinstance(host(y.data), np.ndarray) and type(x.grad) is type(other)


# the strict array itself


def test_the_strict_array_refuses_what_a_device_would():
    x, f32 = StrictArray(np.ones((2, 3))), StrictArray(np.ones((2, 3), np.float32))
    xp, kernels = strict_array.strict_xp, strict_array.strict_kernels
    for leak in (np.asarray, float, int, bool, list, np.sum, lambda x: np.maximum(x, 0),
                 lambda x: np.concatenate([x, x]), lambda x: x + np.ones(3), lambda x: np.ones(3) + x,
                 lambda x: x * np.float64(2), lambda x: x.item(), lambda x: 1.0 if x.sum() > 0 else 2.0,
                 lambda x: x[np.array([0])], lambda x: x @ np.ones(3), lambda x: x == np.ones(3),
                 lambda x: x.__setitem__(0, np.ones(3)), lambda x: f32.__setitem__(0, x[0]),
                 lambda x: x + f32, lambda x: f32 * x, lambda x: xp.maximum(x, np.zeros(3)),
                 lambda x: xp.exp(np.ones(3)), lambda x: kernels.relu(x.T), lambda x: kernels.relu(np.ones(3)),
                 lambda x: kernels.relu_backward(x, f32)):
        with pytest.raises(TypeError):
            leak(x)
    assert ((f32 * 2 + 1).sum() / 3).dtype == np.float32
    assert (x > 0).dtype == bool and (x * (x > 0)).dtype == np.float64
    x += 1
    x[0, :2] = 7
    assert backend.to_numpy(x).tolist() == [[7, 7, 2], [2, 2, 2]]
    assert backend.to_numpy(x[1:].T @ x[1:] * xp.exp(x.sum() * 0)).tolist() == [[4] * 3] * 3


def test_a_planted_mixing_bug_is_caught(array_kind):
    """An operation that calls NumPy by name, and one that decides by a value: right on the host, wrong on a device."""
    class Mixed(mt.Function):
        def forward(self, x):
            return np.maximum(x, 0)

    class Peeks(mt.Function):
        def forward(self, x):
            return x if x.sum() > 0 else -x
    for planted in (Mixed, Peeks):
        if array_kind == "numpy":
            planted()(leaf([1.0, -2.0]))
        else:
            with pytest.raises(TypeError):
                planted()(leaf([1.0, -2.0]))


# errors

ERRORS = {
    "conv2d: rank": (lambda t: F.conv2d(t(5, 5), t(4, 3, 3, 3)), "conv2d", "(5, 5)", "(N, C, H, W)"),
    "conv2d: weight": (lambda t: F.conv2d(t(2, 3, 5, 5), t(4, 27)), "conv2d", "(4, 27)", "(O, C/groups, KH, KW)"),
    "conv2d: channels": (lambda t: F.conv2d(t(2, 3, 5, 5), t(4, 2, 3, 3)), "conv2d", "(2, 3, 5, 5)", "2"),
    "conv2d: bias": (lambda t: F.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), t(3)), "conv2d", "(3,)", "(4,)"),
    "conv2d: groups": (lambda t: F.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), groups=2), "conv2d", "2 groups", "3"),
    "conv2d: too large": (lambda t: F.conv2d(t(2, 3, 5, 9), t(4, 3, 7, 7)), "conv2d", "7", "5"),
    "conv2d: stride": (lambda t: F.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), stride=0), "stride", "0", "1"),
    "locally_connected2d: weight": (lambda t: F.locally_connected2d(t(2, 3, 5, 5), t(2, 2, 4, 3, 3, 3)),
                                    "locally_connected2d", "(2, 2, 4, 3, 3, 3)", "(3, 3, 4, 3, 3, 3)"),
    "locally_connected2d: bias": (lambda t: F.locally_connected2d(t(2, 3, 5, 5), t(3, 3, 4, 3, 3, 3), t(4)),
                                  "locally_connected2d", "(4,)", "(4, 3, 3)"),
    "max_pool2d: rank": (lambda t: F.max_pool2d(t(5, 5), 2), "max_pool2d", "(5, 5)", "(N, C, H, W)"),
    "max_pool2d: padding": (lambda t: F.max_pool2d(t(1, 1, 5, 5), 3, padding=2), "max_pool2d", "2", "half"),
    "avg_pool2d: too large": (lambda t: F.avg_pool2d(t(1, 1, 5, 5), 6), "avg_pool2d", "6", "5"),
    "lrn: groups": (lambda t: F.local_response_norm(t(1, 5, 2, 2), 3, groups=2), "local_response_norm", "2", "5"),
    "lrn: size": (lambda t: F.local_response_norm(t(1, 5, 2, 2), 0), "local_response_norm", "0", "at least 1"),
    "linear: rank": (lambda t: F.linear(t(), t(5, 4)), "linear", "()", "(N, 4)"),
    "linear: features": (lambda t: F.linear(t(2, 3), t(5, 4)), "linear", "(2, 3)", "(N, 4)"),
    "linear: bias": (lambda t: F.linear(t(2, 4), t(5, 4), t(4)), "linear", "(4,)", "(5,)"),
    "cross_entropy: shapes": (lambda t: F.cross_entropy(t(2, 3), [0, 1, 2]), "cross_entropy", "(3,)", "(N,)"),
    "cross_entropy: kind": (lambda t: F.cross_entropy(t(2, 3), [0.0, 1.0]), "cross_entropy", "float64", "integers"),
    "cross_entropy: label": (lambda t: F.cross_entropy(t(2, 3), [0, 3]), "cross_entropy", "3", "0..2"),
    "add": (lambda t: t(2, 3) + t(2), "add", "(2, 3)", "(2,)"),
    "matmul": (lambda t: t(2, 3) @ t(2, 3), "matmul", "(2, 3) @ (2, 3)", "(..., M, K) @ (..., K, N)"),
    "reshape": (lambda t: t(2, 3).reshape(4, 2), "reshape", "(2, 3)", "(4, 2)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_shapes_that_do_not_fit_are_named(name):
    call, *parts = ERRORS[name]
    with pytest.raises(ShapeError) as caught:
        call(lambda *shape: leaf(np.ones(shape)))
    for part in parts:
        assert part in str(caught.value), f"{part!r} is missing in: {caught.value}"


@pytest.mark.parametrize("p, rule", ((1.1, "inverted"), (-0.1, "inverted"), (0.5, "2013")))
def test_dropout_refuses_senseless_settings(p, rule):
    with pytest.raises(UsageError, match="dropout"):
        F.dropout(leaf([1.0]), p, rule=rule)


def test_backward_says_what_is_missing():
    x = leaf([1.0, 2.0])
    with pytest.raises(UsageError, match=r"shape \(2,\)"):
        (x * 2.0).backward()
    with pytest.raises(UsageError, match="does not require"):
        mt.Tensor([1.0]).backward()
    with pytest.raises(UsageError, match=r"\(3,\).*\(2,\)"):
        (x * 2.0).backward(backend.asarray(np.ones(3)))


# the graph


def test_a_chain_of_5000_operations_needs_no_recursion():
    x = leaf([1.0])
    y = x
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    assert host(x.grad).tolist() == [1.0]


def test_after_backward_nothing_of_the_graph_is_left_alive():
    x = leaf(normal(2, 3, 6, 6))
    gc.disable()
    try:
        y = F.max_pool2d(F.relu(F.conv2d(x, leaf(normal(4, 3, 3, 3)))), 2).sum()
        pool = y.creator.edges[0][0]
        node, saved = weakref.ref(pool), weakref.ref(pool.edges[0][0])
        del pool
        y.backward()
        assert saved() is None and node() is None, "the walk must let go of what it has passed"
    finally:
        gc.enable()


def test_nobody_computes_the_gradient_of_the_image(monkeypatch):
    from minitorch_alex.kernels import cpu

    def never(*args):
        raise AssertionError("the input gradient was computed")
    monkeypatch.setattr(cpu, "conv2d_backward_input", never)
    w = leaf(normal(4, 3, 3, 3))
    F.conv2d(mt.Tensor(backend.asarray(normal(1, 3, 5, 5))), w).sum().backward()
    assert w.grad is not None
    with pytest.raises(AssertionError, match="was computed"):
        F.conv2d(leaf(normal(1, 3, 5, 5)), w).sum().backward()


def test_no_grad_is_a_matter_of_the_thread():
    seen = []
    with mt.no_grad():
        thread = threading.Thread(target=lambda: seen.append((leaf([1.0]) * 2.0).requires_grad))
        thread.start()
        thread.join()
        assert not (leaf([1.0]) * 2.0).requires_grad
    assert seen == [True]


# layers and the update


def tiny_net():
    return nn.Sequential(conv1=nn.Conv2d(3, 4, 3), relu1=nn.ReLU(), flat=nn.Flatten(), drop=nn.Dropout(),
                         fc=nn.Linear(36, 5))


def batch():
    return mt.Tensor(backend.asarray(normal(6, 3, 5, 5).astype(np.float32))), np.arange(6) % 5


def test_parameters_are_named_as_in_torch_in_order_of_definition():
    names = {name: p.shape for name, p in tiny_net().named_parameters()}
    assert list(names) == ["conv1.weight", "conv1.bias", "fc.weight", "fc.bias"]
    assert names["conv1.weight"] == (4, 3, 3, 3) and names["fc.weight"] == (5, 36)


def test_the_seed_decides_the_weights():
    nets = []
    for seed in (1, 1, 2):
        mt.manual_seed(seed)
        nets.append(tiny_net().state_dict())
    assert all(np.array_equal(nets[0][name], nets[1][name]) for name in nets[0])
    assert not any(np.array_equal(nets[0][name], nets[2][name]) for name in nets[0])
    assert not np.array_equal(nets[0]["conv1.weight"].ravel()[:4], nets[0]["fc.weight"].ravel()[:4])


def test_weights_that_do_not_fit_are_all_named_and_change_nothing():
    net = tiny_net()
    before, state = net.state_dict(), net.state_dict()
    state["fc.weight"] = np.zeros((5, 35), np.float32)
    state["conv1.bias"] = state["conv1.bias"] + 1
    state["fc2.weight"] = state.pop("fc.bias")
    with pytest.raises(RunError) as caught:
        net.load_state_dict(state)
    for part in ("fc.bias", "fc2.weight", "(5, 35)", "(5, 36)"):
        assert part in str(caught.value)
    assert all(np.array_equal(before[name], now) for name, now in net.state_dict().items())


def test_an_error_inside_a_net_names_the_layer():
    with pytest.raises(ShapeError, match="fc"):
        tiny_net()(mt.Tensor(backend.asarray(normal(1, 3, 6, 6).astype(np.float32))))


def test_train_and_eval_reach_every_layer():
    net = nn.Sequential(nn.Sequential(nn.Dropout()), nn.Dropout())
    assert all(m.training for m in net.modules())
    assert not any(m.training for m in net.eval().modules())
    assert all(m.training for m in net.train().modules())


@pytest.mark.parametrize("rule", ("2012", "torch"))
def test_a_net_learns_a_batch_by_heart(rule):
    """From about ln 5 to almost nothing, dropout and all."""
    mt.manual_seed(3)
    net, (x, labels) = tiny_net(), batch()
    sgd = mt.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, rule=rule)
    first = F.cross_entropy(net.eval()(x), labels).item()
    net.train()
    for step in range(60):
        mt.set_step(step)
        sgd.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        sgd.step()
    last = F.cross_entropy(net.eval()(x), labels).item()
    assert abs(first - np.log(5)) < 0.5 and last < 0.1, (first, last)


def test_the_flat_buffers_are_the_parameters():
    net, (x, labels) = tiny_net(), batch()
    before = net.state_dict()
    sgd = mt.optim.SGD(net.parameters(), lr=0.1)
    assert all(np.array_equal(before[name], now) for name, now in net.state_dict().items())
    F.cross_entropy(net(x), labels).backward()
    want = {name: before[name] - 0.1 * host(p.grad) for name, p in net.named_parameters()}
    sgd.step()
    for name, now in net.state_dict().items():
        checks.assert_close(now, want[name], 1e-6, name)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    a, b, c = (nn.Parameter.drawn((2,), mt.init.constant(1.0)) for _ in range(3))
    sgd = mt.optim.SGD([a, b, c], lr=0.1, weight_decay=0.5)
    (a * 2.0 + c).sum().backward()
    sgd.step()
    assert host(b.data).tolist() == [1.0, 1.0] and host(a.data)[0] < 0.9 and host(c.data)[0] < 0.9
    sgd.zero_grad()
    assert a.grad is None


def test_a_gradient_replaced_by_hand_is_the_one_that_counts():
    """Clipping, as people write it: p.grad = p.grad * factor."""
    p = nn.Parameter.drawn((2,), mt.init.constant(1.0))
    sgd = mt.optim.SGD([p], lr=0.1)
    (p * 2.0).sum().backward()
    p.grad = p.grad * 0.5
    sgd.step()
    checks.assert_close(host(p.data), [0.9, 0.9], 1e-6, "w after a step along the halved gradient")


def test_an_optimizer_resumes_to_the_bit():
    def train(net, sgd, steps):
        x, labels = batch()
        for step in steps:
            mt.set_step(step)
            sgd.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            sgd.step()

    def made():
        mt.manual_seed(4)
        net = tiny_net()
        return net, mt.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    whole, sgd = made()
    train(whole, sgd, range(4))
    half, sgd = made()
    train(half, sgd, range(2))
    weights, state = half.state_dict(), sgd.state_dict()
    resumed, sgd = made()
    resumed.load_state_dict(weights)
    sgd.load_state_dict(state)
    train(resumed, sgd, range(2, 4))
    for name, want in whole.state_dict().items():
        assert np.array_equal(resumed.state_dict()[name], want), name


@pytest.mark.parametrize("settings_, part", (({"rule": "2013"}, "2013"), ({"lr": -0.1}, "-0.1"),
                                             ({"momentum": float("nan")}, "nan")))
def test_sgd_refuses_senseless_settings(settings_, part):
    p = nn.Parameter.drawn((2,), mt.init.constant(1.0))
    with pytest.raises(UsageError, match=part):
        mt.optim.SGD([p], **{"lr": 0.1, **settings_})
    with pytest.raises(UsageError, match="no parameters"):
        mt.optim.SGD([], lr=0.1)
    with pytest.raises(UsageError, match="two groups"):
        mt.optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)
