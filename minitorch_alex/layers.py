"""Layers that the paper's net does not have, under the names of nn: `nn.BatchNorm2d`."""
import numpy as np

from . import backend
from . import functional as F
from .comm import Comm
from .errors import ShapeError
from .init import Init
from .kernels.window import Pair, Window, pair
from .module import Buffer, Module, Parameter, Weighted
from .tensor import Tensor


class LocallyConnected2d(Weighted):
    """See functional.locally_connected2d. weight (OH, OW, O, C, KH, KW), so that the layer takes
    inputs of one size; bias (O, OH, OW)."""

    def __init__(self, in_channels: int, out_channels: int, in_size: int | Pair,
                 kernel_size: int | Pair, stride: int | Pair = 1, padding: int | Pair = 0,
                 bias: bool = True, weight_init: Init | None = None,
                 bias_init: Init | None = None) -> None:
        win = Window.of(kernel_size, stride, padding)
        OH, OW = win.out(*pair(in_size, "in_size", 1))
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.in_size = in_size
        self.kernel_size = win.kernel
        self.stride = stride
        self.padding = padding
        # Conv2d has one kernel for all places, this layer has one for each.
        weight_shape = (OH, OW, out_channels, in_channels, *win.kernel)
        bias_shape = (out_channels, OH, OW) if bias else None
        self._create(weight_shape, bias_shape, weight_init, bias_init)

    def forward(self, x: Tensor) -> Tensor:
        return F.locally_connected2d(x, self.weight, self.bias, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """See functional.adaptive_avg_pool2d."""

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)


class BatchNorm2d(Module):
    """See functional.batch_norm. weight, bias, running_mean, running_var (C,).

    In training it normalises with the batch's statistics, which the running ones follow; after
    eval() with the running ones. With track_running_stats=False always with the batch's. Unlike
    PyTorch's it does not count batches (num_batches_tracked), so momentum is a number.

    `ranks`, set where several share a batch, are those over whose images the statistics go.
    """

    ranks: Comm | None = None

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Buffer | None
    running_var: Buffer | None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1,
                 affine: bool = True, track_running_stats: bool = True) -> None:
        if num_features < 1:
            raise ShapeError(f"BatchNorm2d: got {num_features} features, expected at least 1")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        ones = np.ones(num_features, np.float32)
        self.weight = Parameter(backend.asarray(ones.copy())) if affine else None
        self.bias = Parameter(backend.asarray(0 * ones)) if affine else None
        self.running_mean = Buffer(backend.asarray(0 * ones)) if track_running_stats else None
        self.running_var = Buffer(backend.asarray(ones.copy())) if track_running_stats else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ShapeError(f"BatchNorm2d: got input {x.shape}, expected (N, C, H, W)")
        training = self.training or not self.track_running_stats
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                            training, self.momentum, self.eps, self.ranks)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)
