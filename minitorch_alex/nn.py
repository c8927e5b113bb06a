"""Layers: functions that own parameters. Names, arguments and state_dict keys are PyTorch's.

What all layers share, Module and Parameter, is in module.py; nets made of layers are in
containers.py.
"""
from typing import Any

from . import functional as F
from .containers import ModuleList, Sequential
from .errors import ShapeError
from .functional.dropout import check_dropout
from .init import Init, fan_in, torch_uniform
from .kernels.window import Pair, Window, pair
from .module import Module, Parameter, evaluating, in_mode
from .tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "Conv2d", "CrossEntropyLoss", "Dropout", "Flatten",
           "Linear", "LocalResponseNorm", "LocallyConnected2d", "MaxPool2d", "Module",
           "ModuleList", "Parameter", "ReLU", "Sequential", "Tanh", "evaluating", "in_mode"]


class _Weighted(Module):
    """Layers with a weight and a bias share their creation. Without initialisers they start as
    torch's do."""

    weight: Parameter
    bias: Parameter | None

    def _create(self, weight_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None,
                weight_init: Init | None, bias_init: Init | None) -> None:
        if min(weight_shape) < 1:
            raise ShapeError(f"{type(self).__name__}: got a weight of shape {weight_shape}, "
                             "expected at least 1 along each axis")
        fan = fan_in(weight_shape)  # the bias starts in the same range as the weight
        self.weight = Parameter.drawn(weight_shape, weight_init or torch_uniform(fan))
        self.bias = None
        if bias_shape is not None:
            self.bias = Parameter.drawn(bias_shape, bias_init or torch_uniform(fan))


class Conv2d(_Weighted):
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


class LocallyConnected2d(_Weighted):
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


class Linear(_Weighted):
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


class AdaptiveAvgPool2d(Module):
    """See functional.adaptive_avg_pool2d."""

    def __init__(self, output_size: int) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)


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
    """(N,C,H,W) -> (N, C*H*W)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x)


class CrossEntropyLoss(Module):
    """See functional.cross_entropy: called with logits (N,K) and integer labels (N,)."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, logits: Tensor, labels: Any) -> Tensor:
        return F.cross_entropy(logits, labels, self.reduction)
