"""The same numbers as PyTorch, forward and backward: a second opinion that shares no line with ours.

Run where torch is installed (`pytest -m torch`). float64 to 1e-10 and float32 to 1e-4 of the largest value.
"""
from dataclasses import dataclass

import numpy as np
import pytest
from checks import normal, spaced

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import nn

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.torch
TF = torch.nn.functional
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


def relative_error(got, want):
    assert got.shape == tuple(want.shape), f"got {got.shape}, expected {tuple(want.shape)}"
    want = want.detach().numpy()
    return np.abs(got - want).max() / max(1e-30, np.abs(want).max())


@dataclass(frozen=True)
class Pair:
    """One operation twice, and the arrays it takes."""

    ours: object
    theirs: object
    arrays: tuple


def torch_locally_connected2d(x, w, b, stride, padding):
    """By unfold: one column a place, one matrix product a place."""
    OH, OW, O = w.shape[:3]
    columns = TF.unfold(x, tuple(w.shape[4:]), padding=padding, stride=stride)  # (N, C KH KW, OH OW)
    y = torch.einsum("nkp,pok->nop", columns, w.reshape(OH * OW, O, -1))
    return y.reshape(x.shape[0], O, OH, OW) + b


IMAGES = (2, 6, 9, 8)
LABELS = np.array([1, 0, 4, 4])
PAIRS = {
    "conv2d": Pair(lambda x, w, b: F.conv2d(x, w, b, 1, 2), lambda x, w, b: TF.conv2d(x, w, b, 1, 2),
                   (IMAGES, (4, 6, 5, 5), (4,))),
    "conv2d with all settings": Pair(lambda x, w, b: F.conv2d(x, w, b, (2, 3), (1, 2), (2, 1), 2),
                                     lambda x, w, b: TF.conv2d(x, w, b, (2, 3), (1, 2), (2, 1), 2),
                                     (IMAGES, (4, 3, 3, 3), (4,))),
    "conv2d rounded up": Pair(lambda x, w: F.conv2d(x, w, None, 4, ceil_mode=True),
                              # of 9 rows a third window holds one; of 8 columns it would start past the last
                              lambda x, w: TF.conv2d(TF.pad(x, (0, 0, 0, 2)), w, None, 4),
                              (IMAGES, (4, 6, 3, 3))),
    "locally_connected2d": Pair(lambda x, w, b: F.locally_connected2d(x, w, b, 2, 1),
                                lambda x, w, b: torch_locally_connected2d(x, w, b, 2, 1),
                                (IMAGES, (5, 4, 3, 6, 3, 3), (3, 5, 4))),
    "max_pool2d": Pair(lambda x: F.max_pool2d(x, 3, 2), lambda x: TF.max_pool2d(x, 3, 2), (IMAGES,)),
    "max_pool2d with all settings": Pair(
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), (2, 1), ceil_mode=True),
        lambda x: TF.max_pool2d(x, (3, 2), (2, 1), (1, 0), (2, 1), ceil_mode=True), (IMAGES,)),
    "avg_pool2d": Pair(lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: TF.avg_pool2d(x, 3, 2, 1), (IMAGES,)),
    "avg_pool2d, clipped, rounded up": Pair(
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), lambda x: TF.avg_pool2d(x, 3, 2, 1, True, False), (IMAGES,)),
    "avg_pool2d, padding counted, rounded up": Pair(
        lambda x: F.avg_pool2d(x, 2, 3, 1, True, True), lambda x: TF.avg_pool2d(x, 2, 3, 1, True, True), (IMAGES,)),
    "local_response_norm of size 5": Pair(lambda x: F.local_response_norm(x, 5, 1.0, 0.75, 2.0),
                                          lambda x: TF.local_response_norm(x, 5, 1.0, 0.75, 2.0), (IMAGES,)),
    "local_response_norm of size 4": Pair(lambda x: F.local_response_norm(x, 4, 1.0, 0.6, 1.0),
                                          lambda x: TF.local_response_norm(x, 4, 1.0, 0.6, 1.0), (IMAGES,)),
    "local_response_norm, defaults": Pair(lambda x: F.local_response_norm(x, 5),
                                          lambda x: TF.local_response_norm(x, 5), (IMAGES,)),
    "relu": Pair(F.relu, TF.relu, (IMAGES,)),
    "tanh": Pair(F.tanh, torch.tanh, (IMAGES,)),
    "linear": Pair(F.linear, TF.linear, ((4, 7), (5, 7), (5,))),
    "softmax": Pair(F.softmax, lambda x: torch.softmax(x, -1), ((4, 5),)),
    "log_softmax": Pair(F.log_softmax, lambda x: torch.log_softmax(x, -1), ((4, 5),)),
    **{f"cross_entropy, {r}": Pair(lambda x, r=r: F.cross_entropy(x, LABELS, r),
                                   lambda x, r=r: TF.cross_entropy(x, torch.from_numpy(LABELS), reduction=r), ((4, 5),))
       for r in ("mean", "sum", "none")},
    "flatten": Pair(F.flatten, torch.flatten, (IMAGES,)),
    "arithmetic": Pair(lambda x, w: (x * w - x / (w * w + 1.0) + 2.0 * x) ** 2,
                       lambda x, w: (x * w - x / (w * w + 1.0) + 2.0 * x) ** 2, (IMAGES, (6, 1, 8))),
    "reductions": Pair(lambda x: x.mean(axis=(2, 3)) * x.sum(axis=1).sum(), lambda x: x.mean((2, 3)) * x.sum(1).sum(),
                       (IMAGES,)),
    "exp, log, matmul": Pair(lambda a, b: ((a @ b).exp() + 1.0).log().T, lambda a, b: ((a @ b).exp() + 1.0).log().T,
                             ((3, 4), (4, 2))),
}


@pytest.mark.parametrize("dtype", (np.float64, np.float32))
@pytest.mark.parametrize("name", PAIRS)
def test_an_operation_and_its_gradients(name, dtype):
    pair = PAIRS[name]
    draw = spaced if "max_pool" in name or name == "relu" else normal
    arrays = [draw(*shape).astype(dtype) for shape in pair.arrays]
    ours = [mt.Tensor(a.copy(), requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, want = pair.ours(*ours), pair.theirs(*theirs)
    assert y.dtype == dtype
    assert relative_error(y.numpy(), want) < TOLERANCE[dtype], "forward"
    cotangent = normal(*y.shape, seed=3).astype(dtype)
    y.backward(cotangent)
    want.backward(torch.tensor(cotangent))
    for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert relative_error(one.grad, other.grad) < TOLERANCE[dtype], f"gradient of input {i}"


def test_ties_in_max_pooling_go_to_the_same_cell():
    """On whole numbers from 0 to 2, most windows have several maxima."""
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 9, 9)).astype(np.float64)
    ours, theirs = mt.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = F.max_pool2d(ours, 3, 2, 1)
    cotangent = normal(*y.shape)
    y.backward(cotangent)
    TF.max_pool2d(theirs, 3, 2, 1).backward(torch.tensor(cotangent))
    assert relative_error(ours.grad, theirs.grad) < 1e-14


def small_nets():
    """One net twice: conv-relu-LRN-pool-conv-relu-pool-fc-dropout-fc, in float64, the same weights."""
    mt.manual_seed(2012)
    ours = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.LocalResponseNorm(5, alpha=0.5, k=2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 6, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(),
        nn.Linear(54, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5)).astype(np.float64)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, 2, 2), torch.nn.ReLU(), torch.nn.LocalResponseNorm(5, 0.5, 0.75, 2.0),
        torch.nn.MaxPool2d(3, 2), torch.nn.Conv2d(8, 6, 3, padding=1, groups=2), torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2, ceil_mode=True), torch.nn.Flatten(), torch.nn.Linear(54, 16), torch.nn.ReLU(),
        torch.nn.Dropout(), torch.nn.Linear(16, 5)).double()
    theirs.load_state_dict({name: torch.from_numpy(w) for name, w in ours.state_dict().items()})
    return ours.eval(), theirs.eval()


def losses(ours, theirs, seed):
    """The loss of both nets on one batch."""
    x, labels = normal(4, 3, 28, 28, seed=seed), np.array([0, 3, 1, 4])
    return (F.cross_entropy(ours(mt.Tensor(x)), labels),
            TF.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(labels)))


def test_every_gradient_of_a_small_net():
    ours, theirs = small_nets()
    loss, want = losses(ours, theirs, 0)
    assert abs(loss.item() - want.item()) < 1e-12
    loss.backward()
    want.backward()
    expected = dict(theirs.named_parameters())
    assert [name for name, _ in ours.named_parameters()] == list(expected)
    for name, parameter in ours.named_parameters():
        assert relative_error(parameter.grad, expected[name].grad) < 1e-10, name


@pytest.mark.parametrize("momentum, weight_decay", ((0.9, 5e-2), (0.9, 0.0), (0.0, 5e-2)))
def test_the_torch_rule_over_several_steps_with_a_change_of_rate(momentum, weight_decay):
    ours, theirs = small_nets()
    sgd = mt.optim.SGD(ours.parameters(), 0.1, momentum, weight_decay, rule="torch")
    expected = torch.optim.SGD(theirs.parameters(), 0.1, momentum, weight_decay=weight_decay)
    for step in range(6):
        if step == 3:
            for group in (*sgd.param_groups, *expected.param_groups):
                group["lr"] = 0.01
        sgd.zero_grad()
        expected.zero_grad()
        for loss in losses(ours, theirs, step):
            loss.backward()
        sgd.step()
        expected.step()
    weights = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert relative_error(parameter.numpy(), weights[name]) < 1e-10, name


def test_fresh_layers_are_drawn_as_in_torch():
    """The default initialisation has torch's bounds: +-1/sqrt(fan_in), filled to the edge."""
    mt.manual_seed(0)
    for ours, theirs in ((nn.Conv2d(8, 60, 5, groups=2), torch.nn.Conv2d(8, 60, 5, groups=2)),
                         (nn.Linear(100, 80), torch.nn.Linear(100, 80))):
        for name in ("weight", "bias"):
            got, want = getattr(ours, name).numpy(), getattr(theirs, name)
            assert got.shape == tuple(want.shape)
            bound = 1 / np.sqrt(np.prod(ours.weight.shape[1:]))
            for values in (got, want.detach().numpy()):
                assert 0.85 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
