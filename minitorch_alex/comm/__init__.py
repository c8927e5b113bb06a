"""Several processes: who takes part, and what they send to each other.

The processes of a training are its ranks 0, 1, ..., P - 1. Each holds arrays of its own, and all
of them call the same methods in the same order; a method returns when its part is done:

    rank        0        1        2          sum        gather     scatter_sum  exchange
    has         a        b        c
    gets                                     a+b+c      a b c      its third    a third of each
                                             (all)      (all)      of a+b+c

What can be called is in interface.py (`Comm`). There are several kinds of it, and one file for
each question:

    interface.py    what can ranks do with each other?          Comm, and Alone: one process
    parts.py        which rows has a rank, in which order       part, lengths, tree_sum
                    are sums added up?
    mpi.py          how do arrays in host memory travel?        Mpi, through mpi4py
    on_devices.py   and arrays on GPUs?                         OnDevices, with an Mpi for the rest
    nccl.py             from GPU to GPU                         Nccl
    staged.py           through the host                        Staged
    threads.py      and without any of these?                   Threads, for lessons and tests
    watchdog.py     what if the others do not come?             Watchdog
    launcher.py     how do processes find each other?           start, current, own_mpiexec
    devices.py      which GPU has a rank?                       choose_device, between_devices

What is cut into parts is cut by one rule, `part`: of n rows, rank r has n r // P up to
n (r + 1) // P. Sums are those of a binary tree over the ranks (`tree_sum`), so their bits depend
on the number of ranks alone: not on the MPI library, its algorithms, the hosts or the chunks.
"""
from .devices import between_devices, choose_device
from .interface import CHUNK, LEAST_PIECE, Alone, Comm
from .launcher import (
    RANK_VARIABLES,
    SIZE_VARIABLES,
    current,
    launched,
    launched_rank,
    own_mpiexec,
    start,
)
from .mpi import LAST_WORDS, Mpi
from .nccl import Nccl
from .on_devices import OnDevices
from .parts import Array, Shape, lengths, part, tree_sum
from .staged import Staged
from .threads import ThreadComm, Threads
from .watchdog import WAITED_TOO_LONG, Watchdog

__all__ = (
    "CHUNK", "LAST_WORDS", "LEAST_PIECE", "RANK_VARIABLES", "SIZE_VARIABLES", "WAITED_TOO_LONG",
    "Alone", "Array", "Comm", "Mpi", "Nccl", "OnDevices", "Shape", "Staged", "ThreadComm",
    "Threads", "Watchdog",
    "between_devices", "choose_device", "current", "launched", "launched_rank", "lengths",
    "own_mpiexec", "part", "start", "tree_sum",
)
