"""What ranks can do with each other: `Comm`, which everything that is parallel is written against,
and `Alone`, the case of one process.
"""
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

import numpy as np

from .. import backend
from ..errors import UsageError
from .parts import Array, Shape, cut, flat_view, lengths, part, tree_sum, with_length

CHUNK = 2**20  # bytes of an array that travel at a time: they stay in a processor's cache
LEAST_PIECE = 64 * 2**10  # bytes that two ranks exchange at least: many ranks have larger chunks


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
        flat = flat_view(a)
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
        shapes = [with_length(a.shape, axis, n) for n in lengths(total, self.size)]
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
        pieces = [cut(a, axis, part(a.shape[axis], rank, self.size)) for rank in range(self.size)]
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
        pieces = [cut(a, axis_out, part(a.shape[axis_out], rank, self.size))
                  for rank in range(self.size)]
        own = pieces[self.rank].shape
        shapes = [with_length(own, axis_in, n) for n in lengths(total, self.size)]
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

    def close(self) -> None:
        """Give up what the ranks share, while all of them are there; nothing is sent after it.
        Left to the end of the processes, it may wait for ranks that have gone."""


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
