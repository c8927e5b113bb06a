"""What a training step keeps in memory."""
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from .. import backend
from .. import functional as F
from ..autograd import Function
from ..kernels import gpu
from ..kernels.window import Window
from ..models import Network
from ..nn import Conv2d, in_mode
from ..tensor import Tensor
from .costs import FLOAT_BYTES, Entry, ledger
from .forward import blank


def saved_bytes(loss: Tensor) -> int:
    """How many bytes the graph behind `loss` keeps for backward, parameters not counted."""
    kept: dict[int, int] = {}  # id of an array -> its bytes: several layers may keep the same one
    parameters: set[int] = set()
    visited: set[Function] = set()
    # In any order: what a node keeps does not depend on the others.
    todo = [loss.creator] if loss.creator else []
    while todo:
        node = todo.pop()
        if node in visited:
            continue
        visited.add(node)
        kept |= {id(array): array.nbytes for array in map(_owner, _arrays(node.saved))}
        for source, _ in node.edges or ():
            if isinstance(source, Function):
                todo.append(source)
            elif source is not None:
                parameters.add(id(_owner(source.data)))
    return sum(n_bytes for array, n_bytes in kept.items() if array not in parameters)


def _owner(array: Any) -> Any:
    """The array that owns the memory of a view: two layers may keep two views of one array."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _arrays(saved: Any) -> Iterator[Any]:
    """The arrays among what a Function saved, which may hold tuples, records
    (kernels.half.Factor) and None."""
    for item in saved:
        if isinstance(item, tuple):
            yield from _arrays(item)
        elif is_dataclass(item):
            yield from _arrays(vars(item).values())
        elif item is not None:
            yield item


def memory_needs(model: Network) -> tuple[int, int]:
    """(bytes for any batch, bytes per image) of a training step.

    For any batch: weights, gradients and velocities. Per image: what forward keeps for backward,
    measured on one image and on two. (On a GPU some of that belongs to any batch: weights in the
    order or the precision of the products.) Work memory of the kernels and gradients in flight
    come on top: tens of MB on a CPU, see step_bytes for a GPU.
    """
    # kept(images) = fixed + per_image images, so
    #     per_image = kept(2) - kept(1)    and    fixed = 2 kept(1) - kept(2)
    one, two = (_kept_bytes(model, images) for images in (1, 2))
    parameters = sum(p.data.nbytes for p in model.parameters())
    # three times: weights, gradients, velocities
    return 3 * parameters + max(0, 2 * one - two), two - one


def _kept_bytes(model: Network, images: int) -> int:
    """What forward keeps for the backward pass of so many images. Running statistics stay as they
    are: blank images do not belong to the training."""
    before = [(buffer, buffer.data.copy()) for _, buffer in model.named_buffers()]
    with in_mode(model, training=True):
        logits = model(blank(model, images))
    for buffer, array in before:
        buffer.data[...] = array
    return saved_bytes(F.cross_entropy(logits, backend.asarray(np.zeros(images, np.int64))))


def step_bytes(model: Network, batch_size: int) -> int:
    """The bytes of one training step on a batch; on a GPU with its column matrices."""
    fixed, per_image = memory_needs(model)
    kept = fixed + per_image * batch_size
    if backend.current().kernels is not gpu:
        return kept
    return kept + _gpu_work_bytes(model, batch_size)


def _gpu_work_bytes(model: Network, batch_size: int) -> int:
    """What a step on a GPU takes besides memory_needs: in the layer that needs most, the gradients
    of input and output, and a column matrix: that of the input's gradient, or its own where it is
    not kept (kernels/gpu/columns.py). memory_needs has counted all columns as kept, as they are
    for one image: the others are taken off."""
    before = batch_size * FLOAT_BYTES * 3 * model.image_size**2  # bytes of a layer's input
    # Nobody needs the gradient of the image, which the first convolution would give.
    first = next((layer for layer in model.children() if isinstance(layer, Conv2d)), None)
    most = 0
    all_not_kept = 0
    for layer, entry in zip(model, ledger(model), strict=True):
        after = batch_size * entry.output_bytes
        work = before + after
        if isinstance(layer, Conv2d):
            numbers = _column_numbers(layer, entry, batch_size)
            columns, not_kept = _column_bytes(layer, numbers, before, layer is not first)
            work += columns
            all_not_kept += not_kept
        if _factor_bytes() < FLOAT_BYTES:
            work += after // 2  # the gradient, rounded
        most = max(most, work)  # layers work one after the other, in the same memory
        before = after
    return most - all_not_kept


def _factor_bytes() -> int:
    """The bytes of a number in a matrix product on a GPU."""
    return 2 if backend.precision() in ("fp16", "bf16") else FLOAT_BYTES


def _column_bytes(layer: Conv2d, numbers: int, input_bytes: int,
                  needs_gx: bool) -> tuple[int, int]:
    """(bytes of the column matrix that a convolution works with, bytes that memory_needs has
    counted as its kept columns although they are not kept: it keeps its input in their place).

    numbers       in the column matrix of one group
    input_bytes   of its input, float32
    needs_gx      whether it computes its input's gradient, by a column matrix in float32
    """
    workspace = gpu.columns.WORKSPACE
    work = min(workspace, numbers * FLOAT_BYTES) if needs_gx else 0
    factor_bytes = _factor_bytes()
    if gpu.columns.are_kept(numbers, layer.groups, factor_bytes):
        return work, 0
    work = max(work, min(workspace, numbers * factor_bytes))
    kept_input = input_bytes * factor_bytes // FLOAT_BYTES
    return work, layer.groups * numbers * factor_bytes - kept_input


def _column_numbers(layer: Conv2d, entry: Entry, batch_size: int) -> int:
    """How many numbers the column matrix of one group has on a GPU, with its rows rounded up."""
    _, OH, OW = entry.shape
    length = gpu.columns.pitch(Window.of(layer.kernel_size), layer.in_channels // layer.groups)
    return batch_size * OH * OW * length


def describe_memory(model: Network, gigabytes: float) -> str:
    """What a training step needs, and the largest batch that fits into so many GB of 10^9 bytes,
    in a sentence."""
    fixed, per_image = memory_needs(model)
    batch = int((gigabytes * 1e9 - fixed) // per_image)
    verdict = f"a batch of {batch:,} fits" if batch > 0 else "not one image fits"
    return (f"training takes {fixed / 1e6:,.0f} MB for weights, gradients and velocities and "
            f"{per_image / 1e6:,.2f} MB per image; {verdict} into {gigabytes:g} GB")
