"""Freed memory: kept for the next step, up to a bound, or given back.

A training step allocates and frees gigabytes in large arrays. By default the C library returns
each of them to the system at once, which hands out zeroed pages afresh at the next step, one fault
per 4 KB. So a program may tell it to keep them. Then the arrays of one step lie where those of the
last one lay, whatever their shapes: neighbouring free blocks merge. The kernels keep no array
between calls, so nothing outlives its user.

These calls change the whole process, so programs make them (train, evaluate), not the library.
They speak to glibc; on other systems they do nothing and say so by returning False or 0.
"""
import ctypes

# Options of mallopt, from malloc.h
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


class _Mallinfo2(ctypes.Structure):
    """What mallinfo2 returns; `fordblks` is the free bytes of the heap."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallinfo2.restype = _Mallinfo2
        library.malloc_trim.argtypes = (ctypes.c_size_t,)
    except (OSError, AttributeError):  # not glibc, or one older than 2.33: macOS, Windows, musl
        return None
    return library


_libc = _glibc()
_workspace: int | None = None


def keep_freed_memory() -> bool:
    """Keep freed blocks for the next allocation. Returns whether it took effect."""
    if _libc is None:
        return False
    settings = (
        (_M_MMAP_MAX, 0),         # no array gets a mapping of its own, to be unmapped when freed
        (_M_TRIM_THRESHOLD, -1),  # the top of the heap is never given back
        (_M_TOP_PAD, 64 << 20),   # the heap grows by 64 MB at a time
    )
    return all(_libc.mallopt(option, value) for option, value in settings)


def freed_memory() -> int:
    """Bytes that were freed and still belong to this process, by the allocator's count (their
    pages may have been given back)."""
    return 0 if _libc is None else _libc.mallinfo2().fordblks


def release_memory(keep: int = 0) -> bool:
    """Give freed memory back to the system if there are more than `keep` bytes of it. Returns
    whether any was."""
    return _libc is not None and freed_memory() > keep and bool(_libc.malloc_trim(keep))


def set_workspace(limit: int | None) -> None:
    """Set how many freed bytes `trim_memory` leaves for the next step; None, the default: all."""
    global _workspace
    _workspace = limit


def trim_memory() -> None:
    """Give back what goes beyond the workspace; programs call it after each step."""
    if _workspace is not None:
        release_memory(_workspace)
