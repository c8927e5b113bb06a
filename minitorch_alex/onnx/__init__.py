"""A network as an ONNX file: `export`, and python -m minitorch_alex.onnx RUN_OR_MODEL FILE.onnx.

A trained model becomes a file that stands alone: its input are raw pixels, 0..255, of a picture
whose short side was resized to S and whose central S x S were taken; what training does to them
stands in the graph, and the names of the classes in the file's metadata (`metadata`).

    "pixels" (N, 3, S, S)  --Slice: the window-->  --Sub: the mean-->  the network  -->  "logits"
    with --uint8: bytes (N, S, S, 3) as Pillow and OpenCV keep them, Cast and Transpose first

With --prepared, and for a network without training, the graph is the network alone: "images".
One file for each question:

    graph.py      what is a graph made of?                Graph: nodes and constants
    pixels.py     how do raw pixels become the input?     Pixels, prepare
    layers.py     which operations make up a layer?       add_layer
    windows.py        and one with windows?               convolution, pools, locally connected
    model.py      what stands in the file?                build, export, metadata
    command.py    the program                             main

Operations: https://onnx.ai/onnx/operators, opset 17.
"""
from .command import main, parse
from .model import IR_VERSION, OPSET, build, export, metadata
from .pixels import Pixels

__all__ = ["IR_VERSION", "OPSET", "Pixels", "build", "export", "main", "metadata", "parse"]
