"""How a job of several processes speaks and ends.

Rank 0 prints what one process prints; the others are silent, unless one knows of an error that
rank 0 does not. An exception or an exit on one rank alone would leave the others waiting for ever
(neither MPI library ends them), so whatever ends a program early ends all of its ranks:

    rank 0   step 7 ── waits for a sum ..................... ended by MPI, with rank 1's code
    rank 1   step 7 ── damaged image ── report ── abort ──┘
"""
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator

from .. import comm

PRECEDENCE = 0.5  # seconds in which rank 0 may report what another rank has found as well


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

    Before MPI has started all ranks have read the same flags and found the same, so rank 0 speaks
    for all. Later another rank waits a moment: rank 0 ends all if it has found the same.
    """
    job = comm.current()
    if comm.launched_rank() == 0:  # as its launcher says: MPI may not have started
        print(f"error: {text}", file=sys.stderr)
    elif job.size > 1:
        time.sleep(PRECEDENCE)
        print(f"error: rank {job.rank} on {job.host}: {text}", file=sys.stderr)


def abort(code: int) -> None:
    """End all ranks, if there are others; the job's exit code is `code`."""
    if code and comm.current().size > 1:  # with code 0 each rank comes to its own end
        comm.current().abort(code)


def crash() -> None:
    """After an internal error: its traceback, and the end of all ranks, if there are others."""
    job = comm.current()
    if job.size > 1:
        print(f"error: rank {job.rank} on {job.host}: internal error", file=sys.stderr)
        traceback.print_exc()
        job.abort(1)
