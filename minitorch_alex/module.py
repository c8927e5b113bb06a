"""Module: what every layer and every network has; Parameter: what training changes.

The names and their meanings are PyTorch's.
"""
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from . import backend, streams
from .errors import KindError, ShapeError
from .init import Init, fan_in, torch_uniform
from .tensor import Tensor
from .tree import attributes, check_attribute, check_state, first_of_each, join, walk


class Parameter(Tensor):
    """A leaf tensor that training changes; Module.parameters finds it among the attributes."""

    __slots__ = ("name",)

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)
        self.name = ""  # its longest name so far in Module.named_parameters, for messages

    @classmethod
    def drawn(cls, shape: tuple[int, ...], init: Init) -> "Parameter":
        """float32 values from `init`, drawn by the next generator that follows from
        streams.manual_seed."""
        values = init(streams.next_weight_rng(), shape)  # on the host, in float64
        return cls(backend.asarray(np.ascontiguousarray(values, np.float32)))


class Buffer(Tensor):
    """A tensor that training changes without a gradient: a part of state_dict and no parameter."""

    __slots__ = ("name",)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.name = ""  # as Parameter's


class Module:
    """A layer or a whole network.

    Parameters and sub-modules are its attributes, in the order of their definition. `forward`
    defines what the module computes, and calling the module calls it.
    """

    training = True  # of the class; train() and eval() give each module a value of its own

    def __setattr__(self, name: str, value: Any) -> None:
        # Checks that a layer is not replaced by a function, nor a parameter by an array.
        check_attribute(self, name, value, {Parameter: "parameter", Buffer: "buffer",
                                             Module: "child module"})
        super().__setattr__(name, value)

    def __call__(self, *inputs: Any) -> Any:
        return self.forward(*inputs)

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) of the direct sub-modules, in order of definition; one that has several
        names comes once, under the first."""
        return first_of_each(attributes(self, Module))

    def named_modules(self, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, "Module"]]:
        """(dotted name, module) of self and everything below, depth first.

        A module that several others share comes once, under its first name, or with
        remove_duplicate=False under each. Raises UsageError for a module inside itself.
        """
        everything = walk(self, Module, prefix)
        return first_of_each(everything) if remove_duplicate else everything

    def children(self) -> Iterator["Module"]:
        """The direct sub-modules."""
        return (child for _, child in self.named_children())

    def modules(self) -> Iterator["Module"]:
        """Self and everything below."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), depth first in order of definition.

        A parameter that several layers share (tied weights) comes once, under its first name, or
        with remove_duplicate=False under each.
        """
        return self._named(Parameter, remove_duplicate)

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, in the same order."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Buffer]]:
        """(dotted name, buffer), in the same order: running statistics, for example."""
        return self._named(Buffer, remove_duplicate)

    def _named(self, kind: type, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        """(dotted name, tensor) of all parameters or of all buffers, which learn their names."""
        pairs = ((join(prefix, name), tensor)
                 for prefix, module in self.named_modules("", remove_duplicate)
                 for name, tensor in attributes(module, kind))
        for name, tensor in first_of_each(pairs) if remove_duplicate else pairs:
            tensor.name = max(tensor.name, name, key=len)
            yield name, tensor

    def _named_state(self) -> dict[str, Tensor]:
        """All that state_dict holds, by name; what is shared under each of its names."""
        return {**dict(self.named_parameters(remove_duplicate=False)),
                **dict(self.named_buffers(remove_duplicate=False))}

    def train(self, mode: bool = True) -> Self:
        """Training behaviour for self and everything below (dropout silences units)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation behaviour."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients: backward adds to what is there."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype: Any) -> Self:
        """Convert all parameters and buffers to float32 or float64, before an optimizer takes
        them."""
        for _, buffer in self.named_buffers():
            buffer.data = buffer.data.astype(dtype)
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
            # a place in an optimizer's buffer would have the old dtype
            parameter.grad_place = None
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """name -> a host copy of each parameter, then of each buffer; of a shared one under each
        of its names."""
        # np.array copies: training changes the parameters' memory.
        return {key: np.array(backend.to_numpy(p.data)) for key, p in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take parameters and buffers by name. Raises RunError, which names every missing, surplus
        or misshapen entry, and then changes nothing."""
        if not isinstance(state, Mapping):
            raise KindError(f"load_state_dict: got {type(state).__name__}, expected a dictionary "
                            "of arrays by name; read a file with training.weights.load_into")
        own = self._named_state()
        arrays = {name: value if backend.is_array(value) else np.asarray(value)
                  for name, value in state.items()}
        check_state(type(self).__name__, arrays, {name: p.shape for name, p in own.items()})
        for name, parameter in own.items():
            # into the same memory: an optimizer may hold it as a part of its flat buffer
            parameter.data[...] = backend.asarray(arrays[name], parameter.dtype)
            parameter.version += 1

    def __repr__(self) -> str:
        lines = [f"  ({name}): {child!r}".replace("\n", "\n  ")
                 for name, child in attributes(self, Module)]
        body = "\n" + "\n".join(lines) + "\n" if lines else self.describe()
        return f"{type(self).__name__}({body})"

    def describe(self) -> str:
        """The settings shown between the parentheses of repr."""
        settings = {name: value for name, value in vars(self).items()
                    if isinstance(value, int | float | str | tuple) and name != "training"}
        return ", ".join(f"{name}={value}" for name, value in settings.items())


class Weighted(Module):
    """Layers with a weight and a bias share their creation. Without initialisers they start as
    torch's do."""

    weight: Parameter
    bias: Parameter | None

    def _create(self, weight_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None,
                weight_init: Init | None, bias_init: Init | None) -> None:
        if min(weight_shape) < 1:
            raise ShapeError(f"{type(self).__name__}: got a weight of shape {weight_shape}, "
                             "expected at least 1 along each axis")
        fan = fan_in(weight_shape)  # the bias starts in the same range as the weight
        self.weight = Parameter.drawn(weight_shape, weight_init or torch_uniform(fan))
        self.bias = None
        if bias_shape is not None:
            self.bias = Parameter.drawn(bias_shape, bias_init or torch_uniform(fan))


@contextlib.contextmanager
def in_mode(model: Module, training: bool) -> Iterator[None]:
    """Inside, the model and everything below behave as in training, or as in evaluation;
    afterwards each module has the mode that it had before."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def evaluating(model: Module) -> contextlib.AbstractContextManager[None]:
    """Inside, the model behaves as in evaluation: `with nn.evaluating(model): y = model(x)`."""
    return in_mode(model, training=False)
