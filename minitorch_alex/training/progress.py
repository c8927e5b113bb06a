"""How far a training is: counts, sums over images, and the time it took."""
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor


@dataclass
class Meter:
    """Loss and errors, summed over images.

    The sums stay on the device until `read`: a number that the host looks at is a number that it
    waits for.
    """

    loss: Any = 0.0       # summed over images; a float, or a device scalar
    wrong: Any = 0.0      # images whose most probable class is not the true one
    images: float = 0.0

    def add(self, loss: Any, wrong: Any, images: int) -> None:
        """Add what `measure` gives for a batch."""
        self.loss = self.loss + loss
        self.wrong = self.wrong + wrong
        self.images = self.images + images

    def read(self) -> None:
        """Bring the sums to the host."""
        self.loss = float(backend.to_numpy(self.loss))
        self.wrong = float(backend.to_numpy(self.wrong))

    @property
    def mean_loss(self) -> float:
        """Loss per image."""
        return self.loss / self.images

    @property
    def error(self) -> float:
        """Top-1 error in %."""
        return 100 * self.wrong / self.images


def measure(loss: Tensor, logits: Tensor, labels: Any) -> tuple[Any, Any, int]:
    """(loss summed over the batch, number of wrong images, number of images); the first two are
    float64 scalars on the device. `loss` is the batch's mean, `logits` (N, K), `labels` (N,)."""
    wrong = (logits.data.argmax(axis=1) != backend.asarray(labels)).sum()  # (N, K) -> (N,) -> ()
    return loss.data.astype(np.float64) * len(labels), wrong.astype(np.float64), len(labels)


@dataclass
class Interval:
    """What happened since the last line of the log."""

    since: float   # the stopwatch's seconds at that line
    waited: float  # seconds that the loop had waited for data by then
    meter: Meter = field(default_factory=Meter)


class Stopwatch:
    """The seconds of a training, those of earlier sessions included. It stands still inside
    `pause`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._begin = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._begin

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """The block does not count."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._begin += time.perf_counter() - begin


class Forecast:
    """How long a training will still take, by the pace of this session, with its validations."""

    def __init__(self, step: int, total: int) -> None:
        self.first = step   # steps that earlier sessions have done
        self.total = total  # steps of the whole training
        self._begin = time.perf_counter()

    def left(self, step: int) -> float:
        """Seconds from that step to the last; 0 before this session's first step has ended."""
        done = step - self.first
        if done <= 0:
            return 0.0
        return (time.perf_counter() - self._begin) / done * max(self.total - step, 0)


@dataclass
class Progress:
    """Where a training is: exactly what a checkpoint needs besides the arrays, since every random
    number follows from the seed and these counts."""

    epoch: int = 0        # epochs that are finished
    batch: int = 0        # batches of the current epoch that are finished
    step: int = 0         # batches that are finished altogether
    seconds: float = 0.0  # of training, without the evaluations between epochs
    totals: Meter = field(default_factory=Meter)  # over the current epoch

    def start_next_epoch(self) -> None:
        """Count an epoch and begin new totals."""
        self.epoch += 1
        self.batch = 0
        self.totals = Meter()

    def to_meta(self, totals: Meter | None = None) -> dict[str, Any]:
        """As a checkpoint's meta keeps it; `totals` are those of all ranks, where there are
        several."""
        totals = totals or self.totals
        totals.read()
        return {"epoch": self.epoch, "batch": self.batch, "step": self.step,
                "seconds": self.seconds, "sums": [totals.loss, totals.wrong, totals.images]}

    @classmethod
    def from_meta(cls, meta: dict[str, Any], rank: int = 0) -> "Progress":
        """From a checkpoint's meta. The sums so far go to rank 0: all are added up in the end."""
        totals = Meter(*meta["sums"]) if rank == 0 else Meter()
        return cls(meta["epoch"], meta["batch"], meta["step"], meta["seconds"], totals)
