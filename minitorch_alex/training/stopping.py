"""Ctrl-C and SIGTERM: a training is asked to stop, and does so at a moment that can be resumed."""
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 (no error: the user asked for it)
    """A signal has come, and what was going on is given up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopSignal:
    """Notes Ctrl-C and SIGTERM within a `with` block; a second Ctrl-C interrupts at once.

    After the block the handlers are those from before: they belong to the process, which may be a
    notebook. Python leaves signals to the main thread, so in any other thread nothing is noted.
    """

    def __init__(self) -> None:
        self.number = 0  # of the first signal that has come
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

    def check(self) -> None:
        """Raises Stopped once a signal has come: for work that can be begun again."""
        if self.number:
            raise Stopped(self.number)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self.number and os.isatty(2):  # a step of a large network takes seconds
            os.write(2, b"\nstopping at the next step; Ctrl-C again stops at once, without a "
                     b"checkpoint\n")
        self.number = self.number or number
        signal.signal(signal.SIGINT, signal.default_int_handler)
