"""How every program parses its arguments, runs, and ends: with an exit code and one line."""
import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import UserError
from .. import jobs
from .device import restore_device

EXIT_CODES = """exit codes:
  0  done
  1  out of memory, or an internal error
  2  wrong usage: a flag, a name, a shape
  3  the backend is not available
  4  data missing or damaged
  5  the loss became NaN or infinite
  6  a run directory or checkpoint cannot be used
  7  a file could not be written (disk full, no permission)
  8  one of several ranks has waited for the others longer than --timeout
  130, 143  interrupted by Ctrl-C or SIGTERM
  141  the reader of the output (head, say) went away"""
# In EXIT_CODES; a command says there what is kept.
INTERRUPTED = "interrupted by Ctrl-C or SIGTERM"


def parser(name: str, about: str, epilog: str = EXIT_CODES,
           kind: type[argparse.ArgumentParser] = argparse.ArgumentParser,
           **options: Any) -> argparse.ArgumentParser:
    """The parser of `python -m NAME`; `about` and `epilog` are printed by --help with their line
    breaks."""
    return kind(prog=_called_as or f"python -m {name}", description=about,
                epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, **options)


_called_as = ""  # how the user has called the program, where not by python -m


@contextlib.contextmanager
def called_as(name: str) -> Iterator[None]:
    """Inside, the usage of a program names it so: "minitorch-alex train"."""
    global _called_as
    before = _called_as
    _called_as = name
    try:
        yield
    finally:
        _called_as = before


def run_cli(main: Callable[[], int | None]) -> None:
    """Run a program's `main` and exit; a UserError becomes one line on stderr and an exit code. Of
    several ranks, one that ends early ends all."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a line appears at once in a pipe too
    try:
        with guest_of_process(), jobs.quiet():
            code = main() or 0
    except SystemExit as stop:  # argparse's
        jobs.abort(stop.code if isinstance(stop.code, int) else 1)
        raise
    except UserError as error:
        jobs.report(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of the output, `head` say, went away
        # Python flushes at exit, which would fail again: let it flush into nothing.
        with contextlib.suppress(OSError, ValueError):  # a notebook's stdout has no descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:
        text = out_of_memory(error)
        if text is None:
            jobs.crash()
            raise
        jobs.report(f"{text}; use a smaller --batch-size")
        code = 1
    else:  # all ranks end alike, and wait for each other
        sys.exit(code)
    jobs.abort(code)
    sys.exit(code)


@contextlib.contextmanager
def guest_of_process() -> Iterator[None]:
    """Inside, a character that the encoding of stdout or stderr lacks is printed as an escape;
    after it both are as they were, and so is what the flags of a device set (restore_device).

    Every program's `main` runs in it, also where a notebook or a script calls it.
    """
    handlers = []
    for stream in (sys.stdout, sys.stderr):
        # A user's own choice, PYTHONIOENCODING=ascii:replace, never fails. A notebook's stream
        # takes any text.
        fails = getattr(stream, "errors", None) in ("strict", "surrogateescape")
        if fails and isinstance(stream, io.TextIOWrapper):
            handlers.append((stream, stream.errors))
            stream.reconfigure(errors="backslashreplace")
    with restore_device():
        try:
            yield
        finally:
            for stream, errors in handlers:
                if not stream.closed:
                    stream.reconfigure(errors=errors)


def out_of_memory(error: Exception) -> str | None:
    """An out-of-memory error of the host or the GPU in one line; None for any other error.

    CuPy's own classes can only be named where CuPy is installed, so they are recognised by their
    texts.
    """
    text = str(error)
    # "Out of memory allocating 1,000 bytes (allocated so far: 2,000 bytes, limit set to: ..."
    sizes = [int(size.replace(",", "")) / 1e9 for size in re.findall(r"([\d,]+) bytes", text)]
    if isinstance(error, MemoryError) and len(sizes) >= 2:
        limit = f"the limit is {sizes[2]:,.2f} GB" if len(sizes) > 2 else "the GPU has no more"
        return (f"out of memory (on the GPU: asked for {sizes[0]:,.2f} GB, "
                f"{sizes[1]:,.2f} GB are in use, {limit})")
    if isinstance(error, MemoryError):
        return f"out of memory ({text})" if text else "out of memory"
    if "cudaErrorMemoryAllocation" in text or "CUBLAS_STATUS_ALLOC_FAILED" in text:
        return f"out of memory (on the GPU: {text.splitlines()[0]})"
    return None
