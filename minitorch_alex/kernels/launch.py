"""Compiling and starting the CUDA kernels of cuda/*.cu, for gpu.py and half.py."""
import functools
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from ..errors import BackendError, ShapeError
from .window import ceil_div

Array = Any  # a CuPy array

THREADS, BLOCKS = 256, 8192  # a launch's threads in a block, and its blocks at most: some ten for each place to run one
LARGEST = 2**31 - 2**24      # elements of an array: beyond, the kernels' int indices could overflow
FILES = ("conv", "pool", "lrn", "elementwise", "dense", "half", "loss", "input")
NUMBERS = {"float32": "float", "float64": "double",
           "float16": "half_bits", "uint16": "half_bits"}  # two bytes of either kind, for im2col, which only moves them
MOVED = ("float16", "uint16")


def source(*files: str) -> str:
    """The CUDA source text of these files of cuda/ (all of them if none is named), behind what they share."""
    folder = Path(__file__).parent / "cuda"
    return "\n".join(f'#line 1 "{name}.cu"\n{(folder / f"{name}.cu").read_text(encoding="utf-8")}'
                     for name in ("common", *(files or FILES)))


@functools.cache
def _module(xp: Any, dtype: np.dtype) -> Any:
    """The compiled kernels for one dtype: a second or two on first use, then from CuPy's cache on disk. Multiplications
    and additions may fuse, which is the compiler's default (--fmad=true): one rounding fewer. And numbers below 2^-126
    are 0: CuPy adds -ftz=true behind whatever options it is given."""
    code = source("conv") if dtype.name in MOVED else source()
    return xp.RawModule(code=code, options=("-std=c++17", f"-DFLOAT={NUMBERS[dtype.name]}"))


@functools.cache
def _kernel(xp: Any, dtype: np.dtype, name: str) -> Any:
    if dtype.name not in NUMBERS or (dtype.name in MOVED and name != "im2col"):
        raise BackendError(f"the GPU kernels take float32 and float64, got {dtype}")
    return _module(xp, dtype).get_function(name)


# What a launch is told takes longer to convert than to hand over, and is the same in each step of a training.
@functools.lru_cache(maxsize=4096, typed=True)  # typed: 1, 1.0 and True are three different arguments
def _converted(dtype: np.dtype, *numbers: int | float | np.generic) -> tuple[np.generic, ...]:
    """Python's numbers as the kernel's int and FLOAT, those of NumPy as they are."""
    result: list[np.generic] = []
    for number in numbers:
        if isinstance(number, int):
            result.append(np.int32(number))
        elif isinstance(number, float):
            result.append(dtype.type(number))
        else:
            result.append(number)
    return tuple(result)


@functools.lru_cache(maxsize=4096)
def _grid(columns: int, lines: int) -> tuple[tuple[int, int], tuple[int]]:
    """(blocks along columns and lines, threads of a block) for so many places of work."""
    blocks = ceil_div(columns, THREADS)
    threads = 32 * ceil_div(columns, 32 * blocks)  # even shares, in whole warps
    return (min(blocks, BLOCKS), min(lines, max(1, BLOCKS // blocks))), (threads,)


def launch(name: str, like: Array, columns: int, lines: int, arrays: tuple[Array, ...],
           *numbers: int | float | np.generic) -> None:
    """Start kernel `name` for the dtype of `like` on columns x lines places of work, with threads along the columns.
    The kernel's parameters are the arrays, then the numbers: Python's are handed over as its int and FLOAT. Raises
    ShapeError when an array has more elements than the kernels can count."""
    if not columns * lines:
        return
    for array in arrays:
        if array.size > LARGEST:
            raise ShapeError(f"an array of {array.size} elements is too large for the GPU kernels, which count to "
                             f"{LARGEST}; use a smaller batch")
    grid, block = _grid(columns, lines)
    _kernel(backend.xp_of(like), like.dtype, name)(grid, block, (*arrays, *_converted(like.dtype, *numbers)))
