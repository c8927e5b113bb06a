"""Batch normalisation (Ioffe and Szegedy 2015): what came after local response normalisation."""
import math
from typing import Any

from .. import backend
from ..autograd import Function
from ..comm import Comm
from ..errors import ShapeError
from ..tensor import Tensor
from ..versions import watch
from . import norm_of_ranks
from .layout import contiguous, to_nchw, to_nhwc


class BatchNorm(Function):
    """y = (x - mean) / sqrt(var + eps) w + b, channel by channel, over a batch and all places.

    In training mean and var are those of the batch, and the gradient passes through them too; in
    evaluation they are constants. Saves x, the mean, 1 / sqrt(var + eps) and the scale. Of a batch
    its `moments` (mean, biased var) stay for the running statistics, and their number of values.
    With `ranks` the batch is that of all of them (norm_of_ranks.py).
    """

    moments: tuple[Any, Any]

    def __init__(self, mean: Any, var: Any, training: bool, eps: float,
                 ranks: Comm | None = None) -> None:
        self.moments = mean, var
        self.training = training
        self.eps = eps
        self.ranks = ranks

    def forward(self, x, w, b):
        x = to_nhwc(x)
        kernels = backend.kernels_for(x, w, b)
        self.count = x.size // max(1, x.shape[-1])
        if self.training and self.ranks is not None:
            mean, var, self.count = norm_of_ranks.moments(x, kernels, self.ranks)
            self.moments = mean, var
            _check_count(self.count, "all ranks together")
        elif self.training:
            self.moments = kernels.batch_moments(x)
        mean, var = self.moments
        inv_std = 1 / backend.xp_of(var).sqrt(var + self.eps)
        scale = inv_std if w is None else contiguous(w * inv_std)
        shift = backend.xp_of(x).zeros_like(mean) if b is None else contiguous(b)
        self.save(x, mean, inv_std, scale)
        return to_nchw(kernels.batch_norm(x, mean, scale, shift))

    def backward(self, gy):
        x, mean, inv_std, scale = self.saved
        gy = to_nhwc(gy)
        kernels = backend.kernels_for(gy)
        if self.training and self.ranks is not None:
            gx, gw, gb = norm_of_ranks.backward(gy, self.saved, self.count, kernels, self.ranks)
        else:
            gx, gw, gb = kernels.batch_norm_backward(gy, x, mean, inv_std, scale, self.training)
        return to_nchw(gx), gw, gb


def batch_norm(x: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
               weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5, ranks: Comm | None = None) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias for each channel of x (N,C), (N,C,L),
    (N,C,H,W) or (N,C,D,H,W).

    In training mean and var are the batch's, var divided by the number M of its values, and the
    running ones move towards them, in place, with var divided by M - 1:

        running := (1 - momentum) running + momentum batch

    In evaluation (or where there is none in training) the running ones take their place. With
    `ranks`, x is this rank's part of a batch, and in training the batch is that of all ranks; all
    of them call it, and its backward pass. Raises ShapeError when shapes do not fit, in training
    for a single value per channel, and in evaluation without running statistics.
    """
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: got input {x.shape}, expected (N, C) or (N, C, H, W)")
    C = x.shape[1]
    _check_vectors(C, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if training and ranks is None:
        _check_count(x.size // max(1, C), f"input {x.shape}")
    running = None, None
    if running_mean is not None and running_var is not None:
        running = running_mean.data, running_var.data
    elif not training:
        raise ShapeError("batch_norm: got no running_mean or running_var, which evaluation needs")
    function = BatchNorm(*running, training, eps, ranks)
    images = x
    if x.ndim not in (2, 4):
        # (N, C, D, H, W) -> (N, C, D*H*W, 1): each place counts for itself
        images = x.reshape(x.shape[0], C, math.prod(x.shape[2:]), 1)
    y = function(images, weight, bias)
    if y.creator is function and not training:  # backward needs the running ones as they are now
        buffers = running_mean, running_var
        function.watch += watch(tuple(t.data for t in buffers if t is not None), buffers)
    if training and running_mean is not None and running_var is not None:
        mean, var = function.moments
        M = function.count
        _move(running_mean, mean, momentum)
        _move(running_var, var * (M / (M - 1)), momentum)
    return y if images is x else y.reshape(x.shape)  # (N, C, D*H*W, 1) -> (N, C, D, H, W)


def _check_count(count: int, where: str) -> None:
    """Raises ShapeError for a batch that has no variance."""
    if count < 2:
        raise ShapeError(f"batch_norm: got {count} values per channel in training ({where}), "
                         "expected at least 2; use a larger batch, or evaluate")


def _check_vectors(C: int, **vectors: Tensor | None) -> None:
    """Raises ShapeError unless each of them has one number per channel."""
    for name, value in vectors.items():
        if value is not None and value.shape != (C,):
            raise ShapeError(f"batch_norm: got {name} {value.shape}, expected ({C},)")


def _move(running: Tensor, batch: Any, momentum: float) -> None:
    """running := (1 - momentum) running + momentum batch"""
    running.data[...] = running.data * (1 - momentum) + batch * momentum
    running.version += 1
