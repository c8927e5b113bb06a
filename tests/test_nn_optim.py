"""Modules, parameters and the optimizer."""
import numpy as np
import pytest

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import init, nn, optim
from minitorch_alex.errors import RunError, ShapeError, UsageError


def net():
    mt.manual_seed(1)
    return nn.Sequential(conv=nn.Conv2d(2, 3, 3), relu=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(12, 4))


def step(model, optimizer, seed=0):
    rng = np.random.default_rng(seed)
    optimizer.zero_grad()
    x = mt.Tensor(rng.standard_normal((5, 2, 4, 4)).astype(np.float32))
    loss = F.cross_entropy(model(x), rng.integers(0, 4, 5))
    loss.backward()
    optimizer.step()
    return loss.item()


def test_parameters_come_in_order_of_definition_with_torchs_names():
    assert [(n, p.shape) for n, p in net().named_parameters()] == [
        ("conv.weight", (3, 2, 3, 3)), ("conv.bias", (3,)), ("fc.weight", (4, 12)), ("fc.bias", (4,))]
    plain = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))
    assert list(plain.state_dict()) == ["0.weight", "0.bias", "2.weight"]


def test_initial_weights_follow_the_seed_alone():
    a, b = net().state_dict(), net().state_dict()
    assert all((a[k] == b[k]).all() for k in a)
    mt.manual_seed(2)
    assert (nn.Linear(3, 3).weight.data != nn.Linear(3, 3).weight.data).all()


def test_initialisers_draw_what_they_say():
    rng = np.random.default_rng(0)
    assert abs(init.gaussian(0.01)(rng, (200, 200)).std() / 0.01 - 1) < 0.02
    assert abs(init.he()(rng, (50, 20, 3, 3)).std() / np.sqrt(2 / 180) - 1) < 0.02
    assert np.abs(init.torch_uniform()(rng, (50, 100))).max() <= 0.1
    assert init.fan_in((4, 4, 32, 64, 3, 3)) == 64 * 9
    assert (init.constant(1)(rng, (3,)) == 1).all()


def test_state_dicts_round_trip_and_name_everything_that_does_not_fit():
    a, b = net(), net()
    state = {k: v + 1 for k, v in a.state_dict().items()}
    b.load_state_dict(state)
    assert all((b.state_dict()[k] == state[k]).all() for k in state)
    state["fc.weight"] = np.zeros((4, 11), np.float32)
    state["more"] = state.pop("conv.bias")
    with pytest.raises(RunError) as error:
        b.load_state_dict(state)
    for text in ("missing conv.bias", "surplus more", "fc.weight is (4, 11), expected (4, 12)"):
        assert text in str(error.value)


def test_a_state_dict_is_a_copy():
    model = net()
    state = model.state_dict()
    step(model, optim.SGD(model.parameters(), 0.1))
    assert (state["fc.weight"] != model.state_dict()["fc.weight"]).any()


def test_misfits_name_the_layer_what_was_got_and_what_was_expected():
    with pytest.raises(ShapeError, match=r"layer fc: linear: got input \(1, 48\), expected \(N, 12\)"):
        net()(mt.Tensor(np.zeros((1, 2, 6, 6), np.float32)))
    with pytest.raises(ShapeError, match=r"layer conv: conv2d: got input \(1, 5, 4, 4\) with 5 channels, expected 2"):
        net()(mt.Tensor(np.zeros((1, 5, 4, 4), np.float32)))
    with pytest.raises(ShapeError, match="3 groups do not divide"):
        nn.Conv2d(4, 6, 3, groups=3)


def test_train_and_eval_reach_every_layer():
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5)), nn.Dropout(0.5))
    x = mt.Tensor(np.ones((4, 100)))
    assert (model.eval()(x).data == 1).all()
    assert (model.train()(x).data == 0).any()


def test_a_mode_ends_with_its_block_and_leaves_every_module_as_it_was():
    model = net()
    model.relu.training = False  # one layer apart from the others
    with nn.evaluating(model):
        assert not any(m.training for m in model.modules())
    with pytest.raises(KeyError), nn.in_mode(model, training=True):
        assert model.relu.training
        raise KeyError
    assert [m.training for m in model.modules()] == [True, True, False, True, True]


def test_the_loss_as_a_layer_is_the_loss_as_a_function():
    logits = mt.Tensor(np.random.default_rng(0).standard_normal((4, 3)))
    labels = np.array([0, 2, 1, 1])
    assert nn.CrossEntropyLoss()(logits, labels).item() == F.cross_entropy(logits, labels).item()
    assert nn.CrossEntropyLoss("sum")(logits, labels).item() == F.cross_entropy(logits, labels, "sum").item()
    assert nn.CrossEntropyLoss("none")(logits, labels).shape == (4,)
    with pytest.raises(UsageError, match="got reduction 'median', expected 'mean', 'sum' or 'none'"):
        nn.CrossEntropyLoss("median")(logits, labels)


def test_dropouts_two_rules_keep_their_means():
    x = mt.Tensor(np.ones((100, 1000)))
    mt.manual_seed(0)
    inverted, published = nn.Dropout(0.5), nn.Dropout(0.5, rule="2012")
    assert abs(inverted(x).data.mean() - 1) < 0.02 and abs(published(x).data.mean() - 0.5) < 0.01
    assert set(np.unique(inverted(x).data)) == {0.0, 2.0} and set(np.unique(published(x).data)) == {0.0, 1.0}
    assert (inverted.eval()(x).data == 1).all() and (published.eval()(x).data == 0.5).all()


def test_dropout_masks_depend_on_seed_step_and_position_alone():
    x = mt.Tensor(np.ones((8, 50)))

    def masks(seed, at):
        mt.manual_seed(seed)
        mt.set_step(at)
        return F.dropout(x).data.tobytes(), F.dropout(x).data.tobytes()

    first = masks(0, 7)
    F.dropout(x)
    assert masks(0, 7) == first and first[0] != first[1]
    assert masks(0, 8) != first and masks(1, 7) != first


@pytest.mark.parametrize("rule", ["2012", "torch"])
def test_three_steps_by_hand(rule):
    """lr 0.1, then 0.01 from the third step; momentum 0.9, decay 0.1, gradient 1, from w = 2."""
    w = nn.Parameter(np.full(1, 2.0, np.float32))
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1, rule=rule)
    by_hand, v, value = [], 0.0, 2.0
    for lr in (0.1, 0.1, 0.01):
        if rule == "2012":
            v = 0.9 * v - 0.1 * lr * value - lr * 1.0
            value = value + v
        else:
            v = 0.9 * v + (1.0 + 0.1 * value)
            value = value - lr * v
        by_hand.append(value)
    expected = {"2012": [1.88, 1.6532, 1.4374268], "torch": [1.88, 1.6532, 1.6211348]}[rule]
    assert np.allclose(by_hand, expected, atol=1e-7)
    for lr, value in zip((0.1, 0.1, 0.01), expected, strict=True):
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        assert abs(float(w.data[0]) - value) < 1e-6


def test_parameters_and_gradients_are_views_of_the_flat_arrays():
    model = net()
    before = model.state_dict()
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9)
    assert all((before[k] == v).all() for k, v in model.state_dict().items())
    step(model, optimizer)
    for p in model.parameters():
        assert p.data.base is not None and np.shares_memory(p.data, optimizer.flat)
        assert np.shares_memory(p.grad, optimizer.flat_grad)


def test_groups_have_their_own_rates_and_a_parameter_without_gradient_is_skipped():
    model = net()
    optimizer = optim.SGD([{"params": [model.conv.weight, model.fc.weight], "weight_decay": 0.5},
                           {"params": [model.conv.bias, model.fc.bias], "lr": 0.0}], lr=0.1, momentum=0.9)
    before = model.state_dict()
    step(model, optimizer)
    after = model.state_dict()
    assert (after["conv.bias"] == before["conv.bias"]).all() and (after["conv.weight"] != before["conv.weight"]).any()
    optimizer.zero_grad()
    F.linear(mt.Tensor(np.ones((1, 12), np.float32)), model.fc.weight).sum().backward()
    optimizer.step()
    assert (model.conv.weight.data == after["conv.weight"]).all()
    assert (model.fc.weight.data != after["fc.weight"]).any()


def test_a_gradient_set_by_hand_counts():
    w = nn.Parameter(np.full(2, 1.0, np.float32))
    optimizer = optim.SGD([w], lr=1.0)
    w.sum().backward()
    w.grad = w.grad * 0.25
    optimizer.step()
    assert np.allclose(w.data, 0.75)


def test_the_optimizers_state_round_trips():
    a, b = net(), net()
    opt_a, opt_b = optim.SGD(a.parameters(), 0.1, 0.9), optim.SGD(b.parameters(), 0.1, 0.9)
    step(a, opt_a)
    b.load_state_dict(a.state_dict())
    opt_b.load_state_dict(opt_a.state_dict())
    assert step(a, opt_a, 1) == step(b, opt_b, 1)
    assert all((x == y).all() for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    with pytest.raises(RunError, match="velocities"):
        optim.SGD([nn.Parameter(np.full(2, 0.0, np.float32))], 0.1).load_state_dict(opt_a.state_dict())


@pytest.mark.parametrize("settings", [{"lr": -1}, {"lr": float("nan")}, {"momentum": -0.1}, {"weight_decay": -1},
                                      {"rule": "adam"}])
def test_senseless_settings_are_refused(settings):
    with pytest.raises(UsageError, match="SGD: got"):
        optim.SGD(net().parameters(), **{"lr": 0.1, **settings})


def test_a_parameter_in_two_groups_or_of_another_dtype_is_refused():
    w = nn.Parameter(np.full(1, 0.0, np.float32))
    with pytest.raises(UsageError, match="two groups"):
        optim.SGD([w, w], 0.1)
    model = net()
    model.fc.astype(np.float64)
    with pytest.raises(UsageError, match="dtypes"):
        optim.SGD(model.parameters(), 0.1)
    with pytest.raises(UsageError, match="no parameters"):
        optim.SGD([], 0.1)


def test_repr_draws_the_tree():
    text = repr(net())
    assert text.startswith("Sequential(\n  (conv): Conv2d(in_channels=2, out_channels=3") and "(fc): Linear(" in text


def test_a_parameter_that_has_left_the_flat_arrays_is_not_forgotten_in_silence():
    model = net()
    first = optim.SGD(model.parameters(), 0.1)
    optim.SGD(model.parameters(), 0.1)
    with pytest.raises(UsageError, match=r"shape \(3, 2, 3, 3\) has left this optimizer's flat arrays"):
        step(model, first)
    model = net()
    optimizer = optim.SGD(model.parameters(), 0.1)
    model.fc.weight.data = model.fc.weight.data * 2
    with pytest.raises(UsageError, match="build the optimizer last"):
        step(model, optimizer)


def test_mixed_precision_is_an_error_and_not_a_quiet_float64():
    with pytest.raises(UsageError, match="conv2d: got input of float64 and weight of float32, expected one dtype"):
        net()(mt.Tensor(np.zeros((1, 2, 4, 4))))
    assert net().astype(np.float64)(mt.Tensor(np.zeros((1, 2, 4, 4)))).dtype == np.float64


def test_a_module_of_ones_own():
    class Gain(nn.Module):
        def __init__(self):
            self.gain = nn.Parameter(np.ones(1, np.float32))

        def forward(self, x):
            return x * self.gain

    model = nn.Sequential(nn.Linear(3, 2), Gain())
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.gain"]
    model(mt.Tensor(np.ones((4, 3), np.float32))).sum().backward()
    assert model[1].gain.grad is not None
