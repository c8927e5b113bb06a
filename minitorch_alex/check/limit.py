"""A time limit for a learner's code, without signals: it holds on Windows and in notebooks too.

    with time_limit(120, "1.2 conv2d_naive"):
        judge(...)                             # Late is raised in here after 120 s
"""
import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

PATIENCE = 20.0  # seconds for which Late may be ignored (by a bare `except:`, or inside NumPy)


class Late(BaseException):
    """The time is up. Not an Exception, so that a learner's `except Exception` lets it through."""


@contextlib.contextmanager
def time_limit(seconds: float, what: str, exit_code: int) -> Iterator[None]:
    """Raise Late in this thread when the block takes longer than `seconds`.

    Python delivers it between two of its own instructions. Where none comes for PATIENCE seconds,
    or the code catches it each time, the process ends with one line that names `what`.
    """
    done = threading.Event()
    target = threading.get_ident()
    lock = threading.Lock()

    def watch() -> None:
        if done.wait(seconds):
            return
        # again each second: a bare `except:` around the loop may have swallowed the last one
        for _ in range(int(PATIENCE)):
            with lock:
                if done.is_set():
                    return
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(target), ctypes.py_object(Late))
            if done.wait(1.0):
                return
        print(f"error: {what} did not end in {seconds:g} s and cannot be interrupted",
              file=sys.stderr, flush=True)
        # A thread cannot end the process otherwise, and an endless loop inside NumPy hears
        # nothing.
        sys.stdout.flush()
        os._exit(exit_code)

    watcher = threading.Thread(target=watch, daemon=True)  # never holds up the end of the process
    watcher.start()
    try:
        yield
    finally:
        with lock:
            done.set()
            # one that was sent and has not arrived yet would hit whatever comes next
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(target), None)
