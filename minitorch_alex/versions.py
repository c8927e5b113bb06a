"""Whether somebody wrote into the numbers that a backward pass needs.

An operation saves arrays, not copies: a weight of 150 MB would be copied at every step otherwise.
If the array changes between the forward and the backward pass, the gradient is wrong, and nothing
in its shape or size says so:

    first.backward(retain_graph=True)
    optimizer.step()                      # writes into the weights that the graph has saved
    second.backward()                     # would mix new weights with old activations

So each operation notes, of every saved array that is one of its inputs or its result, two things
that are looked at again in backward:

    version       the tensor's count of writes: an optimizer's step, load_state_dict and
                  `t.data -= g` add one to it
    fingerprint   the bytes of the array, or of a sample if it is large, for what no counter sees:
                  `t.data[...] = 0`, an input's NumPy array that is filled again, an array that
                  two tensors share

What cannot be seen: on the host, a write of a few elements into an array of more than WHOLE ones,
between the sampled ones; on a GPU, where reading a sample would wait for the device, whatever does
not add to the version. Saved copies are not looked at, for there a write does no harm.
"""
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import UsageError

if TYPE_CHECKING:
    from .autograd import Function
    from .tensor import Tensor

WHOLE = 8192   # an array of so many elements is compared in full
# Of a larger one at least so many elements, evenly spread: one in each image of a batch or so.
# Each has to come from memory, in the forward pass and again in the backward pass.
SAMPLE = 128


# A saved array, the tensor that it is, and what both were like in the forward pass: (position of
# the tensor among the inputs of the operation, then its result; the tensor, which the graph must
# not keep alive, nor itself through it; its version; the array; the array's fingerprint)
Watched = tuple[int, "weakref.ref[Tensor]", int, Any, bytes]


def watch(saved: tuple[Any, ...], tensors: "tuple[Tensor | None, ...]") -> tuple[Watched, ...]:
    """What to look at again in backward: the saved arrays that are also one of `tensors`, the
    inputs of an operation followed by its result."""
    if not saved:
        return ()
    arrays = [None if tensor is None else tensor.data for tensor in tensors]
    watched = []
    for array in saved:
        i = None if array is None else _position(array, arrays)
        tensor = None if i is None else tensors[i]
        if i is not None and tensor is not None:
            watched.append((i, weakref.ref(tensor), tensor.version, array, fingerprint(array)))
    return tuple(watched)


def _position(array: Any, arrays: list[Any]) -> int | None:
    """Which of the tensors' arrays a write into this one would change; on a GPU, which of them it
    is. None for a copy."""
    for i, own in enumerate(arrays):
        if own is array:
            return i
    if isinstance(array, np.ndarray):
        for i, own in enumerate(arrays):  # a view of it, and the slower question
            if isinstance(own, np.ndarray) and np.may_share_memory(array, own):
                return i
    return None


def fingerprint(array: Any) -> bytes:
    """All bytes of a small array, those of a sample of a large one; of a device's array none."""
    if not isinstance(array, np.ndarray):
        return b""
    if array.size <= WHOLE:
        return array.tobytes()
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat  # neither copies it all
    return flat[::array.size // SAMPLE].tobytes()


def check_unwritten(node: "Function") -> None:
    """Raises UsageError, which names the tensor, when one that an operation watches was written
    after its forward pass."""
    for position, reference, version, array, before in node.watch:
        tensor = reference()
        is_same = tensor is None or tensor.version == version
        if is_same and fingerprint(array) == before:
            continue
        name = getattr(tensor, "name", "")
        place = "the result" if position == len(node.needs) else f"input {position}"
        what = f"{type(tensor).__name__.lower()} {name!r}" if name else place
        raise UsageError(f"backward() through {type(node).__name__}: {what}, of shape "
                         f"{array.shape}, was overwritten after the forward pass (by an "
                         "optimizer's step, load_state_dict or a write into .data), so the "
                         "gradient would be wrong; run the forward pass again, or write after the "
                         "last backward()")
