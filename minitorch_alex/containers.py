"""Modules made of modules: Sequential, a net of layers one after the other, and ModuleList.

They take what PyTorch's take, and refuse what would be lost: a function, a class or None in a list
of layers has no parameters and no place in the forward pass, so a net that kept silent about it
would compute something else than what stands in the source.
"""
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Self

from . import fusion
from .errors import KindError, ShapeError, UsageError
from .module import Module
from .tensor import Tensor
from .tree import attributes


def check_module(owner: str, name: str, module: Any) -> None:
    """Raises KindError, in PyTorch's words, unless `module` is a Module."""
    if isinstance(module, Module):
        return
    kind = module.__name__ if isinstance(module, type) else type(module).__name__
    if isinstance(module, type) and issubclass(module, Module):
        hint = f"that is the class; create a layer, {kind}()"
    elif isinstance(module, list | tuple):
        hint = f"unpack it: {owner}(*layers)"
    elif isinstance(module, dict):
        hint = f"name the layers by {owner}(**layers) or an OrderedDict"
    elif callable(module):
        hint = "functions need a Module around them, nn.ReLU() in place of F.relu"
    else:
        hint = "leave it out"
    raise KindError(f"{owner}: entry {name}: {kind} is not a Module subclass; {hint}")


class _Container(Module):
    """Modules in order, numbered from 0 or named: what Sequential and ModuleList share."""

    def add_module(self, name: str, module: Module) -> None:
        """Append a module under a name.

        Raises KindError for what is not a Module, UsageError for a name that would hide an
        attribute or a method, is taken, or could not be a part of a parameter's dotted name.
        """
        owner = type(self).__name__
        if not isinstance(name, str):
            raise KindError(f"{owner}: module name should be a string, got {name!r}")
        check_module(owner, name, module)
        if hasattr(self, name):
            raise UsageError(f"{owner}: attribute {name!r} already exists; give the module "
                             "another name")
        if not name or "." in name:
            raise UsageError(f"{owner}: module name can't be empty or contain '.', got {name!r}")
        setattr(self, name, module)

    def named_layers(self) -> Iterator[tuple[str, Module]]:
        """(name, module) in order, with repeats: a layer that stands at two places comes twice."""
        return attributes(self, Module)

    def append(self, module: Module) -> Self:
        """Add a module at the end, under the next free number."""
        numbers = itertools.count(len(self))
        name = next(str(i) for i in numbers if not hasattr(self, str(i)))
        self.add_module(name, module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Append each of several modules."""
        owner = type(self).__name__
        if not isinstance(modules, Iterable):
            raise KindError(f"{owner}.extend should be called with an iterable, but got "
                            f"{type(modules).__name__}")
        modules = list(modules)
        for i, module in enumerate(modules):  # all of them first: all are taken, or none
            check_module(owner, str(i), module)
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one at `index`; numbers that follow grow by one."""
        check_module(type(self).__name__, str(index), module)
        layers = list(self.named_layers())
        layers.insert(index, ("", module))
        self._replace(layers)
        return self

    def _replace(self, layers: list[tuple[str, Module]]) -> None:
        """Hold these (name, module) instead. Names that are not numbers stay; the others are the
        positions."""
        for name, _ in list(self.named_layers()):
            delattr(self, name)
        for i, (name, module) in enumerate(layers):
            self.add_module(str(i) if not name or name.isdecimal() else name, module)

    def _position(self, index: int) -> tuple[str, Module]:
        """The (name, module) at an index, which may count from the end. Raises IndexError."""
        try:
            return list(self.named_layers())[index]
        except IndexError:
            raise IndexError(f"{type(self).__name__}: index {index} is out of range, it has "
                             f"{len(self)} modules") from None

    def __setitem__(self, index: int, module: Module) -> None:
        name, _ = self._position(index)
        check_module(type(self).__name__, name, module)
        setattr(self, name, module)

    def __delitem__(self, index: int | slice) -> None:
        layers = list(self.named_layers())
        del layers[index]
        self._replace(layers)

    def pop(self, index: int = -1) -> Module:
        """Take a module out, and return it."""
        _, module = self._position(index)
        del self[index]
        return module

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_layers())

    def __contains__(self, module: object) -> bool:
        return any(module is own for own in self)

    def __len__(self) -> int:
        return sum(1 for _ in self.named_layers())


class Sequential(_Container):
    """Modules one after the other, numbered from 0 or named.

        Sequential(Conv2d(3, 8, 5), ReLU())
        Sequential(conv1=Conv2d(3, 8, 5), relu1=ReLU())
        Sequential(OrderedDict([("conv1", Conv2d(3, 8, 5)), ("relu1", ReLU())]))

    `net[1]` is a layer, `net[:2]` a net of the same layers under the same names. Raises KindError
    for what is not a Module, UsageError for names that would hide attributes.
    """

    def __init__(self, *modules: "Module | OrderedDict[str, Module]", **named: Module) -> None:
        entries: list[tuple[str, Any]] = [(str(i), module) for i, module in enumerate(modules)]
        if len(modules) == 1 and isinstance(modules[0], OrderedDict):
            entries = list(modules[0].items())
        for name, module in (*entries, *named.items()):
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for name, step in fusion.steps(self.named_layers(), x):
            try:
                x = step(x)
            except ShapeError as error:  # the operation knows the shapes, only we know the name
                raise ShapeError(f"layer {name}: {error}") from error
        return x

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(OrderedDict(list(self.named_layers())[index]))
        return self._position(index)[1]

    def __add__(self, other: "Sequential") -> "Sequential":
        if not isinstance(other, Sequential):
            raise KindError(f"Sequential + {type(other).__name__}: expected another Sequential; "
                            "add one module with append")
        return Sequential(*self, *other)


class ModuleList(_Container):
    """Modules in a list that parameters(), train() and state_dict() see, unlike a Python list's.

    It has no forward: a net that holds one says in which order its modules are called. Raises
    KindError for what is not a Module or not iterable.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ModuleList(list(self)[index])
        return self._position(index)[1]

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList(self).extend(other)
