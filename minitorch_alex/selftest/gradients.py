"""Whether the gradient of every operation is right: it is compared with finite differences."""
from collections.abc import Callable

import numpy as np

from .. import backend, streams
from .. import functional as F
from ..gradcheck import gradcheck
from ..tensor import Tensor


class Points:
    """Inputs in float64, kept away from the places where an operation has no derivative."""

    def __init__(self) -> None:
        self.rng = streams.rng(0, "selftest gradients")

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)

    def away_from_zero(self, *shape: int) -> np.ndarray:
        """For ReLU and divisors: at least 1 in absolute value."""
        x = self.normal(*shape)
        return x + np.sign(x)

    def spaced(self, *shape: int) -> np.ndarray:
        """For max pools: multiples of 0.1, each once, so that a small step changes no winner."""
        return self.rng.permutation(np.prod(shape)).reshape(shape) / 10  # (n,) -> shape


Operation = tuple[Callable[..., Tensor], list[np.ndarray]]  # a function and its inputs


def layer_operations(at: Points) -> dict[str, Operation]:
    """The operations that layers are made of."""
    n = at.normal
    labels = np.arange(5) % 3

    def dropout(x: Tensor) -> Tensor:
        streams.set_step(7)  # the same mask each time
        return F.dropout(x, 0.4)

    # As many rows as columns in few of them, so that axes that are exchanged show.
    return {
        "conv2d": (lambda x, w, b: F.conv2d(x, w, b, 2, 1, ceil_mode=True),
                   [n(2, 3, 6, 5), n(4, 3, 3, 3), n(4)]),
        "conv2d, 2 groups, dilated": (lambda x, w: F.conv2d(x, w, None, 1, 2, 2, 2),
                                      [n(2, 4, 6, 5), n(2, 2, 3, 2)]),
        "locally_connected2d": (lambda x, w, b: F.locally_connected2d(x, w, b, 2),
                                [n(2, 2, 5, 5), n(2, 2, 3, 2, 3, 3), n(3, 2, 2)]),
        "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [at.spaced(2, 3, 6, 7)]),
        "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), [n(2, 3, 6, 7)]),
        "local_response_norm": (lambda x: F.local_response_norm(x, 5, 1.0, 0.75, 2.0),
                                [n(2, 7, 3, 3)]),
        "local_response_norm within maps": (
            lambda x: F.local_response_norm(x, 3, 1.0, 0.75, 1.0, within_map=True),
            [n(2, 2, 5, 4)]),
        "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
                       [n(3, 2, 3, 2), n(2), n(2)]),  # x, weight, bias
        # row 0 twice: its gradients add up
        "indexing": (lambda x: x[[0, 2, 0]], [n(3, 4)]),
        "relu": (F.relu, [at.away_from_zero(4, 9)]),
        "tanh": (F.tanh, [n(4, 9)]),
        "dropout": (dropout, [n(4, 9)]),
        "linear": (F.linear, [n(4, 6), n(3, 6), n(3)]),
        "softmax": (F.softmax, [n(4, 6)]),
        "log_softmax": (F.log_softmax, [n(4, 6)]),
        "cross_entropy": (lambda x: F.cross_entropy(x, labels), [n(5, 3)]),
    }


def basic_operations(at: Points) -> dict[str, Operation]:
    """Arithmetic, reduction, reshaping."""
    n = at.normal
    return {
        "add": (F.add, [n(4, 3), n(3)]),
        "sub": (F.sub, [n(4, 3), n(4, 1)]),
        "mul": (F.mul, [n(4, 3), n(3)]),
        "div": (F.div, [n(4, 3), at.away_from_zero(3)]),
        "neg": (F.neg, [n(3)]),
        "power": (lambda x: F.power(x, 3), [n(5)]),
        "exp": (F.exp, [n(5)]),
        # exp first, so that log gets positive numbers
        "log": (lambda x: F.log(F.exp(x)), [n(5)]),
        "matmul": (F.matmul, [n(3, 4), n(4, 2)]),
        "sum": (lambda x: F.sum(x, 1), [n(3, 4)]),
        "mean": (F.mean, [n(3, 4)]),
        "reshape": (lambda x: F.reshape(x, 6, 2), [n(3, 4)]),  # (3, 4) -> (6, 2)
        "flatten": (F.flatten, [n(2, 3, 4)]),
        "permute": (lambda x: F.permute(x, 2, 0, 1), [n(2, 3, 4)]),
        "transpose": (F.transpose, [n(3, 4)]),
    }


def check_gradients() -> str:
    """Every operation against finite differences."""
    points = Points()
    cases = layer_operations(points) | basic_operations(points)
    for name, (operation, arrays) in cases.items():
        try:
            gradcheck(operation, [Tensor(backend.asarray(a), requires_grad=True) for a in arrays])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    return f"{len(cases)} operations agree with finite differences to 1e-6"
