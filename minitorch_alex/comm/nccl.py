"""Ranks with a GPU each, whose arrays travel from device to device through NCCL."""
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

from .. import backend
from .interface import Comm
from .parts import Array, Shape


class Nccl(Comm):
    """Ranks with a GPU each, whose arrays travel from device to device through NCCL. Everything
    else goes through `control`.

    Sums are grouped sends and receives, and additions in the order of the tree: the bits are those
    of the host, whatever ring or tree NCCL would choose for a sum of its own. All work is queued on
    the current stream; of a twin on a stream of its own, so that it runs beside the computation.

    The device must have been chosen. Constructing it waits for all ranks. It has been run against
    a stand-in only: on two GPUs it has not.
    """

    def __init__(self, nccl: Any, control: Comm, side: Any = None) -> None:
        self.nccl = nccl        # the module cupy.cuda.nccl, or its like
        self.control = control
        self.side = side        # the twin's stream
        for name in ("rank", "size", "host", "local_rank", "local_size"):
            setattr(self, name, getattr(control, name))
        self.library = f"NCCL, {control.library}"
        identity = list(nccl.get_unique_id()) if self.rank == 0 else None
        identity = control.broadcast(identity)  # JSON has no bytes
        self.communicator = nccl.NcclCommunicator(self.size, bytes(identity or ()), self.rank)

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
            if sent[rank].size:
                self.communicator.send(_pointer(sent[rank]), sent[rank].nbytes, byte, rank, stream)
            if received[rank].size:
                self.communicator.recv(_pointer(received[rank]), received[rank].nbytes, byte, rank,
                                       stream)
        self.nccl.groupEnd()
        return received

    def _rows_per_chunk(self, flat: Array) -> int:
        return max(1, flat.size)  # there is no cache to stay in

    def broadcast(self, value: Any = None, root: int = 0) -> Any:
        return self.control.broadcast(value, root)

    def collect(self, value: Any) -> list[Any]:
        return self.control.collect(value)

    def agree(self, flags: Sequence[int], now: bool = False) -> list[int]:
        return self.control.agree(flags, now)

    def split(self, color: int) -> "Nccl":
        return Nccl(self.nccl, self.control.split(color))

    def twin(self) -> "Nccl":
        stream = backend.current().xp.cuda.Stream(non_blocking=True)
        return Nccl(self.nccl, self.control.twin(), stream)

    def fence(self) -> Any:
        cuda = backend.current().xp.cuda
        event = cuda.Event(disable_timing=True)
        event.record(cuda.get_current_stream())
        return event

    @contextmanager
    def after(self, fence: Any) -> Iterator[None]:
        backend.use_device(self.local_rank)  # the current device is each thread's own
        with self.side:
            self.side.wait_event(fence)
            yield

    def join(self) -> None:
        cuda = backend.current().xp.cuda
        event = cuda.Event(disable_timing=True)
        event.record(self.side)
        cuda.get_current_stream().wait_event(event)

    def beat(self, place: str, advice: str = "") -> None:
        self.control.beat(place, advice)

    def patience(self) -> AbstractContextManager[None]:
        return self.control.patience()

    def abort(self, code: int) -> NoReturn:
        self.control.abort(code)

    def close(self) -> None:
        """Give the communicator up, while all ranks are there: left to the end of the process, it
        may wait for ranks that have gone."""
        self.communicator.destroy()


def _pointer(a: Array) -> int:
    """Where a device array begins."""
    return a.data.ptr


def _stream(xp: Any) -> int:
    """The current stream of the device, as NCCL takes it."""
    return xp.cuda.get_current_stream().ptr
