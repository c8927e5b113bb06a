"""Adam (Kingma and Ba 2015): each weight has a rate of its own, by how large its gradients have
been."""
from collections.abc import Iterable
from typing import Any

from . import backend
from .errors import UsageError
from .module import Parameter
from .optimizer import Optimizer


class Adam(Optimizer):
    """Adam over parameters, or over groups [{"params": ..., "lr": ...}, ...].

        g' = g + wd w;   m := b1 m + (1 - b1) g';   v := b2 v + (1 - b2) g'^2
        w := w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)      at step t = 1, 2, ...

    PyTorch's meaning and defaults, with (b1, b2) = betas. The steps are counted for all parameters
    together: PyTorch counts them for each, which differs only for one that has a gradient now and
    then. A parameter without a gradient is skipped.

    Raises UsageError for rates that make no sense, and for parameters that are missing, named
    twice or of several dtypes.
    """

    kept = ("mean", "square")
    mean: Any
    square: Any

    def __init__(self, params: Iterable[Parameter] | Iterable[dict], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0) -> None:
        self.steps = 0
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps,
                                  "weight_decay": weight_decay})

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise UsageError(f"Adam: got betas = {group['betas']}, expected two numbers of at "
                             "least 0 and below 1")

    def step(self) -> None:
        """Update every parameter that has a gradient; neighbours in memory share a kernel call."""
        self.steps += 1
        kernels = backend.kernels_for(self.flat)
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for part in self._parts(group["params"]):
                kernels.adam(self.flat[part], self.flat_grad[part], self.mean[part],
                             self.square[part], group["lr"], beta1, beta2, group["eps"],
                             group["weight_decay"], self.steps)
            for p in group["params"]:
                p.version += p.grad is not None  # a graph that holds the old weight refuses

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.steps = state["steps"]
