"""An evaluation on several ranks: batches are dealt out whole, and every rank gets all results."""
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import comm
from ...comm import Comm, part
from ...data import Dataset
from ...kernels.window import ceil_div
from ...models import Network


def predict(ranks: Comm, predict_alone: Callable[..., np.ndarray], model: Network,
            dataset: Dataset, transform: Any, views: str = "single", batch_size: int = 250,
            progress: bool = False, check: Callable[[], None] | None = None) -> np.ndarray:
    """evaluate.predict by all ranks: probabilities (N, K), on each of them.

    Whole batches are dealt out, none is cut and no image is added, so each probability has the
    bits that it has in one process with as many threads. `check` is called by all ranks together,
    as often as the rank with most batches calls it.
    """
    if ranks.size == 1:
        return predict_alone(model, dataset, transform, views, batch_size, progress, check)
    n = len(dataset)
    batches = ceil_div(n, batch_size)
    own = part(batches, ranks.rank, ranks.size)
    rounds = max(comm.lengths(batches, ranks.size))

    def step_on() -> None:
        ranks.beat(f"the evaluation of {dataset.name}")
        if check is not None:
            check()

    probs = np.zeros((0, 0), np.float32)
    if own.start < own.stop:
        images = dataset.subset(slice(own.start * batch_size, min(own.stop * batch_size, n)))
        probs = predict_alone(model, images, transform, views, batch_size, progress, step_on)
    for _ in range(own.stop - own.start, rounds):
        step_on()
    # A rank without images does not know how many classes there are.
    classes = max(ranks.collect(probs.shape[1]))
    # Every batch at the place of a full one: (batches_r, batch, K).
    room = np.zeros((own.stop - own.start, batch_size, classes), np.float32)
    if len(probs):
        room.reshape(-1, classes)[:len(probs)] = probs  # -> (batches_r * batch, K)
    everything = ranks.gather(room, total=batches)
    return everything.reshape(-1, classes)[:n]  # (batches, batch, K) -> (N, K)
