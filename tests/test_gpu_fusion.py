"""What layers share on a GPU, and what they must leave alone. The kernels run on the CPU (host_cuda.py); that the
numbers are the same to the bit, shared_passes.py checks."""
import host_cuda
import numpy as np
import pytest
from checks import assert_close, normal
from shared_passes import device, images, net, one_by_one, same, trained

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import backend, fusion, models, nn, profile
from minitorch_alex.errors import ShapeError, UsageError
from minitorch_alex.functional.bias_relu import BiasReLU
from minitorch_alex.functional.gates import Gate
from minitorch_alex.kernels import gpu, launch
from minitorch_alex.tensor import Tensor


@pytest.fixture
def on_host():
    if host_cuda.COMPILER is None:
        pytest.skip("no g++ to compile the kernels for the CPU")
    with host_cuda.installed():
        yield


def names(model, x):
    """What Sequential calls, in order."""
    return [name for name, _ in fusion.steps(model.named_layers(), x)]


def launches(work):
    """name -> how often that kernel is launched by work()."""
    count = {}
    start = launch._kernel

    def counted(xp, dtype, name):
        count[name] = count.get(name, 0) + 1
        return start(xp, dtype, name)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(launch, "_kernel", counted)
        work()
    return count


def test_a_convolution_or_linear_layer_and_its_relu_are_one_step(on_host):
    assert names(net(), images()) == ["0", "2", "3", "4", "6", "7", "9", "10", "11", "12", "13", "15", "16"]


def test_on_a_cpu_a_convolution_and_its_relu_are_one_step():
    x = Tensor(normal(2, 3, 21, 21).astype(np.float32))
    model = net()
    layers = [name for name, _ in model.named_layers()]
    assert names(model, x) == [name for name in layers if name not in ("1", "5", "8")]


def test_launches_of_a_step(on_host):
    """One pass for each bias with its ReLU, no gate of its own before LRN and the pools, no copy of a linear weight's
    gradient."""
    shared = launches(lambda: trained(1))
    with one_by_one():
        apart = launches(lambda: trained(1))
    # conv, conv, conv without a bias, conv with tanh, linear, linear
    assert (apart["add_bias"], apart["relu"], apart["relu_backward"]) == (5, 4, 4)
    assert shared["bias_relu"] == 3 and "bias_relu" not in apart
    assert (shared["add_bias"], shared["relu"], shared["relu_backward"]) == (2, 1, 2)
    rest = ("bias_relu", "add_bias", "relu", "relu_backward")
    assert {k: n for k, n in shared.items() if k not in rest} == {k: n for k, n in apart.items() if k not in rest}


def test_a_layer_whose_forward_somebody_replaced_is_called(on_host):
    """The way to look at activations without hooks: the ReLU's, and the convolution's before it."""
    for i in (0, 1):
        model = net()
        seen = []
        forward = model[i].forward

        def look(x, forward=forward, seen=seen):
            seen.append(forward(x))
            return seen[-1]

        model[i].forward = look
        assert "1" in names(model, images())
        model(images())
        other = net()
        want = other[0](images())
        same(seen[0].data, (want if i == 0 else other[1](want)).data, "what was seen")


def test_a_subclass_is_called(on_host):
    class Doubled(nn.ReLU):
        def forward(self, x):
            return F.relu(x) * 2.0

    class Shifted(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + 1.0

    x = Tensor(device(normal(2, 3, 5, 5), np.float32))
    for conv, relu in ((nn.Conv2d(3, 4, 3), Doubled()), (Shifted(3, 4, 3), nn.ReLU())):
        model = nn.Sequential(conv, relu)
        assert names(model, x) == ["0", "1"]
        same(model(x).data, relu(conv(x)).data, "a subclass")


def test_what_does_not_fit_is_left_to_the_layers(on_host):
    """One image without a batch, more axes than a linear layer's, no bias; and messages are those of the layers."""
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    linear = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    bare = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU())
    for model, shape in ((conv, (3, 5, 5)), (linear, (2, 5, 3)), (linear, (2, 5, 6, 3)), (linear, (3,)),
                         (bare, (2, 3))):
        x = Tensor(device(normal(*shape), np.float32))
        same(model(x).data, model[1](model[0](x)).data, shape)
    with pytest.raises(ShapeError, match="layer 0: conv2d: got input"):
        conv(Tensor(device(normal(2, 4, 5, 5), np.float32)))
    with pytest.raises(UsageError, match="float64 and weight of float32"):
        conv(Tensor(device(normal(2, 3, 5, 5))))
    conv[0].bias.data = device(np.zeros(5), np.float32)
    with pytest.raises(ShapeError, match=r"layer 0: conv2d: got bias \(5,\), expected \(4,\)"):
        conv(Tensor(device(normal(2, 3, 5, 5), np.float32)))


def test_every_setting_of_a_convolution_is_passed_on(on_host):
    x = Tensor(device(normal(2, 4, 9, 8), np.float32))
    for settings in ({"stride": 2, "ceil_mode": True}, {"padding": (1, 2)}, {"dilation": 2}, {"groups": 2},
                     {"padding": "same"}, {"kernel_size": (2, 3), "padding": "same"}):
        conv = nn.Conv2d(4, 6, **{"kernel_size": 3, **settings})
        model = nn.Sequential(conv, nn.ReLU())
        assert names(model, x) == ["0"]
        same(model(x).data, F.relu(conv(x)).data, settings)


def test_gradients_are_right_and_frozen_parameters_are_left_alone(on_host):
    """Finite differences through a whole net in float64; then without some of its gradients."""
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(12, 4), nn.ReLU()).astype(np.float64)
    x = Tensor(device(normal(2, 2, 4, 4)), requires_grad=True)
    assert mt.gradcheck(lambda *inputs: model(inputs[0]), [x, *model.parameters()])
    model.zero_grad()
    for i in range(4):
        parameters = list(model.parameters())
        parameters[i].requires_grad = False
        model(x).sum().backward()
        assert [p.grad is None for p in parameters] == [j == i for j in range(4)]
        parameters[i].requires_grad = True
        model.zero_grad()


def test_the_graph_keeps_one_array_for_product_bias_and_relu(on_host):
    """And nothing of the gradients that went through a gate."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2))
    y = model(Tensor(device(normal(2, 3, 8, 8), np.float32)))
    pool = y.creator
    norm = pool.edges[0][0]
    relu = norm.edges[0][0]
    assert type(relu) is BiasReLU and isinstance(relu, Gate)
    assert [source.data.shape for source, _ in relu.edges[1:]] == [(4,)]
    y.backward(y.data)
    assert relu.gated is None and relu.saved == norm.saved == ()


def test_a_pool_without_a_graph_is_a_plain_one(on_host):
    x = Tensor(device(np.maximum(normal(1, 2, 4, 4), 0), np.float32), requires_grad=True)
    assert "max_pool2d" in launches(lambda: F.max_pool2d(F.relu(x), 2))
    with mt.no_grad():
        y = F.max_pool2d(F.relu(x), 2)
    same(y.data, F.max_pool2d(F.relu(x), 2).data, "without a graph")


def test_profile_goes_layer_by_layer(on_host):
    """A row and a time for each layer, whoever shares passes."""
    model = models.build("quick_26")
    times = profile.layer_times(model, 2, repeats=1)
    assert list(times) == [name for name, _ in model.named_layers()]
    assert "relu2" in profile.layer_table(model, times)


def test_a_model_that_was_moved_out_of_its_optimizer_does_not_write_there(on_host):
    """.data of another shape has no place in the flat array."""
    layer = nn.Linear(4, 3)
    optimizer = mt.optim.SGD(layer.parameters(), lr=0.1)
    layer.weight.data = device(normal(3, 2), np.float32)
    x = Tensor(device(normal(5, 2), np.float32))
    with pytest.raises(ValueError):
        layer(x).sum().backward()  # as before: the optimizer's array cannot take it
    assert not backend.to_numpy(optimizer.flat_grad)[:12].any()


def test_a_place_that_is_not_aligned_is_not_given_to_cublas(on_host, monkeypatch):
    """The gradient is computed elsewhere and copied, with the same numbers."""
    outs = []
    multiply = gpu.dense.multiply
    monkeypatch.setattr(gpu.dense, "multiply", lambda a, b, out, *rest: outs.append(out) or multiply(a, b, out, *rest))
    x = Tensor(device(normal(5, 4), np.float32))
    results = []
    for aligned in (True, False):
        monkeypatch.setattr(gpu.dense, "is_aligned", lambda matrix, answer=aligned: answer)
        layer = nn.Linear(4, 3)
        layer.load_state_dict({"weight": normal(3, 4), "bias": normal(3)})
        mt.optim.SGD(layer.parameters(), lr=0.1)
        layer(x).sum().backward()
        assert (outs[-1] is layer.weight.grad_place) is aligned
        results.append(layer.weight.grad)
    same(*results, "gradients")


def test_half_precision_shares_passes_too(on_host):
    for precision in ("tf32", "fp16", "bf16"):
        with host_cuda.multiplying(precision):
            got = trained()
            with one_by_one():
                want = trained()
        for one, other in zip(got, want, strict=True):
            same(one, other, precision)


def test_numpy_gives_the_same_within_rounding(on_host):
    losses, weights, *_ = trained()
    weights = backend.to_numpy(weights)
    backend.use("numpy")
    want_losses, want, *_ = trained()
    assert_close(losses, want_losses, 1e-5, "losses")
    assert_close(weights, want, 1e-5, "weights")
