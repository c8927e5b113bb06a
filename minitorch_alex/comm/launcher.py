"""How the processes that a launcher has started find each other.

The only file that imports mpi4py. Importing it starts MPI, which takes a tenth of a second and can
end the process on a machine where no job may run, so that happens in `start` alone, and only under
a launcher.
"""
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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
    _check_launcher(expected)
    try:
        with warnings.catch_warnings(), _killed_after(timeout):
            # mpi4py's remark on a launcher of another MPI; what follows from it is found below.
            warnings.filterwarnings("ignore", "suspicious MPI", RuntimeWarning)
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError where it finds no MPI library
        reason = str(error).splitlines()[0]
        raise BackendError("this process was started by an MPI launcher, and mpi4py is not "
                           f"installed ({reason}); pip install 'mpi4py>=4.1' 'mpich>=5'") from None
    size = MPI.COMM_WORLD.Get_size()
    if size == 1 and expected > 1:
        raise _foreign_launcher(expected, library_name(MPI))
    if size > 1:
        _current = Mpi(MPI, MPI.COMM_WORLD, timeout)
    return _current


@contextmanager
def _killed_after(seconds: float) -> Iterator[None]:
    """The block, unless it takes longer: then SIGALRM ends this process, and the launcher the
    others. MPI waits in its start for every rank, while it holds Python's lock, so that no thread
    can watch it."""
    if not seconds or not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _check_launcher(expected: int) -> None:
    """Raises BackendError where the variables of the environment tell that the launcher is not
    that of the MPI next to this Python. With MPI started it would be too late: MPICH ends the
    process under Open MPI's launcher, and Open MPI prints a page under MPICH's."""
    if "MPI4PY_MPIABI" in os.environ or "MPI4PY_LIBMPI" in os.environ:
        return  # mpi4py uses another library, the user's choice
    is_open = "OMPI_COMM_WORLD_SIZE" in os.environ
    is_hydra = "PMI_RANK" in os.environ and "PMIX_RANK" not in os.environ and not is_open
    if is_open and _beside_python("mpichversion") is not None:
        raise _foreign_launcher(expected, "MPICH")
    if is_hydra and _beside_python("ompi_info") is not None and expected > 1:
        raise _foreign_launcher(expected, "Open MPI")


def _foreign_launcher(expected: int, library: str) -> BackendError:
    """What is wrong, and which launchers fit the library. (The wheel of MPICH does not speak PMIx,
    Open MPI speaks nothing else.)"""
    srun = "pmi2" if library.startswith("MPICH") else "pmix"
    return BackendError(f"{expected} processes were started but each is alone: the launcher "
                        f"belongs to another MPI than mpi4py ({library}); use the mpiexec of this "
                        f"Python ({own_mpiexec() or 'pip install mpich'}), or srun --mpi={srun}")


def own_mpiexec() -> str | None:
    """The mpiexec that belongs to this Python, or None."""
    return _beside_python("mpiexec")


def _beside_python(program: str) -> str | None:
    """The program of that name in the folder of this Python, or None."""
    path = os.path.join(os.path.dirname(sys.executable), program)
    return path if os.path.exists(path) else None
