"""A few threads that share a batch, each with a single-threaded BLAS.

NumPy gives up Python's lock inside its loops and matrix products, so plain threads run on all
cores. Two rules make it fast: BLAS must not start threads of its own meanwhile (its spinning
barriers stall as soon as a core is busy), and a piece of work must be large enough to hide the
hand-over (tens of microseconds).
"""
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from threadpoolctl import LibController, ThreadpoolController

from ..errors import UsageError
from ..machine import available_cpus

PIECES_PER_THREAD = 2  # when one thread is slow, another takes over its second piece

_inside = threading.local()  # .body: whether this thread is inside a job
_blas = [lib for lib in ThreadpoolController().lib_controllers if lib.user_api == "blas"]
_blas_lock = threading.Lock()
_blas_users = 0
_blas_before: list[int] = []  # the setting of each library, to be restored


class _Team:
    """`count` threads, the caller being one of them; the others start with the first job."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.count - 1, "minitorch", _start_worker)
            return self._pool


_team = _Team(available_cpus())


def set_threads(count: int) -> None:
    """Set how many threads share the work, the caller included. The default is the CPUs this
    process may use. Results are the same to the bit for a fixed count; between counts sums may
    round differently.

    Raises UsageError when the count is below 1.
    """
    global _team
    if count < 1:
        raise UsageError(f"threads must be at least 1, got {count}")
    _team = _Team(int(count))  # work that is under way keeps its old team


def get_threads() -> int:
    """How many threads share the work."""
    return _team.count


def _after_fork() -> None:
    """A forked child has none of its parent's threads, and perhaps a lock that stays shut."""
    global _team, _blas_lock, _blas_users
    _team = _Team(_team.count)
    _blas_lock = threading.Lock()
    _blas_users = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _set_blas_threads(lib: LibController, count: int) -> None:
    # threadpoolctl 3.8 otherwise ignores all threads but the first that made a setting
    if hasattr(lib, "clear_controlling_thread"):
        lib.clear_controlling_thread(force=True)
    lib.set_num_threads(count)


def _is_per_thread(lib: LibController) -> bool:
    """Whether the setting is each thread's own (MKL, OpenMP), not the process's (OpenBLAS as NumPy
    brings it)."""
    return lib.internal_api == "mkl" or getattr(lib, "threading_layer", "") == "openmp"


class _SingleThreadedBlas:
    """Holds BLAS at one thread while anyone is inside; the first in notes the setting, the last
    out restores it. (Every kernel comes past here, and contextlib would take a third of the
    time.)"""

    def __enter__(self) -> None:
        global _blas_users
        with _blas_lock:
            if _blas_users == 0:
                _blas_before[:] = [lib.get_num_threads() for lib in _blas]
            for lib in _blas:
                if _blas_users == 0 or _is_per_thread(lib):
                    _set_blas_threads(lib, 1)
            _blas_users += 1

    def __exit__(self, *error: object) -> None:
        global _blas_users
        with _blas_lock:
            _blas_users -= 1
            for lib, before in zip(_blas, _blas_before, strict=True):
                if _blas_users == 0 or _is_per_thread(lib):
                    _set_blas_threads(lib, before)


@functools.cache
def blas_architectures() -> frozenset[str]:
    """For which processors the kernels of OpenBLAS in this process are made, as it calls them:
    Haswell, SkylakeX, Zen, ...; empty for other libraries."""
    return frozenset(lib.architecture for lib in _blas if lib.internal_api == "openblas")


def _start_worker() -> None:
    """A worker starts inside somebody's job; where the setting is each thread's own, it makes its
    own."""
    for lib in filter(_is_per_thread, _blas):
        _set_blas_threads(lib, 1)


def pieces(total: int, least: int = 1) -> list[tuple[int, int]]:
    """Cut range(total) into (start, stop) pieces of at least `least`, about two per thread. The
    cut depends on `total` and the thread count alone: sums over pieces are repeatable."""
    wanted = 1 if _team.count == 1 else PIECES_PER_THREAD * _team.count
    number = max(1, min(wanted, total // max(1, least)))
    return cut(total, number)


def cut(total: int, number: int) -> list[tuple[int, int]]:
    """range(total) as `number` parts (start, stop) of one size, to within one; none if 0."""
    edges = [total * i // number for i in range(number + 1)] if number else []
    return list(zip(edges[:-1], edges[1:], strict=True))


def parallel_for(total: int, body: Callable[[int, int], object], least: int = 1) -> None:
    """Call body(start, stop) for the pieces of range(total), on all threads.

    The bodies must write to disjoint places. Called from inside a body it runs serially; the first
    exception of a body is raised to the caller.
    """
    parallel_list([partial(body, start, stop) for start, stop in pieces(total, least)])


def parallel_list(jobs: list[Callable[[], object]]) -> None:
    """Run the jobs on all threads and wait for them; the caller works too."""
    team = _team
    with _SingleThreadedBlas():
        if len(jobs) == 1 or team.count == 1 or getattr(_inside, "body", False):
            for job in jobs:
                job()
            return
        todo = iter(jobs)  # a list iterator: next() on it is atomic, so threads may share it

        def work() -> None:
            _inside.body = True
            try:
                for job in todo:
                    job()
            finally:
                _inside.body = False

        others = [team.pool.submit(work) for _ in range(min(team.count - 1, len(jobs) - 1))]
        try:
            work()
        finally:
            # A thread that has not woken up yet is not waited for: its share is done. One that
            # runs is: no body may outlive the call.
            errors = [other.exception() for other in others if not other.cancel()]
        for error in errors:
            if error is not None:
                raise error
