"""A training or an evaluation on several ranks: what train.py and evaluate.py do besides what they
do alone.

    mpiexec -n 4 python -m minitorch_alex.train ...      or      ... train --ranks 4

The batch, its order, its crops, masks and rates are those of one process; the ranks share the work
(parallel.py). Rank 0 alone prints and writes files:

    rank 0      flags  find the run ─┐ data  steps ... sums of the epoch ─┐ log, checkpoint, line
    rank 1, ... flags                └ data  steps ...                    └ the same numbers, and
                                                                            nothing is written

Every function here that takes a Comm is called by all of its ranks, and does next to nothing for
one that is Alone.
"""
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, comm, kernels, streams
from ..comm import Comm, part
from ..data import Dataset
from ..errors import BackendError, RunError, UsageError
from ..kernels.window import ceil_div
from ..machine import available_cpus
from ..models import Network, Recipe
from ..nn import BatchNorm2d
from ..optimizer import Optimizer
from ..parallel import DataParallel
from ..tensor import Tensor
from . import checkpoint, runs
from .cli import Flag
from .cut import PARALLEL, CutParallel, grid
from .objective import Loss
from .progress import Meter, Progress
from .runs import Run, Split

FLAGS = (
    Flag("--ranks", "share the work between N processes on this machine, by the mpiexec of this "
         "Python; for several machines start the program with mpiexec or srun", 0,
         shown="one process, or those that mpiexec or srun has started", minimum=0,
         on_resume="any", options={"type": int, "metavar": "N"}),
    Flag("--timeout", "with several ranks: end with code 8 when the others have not come for so "
         "many seconds; 0 waits for ever", 300.0, minimum=0, on_resume="any",
         options={"type": float, "metavar": "S"}),
)
SHARDS = Flag("--shards", "cut each batch into N pieces (a power of two), whose gradients are "
              "summed in a fixed order: the same bytes for every number of ranks that divides N, "
              "at the same --threads", 0, shown="none", minimum=0,
              options={"type": int, "metavar": "N"})

KIND = Flag("--parallel", "what several ranks share: data, the images of a batch; columns, the "
            "two halves of a network with groups, as the paper's two GPUs; hybrid, the fully "
            "connected layers, and images for the convolutions (see also --set fc_passes)", "data",
            on_resume="any", options={"choices": PARALLEL})


# The start.


def launch(program: str, argv: Sequence[str] | None, count: int) -> int | None:
    """Run the program again as `count` ranks, as --ranks asks; the exit code. None where nothing
    has to be launched: without the flag, and in a rank.

    Raises UsageError when a launcher has started another number, BackendError without mpiexec.
    """
    started = comm.launched()  # as the launcher says: MPI has not started, and need not for this
    if started > 1 and count and count != started:
        raise UsageError(f"--ranks {count}, but a launcher has started {started} processes; leave "
                         "--ranks out")
    if count < 2 or started > 1:
        return None
    mpiexec = comm.own_mpiexec() or shutil.which("mpiexec")
    if mpiexec is None:
        raise BackendError("--ranks needs mpiexec, and there is none: pip install 'mpi4py>=4.1' "
                           "'mpich>=5'")
    arguments = sys.argv[1:] if argv is None else argv
    command = [mpiexec, "-n", str(count), *_open_mpi_flags(mpiexec), sys.executable, "-m",
               f"minitorch_alex.{program}", *arguments]
    if argv is None and os.name == "posix":
        sys.stdout.flush()
        os.execv(mpiexec, command)  # this process becomes mpiexec: signals need no forwarding
    return subprocess.run(command).returncode


def _open_mpi_flags(mpiexec: str) -> list[str]:
    """What Open MPI's mpiexec needs to be told, and MPICH's does not know: more ranks than cores
    are welcome, and each may use all of them."""
    about = subprocess.run([mpiexec, "--version"], capture_output=True, text=True).stdout
    if "Open MPI" not in about and "OpenRTE" not in about:
        return []
    os.environ |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return ["--oversubscribe", "--bind-to", "none"]


def start(timeout: float, version: str) -> Comm:
    """The ranks of this job, each with its share of the processors as its number of threads.

    Raises BackendError (exit code 3) when there is something wrong with MPI, or when the ranks
    have different versions of anything that decides on numbers.
    """
    if comm.launched() > 1:
        runs.commit()  # asks git, a process of its own: InfiniBand forbids that once MPI runs
    ranks = comm.start(timeout)
    if ranks.size > 1:
        check_alike(ranks, {"minitorch_alex": version, "numpy": np.__version__,
                            "Python": platform.python_version()}, "has")
        kernels.set_threads(threads_per_rank(ranks))
    return ranks


def threads_per_rank(ranks: Comm) -> int:
    """The processors that this rank may use, shared with the ranks on its host that may use the
    same ones. (Open MPI binds each rank to a processor of its own.)"""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    everyone = ranks.collect([ranks.host, cpus])  # a list: of JSON's types
    return max(1, available_cpus() // everyone.count([ranks.host, cpus]))


def check_alike(ranks: Comm, facts: dict[str, Any], verb: str) -> None:
    """Raises BackendError when a rank differs from rank 0 in one of the facts, which names it."""
    # All ranks see all facts, so all raise alike, and rank 0 alone prints it.
    everyone = ranks.collect([ranks.host, facts])
    first_host, first = everyone[0]
    for rank, (host, theirs) in enumerate(everyone):
        for name, value in theirs.items():
            if value != first[name]:
                raise BackendError(f"rank {rank} on {host} {verb} {name} {value}, rank 0 on "
                                   f"{first_host} {first[name]}; the ranks must be alike")


@contextmanager
def in_turn(ranks: Comm) -> Iterator[None]:
    """The block, first on one rank of each host, then on the others: a download happens once."""
    # One collective in all, before the block or after it: whoever waits in it waits for all.
    if ranks.local_rank:
        with ranks.patience():
            ranks.collect(None)
    yield
    if not ranks.local_rank:
        with ranks.patience():
            ranks.collect(None)


def find(ranks: Comm, find_run: Callable[[], tuple[Run, Path | None]]) -> tuple[Run, Path | None]:
    """What find_run finds on rank 0. No other host needs to see the directory of the run."""
    paths = None
    if ranks.rank == 0:
        run, source = find_run()
        paths = [str(run.directory), None if source is None else str(source)]
    directory, source_name = ranks.broadcast(paths)
    run = Run(directory, writes=ranks.rank == 0)
    ranks.beat("the start", f"go on with --resume {directory}")
    return run, None if source_name is None else Path(source_name)


def ask_first(ranks: Comm, question: Callable[[], Any]) -> Any:
    """What rank 0 answers, on all ranks; of JSON's types where there are several."""
    return ranks.broadcast(question() if ranks.rank == 0 else None)


def read_checkpoint(ranks: Comm, file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """checkpoint.load on rank 0, for all."""
    if ranks.size == 1:
        return checkpoint.load(file)
    arrays: dict[str, np.ndarray] = {}
    content = None
    if ranks.rank == 0:
        arrays, meta = checkpoint.load(file)
        content = [list(arrays), meta]
    # Broadcast and not read again: another host may not see the file, or see the one before it.
    names, meta = ranks.broadcast(content)
    return {name: ranks.broadcast(arrays.get(name)) for name in names}, meta


def kind(args: Any, given: set[str], config: dict[str, Any], ranks: Comm) -> dict[str, Any]:
    """What a run's configuration says of --parallel: what the user typed, or what the run had. One
    process goes on alone with a run of columns, whose checkpoint is that of one process."""
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
    """What a step goes through on several ranks or in shards; None for one process without them.
    All ranks have rank 0's weights and velocities afterwards.

    Raises BackendError when a rank has other settings or data than rank 0, UsageError for batch
    normalisation in shards.
    """
    shards = config.get("shards", 0)
    kind = config.get("parallel", "data")
    norms = [layer for layer in model.modules() if isinstance(layer, BatchNorm2d)]
    if shards:
        _check_pieces(kind, norms)
    if ranks.size == 1 and not shards and kind != "hybrid":
        return None
    own = {"threads", "workers", "ranks", "data_place"}  # each rank's affair
    # Labels and a few images of every rank: a data set that differs would train on, only worse.
    check_alike(ranks, {"settings": _digest(repr([item for item in sorted(config.items())
                                                  if item[0] not in own]).encode()),
                        "training images": _digest_of(split.train),
                        "test images": _digest_of(split.test)}, "has other")
    # Equal seeds are not trusted on unequal machines.
    for name in ("flat", *optimizer.kept):
        array = getattr(optimizer, name)
        array[...] = backend.asarray(ranks.broadcast(array))
    ranks = comm.between_devices(ranks)
    if kind != "data":
        return CutParallel(kind, model, optimizer, ranks, recipe.fc_scheme, recipe.fc_passes)
    for norm in norms:
        norm.ranks = ranks
    # Over a wire or between GPUs. On the processors of one machine a sum is work like any other.
    # NCCL must not have two operations under way that ranks may begin in different orders, as the
    # statistics of a batch and a sum of gradients beside them would be.
    is_nccl = isinstance(ranks, comm.Nccl)
    on_devices = isinstance(ranks, comm.OnDevices)
    overlap = (ranks.size > ranks.local_size or on_devices) and not (norms and is_nccl)
    return DataParallel(optimizer, ranks, shards, overlap)


def _check_pieces(kind: str, norms: Sequence[BatchNorm2d]) -> None:
    """Raises UsageError where a batch cannot be computed piece by piece."""
    if kind != "data":
        raise UsageError(f"--parallel {kind} sums over the parts of a network, --shards over "
                         "those of a batch: leave one of them out")
    if norms:
        raise UsageError("batch normalisation needs the statistics of the whole batch, and "
                         "--shards computes one piece of it after the other; leave --shards out: "
                         "several ranks then exchange the statistics")


def _digest(raw: bytes) -> str:
    return f"{zlib.crc32(raw):08x}"


def _digest_of(images: Dataset) -> str:
    """A number for a data set: that of its labels and its first images."""
    first = images.images[:min(len(images), 16)]
    return _digest(images.labels.tobytes() + np.ascontiguousarray(first).tobytes())


def entries(ranks: Comm, config: dict[str, Any]) -> dict[str, Any]:
    """What a run's configuration keeps of its ranks; nothing for a run of one process."""
    return {"ranks": ranks.size} if ranks.size > 1 or "ranks" in config else {}


def describe(ranks: Comm, batch_size: int, config: dict[str, Any], resumed: bool) -> None:
    """Print who takes part."""
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


# The steps.


def take_step(parallel: DataParallel | CutParallel, model: Network, loss_of: Loss, x: Any,
              labels: Any, progress: Progress, n: int) -> tuple[Any, Any, int]:
    """One step on this rank's images x (n_r, 3, H, W) of a batch of n: what `measure` makes of
    them. All ranks take it, also one without images."""
    parallel.comm.beat(f"step {progress.step:,}")
    if isinstance(parallel, CutParallel):
        sums = parallel.take_step(progress.step, loss_of, x, labels, n)
        progress.batch += 1
        progress.step += 1
        return sums
    loss_sum: Any = 0.0  # stays on the device, as in train.take_step
    wrong: Any = 0.0
    for rows, first in parallel.pieces(n):
        count = rows.stop - rows.start
        if not count and not has_exchanges(model):
            parallel.add(None, 0.0)  # takes part in the sum all the same
            continue
        streams.set_step(progress.step, first)  # masks are numbered by the image in the batch
        logits = model(Tensor(backend.asarray(x[rows])))  # (n_s, 3, H, W) -> (n_s, K)
        if not count:  # it only takes part where layers exchange something, forward and backward
            parallel.add(logits.sum(), 0.0)
            continue
        loss = loss_of(logits, labels[rows])
        parallel.add(loss, count / n)
        missed = (logits.data.argmax(axis=1) != backend.asarray(labels[rows])).sum()
        loss_sum = loss_sum + loss.data.astype(np.float64) * count
        wrong = wrong + missed.astype(np.float64)
        kernels.trim_memory()
    parallel.update()
    progress.batch += 1
    progress.step += 1
    return loss_sum, wrong, len(labels)


def has_exchanges(model: Network) -> bool:
    """Whether a layer exchanges something in its forward and backward pass (BatchNorm2d.ranks), so
    that a rank without images has to take part."""
    return any(getattr(layer, "ranks", None) is not None for layer in model.modules())


def total(meter: Meter, ranks: Comm) -> Meter:
    """The sums over the images of all ranks; read, so the device has to finish its work."""
    meter.read()
    if ranks.size == 1:
        return meter
    # math.fsum rounds once, at the end: the order of the ranks does not matter.
    rows = ranks.collect([meter.loss, meter.wrong, meter.images])  # (P, 3)
    return Meter(*(math.fsum(column) for column in zip(*rows, strict=True)))


def images(meter: Meter, ranks: Comm) -> float:
    """The images of all ranks; nothing is read from a device."""
    return math.fsum(ranks.collect(meter.images))


def interval_facts(parallel: DataParallel | CutParallel | None, seconds: float) -> dict[str, Any]:
    """What a row of the log says besides on several ranks: their number, the share of the time
    that was spent in sums, and who was the slowest: by how many seconds it computed longer than
    the median rank."""
    if parallel is None or parallel.comm.size == 1:
        return {}
    ranks = parallel.comm
    in_sums = parallel.seconds
    parallel.seconds = 0.0
    rows = ranks.collect([ranks.host, in_sums, seconds - in_sums])
    busy = [row[2] for row in rows]  # without what it waited for others in sums
    slowest = int(np.argmax(busy))
    return {"ranks": ranks.size, "exchange": rows[0][1] / seconds,
            "slowest": {"rank": slowest, "host": rows[slowest][0],
                        "behind": round(busy[slowest] - statistics.median(busy), 4)}}


def check_together(ranks: Comm, parallel: DataParallel | CutParallel | None, model: Network,
                   optimizer: Optimizer, epoch: int) -> None:
    """Raises RunError when the weights, or the running statistics, of two ranks differ in a bit: a
    machine computes wrongly, or something depends on the rank that must not. All ranks have the
    whole network afterwards."""
    if isinstance(parallel, CutParallel):
        parallel.gather_weights()
    if ranks.size == 1:
        return
    arrays = [optimizer.flat, *(buffer.data for _, buffer in model.named_buffers())]
    sums = ranks.collect([_digest(backend.to_numpy(array).tobytes()) for array in arrays])
    others = [rank for rank, digest in enumerate(sums) if digest != sums[0]]
    if others:
        raise RunError(f"the ranks have parted: after epoch {epoch} the weights of rank "
                       f"{others[0]} are not those of rank 0; resume from the last checkpoint")


# Evaluation.


def predict(ranks: Comm, predict_alone: Callable[..., np.ndarray], model: Network,
            dataset: Dataset, transform: Any, views: str = "single", batch_size: int = 250,
            progress: bool = False, check: Callable[[], None] | None = None) -> np.ndarray:
    """evaluate.predict by all ranks: probabilities (N, K), on each of them.

    Whole batches are dealt out, none is cut and no image is added, so each probability has the
    bits that it has in one process with as many threads. `check` is called by all ranks together,
    as often as the rank with most batches calls it.
    """
    if ranks.size == 1:
        return predict_alone(model, dataset, transform, views, batch_size, progress, check)
    n = len(dataset)
    batches = ceil_div(n, batch_size)
    own = part(batches, ranks.rank, ranks.size)
    rounds = max(comm.lengths(batches, ranks.size))

    def step_on() -> None:
        ranks.beat(f"the evaluation of {dataset.name}")
        if check is not None:
            check()

    probs = np.zeros((0, 0), np.float32)
    if own.start < own.stop:
        images = dataset.subset(slice(own.start * batch_size, min(own.stop * batch_size, n)))
        probs = predict_alone(model, images, transform, views, batch_size, progress, step_on)
    for _ in range(own.stop - own.start, rounds):
        step_on()
    # A rank without images does not know how many classes there are.
    classes = max(ranks.collect(probs.shape[1]))
    # Every batch at the place of a full one: (batches_r, batch, K).
    room = np.zeros((own.stop - own.start, batch_size, classes), np.float32)
    if len(probs):
        room.reshape(-1, classes)[:len(probs)] = probs  # -> (batches_r * batch, K)
    everything = ranks.gather(room, total=batches)
    return everything.reshape(-1, classes)[:n]  # (batches, batch, K) -> (N, K)
