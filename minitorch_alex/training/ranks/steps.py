"""The steps of a training on several ranks or in shards, and the sums over all of them."""
import math
import statistics
from typing import Any

import numpy as np

from ... import backend, kernels, streams
from ...comm import Comm
from ...errors import RunError
from ...models import Network
from ...optimizer import Optimizer
from ...parallel import DataParallel
from ...tensor import Tensor
from ..cut import CutParallel
from ..objective import Loss
from ..progress import Meter, Progress
from .agreement import digest


def take_step(parallel: DataParallel | CutParallel, model: Network, loss_of: Loss, x: Any,
              labels: Any, progress: Progress, n: int) -> tuple[Any, Any, int]:
    """One step on this rank's images x (n_r, 3, H, W) with labels (n_r,), of a batch of n images.
    All ranks take it, also one without images.

    Returns (sum of the losses, number of wrong answers, n_r), as progress.measure does: the first
    two stay on the device.
    """
    parallel.comm.beat(f"step {progress.step:,}")
    if isinstance(parallel, CutParallel):
        sums = parallel.take_step(progress.step, loss_of, x, labels, n)
        progress.batch += 1
        progress.step += 1
        return sums
    loss_sum: Any = 0.0  # stays on the device, as in train.take_step
    wrong: Any = 0.0
    for rows, first in parallel.pieces(n):
        count = rows.stop - rows.start
        if not count and not has_exchanges(model):
            parallel.add(None, 0.0)  # takes part in the sum all the same
            continue
        streams.set_step(progress.step, first)  # masks are numbered by the image in the batch
        logits = model(Tensor(backend.asarray(x[rows])))  # (n_s, 3, H, W) -> (n_s, K)
        if not count:  # it only takes part where layers exchange something, forward and backward
            parallel.add(logits.sum(), 0.0)
            continue
        loss = loss_of(logits, labels[rows])
        parallel.add(loss, count / n)
        missed = (logits.data.argmax(axis=1) != backend.asarray(labels[rows])).sum()
        loss_sum = loss_sum + loss.data.astype(np.float64) * count
        wrong = wrong + missed.astype(np.float64)
        kernels.trim_memory()
    parallel.update()
    progress.batch += 1
    progress.step += 1
    return loss_sum, wrong, len(labels)


def has_exchanges(model: Network) -> bool:
    """Whether a layer exchanges something in its forward and backward pass (BatchNorm2d.ranks), so
    that a rank without images has to take part."""
    return any(getattr(layer, "ranks", None) is not None for layer in model.modules())


def total(meter: Meter, ranks: Comm) -> Meter:
    """The sums over the images of all ranks. They are read, so the device has to finish its work."""
    meter.read()
    if ranks.size == 1:
        return meter
    # math.fsum rounds once, at the end: the order of the ranks does not matter.
    rows = ranks.collect([meter.loss, meter.wrong, meter.images])  # (P, 3)
    return Meter(*(math.fsum(column) for column in zip(*rows, strict=True)))


def images(meter: Meter, ranks: Comm) -> float:
    """The number of images that all ranks have seen; nothing is read from a device."""
    return math.fsum(ranks.collect(meter.images))


def interval_facts(parallel: DataParallel | CutParallel | None, seconds: float) -> dict[str, Any]:
    """What a row of the log has in addition on several ranks, {} for one: their number, the share
    of the time that rank 0 spent in sums, and the slowest rank with the seconds that it computed
    longer than the median rank. `seconds` is the length of the interval."""
    if parallel is None or parallel.comm.size == 1:
        return {}
    ranks = parallel.comm
    in_sums = parallel.seconds
    parallel.seconds = 0.0
    rows = ranks.collect([ranks.host, in_sums, seconds - in_sums])
    busy = [row[2] for row in rows]  # without what it waited for others in sums
    slowest = int(np.argmax(busy))
    return {"ranks": ranks.size, "exchange": rows[0][1] / seconds,
            "slowest": {"rank": slowest, "host": rows[slowest][0],
                        "behind": round(busy[slowest] - statistics.median(busy), 4)}}


def check_together(ranks: Comm, parallel: DataParallel | CutParallel | None, model: Network,
                   optimizer: Optimizer, epoch: int) -> None:
    """Raises RunError when the weights, or the running statistics, of two ranks differ in a bit: a
    machine computes wrongly, or something depends on the rank that must not. All ranks have the
    whole network afterwards."""
    if isinstance(parallel, CutParallel):
        parallel.gather_weights()
    if ranks.size == 1:
        return
    arrays = [optimizer.flat, *(buffer.data for _, buffer in model.named_buffers())]
    sums = ranks.collect([digest(backend.to_numpy(array).tobytes()) for array in arrays])
    others = [rank for rank, theirs in enumerate(sums) if theirs != sums[0]]
    if others:
        raise RunError(f"the ranks have parted: after epoch {epoch} the weights of rank "
                       f"{others[0]} are not those of rank 0; resume from the last checkpoint")
