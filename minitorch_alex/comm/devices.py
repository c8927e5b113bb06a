"""Which GPU a rank computes on, and the way on which arrays travel between GPUs.

    GPUs of a host, ranks on it          way
    none                                 the ranks as they are: arrays lie in host memory
    as many as ranks, or more            Nccl: from GPU to GPU
    fewer than ranks: some share one     Staged: through host memory, NCCL refuses
"""
from .. import backend
from .interface import Comm
from .nccl import Nccl
from .staged import Staged


def choose_device(ranks: Comm) -> None:
    """Give each rank of a host a GPU, in turn; before anything is put on one."""
    count = backend.devices()
    if ranks.size > 1 and count:
        backend.use_device(ranks.local_rank % count)


def between_devices(ranks: Comm) -> Comm:
    """The same ranks for arrays on the current backend. All ranks call it, after
    `choose_device`."""
    count = backend.devices()
    if ranks.size == 1 or not count:
        return ranks
    # All take one way: on a single host with too few GPUs, NCCL would fail on every host.
    if max(ranks.collect(ranks.local_size - count)) > 0:
        return Staged(ranks)
    return Nccl(backend.nccl(), ranks)
