"""Ranks that are processes, through MPI."""
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from typing import Any, NoReturn

import numpy as np

from .. import backend
from .interface import Comm
from .parts import Array, Shape, flat_view, lengths, part, tree_sum
from .watchdog import Watchdog

NAP = 1e-4  # seconds between two looks at what travels beside a computation
LAST_WORDS = 0.3  # seconds in which mpiexec reads what a rank has printed; Abort loses the rest


class Mpi(Comm):
    """Ranks that are processes, through MPI. Arrays lie in host memory; for those on GPUs see
    devices.py.

    `timeout` is how many seconds a rank waits for the others before it gives up (`Watchdog`).
    """

    def __init__(self, mpi: Any, ranks: Any, timeout: float = 0.0) -> None:
        self.mpi = mpi      # the module mpi4py.MPI
        self.ranks = ranks  # its communicator
        self.rank = ranks.Get_rank()
        self.size = ranks.Get_size()
        self.host = mpi.Get_processor_name()
        self.library = library_name(mpi)
        neighbours = ranks.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_rank = neighbours.Get_rank()
        self.local_size = neighbours.Get_size()
        neighbours.Free()
        self.watchdog = Watchdog(self.rank, self.host, timeout)
        self._is_split = False                # whether `split` has made it
        self._is_twin = False                 # whether it is for another thread
        self._request: Any = None             # the `agree` on its way
        self._flags: tuple[np.ndarray, np.ndarray] | None = None  # what it reads and writes

    def gather(self, a: Array, axis: int = 0, total: int | None = None,
               out: Array | None = None) -> Array:
        if axis % a.ndim:
            return super().gather(a, axis, total, out)
        # Along the first axis the parts lie one after the other: nothing is copied.
        total = self._total(a, 0, total)
        if out is None:
            out = np.empty((total, *a.shape[1:]), a.dtype)
        flat = flat_view(out)
        row = prod(a.shape[1:])
        ends = np.cumsum([n * row for n in lengths(total, self.size)])
        parts = np.split(flat, ends[:-1])
        own = parts[self.rank]
        if not np.shares_memory(own, a):
            own[...] = a.reshape(-1)  # (n_r, ...) -> (size,)
        for here in self._stretches(parts):
            self._hand_round(parts, here)
        return out

    def scatter_sum(self, a: Array, axis: int = 0, out: Array | None = None) -> Array:
        if a.ndim > 1 or not a.flags.c_contiguous:
            return super().scatter_sum(a, axis, out)
        parts = [a[part(a.size, rank, self.size)] for rank in range(self.size)]
        own = parts[self.rank]
        out = np.empty(own.size, a.dtype) if out is None else out
        # This rank's own part of `a` is never sent, so `out` may be that very part; and it is the
        # term of this rank, with no copy of it.
        if not np.shares_memory(out, own):
            out[...] = own
        room = self._room(parts)
        for here in self._stretches(parts):
            self._add_up(parts, here, out, room)
        return out

    def sum(self, a: Array) -> Array:
        flat = flat_view(a)
        parts = [flat[part(flat.size, rank, self.size)] for rank in range(self.size)]
        room = self._room(parts)
        for here in self._stretches(parts):
            self._add_up(parts, here, parts[self.rank], room)
            self._hand_round(parts, here)  # while it is in the cache
        return a

    # What long arrays go through, stretch by stretch. `parts` are those of all ranks, in their
    # order, and a stretch is the same rows of each.

    def _stretch_length(self, parts: Sequence[Array]) -> int:
        """Elements of a stretch: those of all ranks stay in a processor's cache."""
        return max(1, self._rows_per_chunk(parts[0]) // self.size)

    def _stretches(self, parts: Sequence[Array]) -> Iterator[slice]:
        length = self._stretch_length(parts)
        for start in range(0, max(piece.size for piece in parts), length):
            yield slice(start, start + length)

    def _room(self, parts: Sequence[Array]) -> Array:
        """Memory for the terms of one stretch: (ranks, elements)."""
        longest = max(piece.size for piece in parts)
        return np.empty((self.size, min(longest, self._stretch_length(parts))), parts[0].dtype)

    def _add_up(self, parts: Sequence[Array], here: slice, out: Array, room: Array) -> None:
        """Add every rank's terms of a stretch of this rank's part to those that `out` has."""
        total = out[here]
        terms = list(room[:, :total.size])
        terms[self.rank] = total
        for to, source in self._partners():
            self._send_receive(parts[to][here], to, terms[source], source)
        tree_sum(terms, total)

    def _hand_round(self, parts: Sequence[Array], here: slice) -> None:
        """Send a stretch of this rank's part to all, and receive theirs."""
        for to, source in self._partners():
            self._send_receive(parts[self.rank][here], to, parts[source][here], source)

    # Ranks meet in pairs. In each of P - 1 rounds a rank sends to one and receives from another,
    # so that all links are in use in both directions:
    #
    #     4 ranks    round 1    0 -> 1 -> 2 -> 3 -> 0      to the next
    #                round 2    0 <-> 2, 1 <-> 3
    #                round 3    0 -> 3 -> 2 -> 1 -> 0
    #
    # A collective of MPI (Alltoallv, Allgatherv) says the same in one call, but copies a rank's
    # own part as well, and takes twice as long between two processes of one machine.

    def _partners(self) -> Iterator[tuple[int, int]]:
        """(the rank to send to, the rank to receive from) of each round."""
        for step in range(1, self.size):
            yield (self.rank + step) % self.size, (self.rank - step) % self.size

    def _send_receive(self, sent: Array, to: int, received: Array, source: int) -> None:
        with self.watchdog.waiting():
            if not self._is_twin:
                self.ranks.Sendrecv(sent, to, 0, received, source, 0)
                return
            # MPI waits by asking again and again, which takes a processor from the backward pass
            # beside which this thread sends. It naps instead; the system goes on sending.
            requests = [self.ranks.Irecv(received, source), self.ranks.Isend(sent, to)]
            while not self.mpi.Request.Testall(requests):
                time.sleep(NAP)

    def _swap(self, pieces: Sequence[Array], shapes: Sequence[Shape]) -> list[Array]:
        dtype = pieces[0].dtype
        sent = np.concatenate([piece.reshape(-1) for piece in pieces])  # shapes -> one (n,)
        counts = [prod(shape) for shape in shapes]
        received = np.empty(sum(counts), dtype)
        with self.watchdog.waiting():
            self.ranks.Alltoallv([sent, [piece.size for piece in pieces]], [received, counts])
        ends = np.cumsum(counts)
        return [received[end - n:end].reshape(shape)  # (n,) -> shape
                for shape, n, end in zip(shapes, counts, ends, strict=True)]

    def broadcast(self, value: Any = None, root: int = 0) -> Any:
        is_array = self.rank == root and backend.is_array(value)
        header = b""
        if self.rank == root:
            content = {"dtype": value.dtype.str, "shape": value.shape} if is_array else value
            header = json.dumps([is_array, content]).encode()
        n_bytes = np.array([len(header)], np.int64)
        with self.watchdog.waiting():
            self.ranks.Bcast(n_bytes, root)
            text = np.frombuffer(bytearray(header or int(n_bytes[0])), np.uint8)
            self.ranks.Bcast(text, root)
        is_array, content = json.loads(text.tobytes())
        if not is_array:
            return value if self.rank == root else content
        if self.rank == root:
            buffer = np.array(backend.to_numpy(value), order="C")
        else:
            buffer = np.empty(content["shape"], content["dtype"])
        with self.watchdog.waiting():
            self.ranks.Bcast(buffer, root)
        return value if self.rank == root else buffer

    def agree(self, flags: Sequence[int], now: bool = False) -> list[int]:
        before = [0] * len(flags)
        if self._request is not None and self._flags is not None:
            with self.watchdog.waiting():
                self._request.Wait()
            before = self._flags[1].tolist()
        self._request = None
        if now:
            return [max(pair) for pair in zip(before, self._maxima(flags), strict=True)]
        mine = np.array(flags, np.int64)
        self._flags = mine, np.zeros_like(mine)  # MPI reads and writes them until the request ends
        self._request = self.ranks.Iallreduce(*self._flags, self.mpi.MAX)
        return before

    def split(self, color: int) -> "Mpi":
        with self.watchdog.waiting():
            ranks = self.ranks.Split(color, self.rank)
        other = Mpi(self.mpi, ranks)
        other.watchdog = self.watchdog
        other._is_split = True
        return other

    def twin(self) -> "Mpi":
        other = self.split(0)
        other._is_twin = True
        return other

    def close(self) -> None:
        if self._is_split:  # those of the whole job end with MPI
            self.ranks.Free()
            self._is_split = False

    def beat(self, place: str, advice: str = "") -> None:
        self.watchdog.place = place
        self.watchdog.advice = advice or self.watchdog.advice

    @contextmanager
    def patience(self) -> Iterator[None]:
        before = self.watchdog.timeout
        self.watchdog.timeout = float("inf")
        try:
            yield
        finally:
            self.watchdog.timeout = before

    def abort(self, code: int) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(LAST_WORDS)
        # MPI says in a line of its own that it was asked to abort: nobody needs it.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self.ranks.Abort(code)
        os._exit(code)  # not reached


def library_name(mpi: Any) -> str:
    """The MPI library and its version: MPICH 5.0.2."""
    name, version = mpi.get_vendor()
    return f"{name} {'.'.join(map(str, version))}"
