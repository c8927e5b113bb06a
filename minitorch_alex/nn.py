"""Layers: functions that own parameters. Names, arguments and state_dict keys are PyTorch's."""
import contextlib
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from . import backend, streams
from . import functional as F
from .errors import RunError, ShapeError
from .functional.dropout import check_dropout
from .init import Init, fan_in, torch_uniform
from .kernels.window import Pair, Window, pair
from .tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that training changes; Module.parameters finds it among the attributes."""

    __slots__ = ()  # nothing beyond what a Tensor has

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)

    @classmethod
    def drawn(cls, shape: tuple[int, ...], init: Init) -> "Parameter":
        """float32 values from `init`, drawn by the next generator that follows from
        streams.manual_seed."""
        values = init(streams.next_weight_rng(), shape)  # on the host, in float64
        return cls(backend.asarray(np.ascontiguousarray(values, np.float32)))


class Module:
    """A layer or a whole network.

    Parameters and sub-modules are its attributes, in the order of their definition. `forward`
    defines what the module computes, and calling the module calls it.
    """

    training = True  # of the class; train() and eval() give each module a value of its own

    def __call__(self, *inputs: Any) -> Any:
        return self.forward(*inputs)

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) of the direct sub-modules, in order of definition."""
        for name, value in vars(self).items():  # a dict: in the order in which they were set
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """(dotted name, module) of self and everything below, depth first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def children(self) -> Iterator["Module"]:
        """The direct sub-modules."""
        return (child for _, child in self.named_children())

    def modules(self) -> Iterator["Module"]:
        """Self and everything below."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), depth first in order of definition."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, in the same order."""
        return (parameter for _, parameter in self.named_parameters())

    def train(self, mode: bool = True) -> Self:
        """Training behaviour for self and everything below (dropout silences units)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation behaviour."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients: backward adds to what is there."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype: Any) -> Self:
        """Convert all parameters to float32 or float64, before an optimizer takes them."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
            # a place in an optimizer's buffer would have the old dtype
            parameter.grad_place = None
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """name -> a host copy of each parameter."""
        # np.array copies: training changes the parameters' memory.
        return {name: np.array(backend.to_numpy(p.data)) for name, p in self.named_parameters()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take parameters by name. Raises RunError, which names every missing, surplus or
        misshapen entry, and then changes nothing."""
        own = dict(self.named_parameters())
        faults = [f"missing {name}" for name in own if name not in state]
        faults += [f"surplus {name}" for name in state if name not in own]
        faults += [f"{name} is {tuple(state[name].shape)}, expected {p.shape}"
                   for name, p in own.items()
                   if name in state and tuple(state[name].shape) != p.shape]
        if faults:
            raise RunError(f"the weights do not fit this {type(self).__name__}: "
                           f"{'; '.join(faults)}")
        for name, parameter in own.items():
            # into the same memory: an optimizer may hold it as a part of its flat buffer
            parameter.data[...] = backend.asarray(state[name], parameter.dtype)

    def __repr__(self) -> str:
        lines = [f"  ({name}): {child!r}".replace("\n", "\n  ")
                 for name, child in self.named_children()]
        body = "\n" + "\n".join(lines) + "\n" if lines else self.describe()
        return f"{type(self).__name__}({body})"

    def describe(self) -> str:
        """The settings shown between the parentheses of repr."""
        settings = {name: value for name, value in vars(self).items()
                    if isinstance(value, int | float | str | tuple) and name != "training"}
        return ", ".join(f"{name}={value}" for name, value in settings.items())


@contextlib.contextmanager
def in_mode(model: Module, training: bool) -> Iterator[None]:
    """Inside, the model and everything below behave as in training, or as in evaluation;
    afterwards each module has the mode that it had before."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def evaluating(model: Module) -> contextlib.AbstractContextManager[None]:
    """Inside, the model behaves as in evaluation: `with nn.evaluating(model): y = model(x)`."""
    return in_mode(model, training=False)


class Sequential(Module):
    """Modules one after the other, numbered from 0 or named: Sequential(conv1=Conv2d(3, 8, 5))."""

    def __init__(self, *modules: Module, **named: Module) -> None:
        for i, module in enumerate(modules):
            setattr(self, str(i), module)
        for name, module in named.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        for name, module in self.named_children():
            try:
                x = module(x)
            except ShapeError as error:  # the operation knows the shapes, only we know the name
                raise ShapeError(f"layer {name}: {error}") from error
        return x

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]

    def __len__(self) -> int:
        return len(list(self.children()))


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
