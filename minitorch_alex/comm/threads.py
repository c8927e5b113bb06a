"""Ranks that are threads of one process, for lessons and tests."""
import json
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np

from .. import backend
from .interface import Comm
from .parts import Array, Shape

Result = TypeVar("Result")


class Threads:
    """P ranks that are threads of this process: `Threads(4).run(f)` calls f(comm) in each, and
    returns the four results in the order of the ranks.

    Nothing gets faster by it, but everything else is as with processes, and needs no MPI. The
    first exception of a rank ends the others, and is raised. Raises TimeoutError when a rank does
    not come to where the others wait, within `timeout` seconds.
    """

    def __init__(self, size: int, timeout: float = 20.0) -> None:
        self.size = size
        self.timeout = timeout
        self.barrier = threading.Barrier(size, timeout=timeout)
        self.slots: list[Any] = [None] * size  # what each rank shows to the others

    def run(self, body: Callable[["ThreadComm"], Result]) -> list[Result]:
        """body(comm) in P threads."""
        results: list[Any] = [None] * self.size
        errors: list[BaseException] = []

        def work(rank: int) -> None:
            try:
                results[rank] = body(ThreadComm(self, rank))
            except BaseException as error:
                errors.append(error)
                self.barrier.abort()

        threads = [threading.Thread(target=work, args=(rank,), name=f"rank {rank}", daemon=True)
                   for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A rank that only waited for one that failed says less than that one.
        errors.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
        if errors and isinstance(errors[0], threading.BrokenBarrierError):
            raise TimeoutError(f"a rank of {self.size} waited for one that did not come") from None
        if errors:
            raise errors[0]
        return results


class ThreadComm(Comm):
    """One rank of `Threads`."""

    library = "threads"

    def __init__(self, world: Threads, rank: int) -> None:
        self.world = world
        self.rank = rank
        self.size = world.size
        self.host = socket.gethostname()
        self.local_rank = rank
        self.local_size = world.size

    def _show(self, value: Any, read: Callable[[list[Any]], Result]) -> Result:
        """Show a value to the other ranks, and read what they show."""
        self.world.slots[self.rank] = value
        self.world.barrier.wait()
        result = read(self.world.slots)
        self.world.barrier.wait()  # nobody changes what another one still reads
        return result

    def _swap(self, pieces: Sequence[Array], shapes: Sequence[Shape]) -> list[Array]:
        def read(slots: list[Any]) -> list[Array]:
            return [np.array(theirs[self.rank]).reshape(shape)  # as it is -> as promised
                    for theirs, shape in zip(slots, shapes, strict=True)]

        return self._show(list(pieces), read)

    def broadcast(self, value: Any = None, root: int = 0) -> Any:
        def read(slots: list[Any]) -> Any:
            theirs = slots[root]
            if self.rank == root:
                return value
            return np.array(theirs) if backend.is_array(theirs) else json.loads(json.dumps(theirs))

        return self._show(value, read)

    def split(self, color: int) -> "ThreadComm":
        colors = self._show(color, list)
        ranks = [rank for rank, theirs in enumerate(colors) if theirs == color]
        world = None
        if ranks[0] == self.rank:  # the first of them makes what they share
            world = Threads(len(ranks), self.world.timeout)
        world = self._show(world, lambda slots: slots[ranks[0]])
        assert world is not None
        return ThreadComm(world, ranks.index(self.rank))

    def abort(self, code: int) -> NoReturn:
        self.world.barrier.abort()
        raise SystemExit(code)
