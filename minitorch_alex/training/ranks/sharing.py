"""How the ranks share the work of a training: who reads which images, and how steps are taken."""
from collections.abc import Sequence
from typing import Any

from ... import backend, comm, kernels
from ...comm import Comm
from ...errors import UsageError
from ...models import Network, Recipe
from ...nn import BatchNorm2d
from ...optimizer import Optimizer
from ...parallel import DataParallel
from ..cut import CutParallel, grid
from ..runs import Split
from .agreement import check_alike, digest, digest_of_data


def parallel_entry(args: Any, given: set[str], config: dict[str, Any],
                   ranks: Comm) -> dict[str, Any]:
    """What changes in a run's entry for --parallel: it becomes what the user typed, if anything was.
    A run of columns can be resumed by one process, since its checkpoint is that of one process."""
    if "parallel" in given:
        return {"parallel": args.parallel}
    if ranks.size == 1 and config.get("parallel") == "columns":
        return {"parallel": "data"}
    return {}


def part_of_batch(ranks: Comm, model: Network, config: dict[str, Any]) -> tuple[int, int]:
    """(which part of every batch this rank reads, of how many)."""
    return grid(config.get("parallel", "data"), model, ranks)


def data_parallel(ranks: Comm, model: Network, optimizer: Optimizer, config: dict[str, Any],
                  recipe: Recipe, split: Split) -> DataParallel | CutParallel | None:
    """What takes the steps on several ranks or in shards; None for one process without shards. All
    ranks have rank 0's weights and velocities afterwards.

    Raises BackendError when a rank has other settings or data than rank 0, UsageError for batch
    normalisation or parts of a network in shards.
    """
    shards = config.get("shards", 0)
    kind = config.get("parallel", "data")
    norms = [layer for layer in model.modules() if isinstance(layer, BatchNorm2d)]
    if shards:
        _check_pieces(kind, norms)
    if ranks.size == 1 and not shards and kind != "hybrid":
        return None
    _check_settings(ranks, config, split)
    _send_weights(ranks, optimizer)
    ranks = comm.between_devices(ranks)
    if kind != "data":
        return CutParallel(kind, model, optimizer, ranks, recipe.fc_scheme, recipe.fc_passes)
    for norm in norms:
        norm.ranks = ranks
    return DataParallel(optimizer, ranks, shards, _can_overlap(ranks, bool(norms)))


def _check_settings(ranks: Comm, config: dict[str, Any], split: Split) -> None:
    """Raises BackendError when a rank has other settings or other data than rank 0."""
    own = {"threads", "workers", "ranks", "data_place"}  # each rank's affair
    settings = [item for item in sorted(config.items()) if item[0] not in own]
    # Labels and a few images of every rank: with a data set that differs, training would go on
    # and only end worse.
    check_alike(ranks, {"settings": digest(repr(settings).encode()),
                        "training images": digest_of_data(split.train),
                        "test images": digest_of_data(split.test)}, "has other")


def _send_weights(ranks: Comm, optimizer: Optimizer) -> None:
    """All ranks get rank 0's weights and velocities: equal seeds are not trusted on unequal
    machines."""
    for name in ("flat", *optimizer.kept):
        array = getattr(optimizer, name)
        array[...] = backend.asarray(ranks.broadcast(array))


def _can_overlap(ranks: Comm, has_norms: bool) -> bool:
    """Whether gradients are summed while the backward pass goes on.

    It pays over a wire or between GPUs. On the processors of one machine a sum is work like any
    other. NCCL must not have two operations under way that ranks may begin in different orders,
    as the statistics of a batch and a sum of gradients would be.
    """
    crosses_hosts = ranks.size > ranks.local_size
    if isinstance(ranks, comm.Nccl) and has_norms:
        return False
    return crosses_hosts or isinstance(ranks, comm.OnDevices)


def _check_pieces(kind: str, norms: Sequence[BatchNorm2d]) -> None:
    """Raises UsageError where a batch cannot be computed piece by piece."""
    if kind != "data":
        raise UsageError(f"--parallel {kind} sums over the parts of a network, --shards over "
                         "those of a batch: leave one of them out")
    if norms:
        raise UsageError("batch normalisation needs the statistics of the whole batch, and "
                         "--shards computes one piece of it after the other; leave --shards out: "
                         "several ranks then exchange the statistics")


def entries(ranks: Comm, config: dict[str, Any]) -> dict[str, Any]:
    """{"ranks": their number} for a run's configuration; {} for a run that always had one."""
    return {"ranks": ranks.size} if ranks.size > 1 or "ranks" in config else {}


def describe(ranks: Comm, batch_size: int, config: dict[str, Any], resumed: bool) -> None:
    """Print who takes part, one to three lines; nothing for one process without shards."""
    shards = config.get("shards", 0)
    before = config.get("ranks", 1)
    if resumed and before != ranks.size:
        exact = "the same bytes" if shards else "equal up to rounding"
        print(f"ranks       the run had {before}; with {ranks.size} it goes on with the same "
              f"images and masks, {exact}")
    if shards:
        print(f"shards      {shards} pieces of each batch, summed in a fixed order")
    if ranks.size == 1:
        return
    hosts = [host for host, _ in ranks.collect([ranks.host, ranks.local_rank])]
    counts = ", ".join(f"{host} x {hosts.count(host)}" for host in dict.fromkeys(hosts))
    where = f"{len(set(hosts))} hosts" if len(set(hosts)) > 1 else "1 host"
    print(f"ranks       {ranks.size} on {where} ({counts}), {kernels.get_threads()} threads each, "
          f"{ranks.library}")
    if config.get("parallel") == "columns":
        print(f"            batch {batch_size:,}; columns: each network is cut into halves, and "
              "both see its images")
        return
    print(f"            batch {batch_size:,} = {ranks.size} ranks x about "
          f"{batch_size / ranks.size:,.4g} images")
    if config.get("parallel") == "hybrid":
        print("            hybrid: each rank has a part of the fully connected layers, for the "
              "images of all")
