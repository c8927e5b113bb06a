"""Each kind of layer as operations of ONNX.

Layers for which ONNX has no operation are put together from several:

    windows that are rounded up      padding at the bottom right
    normalisation in groups          split, LRN of each part, concatenation
    normalisation within maps        a mean of squares, by AveragePool
    locally connected layers         one slice per tap of the window, and one Einsum
    adaptive average pools           two products with matrices
    dropout                          nothing; the paper's kind is a factor of 1 - p
"""
from typing import Any

import numpy as np

from ..errors import UsageError
from ..models.network import Scale
from ..nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocallyConnected2d,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Tanh,
)
from . import windows
from .graph import Graph
from .windows import Shape

ONE_OPERATION = {ReLU: "Relu", Tanh: "Tanh"}


def add_layer(graph: Graph, name: str, layer: Module, before: Shape, after: Shape) -> str:
    """Add the nodes of one layer with input (N, *before) and output (N, *after); returns the name
    of its output.

    Raises UsageError for a layer that has no form in ONNX.
    """
    if isinstance(layer, Conv2d):
        return windows.convolution(graph, name, layer, before, after)
    if isinstance(layer, Linear):
        # y = x w^T + b: transB, since weights are (out, in)
        return graph.add("Gemm", [graph.last, *graph.weights(layer)], name, transB=1)
    if isinstance(layer, MaxPool2d):
        return windows.max_pool(graph, name, layer, before, after)
    if isinstance(layer, AvgPool2d):
        return windows.average_pool(graph, name, layer, before, after)
    if isinstance(layer, AdaptiveAvgPool2d):
        return windows.adaptive_pool(graph, name, layer, before)
    if isinstance(layer, LocalResponseNorm):
        return _response_norm(graph, name, layer, before[0])
    if isinstance(layer, LocallyConnected2d):
        return windows.locally_connected(graph, name, layer, after)
    if isinstance(layer, Scale):
        return _scale(graph, name, layer)
    if isinstance(layer, BatchNorm2d):
        return _batch_norm(graph, name, layer)
    if type(layer) in ONE_OPERATION:
        return graph.add(ONE_OPERATION[type(layer)], [graph.last], name)
    if isinstance(layer, Flatten):
        return _flatten(graph, name, layer, len(before))
    if isinstance(layer, Dropout):
        return _dropout(graph, name, layer)
    raise UsageError(f"layer {name}: {type(layer).__name__} has no form in ONNX here")


def _flatten(graph: Graph, name: str, layer: Flatten, axes: int) -> str:
    """ONNX's Flatten always gives a matrix, (N, all other axes of an image)."""
    if layer.start_dim != 1 or layer.end_dim not in (-1, axes):
        raise UsageError(f"layer {name}: Flatten({layer.start_dim}, {layer.end_dim}) has no form "
                         "in ONNX here, expected Flatten(), of all axes but the batch's")
    return graph.add("Flatten", [graph.last], name)


def _scale(graph: Graph, name: str, layer: Scale) -> str:
    factor = np.asarray(layer.factor, np.float32)
    if factor.ndim:
        factor = factor[:, None, None]  # (3,) -> (3, 1, 1)
    return graph.times(name, "factor", factor)


def _dropout(graph: Graph, name: str, layer: Dropout) -> str:
    """Nothing; of the paper's kind, outputs times 1 - p after training."""
    if layer.rule == "2012":
        return graph.times(name, "keep", 1 - layer.p)
    return graph.last


def _batch_norm(graph: Graph, name: str, layer: BatchNorm2d) -> str:
    """With the running statistics; without a weight and a bias, by ones and zeros."""
    if layer.running_mean is None or layer.running_var is None:
        raise UsageError(f"layer {name}: batch normalisation without running statistics uses "
                         "those of each batch, which has no form in ONNX here; build it with "
                         "track_running_stats=True")
    C = layer.num_features
    inputs = [graph.last]
    for label, tensor, value in (("weight", layer.weight, 1.0), ("bias", layer.bias, 0.0)):
        inputs.append(graph.constant(f"{name}.{label}", np.full(C, value)) if tensor is None
                      else graph.weight(tensor, tensor.data))
    inputs += [graph.weight(buffer, buffer.data)
               for buffer in (layer.running_mean, layer.running_var)]
    return graph.add("BatchNormalization", inputs, name, epsilon=layer.eps)


def _response_norm(graph: Graph, name: str, layer: LocalResponseNorm, channels: int) -> str:
    """Over channels or within maps. ONNX divides alpha by the size, as this package does; but its
    windows of even size reach one channel further on the other side."""
    if layer.within_map:
        return _norm_within_maps(graph, name, layer)
    if layer.size % 2 == 0:
        raise UsageError(f"layer {name}: got normalisation of size {layer.size}, but for even "
                         "sizes the windows of ONNX differ from those of this package; use an "
                         "odd size")
    settings: dict[str, Any] = {"size": layer.size, "alpha": float(layer.alpha),
                                "beta": float(layer.beta), "bias": float(layer.k)}
    # bias: what is added to the sum, k here
    if layer.groups == 1:
        return graph.add("LRN", [graph.last], name, **settings)
    # No window crosses from one group to the next, as between the two GPUs of 2012.
    parts = [f"{name}.part{i}" for i in range(layer.groups)]
    sizes = graph.constant(f"{name}.sizes", np.full(layer.groups, channels // layer.groups),
                           np.int64)
    graph.split(graph.last, sizes, parts, f"{name}.split", axis=1)
    results = [graph.add("LRN", [part], f"{part}.normed", **settings) for part in parts]
    return graph.add("Concat", results, name, axis=1)


def _norm_within_maps(graph: Graph, name: str, layer: LocalResponseNorm) -> str:
    """x / (k + alpha mean(x^2))^beta, the mean over size x size places, zeros beyond the edge
    included."""
    # An even window reaches one further to the left and top (kernels.naive.window_around).
    start = layer.size // 2
    end = (layer.size - 1) // 2
    squares = graph.add("Mul", [graph.last, graph.last], f"{name}.squares")
    mean = graph.add("AveragePool", [squares], f"{name}.mean", kernel_shape=[layer.size] * 2,
                     strides=[1, 1], pads=[start, start, end, end], count_include_pad=1)
    divisor = mean
    # (mean alpha + k)^beta, one operation after the other
    for op, value in (("Mul", layer.alpha), ("Add", layer.k), ("Pow", layer.beta)):
        number = graph.constant(f"{name}.{op.lower()}", np.float32(value))
        divisor = graph.add(op, [divisor, number], f"{name}.{op.lower()}ed")
    return graph.add("Div", [graph.last, divisor], name)
