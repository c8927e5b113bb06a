"""Arrays that cross from rank to rank inside of a network, and their gradients that come back.

Each operation is linear, so its backward pass is its adjoint: for all inputs x and gradients g,
summed over the ranks, <forward(x), g> = <x, backward(g)>.

                    forward                                        backward
    gather          every rank's part, joined, on all ranks        the sum of all ranks' gradients,
                                                                   of which each gets its own part
    scatter_sum     the sum of all ranks, cut into parts           every rank's part, joined
    sum             the sum of all ranks, on all                   the sum of all ranks' gradients
    broadcast       one rank's array, on all                       the sum of all, on that rank

The sum in the backward pass of `gather` is what is easily forgotten: each rank computes its own
function of the joined array, and the part that a rank gave has an influence on all of them. If all
ranks compute the same loss of it, each starts its backward pass with 1 / P.

All ranks call the same operations in the same order, forward and backward.
"""
from typing import Any

from .. import backend
from ..autograd import Function
from ..comm import Comm
from ..tensor import Tensor
from .layout import contiguous, to_nchw, to_nhwc

NHWC_AXES = (0, 3, 1, 2)  # where the axes of (N, C, H, W) are in memory (layout.py)


class Gather(Function):
    """y = every rank's x, side by side along an axis: (..., n_r, ...) -> (..., total, ...)."""

    def __init__(self, comm: Comm, axis: int, total: int) -> None:
        self.comm = comm
        self.axis = axis
        self.total = total

    def forward(self, x):
        # Images are joined as they lie in memory, and stay so.
        axis = NHWC_AXES[self.axis] if x.ndim == 4 else self.axis
        return to_nchw(self.comm.gather(to_nhwc(x), axis, self.total))

    def backward(self, gy):
        axis = NHWC_AXES[self.axis] if gy.ndim == 4 else self.axis
        return to_nchw(self.comm.scatter_sum(to_nhwc(gy), axis))


class Scatter(Function):
    """y = this rank's part of the sum of all ranks' x along an axis: (..., total, ...) ->
    (..., n_r, ...)."""

    def __init__(self, comm: Comm, axis: int) -> None:
        self.comm = comm
        self.axis = axis

    def forward(self, x):
        self.total = x.shape[self.axis]
        return self.comm.scatter_sum(contiguous(x), self.axis)

    def backward(self, gy):
        return self.comm.gather(contiguous(gy), self.axis, self.total)


class Sum(Function):
    """y = the sum of all ranks' x."""

    def __init__(self, comm: Comm) -> None:
        self.comm = comm

    def forward(self, x):
        return self.comm.sum(backend.xp_of(x).array(x, order="C"))  # a copy: comm.sum overwrites

    def backward(self, gy):
        return self.forward(gy)


class Broadcast(Function):
    """y = the x of rank `root`; the x of the others are not looked at."""

    def __init__(self, comm: Comm, root: int) -> None:
        self.comm = comm
        self.root = root

    def forward(self, x):
        # It comes in host memory.
        y = backend.asarray(self.comm.broadcast(contiguous(x), self.root))
        return backend.xp_of(y).array(y)

    def backward(self, gy):
        total = self.comm.sum(backend.xp_of(gy).array(gy, order="C"))
        return total if self.comm.rank == self.root else total * 0


def gather(x: Tensor, comm: Comm, axis: int = 0, total: int | None = None) -> Tensor:
    """Every rank's x, joined along `axis`, on all ranks; of `total` rows by the rule of comm.part,
    or of equal parts. Raises UsageError when x is not this rank's part."""
    axis %= x.ndim
    return Gather(comm, axis, x.shape[axis] * comm.size if total is None else total)(x)


def scatter_sum(x: Tensor, comm: Comm, axis: int = 0) -> Tensor:
    """This rank's part, along `axis`, of the sum of all ranks' x."""
    return Scatter(comm, axis % x.ndim)(x)


def sum(x: Tensor, comm: Comm) -> Tensor:
    """The sum of all ranks' x, which have one shape."""
    return Sum(comm)(x)


def broadcast(x: Tensor | Any, comm: Comm, root: int = 0) -> Tensor:
    """The x of rank `root`. Those of the other ranks have the same shape and dtype, and take part
    in the backward pass only if they require a gradient, as all do or none."""
    return Broadcast(comm, root)(x)
