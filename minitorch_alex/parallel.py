"""Data parallel training: each rank computes the gradients of its part of a batch, and all take
the same step.

    batch of B images   | 0 ... n-1 | n ...       |         |         |     ranks 0, 1, 2, 3
    backward with         n0 / B      n1 / B       n2 / B    n3 / B
    gradients             g0          g1           g2        g3
    scatter_sum           each rank gets its part of (g0 + g1) + (g2 + g3)
    update                of that part of the weights and the velocities
    gather                all weights, on every rank

The loss of a rank is the mean over its images; it starts the backward pass with its share n / B of
the batch, so that the sum of the gradients is that of the whole batch's mean, however uneven the
parts are. The update is element by element, so cutting it changes no bit and saves time on every
rank. (Rajbhandari et al. 2020 call it ZeRO, stage 1.)
"""
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from . import autograd, backend
from .comm import Comm, part
from .errors import UsageError
from .lars import LARS
from .optimizer import Optimizer
from .tensor import Tensor

BUCKET = 16 * 2**20  # bytes of gradients that are summed as soon as all of them are there
# Of a small network, a quarter of it, but not less: a small sum is all latency.
LEAST_BUCKET = 2**20


class DataParallel:
    """An optimizer whose gradients are sums over ranks.

        for rows, first in parallel.pieces(N):            of a batch of N images
            parallel.add(loss_of(rows), share)            share = images of this piece / N
        parallel.update()

    With `shards`, the batch is cut into so many pieces, whatever the number of ranks, and their
    gradients are summed by one binary tree over the pieces: first inside of each rank, then
    between the ranks. The weights are then the same to the bit for every number of ranks that
    divides it, as long as each rank has the same number of threads.

    With `overlap`, gradients travel while the backward pass goes on. That pays where the sum is no
    work for the processors that compute: between hosts, or on GPUs. The update is then not cut:
    sums of gradients hide behind the backward pass, a gather of weights after it would not.

    Raises UsageError for shards that are not a power of two, or that the ranks do not divide.
    """

    def __init__(self, optimizer: Optimizer, comm: Comm, shards: int = 0,
                 overlap: bool = False) -> None:
        check_shards(shards, comm.size)
        self.optimizer = optimizer
        self.comm = comm
        self.shards = shards or comm.size
        self.each = self.shards // comm.size  # pieces of a rank
        self.seconds = 0.0  # spent in sums; whoever reports them begins again at 0
        self._sums: list[tuple[int, Any]] = []  # (pieces, their gradients), as far as added up
        self._done = 0  # pieces of this step, until all are
        # With several pieces a gradient is complete only after the last one: nothing to overlap.
        overlaps = overlap and comm.size > 1 and self.each == 1
        self._overlap = _Overlap(optimizer, comm) if overlaps else None
        # LARS asks for the length of a whole layer's gradient: each rank needs all of it.
        self.cut_update = comm.size > 1 and not overlaps and not isinstance(optimizer, LARS)
        self.own = part(optimizer.flat.size, comm.rank, comm.size)  # of the flat arrays
        if self.cut_update:
            optimizer.own = [self.own]

    def pieces(self, n: int) -> list[tuple[slice, int]]:
        """For each of this rank's pieces of a batch of n images: (its place among the rank's own
        images, the number of its first image in the batch)."""
        start = part(n, self.comm.rank, self.comm.size).start
        first = self.comm.rank * self.each  # number of this rank's first piece, of all shards
        rows = [part(n, piece, self.shards) for piece in range(first, first + self.each)]
        return [(slice(own.start - start, own.stop - start), own.start) for own in rows]

    def add(self, loss: Tensor | None, share: float) -> None:
        """The gradients of one piece: of `share` times its loss; None for a piece without
        images."""
        is_second = self._done % 2 == 1  # of two pieces: its gradients are added to the first's
        if not is_second:
            self.optimizer.zero_grad()
            self._clear_frozen()
        if loss is None:
            self._zeros(is_second)
        elif is_second:
            self._backward_onto(loss, share)
        elif self._overlap is None:
            # The share goes in here: dividing the gradients afterwards would be one more pass over
            # memory.
            loss.backward(gradient=loss.data.dtype.type(share))
        else:
            self._overlap.backward(loss, share)
        self._add_up()

    def _backward_onto(self, loss: Tensor, share: float) -> None:
        """loss.backward(gradient=share) that adds each gradient to that of the piece before as
        soon as it is there: so no copy of all gradients has to be kept aside."""
        # A weight that is used twice gets two gradients. They are added to each other first, as
        # on a rank that has this piece alone: rounding depends on which sums meet.
        edges = leaf_edges(_root(loss))
        waiting = {id(p): edges[id(p)] for p in self._parameters()
                   if edges.get(id(p), 0) > 1 and p.grad is not None}
        sums: dict[int, Any] = {}  # of those that wait for more, by id(p)

        def add(leaf: Tensor, g: Any) -> None:
            key = id(leaf)
            if key in waiting:
                waiting[key] -= 1
                g = sums[key] + g if key in sums else g
                sums[key] = g
                if waiting[key]:
                    return
            autograd.accumulate(leaf, g)

        _walk(loss, share, add)

    def _zeros(self, is_second: bool) -> None:
        """Gradients of zero, for every parameter that has a gradient on other ranks."""
        grad = self.optimizer.flat_grad
        if is_second:
            grad += 0  # as every rank adds them: -0 + 0 is 0
        else:
            grad.fill(0)
        for p in self._parameters():
            # Without a gradient a parameter is left out of the update, on this rank alone.
            p.grad = p.grad_place if p.requires_grad else None
        if self._overlap is not None:
            self._overlap.send_all()

    def _clear_frozen(self) -> None:
        """No sums of what an earlier step has left behind."""
        for p in self._parameters():
            if not p.requires_grad:
                p.grad_place.fill(0)

    def _parameters(self) -> list[Any]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _add_up(self) -> None:
        """Add the gradients of two pieces to those of their neighbours, as far as the tree has
        them side by side: a sum of 2^k pieces goes with the next sum of 2^k. The result is in
        flat_grad.

            piece           0     1        2        3
            flat_grad       0     01       2        23, then 0123
            sums kept             01       01                        binary counting
        """
        self._done = (self._done + 1) % self.each
        if self._done % 2:  # the first of two pieces: the second one's gradients come on top
            return
        grad = self.optimizer.flat_grad
        count = 2
        while self._sums and self._sums[-1][0] == count:
            _, left = self._sums.pop()
            # Rounding depends on which sums meet, not on which of the two comes first.
            backend.xp_of(grad).add(left, grad, out=grad)
            count *= 2
        if self._done:
            self._sums.append((count, grad.copy()))

    def update(self) -> None:
        """Sum over the ranks, and take the step."""
        optimizer = self.optimizer
        if self.comm.size == 1:  # shards of one process: their sum is in flat_grad already
            optimizer.step()
            return
        begin = time.perf_counter()
        if self._overlap is not None:
            self._overlap.wait()  # most of it was done during the backward pass
        elif self.cut_update:
            # Only the part that this rank will update: it needs no other part of the sum.
            whole = optimizer.flat_grad
            self.comm.scatter_sum(whole, out=whole[self.own])
        else:
            self.comm.sum(optimizer.flat_grad)
        self.seconds += time.perf_counter() - begin
        optimizer.step()  # where the update is cut, of this rank's part (optimizer.own)
        if self.cut_update:
            # Now all weights, instead of all gradients: as many bytes as a sum for all would take.
            begin = time.perf_counter()
            self._gather(optimizer.flat)
            self.seconds += time.perf_counter() - begin

    def _gather(self, flat: Any) -> None:
        """Every rank's parts of a flat array, on all ranks."""
        self.comm.gather(flat[self.own], total=flat.size, out=flat)

    def gather_state(self) -> None:
        """Bring what the optimizer keeps (velocities) of all parts to all ranks, before it is
        saved. All ranks call it."""
        if self.cut_update:
            for name in self.optimizer.kept:
                self._gather(getattr(self.optimizer, name))

    def close(self) -> None:
        """After the last step, while all ranks are there."""
        if self._overlap is not None:
            self._overlap.thread.shutdown()
            self._overlap.comm.close()
        self.comm.close()


def check_shards(shards: int, ranks: int) -> None:
    """Raises UsageError for shards that are not a power of two, or whose number the ranks do not
    divide."""
    if shards and shards & (shards - 1):
        raise UsageError(f"--shards {shards} is not a power of two; the pieces of a batch are "
                         "summed by a binary tree: use 2, 4, 8, ...")
    if shards and shards % ranks:
        raise UsageError(f"--shards {shards} cannot be shared by {ranks} ranks; use a number of "
                         "ranks that divides it, or leave --shards out")


class _Bucket:
    """A stretch of the flat gradient, and how many of its parameters still wait for a gradient."""

    def __init__(self, place: slice, ids: set[int]) -> None:
        self.place = place  # in the flat gradient
        self.ids = ids      # of its parameters: id(p)
        self.missing = 0


class _Overlap:
    """Sums gradients while the backward pass goes on: the last layers' are complete first, and in
    AlexNet fc6 to fc8 have 96 % of all weights.

        backward   | fc8 | fc7 | fc6 |  conv5  |  conv4  |  conv3  | conv2 | conv1 |
        sums             |  fc8, fc7  |   fc6   ...      |               | the rest |

    A bucket is sent by one thread, in an order that all ranks know: collectives must not overtake
    each other.
    """

    def __init__(self, optimizer: Optimizer, comm: Comm) -> None:
        self.optimizer = optimizer
        self.comm = comm.twin()  # the thread has a Comm of its own
        self.thread = ThreadPoolExecutor(1, "gradients")
        self.buckets = _cut(optimizer)
        self.home = {key: bucket for bucket in self.buckets for key in bucket.ids}
        self._sent: list[Future] = []  # the sums of this step, in the order of the buckets

    def backward(self, loss: Tensor, share: float) -> None:
        """loss.backward(gradient=share), which sends each bucket when its last gradient is
        there."""
        self._sent = []
        # A weight that is used twice gets two gradients, a frozen one none: it waits for nothing.
        waiting = leaf_edges(_root(loss))
        for bucket in self.buckets:
            bucket.missing = len(bucket.ids & waiting.keys())

        def add(leaf: Tensor, g: Any) -> None:
            autograd.accumulate(leaf, g)
            waiting[id(leaf)] -= 1
            if not waiting[id(leaf)] and id(leaf) in self.home:
                self.home[id(leaf)].missing -= 1
                self._send()

        _walk(loss, share, add)
        self._send()  # buckets of which everything is frozen, behind the last one

    def _send(self) -> None:
        """Send the buckets that are complete and whose turn it is."""
        while len(self._sent) < len(self.buckets):
            bucket = self.buckets[len(self._sent)]
            if bucket.missing:  # later ones wait too: on another rank this may be complete first
                return
            self._sent.append(self.thread.submit(self._sum, bucket.place, self.comm.fence()))

    def send_all(self) -> None:
        """Of a rank without images: all buckets are complete."""
        self._sent = []
        for bucket in self.buckets:
            bucket.missing = 0
        self._send()

    def _sum(self, place: slice, fence: Any) -> None:
        """In the thread: the sum of one bucket, whose gradients are there from the fence on."""
        with self.comm.after(fence):
            self.comm.sum(self.optimizer.flat_grad[place])

    def wait(self) -> None:
        """Until all sums are there. Raises what went wrong in the thread."""
        for future in self._sent:
            future.result()
        self.comm.join()


def _root(loss: Tensor) -> autograd.Function:
    """What has made the loss. Raises UsageError when it depends on no parameter."""
    if loss.creator is None:
        raise UsageError("the loss depends on no parameter")
    return loss.creator


def _walk(loss: Tensor, share: float, add: Callable[[Tensor, Any], None]) -> None:
    """loss.backward(gradient=share) that hands each leaf's gradients to `add`."""
    gradient = backend.xp_of(loss.data).full(loss.shape, share, loss.dtype)
    autograd.walk(_root(loss), gradient, add)


def leaf_edges(root: autograd.Function) -> dict[int, int]:
    """For each leaf behind root, by its id, how many gradients will reach it in the backward
    pass."""
    edges: dict[int, int] = {}
    for node in autograd.count_consumers(root):
        for source, _ in node.edges or ():
            if isinstance(source, Tensor):  # a leaf, and no Function: nothing is behind it
                edges[id(source)] = edges.get(id(source), 0) + 1
    return edges


def _cut(optimizer: Optimizer) -> list[_Bucket]:
    """Buckets of whole parameters, in the order in which they are sent: from the end of the first
    group, where the weights of the last layers lie, to the beginning; then the other groups. These
    are small, and hold conv1's bias, which is complete last."""
    # In four pieces at least: the sum of a single one could not begin before the backward pass
    # ends.
    limit = min(BUCKET, max(LEAST_BUCKET, optimizer.flat.nbytes // 4))
    buckets: list[_Bucket] = []
    stop = 0
    for group in optimizer.param_groups:
        own: list[_Bucket] = []
        for p in group["params"]:
            place = slice(stop, stop + p.size)
            stop = place.stop
            room = limit // p.data.dtype.itemsize  # in numbers; a larger parameter has its own
            if own and own[-1].place.stop - own[-1].place.start + p.size <= room:
                own[-1].place = slice(own[-1].place.start, stop)
                own[-1].ids.add(id(p))
            else:
                own.append(_Bucket(place, {id(p)}))
        buckets += reversed(own)
    return buckets
