"""What the machine offers to this process: processors and memory."""
import os


def available_cpus() -> int:
    """The number of processors that this process may use, which can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes(unknown: int = 8_000_000_000) -> int:
    """The main memory of the machine in bytes; `unknown` where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return unknown
