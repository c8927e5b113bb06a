"""Layers: functions that own parameters. Names, arguments and state_dict keys are PyTorch's.

What all layers share, Module and Parameter, is in module.py; nets made of layers are in
containers.py; layers that the paper's net does not have in layers.py.
"""
from typing import Any

from . import functional as F
from . import utils
from .containers import ModuleList, Sequential
from .errors import ShapeError
from .functional.dropout import check_dropout
from .init import Init
from .kernels.window import Pair, pair
from .layers import AdaptiveAvgPool2d, BatchNorm2d, LeakyReLU, LocallyConnected2d, Sigmoid
from .module import Buffer, Module, Parameter, Weighted, evaluating, in_mode
from .tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm2d", "Buffer", "Conv2d", "CrossEntropyLoss",
           "Dropout", "Flatten", "LeakyReLU", "Linear", "LocalResponseNorm", "LocallyConnected2d",
           "MaxPool2d", "Module", "ModuleList", "Parameter", "ReLU", "Sequential", "Sigmoid",
           "Tanh", "evaluating", "in_mode", "utils"]


class Conv2d(Weighted):
    """See functional.conv2d. weight (O, C/groups, KH, KW), bias (O,)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | Pair,
                 stride: int | Pair = 1, padding: int | Pair = 0, dilation: int | Pair = 1,
                 groups: int = 1, bias: bool = True, ceil_mode: bool = False,
                 weight_init: Init | None = None, bias_init: Init | None = None) -> None:
        kernel = pair(kernel_size, "kernel_size", 1)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(f"Conv2d: {groups} groups do not divide {in_channels} input and "
                             f"{out_channels} output channels")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.ceil_mode = ceil_mode
        # A kernel sees the channels of its own group only.
        weight_shape = (out_channels, in_channels // groups, *kernel)
        bias_shape = (out_channels,) if bias else None
        self._create(weight_shape, bias_shape, weight_init, bias_init)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation,
                        self.groups, self.ceil_mode)


class Linear(Weighted):
    """See functional.linear. weight (out_features, in_features), bias (out_features,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True,
                 weight_init: Init | None = None, bias_init: Init | None = None) -> None:
        self.in_features = in_features
        self.out_features = out_features
        bias_shape = (out_features,) if bias else None
        self._create((out_features, in_features), bias_shape, weight_init, bias_init)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class MaxPool2d(Module):
    """See functional.max_pool2d."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None,
                 padding: int | Pair = 0, dilation: int | Pair = 1,
                 ceil_mode: bool = False) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation,
                            self.ceil_mode)


class AvgPool2d(Module):
    """See functional.avg_pool2d."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None,
                 padding: int | Pair = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad)


class LocalResponseNorm(Module):
    """See functional.local_response_norm; torch's defaults (k = 1, alpha divided by the window
    size)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0,
                 groups: int = 1, within_map: bool = False) -> None:
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.groups = groups
        self.within_map = within_map

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.groups,
                                     self.within_map)


class Dropout(Module):
    """See functional.dropout: rule "inverted" (torch) or "2012" (the paper's)."""

    def __init__(self, p: float = 0.5, rule: str = "inverted") -> None:
        check_dropout(p, rule)  # now, not at the first batch
        self.p = p
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, self.rule)


class Flatten(Module):
    """(N,C,H,W) -> (N, C*H*W): the axes start_dim to end_dim made into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)


class CrossEntropyLoss(Module):
    """See functional.cross_entropy: called with logits (N,K) and integer labels (N,). A word in
    place of the weight is the reduction."""

    def __init__(self, weight: Any = None, reduction: str = "mean", *, ignore_index: int = -100,
                 label_smoothing: float = 0.0) -> None:
        self.weight = None if isinstance(weight, str) else weight
        self.reduction = weight if isinstance(weight, str) else reduction
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Any) -> Tensor:
        return F.cross_entropy(logits, labels, self.weight, self.reduction,
                               ignore_index=self.ignore_index,
                               label_smoothing=self.label_smoothing)
