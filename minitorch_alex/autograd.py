"""The engine: operations remember what they need, and `backward` walks from a loss back to the
leaves.

An operation instance is node and context in one. `forward` works on raw arrays and saves what its
`backward` will need; the graph consists of these instances alone, each holding an edge to the
instance that made each input.

    x ──> Mul ──> Add ──> y       forward: each Function notes who made its inputs (its edges)
    w ─────┘       │
    b ─────────────┘              backward: from Add along the edges to Mul and the leaves

There is no double backward: gradients are raw arrays, not Tensors. That halves the engine (a
convolution's gradient would need a gradient of its own), and training never asks for it.
"""
import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Union

from . import backend
from .errors import UsageError
from .versions import Watched, check_unwritten, watch

if TYPE_CHECKING:
    from .tensor import Tensor

Array = Any  # NumPy's or a device's
# who made an input, and the input's shape
Edge = tuple[Union["Function", "Tensor", None], tuple[int, ...]]

_recording: ContextVar[bool] = ContextVar("recording", default=True)  # one per thread


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Inside, operations leave no trace: no graph, no saved arrays. For evaluation."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_grad_enabled() -> bool:
    """False inside `no_grad()`."""
    return _recording.get()


class Function:
    """One operation. A subclass takes its settings in `__init__` and defines

        forward(self, *arrays) -> array         calls self.save(...) with what backward needs
        backward(self, gy) -> array or tuple    one gradient per input; may be None where
                                                needs[i] is False

    An instance is used once: `y = ReLU()(x)`. Its attributes afterwards:

        needs   for each input, whether anyone wants its gradient: conv1 need not compute the
                image's
        saved   the arrays that forward saved, freed as the backward pass goes by
        watch   what tells whether somebody has written into them since, see versions.py
        edges   for each input (source, shape): source is the Function that made it, the leaf
                Tensor itself, or None where no gradient is needed; edges is None once the graph
                has been freed
    """

    saved: tuple = ()
    watch: tuple[Watched, ...] = ()
    needs: tuple[bool, ...] = ()
    edges: tuple[Edge, ...] | None = ()

    def __call__(self, *inputs: Any) -> "Tensor":
        Tensor = _tensor_class()
        recording = is_grad_enabled()
        tensors = []
        arrays = []
        needs = []
        edges: list[Edge] = []
        for value in inputs:
            t = value if value is None or isinstance(value, Tensor) else Tensor(value)
            need = recording and t is not None and t.requires_grad
            tensors.append(t)
            arrays.append(None if t is None else t.data)
            needs.append(need)
            edges.append((t.creator or t, t.shape) if need and t is not None else (None, ()))
        # Before forward runs: it may look at `needs` to save less, and at `edges`, see gates.py.
        self.needs = tuple(needs)
        self.edges = tuple(edges)
        result = Tensor(self.forward(*arrays), any(needs))
        if result.requires_grad:
            result.creator = self
            self.watch = watch(self.saved, (*tensors, result))
        else:
            self.saved = ()  # nobody will call backward
        return result

    def save(self, *arrays: Array) -> None:
        """Keep these arrays for backward."""
        self.saved = arrays

    def forward(self, *arrays: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def backward(self, gy: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not define backward")

    def free(self) -> None:
        """Drop saved arrays and edges, so that nothing behind this node is kept alive by it."""
        self.saved = ()
        self.watch = ()
        self.edges = None


@functools.cache
def _tensor_class() -> type["Tensor"]:
    """Tensor, imported when the first operation runs: tensor.py imports this file."""
    from .tensor import Tensor
    return Tensor


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient back to the shape its input had before broadcasting.

    Broadcasting copies, and the gradient of a value that was copied is the sum over its copies:
    over the axes that broadcasting put in front, and over those it stretched from 1.
    """
    if g.shape == shape:
        return g
    front = g.ndim - len(shape)
    # (5, 2, 3) -> (2, 3) for an input (2, 3) or (1, 3)
    g = g.sum(axis=tuple(range(front))) if front > 0 else g
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    # (2, 3) -> (1, 3) for an input (1, 3)
    g = g.sum(axis=stretched, keepdims=True) if stretched else g
    if g.shape != shape:
        raise RuntimeError(f"a gradient of shape {g.shape} for an input of shape {shape}")
    return g


def count_consumers(root: Function) -> dict[Function, int]:
    """For root and each node behind it, how many edges lead to it: how many gradients it has to
    wait for."""
    consumers: dict[Function, int] = {root: 0}
    todo = [root]
    while todo:
        for source, _ in todo.pop().edges or ():
            if isinstance(source, Function):
                if source not in consumers:
                    consumers[source] = 0
                    todo.append(source)
                consumers[source] += 1  # edges, not nodes: y + y has two edges to y's creator
    return consumers


def order(root: Function) -> Iterator[Function]:
    """root and the nodes behind it, each once, and each after all nodes that used its result.

    Only then is its gradient complete. Counting consumers gives this order without sorting and
    without recursion: a chain of 1,000 operations would exceed Python's limit.
    """
    waiting = count_consumers(root)
    ready = [root]
    while ready:
        node = ready.pop()
        edges = node.edges or ()  # looked up now: whoever receives the node may free it
        yield node
        for source, _ in edges:
            if isinstance(source, Function):
                waiting[source] -= 1
                if waiting[source] == 0:
                    ready.append(source)


def backward(tensor: "Tensor", gradient: Array | None = None, retain_graph: bool = False) -> None:
    """Add to every leaf behind `tensor` the gradient of (tensor * gradient).sum().

    `gradient` has the tensor's shape and is 1 by default for a tensor of one element. The graph is
    freed on the way unless retain_graph is True. Raises UsageError when the tensor has no graph,
    when its graph has been freed, when the gradient is missing or has another shape, and when a
    number that it needs was overwritten after the forward pass (versions.py).
    """
    if not tensor.requires_grad:
        raise UsageError("backward() on a tensor that does not require a gradient; make its "
                         "leaves with requires_grad=True, and compute it outside no_grad()")
    xp = backend.xp_of(tensor.data)
    if gradient is None:
        if tensor.size != 1:
            raise UsageError(f"backward() on a tensor of shape {tensor.shape} needs a gradient of "
                             "that shape; reduce it to a scalar first, or pass "
                             "backward(gradient=...)")
        gradient = xp.ones(tensor.shape, tensor.dtype)
    gradient = xp.asarray(gradient, dtype=tensor.dtype)
    if gradient.shape != tensor.shape:
        raise UsageError(f"backward() got a gradient of shape {gradient.shape} for a tensor of "
                         f"shape {tensor.shape}")
    if tensor.creator is None:  # a leaf: there is nothing behind it
        accumulate(tensor, gradient)
    else:
        walk(tensor.creator, gradient, accumulate, retain_graph)


def walk(root: Function, gradient: Array, add_to_leaf: Callable[["Tensor", Array], None],
         retain_graph: bool = False) -> None:
    """Send `gradient` back from root, each node once, and hand every leaf what reaches it:
    add_to_leaf(leaf, g).

    Gradients in flight live in the table below and are dropped as they are used; only leaves keep
    theirs.
    """
    flight = {root: gradient}
    for node in order(root):
        if node.edges is None:
            raise UsageError(f"backward() through {type(node).__name__} a second time: its graph "
                             "was freed by the first; use backward(retain_graph=True) there to "
                             "keep it")
        check_unwritten(node)
        gradients = node.backward(flight.pop(node))
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        for (source, shape), g in zip(node.edges, gradients, strict=True):
            if source is None:
                continue
            g = unbroadcast(g, shape)
            if isinstance(source, Function):
                # Never +=, for g may also be another input's: addition hands one array to both of
                # its inputs.
                flight[source] = flight[source] + g if source in flight else g
            else:
                add_to_leaf(source, g)
        if not retain_graph:
            node.free()


def accumulate(leaf: "Tensor", g: Array) -> None:
    """Add g to leaf.grad. A parameter that lives in an optimizer's flat buffer has a place for its
    gradient there."""
    if leaf.grad_place is None:
        # The first gradient is copied: the array may be another leaf's as well.
        leaf.grad = backend.xp_of(g).array(g) if leaf.grad is None else leaf.grad + g
    elif leaf.grad is None:
        if g is not leaf.grad_place:  # else its kernel has written it there, see places.py
            leaf.grad_place[...] = g
        leaf.grad = leaf.grad_place
    else:
        leaf.grad += g
