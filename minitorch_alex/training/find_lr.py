"""A range test for the learning rate: a hundred steps, each at a higher rate than the one before.

While the rate is too low nothing happens, then the loss falls, then it explodes. A rate a good way
below the one where the loss was least is one to start with (Smith 2015, arXiv:1506.01186; a tenth
of it is the rule of fastai's lr_find).
"""
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..schedule import HasGroups

STEPS = 100
LOWEST = 0.01       # times the recipe's rate
FACTOR = 1.1        # from step to step: four orders of magnitude in all
MEMORY = 0.9        # of the smoothed loss
EXPLODED = 4.0      # times the least smoothed loss: the test ends


@dataclass
class RangeTest:
    """The rates that were tried, the loss of the batch at each, and the same smoothed."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smooth: list[float] = field(default_factory=list)
    _mean: float = 0.0

    def add(self, rate: float, loss: float) -> None:
        """Note one step. The mean of the losses so far counts older ones less and less; divided by
        1 - MEMORY^n it does not lean towards the 0 that it starts from."""
        self.rates.append(rate)
        self.losses.append(loss)
        self._mean = MEMORY * self._mean + (1 - MEMORY) * loss
        self.smooth.append(self._mean / (1 - MEMORY ** len(self.losses)))

    @property
    def is_over(self) -> bool:
        """Whether the loss has exploded."""
        last = self.smooth[-1]
        return not math.isfinite(last) or last > EXPLODED * min(self.smooth)

    @property
    def best(self) -> float:
        """The rate at which the smoothed loss was least."""
        finite = [(loss, rate) for loss, rate in zip(self.smooth, self.rates)
                  if math.isfinite(loss)]
        return min(finite)[1] if finite else self.rates[0]

    @property
    def suggestion(self) -> float:
        """A rate to start with: a tenth of the best one, to one significant digit."""
        return float(f"{self.best / 10:.0e}")


def scaled_rates(optimizer: HasGroups, steps: int = STEPS) -> Iterator[float]:
    """Set the rates of all groups to LOWEST, LOWEST * FACTOR, ... times what they are now, so that
    biases keep their own share of the weights' rate. Yields each factor."""
    before = [dict(group) for group in optimizer.param_groups]
    for step in range(steps):
        factor = LOWEST * FACTOR ** step
        for group, own in zip(optimizer.param_groups, before, strict=True):
            group["lr"] = factor * own["lr"]
            group["initial_lr"] = factor * own["initial_lr"]  # what a warm-up by step starts from
        yield factor


def run_test(optimizer: HasGroups, lr: float, batches: Iterable[tuple[Any, Any]],
             step: Callable[[Any, Any], float]) -> RangeTest:
    """Take a step at each rate until the loss explodes or the batches end. `step` updates the
    weights and gives the batch's mean loss, `lr` is the weights' rate now."""
    test = RangeTest()
    for (x, labels), factor in zip(batches, scaled_rates(optimizer)):
        test.add(factor * lr, step(x, labels))
        if test.is_over:
            break
    return test
