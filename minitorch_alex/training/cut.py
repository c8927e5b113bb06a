"""Training one network on several ranks: two columns or the hybrid (models/columns.py), with the
run, the optimizer and the checkpoints of one process.

Every rank has the optimizer of the whole network. The layers that it computes are views into the
flat arrays, since a part of a weight's rows is a stretch of memory:

    flat        | conv1.weight    | conv2.weight    | ...     the whole network, on each rank
    rank 0      | own rows        | own rows        |         what it computes and updates
    rank 1      |        own rows |        own rows |

So an update changes the rank's own stretches, and before weights are read as a whole (by an
evaluation, by a checkpoint) the ranks hand them round: the file is that of one process, which can
go on with it.
"""
import time
from typing import Any

import numpy as np

from .. import backend, kernels, streams
from ..comm import Comm, part
from ..errors import UsageError
from ..models import AlexNet, Network
from ..models.columns import Cut, columns, hybrid, hybrid_gradients
from ..nn import BatchNorm2d
from ..optim import SGD
from ..optimizer import Optimizer
from ..tensor import Tensor
from .objective import Loss

PARALLEL = ("data", "columns", "hybrid")


def grid(kind: str, whole: Network, comm: Comm) -> tuple[int, int]:
    """(this rank's part of a batch, of how many): pairs of columns share their images.

    Raises UsageError when the ranks do not make whole networks.
    """
    if kind != "columns":
        return comm.rank, comm.size
    groups = max(whole.config.groups) if isinstance(whole, AlexNet) else 1
    if groups == 1:
        raise UsageError("--parallel columns needs a network with columns, such as alexnet: this "
                         "one has no groups, so every layer reads all maps; take --parallel "
                         "hybrid, or data")
    if comm.size % groups:
        raise UsageError(f"--parallel columns: the network has {groups} columns, and {comm.size} "
                         f"rank{'s are' if comm.size > 1 else ' is'} no multiple of that; start "
                         f"{groups} ranks, or {2 * groups}")
    return comm.rank // groups, comm.size // groups


class CutParallel:
    """How a step is taken where each rank has a part of the network, in the place of
    parallel.DataParallel.

    Raises UsageError for a network that cannot be cut, and for LARS, whose rates need the length
    of whole layers.
    """

    def __init__(self, kind: str, whole: Network, optimizer: Optimizer, comm: Comm,
                 scheme: str = "c", passes: int = 1) -> None:
        if kind == "hybrid" and scheme == "b" and passes not in (1, comm.size):
            raise UsageError(f"fc_scheme=b has one pass for each of {comm.size} ranks, got "
                             f"fc_passes={passes}; set fc_passes={comm.size}, or fc_scheme=c")
        if not isinstance(optimizer, SGD):
            raise UsageError(f"--parallel {kind}: LARS needs the length of whole layers, of which "
                             "each rank has a part; take --parallel data, or --set rule=2012")
        self.kind = kind
        self.optimizer = optimizer
        self.comm = comm
        self.scheme = scheme  # of the hybrid, where it takes several passes
        self.passes = passes
        self.seconds = 0.0  # spent in sums of gradients; whoever reports them begins again at 0
        self.place, self.places = grid(kind, whole, comm)
        # Four ranks in two columns:      images of the first half   of the second half
        #     column 0                    rank 0                     rank 2    } equals: one sum of
        #     column 1                    rank 1                     rank 3      gradients per row
        #                                 sharing: one network       sharing
        if kind == "columns":
            self.sharing = comm.split(self.place)                   # the columns of one network
            self.equals = comm.split(comm.rank % self.sharing.size)  # the same column of all
            self.net: Cut = columns(whole, self.sharing)  # type: ignore[arg-type]
        else:
            self.sharing = comm
            self.equals = comm
            self.net = hybrid(whole, comm)
        self._link(whole)

    def _link(self, whole: Network) -> None:
        """Let the cut layers' parameters be views of the optimizer's."""
        mine = dict(self.net.named_parameters())
        self.pairs = [(name, mine[name], p) for name, p in whole.named_parameters()]
        starts = _starts(self.optimizer)
        own: dict[bool, list[slice]] = {True: [], False: []}  # by whether a layer is cut
        for name, cut, p in self.pairs:
            is_cut = self.net.is_cut(name)
            rows = part(len(p.data), self.sharing.rank, self.sharing.size)
            rows = rows if is_cut else slice(0, len(p.data))  # of p's first axis
            if cut is not p:  # the hybrid's convolutions are the network's own
                cut.data = p.data[rows]
                cut.grad_place = p.grad_place[rows]
            width = p.size // len(p.data)  # numbers in a row
            start = starts[id(p)]
            own[is_cut].append(slice(start + rows.start * width, start + rows.stop * width))
        self.cut_stretches = own[True]
        self.whole_stretches = own[False]
        self._link_norms(whole)

    def _link_norms(self, whole: Network) -> None:
        """Batch normalisation: running statistics are views of the network's, and those of a batch
        are exchanged where the images of one layer are on several ranks. (Columns have all images
        of their pair; behind the seam of the hybrid each rank has those of all.)"""
        mine = dict(self.net.named_buffers())
        self.buffers = []
        for name, buffer in whole.named_buffers():
            if self.net.is_cut(name):
                rows = part(len(buffer.data), self.sharing.rank, self.sharing.size)
                mine[name].data = buffer.data[rows]
                self.buffers.append(buffer)
        layers = list(self.net)
        for layer in layers[:self.net.seam] if self.kind == "hybrid" else layers:
            if isinstance(layer, BatchNorm2d) and self.equals.size > 1:
                layer.ranks = self.equals
        self.exchanges = any(getattr(layer, "ranks", None) is not None for layer in layers)

    def take_step(self, step: int, loss_of: Loss, x: Any, labels: Any,
                  images: int) -> tuple[Any, Any, int]:
        """One step on this rank's images x of a batch of `images`. Returns (loss summed over
        images, wrong answers, images) on one rank of those that see the same logits, and zeros on
        the others, so that a sum over all ranks counts each image once."""
        for _, cut, p in self.pairs:
            cut.requires_grad = p.requires_grad  # a recipe may freeze layers
        self.optimizer.zero_grad()
        self._forget()
        if self.kind == "columns":
            return self._column_step(step, loss_of, x, labels, images)
        return self._hybrid_step(step, loss_of, x, labels, images)

    def _column_step(self, step: int, loss_of: Loss, x: Any, labels: Any,
                     images: int) -> tuple[Any, Any, int]:
        """Both columns compute the pair's images; equal columns sum their gradients."""
        n = len(labels)
        # A last batch may be smaller than the number of pairs.
        takes_part = n > 0 or self.exchanges
        if takes_part:
            streams.set_step(step, part(images, self.place, self.places).start)
            logits = self.net(Tensor(backend.asarray(x)))  # (n, 3, H, W) -> (n, K), in each column
            loss = loss_of(logits, labels) if n else logits.sum()
            # The pair's share of the batch, and half of it: both columns compute the same loss.
            loss.backward(gradient=loss.dtype.type(n / images * self.net.share))
        self._sum(self.cut_stretches, has_gradients=takes_part)
        self._update(self.cut_stretches)
        if not n or self.sharing.rank:
            return 0.0, 0.0, 0
        return _counts(loss, logits, labels)

    def _hybrid_step(self, step: int, loss_of: Loss, x: Any, labels: Any,
                     images: int) -> tuple[Any, Any, int]:
        """The convolutions on this rank's images, the cut layers on all; see hybrid_gradients."""
        streams.set_step(step)
        scheme, passes = self._scheme(images)
        inner = None
        if passes > 1:
            def inner() -> None:
                # A pass sees 1 / passes of the batch, so it takes that share of the rate: the
                # linear rule, and in all as long a way as one update.
                self._update(self.cut_stretches, 1 / passes)
                self._forget(cut_only=True)

        passed = hybrid_gradients(self.net, Tensor(backend.asarray(x)), backend.asarray(labels),
                                  scheme, passes, inner, loss_of)
        self._sum(self.whole_stretches, has_gradients=True)
        # With several passes the cut layers have had their updates.
        self._update(self.whole_stretches if passes > 1
                     else self.whole_stretches + self.cut_stretches)
        if self.comm.rank:
            return 0.0, 0.0, 0
        counts = [_counts(one.loss, one.logits, one.labels) for one in passed]
        losses, wrong, numbers = zip(*counts, strict=True)
        return sum(losses), sum(wrong), sum(numbers)

    def _scheme(self, images: int) -> tuple[str, int]:
        """How the cut layers see a batch. One that cannot be cut evenly, the last of an epoch
        perhaps, takes one pass."""
        parts = self.comm.size * (1 if self.scheme == "b" else self.passes)
        if self.passes == 1 or images % parts:
            return "a", 1
        return self.scheme, self.passes

    def _forget(self, cut_only: bool = False) -> None:
        """Forget the gradients of the layers that this rank computes."""
        for name, cut, p in self.pairs:
            if not cut_only or self.net.is_cut(name):
                cut.grad = None
                p.grad = None

    def _sum(self, stretches: list[slice], has_gradients: bool) -> None:
        """The sum over ranks of stretches of the gradient."""
        for _, cut, _ in self.pairs:
            if cut.grad is None:  # frozen, or on a rank without images
                cut.grad_place[...] = 0  # what an earlier step has left there must not be summed
                cut.grad = None if has_gradients or not cut.requires_grad else cut.grad_place
        begin = time.perf_counter()
        for stretch in _joined(stretches):
            self.equals.sum(self.optimizer.flat_grad[stretch])
        self.seconds += time.perf_counter() - begin

    def _update(self, stretches: list[slice], factor: float = 1.0) -> None:
        """A step of the optimizer on these stretches, at `factor` times its rates."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        for _, cut, p in self.pairs:
            p.grad = None if cut.grad is None else p.grad_place
        self.optimizer.own = stretches  # what the step changes, and nothing else
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for _, cut, p in self.pairs:
            if cut is not p:
                cut.version += cut.grad is not None  # a graph that holds the old weight refuses
        kernels.trim_memory()

    # The whole network.

    def gather_weights(self) -> None:
        """Bring the weights of all parts to all ranks, and the running statistics. All ranks call
        it."""
        self._gather(self.optimizer.flat)
        for buffer in self.buffers:
            whole = buffer.data
            own = whole[part(len(whole), self.sharing.rank, self.sharing.size)]
            self.sharing.gather(own, total=len(whole), out=whole)

    def gather_state(self) -> None:
        """The same, and what the optimizer keeps (velocities), before it is saved."""
        self.gather_weights()
        for name in self.optimizer.kept:
            self._gather(getattr(self.optimizer, name))

    def close(self) -> None:
        """After the last step, while all ranks are there."""
        if self.sharing is not self.comm:
            self.sharing.close()
            self.equals.close()
        self.comm.close()

    def _gather(self, flat: Any) -> None:
        starts = _starts(self.optimizer)
        for name, _, p in self.pairs:
            if self.net.is_cut(name):
                start = starts[id(p)]
                # A parameter's rows lie one after the other, so ranks' parts are joined in place.
                whole = flat[start:start + p.size].reshape(len(p.data), -1)  # -> (rows, width)
                own = whole[part(len(whole), self.sharing.rank, self.sharing.size)]
                self.sharing.gather(own, total=len(whole), out=whole)


def _starts(optimizer: Optimizer) -> dict[int, int]:
    """Where each parameter begins in the flat arrays, by its id."""
    starts = {}
    start = 0
    for group in optimizer.param_groups:
        for p in group["params"]:
            starts[id(p)] = start
            start += p.size
    return starts


def _joined(stretches: list[slice]) -> list[slice]:
    """Neighbouring stretches as one: fewer, longer sums."""
    joined: list[slice] = []
    for stretch in sorted(stretches, key=lambda s: s.start):
        if joined and joined[-1].stop == stretch.start:
            joined[-1] = slice(joined[-1].start, stretch.stop)
        else:
            joined.append(stretch)
    return joined


def _counts(loss: Tensor, logits: Tensor, labels: Any) -> tuple[Any, Any, int]:
    """(loss summed over images, wrong answers, images); nothing is read from a device."""
    wrong = (logits.data.argmax(axis=1) != backend.asarray(labels)).sum()
    return loss.data.astype(np.float64) * len(labels), wrong.astype(np.float64), len(labels)
