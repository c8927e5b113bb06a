"""Layers whose windows slide over the maps: convolutions, pools, and locally connected layers.

ONNX rounds output sizes down. Where this package rounds them up, the windows that reach past the
bottom or right edge get padding there (`_pads`).

Each function adds the nodes of a layer with input (N, *before) and output (N, *after), and returns
the name of its output.
"""
import numpy as np

from .. import backend
from ..functional.adaptive import window_means
from ..functional.windows import cells_before
from ..kernels.window import Window, pair
from ..nn import AdaptiveAvgPool2d, AvgPool2d, Conv2d, LocallyConnected2d, MaxPool2d
from .graph import Graph

Shape = tuple[int, ...]  # of an input or output without the batch, such as (C, H, W)


def convolution(graph: Graph, name: str, layer: Conv2d, before: Shape, after: Shape) -> str:
    win = _window(layer)
    return graph.add("Conv", [graph.last, *graph.weights(layer)], name, kernel_shape=win.kernel,
                     strides=win.stride, dilations=win.dilation, group=layer.groups,
                     pads=_pads(win, before, after))


def max_pool(graph: Graph, name: str, layer: MaxPool2d, before: Shape, after: Shape) -> str:
    win = _window(layer)
    return graph.add("MaxPool", [graph.last], name, kernel_shape=win.kernel, strides=win.stride,
                     dilations=win.dilation, pads=_pads(win, before, after))


def average_pool(graph: Graph, name: str, layer: AvgPool2d, before: Shape, after: Shape) -> str:
    """Padding may count in the divisor. The cells beyond it, which a window reaches when sizes are
    rounded up, never do: AveragePool adds them itself, while the padding that counts becomes zeros
    of the input."""
    win = Window.of(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
    top, left, bottom, right = _pads(win, before, after)
    x = graph.last
    if layer.count_include_pad:
        PH, PW = win.padding
        counted_bottom = min(PH, bottom)
        counted_right = min(PW, right)
        x = _padded(graph, name, [PH, PW, counted_bottom, counted_right])
        # What became zeros of the input is no longer the pool's padding.
        top = 0
        left = 0
        bottom -= counted_bottom
        right -= counted_right
    return graph.add("AveragePool", [x], name, kernel_shape=win.kernel, strides=win.stride,
                     pads=[top, left, bottom, right])


def adaptive_pool(graph: Graph, name: str, layer: AdaptiveAvgPool2d, before: Shape) -> str:
    """Means over rows and columns, as two products with matrices: the windows of an adaptive pool
    differ in size, which no attribute of a pool in ONNX can say."""
    _, H, W = before
    size = layer.output_size
    S, T = size if isinstance(size, tuple) else (size, size)
    columns = window_means(W, W if T is None else T).astype(np.float32)
    rows = window_means(H, H if S is None else S).T.astype(np.float32)  # (H, S) -> (S, H)
    # (N, C, H, W) @ (W, T) -> (N, C, H, T); (S, H) @ (N, C, H, T) -> (N, C, S, T)
    narrow = graph.add("MatMul", [graph.last, graph.constant(f"{name}.columns", columns)],
                       f"{name}.narrow")
    return graph.add("MatMul", [graph.constant(f"{name}.rows", rows), narrow], name)


def locally_connected(graph: Graph, name: str, layer: LocallyConnected2d, after: Shape) -> str:
    """The slices of all taps of the window as channels (N, KH*KW*C, OH, OW), times the weights of
    each place."""
    O, OH, OW = after
    columns = graph.add("Concat", _taps(graph, name, layer, (OH, OW)), f"{name}.columns", axis=1)
    weight = backend.to_numpy(layer.weight.data)
    # (OH,OW,O,C,KH,KW) -> (OH,OW,O,KH,KW,C) -> (OH,OW,O,KH*KW*C), in the order of the taps
    weight = weight.transpose(0, 1, 2, 4, 5, 3).reshape(OH, OW, O, -1)
    # n image, k tap and channel, i j place, o output: each place has weights of its own
    y = graph.add("Einsum", [columns, graph.weight(layer.weight, weight)], f"{name}.sums",
                  equation="nkij,ijok->noij")
    if layer.bias is None:
        return y
    return graph.add("Add", [y, graph.weight(layer.bias, layer.bias.data)], name)


def _taps(graph: Graph, name: str, layer: LocallyConnected2d, out: tuple[int, int]) -> list[str]:
    """For each tap (kh, kw) of the window, row by row, the pixels (N, C, OH, OW) that it sees."""
    PH, PW = pair(layer.padding, "padding", 0)
    SH, SW = pair(layer.stride, "stride", 1)
    OH, OW = out
    x = _padded(graph, name, [PH, PW, PH, PW])
    axes = graph.constant(f"{name}.axes", np.array([2, 3]), np.int64)
    steps = graph.constant(f"{name}.steps", np.array([SH, SW]), np.int64)
    taps = []
    digits = len(str(max(layer.kernel_size) - 1))  # of every number: else 1, 11 and 11, 1 were one
    for kh, kw in np.ndindex(*layer.kernel_size):
        tap = f"{name}.tap{kh:0{digits}}{kw:0{digits}}"
        starts = graph.constant(f"{tap}.starts", np.array([kh, kw]), np.int64)
        # the pixel that the tap sees in the last window
        last = np.array([kh + (OH - 1) * SH, kw + (OW - 1) * SW])
        ends = graph.constant(f"{tap}.ends", last + 1, np.int64)
        taps.append(graph.add("Slice", [x, starts, ends, axes, steps], tap))
    return taps


def _padded(graph: Graph, name: str, pads: list[int]) -> str:
    """The input with zeros around each map; pads are [top, left, bottom, right]."""
    if not any(pads):
        return graph.last
    top, left, bottom, right = pads
    # the starts of all axes (N, C, H, W), then their ends
    sizes = graph.constant(f"{name}.pads", np.array([0, 0, top, left, 0, 0, bottom, right]),
                           np.int64)
    return graph.add("Pad", [graph.last, sizes], f"{name}.padded")


def _window(layer: Conv2d | MaxPool2d) -> Window:
    padding = cells_before(layer.padding, layer.kernel_size, layer.stride, layer.dilation)
    return Window.of(layer.kernel_size, layer.stride, padding, layer.dilation, layer.ceil_mode)


def _pads(win: Window, before: Shape, after: Shape) -> list[int]:
    """[top, left, bottom, right], such that rounding down gives the size that `win` gives by its
    own rule."""
    H, W = before[1:]
    OH, OW = after[1:]
    HP, WP = win.padded((H, W), (OH, OW))  # up to where the last windows reach
    PH, PW = win.padding
    return [PH, PW, max(0, HP - H - PH), max(0, WP - W - PW)]
