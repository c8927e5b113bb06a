"""The engine: operations remember what they need, and `backward` walks from a loss back to the leaves.

An operation instance is node and context in one. `forward` works on raw arrays and saves what its `backward` will
ask for; the graph is nothing but these instances, each holding an edge to the instance that made each input.

There is no double backward: gradients are raw arrays, not Tensors. That halves the engine (a convolution's gradient
would need gradients of its own) and training never asks for it.
"""
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from . import backend
from .errors import UsageError

_recording: ContextVar[bool] = ContextVar("recording", default=True)  # each thread has its own


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Inside, operations leave no trace: no graph, no saved arrays, no gradients. For evaluation."""
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

        forward(self, *arrays) -> array           calls self.save(...) with what backward needs, and nothing more
        backward(self, gy) -> array or tuple      one gradient an input; None where needs[i] is False, if it likes

    An instance is used once: `y = Relu()(x)`. Its attributes afterwards:

        needs   for each input, whether anyone wants its gradient; conv1 need not compute the image's
        saved   the arrays that forward saved, freed as the backward walk passes
        edges   for each input (source, shape): source is the Function that made it, the leaf Tensor itself, or None
    """

    saved: tuple = ()
    needs: tuple[bool, ...] = ()
    edges: tuple | None = ()

    def __call__(self, *inputs: Any) -> Any:
        from .tensor import Tensor  # here, because tensor.py needs this file
        tensors = [t if t is None or isinstance(t, Tensor) else Tensor(t) for t in inputs]
        arrays = [None if t is None else t.data for t in tensors]
        recording = is_grad_enabled()
        self.needs = tuple(recording and t is not None and t.requires_grad for t in tensors)
        result = Tensor(self.forward(*arrays), requires_grad=any(self.needs))
        if result.requires_grad:
            self.edges = tuple((t.creator or t, t.shape) if need else (None, None)
                               for t, need in zip(tensors, self.needs, strict=True))
            result.creator = self
        else:
            self.saved = ()
        return result

    def save(self, *arrays: Any) -> None:
        """Keep these arrays for backward."""
        self.saved = arrays

    def forward(self, *arrays: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def backward(self, gy: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define backward")

    def free(self) -> None:
        """Drop saved arrays and edges, so that nothing behind this node is kept alive by it."""
        self.saved, self.edges = (), None


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient back to the shape its input had before broadcasting: over the axes that broadcasting put in
    front, and over those it stretched from 1."""
    if g.shape == shape:
        return g
    front = g.ndim - len(shape)
    g = g.sum(axis=tuple(range(front))) if front > 0 else g
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    g = g.sum(axis=stretched, keepdims=True) if stretched else g
    if g.shape != shape:
        raise RuntimeError(f"a gradient of shape {g.shape} for an input of shape {shape}")
    return g


def count_consumers(root: Function) -> dict[Function, int]:
    """For each node behind `root`, how many edges lead to it: how many gradients it has to wait for."""
    consumers: dict[Function, int] = {root: 0}
    todo = [root]
    while todo:
        for source, _ in todo.pop().edges or ():
            if isinstance(source, Function):
                if source not in consumers:
                    consumers[source] = 0
                    todo.append(source)
                consumers[source] += 1
    return consumers


def backward(tensor: Any, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add to every leaf behind `tensor` the gradient of (tensor * gradient).sum().

    Order by counting consumers: a node speaks only when everyone who used its result has spoken, for only then is
    its gradient complete. Each node runs once, without recursion and without sorting. Gradients in flight live in
    the table below and are dropped as they are used; only leaves get `.grad`. The graph is freed on the way unless
    retain_graph is True. Raises UsageError for a tensor without a graph, one whose graph has been freed, or a
    non-scalar without `gradient`.
    """
    if not tensor.requires_grad:
        raise UsageError("backward() on a tensor that does not require a gradient; make its leaves with "
                         "requires_grad=True, and compute it outside no_grad()")
    xp = backend.xp_of(tensor.data)
    if gradient is None:
        if tensor.size != 1:
            raise UsageError(f"backward() on a tensor of shape {tensor.shape} needs a gradient of that shape; "
                             "reduce it to a scalar first, or pass backward(gradient=...)")
        gradient = xp.ones(tensor.shape, tensor.dtype)
    gradient = xp.asarray(gradient, dtype=tensor.dtype)
    if gradient.shape != tensor.shape:
        raise UsageError(f"backward() got a gradient of shape {gradient.shape} for a tensor of shape {tensor.shape}")
    if tensor.creator is None:
        accumulate(tensor, gradient)
        return

    waiting = count_consumers(tensor.creator)
    flight = {tensor.creator: gradient}
    ready = [tensor.creator]
    while ready:
        node = ready.pop()
        if node.edges is None:
            raise UsageError(f"backward() through {type(node).__name__} a second time: its graph was freed by the "
                             "first; use backward(retain_graph=True) there to keep it")
        grads = node.backward(flight.pop(node))
        grads = grads if isinstance(grads, tuple) else (grads,)
        for (source, shape), g in zip(node.edges, grads, strict=True):
            if source is None:
                continue
            g = unbroadcast(g, shape)
            if not isinstance(source, Function):
                accumulate(source, g)
                continue
            flight[source] = flight[source] + g if source in flight else g  # never +=: g may be someone else's too
            waiting[source] -= 1
            if waiting[source] == 0:
                ready.append(source)
        if not retain_graph:
            node.free()


def accumulate(leaf: Any, g: Any) -> None:
    """Add g to leaf.grad. A parameter that lives in an optimiser's flat buffer has a place for its gradient there."""
    if leaf.grad_place is None:
        leaf.grad = backend.xp_of(g).array(g) if leaf.grad is None else leaf.grad + g
    elif leaf.grad is None:
        leaf.grad_place[...] = g
        leaf.grad = leaf.grad_place
    else:
        leaf.grad += g
