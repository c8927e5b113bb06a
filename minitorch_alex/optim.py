"""Stochastic gradient descent with momentum, as the paper wrote it and as PyTorch writes it. What
all optimizers share is in optimizer.py; Adam and LARS, from later years, in adam.py and
lars.py."""
from collections.abc import Iterable
from typing import Any

from . import backend
from .adam import Adam
from .errors import UsageError
from .lars import LARS
from .module import Parameter
from .optimizer import Optimizer

__all__ = ["LARS", "SGD", "Adam", "Optimizer"]


class SGD(Optimizer):
    """Momentum SGD over parameters, or over groups [{"params": ..., "lr": ...}, ...].

        rule="2012"    v := m v - wd lr w - lr g      w := w + v        (paper section 5; Caffe)
        rule="torch"   v := m v + (g + wd w)          w := w - lr v     (PyTorch)

    With a constant rate both take the same steps. They part when lr changes: in the paper's form
    lr is inside v, so the old velocity fades over about 1 / (1 - m) steps; in torch's the whole
    velocity is rescaled at once. A parameter without a gradient is skipped, as in torch.

    With nesterov=True, under the "torch" rule, the step looks ahead to where the velocity leads:
    w := w - lr (g + wd w + m v).

    Raises UsageError for an unknown rule, for rates that make no sense, and for parameters that
    are missing, named twice or of several dtypes.
    """

    kept = ("velocity",)
    velocity: Any

    def __init__(self, params: Iterable[Parameter] | Iterable[dict], lr: float,
                 momentum: float = 0.0, weight_decay: float = 0.0, rule: str = "2012",
                 nesterov: bool = False) -> None:
        if rule not in ("2012", "torch"):
            raise UsageError(f"SGD: got rule {rule!r}, expected '2012' or 'torch'")
        if nesterov and rule != "torch":
            raise UsageError("SGD: nesterov needs rule='torch', got rule='2012'")
        self.rule = rule
        self.nesterov = nesterov
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if self.nesterov and not group["momentum"]:
            raise UsageError("SGD: nesterov needs a momentum above 0, got 0")

    def step(self) -> None:
        """Update every parameter that has a gradient; neighbours in memory share a kernel call."""
        kernels = backend.kernels_for(self.flat)
        rule = "nesterov" if self.nesterov else self.rule
        for group in self.param_groups:
            for part in self._parts(group["params"]):
                kernels.sgd(self.flat[part], self.flat_grad[part], self.velocity[part],
                            group["lr"], group["momentum"], group["weight_decay"], rule)
            for p in group["params"]:
                p.version += p.grad is not None  # a graph that holds the old weight refuses
