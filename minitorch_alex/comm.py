"""Several processes: who takes part, and what they send to each other.

The processes of a training are its ranks 0, 1, ..., P - 1. Each holds arrays of its own, and all
of them call the same methods in the same order; a method returns when its part is done:

    rank        0        1        2          sum        gather     scatter_sum  exchange
    has         a        b        c
    gets                                     a+b+c      a b c      its third    a third of each
                                             (all)      (all)      of a+b+c

There are four kinds of `Comm`: `Alone` (one process: nothing is sent, nothing is imported), `Mpi`
(arrays in host memory, through mpi4py), `Nccl` (arrays on GPUs, with an Mpi for everything else),
and `Threads`, ranks that are threads of one process, for lessons and tests.

This is the only file that imports mpi4py. Importing it starts MPI, which takes a tenth of a second
and can end the process on a machine where no job may run, so that happens in `start` alone, and
only under a launcher.

What is cut into parts is cut by one rule, `part`: of n rows, rank r has n r // P up to
n (r + 1) // P. Sums are those of a binary tree over the ranks (`tree_sum`), so their bits depend
on the number of ranks alone: not on the MPI library, its algorithms, the hosts or the chunks.
"""
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from math import prod
from typing import Any, NoReturn, TypeVar

import numpy as np

from . import backend
from .errors import BackendError, UsageError

Array = Any  # NumPy's or a device's
Shape = tuple[int, ...]
Result = TypeVar("Result")

CHUNK = 2 * 2**20  # bytes of an array that travel at a time: they stay in a processor's cache
LAST_WORDS = 0.3  # seconds in which mpiexec reads what a rank has printed; Abort loses the rest
LEAST_PIECE = 64 * 2**10  # bytes that two ranks exchange at least: many ranks have larger chunks


def part(n: int, rank: int, size: int) -> slice:
    """The rows of rank `rank`, of n rows that `size` ranks share: contiguous, disjoint, complete,
    and as even as they can be. Some are empty when n < size."""
    return slice(n * rank // size, n * (rank + 1) // size)


def lengths(n: int, size: int) -> list[int]:
    """How many of n rows each rank has."""
    parts = [part(n, rank, size) for rank in range(size)]
    return [rows.stop - rows.start for rows in parts]


def tree_sum(terms: Sequence[Array], out: Array | None = None) -> Array:
    """The sum of arrays of one shape by a binary tree: ((0 + 1) + (2 + 3)) + (4 + 5), and so on.

    The arrays are overwritten. With `out` the sum is written there; it may be one of the arrays.

    Neighbours are added first, then the sums of neighbours. So whoever holds a block of 2^k
    neighbours can add these up alone, and the bits of the whole are the same. The rounding error
    grows with log P where that of a sum from left to right grows with P.
    """
    rows = list(terms)
    while len(rows) > 2:
        for left, right in zip(rows[::2], rows[1::2], strict=False):
            left += right
        rows = rows[::2]  # an odd one out goes up as it is
    if out is None:
        out = rows[0]
    if len(rows) == 2:
        xp = backend.xp_of(out)
        xp.add(rows[0], rows[1], out=out)
    elif out is not rows[0]:
        out[...] = rows[0]
    return out


class Comm:
    """The ranks of a job, seen from one of them.

    rank, size              this rank's number, and how many there are
    host                    the name of the machine
    local_rank, local_size  the same among the ranks on this machine
    library                 what carries the arrays, for people to read

    A kind of Comm has to define `_swap`; everything about arrays follows from it. Arrays are of
    any dtype and may be empty; C-contiguous ones are sent without being copied first.
    """

    rank: int = 0
    size: int = 1
    host: str = ""
    local_rank: int = 0
    local_size: int = 1
    library: str = ""  # what carries the arrays: MPICH 5.0.2
    _pending: Sequence[int] | None = None  # the answer of the last `agree`, to be read by the next

    # Arrays.

    def sum(self, a: Array) -> Array:
        """Replace `a` by its sum over all ranks, the same bits on each. It must be contiguous.

        In chunks, of which each rank adds up its part and passes it on.
        """
        flat = _flat(a)
        per_chunk = self._rows_per_chunk(flat)
        for start in range(0, flat.size, per_chunk):
            chunk = flat[start:start + per_chunk]
            own = chunk[part(chunk.size, self.rank, self.size)]
            self.scatter_sum(chunk, out=own)
            self.gather(own, total=chunk.size, out=chunk)
        return a

    def gather(self, a: Array, axis: int = 0, total: int | None = None,
               out: Array | None = None) -> Array:
        """Every rank's array, side by side along `axis`: (..., n_r, ...) -> (..., total, ...).

        Without `total` all are as long along the axis as this rank's. With it they are the parts
        of `total` rows by the rule of `part`. `out`, a contiguous array of the result's shape, is
        used with axis 0 only; `a` may be its own part of it.

        Raises UsageError when this rank's array is not the part that it should be.
        """
        axis %= a.ndim
        total = self._total(a, axis, total)
        shapes = [_with_length(a.shape, axis, n) for n in lengths(total, self.size)]
        joined = backend.xp_of(a).concatenate(self._swap([a] * self.size, shapes), axis)
        if out is None:
            return joined
        out[...] = joined
        return out

    def scatter_sum(self, a: Array, axis: int = 0, out: Array | None = None) -> Array:
        """The sum of `a` over all ranks, of which this one gets its part along `axis`:
        (..., total, ...) -> (..., n_r, ...). All ranks give arrays of one shape.

        The adjoint of `gather`: <gather(x), g> = <x, scatter_sum(g)>, summed over ranks.
        """
        axis %= a.ndim
        pieces = [_cut(a, axis, part(a.shape[axis], rank, self.size)) for rank in range(self.size)]
        own = pieces[self.rank].shape
        return tree_sum(self._swap(pieces, [own] * self.size), out)

    def exchange(self, a: Array, axis_out: int, axis_in: int, total: int | None = None) -> Array:
        """All to all: `a` is cut into parts along axis_out, of which each rank gets one, and what
        comes is joined along axis_in.

            (..., n_r, ..., m, ...) -> (..., total, ..., m_r, ...)      n at axis_in, m at axis_out

        `total` as in `gather`, of axis_in. Its adjoint is itself with both axes exchanged:
        exchange(g, axis_in, axis_out, total=m). The axes must be two.
        """
        axis_out %= a.ndim
        axis_in %= a.ndim
        if axis_out == axis_in:
            raise UsageError(f"exchange: got axis {axis_out} twice; cut along one axis and join "
                             "along another")
        total = self._total(a, axis_in, total)
        pieces = [_cut(a, axis_out, part(a.shape[axis_out], rank, self.size))
                  for rank in range(self.size)]
        own = pieces[self.rank].shape
        shapes = [_with_length(own, axis_in, n) for n in lengths(total, self.size)]
        return backend.xp_of(a).concatenate(self._swap(pieces, shapes), axis_in)

    def _swap(self, pieces: Sequence[Array], shapes: Sequence[Shape]) -> list[Array]:
        """Send pieces[q] to rank q for all q; what rank q sends here has the shape shapes[q]. The
        arrays that come back may be overwritten."""
        raise NotImplementedError(f"{type(self).__name__} does not define _swap")

    def _total(self, a: Array, axis: int, total: int | None) -> int:
        """The length of all parts along `axis`, after checking that `a` is this rank's."""
        if total is None:
            return a.shape[axis] * self.size
        expected = lengths(total, self.size)[self.rank]
        if a.shape[axis] != expected:
            raise UsageError(f"rank {self.rank} of {self.size} has {a.shape[axis]} of {total} "
                             f"rows along axis {axis}, expected {expected}")
        return total

    def _rows_per_chunk(self, flat: Array) -> int:
        """How many elements of a flat array travel at a time."""
        return max(CHUNK, self.size * LEAST_PIECE) // flat.itemsize

    # Small values.

    def broadcast(self, value: Any = None, root: int = 0) -> Any:
        """Rank `root`'s value, on all ranks: an array, which arrives in host memory, or anything
        that JSON has a form for (tuples come back as lists)."""
        raise NotImplementedError(f"{type(self).__name__} does not define broadcast")

    def collect(self, value: Any) -> list[Any]:
        """Every rank's value, in their order, on all ranks: anything that JSON has a form for."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        sizes = self.gather(np.array([text.size]))
        rows = np.zeros((1, int(sizes.max())), np.uint8)  # all of one length
        rows[0, :text.size] = text
        texts = self.gather(rows)  # (1, L) -> (P, L)
        return [json.loads(row[:n].tobytes()) for row, n in zip(texts, sizes, strict=True)]

    def agree(self, flags: Sequence[int], now: bool = False) -> list[int]:
        """For each flag the largest of all ranks' values, as they were at the last call; 0 at the
        first. So nobody waits, and all ranks learn of it after the same step.

        With `now` the answer includes this call's flags, and the ranks wait for each other.
        """
        latest = self._maxima(flags)
        before = self._pending or [0] * len(flags)
        if now:
            self._pending = None
            return [max(pair) for pair in zip(before, latest, strict=True)]
        self._pending = latest
        return list(before)

    def _maxima(self, flags: Sequence[int]) -> list[int]:
        """For each flag the largest of all ranks' values."""
        rows = self.gather(np.array([flags], np.int64))  # (1, F) -> (P, F)
        return [int(flag) for flag in rows.max(axis=0)]

    def split(self, color: int) -> "Comm":
        """The ranks that name the same number, in the same order, as a Comm of their own."""
        raise NotImplementedError(f"{type(self).__name__} does not define split")

    def twin(self) -> "Comm":
        """The same ranks once more, for another thread: two threads never share a Comm."""
        return self.split(0)

    # Several streams of a device. Host arrays have none: these do nothing.

    def fence(self) -> Any:
        """A point in the work of the device, from where another thread may go on."""

    @contextmanager
    def after(self, fence: Any) -> Iterator[None]:
        """In a twin's thread: what the block does waits for the fence, and for nothing later."""
        yield

    def join(self) -> None:
        """What this thread does from here on waits for all that its twin has begun."""

    # Failure.

    def beat(self, place: str, advice: str = "") -> None:
        """Say where this rank is ("step 12"), and how a job that ends there goes on, unless that
        has been said: what the watchdog prints."""

    def patience(self) -> AbstractContextManager[None]:
        """Around what one rank does for all and what may take long: nobody counts the wait."""
        return nullcontext()

    def abort(self, code: int) -> NoReturn:
        """End all ranks at once; the job's exit code is `code`."""
        raise SystemExit(code)


def _flat(a: Array) -> Array:
    """A contiguous array as a flat view. Raises UsageError for another one."""
    if not a.flags.c_contiguous:
        raise UsageError(f"sum: got an array of shape {a.shape} that is not contiguous; sum it in "
                         "place as it lies in memory, or a copy")
    return a.reshape(-1)  # (...) -> (size,)


def _cut(a: Array, axis: int, rows: slice) -> Array:
    """a[..., rows, ...]."""
    return a[(slice(None),) * axis + (rows,)]


def _with_length(shape: Shape, axis: int, n: int) -> Shape:
    """The shape with n along `axis`."""
    return (*shape[:axis], n, *shape[axis + 1:])


class Alone(Comm):
    """One process: every sum is its own array, and there is nobody to wait for."""

    def __init__(self) -> None:
        self.host = socket.gethostname()

    def sum(self, a: Array) -> Array:
        return a

    def _swap(self, pieces: Sequence[Array], shapes: Sequence[Shape]) -> list[Array]:
        return [backend.xp_of(pieces[0]).array(pieces[0])]

    def broadcast(self, value: Any = None, root: int = 0) -> Any:
        return value

    def collect(self, value: Any) -> list[Any]:
        return [value]

    def agree(self, flags: Sequence[int], now: bool = False) -> list[int]:
        return list(flags)  # nothing has to be waited for

    def split(self, color: int) -> Comm:
        return Alone()


class Mpi(Comm):
    """Ranks that are processes, through MPI. Its arrays lie in host memory; those of a device are
    copied there and back.

    `timeout` is how many seconds a rank waits for the others before it gives up (`Watchdog`).
    """

    def __init__(self, mpi: Any, ranks: Any, timeout: float = 0.0) -> None:
        self.mpi = mpi      # the module mpi4py.MPI
        self.ranks = ranks  # its communicator
        self.rank = ranks.Get_rank()
        self.size = ranks.Get_size()
        self.host = mpi.Get_processor_name()
        self.library = _library(mpi)
        neighbours = ranks.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_rank = neighbours.Get_rank()
        self.local_size = neighbours.Get_size()
        neighbours.Free()
        self.watchdog = Watchdog(self.rank, self.host, timeout)
        self._request: Any = None             # the `agree` on its way
        self._flags: tuple[np.ndarray, np.ndarray] | None = None  # what it reads and writes

    def gather(self, a: Array, axis: int = 0, total: int | None = None,
               out: Array | None = None) -> Array:
        if axis % a.ndim or not isinstance(a, np.ndarray):
            return super().gather(a, axis, total, out)
        # Along the first axis the parts lie one after the other: nothing is copied.
        total = self._total(a, 0, total)
        counts = [n * prod(a.shape[1:]) for n in lengths(total, self.size)]
        if out is None:
            out = np.empty((total, *a.shape[1:]), a.dtype)
        own = _flat(out)[sum(counts[:self.rank]):][:a.size]
        if not np.shares_memory(own, a):
            own[...] = a.reshape(-1)  # (n_r, ...) -> (size,)
        with self.watchdog.waiting():
            self.ranks.Allgatherv(self.mpi.IN_PLACE, [out, counts])
        return out

    def scatter_sum(self, a: Array, axis: int = 0, out: Array | None = None) -> Array:
        if a.ndim > 1 or not isinstance(a, np.ndarray) or not a.flags.c_contiguous:
            return super().scatter_sum(a, axis, out)
        # The chunks are made of a stretch of each rank's part. Nobody else reads this rank's own
        # part of `a`, so `out` may be that very part.
        starts = [part(a.size, rank, self.size).start for rank in range(self.size)]
        counts = lengths(a.size, self.size)
        own = counts[self.rank]
        out = np.empty(own, a.dtype) if out is None else out
        stretch = max(1, self._rows_per_chunk(a) // self.size)
        buffer = np.empty((self.size, min(stretch, own)), a.dtype)
        for done in range(0, max(counts), stretch):
            sent = [min(max(n - done, 0), stretch) for n in counts]
            n = sent[self.rank]
            rows = buffer.reshape(-1)[:self.size * n].reshape(self.size, n)  # (P * n,) -> (P, n)
            with self.watchdog.waiting():
                self.ranks.Alltoallv([a, (sent, [start + done for start in starts])],
                                     [rows, [n] * self.size])
            tree_sum(list(rows), out[done:done + n])
        return out

    def _swap(self, pieces: Sequence[Array], shapes: Sequence[Shape]) -> list[Array]:
        dtype = pieces[0].dtype
        sent = np.concatenate([backend.to_numpy(piece).reshape(-1) for piece in pieces])
        counts = [prod(shape) for shape in shapes]
        received = np.empty(sum(counts), dtype)
        with self.watchdog.waiting():
            self.ranks.Alltoallv([sent, [piece.size for piece in pieces]], [received, counts])
        ends = np.cumsum(counts)
        xp = backend.xp_of(pieces[0])
        return [xp.asarray(received[end - n:end].reshape(shape))  # (n,) -> shape
                for shape, n, end in zip(shapes, counts, ends, strict=True)]

    def sum(self, a: Array) -> Array:
        if isinstance(a, np.ndarray):
            return super().sum(a)
        host = np.ascontiguousarray(backend.to_numpy(a))
        a[...] = backend.xp_of(a).asarray(super().sum(host))
        return a

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
        return other

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


WAITED_TOO_LONG = 8  # the exit code of a rank that has waited for the others in vain


class Watchdog:
    """Ends this process when it has waited too long for the others: MPI itself waits for ever for
    a rank whose host or cable is gone.

    A thread of its own looks at the clock, since a rank that waits cannot. `advice` ends its
    message: how to go on.
    """

    def __init__(self, rank: int, host: str, timeout: float) -> None:
        self.rank = rank
        self.host = host
        self.timeout = timeout
        self.place = "the start"
        self.advice = ""
        self._since: dict[int, float] = {}  # thread -> when it began to wait
        if timeout > 0:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a call that returns when the others have called it too."""
        thread = threading.get_ident()
        self._since[thread] = time.monotonic()
        try:
            yield
        finally:
            self._since.pop(thread, None)

    def _watch(self) -> None:
        while True:
            time.sleep(min(0.5, self.timeout / 10))
            waits = list(self._since.values())
            if waits and time.monotonic() - min(waits) > self.timeout:
                break
        advice = f"; {self.advice}" if self.advice else ""
        print(f"error: rank {self.rank} on {self.host} has waited {self.timeout:g} s for the other "
              f"ranks at {self.place}{advice}", file=sys.stderr, flush=True)
        # Not Abort, which talks to the others and may wait as well.
        os._exit(WAITED_TOO_LONG)


# Threads as ranks.


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


# The start.

# Set for each process by MPICH's mpiexec and srun --mpi=pmi2, by PMIx (srun --mpi=pmix, Open MPI)
# and by Open MPI's mpiexec.
RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


_current: Comm = Alone()  # what `start` has made for this process


def current() -> Comm:
    """The ranks that this process belongs to: Alone before `start` has found others."""
    return _current


def launched_rank() -> int:
    """The rank that a launcher has given to this process, known before MPI starts; 0 without a
    launcher."""
    ranks = [os.environ.get(name, "") for name in RANK_VARIABLES]
    return next((int(rank) for rank in ranks if rank.isdigit()), 0)


def launched() -> int:
    """How many processes a launcher says that it has started with this one; 1 without one."""
    sizes = [os.environ.get(name, "") for name in SIZE_VARIABLES]
    return max([1, *(int(size) for size in sizes if size.isdigit())])


def start(timeout: float = 0.0) -> Comm:
    """The ranks that a launcher has started this process with: Mpi, or Alone without a launcher.
    `timeout` is how many seconds a rank waits for the others before it gives up; 0 for ever.

    Raises BackendError (exit code 3) when mpi4py is missing, and when several processes were
    started that do not know of each other.
    """
    global _current
    expected = launched()
    if not any(name in os.environ for name in RANK_VARIABLES) and expected == 1:
        return _current
    if isinstance(_current, Mpi):
        return _current
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError where it finds no MPI library
        reason = str(error).splitlines()[0]
        raise BackendError("this process was started by an MPI launcher, and mpi4py is not "
                           f"installed ({reason}); pip install 'mpi4py>=4.1' 'mpich>=5'") from None
    size = MPI.COMM_WORLD.Get_size()
    if size == 1 and expected > 1:
        raise BackendError(f"{expected} processes were started but each is alone: the launcher "
                           f"belongs to another MPI than mpi4py ({_library(MPI)}); use the mpiexec of "
                           f"this Python ({own_mpiexec() or 'pip install mpich'}), or "
                           "srun --mpi=pmix")
    if size > 1:
        _current = Mpi(MPI, MPI.COMM_WORLD, timeout)
    return _current


def _library(mpi: Any) -> str:
    """The MPI library and its version: MPICH 5.0.2."""
    name, version = mpi.get_vendor()
    return f"{name} {'.'.join(map(str, version))}"


def choose_device(ranks: Comm) -> None:
    """Give each rank of a host a GPU, in turn; before anything is put on one."""
    count = backend.devices()
    if ranks.size > 1 and count:
        backend.use_device(ranks.local_rank % count)


def between_devices(ranks: Comm) -> Comm:
    """The same ranks for arrays on the current backend: Nccl where every rank has a GPU of its own,
    else `ranks` themselves, which copy a device's arrays to the host and back.

    All ranks call it, after `choose_device`.
    """
    count = backend.devices()
    if ranks.size == 1 or not count:
        return ranks
    if max(ranks.collect(ranks.local_size - count)) > 0:  # NCCL refuses two ranks on one GPU
        return ranks
    return Nccl(backend.nccl(), ranks)


def own_mpiexec() -> str | None:
    """The mpiexec that belongs to this Python, or None."""
    path = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return path if os.path.exists(path) else None
