"""Compiling and starting the CUDA kernels of cuda/*.cu, for gpu.py and half.py."""
import functools
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from ..errors import BackendError, ShapeError

Array = Any  # a CuPy array

THREADS, BLOCKS = 256, 8192  # a launch's threads in a block, and its blocks at most: some ten for each place to run one
LARGEST = 2**31 - 2**24      # elements of an array: beyond, the kernels' int indices could overflow
FILES = ("conv", "pool", "lrn", "elementwise", "dense", "half", "loss", "input")
NUMBERS = {"float32": "float", "float64": "double", "float16": "half_bits"}  # the last for im2col, which only moves it


def source(*files: str) -> str:
    """The CUDA source text of these files of cuda/ (all of them if none is named), behind what they share."""
    folder = Path(__file__).parent / "cuda"
    return "\n".join(f'#line 1 "{name}.cu"\n{(folder / f"{name}.cu").read_text(encoding="utf-8")}'
                     for name in ("common", *(files or FILES)))


@functools.cache
def _module(xp: Any, dtype: np.dtype) -> Any:
    """The compiled kernels for one dtype: a second or two on first use, then from CuPy's cache on disk. Multiplications
    and additions may fuse, which is the compiler's default (--fmad=true): one rounding fewer."""
    code = source("conv") if dtype == np.float16 else source()
    return xp.RawModule(code=code, options=("-std=c++17", f"-DFLOAT={NUMBERS[dtype.name]}"))


@functools.cache
def _kernel(xp: Any, dtype: np.dtype, name: str) -> Any:
    if dtype.name not in NUMBERS or (dtype == np.float16 and name != "im2col"):
        raise BackendError(f"the GPU kernels take float32 and float64, got {dtype}")
    return _module(xp, dtype).get_function(name)


def launch(name: str, like: Array, columns: int, lines: int, *args: Any) -> None:
    """Start kernel `name` for the dtype of `like` on columns x lines places of work, with threads along the columns.
    Python numbers are handed over as the kernel's int and FLOAT, everything else as it is."""
    if not columns * lines:
        return
    given = []
    for arg in args:
        if isinstance(arg, int):
            arg = np.int32(arg)
        elif isinstance(arg, float):
            arg = like.dtype.type(arg)
        elif arg.size > LARGEST:
            raise ShapeError(f"an array of {arg.size} elements is too large for the GPU kernels, which count to "
                             f"{LARGEST}; use a smaller batch")
        given.append(arg)
    blocks = -(-columns // THREADS)
    threads = 32 * -(-columns // (32 * blocks))  # even shares, in whole warps
    grid = min(blocks, BLOCKS), min(lines, max(1, BLOCKS // blocks))
    _kernel(backend.xp_of(like), like.dtype, name)(grid, (threads,), tuple(given))
