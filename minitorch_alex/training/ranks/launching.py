"""How the ranks of a program come to be: its flags, mpiexec, MPI, and the threads of each rank."""
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from ... import comm, kernels
from ...comm import Comm
from ...errors import BackendError, UsageError
from ...machine import available_cpus
from .. import runs
from ..cli import Flag
from ..cut import PARALLEL
from .agreement import check_alike

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


def launch(program: str, argv: Sequence[str] | None, count: int) -> int | None:
    """Run the program again as `count` ranks, as --ranks asks, and return its exit code; None where
    nothing has to be launched: without the flag, and in a rank.

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
    """Flags of Open MPI's mpiexec, which MPICH's does not know: there may be more ranks than cores,
    and a rank is not bound to one of them."""
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
