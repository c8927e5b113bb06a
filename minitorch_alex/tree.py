"""A network is a tree of modules, by their attributes; this is the walk over it.

Two things can stand in its way. A module or a parameter that several others share (tied weights)
has several names: as in PyTorch, lists give it once, under the first, and state_dict gives it
under each. And a module that contains itself would never end.
"""
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .errors import KindError, RunError, UsageError
from .tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

MOST_FAULTS = 200  # entries that an error message names; a larger net has other weights altogether


def join(prefix: str, name: str) -> str:
    """A dotted name."""
    return f"{prefix}.{name}" if prefix else name


def attributes(module: "Module", kind: type) -> Iterator[tuple[str, Any]]:
    """(name, value) of a module's attributes of one kind, in the order of their definition."""
    for name, value in vars(module).items():  # a dict: in the order in which they were set
        if isinstance(value, kind):
            yield name, value


def walk(module: "Module", kind: type, prefix: str,
         above: "tuple[Module, ...]" = ()) -> Iterator[tuple[str, "Module"]]:
    """(dotted name, module) of a module and of everything of its `kind` below, depth first, with
    repeats; `above` are those on the way down. Raises UsageError for a module inside itself."""
    if any(module is other for other in above):
        raise UsageError(f"{type(module).__name__} contains itself, as {prefix!r}; keep a "
                         "reference to a parent outside of the module, in a list for instance")
    yield prefix, module
    for name, child in attributes(module, kind):
        yield from walk(child, kind, join(prefix, name), (*above, module))


def first_of_each(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The pairs (name, object) whose object has not come before under another name."""
    before: set[int] = set()
    for name, value in pairs:
        if id(value) not in before:
            before.add(id(value))
            yield name, value


def check_attribute(module: "Module", name: str, value: Any, kinds: dict[type, str]) -> None:
    """Raises KindError, in PyTorch's words, when a parameter or a sub-module would be replaced by
    something that is neither: no training would find it any more."""
    before = vars(module).get(name)
    if value is None or isinstance(value, tuple(kinds)):
        return
    for kind, word in kinds.items():
        if isinstance(before, kind):
            raise KindError(f"cannot assign {type(value).__name__} as {word} {name!r} of "
                            f"{type(module).__name__} (nn.{kind.__name__} or None expected)")


def check_state(owner: str, arrays: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    """Raises RunError, which names every missing, surplus, misshapen or complex entry, unless
    `arrays` has just these names and shapes."""
    faults = [f"missing {name}" for name in shapes if name not in arrays]
    faults += [f"surplus {name}" for name in arrays if name not in shapes]
    faults += [f"{name} is {tuple(arrays[name].shape)}, expected {shape}"
               for name, shape in shapes.items()
               if name in arrays and tuple(arrays[name].shape) != shape]
    faults += [f"{name} holds {array.dtype}, expected real numbers"
               for name, array in arrays.items() if array.dtype.kind not in "fiub"]
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise RunError(f"the weights do not fit this {owner}: "
                       f"{'; '.join(faults[:MOST_FAULTS])}{more}")


def list_parameters(params: Any) -> list[Any]:
    """What an optimizer is given, as a list of parameters or of groups.

    Raises KindError for what is not a list of them, UsageError for results of operations.
    """
    if not isinstance(params, Iterable) or isinstance(params, Tensor):
        raise KindError(f"SGD: got a {type(params).__name__}, expected an iterable of parameters; "
                        "write SGD(net.parameters(), ...)")
    entries = list(params)
    if entries and all(isinstance(entry, tuple) and len(entry) == 2 for entry in entries):
        entries = [parameter for _, parameter in entries]  # named_parameters(), as torch takes it
    for entry in entries:
        is_group = isinstance(entry, dict) and "params" in entry
        if not (is_group or isinstance(entry, Tensor)):
            raise KindError(f"SGD: got a {type(entry).__name__} among the parameters, expected "
                            "tensors, or groups {'params': [...], 'lr': ...}")
        if is_group != isinstance(entries[0], dict):
            raise KindError("SGD: got parameters and groups mixed; put all into groups")
        if isinstance(entry, Tensor) and entry.creator is not None:
            raise UsageError("SGD: got the result of an operation, which the next forward pass "
                             "makes anew; expected leaves, such as net.parameters()")
    return entries


def intersections(parts: list[slice], others: list[slice]) -> list[slice]:
    """What `parts` and `others` have in common, where anything."""
    common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a in parts for b in others]
    return [part for part in common if part.start < part.stop]
