"""python -m minitorch_alex.onnx RUN_OR_MODEL FILE.onnx: a network as an ONNX file, for other programs to run.

What ONNX has no operation for is put together from those it has: windows that are rounded up become padding at the
bottom right, normalisation in groups is split and joined, normalisation within maps is a mean of squares, a locally
connected layer is its taps and one Einsum. Dropout does nothing after training and is left out; the paper's kind is a
factor of 1 - p.
Operations: https://onnx.ai/onnx/operators, opset 17.
"""
import os
from pathlib import Path
from typing import Any

import numpy as np

from . import backend, models, predict, profile
from .errors import UsageError
from .files import write_atomic
from .kernels.window import Window, pair
from .models.alexnet import Scale
from .nn import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocallyConnected2d,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Tanh,
)
from .training import cli

OPSET, IR_VERSION = 17, 8  # of 2022: what every runtime of today reads


def export(model: Sequential, path: str | os.PathLike, softmax: bool = False) -> None:
    """Write a network as it computes in evaluation: input "images" (N, 3, S, S) float32, prepared as in training;
    output "logits" (N, K), or with `softmax` "probabilities". Weights keep their names.
    UsageError: the package onnx is missing, or a layer has no form in ONNX. DiskError: it cannot be written."""
    write_atomic(path, [build(model, softmax).SerializeToString()])


def build(model: Sequential, softmax: bool = False) -> Any:
    """The same as an onnx.ModelProto."""
    onnx = _load_onnx()
    mode, graph = model.training, _Graph(onnx, model)
    shape: tuple[int, ...] = (3, model.image_size, model.image_size)
    for name, layer, y in profile.outputs(model.eval(), profile.blank(model, 1)):
        graph.layer(name, layer, shape, y.shape[1:])
        shape = y.shape[1:]
    model.train(mode)
    result = "probabilities" if softmax else "logits"
    graph.add("Softmax" if softmax else "Identity", [graph.last], result)  # over the last axis: the classes
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    proto = helper.make_graph(
        graph.nodes, type(model).__name__,
        [helper.make_tensor_value_info("images", kind, ["N", 3, model.image_size, model.image_size])],
        [helper.make_tensor_value_info(result, kind, ["N", *shape])], graph.constants)
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                             producer_name="minitorch_alex")


def _load_onnx() -> Any:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise UsageError("ONNX files need the package onnx, which is not installed: pip install "
                         "'minitorch_alex[onnx]'") from None
    return onnx


class _Graph:
    """Nodes and constants; `last` is the name of the latest layer's output."""

    def __init__(self, onnx: Any, model: Module) -> None:
        self.onnx, self.nodes, self.constants, self.last = onnx, [], [], "images"
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        array = np.ascontiguousarray(backend.to_numpy(value), dtype).reshape(np.shape(value))
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def weights(self, layer: Any) -> list[str]:
        return [self.constant(self.names[id(p)], p.data) for p in (layer.weight, layer.bias) if p is not None]

    def layer(self, name: str, layer: Module, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        """The nodes of one layer: input (N, *before), output (N, *after)."""
        x = self.last
        if isinstance(layer, Conv2d):
            win = Window.of(layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
            self.last = self.add("Conv", [x, *self.weights(layer)], name, kernel_shape=win.kernel, strides=win.stride,
                                 dilations=win.dilation, group=layer.groups, pads=_pads(win, before, after))
        elif isinstance(layer, Linear):
            self.last = self.add("Gemm", [x, *self.weights(layer)], name, transB=1)
        elif isinstance(layer, MaxPool2d):
            win = Window.of(layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
            self.last = self.add("MaxPool", [x], name, kernel_shape=win.kernel, strides=win.stride,
                                 dilations=win.dilation, pads=_pads(win, before, after))
        elif isinstance(layer, AvgPool2d):
            self.last = self._average(name, layer, before, after)
        elif isinstance(layer, LocalResponseNorm):
            self.last = self._norm_within(name, layer) if layer.within_map else self._norm(name, layer, before[0])
        elif isinstance(layer, LocallyConnected2d):
            self.last = self._local(name, layer, after)
        elif isinstance(layer, Scale):
            self.last = self.add("Mul", [x, self.constant(f"{name}.factor", np.float32(layer.factor))], name)
        elif isinstance(layer, ReLU | Tanh | Flatten):
            self.last = self.add({ReLU: "Relu", Tanh: "Tanh", Flatten: "Flatten"}[type(layer)], [x], name)
        elif isinstance(layer, Dropout) and layer.rule == "2012":  # the paper's: outputs times 1 - p after training
            self.last = self.add("Mul", [x, self.constant(f"{name}.keep", np.float32(1 - layer.p))], name)
        elif not isinstance(layer, Dropout):
            raise UsageError(f"layer {name}: {type(layer).__name__} has no form in ONNX here")

    def _padded(self, name: str, pads: list[int]) -> str:
        """The input with zeros around each map."""
        if not any(pads):
            return self.last
        top, left, bottom, right = pads
        sizes = self.constant(f"{name}.pads", np.array([0, 0, top, left, 0, 0, bottom, right]), np.int64)
        return self.add("Pad", [self.last, sizes], f"{name}.padded")

    def _average(self, name: str, layer: AvgPool2d, before: tuple[int, ...], after: tuple[int, ...]) -> str:
        """Padding may count in the divisor; what a window rounded up reaches beyond it never does."""
        win = Window.of(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
        top, left, bottom, right = _pads(win, before, after)
        x = self.last
        if layer.count_include_pad:
            (ph, pw) = win.padding
            inside = [ph, pw, min(ph, bottom), min(pw, right)]
            x = self._padded(name, inside)
            top, left, bottom, right = 0, 0, bottom - inside[2], right - inside[3]
        return self.add("AveragePool", [x], name, kernel_shape=win.kernel, strides=win.stride,
                        pads=[top, left, bottom, right])

    def _norm(self, name: str, layer: LocalResponseNorm, channels: int) -> str:
        """ONNX divides alpha by the size, as this package does; its windows of even size lean the other way."""
        if layer.size % 2 == 0:
            raise UsageError(f"layer {name}: ONNX has other windows than this package for normalisation of the even "
                             f"size {layer.size}; use an odd one")
        settings = {"size": layer.size, "alpha": float(layer.alpha), "beta": float(layer.beta), "bias": float(layer.k)}
        if layer.groups == 1:
            return self.add("LRN", [self.last], name, **settings)
        parts = [f"{name}.part{i}" for i in range(layer.groups)]
        sizes = self.constant(f"{name}.sizes", np.full(layer.groups, channels // layer.groups), np.int64)
        self.nodes.append(self.onnx.helper.make_node("Split", [self.last, sizes], parts, f"{name}.split", axis=1))
        done = [self.add("LRN", [part], f"{part}.normed", **settings) for part in parts]
        return self.add("Concat", done, name, axis=1)

    def _norm_within(self, name: str, layer: LocalResponseNorm) -> str:
        """x / (k + alpha mean(x^2))^beta, the mean over size x size places, zeros beyond the edge counted."""
        start, end = layer.size // 2, (layer.size - 1) // 2
        squares = self.add("Mul", [self.last, self.last], f"{name}.squares")
        mean = self.add("AveragePool", [squares], f"{name}.mean", kernel_shape=[layer.size] * 2, strides=[1, 1],
                        pads=[start, start, end, end], count_include_pad=1)
        for op, value in (("Mul", layer.alpha), ("Add", layer.k), ("Pow", layer.beta)):
            factor = self.constant(f"{name}.{op.lower()}", np.float32(value))
            mean = self.add(op, [mean, factor], f"{name}.{op.lower()}ed")
        return self.add("Div", [self.last, mean], name)

    def _local(self, name: str, layer: LocallyConnected2d, after: tuple[int, ...]) -> str:
        """One slice (N, C, OH, OW) for each tap of the window, side by side, times the weights of each place."""
        (ph, pw), (sh, sw) = pair(layer.padding, "padding", 0), pair(layer.stride, "stride", 1)
        (KH, KW), (O, OH, OW) = layer.kernel_size, after
        x, taps = self._padded(name, [ph, pw, ph, pw]), []
        axes = self.constant(f"{name}.axes", np.array([2, 3]), np.int64)
        steps = self.constant(f"{name}.steps", np.array([sh, sw]), np.int64)
        for kh, kw in np.ndindex(KH, KW):
            tap = f"{name}.tap{kh}{kw}"
            ends = np.array([kh + (OH - 1) * sh + 1, kw + (OW - 1) * sw + 1])
            starts = self.constant(f"{tap}.starts", np.array([kh, kw]), np.int64)
            taps.append(self.add("Slice", [x, starts, self.constant(f"{tap}.ends", ends, np.int64), axes, steps], tap))
        weight = backend.to_numpy(layer.weight.data).transpose(0, 1, 2, 4, 5, 3).reshape(OH, OW, O, -1)
        y = self.add("Einsum", [self.add("Concat", taps, f"{name}.columns", axis=1),
                                self.constant(self.names[id(layer.weight)], weight)], f"{name}.sums",
                     equation="nkij,ijok->noij")
        if layer.bias is None:
            return y
        return self.add("Add", [y, self.constant(self.names[id(layer.bias)], layer.bias.data)], name)


def _pads(win: Window, before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    """[top, left, bottom, right], such that rounding down gives the size that `win` gives by its own rule."""
    reach = win.padded(before[1:], after[1:])
    return [*win.padding, *(max(0, reach[i] - before[1 + i] - win.padding[i]) for i in range(2))]


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("minitorch_alex.onnx", "Write a network as an ONNX file.")
    parser.add_argument("model", metavar="RUN_OR_MODEL", help=f"a run directory (runs/NAME), a checkpoint in one, or a "
                        f"model: {', '.join(models.MODELS)}")
    parser.add_argument("file", metavar="FILE.onnx")
    parser.add_argument("-w", "--weights", type=Path, metavar="FILE",
                        help="the weights of a model (.safetensors or .pth; default: initial ones)")
    parser.add_argument("--softmax", action="store_true", help="end with probabilities rather than logits")
    args = parser.parse_args(argv)
    _load_onnx()
    if args.model not in models.MODELS:
        if args.weights:
            raise UsageError(f"--weights belongs to a model, and {args.model} is none; there are: "
                             f"{', '.join(models.MODELS)}")
        predictor = predict.of_run(Path(args.model))
        model, about = predictor.model, predictor.about
    elif args.weights:
        predictor = predict.of_weights(args.weights, args.model)
        model, about = predictor.model, predictor.about
    else:
        model = models.build(args.model, models.default_classes(args.model))
        about = f"{args.model} with initial weights"
    export(model, args.file, args.softmax)
    print(f"{about}\n{args.file}  ({os.path.getsize(args.file) / 1e6:,.1f} MB, opset {OPSET})")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
