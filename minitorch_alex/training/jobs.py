"""How a job of several processes speaks and ends.

Rank 0 prints what one process prints; the others are silent, unless one knows of an error that
rank 0 does not. An exception or an exit on one rank alone would leave the others waiting for ever
(neither MPI library ends them), so whatever ends a program early ends all of its ranks:

    rank 0   step 7 ── waits for a sum ..................... ended by MPI, with rank 1's code
    rank 1   step 7 ── damaged image ── report ── abort ──┘
"""
import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator

from .. import comm
from ..comm import Comm
from ..errors import BackendError

PRECEDENCE = 0.5  # seconds in which rank 0 may report what another rank has found as well
LONGEST_START = 60.0  # seconds that a rank with an error waits for the others to end them


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, only rank 0 prints."""
    if comm.launched_rank() == 0:
        yield
        return
    # Not by closing them: libraries print too, and would fail.
    with (open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing),
          contextlib.redirect_stderr(nothing)):
        yield


def report(text: str) -> None:
    """Print an error on stderr: one line from the rank that knows.

    Mostly all ranks have found the same, a wrong flag say, and rank 0 speaks for them. So another
    rank waits a moment: rank 0 ends all if it has found it too.
    """
    rank = comm.launched_rank()  # as its launcher says: MPI may not have started
    if rank:
        job = join()
        time.sleep(PRECEDENCE)
        text = f"rank {rank} on {job.host or socket.gethostname()}: {text}"
    print(f"error: {text}", file=sys.stderr)


def join() -> Comm:
    """The ranks of this job. Where MPI has not started on this one, it does now: others may wait
    in its start already, and through it alone can they be ended."""
    if comm.launched() > 1 and comm.current().size == 1:
        with contextlib.suppress(BackendError):  # there is no way to the others, or no MPI
            return comm.start(LONGEST_START)
    return comm.current()


def abort(code: int) -> None:
    """End all ranks, if there are others; the job's exit code is `code`."""
    if code and join().size > 1:  # with code 0 each rank comes to its own end
        comm.current().abort(code)


def crash() -> None:
    """After an internal error: its traceback, and the end of all ranks, if there are others."""
    job = join()
    if job.size > 1:
        print(f"error: rank {job.rank} on {job.host}: internal error", file=sys.stderr)
        traceback.print_exc()
        job.abort(1)
