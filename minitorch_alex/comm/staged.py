"""Ranks that share a GPU, or whose GPUs have no NCCL between them: arrays travel through the host.

    rank 0   device ── copy ──> page-locked ──┐           ┌──> page-locked ── copy ──> device
                                           control: MPI, sums
    rank 1   device ── copy ──> page-locked ──┘           └──> page-locked ── copy ──> device

NCCL refuses two ranks on one GPU, so this is the only way on which two of them can be tried there.
Page-locked memory is what a GPU reads and writes by itself: a copy from any other goes through one
more, made by the processor.
"""
from collections.abc import Sequence

import numpy as np

from .. import backend
from .interface import Comm
from .on_devices import OnDevices, side_stream
from .parts import Array, Shape, flat_view


class Staged(OnDevices):
    """Ranks on GPUs whose arrays are copied to host memory, travel through `control`, and are
    copied back. Sums are added up there, by the same tree: the bits are those of the host.

    A copy waits for the current stream to come to it, and is done when the method returns.
    """

    def __init__(self, control: Comm, side: object = None) -> None:
        super().__init__(control, side)
        self.library = f"host memory, {control.library}"

    def sum(self, a: Array) -> Array:
        host = _to_host(flat_view(a))
        _to_device(self.control.sum(host), out=flat_view(a))
        return a

    def gather(self, a: Array, axis: int = 0, total: int | None = None,
               out: Array | None = None) -> Array:
        room = None if out is None else backend.pinned(out.shape, out.dtype)
        return _to_device(self.control.gather(_to_host(a), axis, total, room), out)

    def scatter_sum(self, a: Array, axis: int = 0, out: Array | None = None) -> Array:
        return _to_device(self.control.scatter_sum(_to_host(a), axis), out)

    def _swap(self, pieces: Sequence[Array], shapes: Sequence[Shape]) -> list[Array]:
        arrived = self.control._swap([_to_host(piece) for piece in pieces], shapes)
        return [_to_device(array) for array in arrived]

    def split(self, color: int) -> "Staged":
        return Staged(self.control.split(color))

    def twin(self) -> "Staged":
        return Staged(self.control.twin(), side_stream())


def _to_host(a: Array) -> np.ndarray:
    """A copy in page-locked memory, when all work on `a` that was queued before is done."""
    host = backend.pinned(a.shape, a.dtype)
    if a.size:  # there is nothing to copy of an empty part, and no memory
        backend.xp_of(a).ascontiguousarray(a).get(out=host)
    return host


def _to_device(host: np.ndarray, out: Array | None = None) -> Array:
    """A copy on the device: a new array, or `out`."""
    if out is None:
        return backend.asarray(host)
    if host.size:
        out.set(host)
        # The copy may still read `host` when `set` returns, and its memory is given back soon.
        backend.synchronize()
    return out
