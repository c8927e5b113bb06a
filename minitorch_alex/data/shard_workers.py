"""Making shards in several processes that leave nothing behind, however they end.

The processes talk through pipes alone, one for each worker. A pipe ends with the process at its
other end, whatever ended that. So neither side can wait for the other forever, and nothing is left
running when either is killed.

    prepare -> worker   the next Shard, or None: there is no more
    worker -> prepare   IMAGE after each image, DONE after each shard, or an exception
"""
import contextlib
import multiprocessing
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from threadpoolctl import threadpool_limits

from ..errors import UserError
from .shards import Settings, Shard, write_shard

IMAGE = "image"
DONE = "done"


def make_shards(todo: list[Shard], settings: Settings, workers: int,
                on_image: Callable[[], Any]) -> None:
    """Make shards in `workers` processes; on_image() is called after each image.

    Raises what a worker raises, and UserError when one is killed.
    """
    crew = _Crew(todo, settings)
    try:
        for _ in range(workers):
            crew.start_worker()
        crew.work(on_image)
    finally:
        crew.end()


class _Crew:
    """The processes at work, each with our end of its pipe, and the shards that nobody has yet."""

    def __init__(self, todo: list[Shard], settings: Settings) -> None:
        self.todo = iter(todo)
        self.settings = settings
        # A fork would copy the parent's threads as they are, locks included.
        self.context = multiprocessing.get_context("spawn")
        self.processes: dict[Connection, BaseProcess] = {}

    def start_worker(self) -> None:
        """Start one more process."""
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=work_on, args=(theirs, self.settings), daemon=True)
        self.processes[ours] = process
        with interrupts_blocked():
            process.start()
        theirs.close()  # now only the worker has it: the pipe ends with the worker

    def work(self, on_image: Callable[[], Any]) -> None:
        """Hand out shards until all are made."""
        for pipe in list(self.processes):
            self._give_next(pipe)
        while self.processes:
            for ready in wait(list(self.processes)):
                assert isinstance(ready, Connection)
                self._answer(ready, on_image)

    def _answer(self, pipe: Connection, on_image: Callable[[], Any]) -> None:
        """Receive one message and do what it asks for."""
        try:
            message = pipe.recv()
        except (EOFError, ConnectionError):
            raise self._lost(pipe) from None
        if isinstance(message, Exception):
            raise message
        if message == DONE:
            self._give_next(pipe)
        else:
            on_image()

    def _give_next(self, pipe: Connection) -> None:
        """Send a worker its next shard; without one it ends."""
        shard = next(self.todo, None)
        try:
            pipe.send(shard)
        except ConnectionError:
            raise self._lost(pipe) from None
        if shard is None:
            self.processes.pop(pipe).join()
            pipe.close()

    def _lost(self, pipe: Connection) -> UserError:
        """The error for a worker that has ended without a word."""
        process = self.processes[pipe]
        process.join(5)
        code = process.exitcode or 0
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return UserError(f"a worker process was killed ({reason}); if memory ran short, use fewer "
                         "--workers. Finished shards are kept: give the same command to resume")

    def end(self) -> None:
        """End all processes that are still there."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join()


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends, and for good in processes that are started in it,
    where the system can.

    A new process would otherwise be hit by an interrupt before it gets to ignoring them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work_on(pipe: Connection, settings: Settings) -> None:
    """A worker process: makes the shards it is sent until it is sent None, or until nobody
    listens."""
    # Ctrl-C reaches all processes of the group; the first one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's, on odd files: they would tear the progress bar

    def tell(message: object) -> None:
        try:
            pipe.send(message)
        except OSError:
            raise SystemExit(1) from None

    try:
        with threadpool_limits(1):  # there is one process per CPU already
            while (shard := pipe.recv()) is not None:
                write_shard(shard, settings, lambda: tell(IMAGE))
                tell(DONE)
    except (EOFError, ConnectionError):
        return
    except UserError as error:
        tell(error)
    except MemoryError:
        tell(UserError("out of memory in a worker process; use fewer --workers: "
                       "finished shards are kept"))
    except Exception:
        tell(RuntimeError(f"in a worker process:\n{traceback.format_exc()}"))
