"""What stands in an ONNX file: the graph of a network, and what its reader has to know."""
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__, profile
from ..classifier import Classifier
from ..files import write_atomic
from ..models import Network
from ..nn import evaluating
from .graph import Graph, load_onnx
from .layers import add_layer
from .pixels import Pixels, prepare
from .windows import Shape

OPSET = 17      # of 2022: every runtime of today reads it
IR_VERSION = 8


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
    """The onnx.ModelProto that `export` writes. Raises UsageError as `export` does."""
    onnx = load_onnx()
    graph = Graph(onnx, model)
    source = _add_input(graph, model.image_size, pixels)
    shape = _add_layers(graph, model)
    result = "probabilities" if softmax else "logits"
    # Softmax runs over the last axis: the classes. Identity only gives the output its name.
    graph.add("Softmax" if softmax else "Identity", [graph.last], result)
    helper = onnx.helper
    target = helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, ["N", *shape])
    proto = helper.make_graph(graph.nodes, type(model).__name__, [source], [target],
                              graph.constants)
    whole = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)],
                              ir_version=IR_VERSION, producer_name="minitorch_alex")
    entries = {"classes": json.dumps(list(classes))} if classes else {}
    helper.set_model_props(whole, {**entries, **(properties or {})})
    return whole


def _add_input(graph: Graph, size: int, pixels: Pixels | None) -> Any:
    """The description of the graph's input; with `pixels` also the nodes that prepare it."""
    types = graph.onnx.TensorProto
    if pixels is None:
        return graph.input("images", types.FLOAT, (3, size, size))
    if pixels.as_bytes:
        source = graph.input("pixels", types.UINT8, (pixels.side, pixels.side, 3))
    else:
        source = graph.input("pixels", types.FLOAT, (3, pixels.side, pixels.side))
    prepare(graph, pixels)
    return source


def _add_layers(graph: Graph, model: Network) -> Shape:
    """The nodes of all layers; returns the shape of the last output, without the batch."""
    size = model.image_size
    shape: Shape = (3, size, size)
    # Sizes are not computed here: a blank image runs through the model and shows them.
    with evaluating(model):
        for name, layer, y in profile.outputs(model, profile.blank(model, 1)):
            graph.last = add_layer(graph, name, layer, shape, y.shape[1:])
            shape = y.shape[1:]
    return shape


def metadata(classifier: Classifier, pixels: Pixels | None) -> dict[str, str]:
    """What a reader of the file has to know, as the ONNX metadata keeps it, text by text.

        names           JSON list of the classes in the order of the outputs
        size            side of the square picture that goes in
        order, range    of the colour channels, and of their values
        layout          of the input's axes
        preprocessing   in words
        model, run, weights_sha256, producer    where the weights come from
    """
    prepared = " minus the mean of the training images" if pixels is None else ""
    return {"names": json.dumps(list(classifier.classes)),
            "size": str(classifier.model.image_size if pixels is None else pixels.side),
            "order": "RGB", "range": f"0..255{prepared}",
            "layout": "NHWC" if pixels is not None and pixels.as_bytes else "NCHW",
            "preprocessing": _preprocessing(classifier, pixels), "model": classifier.name,
            "run": classifier.file.resolve().parent.name,
            "weights_sha256": hashlib.sha256(classifier.file.read_bytes()).hexdigest(),
            "producer": f"minitorch_alex {__version__}"}


def _preprocessing(classifier: Classifier, pixels: Pixels | None) -> str:
    """What has to be done to a picture before it goes into the graph, in words."""
    side = classifier.side
    square = (f"resize the short side to {side} by averages over areas, take the central "
              f"{side} x {side}")
    if pixels is not None:
        return f"{square}; the graph does the rest"
    size = classifier.model.image_size
    crop = f", its central {size} x {size}" if classifier.transform.crop else ""
    return f"{square}{crop}, subtract the mean"
