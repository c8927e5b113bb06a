"""What a model costs: shapes and parameters by layer, and the memory of a training step; and what flows through it."""
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import backend
from . import functional as F
from .autograd import Function, no_grad
from .nn import Module, Sequential
from .tensor import Tensor


def outputs(model: Sequential, x: Tensor) -> Iterator[tuple[str, Module, Tensor]]:
    """(name, layer, its output) through the model, one layer after the other, without a graph."""
    for name, layer in model.named_children():
        with no_grad():  # not around the yield: the caller's loop is none of our business
            x = layer(x)
        yield name, layer, x


def blank(model: Sequential, images: int) -> Tensor:
    """A batch of zeros of the size the model takes."""
    return Tensor(backend.asarray(np.zeros((images, 3, model.image_size, model.image_size), np.float32)))


def layer_table(model: Sequential) -> str:
    """One line a layer: name, kind, output shape (C x H x W), parameters."""
    rows = [("layer", "kind", "output", "parameters"), ("", "", f"3 x {model.image_size} x {model.image_size}", "")]
    for name, layer, y in outputs(model, blank(model, 1)):
        count = sum(p.size for p in layer.parameters())
        rows.append((name, type(layer).__name__, " x ".join(map(str, y.shape[1:])), f"{count:,}" if count else ""))
    rows.append(("total", "", "", f"{sum(p.size for p in model.parameters()):,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip()
                     for a, b, c, d in rows)


def saved_bytes(loss: Tensor) -> int:
    """How many bytes the graph behind `loss` keeps for backward, parameters aside."""
    kept: dict[int, int] = {}
    todo, visited = [loss.creator], set()
    while todo:
        node = todo.pop()
        if node in visited:
            continue
        visited.add(node)
        parameters = {id(_memory(source.data)) for source, _ in node.edges if source is not None
                      and not isinstance(source, Function)}
        for array in map(_memory, _flat(node.saved)):
            if id(array) not in parameters:
                kept[id(array)] = array.nbytes
        todo += [source for source, _ in node.edges if isinstance(source, Function)]
    return sum(kept.values())


def _memory(array: Any) -> Any:
    """The array that owns the memory of a view: two layers may keep two views of one."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _flat(saved: Any) -> Iterator[Any]:
    for item in saved:
        if isinstance(item, tuple):
            yield from _flat(item)
        elif item is not None:
            yield item


def step_bytes(model: Sequential, batch_size: int) -> int:
    """The memory of one training step: weights, gradients and velocities, and what forward keeps for backward,
    measured on two images and scaled to the batch. Blocks and passing gradients come on top (some tens of MB)."""
    mode, images = model.training, 2
    model.train()
    logits = model(blank(model, images))
    kept = saved_bytes(F.cross_entropy(logits, backend.asarray(np.zeros(images, np.int64))))
    model.train(mode)
    parameters = sum(p.data.nbytes for p in model.parameters())
    return 3 * parameters + kept * batch_size // images


def statistics(model: Sequential, x: Tensor) -> str:
    """One line a layer: mean, standard deviation and largest magnitude of its output and of its weight. For finding
    the layer in which the numbers left the finite."""
    lines = [f"{'layer':<10} {'output mean':>12} {'std':>10} {'max':>10}   {'weight std':>10} {'max':>10}"]
    with np.errstate(all="ignore"):
        for name, layer, y in outputs(model, x):
            a = backend.to_numpy(y.data)
            line = f"{name:<10} {a.mean():>12.3g} {a.std():>10.3g} {np.abs(a).max():>10.3g}"
            if hasattr(layer, "weight"):
                w = backend.to_numpy(layer.weight.data)
                line += f"   {w.std():>10.3g} {np.abs(w).max():>10.3g}"
            lines.append(line)
    return "\n".join(lines)
