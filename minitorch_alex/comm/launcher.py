"""How the processes that a launcher has started find each other.

The only file that imports mpi4py. Importing it starts MPI, which takes a tenth of a second and can
end the process on a machine where no job may run, so that happens in `start` alone, and only under
a launcher.
"""
import os
import sys

from ..errors import BackendError
from .interface import Alone, Comm
from .mpi import Mpi, library_name

# Set for each process by MPICH's mpiexec and srun --mpi=pmi2, by PMIx (srun --mpi=pmix, Open MPI)
# and by Open MPI's mpiexec.
RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


_current: Comm = Alone()  # what `start` has made for this process


def current() -> Comm:
    """The ranks that this process belongs to: Alone before `start` has found others."""
    return _current


def launched_rank() -> int:
    """The rank that a launcher has given to this process, known before MPI starts; 0 without a
    launcher."""
    ranks = [os.environ.get(name, "") for name in RANK_VARIABLES]
    return next((int(rank) for rank in ranks if rank.isdigit()), 0)


def launched() -> int:
    """How many processes a launcher says that it has started with this one; 1 without one."""
    sizes = [os.environ.get(name, "") for name in SIZE_VARIABLES]
    return max([1, *(int(size) for size in sizes if size.isdigit())])


def start(timeout: float = 0.0) -> Comm:
    """The ranks that a launcher has started this process with: Mpi, or Alone without a launcher.
    `timeout` is how many seconds a rank waits for the others before it gives up; 0 for ever.

    Raises BackendError (exit code 3) when mpi4py is missing, and when several processes were
    started that do not know of each other.
    """
    global _current
    expected = launched()
    if not any(name in os.environ for name in RANK_VARIABLES) and expected == 1:
        return _current
    if isinstance(_current, Mpi):
        return _current
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError where it finds no MPI library
        reason = str(error).splitlines()[0]
        raise BackendError("this process was started by an MPI launcher, and mpi4py is not "
                           f"installed ({reason}); pip install 'mpi4py>=4.1' 'mpich>=5'") from None
    size = MPI.COMM_WORLD.Get_size()
    if size == 1 and expected > 1:
        raise BackendError(f"{expected} processes were started but each is alone: the launcher "
                           f"belongs to another MPI than mpi4py ({library_name(MPI)}); use the "
                           f"mpiexec of this Python ({own_mpiexec() or 'pip install mpich'}), or "
                           "srun --mpi=pmix")
    if size > 1:
        _current = Mpi(MPI, MPI.COMM_WORLD, timeout)
    return _current


def own_mpiexec() -> str | None:
    """The mpiexec that belongs to this Python, or None."""
    path = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return path if os.path.exists(path) else None
