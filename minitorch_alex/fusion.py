"""Two layers in one pass: a convolution or a linear layer, and the ReLU behind it.

A GPU waits for memory in all that is not a matrix product, so a pass over memory that is saved is
time that is saved:

    one by one    product writes y    read y, add the bias, write    read, max with 0, write
    in one pass   product writes y    read y, add the bias, max with 0, write

Sequential calls its layers through `steps`. The numbers are the same to the bit, and so are the
layers: whoever calls them one by one (`profile`, for instance) has them one by one. A CPU gains
nothing here: its kernels add the bias while a block of the product is in the cache.
"""
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import backend
from . import functional as F
from .functional.bias_relu import BiasReLU
from .module import Module
from .tensor import Tensor


def steps(layers: Iterable[tuple[str, Module]],
          x: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """(name, what to call) through the layers in order, for an input x. Two layers in one pass have
    the first one's name."""
    if not isinstance(x, Tensor) or not hasattr(backend.kernels_for(x.data), "bias_relu"):
        yield from layers
        return
    layers = list(layers)
    following = [*(layer for _, layer in layers[1:]), None]
    done = False  # together with the layer before
    for (name, layer), after in zip(layers, following, strict=True):
        if done:
            done = False
            continue
        done = _are_one_pass(layer, after)
        yield name, functools.partial(_in_one_pass, layer, after) if done else layer


@functools.cache
def _kinds() -> tuple[type, type, type]:
    """Conv2d, Linear and ReLU, imported when a net first runs: nn.py imports this file."""
    from .nn import Conv2d, Linear, ReLU
    return Conv2d, Linear, ReLU


def _are_one_pass(layer: Module, after: Module | None) -> bool:
    """Whether these are the package's own layers, as they are: a subclass, or a layer whose forward
    somebody has replaced, may do more."""
    *weighted, relu = _kinds()
    if type(layer) not in weighted or type(after) is not relu:
        return False
    return "forward" not in vars(layer) and "forward" not in vars(after)


def _in_one_pass(layer: Any, after: Any, x: Tensor) -> Tensor:
    """after(layer(x)). What has no bias, or does not fit, is left to the layers, which have a
    message for it."""
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
