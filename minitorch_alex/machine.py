"""What the machine offers to this process: processors and memory.

A container (docker --cpus 2 --memory 4g, a pod with limits) runs on all of its host's processors
and sees all of its memory; its share is a quota of the control group that the process is in:

    version 2   /sys/fs/cgroup/GROUP/         cpu.max ("200000 100000": of each 0.1 s 0.2 s of
                                              processor time), memory.max
    version 1   /sys/fs/cgroup/cpu/GROUP/     cpu.cfs_quota_us, cpu.cfs_period_us
                /sys/fs/cgroup/memory/GROUP/  memory.limit_in_bytes

Groups lie in groups, and the least of their quotas counts. /proc/self/cgroup says which group it
is. (Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.)
"""
import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")  # of proc and sys; tests put another one in its place


def available_cpus() -> int:
    """The number of processors that this process may use, which can be fewer than there are; of a
    quota, a part of one counts as one."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        count = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(count, _cpu_quota())))


def memory_bytes(unknown: int = 8_000_000_000) -> int:
    """The main memory of the machine in bytes, or of the container; `unknown` where the system
    does not tell."""
    memory = unknown
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([memory, *_limits("memory", "memory.max", "memory.limit_in_bytes")])


def _cpu_quota() -> float:
    """The processors that all quotas allow, as a fraction; infinity without one."""
    quotas = [math.inf]
    for folder in _groups("cpu"):
        with contextlib.suppress(OSError, ValueError, LookupError):
            quota, period = (folder / "cpu.max").read_text().split()[:2]
            quotas.append(_share(quota, period))
        with contextlib.suppress(OSError, ValueError):
            quotas.append(_share((folder / "cpu.cfs_quota_us").read_text(),
                                 (folder / "cpu.cfs_period_us").read_text()))
    return min(quotas)


def _share(quota: str, period: str) -> float:
    """Processors by a quota and its period in microseconds; "max" and -1 mean no quota."""
    if quota.strip() == "max" or int(quota) <= 0 or int(period) <= 0:
        return math.inf
    return int(quota) / int(period)


def _limits(controller: str, *names: str) -> Iterator[int]:
    """The positive numbers in files of these names, in all groups; "max" is none."""
    for folder in _groups(controller):
        for name in names:
            with contextlib.suppress(OSError, ValueError):
                value = int((folder / name).read_text())
                if value > 0:
                    yield value


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the groups that this process is in and that have a say on the controller,
    from its own up to the root.

    A container may see its own group as the root, or not see the path to it at all: folders that
    do not exist are harmless.
    """
    try:
        # Names of groups are bytes, of any encoding.
        text = (ROOT / "proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # not Linux
        return
    mount = ROOT / "sys/fs/cgroup"
    for line in text.splitlines():  # number:controllers:path; version 2 has no controllers
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            tops = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            tops = [mount / controllers, mount / controller]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for top in tops:
            for length in range(len(parts), -1, -1):
                yield top.joinpath(*parts[:length])
