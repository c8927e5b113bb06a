"""Which GPU a rank computes on, and the way on which arrays travel between GPUs."""
from .. import backend
from .interface import Comm
from .nccl import Nccl


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
