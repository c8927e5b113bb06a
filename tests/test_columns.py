"""The two columns of 2012 and the hybrid of 2014 against one process, with ranks that are threads, in float64."""
import numpy as np
import pytest
from checks import assert_close, normal

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import models, optim, streams
from minitorch_alex.comm import Alone, Threads, part
from minitorch_alex.errors import RunError, UsageError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.models.columns import columns, hybrid, hybrid_gradients

CLASSES = 5  # odd: fc8 is cut unevenly


def small(**changes):
    """The paper's decisions on images of 32 x 32, with few maps; every layer of the paper's is there."""
    fields = {"num_classes": CLASSES, "channels": (4, 8, 8, 8, 4), "hidden": (10, 6), "lrn_groups": 2, **changes}
    return AlexNetConfig.cifar(**fields)


def one_process(**changes):
    mt.manual_seed(3)
    return AlexNet(small(**changes)).astype(np.float64)


IMAGES = 64 * normal(6, 3, 32, 32)
LABELS = np.array([0, 4, 1, 3, 2, 4])


def gradients(net):
    return {name: np.array(p.grad) for name, p in net.named_parameters() if p.grad is not None}


def oracle(**changes):
    """(logits, gradients) of a step in one process, with dropout."""
    net = one_process(**changes)
    streams.set_step(5)
    logits = net(mt.Tensor(IMAGES))
    F.cross_entropy(logits, LABELS).backward()
    return logits.numpy(), gradients(net)


NETS = {
    "alexnet": {},
    "dropout of inputs": {"dropout_place": "input"},
    "batch normalisation": {"after": ("bn relu pool", "bn relu pool", "bn relu", "relu", "relu pool")},
    "a sixth convolution": {"conv6": 4},
    "as it ran in 2012": {"after": ("lrn pool relu", "relu lrn rnorm pool", "relu", "relu", "relu pool")},
}


@pytest.mark.parametrize("name", NETS)
def test_two_columns_are_the_grouped_net(name):
    expected, expected_gradients = oracle(**NETS[name])

    def body(comm):
        net = columns(one_process(**NETS[name]), comm)
        streams.set_step(5)
        logits = net(mt.Tensor(IMAGES))
        F.cross_entropy(logits, LABELS).backward(gradient=np.float64(net.share))
        whole = {key: net.join(key, g) for key, g in gradients(net).items()}
        return logits.numpy(), whole, sum(p.size for p in net.parameters())

    for logits, whole, _ in Threads(2).run(body):
        assert_close(logits, expected, 1e-10, "logits")
        assert list(whole) == list(expected_gradients)
        for key, g in whole.items():
            assert_close(g, expected_gradients[key], 1e-10, key)


def test_a_column_of_the_papers_net_has_half_of_it():
    whole = AlexNet(AlexNetConfig.paper(hidden=(64, 64)).blank())

    def body(comm):
        net = columns(whole, comm)
        return (sum(p.size for p in net.parameters()), [name for name, _ in net.named_layers() if "gather" in name],
                net.conv2.weight.shape, net.conv3.weight.shape, net.fc6.weight.shape)

    for size, gathers, conv2, conv3, fc6 in Threads(2).run(body):
        assert size == sum(p.size for p in whole.parameters()) // 2
        assert gathers == ["gather_conv3", "gather_fc6", "gather_drop6", "gather_drop7", "gather_logits"]
        assert conv2 == (128, 48, 5, 5) and conv3 == (192, 256, 3, 3) and fc6 == (32, 9216)


def sgd(net):
    return optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)


def test_five_steps_of_columns_and_back_to_one_process():
    """Weights after five steps with dropout; what the columns save, one process loads, and the other way round."""
    def train(net, share, steps):
        optimizer = sgd(net)
        for step in steps:
            streams.set_step(step)
            optimizer.zero_grad()
            F.cross_entropy(net(mt.Tensor(IMAGES)), LABELS).backward(gradient=np.float64(share))
            optimizer.step()
        return net

    expected = train(one_process(), 1.0, range(5)).state_dict()

    def body(comm):
        net = train(columns(one_process(), comm), 0.5, range(5))
        state = net.state_dict()
        net.load_state_dict({name: 2 * array for name, array in state.items()})
        return state, net.state_dict()

    for state, doubled in Threads(2).run(body):
        assert list(state) == list(expected)
        for name, array in state.items():
            assert_close(array, expected[name], 1e-10, name)
            assert np.array_equal(doubled[name], 2 * array)
    loaded = one_process()
    loaded.load_state_dict(state)
    assert_close(loaded.eval()(mt.Tensor(IMAGES)).numpy(), _logits(expected), 1e-10, "evaluated by one process")


def _logits(state):
    net = one_process()
    net.load_state_dict(state)
    return net.eval()(mt.Tensor(IMAGES)).numpy()


def test_replicas_of_columns():
    """Four ranks: two pairs, each with its part of the batch; equal columns sum their gradients."""
    _, expected = oracle(dropout=0.0)

    def body(comm):
        pair = comm.split(comm.rank // 2)
        replicas = comm.split(comm.rank % 2)
        net = columns(one_process(dropout=0.0), pair)
        rows = part(len(LABELS), comm.rank // 2, 2)
        share = (rows.stop - rows.start) / len(LABELS) * net.share
        F.cross_entropy(net(mt.Tensor(IMAGES[rows])), LABELS[rows]).backward(gradient=np.float64(share))
        for p in net.parameters():
            p.grad = replicas.sum(np.ascontiguousarray(p.grad))
        return {key: net.join(key, g) for key, g in gradients(net).items()}

    for whole in Threads(4).run(body):
        for key, g in whole.items():
            assert_close(g, expected[key], 1e-10, key)


@pytest.mark.parametrize("ranks", (1, 2, 3, 4))
def test_the_hybrid_at_once_is_one_process(ranks):
    """Scheme (a), with dropout, on parts that are uneven for 4 ranks."""
    expected, expected_gradients = oracle()

    def body(comm):
        net = hybrid(one_process(), comm)
        rows = part(len(LABELS), comm.rank, comm.size)
        streams.set_step(5)
        (passed,) = hybrid_gradients(net, mt.Tensor(IMAGES[rows]), LABELS[rows])
        return passed, summed(net)

    for passed, whole in Threads(ranks).run(body):
        assert_close(passed.logits.numpy(), expected, 1e-10, "logits")
        assert np.array_equal(passed.labels, LABELS)
        for key, g in whole.items():
            assert_close(g, expected_gradients[key], 1e-10, key)


def summed(net):
    """Gradients of the whole hybrid: those of convolutions summed over ranks, those of cut layers joined."""
    return {name: net.join(name, g) if net.is_cut(name) else net.comm.sum(np.ascontiguousarray(g))
            for name, g in gradients(net).items()}


def images_of_pass(scheme, k, ranks, passes):
    """The numbers of the images, in the batch, that pass k sees."""
    own = [range(len(LABELS))[part(len(LABELS), rank, ranks)] for rank in range(ranks)]
    if scheme == "b":
        return list(own[k])
    return [i for images in own for i in images[part(len(images), k, passes)]]


def passes_in_one_process(scheme, ranks, passes, updates):
    """The oracle: the whole net, a pass at a time, with its fully connected layers updated in each or not."""
    net = one_process()
    layers = list(net)
    seam = next(i for i, (name, _) in enumerate(net.named_layers()) if name == "fc6")
    linear = optim.SGD([p for name, p in net.named_parameters() if name.startswith("fc")], 0.01, 0.9)
    streams.set_step(5)
    features = mt.Tensor(IMAGES)
    for layer in layers[:seam]:
        features = layer(features)
    collected = np.zeros(features.shape)
    for k in range(passes):
        rows = images_of_pass(scheme, k, ranks, passes)
        own = mt.Tensor(features.numpy()[rows], requires_grad=True)
        logits = own
        for layer in layers[seam:]:
            logits = layer(logits)
        weight = len(rows) / len(LABELS)
        F.cross_entropy(logits, LABELS[rows]).backward(gradient=np.float64(1.0 if updates else weight))
        collected[rows] = own.grad * (weight if updates else 1.0)
        if updates:
            linear.step()
            linear.zero_grad()
    features.backward(gradient=collected)
    return net


@pytest.mark.parametrize("scheme, ranks, passes", [("b", 2, 2), ("b", 3, 3), ("c", 2, 3), ("c", 3, 2), ("c", 1, 2)])
@pytest.mark.parametrize("updates", (False, True), ids=("one update", "an update in each pass"))
def test_the_hybrid_in_passes_is_its_oracle(scheme, ranks, passes, updates):
    """Schemes (b) and (c), with dropout, without updates in between and with them."""
    reference = passes_in_one_process(scheme, ranks, passes, updates)

    def body(comm):
        net = hybrid(one_process(), comm)
        linear = optim.SGD([p for name, p in net.named_parameters() if net.is_cut(name)], 0.01, 0.9)

        def update():
            linear.step()
            linear.zero_grad()

        rows = part(len(LABELS), comm.rank, comm.size)
        streams.set_step(5)
        hybrid_gradients(net, mt.Tensor(IMAGES[rows]), LABELS[rows], scheme, passes, update if updates else None)
        left = {name for name, _ in net.named_parameters() if not (updates and net.is_cut(name))}
        return {name: g for name, g in summed(net).items() if name in left}, net.state_dict()

    expected = {name: p.grad for name, p in reference.named_parameters() if p.grad is not None}
    for whole, state in Threads(ranks).run(body):
        assert set(whole) == set(expected)
        for key, g in whole.items():
            assert_close(g, expected[key], 1e-10, key)
        for key, array in state.items():
            assert_close(array, reference.state_dict()[key], 1e-10, key)


def test_small_nets_can_be_hybrid_too():
    """Their fully connected layers are what is cut, whatever their names."""
    def body(comm):
        mt.manual_seed(1)
        net = hybrid(models.build("quick_26"), comm)
        (passed,) = hybrid_gradients(net, mt.Tensor(IMAGES[:2].astype(np.float32)), np.array([1, 2]))
        return passed.logits.shape, sorted(net.cut)

    assert Threads(2).run(body)[0] == ((4, 10), ["fc10", "fc64"])


REFUSALS = {
    "no groups": (lambda: columns(AlexNet(small(groups=(1,) * 5)), Alone()), "has no columns: its groups are all 1"),
    "one rank": (lambda: columns(AlexNet(small()), Alone()), "has 2 columns, got 1 ranks"),
    "no fully connected layer": (lambda: hybrid(_convolutions(), Alone()), "this network has none"),
    "an unknown scheme": (lambda: _passes("d", 2), "got scheme 'd', expected one of: a, b, c"),
    "b with other passes": (lambda: _passes("b", 3), "got 3 passes for 1 ranks"),
    "a batch that cannot be cut": (lambda: _passes("c", 4), "6 images cannot be cut into 4 passes"),
}


def _convolutions():
    net = models.build("quick_26")
    return models.Network(32, net.recipe, {}, [], conv1=mt.nn.Conv2d(3, 4, 3))


def _passes(scheme, passes):
    hybrid_gradients(hybrid(one_process(), Alone()), mt.Tensor(IMAGES), LABELS, scheme, passes)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_split_is_refused_with_the_reason(name):
    call, words = REFUSALS[name]
    with pytest.raises(UsageError, match=words):
        call()


def test_windows_across_the_seam_and_too_many_ranks_are_refused():
    with pytest.raises(UsageError, match="cross the seam between its columns .lrn_groups = 1."):
        Threads(2).run(lambda comm: columns(AlexNet(small(lrn_groups=1)), comm))
    with pytest.raises(UsageError, match="5 outputs cannot be cut for 6 ranks"):
        Threads(6).run(lambda comm: hybrid(AlexNet(small()), comm))


def test_a_state_of_another_net_is_refused():
    def body(comm):
        columns(one_process(), comm).load_state_dict({"conv1.weight": np.zeros((4, 3, 3, 3))})

    with pytest.raises(RunError, match="fc8"):
        Threads(2).run(body)
