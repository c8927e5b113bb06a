"""Checks of what crosses between ranks (functional/exchange.py, models/columns.py), with ranks that are threads."""
import numpy as np

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex.comm import Threads, part
from minitorch_alex.functional import exchange as X
from minitorch_alex.models.alexnet import AlexNet, AlexNetConfig
from minitorch_alex.models.columns import columns, hybrid, hybrid_gradients
from minitorch_alex.training.cut import CutParallel

from .compare import assert_close, dot, normal


def rows_of(array, axis, rank, ranks):
    """A rank's part of an array along an axis, a copy."""
    return np.take(array, range(array.shape[axis])[part(array.shape[axis], rank, ranks)], axis)


def run(ranks, inputs, operation, cotangents=None):
    """operation(x, comm) on each rank's input: the outputs; with cotangents also the gradients of the inputs."""
    def body(comm):
        x = mt.Tensor(inputs[comm.rank], requires_grad=True)
        y = operation(x, comm)
        if cotangents is not None:
            y.backward(cotangents[comm.rank])
        return y.numpy(), x.grad

    outputs, gradients = zip(*Threads(ranks).run(body), strict=True)
    return (outputs, gradients) if cotangents is not None else outputs


def adjoint_of_gather(shape, axis, ranks):
    """Values of gather, and both inner products, for `shape` of the joined array."""
    whole = normal(*shape)
    parts = [rows_of(whole, axis, rank, ranks) for rank in range(ranks)]
    cotangents = [normal(*shape, seed=1 + rank) for rank in range(ranks)]
    outputs, gradients = run(ranks, parts, lambda x, comm: X.gather(x, comm, axis, shape[axis]), cotangents)
    for rank in range(ranks):
        assert_close(outputs[rank], whole, 0, f"gather on rank {rank}")
        assert_close(gradients[rank], rows_of(sum(cotangents), axis, rank, ranks), 1e-12, "its adjoint")
    forward = sum(dot(y, g) for y, g in zip(outputs, cotangents, strict=True))
    backward = sum(dot(x, g) for x, g in zip(parts, gradients, strict=True))
    assert abs(forward - backward) <= 1e-10 * max(1, abs(forward)), "adjoint identity"


def check_gather():
    """Two and three axes, four in the memory order of images, uneven parts, an empty one."""
    for shape, axis, ranks in (((4,), 0, 2), ((3, 5), 1, 2), ((2, 3, 4), -2, 3), ((2, 4, 3, 3), 1, 2),
                               ((5, 2, 1, 2), 0, 4), ((2, 3), 0, 3)):
        adjoint_of_gather(shape, axis, ranks)


def check_scatter_sum_and_sum():
    """The sum of three ranks, whole and in parts."""
    inputs = [normal(4, 5, seed=rank) for rank in range(3)]
    total = sum(inputs)
    for rank, y in enumerate(run(3, inputs, lambda x, comm: X.scatter_sum(x, comm, 1))):
        assert_close(y, rows_of(total, 1, rank, 3), 1e-12, "scatter_sum")
    for y in run(3, inputs, X.sum):
        assert_close(y, total, 1e-12, "sum")
    for y in run(3, inputs, lambda x, comm: X.broadcast(x, comm, 1)):
        assert_close(y, inputs[1], 0, "broadcast")


def check_all_to_all():
    """Rows in parts become columns in parts, and the way back is the same with both axes exchanged."""
    whole = normal(5, 7)

    def body(comm):
        own = rows_of(whole, 0, comm.rank, comm.size)
        y = comm.exchange(own, 1, 0, total=5)  # (n_r, 7) -> (5, m_r)
        return own, y, comm.exchange(y, 0, 1, total=7)

    for ranks in (2, 3):
        for rank, (own, y, back) in enumerate(Threads(ranks).run(body)):
            assert_close(y, rows_of(whole, 1, rank, ranks), 0, "exchange")
            assert_close(back, own, 0, "exchange and back")


OPERATIONS = {
    "gather": lambda x, comm: X.gather(x * x, comm, 1),
    "scatter_sum": lambda x, comm: X.scatter_sum(x * x, comm, 1),
    "sum": lambda x, comm: X.sum(x * x, comm),
    "broadcast": lambda x, comm: X.broadcast(x * x, comm, 1),
}


def check_gradients_of_exchange():
    """Finite differences of one number that depends on every rank's output, by each rank's input. A square before
    each operation, so that a gradient that is only right at one point is not enough."""
    ranks, h = 2, 1e-6
    for name, operation in OPERATIONS.items():
        inputs = [normal(2, 2, seed=rank) for rank in range(ranks)]
        shapes = [y.shape for y in run(ranks, inputs, operation)]
        cotangents = [normal(*shape, seed=9 + rank) for rank, shape in enumerate(shapes)]
        _, gradients = run(ranks, inputs, operation, cotangents)

        def number(inputs, operation=operation, cotangents=cotangents):
            return sum(dot(y, g) for y, g in zip(run(ranks, inputs, operation), cotangents, strict=True))

        for rank in range(ranks):
            for place in np.ndindex(2, 2):
                values = []
                for step in (h, -h):
                    moved = [x.copy() for x in inputs]
                    moved[rank][place] += step
                    values.append(number(moved))
                assert_close(gradients[rank][place], (values[0] - values[1]) / (2 * h), 1e-6,
                             f"gradient of {name} on rank {rank} at {place}")


def check_batch_norm_over_ranks():
    """A batch in parts, uneven ones and one that is empty: outputs, gradients and running statistics are those of the
    whole batch. The parts have means far apart, so that statistics of their own would be others."""
    for shape in ((5, 3), (5, 2, 3, 2)):
        x = normal(*shape) + 3 * np.arange(5.0).reshape(-1, *[1] * (len(shape) - 1))
        C = shape[1]
        w, b, gy = normal(C, seed=1), normal(C, seed=2), normal(*shape, seed=3)

        def norm(rows, ranks, arrays=(x, w, b, gy), C=C):
            x, w, b = (mt.Tensor(array, requires_grad=True) for array in (arrays[0][rows], *arrays[1:3]))
            running = mt.Tensor(np.zeros(C)), mt.Tensor(np.ones(C))
            y = F.batch_norm(x, *running, w, b, training=True, ranks=ranks)
            y.backward(arrays[3][rows])
            return y.numpy(), x.grad, w.grad, b.grad, running[0].numpy(), running[1].numpy()

        y, gx, gw, gb, mean, var = norm(slice(None), None)
        for ranks in (1, 2, 3, 7):
            results = Threads(ranks).run(lambda comm: norm(part(5, comm.rank, comm.size), comm))
            outputs, gradients, gws, gbs, means, variances = zip(*results, strict=True)
            assert_close(np.concatenate(outputs), y, 1e-12, "batch_norm over ranks")
            assert_close(np.concatenate(gradients), gx, 1e-12, "gradient of x")
            assert_close(sum(gws), gw, 1e-12, "gradient of w, the sum of all ranks' shares")
            assert_close(sum(gbs), gb, 1e-12, "gradient of b")
            for running in zip(means, variances, strict=True):
                assert_close(np.array(running), np.array([mean, var]), 1e-12, "running statistics")


IMAGES = 64 * normal(4, 3, 32, 32)
LABELS = np.array([0, 2, 1, 2])


def small_net():
    """The paper's decisions on small images, with few maps, in float64."""
    mt.manual_seed(3)
    config = AlexNetConfig.cifar(num_classes=3, channels=(4, 4, 4, 4, 4), hidden=(6, 4))
    return AlexNet(config).astype(np.float64)


def gradients_of(net):
    return {name: np.array(p.grad) for name, p in net.named_parameters()}


def check_columns():
    """Gradients of a step with dropout, on two ranks and in one process."""
    net = small_net()
    mt.set_step(5)
    F.cross_entropy(net(mt.Tensor(IMAGES)), LABELS).backward()

    def body(comm):
        column = columns(small_net(), comm)
        mt.set_step(5)
        F.cross_entropy(column(mt.Tensor(IMAGES)), LABELS).backward(gradient=np.float64(column.share))
        return {name: column.join(name, g) for name, g in gradients_of(column).items()}

    for whole in Threads(2).run(body):
        for name, g in gradients_of(net).items():
            assert_close(whole[name], g, 1e-10, name)


def check_hybrid():
    """Gradients of the convolutions and of the cut layers on two ranks, against the formula: without dropout the
    passes of a step see the mean loss of the batch, also where each has an update of its own that changes nothing."""
    net = small_net().eval()
    F.cross_entropy(net(mt.Tensor(IMAGES)), LABELS).backward()
    want = gradients_of(net)

    def body(comm, scheme, update):
        cut = hybrid(small_net(), comm).eval()
        rows = part(len(LABELS), comm.rank, 2)
        hybrid_gradients(cut, mt.Tensor(IMAGES[rows]), LABELS[rows], scheme, 2, update)
        return {name: cut.join(name, g) if cut.is_cut(name) else comm.sum(np.ascontiguousarray(g))
                for name, g in gradients_of(cut).items()}

    for scheme in "abc":
        for update in (None, lambda: None):
            for whole in Threads(2).run(lambda comm, scheme=scheme, update=update: body(comm, scheme, update)):
                for name, g in whole.items():
                    # With updates the fully connected layers have the sum of two means.
                    twice = update is not None and scheme != "a" and name.startswith("fc")
                    assert_close(g / (2 if twice else 1), want[name], 1e-10, f"{name} by scheme {scheme}")


def check_steps_of_cut_networks():
    """Three steps with momentum on four ranks as pairs of columns, and on two as a hybrid: the whole network, the
    velocities and the images counted are those of one process."""
    def whole():
        net = small_net().eval()
        return net, mt.optim.SGD(net.parameters(), 0.01, 0.9, 0.01)

    net, optimizer = whole()
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(mt.Tensor(IMAGES)), LABELS).backward()
        optimizer.step()

    def body(comm, kind):
        model, own = whole()
        parallel = CutParallel(kind, model, own, comm)
        rows = part(len(LABELS), parallel.place, parallel.places)
        counted = [parallel.take_step(step, F.cross_entropy, IMAGES[rows], LABELS[rows], len(LABELS))[2]
                   for step in range(3)]
        parallel.gather_state()
        return own.flat, own.velocity, sum(counted)

    for kind, ranks in (("columns", 4), ("hybrid", 2)):
        results = Threads(ranks).run(lambda comm, kind=kind: body(comm, kind))
        assert sum(counted for _, _, counted in results) == 3 * len(LABELS), "images counted once"
        for flat, velocity, _ in results:
            assert_close(flat, optimizer.flat, 1e-10, f"weights, {kind}")
            assert_close(velocity, optimizer.velocity, 1e-10, f"velocities, {kind}")


def check_whole_networks():
    """What a cut network saves is the whole one under its usual names, also where parts are uneven, and it takes the
    whole one back."""
    expected = small_net().state_dict()

    def body(comm, cut):
        net = cut(small_net(), comm)
        state = net.state_dict()
        net.load_state_dict({name: 2 * array for name, array in state.items()})
        return state, net.state_dict()

    for cut, size in ((columns, 2), (hybrid, 2), (hybrid, 3)):
        for state, doubled in Threads(size).run(lambda comm, cut=cut: body(comm, cut)):
            assert list(state) == list(expected)
            for name, array in expected.items():
                assert_close(state[name], array, 0, f"{name}, {cut.__name__}")
                assert_close(doubled[name], 2 * array, 0, f"{name} taken back, {cut.__name__}")


def check_several_updates():
    """Scheme (c) on two ranks, in two passes with an update of the fully connected layers in each, against the formula:
    an update has half of the rate, and the convolutions get the gradients of the mean over both passes."""
    def groups(net):
        linear = [p for name, p in net.named_parameters() if name.startswith("fc")]
        return linear, [p for name, p in net.named_parameters() if not name.startswith("fc")]

    net = small_net().eval()
    layers = list(net)
    seam = [name for name, _ in net.named_layers()].index("fc6")
    linear, convolutions = groups(net)
    inner = mt.optim.SGD(linear, 0.01 / 2, 0.9, 0.01)
    outer = mt.optim.SGD(convolutions, 0.01, 0.9, 0.01)
    for _ in range(2):
        features = mt.Tensor(IMAGES)
        for layer in layers[:seam]:
            features = layer(features)
        collected = np.zeros(features.shape)
        for rows in ([0, 2], [1, 3]):  # the first image of each rank's two, then the second
            own = mt.Tensor(features.numpy()[rows], requires_grad=True)
            logits = own
            for layer in layers[seam:]:
                logits = layer(logits)
            inner.zero_grad()
            F.cross_entropy(logits, LABELS[rows]).backward()
            collected[rows] = own.grad / 2
            inner.step()
        outer.zero_grad()
        features.backward(gradient=collected)
        outer.step()

    def body(comm):
        model = small_net().eval()
        parallel = CutParallel("hybrid", model, mt.optim.SGD(model.parameters(), 0.01, 0.9, 0.01), comm, "c", 2)
        rows = part(len(LABELS), comm.rank, 2)
        for step in range(2):
            parallel.take_step(step, F.cross_entropy, IMAGES[rows], LABELS[rows], len(LABELS))
        parallel.gather_weights()
        return model.state_dict()

    for state in Threads(2).run(body):
        for name, array in net.state_dict().items():
            assert_close(state[name], array, 1e-10, name)


CHECKS = (
    check_columns,
    check_whole_networks,
    check_several_updates,
    check_all_to_all,
    check_hybrid,
    check_steps_of_cut_networks,
    check_gather,
    check_scatter_sum_and_sum,
    check_batch_norm_over_ranks,
    check_gradients_of_exchange,
)
