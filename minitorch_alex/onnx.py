"""python -m minitorch_alex.onnx RUN_OR_MODEL FILE.onnx: a network as an ONNX file.

A trained model becomes a file that stands alone: its input are raw pixels, 0..255, of a picture
whose short side was resized to S and whose central S x S were taken; what training does to them
stands in the graph, and the names of the classes in the file's metadata (`metadata`).

    "pixels" (N, 3, S, S)  --Slice: the window-->  --Sub: the mean-->  the network  -->  "logits"
    with --uint8: bytes (N, S, S, 3) as Pillow and OpenCV keep them, Cast and Transpose first

With --prepared, and for a network without training, the graph is the network alone: "images".

Layers for which ONNX has no operation are put together from several operations:

    windows that are rounded up      padding at the bottom right
    normalisation in groups          split, LRN of each part, concatenation
    normalisation within maps        a mean of squares, by AveragePool
    locally connected layers         one slice per tap of the window, and one Einsum
    dropout                          nothing; the paper's kind is a factor of 1 - p

Operations: https://onnx.ai/onnx/operators, opset 17.
"""
import argparse
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import __version__, backend, models, profile
from .classifier import Classifier, load, of_weights
from .data import Transform
from .errors import UsageError
from .files import write_atomic
from .functional.adaptive import window_means
from .kernels.window import Window, pair
from .models import Network
from .models.alexnet import Scale
from .nn import (
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
    evaluating,
)
from .tensor import Tensor
from .training import cli

OPSET = 17      # of 2022: every runtime of today reads it
IR_VERSION = 8


@dataclass(frozen=True)
class Pixels:
    """Raw pixels as the input of a graph: pictures of side x side, prepared by `transform` as its
    single view does. As bytes (N, side, side, 3), or as floats (N, 3, side, side)."""

    side: int
    transform: Transform
    as_bytes: bool = False


def export(model: Network, path: str | os.PathLike, softmax: bool = False,
           classes: Sequence[str] = (), pixels: Pixels | None = None,
           properties: Mapping[str, str] | None = None) -> None:
    """Write a network as it computes in evaluation mode.

    Input "images" (N, 3, S, S) float32, prepared as in training, or with `pixels` "pixels", which
    the graph prepares; output "logits" (N, K), or with `softmax` "probabilities". Weights keep
    their names. The names of the `classes` are in the file's metadata: "classes", a JSON list in
    the order of the outputs; `properties` are added to it.

    Raises UsageError when the package onnx is missing or a layer has no form in ONNX, DiskError
    when the file cannot be written.
    """
    proto = build(model, softmax, classes, pixels, properties)
    write_atomic(path, [proto.SerializeToString()])


def build(model: Network, softmax: bool = False, classes: Sequence[str] = (),
          pixels: Pixels | None = None, properties: Mapping[str, str] | None = None) -> Any:
    """The onnx.ModelProto that `export` writes."""
    onnx = _load_onnx()
    graph = _Graph(onnx, model)
    size = model.image_size
    float32 = onnx.TensorProto.FLOAT
    if pixels is None:
        source = graph.input("images", float32, (3, size, size))
    elif pixels.as_bytes:
        source = graph.input("pixels", onnx.TensorProto.UINT8, (pixels.side, pixels.side, 3))
    else:
        source = graph.input("pixels", float32, (3, pixels.side, pixels.side))
    if pixels is not None:
        graph.prepare(pixels)

    shape: tuple[int, ...] = (3, size, size)
    with evaluating(model):
        for name, layer, y in profile.outputs(model, profile.blank(model, 1)):
            graph.layer(name, layer, shape, y.shape[1:])
            shape = y.shape[1:]
    result = "probabilities" if softmax else "logits"
    # over the last axis: the classes
    graph.add("Softmax" if softmax else "Identity", [graph.last], result)
    helper = onnx.helper
    proto = helper.make_graph(
        graph.nodes, type(model).__name__, [source],
        [helper.make_tensor_value_info(result, float32, ["N", *shape])], graph.constants)
    whole = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)],
                              ir_version=IR_VERSION, producer_name="minitorch_alex")
    entries = {"classes": json.dumps(list(classes))} if classes else {}
    helper.set_model_props(whole, {**entries, **(properties or {})})
    return whole


def metadata(classifier: Classifier, pixels: Pixels | None) -> dict[str, str]:
    """What a reader of the file has to know, as the ONNX metadata keeps it, text by text.

        names           JSON list of the classes in the order of the outputs
        size            side of the square picture that goes in
        order, range    of the colour channels, and of their values
        layout          of the input's axes
        preprocessing   in words
        model, run, weights_sha256, producer    where the weights come from
    """
    transform = classifier.transform
    size = classifier.model.image_size
    words = (f"resize the short side to {classifier.side} by averages over areas, take the "
             f"central {classifier.side} x {classifier.side}")
    scale = "0..255"
    if pixels is None:
        scale = "0..255 minus the mean of the training images"
        words += f", its central {size} x {size}" if transform.crop else ""
        words += ", subtract the mean"
    else:
        words += "; the graph does the rest"
    return {"names": json.dumps(list(classifier.classes)),
            "size": str(size if pixels is None else pixels.side),
            "order": "RGB", "range": scale,
            "layout": "NHWC" if pixels is not None and pixels.as_bytes else "NCHW",
            "preprocessing": words, "model": classifier.name,
            "run": classifier.file.resolve().parent.name,
            "weights_sha256": hashlib.sha256(classifier.file.read_bytes()).hexdigest(),
            "producer": f"minitorch_alex {__version__}"}


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
        self.names: dict[int, str] = {id(tensor): name for name, tensor
                                      in (*model.named_parameters(), *model.named_buffers())}

    def input(self, name: str, dtype: int, shape: Sequence[int]) -> Any:
        """The description of the graph's input (N, *shape)."""
        self.last = name
        return self.onnx.helper.make_tensor_value_info(name, dtype, ["N", *shape])

    def prepare(self, pixels: Pixels) -> None:
        """From raw pixels to the network's input: what data.Transform does for a single view."""
        transform = pixels.transform.eval()
        side = pixels.side
        if pixels.as_bytes:
            floats = self.add("Cast", [self.last], "pixels.float", to=self.onnx.TensorProto.FLOAT)
            # (N, S, S, 3) -> (N, 3, S, S)
            self.last = self.add("Transpose", [floats], "pixels.planes", perm=[0, 3, 1, 2])
        if transform.enlarge:
            self._enlarge(side, transform.enlarge)
        black = np.zeros((1, side, side, 3), np.uint8)
        (draws,) = transform.view_draws(black.shape, "single")
        mean = -transform.apply(black, draws)[0]  # what is left of black is minus the mean
        h, w, _ = mean.shape
        if (h, w) != transform.source(side, side):
            # Windows are counted from the border that training adds, which is not added here.
            top = int(draws.rows[0]) - transform.pad if draws.rows is not None else 0
            left = int(draws.cols[0]) - transform.pad if draws.cols is not None else 0
            self._window(top, left, h, w)
        mean = mean.transpose(2, 0, 1)  # (h, w, 3) -> (3, h, w)
        if (mean == mean[:, :1, :1]).all():  # one colour
            mean = mean[:, :1, :1]
        self.last = self.add("Sub", [self.last, self.constant("pixels.mean", mean)],
                             "pixels.centred")

    def _enlarge(self, side: int, size: int) -> None:
        """Bilinear, first the columns and then the rows, each rounded to whole numbers: as Pillow
        does it, and data/enlarge.py after it."""
        for axis, name in ((3, "columns"), (2, "rows")):
            scales = np.ones(4)
            scales[axis] = size / side
            factors = self.constant(f"pixels.{name}.scales", scales)
            resized = self.add("Resize", [self.last, "", factors], f"pixels.{name}",
                               mode="linear", coordinate_transformation_mode="half_pixel")
            self.last = self.add("Round", [resized], f"pixels.{name}.whole")

    def _window(self, top: int, left: int, height: int, width: int) -> None:
        """Rows and columns of the pixels."""
        starts = self.constant("pixels.window.starts", np.array([top, left]), np.int64)
        ends = self.constant("pixels.window.ends", np.array([top + height, left + width]),
                             np.int64)
        axes = self.constant("pixels.window.axes", np.array([2, 3]), np.int64)
        self.last = self.add("Slice", [self.last, starts, ends, axes], "pixels.window")

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

    def weight(self, parameter: Tensor, values: Any) -> str:
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
        elif isinstance(layer, LocalResponseNorm):
            within = layer.within_map
            self.last = (self._norm_within(name, layer) if within
                         else self._norm(name, layer, before[0]))
        elif isinstance(layer, LocallyConnected2d):
            self.last = self._local(name, layer, after)
        elif isinstance(layer, Scale):
            self.last = self._scale(name, layer)
        elif isinstance(layer, BatchNorm2d):
            self.last = self._batch_norm(name, layer)
        elif isinstance(layer, ReLU | Tanh | Flatten):
            ops = {ReLU: "Relu", Tanh: "Tanh", Flatten: "Flatten"}
            self.last = self.add(ops[type(layer)], [self.last], name)
        # nothing; of the paper's kind, outputs times 1 - p after training
        elif isinstance(layer, Dropout):
            if layer.rule == "2012":
                self.last = self._times(name, "keep", 1 - layer.p)
        else:
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

    def _batch_norm(self, name: str, layer: BatchNorm2d) -> str:
        """With the running statistics; without a weight and a bias, by ones and zeros."""
        if layer.running_mean is None or layer.running_var is None:
            raise UsageError(f"layer {name}: batch normalisation without running statistics uses "
                             "those of each batch, which has no form in ONNX here; build it with "
                             "track_running_stats=True")
        C = layer.num_features
        inputs = [self.last]
        for label, tensor, value in (("weight", layer.weight, 1.0), ("bias", layer.bias, 0.0)):
            inputs.append(self.constant(f"{name}.{label}", np.full(C, value)) if tensor is None
                          else self.weight(tensor, tensor.data))
        inputs += [self.weight(buffer, buffer.data)
                   for buffer in (layer.running_mean, layer.running_var)]
        return self.add("BatchNormalization", inputs, name, epsilon=layer.eps)

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
    if args.model in models.MODELS and not args.weights:
        model = models.build(args.model, models.default_classes(args.model))
        about = f"{args.model} with initial weights"
        export(model, args.file, args.softmax)
    else:
        classifier = of_weights(args.weights, args.model) if args.weights else load(args.model)
        about = classifier.about
        pixels = None
        if not args.prepared:
            pixels = Pixels(classifier.side, classifier.transform, args.uint8)
        export(classifier.model, args.file, args.softmax, classifier.classes, pixels,
               metadata(classifier, pixels))
    print(f"{about}\n{args.file}  ({os.path.getsize(args.file) / 1e6:,.1f} MB, opset {OPSET})")
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UsageError for weights that no model belongs to, and for a file
    that is a folder."""
    parser = cli.parser("minitorch_alex.onnx", "Write a network as an ONNX file. That of a "
                        "trained model takes raw pixels; the names of its classes are in its "
                        "metadata.")
    parser.add_argument("model", type=cli.home, metavar="RUN_OR_MODEL",
                        help="a run directory (runs/NAME), a checkpoint in one, pretrained, a "
                             ".safetensors or .pth file whose weights fit one model only, or a "
                             f"model: {', '.join(models.MODELS)}")
    parser.add_argument("file", type=cli.home, metavar="FILE.onnx")
    parser.add_argument("-w", "--weights", type=cli.path, metavar="FILE",
                        help="the weights of a model, .safetensors or .pth (default: initial "
                             "weights)")
    parser.add_argument("--softmax", action="store_true", help="end with probabilities instead of "
                                                               "logits")
    parser.add_argument("--uint8", action="store_true",
                        help="take bytes (N, S, S, 3), as Pillow and OpenCV keep an image, "
                             "instead of floats (N, 3, S, S)")
    parser.add_argument("--prepared", action="store_true",
                        help="the network alone: images (N, 3, S, S) minus the mean, as in "
                             "training")
    args = parser.parse_args(argv)
    if args.weights and args.model not in models.MODELS:
        raise UsageError(f"--weights only applies to a model, and {args.model} is not one; the "
                         f"models are: {', '.join(models.MODELS)}")
    if args.uint8 and (args.prepared or (args.model in models.MODELS and not args.weights)):
        raise UsageError("--uint8 is for raw pixels, and without training or with --prepared the "
                         "input is prepared images; remove --uint8")
    if os.path.isdir(args.file):
        raise UsageError(f"{args.file} is a folder; give the name of a file, such as "
                         f"{os.path.join(args.file, 'net.onnx')}")
    return args


if __name__ == "__main__":
    cli.run_cli(main)
