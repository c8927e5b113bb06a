"""Two layers in one pass: a convolution or a linear layer, and the ReLU behind it.

A processor waits for memory in all that is not a matrix product, so a pass over memory that is
saved is time that is saved:

    one by one    product writes y    read y, add the bias, write    read, max with 0, write
    in one pass   product writes y    read y, add the bias, max with 0, write

On a GPU bias and ReLU are one pass after the product of either layer. On a CPU a convolution does
both to each block of its product, which is still in the cache.

Sequential calls its layers through `steps`. The numbers are the same to the bit, and so are the
layers: whoever calls them one by one (`profile`, for instance) has them one by one.
"""
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import backend
from . import functional as F
from .errors import ShapeError
from .functional.bias_relu import BiasReLU
from .functional.conv_relu import Conv2dReLU, DoneReLU
from .kernels.window import Window
from .module import Module
from .tensor import Tensor


def steps(layers: Iterable[tuple[str, Module]],
          x: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """(name, what to call) through the layers in order, for an input x. Two layers in one pass
    have the first one's name."""
    in_one_pass = _in_one_pass(x)
    if not in_one_pass:
        yield from layers
        return
    layers = list(layers)
    following = [*(layer for _, layer in layers[1:]), None]
    done = False  # together with the layer before
    for (name, layer), after in zip(layers, following, strict=True):
        if done:
            done = False
            continue
        call = in_one_pass.get(type(layer))
        if call is not None and _are_one_pass(layer, after):
            done = True
            yield name, functools.partial(call, layer, after)
        else:
            yield name, layer


@functools.cache
def _kinds() -> tuple[type, type, type]:
    """Conv2d, Linear and ReLU, imported when a net first runs: nn.py imports this file."""
    from .nn import Conv2d, Linear, ReLU
    return Conv2d, Linear, ReLU


def _in_one_pass(x: Any) -> dict[type, Callable[[Any, Any, Tensor], Tensor]]:
    """For the kinds of layers that can take in the ReLU behind them, by the kernels for x, what
    calls both: (layer, ReLU, its input) -> its output."""
    if not isinstance(x, Tensor):
        return {}
    kernels = backend.kernels_for(x.data)
    conv, linear, _ = _kinds()
    if hasattr(kernels, "bias_relu"):
        return {conv: _bias_and_relu, linear: _bias_and_relu}
    return {conv: _in_blocks} if hasattr(kernels, "conv2d_relu") else {}


def _are_one_pass(layer: Module, after: Module | None) -> bool:
    """Whether these are the package's own layers, as they are: a subclass, or a layer whose
    forward somebody has replaced, may do more."""
    *_, relu = _kinds()
    if type(after) is not relu:
        return False
    return "forward" not in vars(layer) and "forward" not in vars(after)


def _bias_and_relu(layer: Any, after: Any, x: Tensor) -> Tensor:
    """after(layer(x)) with one pass behind the product. What has no bias, or does not fit, is left
    to the layers, which have a message for it."""
    is_conv = isinstance(layer, _kinds()[0])
    bias = layer.bias
    if bias is None or x.ndim != (4 if is_conv else 2):
        return after(layer(x))
    if bias.dtype != x.dtype or bias.shape != layer.weight.shape[:1]:
        return after(layer(x))
    if is_conv:
        product = F.conv2d(x, layer.weight, None, layer.stride, layer.padding, layer.dilation,
                           layer.groups, layer.ceil_mode)
    else:
        product = F.linear(x, layer.weight)
    return BiasReLU()(product, bias)


def _in_blocks(layer: Any, after: Any, x: Tensor) -> Tensor:
    """after(layer(x)) in the blocks of a convolution. What does not fit is left to the layers."""
    weight = layer.weight
    bias = layer.bias
    if x.ndim != 4 or weight.ndim != 4 or layer.padding == "same":
        return after(layer(x))
    O, group_channels, *kernel = weight.shape
    if O % layer.groups or x.shape[1] != group_channels * layer.groups or weight.dtype != x.dtype:
        return after(layer(x))
    if bias is not None and (bias.dtype != x.dtype or bias.shape != (O,)):
        return after(layer(x))
    padding = 0 if layer.padding == "valid" else layer.padding
    win = Window.of(tuple(kernel), layer.stride, padding, layer.dilation, layer.ceil_mode)
    try:
        win.out(*x.shape[2:])
    except ShapeError:
        return after(layer(x))
    return DoneReLU()(Conv2dReLU(win, layer.groups)(x, weight, bias))
