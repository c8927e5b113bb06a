"""The end of a rank that waits for others who do not come."""
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAITED_TOO_LONG = 8  # the exit code of a rank that has waited for the others in vain


class Watchdog:
    """Ends this process when it has waited too long for the others: MPI itself waits for ever for
    a rank whose host or cable is gone.

    A thread of its own looks at the clock, since a rank that waits cannot. `advice` ends its
    message: how to go on.
    """

    def __init__(self, rank: int, host: str, timeout: float) -> None:
        self.rank = rank
        self.host = host
        self.timeout = timeout
        self.place = "the start"
        self.advice = ""
        self._since: dict[int, float] = {}  # thread -> when it began to wait
        if timeout > 0:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a call that returns when the others have called it too."""
        thread = threading.get_ident()
        self._since[thread] = time.monotonic()
        try:
            yield
        finally:
            self._since.pop(thread, None)

    def _watch(self) -> None:
        while True:
            time.sleep(min(0.5, self.timeout / 10))
            waits = list(self._since.values())
            if waits and time.monotonic() - min(waits) > self.timeout:
                break
        advice = f"; {self.advice}" if self.advice else ""
        print(f"error: rank {self.rank} on {self.host} has waited {self.timeout:g} s for the "
              f"other ranks at {self.place}{advice}", file=sys.stderr, flush=True)
        # Not Abort, which talks to the others and may wait as well.
        os._exit(WAITED_TOO_LONG)
