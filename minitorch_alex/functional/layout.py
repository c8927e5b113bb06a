"""Between the shapes that users see, NCHW, and the memory that kernels work in, NHWC.

PyTorch calls this memory channels_last. The result of an operation is an NCHW view of NHWC memory,
so the conversion at the next operation costs nothing:

    image ──copy──> NHWC ─conv2d─> NHWC ──view──> NCHW ──view──> NHWC ─relu─> NHWC ──view──> NCHW

A plain NCHW array costs one copy, and gives the same answer.
"""
from typing import Any

from .. import backend


def contiguous(x: Any) -> Any:
    """x in C order, itself if it is so already; None stays None."""
    if x is None or x.flags.c_contiguous:  # most often; asking is faster than calling the backend
        return x
    return backend.xp_of(x).ascontiguousarray(x)


def to_nhwc(x: Any) -> Any:
    """(N,C,H,W) -> (N,H,W,C), C-contiguous; other ranks just C-contiguous. A view if possible."""
    # axes (N, C, H, W) -> (N, H, W, C), and a copy unless they lie in this order already
    return contiguous(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)


def to_nchw(x: Any) -> Any:
    """(N,H,W,C) -> (N,C,H,W) as a view; other ranks unchanged."""
    # axes (N, H, W, C) -> (N, C, H, W): other strides over the same memory, nothing is copied
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
