"""What PyTorch has besides AlexNet's parts, as a user meets it: errors in words, layers, optimizers, and their numbers
beside PyTorch's where it is installed. Gradients and values are in checks/later.py."""
import copy

import numpy as np
import pytest
from checks import normal

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import lars, nn, optim
from minitorch_alex.errors import ShapeError, UsageError
from minitorch_alex.models.alexnet import AlexNet, AlexNetConfig


def tensor(*shape):
    return mt.Tensor(normal(*shape))


ERRORS = {
    "index by a Tensor": (lambda: tensor(3)[tensor(2)], UsageError, "raw array of integers"),
    "where by a Tensor": (lambda: F.where(tensor(3), tensor(3), 0.0), UsageError, "x > 0"),
    "where by numbers": (lambda: F.where(np.ones(3), tensor(3), 0.0), UsageError, "booleans"),
    "clamp without a bound": (lambda: F.clamp(tensor(3)), UsageError, "no bound"),
    "cat of several dtypes": (lambda: F.cat([tensor(2), mt.Tensor([1.0, 2.0])]), UsageError, "one dtype"),
    "cat of nothing": (lambda: F.cat([]), UsageError, "at least one"),
    "cat of other sizes": (lambda: F.cat([tensor(2, 3), tensor(2, 4)]), ShapeError, r"\(2, 4\)"),
    "stack of other sizes": (lambda: F.stack([tensor(2), tensor(3)]), ShapeError, "one shape"),
    "sum of an axis that is not there": (lambda: tensor(2, 3).sum(2), ShapeError, "-2 to 1"),
    "max of nothing": (lambda: F.amax(tensor(0, 3)), ShapeError, "without elements"),
    "expand of a long axis": (lambda: tensor(2, 3).expand(4, 3), ShapeError, r"\(4, 3\)"),
    "t of three axes": (lambda: F.t(tensor(1, 2, 3)), ShapeError, "transpose"),
    "flatten backwards": (lambda: F.flatten(tensor(1, 2, 3), 2, 1), ShapeError, "in order"),
    "same padding with a stride": (lambda: F.conv2d(tensor(1, 1, 5, 5), tensor(1, 1, 3, 3), None, 2, "same"),
                                   ShapeError, "stride 1"),
    "padding by another word": (lambda: F.conv2d(tensor(1, 1, 5, 5), tensor(1, 1, 3, 3), padding="full"), UsageError,
                                "'valid' or 'same'"),
    "divisor 0": (lambda: F.avg_pool2d(tensor(1, 1, 4, 4), 2, divisor_override=0), ShapeError, "divisor_override 0"),
    "weights of other classes": (lambda: F.cross_entropy(tensor(2, 3), [0, 1], np.ones(4)), ShapeError, r"\(3,\)"),
    "probabilities of other classes": (lambda: F.cross_entropy(tensor(2, 3), tensor(2, 4)), ShapeError, "one shape"),
    "batch norm of one value": (lambda: F.batch_norm(tensor(1, 3), None, None, training=True), ShapeError,
                                "larger batch"),
    "batch norm without statistics": (lambda: F.batch_norm(tensor(2, 3), None, None), ShapeError, "running_mean"),
    "batch norm of other channels": (lambda: nn.BatchNorm2d(4)(tensor(2, 3, 2, 2)), ShapeError, r"expected \(3,\)"),
    "rounding by another word": (lambda: F.div(tensor(3), 2.0, rounding_mode="up"), UsageError, "'floor'"),
    "nesterov of 2012": (lambda: optim.SGD(nn.Linear(2, 2).parameters(), 0.1, 0.9, nesterov=True), UsageError,
                         "rule='torch'"),
    "LARS that never forgets": (lambda: optim.LARS(nn.Linear(2, 2).parameters(), 0.1, momentum=1.0), UsageError,
                                "LARS: got momentum = 1.0, expected less than 1"),
    "LARS with a negative trust": (lambda: optim.LARS(nn.Linear(2, 2).parameters(), 0.1, trust=-1.0), UsageError,
                                   "LARS: got trust = -1.0"),
    "Adam with beta 1": (lambda: optim.Adam(nn.Linear(2, 2).parameters(), betas=(0.9, 1.0)), UsageError, "betas"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_expected(name):
    call, kind, words = ERRORS[name]
    with pytest.raises(kind, match=words):
        call()


def test_a_tensor_is_a_number_a_sequence_and_a_key():
    x = tensor(3, 2)
    assert float(x[0, 1]) == x.numpy()[0, 1] and f"{x[0, 1]:.2f}" == f"{x.numpy()[0, 1]:.2f}"
    assert [row.shape for row in x] == [(2,)] * 3
    assert {x: 1}[x] == 1, "a Tensor hashes by identity"
    assert x != None and not x == "a word"  # noqa: E711
    assert bool(x[0, 0] == x[0, 0]) and abs(x).numpy().min() >= 0
    assert np.array_equal((x >= 0) | (x < 0), np.ones((3, 2), bool))


def test_names_of_numpy_go_on_working():
    x = tensor(2, 3)
    assert np.array_equal(x.sum(axis=1, keepdims=True).numpy(), x.sum(1, True).numpy())
    assert x.mean(axis=(0, 1)).item() == x.mean(dim=(0, 1), keepdim=False).item()
    assert nn.CrossEntropyLoss("sum").reduction == "sum" and nn.CrossEntropyLoss(reduction="none").reduction == "none"


def normalised(dtype=np.float32):
    mt.manual_seed(1)
    config = AlexNetConfig.cifar(channels=(4, 4, 4, 4, 4), hidden=(8, 8),
                                 after=("bn relu pool", "bn relu pool", "bn relu", "bn relu", "bn relu pool"))
    return AlexNet(config).astype(dtype)


def test_alexnet_with_batch_normalisation_trains_and_comes_back():
    model = normalised()
    adam = optim.Adam(model.parameters(), 1e-2)
    x = mt.Tensor(64 * normal(8, 3, 32, 32).astype(np.float32))
    labels = np.arange(8)
    losses = []
    for step in range(12):
        mt.set_step(step)
        adam.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert min(losses[6:]) < losses[0], losses
    state = model.state_dict()
    assert {"bn1.weight", "bn5.running_mean", "bn5.running_var"} <= set(state)
    assert not np.array_equal(state["bn1.running_var"], np.ones(4, np.float32))
    twin = normalised()
    twin.load_state_dict(state)
    assert np.array_equal(twin.eval()(x).numpy(), model.eval()(x).numpy())
    twin = copy.deepcopy(adam)
    assert twin.steps == 12 and np.array_equal(twin.mean, adam.mean)


def both(torch, ours, theirs):
    """A small net twice, in float64, with the same weights."""
    mt.manual_seed(3)
    one = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.LeakyReLU(), nn.Flatten(),
                        nn.Linear(64, 3)).astype(np.float64)
    other = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, padding="same"), torch.nn.BatchNorm2d(4),
                                torch.nn.LeakyReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3)).double()
    other.load_state_dict({name: torch.from_numpy(w) for name, w in one.state_dict().items()}, strict=False)
    return one, other, ours(one), theirs(other)


@pytest.mark.torch
@pytest.mark.parametrize("name", ("adam", "adam with decay", "nesterov"))
def test_the_same_training_as_pytorch(name):
    """Six steps with clipped gradients: weights, running statistics and the evaluation."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    decay = 0.1 if name == "adam with decay" else 0.0
    if name == "nesterov":
        one, other, ours, theirs = both(
            torch, lambda m: optim.SGD(m.parameters(), 0.1, 0.9, 0.01, "torch", nesterov=True),
            lambda m: torch.optim.SGD(m.parameters(), 0.1, 0.9, weight_decay=0.01, nesterov=True))
    else:
        one, other, ours, theirs = both(torch, lambda m: optim.Adam(m.parameters(), 0.01, weight_decay=decay),
                                        lambda m: torch.optim.Adam(m.parameters(), 0.01, weight_decay=decay))
    labels = np.array([0, 2, 1, 1, 0])
    for step in range(6):
        x = normal(5, 2, 4, 4, seed=step)
        ours.zero_grad()
        theirs.zero_grad()
        F.cross_entropy(one(mt.Tensor(x)), labels, label_smoothing=0.1).backward()
        torch.nn.functional.cross_entropy(other(torch.from_numpy(x)), torch.from_numpy(labels),
                                          label_smoothing=0.1).backward()
        norms = (nn.utils.clip_grad_norm_(one.parameters(), 0.5),
                 torch.nn.utils.clip_grad_norm_(other.parameters(), 0.5))
        assert abs(norms[0] - norms[1].item()) < 1e-9
        ours.step()
        theirs.step()
    expected = other.state_dict()
    for key, value in one.state_dict().items():
        np.testing.assert_allclose(value, expected[key].numpy(), rtol=1e-7, atol=1e-8, err_msg=key)
    x = normal(2, 2, 4, 4)
    np.testing.assert_allclose(one.eval()(mt.Tensor(x)).numpy(), other.eval()(torch.from_numpy(x)).detach().numpy(),
                               rtol=1e-6, atol=1e-8)


@pytest.mark.torch
def test_lars_is_what_pytorch_would_do_with_a_rate_for_each_parameter():
    """torch has no LARS; with one group per parameter, whose rate is set before each step, its SGD is one. At a
    constant rate lr, v of its rule is v / lr of ours: the local rate, which changes, has to stand inside v, so the
    gradient is multiplied by it and decays by hand."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    lr, decay, trust = 3.0, 0.01, 0.02
    one, other, ours, theirs = both(torch, lambda m: optim.LARS(m.parameters(), lr, 0.9, decay, trust),
                                    lambda m: torch.optim.SGD(m.parameters(), lr, 0.9))
    labels = np.array([0, 2, 1, 1, 0])
    for step in range(6):
        x = normal(5, 2, 4, 4, seed=step)
        ours.zero_grad()
        theirs.zero_grad()
        F.cross_entropy(one(mt.Tensor(x)), labels).backward()
        torch.nn.functional.cross_entropy(other(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
        with torch.no_grad():
            for p in other.parameters():
                weight, gradient = p.norm(), p.grad.norm()
                local = trust * weight / (gradient + decay * weight) if weight > 0 and gradient > 0 else 1.0
                p.grad.add_(p, alpha=decay).mul_(local)
        ours.step()
        theirs.step()
    expected = other.state_dict()
    for key, value in one.state_dict().items():
        np.testing.assert_allclose(value, expected[key].numpy(), rtol=1e-7, atol=1e-8, err_msg=key)


def test_lars_measures_a_layer_of_many_pieces():
    """The pieces are of unequal size, and the sum of many squares in float32 keeps its digits."""
    w = normal((1 << 21) + 5).astype(np.float32)
    assert abs(lars.norm(w) / np.linalg.norm(w.astype(np.float64)) - 1) < 1e-7
