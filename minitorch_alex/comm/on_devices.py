"""What ranks on GPUs have in common, whichever way their arrays take (nccl.py, staged.py).

Numbers, flags and whatever else is small goes through `control`, ranks of host memory. And a GPU
has streams: queues of work that run beside each other. `DataParallel` sums gradients on a second
one while the backward pass goes on:

    thread of the training   backward fc8 | fence | backward fc7 | fence | ...        join | update
    its twin's thread                       └─ after: sum fc8 ─────┴─ after: sum fc7 ──┘

A fence is an event on the first stream: the second waits for it, the host does not.
"""
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

from .. import backend
from .interface import Comm


class OnDevices(Comm):
    """Ranks whose arrays lie on GPUs. `control` are the same ranks in host memory; `side` is the
    stream of a twin. The device must have been chosen (devices.py)."""

    def __init__(self, control: Comm, side: Any = None) -> None:
        self.control = control
        self.side = side
        for name in ("rank", "size", "host", "local_rank", "local_size"):
            setattr(self, name, getattr(control, name))

    # Small values.

    def broadcast(self, value: Any = None, root: int = 0) -> Any:
        return self.control.broadcast(value, root)

    def collect(self, value: Any) -> list[Any]:
        return self.control.collect(value)

    def agree(self, flags: Sequence[int], now: bool = False) -> list[int]:
        return self.control.agree(flags, now)

    # Streams.

    def fence(self) -> Any:
        cuda = backend.current().xp.cuda
        event = cuda.Event(disable_timing=True)
        event.record(cuda.get_current_stream())
        return event

    @contextmanager
    def after(self, fence: Any) -> Iterator[None]:
        # The current device is each thread's own, and a new thread has the first one.
        backend.use_device(self.local_rank % max(1, backend.devices()))
        with self.side:
            self.side.wait_event(fence)
            yield

    def join(self) -> None:
        cuda = backend.current().xp.cuda
        event = cuda.Event(disable_timing=True)
        event.record(self.side)
        cuda.get_current_stream().wait_event(event)

    # Failure.

    def beat(self, place: str, advice: str = "") -> None:
        self.control.beat(place, advice)

    def patience(self) -> AbstractContextManager[None]:
        return self.control.patience()

    def abort(self, code: int) -> NoReturn:
        self.control.abort(code)

    def close(self) -> None:
        self.control.close()


def side_stream() -> Any:
    """A stream beside that of the computation. (One that blocks would wait for CUDA's default
    stream, on which the backward pass runs.)"""
    return backend.current().xp.cuda.Stream(non_blocking=True)
