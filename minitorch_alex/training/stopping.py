"""Ctrl-C, SIGTERM and SIGUSR1: a training is asked to stop, and does so when it can be resumed."""
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from ..comm import Alone, Comm

# SIGUSR1, which Windows lacks, is what a cluster sends some time before it takes a machine away,
# and the one that every mpiexec passes on.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1")
           if hasattr(signal, name)]


class Stopped(Exception):  # noqa: N818 (no error: the user asked for it)
    """A signal has come, and what was going on is given up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopSignal:
    """Notes Ctrl-C, SIGTERM and SIGUSR1 within a `with` block; a second Ctrl-C interrupts at once.

    A signal that one rank has got counts for all of `ranks`, after the same step: `poll` and
    `check` are called by all of them.

    After the block the handlers are those from before: they belong to the process, which may be a
    notebook. Python leaves signals to the main thread, so in any other thread nothing is noted.
    """

    def __init__(self, ranks: Comm | None = None) -> None:
        self.ranks = ranks or Alone()
        self.number = 0  # of the signal that the ranks have agreed on
        self._noted = 0  # of the first one that this rank has got
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None: installed by a program in C, out of Python's reach
                signal.signal(number, handler)

    def poll(self, now: bool = False) -> int:
        """The number of a signal that has come, or 0; with several ranks one that had come by the
        last call, so that nobody waits, or with `now` by this one."""
        if not self.number:
            (self.number,) = self.ranks.agree([self._noted], now)
            if self.number and not now:
                self.ranks.agree([0], now=True)  # nothing stays under way when the ranks end
        return self.number

    def check(self) -> None:
        """Raises Stopped once a signal has come: for work that can be begun again."""
        if self.poll(now=True):
            raise Stopped(self.number)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self._noted and os.isatty(2):  # a step of a large network takes seconds
            os.write(2, b"\nstopping at the next step; Ctrl-C again stops at once, without a "
                     b"checkpoint\n")
        self._noted = self._noted or number
        signal.signal(signal.SIGINT, signal.default_int_handler)
