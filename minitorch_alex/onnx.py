"""python -m minitorch_alex.onnx RUN_OR_MODEL FILE.onnx: a network as an ONNX file.

Layers for which ONNX has no operation are put together from several operations:

    windows that are rounded up      padding at the bottom right
    normalisation in groups          split, LRN of each part, concatenation
    normalisation within maps        a mean of squares, by AveragePool
    locally connected layers         one slice per tap of the window, and one Einsum
    dropout                          nothing; the paper's kind is a factor of 1 - p

Operations: https://onnx.ai/onnx/operators, opset 17.
"""
import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import backend, classifier, models, profile
from .errors import UsageError
from .files import write_atomic
from .functional.adaptive import window_means
from .kernels.window import Window, pair
from .models import Network
from .models.alexnet import Scale
from .nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocallyConnected2d,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Tanh,
    evaluating,
)
from .training import cli

OPSET = 17      # of 2022: every runtime of today reads it
IR_VERSION = 8


def export(model: Network, path: str | os.PathLike, softmax: bool = False,
           classes: Sequence[str] = ()) -> None:
    """Write a network as it computes in evaluation mode.

    Input "images" (N, 3, S, S) float32, prepared as in training; output "logits" (N, K), or with
    `softmax` "probabilities". Weights keep their names. The names of the `classes` are in the
    file's metadata: "classes", a JSON list in the order of the outputs.

    Raises UsageError when the package onnx is missing or a layer has no form in ONNX, DiskError
    when the file cannot be written.
    """
    write_atomic(path, [build(model, softmax, classes).SerializeToString()])


def build(model: Network, softmax: bool = False, classes: Sequence[str] = ()) -> Any:
    """The onnx.ModelProto that `export` writes."""
    onnx = _load_onnx()
    graph = _Graph(onnx, model)
    shape: tuple[int, ...] = (3, model.image_size, model.image_size)
    with evaluating(model):
        for name, layer, y in profile.outputs(model, profile.blank(model, 1)):
            graph.layer(name, layer, shape, y.shape[1:])
            shape = y.shape[1:]
    result = "probabilities" if softmax else "logits"
    # over the last axis: the classes
    graph.add("Softmax" if softmax else "Identity", [graph.last], result)
    helper = onnx.helper
    float32 = onnx.TensorProto.FLOAT
    images = ["N", 3, model.image_size, model.image_size]
    proto = helper.make_graph(
        graph.nodes, type(model).__name__,
        [helper.make_tensor_value_info("images", float32, images)],
        [helper.make_tensor_value_info(result, float32, ["N", *shape])], graph.constants)
    whole = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)],
                              ir_version=IR_VERSION, producer_name="minitorch_alex")
    if classes:
        helper.set_model_props(whole, {"classes": json.dumps(list(classes))})
    return whole


def _load_onnx() -> Any:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise UsageError("ONNX files need the package onnx, which is not installed: "
                         "pip install onnx") from None
    return onnx


class _Graph:
    """Nodes and constants; `last` is the name of the latest layer's output."""

    def __init__(self, onnx: Any, model: Module) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = "images"
        self.shared: set[str] = set()  # names of the parameters that are constants already
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node of one output, and its name."""
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """An array of fixed numbers, and its name. (ascontiguousarray makes a scalar (1,): the
        shape is restored.)"""
        array = np.ascontiguousarray(backend.to_numpy(value), dtype).reshape(np.shape(value))
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def weights(self, layer: Any) -> list[str]:
        """The layer's weight and bias as constants, by the names that they have in the model."""
        return [self.weight(p, p.data) for p in (layer.weight, layer.bias) if p is not None]

    def weight(self, parameter: Parameter, values: Any) -> str:
        """A parameter as a constant, and its name: one constant, however many layers share it."""
        name = self.names[id(parameter)]
        if name not in self.shared:
            self.shared.add(name)
            self.constant(name, values)
        return name

    def layer(self, name: str, layer: Module, before: tuple[int, ...],
              after: tuple[int, ...]) -> None:
        """The nodes of one layer: input (N, *before), output (N, *after)."""
        if isinstance(layer, Conv2d):
            self.last = self._convolution(name, layer, before, after)
        elif isinstance(layer, Linear):
            self.last = self.add("Gemm", [self.last, *self.weights(layer)], name, transB=1)
        elif isinstance(layer, MaxPool2d):
            self.last = self._maximum(name, layer, before, after)
        elif isinstance(layer, AvgPool2d):
            self.last = self._average(name, layer, before, after)
        elif isinstance(layer, AdaptiveAvgPool2d):
            self.last = self._adaptive(name, layer, before)
        elif isinstance(layer, LocalResponseNorm) and layer.within_map:
            self.last = self._norm_within(name, layer)
        elif isinstance(layer, LocalResponseNorm):
            self.last = self._norm(name, layer, before[0])
        elif isinstance(layer, LocallyConnected2d):
            self.last = self._local(name, layer, after)
        elif isinstance(layer, Scale):
            self.last = self._scale(name, layer)
        elif isinstance(layer, ReLU | Tanh | Flatten):
            ops = {ReLU: "Relu", Tanh: "Tanh", Flatten: "Flatten"}
            self.last = self.add(ops[type(layer)], [self.last], name)
        # the paper's: outputs times 1 - p after training
        elif isinstance(layer, Dropout) and layer.rule == "2012":
            self.last = self._times(name, "keep", 1 - layer.p)
        elif not isinstance(layer, Dropout):
            raise UsageError(f"layer {name}: {type(layer).__name__} has no form in ONNX here")

    def _times(self, name: str, label: str, factor: Any) -> str:
        """The input times a number, or times one number for each channel."""
        return self.add("Mul", [self.last, self.constant(f"{name}.{label}", np.float32(factor))],
                        name)

    def _scale(self, name: str, layer: Scale) -> str:
        factor = np.asarray(layer.factor, np.float32)
        if factor.ndim:
            factor = factor[:, None, None]  # (3,) -> (3, 1, 1)
        return self._times(name, "factor", factor)

    def _adaptive(self, name: str, layer: AdaptiveAvgPool2d, before: tuple[int, ...]) -> str:
        """Means over rows and columns, as two products with matrices."""
        _, H, W = before
        size = layer.output_size
        S, T = size if isinstance(size, tuple) else (size, size)
        columns = window_means(W, W if T is None else T).astype(np.float32)
        rows = window_means(H, H if S is None else S).T.astype(np.float32)
        # (N, C, H, W) @ (W, T) -> (N, C, H, T); (S, H) @ (N, C, H, T) -> (N, C, S, T)
        narrow = self.add("MatMul", [self.last, self.constant(f"{name}.columns", columns)],
                          f"{name}.narrow")
        return self.add("MatMul", [self.constant(f"{name}.rows", rows), narrow], name)

    def _convolution(self, name: str, layer: Conv2d, before: tuple[int, ...],
                     after: tuple[int, ...]) -> str:
        win = Window.of(layer.kernel_size, layer.stride, layer.padding, layer.dilation,
                        layer.ceil_mode)
        return self.add("Conv", [self.last, *self.weights(layer)], name, kernel_shape=win.kernel,
                        strides=win.stride, dilations=win.dilation, group=layer.groups,
                        pads=_pads(win, before, after))

    def _maximum(self, name: str, layer: MaxPool2d, before: tuple[int, ...],
                 after: tuple[int, ...]) -> str:
        win = Window.of(layer.kernel_size, layer.stride, layer.padding, layer.dilation,
                        layer.ceil_mode)
        return self.add("MaxPool", [self.last], name, kernel_shape=win.kernel, strides=win.stride,
                        dilations=win.dilation, pads=_pads(win, before, after))

    def _padded(self, name: str, pads: list[int]) -> str:
        """The input with zeros around each map."""
        if not any(pads):
            return self.last
        top, left, bottom, right = pads
        sizes = self.constant(f"{name}.pads", np.array([0, 0, top, left, 0, 0, bottom, right]),
                              np.int64)
        return self.add("Pad", [self.last, sizes], f"{name}.padded")

    def _average(self, name: str, layer: AvgPool2d, before: tuple[int, ...],
                 after: tuple[int, ...]) -> str:
        """Padding may count in the divisor. The cells beyond it, which a window reaches when sizes
        are rounded up, never do: AveragePool adds them itself, while the padding that counts
        becomes zeros of the input."""
        win = Window.of(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
        top, left, bottom, right = _pads(win, before, after)
        x = self.last
        if layer.count_include_pad:
            PH, PW = win.padding
            counted_bottom = min(PH, bottom)
            counted_right = min(PW, right)
            x = self._padded(name, [PH, PW, counted_bottom, counted_right])
            top = 0
            left = 0
            bottom -= counted_bottom
            right -= counted_right
        return self.add("AveragePool", [x], name, kernel_shape=win.kernel, strides=win.stride,
                        pads=[top, left, bottom, right])

    def _norm(self, name: str, layer: LocalResponseNorm, channels: int) -> str:
        """ONNX divides alpha by the size, as this package does; but its windows of even size reach
        one channel further on the other side."""
        if layer.size % 2 == 0:
            raise UsageError(f"layer {name}: got normalisation of size {layer.size}, but for even "
                             "sizes the windows of ONNX differ from those of this package; use an "
                             "odd size")
        settings: dict[str, Any] = {"size": layer.size, "alpha": float(layer.alpha),
                                    "beta": float(layer.beta), "bias": float(layer.k)}
        if layer.groups == 1:
            return self.add("LRN", [self.last], name, **settings)
        parts = [f"{name}.part{i}" for i in range(layer.groups)]
        sizes = self.constant(f"{name}.sizes", np.full(layer.groups, channels // layer.groups),
                              np.int64)
        self.nodes.append(self.onnx.helper.make_node("Split", [self.last, sizes], parts,
                                                     f"{name}.split", axis=1))
        results = [self.add("LRN", [part], f"{part}.normed", **settings) for part in parts]
        return self.add("Concat", results, name, axis=1)

    def _norm_within(self, name: str, layer: LocalResponseNorm) -> str:
        """x / (k + alpha mean(x^2))^beta, the mean over size x size places, zeros beyond the edge
        included."""
        start = layer.size // 2
        end = (layer.size - 1) // 2
        squares = self.add("Mul", [self.last, self.last], f"{name}.squares")
        mean = self.add("AveragePool", [squares], f"{name}.mean", kernel_shape=[layer.size] * 2,
                        strides=[1, 1], pads=[start, start, end, end], count_include_pad=1)
        for op, value in (("Mul", layer.alpha), ("Add", layer.k), ("Pow", layer.beta)):
            factor = self.constant(f"{name}.{op.lower()}", np.float32(value))
            mean = self.add(op, [mean, factor], f"{name}.{op.lower()}ed")
        return self.add("Div", [self.last, mean], name)

    def _local(self, name: str, layer: LocallyConnected2d, after: tuple[int, ...]) -> str:
        """The slices of all taps of the window as channels (N, KH*KW*C, OH, OW), times the weights
        of each place."""
        PH, PW = pair(layer.padding, "padding", 0)
        SH, SW = pair(layer.stride, "stride", 1)
        KH, KW = layer.kernel_size
        O, OH, OW = after
        x = self._padded(name, [PH, PW, PH, PW])
        axes = self.constant(f"{name}.axes", np.array([2, 3]), np.int64)
        steps = self.constant(f"{name}.steps", np.array([SH, SW]), np.int64)
        taps = []
        for kh, kw in np.ndindex(KH, KW):
            tap = f"{name}.tap{kh}{kw}"
            starts = self.constant(f"{tap}.starts", np.array([kh, kw]), np.int64)
            last = np.array([kh + (OH - 1) * SH, kw + (OW - 1) * SW])
            ends = self.constant(f"{tap}.ends", last + 1, np.int64)
            taps.append(self.add("Slice", [x, starts, ends, axes, steps], tap))
        columns = self.add("Concat", taps, f"{name}.columns", axis=1)
        weight = backend.to_numpy(layer.weight.data)
        # (OH,OW,O,C,KH,KW) -> (OH,OW,O,KH,KW,C) -> (OH,OW,O,KH*KW*C), in the order of the taps
        weight = weight.transpose(0, 1, 2, 4, 5, 3).reshape(OH, OW, O, -1)
        y = self.add("Einsum", [columns, self.weight(layer.weight, weight)],
                     f"{name}.sums",
                     equation="nkij,ijok->noij")
        if layer.bias is None:
            return y
        return self.add("Add", [y, self.weight(layer.bias, layer.bias.data)], name)


def _pads(win: Window, before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    """[top, left, bottom, right], such that rounding down gives the size that `win` gives by its
    own rule."""
    H, W = before[1:]
    OH, OW = after[1:]
    HP, WP = win.padded((H, W), (OH, OW))  # up to where the last windows reach
    PH, PW = win.padding
    return [PH, PW, max(0, HP - H - PH), max(0, WP - W - PW)]


# The command.


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    _load_onnx()  # whether it is missing shows now, not after the model was read
    model, about, classes = find_model(args)
    export(model, args.file, args.softmax, classes)
    print(f"{about}\n{args.file}  ({os.path.getsize(args.file) / 1e6:,.1f} MB, opset {OPSET})")
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UsageError for weights that no model belongs to."""
    parser = cli.parser("minitorch_alex.onnx", "Write a network as an ONNX file.")
    parser.add_argument("model", type=cli.home, metavar="RUN_OR_MODEL",
                        help="a run directory (runs/NAME), a checkpoint in one, or a model: "
                             f"{', '.join(models.MODELS)}")
    parser.add_argument("file", type=cli.home, metavar="FILE.onnx")
    parser.add_argument("-w", "--weights", type=cli.path, metavar="FILE",
                        help="the weights of a model, .safetensors or .pth (default: initial "
                             "weights)")
    parser.add_argument("--softmax", action="store_true", help="end with probabilities instead of "
                                                               "logits")
    args = parser.parse_args(argv)
    if args.weights and args.model not in models.MODELS:
        raise UsageError(f"--weights only applies to a model, and {args.model} is not one; the "
                         f"models are: {', '.join(models.MODELS)}")
    return args


def find_model(args: argparse.Namespace) -> tuple[Network, str, Sequence[str]]:
    """(the network of a run, of a weights file or with initial weights, a description of it, the
    names of a run's classes)."""
    if args.model not in models.MODELS:
        predictor = classifier.of_run(Path(args.model))
        return predictor.model, predictor.about, predictor.classes
    if args.weights:
        predictor = classifier.of_weights(args.weights, args.model)
        return predictor.model, predictor.about, ()
    model = models.build(args.model, models.default_classes(args.model))
    return model, f"{args.model} with initial weights", ()


if __name__ == "__main__":
    cli.run_cli(main)
