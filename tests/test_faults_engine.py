"""What other people reported of their frameworks, tried on the engine: containers that dropped layers, weights written
at the wrong moment, shared layers, copies, empty batches, infinities."""
import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import nn, optim, profile, schedule, versions
from minitorch_alex.errors import KindError, RunError, ShapeError, UsageError

RNG = np.random.default_rng(7)
mt.manual_seed(7)


def images(n=2, c=3, size=8):
    return mt.Tensor(RNG.standard_normal((n, c, size, size)).astype(np.float32))


def rows(n=3, width=4):
    return mt.Tensor(RNG.standard_normal((n, width)).astype(np.float32))


# Containers

NOT_MODULES = {
    "a function": F.relu, "a class": nn.ReLU, "None": None, "a list": [nn.ReLU()], "a tuple": (nn.ReLU(),),
    "a dict": {"a": nn.ReLU()}, "a number": 3, "a name": "relu", "a parameter": nn.Parameter(np.zeros(2, np.float32)),
    "a lambda": lambda x: x, "an array": np.zeros(2), "a generator": (layer for layer in [nn.ReLU()]),
}
PLACES = {
    "Sequential": lambda x: nn.Sequential(nn.Linear(2, 2), x),
    "Sequential alone": lambda x: nn.Sequential(x),
    "Sequential by name": lambda x: nn.Sequential(act=x),
    "Sequential of an OrderedDict": lambda x: nn.Sequential(OrderedDict(fc=nn.Linear(2, 2), act=x)),
    "append": lambda x: nn.Sequential(nn.Linear(2, 2)).append(x),
    "extend": lambda x: nn.Sequential(nn.Linear(2, 2)).extend([nn.ReLU(), x]),
    "insert": lambda x: nn.Sequential(nn.Linear(2, 2)).insert(0, x),
    "an item": lambda x: nn.Sequential(nn.Linear(2, 2)).__setitem__(0, x),
    "add_module": lambda x: nn.Sequential().add_module("act", x),
    "ModuleList": lambda x: nn.ModuleList([nn.Linear(2, 2), x]),
    "ModuleList.append": lambda x: nn.ModuleList().append(x),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("thing", NOT_MODULES)
def test_containers_refuse_what_is_not_a_module(place, thing):
    with pytest.raises(KindError, match="is not a Module subclass") as error:
        PLACES[place](NOT_MODULES[thing])
    assert isinstance(error.value, TypeError) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["forward", "train", "training", "parameters", "append", "__call__", "a.b", ""])
def test_names_that_would_hide_something_are_refused(name):
    for make in (lambda: nn.Sequential(**{name: nn.ReLU()}), lambda: nn.Sequential(OrderedDict({name: nn.ReLU()})),
                 lambda: nn.ModuleList().add_module(name, nn.ReLU())):
        with pytest.raises(UsageError, match="already exists|can't be empty"):
            make()
    with pytest.raises(UsageError, match="already exists"):
        nn.Sequential(nn.ReLU(), **{"0": nn.Tanh()})
    with pytest.raises(KindError, match="should be a string"):
        nn.Sequential(OrderedDict({3: nn.ReLU()}))


@pytest.mark.parametrize("name", ["image_size", "recipe", "layer_decay", "deviations"])
def test_a_network_refuses_layers_named_like_its_settings(name):
    with pytest.raises(UsageError, match="already exists"):
        mt.models.Network(32, None, {}, [], **{name: nn.ReLU()})


def test_an_ordered_dict_names_the_layers():
    net = nn.Sequential(OrderedDict([("fc1", nn.Linear(4, 3)), ("act", nn.ReLU()), ("fc2", nn.Linear(3, 2))]))
    assert list(net.state_dict()) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    x = rows()
    assert (net(x).data == net[2](net[1](net[0](x))).data).all()
    assert len(nn.Sequential(OrderedDict())) == 0


def test_slices_are_nets_of_the_same_layers():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    head, tail = net[:2], net[1:]
    x = rows()
    assert (tail(head[:1](x)).data == net(x).data).all()
    assert list(tail.state_dict()) == ["2.weight", "2.bias"] and tail[1] is net[2] and net[-1] is net[2]
    assert [type(layer) for layer in net[::-1]] == [nn.Linear, nn.ReLU, nn.Linear]
    assert len(net[5:]) == 0
    for index in (3, -4):
        with pytest.raises(IndexError, match="out of range"):
            net[index]
    tail.append(nn.Tanh())  # its layers are called 1 and 2, so the next free number is 3
    assert [name for name, _ in tail.named_children()] == ["1", "2", "3"] and len(net) == 3


def test_lists_of_layers_change_as_lists_do():
    a, b, c, d = (nn.Linear(2, 2) for _ in range(4))
    for kind in (nn.Sequential(a, b), nn.ModuleList([a, b])):
        assert kind.append(c) is kind and list(kind) == [a, b, c] and c in kind and d not in kind
        kind.insert(1, d)
        assert list(kind) == [a, d, b, c] and [name for name, _ in kind.named_children()] == ["0", "1", "2", "3"]
        del kind[0]
        assert list(kind) == [d, b, c] and kind.pop() is c
        kind[-1] = a
        assert list(kind) == [d, a] and len(kind) == 2
        assert list(kind + kind[:1]) == [d, a, d]
        kind.extend([b, c])
        with pytest.raises(KindError):
            kind.extend([a, None])
        assert list(kind) == [d, a, b, c], "all are taken, or none"
    with pytest.raises(KindError, match="iterable"):
        nn.ModuleList(nn.ReLU())
    with pytest.raises(KindError):
        nn.Sequential(a) + [b]


def test_a_module_list_is_found_where_a_list_is_not():
    class Net(nn.Module):
        def __init__(self):
            self.steps = nn.ModuleList([nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2)])

        def forward(self, x):
            for step in self.steps:
                x = step(x)
            return x

    net = Net().eval()
    assert list(net.state_dict()) == ["steps.0.weight", "steps.0.bias", "steps.2.weight", "steps.2.bias"]
    assert not net.steps[1].training and net(rows()).shape == (3, 2)
    with pytest.raises(NotImplementedError):
        net.steps(rows())


def test_parameters_and_layers_are_not_replaced_by_what_no_training_finds():
    layer, net = nn.Linear(4, 2), nn.Sequential(nn.Linear(4, 2), act=nn.ReLU())
    for value in (np.zeros((2, 4), np.float32), mt.Tensor(np.zeros((2, 4))), 3, "w"):
        with pytest.raises(KindError, match="cannot assign .* as parameter 'weight' of Linear"):
            layer.weight = value
    for value in (F.relu, nn.ReLU, [nn.ReLU()]):
        with pytest.raises(KindError, match="cannot assign .* as child module 'act' of Sequential"):
            net.act = value
    layer.weight = nn.Parameter(np.ones((2, 4), np.float32))
    layer.bias = None
    net.act = nn.Tanh()
    assert len(list(layer.parameters())) == 1 and layer(rows()).shape == (3, 2)


@pytest.mark.torch
def test_containers_do_as_torchs():
    torch = pytest.importorskip("torch")

    def names(module, relu, linear, ordered):
        net = module(ordered([("a", linear(2, 2)), ("b", relu()), ("c", linear(2, 2))]))
        part = net[1:]
        plain = module(linear(2, 2), relu()).append(linear(2, 2)).insert(1, relu())
        del plain[0]
        shared = relu()
        twice = module(linear(2, 2), shared, linear(2, 2), shared)
        return [list(net.state_dict()), list(part.state_dict()), list(plain.state_dict()), len(plain), len(twice),
                len(list(twice.children())), len(list(twice.modules())), [type(m).__name__ for m in twice]]

    ours = names(nn.Sequential, nn.ReLU, nn.Linear, OrderedDict)
    assert ours == names(torch.nn.Sequential, torch.nn.ReLU, torch.nn.Linear, OrderedDict)


# Weights that are written between forward and backward


def two_losses(widths=(4, 5, 3)):
    net = nn.Sequential(fc1=nn.Linear(widths[0], widths[1]), act=nn.ReLU(), fc2=nn.Linear(widths[1], widths[2]))
    y = net(rows(3, widths[0]))
    return net, F.cross_entropy(y, np.array([0, 1, 2])), (y * y).mean()


WRITES = {
    "step": lambda net: optim.SGD(net.parameters(), lr=0.5).step(),
    "load_state_dict": lambda net: net.load_state_dict(net.state_dict()),
    "data[...] =": lambda net: net.fc2.weight.data.__setitem__(..., 1),
    "data -=": lambda net: setattr(net.fc2.weight, "data", net.fc2.weight.data.__isub__(1)),
    "one element": lambda net: net.fc2.weight.data.__setitem__((0, 1), 1),
    "a view": lambda net: net.fc2.weight.data.reshape(-1).__setitem__(0, 7),
    "numpy()": lambda net: net.fc2.weight.numpy().__setitem__(0, 7),
    "detach()": lambda net: net.fc2.weight.detach().data.__setitem__(0, 7),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_weight_written_before_backward_is_refused_by_name(write):
    net, first, second = two_losses()
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    y = net(rows())  # after the optimizer has moved the weights
    first, second = F.cross_entropy(y, np.array([0, 1, 2])), (y * y).mean()
    first.backward(retain_graph=True)
    if write == "step":
        optimizer.step()
    else:
        WRITES[write](net)
    optimizer.zero_grad()
    with pytest.raises(UsageError, match=r"backward\(\) through Linear: parameter 'fc2.weight', of shape \(3, 5\)"):
        second.backward()


def test_a_step_without_effect_on_the_sample_is_seen_by_its_version():
    """Of 40,000 weights a few hundred are sampled, and these may have had no gradient."""
    layer = nn.Linear(200, 200)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    x = mt.Tensor(RNG.standard_normal((2, 200)).astype(np.float32), requires_grad=True)
    y = layer(x)
    first, second = (y * 0.0).sum(), (y * y).sum()
    first.backward(retain_graph=True)
    optimizer.step()  # moves nothing
    with pytest.raises(UsageError, match="'weight'"):
        second.backward()


@pytest.mark.parametrize("make, operation", [
    (lambda: (nn.Conv2d(3, 4, 3), images()), "Conv2d"),
    (lambda: (nn.LocallyConnected2d(3, 4, 8, 3), images()), "LocallyConnected2d"),
    (lambda: (nn.Linear(4, 3), rows()), "Linear"),
])
def test_every_layer_with_weights_looks(make, operation):
    layer, x = make()
    x.requires_grad = True
    y = layer(x)
    layer.weight.data *= 0.5
    with pytest.raises(UsageError, match=rf"through {operation}: parameter 'weight'|through {operation}: input 1"):
        y.sum().backward()


@pytest.mark.parametrize("op", [lambda a, b: a * b, lambda a, b: a / b, lambda a, b: a.reshape(2, 2) @ b.reshape(2, 2),
                                lambda a, b: b ** 2 + a, lambda a, b: b.log() * 2 + a, lambda a, b: F.linear(
                                    a.reshape(2, 2), b.reshape(2, 2))])
def test_operands_that_backward_reads_are_looked_at(op):
    a, b = (mt.Tensor(np.full(4, 2, np.float32), requires_grad=True) for _ in range(2))
    y = op(a, b)
    b.data[1] = 3
    with pytest.raises(UsageError, match="was overwritten after the forward pass"):
        y.sum().backward()


def test_input_buffers_and_results_are_looked_at():
    buffer = np.ones((2, 4), np.float32)
    y = nn.Linear(4, 2)(mt.Tensor(buffer))
    buffer[...] = 100  # the next batch
    with pytest.raises(UsageError, match="input 0"):
        y.sum().backward()
    x = mt.Tensor(np.ones(3, np.float32), requires_grad=True)
    for op in (F.relu, F.tanh, lambda t: t.exp()):
        y = op(x)
        y.data *= 0
        with pytest.raises(UsageError, match="the result"):
            y.sum().backward()
    large = np.ones((100, 400), np.float32)
    y = nn.Linear(400, 2)(mt.Tensor(large))
    large[50] = 7  # a row of it
    with pytest.raises(UsageError, match="input 0"):
        y.sum().backward()


@pytest.mark.parametrize("buffer", ["running_mean", "running_var"])
@pytest.mark.parametrize("how", ["data[...] =", "data +=", "load_state_dict", "a batch in training"])
def test_buffers_written_before_backward_are_refused_by_name(buffer, how):
    net = nn.Sequential(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4)).eval()
    x = images()
    state = {**net.state_dict(), "bn.running_mean": np.arange(4), "bn.running_var": np.arange(1, 5)}
    y = net(x)
    if how == "data[...] =":
        getattr(net.bn, buffer).data[1] = 7
    elif how == "data +=":
        getattr(net.bn, buffer).data += 1
    elif how == "load_state_dict":
        net.load_state_dict(state)
    else:
        net.train()(x)
    named = buffer if how.startswith("data") else "running_mean"  # the first of both
    with pytest.raises(UsageError, match=f"through BatchNorm: buffer 'bn.{named}'"):
        y.sum().backward()
    net.train()
    (net(x) + net(x)).sum().backward()  # in training each batch has statistics of its own
    with pytest.raises(KindError, match="as buffer 'running_mean'"):
        net.bn.running_mean = np.zeros(4)


def test_what_backward_does_not_read_may_be_written():
    """As in PyTorch: sums save nothing, and a first layer's weight is only read for the gradient of its input."""
    layer = nn.Linear(4, 3)
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    x = rows()
    y = layer(x)
    first, second = F.cross_entropy(y, np.array([0, 1, 2])), y.sum()
    first.backward(retain_graph=True)
    optimizer.step()
    optimizer.zero_grad()
    second.backward()
    assert np.allclose(layer.weight.grad, x.data.sum(0), rtol=1e-5)
    a, b = (mt.Tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    y = a + b
    a.data[...] = 5
    y.sum().backward()
    y = F.relu(a)
    a.data[...] = 7  # relu keeps its result
    y.sum().backward()
    assert a.grad.tolist() == [2, 2, 2]


def test_training_loops_of_every_kind_still_run():
    """One backward after another on one graph, accumulated gradients, writes between the steps."""
    net, first, second = two_losses()
    first.backward(retain_graph=True)
    second.backward()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        for _ in range(2):
            F.cross_entropy(net(rows()), np.array([0, 1, 2])).backward()
        optimizer.step()
        optimizer.zero_grad()
        net.fc1.weight.data *= 0.9
        net.load_state_dict(net.state_dict())


def test_a_graph_keeps_no_tensor_alive_through_what_it_watches():
    import gc
    import weakref
    gc.disable()
    try:
        y = F.relu(mt.Tensor(np.ones(3), requires_grad=True))
        alive = weakref.ref(y)
        del y
        assert alive() is None
    finally:
        gc.enable()


def test_fingerprints_sample_large_arrays_and_read_small_ones():
    small, large = np.zeros(versions.WHOLE, np.float32), np.zeros((300, 300), np.float32)
    assert len(versions.fingerprint(small)) == small.nbytes
    assert versions.SAMPLE * 4 <= len(versions.fingerprint(large)) <= 4 * (2 * versions.SAMPLE)
    assert len(versions.fingerprint(large.T)) == len(versions.fingerprint(large))
    before = versions.fingerprint(large)
    large[17:20] = 1
    assert versions.fingerprint(large) != before


@pytest.mark.torch
@pytest.mark.parametrize("between", ["step", "nothing", "bias only"])
def test_refusals_are_torchs(between):
    torch = pytest.importorskip("torch")

    def run(library, functional, tensor, make, sgd, errors):
        net = make.Sequential(make.Linear(4, 5), make.ReLU(), make.Linear(5, 3))
        chosen = {"step": list(net.parameters()), "nothing": [net[0].weight], "bias only": [net[0].bias, net[2].bias]}
        opt = sgd(chosen[between], lr=0.1)
        y = net(tensor)
        first, second = (y * y).mean(), y.sum()
        first.backward(retain_graph=True)
        if between != "nothing":
            opt.step()
        try:
            second.backward()
        except errors:
            return "refused"
        return "right"

    x = np.ones((2, 4), np.float32)
    ours = run(mt, F, mt.Tensor(x), nn, optim.SGD, UsageError)
    assert ours == run(torch, torch.nn.functional, torch.tensor(x), torch.nn, torch.optim.SGD, RuntimeError)


# Shared layers and tied weights


class Tied(nn.Module):
    def __init__(self):
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.c = self.a

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


def test_shared_layers_and_tied_weights_count_once():
    net = Tied()
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    assert list(net.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias"]
    assert [name for name, _ in net.named_children()] == ["a", "b"]
    assert [name for name, _ in net.named_modules()] == ["", "a", "b"]
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == ["", "a", "b", "c"]
    other = Tied()
    other.load_state_dict(net.state_dict())
    assert other.b.weight is other.a.weight and (other.c.weight.data == net.a.weight.data).all()
    optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(UsageError, match="twice in one"):
        optim.SGD([net.a.weight, net.b.weight], lr=0.1)


@pytest.mark.torch
def test_tied_weights_train_as_torchs():
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(4, 4)
            self.b = torch.nn.Linear(4, 4)
            self.b.weight = self.a.weight
            self.c = self.a

        def forward(self, x):
            return self.c(torch.relu(self.b(torch.relu(self.a(x)))))

    theirs, ours = Theirs(), Tied()
    assert [n for n, _ in theirs.named_parameters()] == [n for n, _ in ours.named_parameters()]
    assert list(theirs.state_dict()) == list(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    their_sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    our_sgd = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9, rule="torch")
    x, labels = rows().data, np.array([0, 1, 2])
    for _ in range(3):
        their_sgd.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels)).backward()
        their_sgd.step()
        our_sgd.zero_grad()
        F.cross_entropy(ours(mt.Tensor(x)), labels).backward()
        our_sgd.step()
    for name, value in ours.state_dict().items():
        assert np.allclose(value, theirs.state_dict()[name].numpy(), atol=1e-6), name


def shared_network():
    shared, relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()
    return mt.models.Network(8, None, {}, [], c1=shared, r1=relu, c2=shared, r2=relu, flat=nn.Flatten(),
                             fc=nn.Linear(192, 2))


def test_a_layer_at_two_places_runs_twice_and_counts_once():
    net = shared_network()
    c, r = net.c1, net.r1
    x = images()
    assert (net(x).data == net.fc(net.flat(r(c(r(c(x)))))).data).all()
    entries = profile.ledger(net)
    assert [e.name for e in entries] == ["c1", "r1", "c2", "r2", "flat", "fc"]
    assert profile.total(entries).parameters == sum(p.size for p in net.parameters()) == 84 + 386
    assert entries[0].multiply_adds == entries[2].multiply_adds > 0
    assert list(profile.layer_times(net, 2, 1)) == ["c1", "r1", "c2", "r2", "flat", "fc"]


def test_a_module_inside_itself_is_refused():
    net = nn.Sequential(nn.Linear(4, 4))
    net[0].parent = net
    with pytest.raises(UsageError, match="contains itself"):
        list(net.parameters())
    with pytest.raises(UsageError, match="contains itself"):
        net.state_dict()


# Copies


def train(net, optimizer, steps=2):
    for i in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(mt.Tensor(np.full((3, 4), 1 + i, np.float32))), np.array([0, 1, 1])).backward()
        optimizer.step()


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x)),
          "pickle protocol 2": lambda x: pickle.loads(pickle.dumps(x, 2))}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("turned", [False, True])
def test_copies_of_net_and_optimizer_train_on_as_the_originals_do(how, turned):
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    groups = [{"params": [net[0].weight, net[2].weight]}, {"params": [net[0].bias, net[2].bias], "lr": 0.05}]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
    rates = schedule.MultiStepLR(optimizer, [3])
    train(net, optimizer)
    if turned:
        rates2, optimizer2, net2 = COPIES[how]((rates, optimizer, net))
    else:
        net2, optimizer2, rates2 = COPIES[how]((net, optimizer, rates))
    assert rates2.optimizer is optimizer2
    before = net.state_dict()
    train(net2, optimizer2)
    assert all((before[name] == value).all() for name, value in net.state_dict().items()), "the original moved"
    train(net, optimizer)
    assert all((value == net2.state_dict()[name]).all() for name, value in net.state_dict().items())
    assert not all((before[name] == value).all() for name, value in net2.state_dict().items())
    assert (optimizer2.velocity == optimizer.velocity).all() and optimizer2.flat is not optimizer.flat


def test_adam_is_copied_with_what_it_keeps():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    train(net, optimizer)
    copies = [how((net, optimizer)) for how in COPIES.values()]
    train(net, optimizer)
    for net2, optimizer2 in copies:
        train(net2, optimizer2)
        assert all((value == net.state_dict()[name]).all() for name, value in net2.state_dict().items())


def test_a_copy_of_an_optimizer_keeps_gradients_and_the_checks():
    net = nn.Sequential(nn.Linear(4, 2))
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    F.cross_entropy(net(rows()), np.array([0, 1, 1])).backward()
    net2, optimizer2 = copy.deepcopy((net, optimizer))
    assert (net2[0].weight.grad == net[0].weight.grad).all() and net2[0].weight.grad is net2[0].weight.grad_place
    optimizer2.step()
    optimizer.step()
    assert (net2[0].weight.data == net[0].weight.data).all()
    net2[0].weight.data = net2[0].weight.data.copy()
    with pytest.raises(UsageError, match="has left"):
        optimizer2.step()


# What optimizers and load_state_dict are given


@pytest.mark.parametrize("params", [
    nn.Linear(2, 2), nn.Parameter(np.zeros(2, np.float32)), [nn.Linear(2, 2)], [np.zeros(2)], 3,
    [nn.Parameter(np.zeros(2, np.float32)), {"params": []}], [{"lr": 1}], ["weight"], {"params": []}])
def test_sgd_takes_parameters_and_groups_only(params):
    with pytest.raises(KindError, match="SGD: got"):
        optim.SGD(params, lr=0.1)


def test_sgd_takes_named_parameters_and_refuses_results():
    net = nn.Linear(2, 2)
    assert optim.SGD(net.named_parameters(), lr=0.1).flat.size == 6
    with pytest.raises(UsageError, match="result of an operation"):
        optim.SGD([net.weight * 2], lr=0.1)
    with pytest.raises(UsageError, match="no parameters"):
        optim.SGD([], lr=0.1)


def test_load_state_dict_takes_lists_and_refuses_what_is_not_numbers():
    layer = nn.Linear(1, 1)
    layer.load_state_dict({"weight": [[2.0]], "bias": [1]})
    assert layer(mt.Tensor([[3.0]])).item() == 7
    for bad in ({"weight": [["a"]], "bias": ["b"]}, {"weight": [[1j]], "bias": [1.0]}, {"weight": None, "bias": [1]}):
        with pytest.raises(RunError, match="do not fit this Linear"):
            layer.load_state_dict(bad)
    with pytest.raises(KindError, match="weights.load_into"):
        layer.load_state_dict("w.pth")
    assert layer(mt.Tensor([[3.0]])).item() == 7


# Infinity and NaN: only a diverged net sees them, and it should not look worse than it is


def nonfinite(shape, seed, values=(np.nan, np.inf, -np.inf), share=0.1):
    rng = np.random.default_rng(seed)
    x = rng.permutation(np.arange(np.prod(shape), dtype=np.float64)).reshape(shape) - np.prod(shape) / 3
    where = rng.random(shape) < share
    x[where] = rng.choice(values, where.sum())
    return x


def same(a, b):
    return np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("seed", range(8))
def test_relu_and_max_pool_treat_infinity_and_nan_as_the_naive_kernels_do(seed):
    from minitorch_alex.kernels import cpu, naive
    from minitorch_alex.kernels.window import Window
    x, g = nonfinite((2, 6, 7, 3), seed), nonfinite((2, 6, 7, 3), seed + 100)
    with np.errstate(all="ignore"):
        y = naive.relu(x)
        assert same(cpu.relu(x), y) and same(cpu.relu_backward(g, y), naive.relu_backward(g, y))
        for win in (Window((2, 2), (2, 2)), Window((3, 3), (2, 2), (1, 1)), Window((3, 2), (1, 2), ceil_mode=True),
                    Window((3, 3), (2, 2), (1, 1), (2, 2)), Window((2, 3), (3, 4), (1, 1), ceil_mode=True)):
            y, winners = cpu.max_pool2d(x, win)
            want, winners2 = naive.max_pool2d(x, win)
            assert same(y, want), win
            g = nonfinite(y.shape, seed, (np.inf, -np.inf))
            assert same(cpu.max_pool2d_backward(g, winners, x.shape, win),
                        naive.max_pool2d_backward(g, winners2, x.shape, win)), win


def test_a_window_of_minus_infinity_gives_its_gradient_to_its_first_cell():
    x = mt.Tensor(np.full((1, 1, 4, 4), -np.inf, np.float32), requires_grad=True)
    F.max_pool2d(x, 3, 2, 1).sum().backward()
    assert x.grad[0, 0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e20])
@pytest.mark.parametrize("size, groups", [(5, 1), (4, 1), (3, 2), (1, 1)])
def test_lrn_keeps_what_is_not_finite_inside_its_windows(value, size, groups):
    x = np.ones((2, 40, 3, 2), np.float32)
    x[1, 17, 2, 0] = value
    t = mt.Tensor(x, requires_grad=True)
    with np.errstate(all="ignore"):
        y = F.local_response_norm(t, size, groups=groups)
        y.backward(np.ones(y.shape, np.float32))
    plain = mt.Tensor(np.ones_like(x), requires_grad=True)
    z = F.local_response_norm(plain, size, groups=groups)
    z.backward(np.ones(y.shape, np.float32))
    near = np.zeros(40, bool)
    near[max(0, 17 - size):17 + size + 1] = True
    assert np.allclose(y.data[1, ~near], z.data[1, ~near]) and np.allclose(y.data[0], z.data[0])
    assert np.allclose(t.grad[1, ~near], plain.grad[1, ~near]) and np.allclose(t.grad[0], plain.grad[0])
    if np.isinf(value) and size == 5:
        assert (y.data[1, [15, 16, 18, 19], 2, 0] == 0).all() and np.isnan(y.data[1, 17, 2, 0])  # x / inf, inf / inf


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(6))
def test_infinity_and_nan_are_torchs(seed):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def compare(ours, theirs, x, values):
        a, b = mt.Tensor(x.copy(), requires_grad=True), torch.tensor(x, requires_grad=True)
        with np.errstate(all="ignore"):
            y, z = ours(a), theirs(b)
            g = nonfinite(y.shape, seed, values)
            y.backward(g)
            z.backward(torch.tensor(g))
        assert same(y.data, z.detach().numpy())
        assert same(a.grad, b.grad.numpy())

    x = nonfinite((2, 4, 6, 6), seed)
    compare(F.relu, torch.relu, x, (np.inf, -np.inf, np.nan))
    compare(F.tanh, torch.tanh, x, (np.nan,))
    for k, s, p, d, c in ((2, 2, 0, 1, False), (3, 2, 1, 1, True), (3, 1, 1, 1, False), (2, 1, 0, 2, False)):
        compare(lambda t, w=(k, s, p, d, c): F.max_pool2d(t, *w), lambda t, w=(k, s, p, d, c): functional.max_pool2d(
            t, *w), x, (np.inf, -np.inf))
    finite = nonfinite((2, 40, 3, 3), seed, (np.inf, np.nan), share=0.02) / 100
    compare(lambda t: F.local_response_norm(t, 5, 0.1), lambda t: functional.local_response_norm(t, 5, 0.1), finite,
            (1.0,))


# Tensors without an axis, batches without an image, windows without enough pixels


@pytest.mark.parametrize("op", [F.relu, F.tanh, F.dropout, lambda t: F.dropout(t, 0.3, rule="2012"),
                                lambda t: F.relu(t - 3), lambda t: F.tanh(F.relu(t) * 2) + 1, lambda t: t * t / 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalars_stay_scalars(op, dtype):
    x = mt.Tensor(np.array(2, dtype), requires_grad=True)
    y = op(x)
    assert y.shape == () and y.dtype == dtype
    y.backward()
    assert x.grad.shape == () and x.grad.dtype == dtype
    loss = op(x) + rows().sum()
    assert loss.shape == ()


EMPTY = {
    "conv": lambda: nn.Conv2d(3, 4, 3, padding=1), "few channels": lambda: nn.Conv2d(3, 4, 5, 1, 2),
    "one channel in groups": lambda: nn.Conv2d(3, 6, 3, groups=3), "strided": lambda: nn.Conv2d(3, 4, 5, 2),
    "11 x 11": lambda: nn.Conv2d(3, 4, 11, 4, 2), "rounded up": lambda: nn.Conv2d(3, 4, 3, 2, ceil_mode=True),
    "dilated": lambda: nn.Conv2d(3, 4, 3, dilation=2), "local": lambda: nn.LocallyConnected2d(3, 4, 12, 3),
    "max": lambda: nn.MaxPool2d(3, 2, 1), "avg": lambda: nn.AvgPool2d(3, 2), "adaptive": lambda: nn.AdaptiveAvgPool2d(
        2), "lrn": lambda: nn.LocalResponseNorm(5), "lrn in groups": lambda: nn.LocalResponseNorm(3, groups=3),
    "lrn within": lambda: nn.LocalResponseNorm(3, within_map=True), "relu": nn.ReLU, "tanh": nn.Tanh,
    "batch norm": lambda: nn.BatchNorm2d(3).eval(),
    "dropout": nn.Dropout, "flatten": nn.Flatten, "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 2)),
}


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("layer", EMPTY)
def test_a_batch_without_images_passes_both_ways(layer, winograd):
    module = EMPTY[layer]()
    mt.kernels.set_winograd(winograd)
    try:
        x = mt.Tensor(np.zeros((0, 3, 12, 12), np.float32), requires_grad=True)
        y = module(x)
        assert y.shape == (0, *module(images(1, 3, 12)).shape[1:])
        y.sum().backward()
    finally:
        mt.kernels.set_winograd(False)
    assert x.grad.shape == x.shape
    assert all(p.grad.shape == p.shape and not p.grad.any() for p in module.parameters())


def test_means_of_a_batch_without_images():
    x = mt.Tensor(np.zeros((0, 4)), requires_grad=True)
    y = x.mean(axis=1)
    assert y.shape == (0,)
    y.sum().backward()
    assert x.grad.shape == (0, 4)
    for axis in (None, 0):
        with pytest.raises(ShapeError, match="mean of a tensor without elements"):
            x.mean(axis=axis)


def test_a_whole_network_takes_a_batch_without_images():
    for name in ("net_18", "conv_local_13", "alexnet_cifar"):
        net = mt.models.build(name)
        y = net(mt.Tensor(np.zeros((0, 3, net.image_size, net.image_size), np.float32)))
        assert y.shape == (0, 10)
        y.sum().backward()
        assert all(not p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("kernel, stride, padding, size", [
    (3, 2, 0, 2), (3, 3, 0, 1), (5, 3, 1, 1), (7, 5, 1, 1), (5, 3, 0, 3), (4, 3, 2, 1), (3, 2, 1, 1)])
@pytest.mark.parametrize("pool", ["max", "avg", "avg inside"])
def test_a_window_larger_than_the_map_by_less_than_a_stride_is_one_window(kernel, stride, padding, size, pool):
    from minitorch_alex.kernels import naive
    from minitorch_alex.kernels.window import Window
    data = RNG.standard_normal((2, 3, size, size))
    x = mt.Tensor(data, requires_grad=True)
    win = Window.of(kernel, stride, padding, 1, ceil_mode=True)
    nhwc = np.ascontiguousarray(data.transpose(0, 2, 3, 1))
    if pool == "max":
        y = F.max_pool2d(x, kernel, stride, padding, ceil_mode=True)
        want = naive.max_pool2d(nhwc, win)[0]
    else:
        y = F.avg_pool2d(x, kernel, stride, padding, True, pool == "avg")
        want = naive.avg_pool2d(nhwc, win, pool == "avg")
    assert y.shape == (2, 3, 1, 1) and np.allclose(y.data, want.transpose(0, 3, 1, 2))
    y.sum().backward()
    if pool == "max":
        assert (x.grad.sum((2, 3)) == 1).all()
    with pytest.raises(ShapeError, match="does not fit"):
        F.max_pool2d(x, size + 2 * padding + stride, stride, ceil_mode=True)


@pytest.mark.torch
def test_sizes_of_pools_are_torchs():
    torch = pytest.importorskip("torch")
    for k in range(1, 6):
        for s in range(1, 6):
            for p in range(k // 2 + 1):
                for size in range(1, 7):
                    for ceil in (False, True):
                        x = RNG.standard_normal((1, 1, size, size)).astype(np.float32)
                        try:
                            want = torch.nn.functional.max_pool2d(torch.tensor(x), k, s, p, ceil_mode=ceil).numpy()
                        except RuntimeError:
                            want = None
                        try:
                            got = F.max_pool2d(mt.Tensor(x), k, s, p, ceil_mode=ceil).data
                        except ShapeError:
                            got = None
                        assert (got is None) == (want is None), (k, s, p, size, ceil)
                        assert want is None or (got.shape == want.shape and (got == want).all()), (k, s, p, size, ceil)


def test_a_convolution_that_rounds_up_takes_such_a_window_too():
    layer = nn.Conv2d(3, 4, 3, 2, ceil_mode=True).astype(np.float64)
    x = mt.Tensor(RNG.standard_normal((2, 3, 2, 2)), requires_grad=True)
    assert layer(x).shape == (2, 4, 1, 1)
    assert mt.gradcheck(lambda a, w: F.conv2d(a, w, stride=2, ceil_mode=True), [x, layer.weight])


# What becomes a tensor


@pytest.mark.parametrize("data", [None, "1.5", [1, None], ["a"], {"a": 1}, np.array([1j]), np.complex64(1), object(),
                                  [[1, 2], [3]], np.array(["x"]), np.ma.masked_array([1.0, 2], [0, 1]), F.relu,
                                  np.array([1, None]), np.datetime64("2012-09-30"), b"abc"])
def test_tensors_hold_real_numbers_only(data):
    with pytest.raises(KindError, match="real numbers|makes no array|masked array") as error:
        mt.Tensor(data)
    assert "\n" not in str(error.value)


def test_subclasses_of_arrays_become_plain_arrays(tmp_path):
    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=(2, 2))
    for data in (np.matrix([[1.0, 2], [3, 4]]), np.matrix([[1, 2], [3, 4]], np.float32), file):
        t = mt.Tensor(data)
        assert type(t.data) is np.ndarray and t.shape == (2, 2)
        assert ((t * t).data == np.asarray(data) ** 2).all()
    plain = np.ones(3, np.float32)
    assert mt.Tensor(plain).data is plain
    for data, dtype in ((np.float64(2), np.float64), (3, np.float32), ([1, 2], np.float32), (True, np.float32),
                        (np.arange(3), np.float32), (np.ones(2, np.float16), np.float32), ([], np.float32)):
        assert mt.Tensor(data).dtype == dtype
