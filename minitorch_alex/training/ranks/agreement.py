"""What has to be the same on all ranks: checked where each knows it, sent where only rank 0 does."""
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...comm import Comm
from ...data import Dataset
from ...errors import BackendError
from .. import checkpoint
from ..runs import Run


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


def digest(raw: bytes) -> str:
    """A number for some bytes, CRC-32 in hexadecimal: equal on all ranks if the bytes are."""
    return f"{zlib.crc32(raw):08x}"


def digest_of_data(images: Dataset) -> str:
    """`digest` of the labels of a data set and its first 16 images, which is quick to find."""
    first = images.images[:min(len(images), 16)]
    return digest(images.labels.tobytes() + np.ascontiguousarray(first).tobytes())


@contextmanager
def in_turn(ranks: Comm) -> Iterator[None]:
    """Run the block first on one rank of each host, then on the others: a download happens once."""
    # Each rank takes part in one collective, which ends when all have come to it: the first ranks
    # after their block, the others before it.
    if ranks.local_rank:
        with ranks.patience():
            ranks.collect(None)
    yield
    if not ranks.local_rank:
        with ranks.patience():
            ranks.collect(None)


def find(ranks: Comm, find_run: Callable[[], tuple[Run, Path | None]]) -> tuple[Run, Path | None]:
    """(the run, the checkpoint to resume from) that find_run finds on rank 0. No other host needs
    to see the directory of the run."""
    paths = None
    if ranks.rank == 0:
        run, source = find_run()
        paths = [str(run.directory), None if source is None else str(source)]
    directory, source_name = ranks.broadcast(paths)
    run = Run(directory, writes=ranks.rank == 0)
    ranks.beat("the start", f"go on with --resume {directory}")
    return run, None if source_name is None else Path(source_name)


def ask_first(ranks: Comm, question: Callable[[], Any]) -> Any:
    """What rank 0 answers, on all ranks. With several, the answer has JSON's types."""
    return ranks.broadcast(question() if ranks.rank == 0 else None)


def read_checkpoint(ranks: Comm, file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, metadata) of a checkpoint, which rank 0 reads for all; raises as checkpoint.load."""
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
