"""How fast several ranks can be: a model of one training step, from what is computed and what is
sent.

Every message costs a latency and its bytes over a bandwidth (the alpha-beta model):

    a message of n bytes             a + n / b
    a sum of n bytes over p ranks    2 (p - 1) a + 2 (p - 1)/p n / b   in a ring; see `sum_seconds`
    a gather to n bytes              (p - 1) a + (p - 1)/p n / b       half of a sum

Links have two levels: the ranks of a host share fast ones, and the hosts a network. What travels
depends on the kind of parallelism:

    data      the gradients of all weights, once a step, whatever the batch
    columns   the maps and features that cross between the two halves of 2012, for every image
    hybrid    the gradients of the convolutions, and the features of every image that the cut,
              fully connected layers read (Krizhevsky 2014, arXiv:1404.5997)

The model knows no stragglers, no reading of images and no jitter, and takes a rank for as fast on
few images as on many: it is an upper bound. docs/scaling.md holds it against measurements.
"""
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .comm import Comm
from .errors import UsageError

KINDS = ("data", "data, overlapped", "columns", "hybrid")


@dataclass(frozen=True)
class Link:
    """What connects two ranks: seconds that any message takes, and bytes per second."""

    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Machines:
    """What the ranks run on.

        images_per_second   of one rank that trains alone
        inside              between two ranks of a host
        between             between two hosts; the ranks of a host share it
    """

    images_per_second: float
    inside: Link
    between: Link
    ranks_per_host: int = 1


@dataclass(frozen=True)
class Layer:
    """A layer with weights, as far as the model knows it.

        weight_bytes    of its weights and biases, and so of their gradients
        multiply_adds   for one image
        input_bytes     that it reads for one image
        is_linear       fully connected: hybrid parallelism cuts it
        reads_all       it reads the maps of both columns, so that they have to cross
    """

    name: str
    weight_bytes: int
    multiply_adds: int
    input_bytes: int
    is_linear: bool
    reads_all: bool


@dataclass(frozen=True)
class Step:
    """The seconds of one training step on one rank: computing, and what it waits for the
    others."""

    compute: float
    exposed: float

    @property
    def efficiency(self) -> float:
        """Images per second over those of ranks that need not talk."""
        return self.compute / (self.compute + self.exposed)


# What is sent.


def gradient_bytes(layers: Sequence[Layer]) -> int:
    """What data parallelism sums in a step."""
    return sum(layer.weight_bytes for layer in layers)


def column_bytes(layers: Sequence[Layer]) -> int:
    """What each of two columns sends for one image in a step: half of what every layer that reads
    all maps reads, and on the way back the gradients of as many maps that the other one made."""
    return 2 * sum(layer.input_bytes // 2 for layer in layers if layer.reads_all)


def hybrid_bytes(layers: Sequence[Layer]) -> tuple[int, int]:
    """(bytes for any batch, bytes per image) that hybrid parallelism moves, in the unit in which
    data parallelism moves `gradient_bytes`: both times 2 (p - 1)/p is what a rank sends."""
    shared = sum(layer.weight_bytes for layer in layers if not layer.is_linear)
    return shared, sum(layer.input_bytes for layer in layers if layer.is_linear)


def crossing(fixed: float, fixed_other: float, per_image: float) -> float:
    """The batch from which on `fixed_other + batch per_image` bytes are more than `fixed`."""
    return (fixed - fixed_other) / per_image


# How long it takes.


def ring_seconds(n_bytes: float, ranks: int, link: Link) -> float:
    """A sum over ranks on equal links: first each rank adds up 1/p of the array, then it passes
    its part on; in both halves it sends p - 1 messages of n/p bytes."""
    if ranks == 1 or not n_bytes:
        return 0.0
    return 2 * (ranks - 1) * (link.latency + n_bytes / ranks / link.bandwidth)


def gather_seconds(n_bytes: float, ranks: int, link: Link) -> float:
    """A gather of parts to an array of n bytes, and its adjoint, the scattered sum: either half of
    a ring's sum."""
    return ring_seconds(n_bytes, ranks, link) / 2


def between_seconds(n_bytes: float, hosts: int, link: Link) -> float:
    """A sum between hosts by a tree, which has few messages: 2 log2(h) a + 2 (h - 1)/h n / b.
    n counts the bytes of all ranks of a host, since they share its link."""
    if hosts == 1 or not n_bytes:
        return 0.0
    return 2 * math.log2(hosts) * link.latency + 2 * (hosts - 1) / hosts * n_bytes / link.bandwidth


def sum_seconds(n_bytes: float, ranks: int, machines: Machines) -> float:
    """A sum over all ranks in two levels: inside each host a ring in two halves, and between them
    the hosts, of which each rank has 1/l of the array to add."""
    inside = min(ranks, machines.ranks_per_host)
    hosts = _hosts(ranks, machines)
    return (ring_seconds(n_bytes, inside, machines.inside)
            + between_seconds(n_bytes, hosts, machines.between))


def _hosts(ranks: int, machines: Machines) -> int:
    return math.ceil(ranks / machines.ranks_per_host)


def step_of(kind: str, layers: Sequence[Layer], machines: Machines, ranks: int,
            images: float) -> Step:
    """A step of one kind of parallelism with so many images a rank.

    Raises UsageError for a kind that is not in KINDS, and for columns on an odd number of ranks.
    """
    if kind == "data":
        return _data_step(layers, machines, ranks, images, overlaps=False)
    if kind == "data, overlapped":
        return _data_step(layers, machines, ranks, images, overlaps=True)
    if kind == "columns":
        return _columns_step(layers, machines, ranks, images)
    if kind == "hybrid":
        return _hybrid_step(layers, machines, ranks, images)
    raise UsageError(f"got parallelism {kind!r}, expected one of: {', '.join(KINDS)}")


def _data_step(layers: Sequence[Layer], machines: Machines, ranks: int, images: float,
               overlaps: bool) -> Step:
    """Each rank computes its images; the gradients are summed after that, or meanwhile."""
    def sum_of(bucket: Sequence[Layer]) -> float:
        return sum_seconds(gradient_bytes(bucket), ranks, machines)

    compute = images / machines.images_per_second
    return Step(compute, _exposed(layers, compute, sum_of) if overlaps else sum_of(layers))


def _columns_step(layers: Sequence[Layer], machines: Machines, ranks: int, images: float) -> Step:
    """Pairs of ranks share each image, half of every layer in each; equal columns of all pairs sum
    their half of the gradients, meanwhile. A pair stays within a host where it can."""
    if ranks % 2:
        raise UsageError(f"columns come in pairs: got {ranks} ranks, expected an even number")
    same_host = machines.ranks_per_host > 1
    pairs_per_host = max(1, machines.ranks_per_host // 2)
    pairs = replace(machines, ranks_per_host=pairs_per_host)

    def sum_of(bucket: Sequence[Layer]) -> float:
        # Inside a host each column's ring has half of the bytes; between hosts the two share a
        # link, unless each column has a host of its own.
        half = gradient_bytes(bucket) / 2
        inside = min(ranks // 2, pairs_per_host)
        hosts = _hosts(ranks // 2, pairs)
        return (ring_seconds(half, inside, machines.inside)
                + between_seconds(half * (2 if same_host else 1), hosts, machines.between))

    compute = images / machines.images_per_second
    link = machines.inside if same_host else machines.between
    crossings = sum(2 * gather_seconds(2 * images * layer.input_bytes, 2, link)
                    for layer in layers if layer.reads_all)  # forward, and as much back
    return Step(compute, crossings + _exposed(layers, compute, sum_of))


def _hybrid_step(layers: Sequence[Layer], machines: Machines, ranks: int, images: float) -> Step:
    """Scheme (a) within a host: its ranks gather the features of all their images for each fully
    connected layer, of which every rank has a part. The parts are summed between hosts and the
    convolutions over all ranks, meanwhile."""
    inside = min(ranks, machines.ranks_per_host)
    hosts = _hosts(ranks, machines)

    def sum_of(bucket: Sequence[Layer]) -> float:
        cut = gradient_bytes([layer for layer in bucket if layer.is_linear])
        shared = gradient_bytes(bucket) - cut
        return (between_seconds(cut, hosts, machines.between)
                + sum_seconds(shared, ranks, machines))

    compute = images / machines.images_per_second
    features = sum(2 * gather_seconds(inside * images * layer.input_bytes, inside, machines.inside)
                   for layer in layers if layer.is_linear)  # forward, and as much back
    return Step(compute, features + _exposed(layers, compute, sum_of))


BUCKET = 16 << 20  # bytes of gradients that are summed together: a small sum is all latency
LEAST_BUCKET = 1 << 20  # of a small network, a quarter of it, but not less; both as in parallel.py


def _exposed(layers: Sequence[Layer], compute: float,
             sum_of: Callable[[Sequence[Layer]], float]) -> float:
    """How long the last sum ends after the last backward pass, when gradients are summed
    meanwhile. The layers' backward passes run from the last to the first, and one sum is under way
    at a time:

        backward   | fc8 |  fc7  |    fc6    |  conv5  | ...  | conv1 |
        sums                     | fc8, fc7  | fc6 ...........| conv5, ..., conv1 |
                                                                       |--exposed--|
    """
    limit = min(BUCKET, max(LEAST_BUCKET, gradient_bytes(layers) // 4))
    computed = 0.0  # when the backward pass of this layer ends
    summed = 0.0    # when the last sum does
    bucket: list[Layer] = []
    for layer, seconds in reversed(list(zip(layers, _backward_seconds(layers, compute),
                                            strict=True))):
        computed += seconds
        bucket.append(layer)
        if gradient_bytes(bucket) >= limit or layer is layers[0]:
            summed = max(computed, summed) + sum_of(bucket)
            bucket = []
    return max(0.0, summed - computed)


def _backward_seconds(layers: Sequence[Layer], compute: float) -> list[float]:
    """How long each layer's backward pass takes. It multiplies twice as much as the forward pass,
    for the gradients of input and weights; the first layer only for those of the weights."""
    weights = [layer.multiply_adds * (1 if i == 0 else 2) for i, layer in enumerate(layers)]
    whole = sum(weights) + sum(layer.multiply_adds for layer in layers)  # and the forward pass
    return [compute * weight / whole for weight in weights]


# What this job's links do.

REPEATS = 5


def measure(comm: Comm, n_bytes: int) -> Link:
    """The link by which the model takes as long as this job's sums of float32, the medians of
    REPEATS: of one number for the latency, of n_bytes for the bandwidth.

    All ranks call it, and get the same. Raises UsageError for a single rank.
    """
    if comm.size == 1:
        raise UsageError("there is one rank, so nothing is sent; start several: mpiexec -n 2 "
                         "python -m minitorch_alex.profile MODEL --ranks")
    messages = 2 * (comm.size - 1)
    latency = _sum_time(comm, 1) / messages
    seconds = _sum_time(comm, n_bytes // 4) - messages * latency
    sent = messages / comm.size * n_bytes
    return Link(latency, sent / max(seconds, 1e-9))


def _sum_time(comm: Comm, numbers: int) -> float:
    """Seconds of a sum, on the slowest rank."""
    array = np.zeros(numbers, np.float32)
    comm.sum(array)  # the first one makes connections and touches the memory
    times = []
    for _ in range(REPEATS):
        comm.agree([0], now=True)  # all begin together
        start = time.perf_counter()
        comm.sum(array)
        times.append(time.perf_counter() - start)
    return max(comm.collect(statistics.median(times)))
