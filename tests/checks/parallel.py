"""Checks of training on several ranks, which are threads here."""
import numpy as np

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import nn, streams
from minitorch_alex.comm import Alone, Threads, part
from minitorch_alex.data import Dataset, Loader
from minitorch_alex.optim import SGD
from minitorch_alex.parallel import DataParallel
from minitorch_alex.tensor import Tensor


def weights_after_steps(comm, shards=0):
    """The weights of a small net with dropout after five steps on batches of 11."""
    rng = np.random.default_rng(0)
    first = nn.Linear(6, 8)
    last = nn.Linear(8, 3)
    parameters = [*first.parameters(), *last.parameters()]
    for p in parameters:
        p.data[...] = rng.standard_normal(p.shape).astype(np.float32)
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
            h = F.dropout(F.relu(first(Tensor(x[own][rows]))))
            parallel.add(F.cross_entropy(last(h), labels[own][rows]), n / 11)
        parallel.update()
    return optimizer.flat.copy()


def check_data_parallel():
    """Several ranks take the steps of one process; in shards, to the bit."""
    mt.manual_seed(0)
    alone = weights_after_steps(Alone(), shards=1)
    for size in (2, 3, 13):
        for several in Threads(size).run(weights_after_steps):
            np.testing.assert_allclose(several, alone, atol=1e-4)
    shards = weights_after_steps(Alone(), shards=8)
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


CHECKS = (check_data_parallel, check_parts_of_batches)
