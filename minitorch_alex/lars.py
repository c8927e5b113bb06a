"""LARS (You, Gitman and Ginsburg 2017): each layer has a rate of its own, in proportion to its
weights. For batches of thousands of images, where one large rate for all layers diverges."""
import math
from collections.abc import Iterable
from typing import Any

from . import backend
from .module import Parameter
from .optimizer import Optimizer

PIECE = 1 << 20  # elements that are squared at once: no second array as large as fc6


class LARS(Optimizer):
    """Momentum SGD with a local rate for each parameter; over parameters, or over groups
    [{"params": ..., "lr": ...}, ...].

        local = trust |w| / (|g| + wd |w|)      1 where |w| or |g| is 0
        v := m v - lr local (g + wd w)          w := w + v

    With it a step moves every layer by about lr trust of its length, however large its gradient
    is: in AlexNet |w| / |g| differs by orders of magnitude from layer to layer, and the smallest
    one limits a rate that all share. Weight and bias of a layer count as two parameters. With
    trust=0 a group has no local rate, which is SGD by its rule "2012". A parameter without a
    gradient is skipped.

    Both norms are read on the host at every step, so a GPU has to finish the backward pass first:
    little next to a batch for which this rule is meant.

    arXiv:1708.03888, algorithm 1; the same per weight and per bias, and the 1, in borisgin/nvcaffe
    8896d33, src/caffe/solvers/sgd_solver.cpp:307-345, where |g| includes the decay.

    Raises UsageError for rates that make no sense, and for parameters that are missing, named
    twice or of several dtypes.
    """

    kept = ("velocity",)
    velocity: Any

    def __init__(self, params: Iterable[Parameter] | Iterable[dict], lr: float,
                 momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 0.001) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay,
                                  "trust": trust})

    def step(self) -> None:
        """Update every parameter that has a gradient, each at its own rate."""
        kernels = backend.kernels_for(self.flat)
        for group in self.param_groups:
            for p in group["params"]:
                for part in self._parts([p]):  # one, or none without a gradient
                    rate = group["lr"] * self._local_rate(part, group)
                    kernels.sgd(self.flat[part], self.flat_grad[part], self.velocity[part], rate,
                                group["momentum"], group["weight_decay"], "2012")
                p.version += p.grad is not None  # a graph that holds the old weight refuses

    def _local_rate(self, part: slice, group: dict[str, Any]) -> float:
        """What multiplies the rate of the parameter that lies in this part of the flat arrays."""
        if not group["trust"]:
            return 1.0
        weight_norm = norm(self.flat[part])
        gradient_norm = norm(self.flat_grad[part])
        if weight_norm == 0 or gradient_norm == 0:
            return 1.0
        return group["trust"] * weight_norm / (gradient_norm + group["weight_decay"] * weight_norm)


def norm(a: Any) -> float:
    """sqrt(sum of a^2) of a flat array. Pieces are summed on their device, then on the host in
    float64: the error does not grow with the size of the layer."""
    pieces = [a[start:start + PIECE] for start in range(0, a.size, PIECE)]
    squares = [(piece * piece).sum() for piece in pieces]  # all are under way before one is read
    return math.sqrt(sum(float(backend.to_numpy(square)) for square in squares))
