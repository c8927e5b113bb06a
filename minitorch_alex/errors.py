"""What can go wrong by the user's hand: one class a kind, each with its exit code and a message fit to be read."""
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """An error whose message is meant for the user: what was got, what was expected, how to mend it."""

    exit_code = 1


class UsageError(UserError):
    """A flag or an argument that makes no sense."""

    exit_code = 2


class ShapeError(UserError, ValueError):
    """Shapes or sizes that do not fit together; names the operation, what it got and what it expected."""

    exit_code = 2


class BackendError(UserError):
    """A backend that is not there, or arrays of two backends in one operation."""

    exit_code = 3


class DataError(UserError):
    """A dataset that is missing, damaged or not what it claims to be."""

    exit_code = 4


class DivergedError(UserError):
    """Training left the real numbers: the loss is NaN or infinite."""

    exit_code = 5


class RunError(UserError):
    """A run directory or a checkpoint that cannot be used."""

    exit_code = 6


class DiskError(UserError):
    """A file that could not be written; nothing half-written is left behind."""

    exit_code = 7


EXIT_CODES = """exit codes:
  0  done
  1  out of memory, or a fault of the program
  2  wrong usage: a flag, a name, a shape
  3  the backend is not available
  4  data missing or damaged
  5  the loss became NaN or infinite
  6  a run directory or checkpoint cannot be used
  7  a file could not be written (disk full, no permission)
  130, 143  interrupted by Ctrl-C or SIGTERM; a checkpoint was written first
  141  the reader of the output (head, say) went away"""


def run_cli(main: Callable[[], int | None]) -> None:
    """Run a command line's `main` and exit: a UserError becomes one line on stderr and its exit code."""
    sys.stdout.reconfigure(line_buffering=True)  # a line shows at once in a pipe or a log file too
    try:
        code = main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except MemoryError as error:
        print(f"error: out of memory{f' ({error})' if str(error) else ''}; use a smaller --batch-size", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush finds someone
        code = 141
    sys.exit(code)
