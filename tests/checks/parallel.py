"""Checks of training on several ranks, which are threads here."""
import tempfile
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np

import minitorch_alex as mt
from minitorch_alex import backend, nn, parallel, streams
from minitorch_alex import functional as F
from minitorch_alex.comm import Alone, Staged, Threads, part
from minitorch_alex.data import Dataset, Loader
from minitorch_alex.optim import SGD
from minitorch_alex.parallel import DataParallel
from minitorch_alex.tensor import Tensor
from minitorch_alex.training import checkpoint, ranks, saving
from minitorch_alex.training.progress import Meter, Progress
from minitorch_alex.training.runs import Run

from .compare import assert_close


def on_device(x):
    """Images as a Tensor of the current backend, as `ranks.take_step` makes one."""
    return Tensor(backend.asarray(x))


def weights_after_steps(comm, shards=0):
    """The weights of a small net with dropout after five steps on batches of 11."""
    rng = np.random.default_rng(0)
    first = nn.Linear(6, 8)
    last = nn.Linear(8, 3)
    parameters = [*first.parameters(), *last.parameters()]
    for p in parameters:
        p.data[...] = backend.asarray(rng.standard_normal(p.shape).astype(np.float32))
    optimizer = SGD(parameters, lr=0.5, momentum=0.9)
    parallel = DataParallel(optimizer, comm, shards)
    for step in range(5):
        x = rng.standard_normal((11, 6)).astype(np.float32)
        labels = rng.integers(0, 3, 11)
        own = part(11, comm.rank, comm.size)
        for rows, image in parallel.pieces(11):
            n = rows.stop - rows.start
            if not n:
                parallel.add(None, 0.0)
                continue
            streams.set_step(step, image)
            h = F.dropout(F.relu(first(on_device(x[own][rows]))))
            parallel.add(F.cross_entropy(last(h), labels[own][rows]), n / 11)
        parallel.update()
    return backend.to_numpy(optimizer.flat.copy())


def check_data_parallel():
    """Several ranks take the steps of one process; in shards, to the bit."""
    mt.manual_seed(0)
    alone = weights_after_steps(Alone(), shards=1)
    for size in (2, 3, 13):
        for several in Threads(size).run(weights_after_steps):
            np.testing.assert_allclose(several, alone, atol=1e-4)
    shards = weights_after_steps(Alone(), shards=8)
    np.testing.assert_allclose(shards, alone, atol=1e-4)
    for size in (2, 4):
        for several in Threads(size).run(lambda comm: weights_after_steps(comm, shards=8)):
            assert np.array_equal(several, shards)


def check_parts_of_batches():
    """The parts of a batch, one after the other, are the batch."""
    images = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), dtype=np.uint8)
    dataset = Dataset(images, np.arange(11) % 3, tuple("abc"), "toy")
    whole = [labels for _, labels in Loader(dataset, 5, workers=0).epoch(0)]
    parts = [[labels for _, labels in Loader(dataset, 5, workers=0, part=(r, 3)).epoch(0)] for r in range(3)]
    for b, labels in enumerate(whole):
        assert np.array_equal(np.concatenate([theirs[b] for theirs in parts]), labels)


# The sum beside the backward pass.


class AtOnce:
    """In the place of the thread that sums: a sum is done when it is sent."""

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        return future


class AtLast:
    """The opposite: a sum is done when it is waited for."""

    def submit(self, function, *args):
        return SimpleNamespace(result=lambda: function(*args))


def steps_of(comm, overlap=False, thread=None, shards=0):
    """The weights after three steps of a net with a frozen layer and a shared weight, on one rank's images of 5."""
    mt.manual_seed(1)
    layers = [nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)]
    parameters = [p for layer in layers for p in layer.parameters()]
    layers[0].weight.requires_grad = False
    optimizer = SGD([{"params": [p for p in parameters if p.ndim > 1]},
                     {"params": [p for p in parameters if p.ndim == 1]}], lr=0.1, momentum=0.9)
    parallel = DataParallel(optimizer, comm, shards, overlap)
    if thread is not None:
        parallel._overlap.thread = thread
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.standard_normal((5, 6)).astype(np.float32)
        labels = rng.integers(0, 3, 5)
        own = part(5, comm.rank, comm.size)
        for rows, _ in parallel.pieces(5):
            loss = None
            if rows.start < rows.stop:
                h = layers[1](F.relu(layers[0](on_device(x[own][rows]))))
                logits = layers[2](F.relu(layers[1](h)))  # layers[1] is used twice
                loss = F.cross_entropy(logits, labels[own][rows])
            parallel.add(loss, (rows.stop - rows.start) / 5)
        parallel.update()
    return backend.to_numpy(optimizer.flat.copy())


def check_pieces_of_ranks():
    """A rank's pieces add up to what as many ranks have: of a shared weight too, and of pieces without images."""
    alone = steps_of(Alone(), shards=8)  # 5 images: the first piece is empty, the second of another pair
    for size in (2, 4, 8):
        for weights in Threads(size).run(lambda comm: steps_of(comm, shards=8)):
            assert np.array_equal(weights, alone)


def sum_with_an_empty_piece(comm):
    """The bytes of the sum of a gradient of -0 and one of a piece without images."""
    p = nn.Parameter(np.ones(3, np.float32))
    optimizer = SGD([p], lr=0.1)
    parallel = DataParallel(optimizer, comm, shards=2)
    for piece in range(comm.rank * parallel.each, (comm.rank + 1) * parallel.each):
        parallel.add((p * -0.0).sum() if piece == 0 else None, 1.0)
    return comm.sum(optimizer.flat_grad).tobytes()


def check_sign_of_zero():
    """-0 + 0 is 0, on two ranks and on one."""
    alone = sum_with_an_empty_piece(Alone())
    assert Threads(2).run(sum_with_an_empty_piece) == [alone, alone]


def assert_steps_on_device():
    """Two ranks whose arrays lie on the device of the current backend and travel through the host: sums beside the
    backward pass change no bit, nor does it matter who computes a shard."""
    plain = Threads(2).run(lambda comm: steps_of(Staged(comm), overlap=False))
    for weights in Threads(2).run(lambda comm: steps_of(Staged(comm), overlap=True)):
        assert np.array_equal(weights, plain[0])
    shards = weights_after_steps(Alone(), shards=4)
    for weights in Threads(2).run(lambda comm: weights_after_steps(Staged(comm), shards=4)):
        assert np.array_equal(weights, shards)


def check_overlapped_sums():
    """Sums that travel during the backward pass, as early and as late as they can be: the bits of those after it."""
    with mock.patch.object(parallel, "BUCKET", 1):  # one for each parameter
        plain = Threads(2).run(steps_of)
        for thread in (AtOnce(), AtLast()):
            for weights in Threads(2, timeout=2).run(lambda comm, thread=thread: steps_of(comm, True, thread)):
                assert np.array_equal(weights, plain[0])


# What train.py calls.


def trained(comm, folder=None, shards=0):
    """Three steps on batches of 7, and a checkpoint where there is a folder: (weights, [loss, wrong, images])."""
    rng = np.random.default_rng(2)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    for p in net.parameters():
        p.data[...] = rng.standard_normal(p.shape).astype(np.float32)
    optimizer = SGD(net.parameters(), lr=0.5, momentum=0.9)
    together = DataParallel(optimizer, comm, shards)
    progress = Progress()
    for _ in range(3):
        x = rng.standard_normal((7, 6)).astype(np.float32)
        labels = rng.integers(0, 3, 7)
        own = part(7, comm.rank, comm.size)
        progress.totals.add(*ranks.take_step(together, net, F.cross_entropy, x[own], labels[own], progress, 7))
    if folder is not None:
        job = SimpleNamespace(optimizer=optimizer, parallel=together, progress=progress, comm=comm, model=net,
                              run=Run(folder, writes=comm.rank == 0), mean=np.zeros(3), config={"model": "net"},
                              version="1", schedule=SimpleNamespace(state_dict=dict))
        saving.save(job)
    totals = ranks.total(Meter(*vars(progress.totals).values()), comm)
    return optimizer.flat.copy(), [totals.loss, totals.wrong, totals.images]


def check_steps_of_ranks():
    """Weights and sums of a step are those of one process, for uneven parts and for empty ones."""
    mt.manual_seed(0)
    weights, sums = trained(Alone(), shards=1)
    for size in (2, 3, 8):
        for theirs, their_sums in Threads(size).run(trained):
            assert_close(theirs, weights, 1e-5, f"weights on {size} ranks")
            assert_close(their_sums, sums, 1e-5, f"loss, wrong answers and images on {size} ranks")


def check_saving():
    """The file of two ranks is that of one process: all weights, all velocities, the sums of all images."""
    mt.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trained(Alone(), Path(folder), shards=1)
        expected, meta = checkpoint.load(Path(folder) / "checkpoint.safetensors")
        Threads(2, timeout=2).run(lambda comm: trained(comm, Path(folder)))
        arrays, their_meta = checkpoint.load(Path(folder) / "checkpoint.safetensors")
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert_close(arrays[name], array, 1e-5, name)
    assert_close(their_meta["sums"], meta["sums"], 1e-5, "sums of the epoch so far")


def probabilities(model, dataset, transform, views, batch_size, progress, check):
    """In the place of evaluate.predict: of each image its pixel, its place in its batch, and how large that is; so a
    batch that was cut shows."""
    rows = []
    for start in range(0, len(dataset), batch_size):
        check()
        pixels = dataset.images[start:start + batch_size][:, 0, 0, 0]  # (n, H, W, 3) -> (n,)
        n = len(pixels)
        rows.append(np.stack([pixels, np.arange(n), np.full(n, n)], axis=1).astype(np.float32))
    return np.concatenate(rows)


def check_evaluation():
    """Whole batches are dealt out, each once, and all ranks ask equally often whether to stop."""
    images = np.arange(1, 12, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 3), np.uint8)
    dataset = Dataset(images, np.arange(11) % 3, tuple("abc"), "toy")

    def evaluate(comm):
        asked = []
        probs = ranks.predict(comm, probabilities, None, dataset, None, batch_size=3, check=lambda: asked.append(1))
        return probs, len(asked)

    expected, batches = evaluate(Alone())
    for size in (2, 3, 5):
        for probs, asked in Threads(size).run(evaluate):
            assert np.array_equal(probs, expected)
            assert asked == -(-batches // size)


CHECKS = (check_data_parallel, check_parts_of_batches, check_pieces_of_ranks, check_sign_of_zero,
          check_overlapped_sums, check_steps_of_ranks, check_saving, check_evaluation)
