"""Ranks with a GPU each, whose arrays travel from device to device through NCCL.

    rank 0   GPU 0 ══╗                   sends and receives of a group, all at once;
    rank 1   GPU 1 ══╬══ NVLink, PCIe,   then each GPU adds up what has arrived
    rank 2   GPU 2 ══╝   or the network

It has been run against a stand-in only: on two GPUs it has not.
"""
import atexit
from collections.abc import Sequence
from typing import Any

from .. import backend
from .interface import Comm
from .on_devices import OnDevices, side_stream
from .parts import Array, Shape


class Nccl(OnDevices):
    """Ranks with a GPU each. Sums are grouped sends and receives, and additions in the order of
    the tree: the bits are those of the host, whatever ring or tree NCCL would choose for a sum of
    its own. All work is queued on the current stream; of a twin on a stream of its own, so that it
    runs beside the computation.

    Constructing it waits for all ranks.
    """

    def __init__(self, nccl: Any, control: Comm, side: Any = None) -> None:
        super().__init__(control, side)
        self.nccl = nccl        # the module cupy.cuda.nccl, or its like
        self.library = f"NCCL, {control.library}"
        # Whoever knows the number that rank 0 has drawn belongs to the job. JSON has no bytes.
        identity = list(nccl.get_unique_id()) if self.rank == 0 else None
        identity = control.broadcast(identity)
        self.communicator = nccl.NcclCommunicator(self.size, bytes(identity or ()), self.rank)
        # While all ranks are there: given up later, as the interpreter takes itself apart, it may
        # wait for ranks that have gone. A rank that fails does not come past here (`abort`).
        atexit.register(self.communicator.destroy)

    def _swap(self, pieces: Sequence[Array], shapes: Sequence[Shape]) -> list[Array]:
        xp = backend.xp_of(pieces[0])
        dtype = pieces[0].dtype
        sent = [xp.ascontiguousarray(piece) for piece in pieces]
        received = [xp.empty(shape, dtype) for shape in shapes]
        stream = _stream(xp)
        # As bytes, for NCCL has no name for every dtype. Within a group nothing waits for its
        # partner, so no order can block.
        byte = self.nccl.NCCL_UINT8
        self.nccl.groupStart()
        for rank in range(self.size):
            # Both sides know the shape of an empty piece, and leave it out.
            if sent[rank].size:
                self.communicator.send(_pointer(sent[rank]), sent[rank].nbytes, byte, rank, stream)
            if received[rank].size:
                self.communicator.recv(_pointer(received[rank]), received[rank].nbytes, byte, rank,
                                       stream)
        self.nccl.groupEnd()
        return received

    def _rows_per_chunk(self, flat: Array) -> int:
        return max(1, flat.size)  # there is no cache to stay in

    def split(self, color: int) -> "Nccl":
        return Nccl(self.nccl, self.control.split(color))

    def twin(self) -> "Nccl":
        return Nccl(self.nccl, self.control.twin(), side_stream())


def _pointer(a: Array) -> int:
    """Where a device array begins."""
    return a.data.ptr


def _stream(xp: Any) -> int:
    """The current stream of the device, as NCCL takes it."""
    return xp.cuda.get_current_stream().ptr
