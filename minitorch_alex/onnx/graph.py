"""What an ONNX graph is made of: nodes, and constants."""
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..errors import UsageError
from ..nn import Module
from ..tensor import Tensor


def load_onnx() -> Any:
    """The package onnx. Raises UsageError when it is not installed."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise UsageError("ONNX files need the package onnx, which is not installed: "
                         "pip install onnx") from None
    return onnx


class Graph:
    """The nodes and constants of a network; `last` is the name of the latest layer's output."""

    def __init__(self, onnx: Any, model: Module) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = "images"
        self._shared: set[str] = set()  # names of the parameters that are constants already
        # By identity: of two layers that share a weight, the first gives it its name.
        self._names: dict[int, str] = {id(tensor): name for name, tensor
                                       in (*model.named_parameters(), *model.named_buffers())}

    def input(self, name: str, dtype: int, shape: Sequence[int]) -> Any:
        """The description of the graph's input (N, *shape); N is a name, so any batch fits."""
        self.last = name
        return self.onnx.helper.make_tensor_value_info(name, dtype, ["N", *shape])

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node of one output, named like it; returns that name."""
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def split(self, x: str, sizes: str, parts: list[str], name: str, axis: int) -> None:
        """Add a node that cuts x along an axis into `parts`, of the lengths in the constant
        `sizes`."""
        self.nodes.append(self.onnx.helper.make_node("Split", [x, sizes], parts, name, axis=axis))

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add an array of fixed numbers; returns its name."""
        array = np.ascontiguousarray(backend.to_numpy(value), dtype)
        # (1,) -> () for a scalar, to which ascontiguousarray gives an axis
        array = array.reshape(np.shape(value))
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def times(self, name: str, label: str, factor: Any) -> str:
        """Add the latest output times a number, or times an array that is broadcast."""
        return self.add("Mul", [self.last, self.constant(f"{name}.{label}", np.float32(factor))],
                        name)

    def weights(self, layer: Any) -> list[str]:
        """The layer's weight and bias as constants, by the names that they have in the model."""
        return [self.weight(p, p.data) for p in (layer.weight, layer.bias) if p is not None]

    def weight(self, parameter: Tensor, values: Any) -> str:
        """A parameter as a constant, and its name: one constant, however many layers share it."""
        name = self._names[id(parameter)]
        if name not in self._shared:
            self._shared.add(name)
            self.constant(name, values)
        return name
