"""The program: one page, and an exit code."""
import argparse
import os
import platform
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import __version__, backend, kernels
from ..kernels import cpu
from ..training import cli, runs
from .agreement import check_kernels
from .families import FAMILIES
from .gradients import check_gradients
from .learning import check_input, check_training
from .measurements import speed

ABOUT = """Check that everything works on this machine, and measure how fast it is: one page, in a
minute or two.

For a machine with a new GPU (--backend cupy), or any other. Every kernel is compared with another
implementation and every gradient with finite differences; a small AlexNet must learn; the same
seed must give the same bits; and the speed of training is compared with that of the machine's
matrix products and copies."""
EXIT_CODES = """exit codes:
  0  all passed
  1  something failed: the last line says what
  2  wrong usage: a flag
  3  the backend is not available"""


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    kernels.keep_freed_memory()
    cli.use_device(vars(args))
    print(f"{args.backend} on\n  {describe_machine(vars(args))}\n")
    report = Report()
    report_kernels(report, args.precision, cases=3 if args.quick else 8)
    report_whole(report)
    report_speed(report, args.quick)
    print("\nfailed: " + ", ".join(report.failed) if report.failed else "\nall passed")
    return 1 if report.failed else 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = cli.parser("minitorch_alex.selftest", ABOUT, epilog=EXIT_CODES)
    cli.add_device_flags(parser)
    parser.add_argument("--quick", action="store_true",
                        help="fewer cases and smaller measurements")
    return parser.parse_args(argv)


class Report:
    """One line per check, printed when the check is over; `failed` has the names of those that
    failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def check(self, name: str, body: Callable[[], str]) -> None:
        """Print what a check returns, or why it failed. Whatever it raises is a failure, and the
        others go on."""
        try:
            print(f"  ok    {name:<18} {body()}")
        except Exception as error:  # of any kind: a new device may fail in ways nobody has seen
            self.failed.append(name)
            print(f"  FAIL  {name:<18} {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def report_kernels(report: Report, precision: str, cases: int) -> None:
    """Each family of kernels against another implementation."""
    other = "the plain loops" if backend.current().kernels is cpu else "NumPy's"
    print(f"kernels: the largest difference from {other}, as a share of the largest value")
    for family in FAMILIES:
        report.check(family.__name__.replace("_", " "),
                     partial(check_kernels, family, precision, cases))


def report_whole(report: Report) -> None:
    """Input, gradients and training."""
    print("\nthe whole")
    # On a CPU the feed is the loader itself: there is nothing to compare.
    if backend.current().kernels is not cpu:
        report.check("input", check_input)
    report.check("gradients", check_gradients)
    report.check("training", check_training)


def report_speed(report: Report, quick: bool) -> None:
    """The measurements; one that fails, most likely for lack of memory, ends them."""
    print("\nspeed")
    try:
        for line in speed(quick):
            print(f"  {line}")
    except Exception as error:
        report.failed.append("speed")
        print(f"  FAIL  {_one_line(error)}")


def describe_machine(settings: dict[str, Any]) -> str:
    """The versions, the processor and, where there is one, the GPU."""
    lines = [f"minitorch_alex {__version__}, Python {platform.python_version()}, numpy "
             f"{np.__version__}, {platform.system()}",
             f"{runs.cpu_name()}, {os.cpu_count()} CPUs, {kernels.get_threads()} threads",
             cli.describe_device(settings)]
    return "\n  ".join(filter(None, lines))
