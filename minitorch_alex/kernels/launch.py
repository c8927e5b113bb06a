"""Compiling and starting the CUDA kernels of cuda/*.cu, for gpu/ and half.py."""
import functools
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from ..errors import BackendError, ShapeError
from .window import ceil_div

Array = Any   # a CuPy array
Kernel = Any  # a compiled CUDA function of CuPy: kernel(blocks, threads, arguments)

THREADS = 256             # in a block, at most: one runs well on any GPU, and several fit
WARP = 32                 # threads that a GPU runs in step
BLOCKS = 8192             # of a launch, at most: some ten for each place to run one
LARGEST = 2**31 - 2**24   # elements of an array: beyond, the kernels' int indices could overflow

FILES = ("conv", "pool", "lrn", "elementwise", "dense", "half", "loss", "input", "batch_norm",
         "later")
# What FLOAT is in the kernels, by the dtype of the arrays. half_bits is two bytes of either kind.
NUMBERS = {
    "float32": "float",
    "float64": "double",
    "float16": "half_bits",
    "uint16": "half_bits",
}
MOVED = ("float16", "uint16")  # the dtypes of which im2col moves numbers; nothing adds them up


def source(*files: str) -> str:
    """The CUDA source text of these files of cuda/ (by default all of them), after common.cu. The
    compiler names a file in its messages because of the #line directives."""
    folder = Path(__file__).parent / "cuda"
    texts = []
    for name in ("common", *(files or FILES)):
        text = (folder / f"{name}.cu").read_text(encoding="utf-8")
        texts.append(f'#line 1 "{name}.cu"\n{text}')
    return "\n".join(texts)


@functools.cache
def _module(xp: Any, dtype: np.dtype) -> Any:
    """The kernels compiled for one dtype: a second or two on first use, then from CuPy's cache on
    disk.

    Multiplications and additions may fuse, which is the compiler's default (--fmad=true) and saves
    a rounding. And numbers below 2^-126 are 0: CuPy appends -ftz=true to any options.
    """
    code = source("conv") if dtype.name in MOVED else source()
    return xp.RawModule(code=code, options=("-std=c++17", f"-DFLOAT={NUMBERS[dtype.name]}"))


@functools.cache
def _kernel(xp: Any, dtype: np.dtype, name: str) -> Kernel:
    """The kernel `name` for one dtype. Raises BackendError when there is none for that dtype."""
    if dtype.name not in NUMBERS or (dtype.name in MOVED and name != "im2col"):
        raise BackendError(f"the GPU kernels take float32 and float64, got {dtype}")
    return _module(xp, dtype).get_function(name)


# Converting the arguments of a launch takes longer than handing them over, and they are the same
# in every step of a training: so they are converted once. `typed`, because 1, 1.0 and True are
# equal as keys and differ as arguments.
@functools.lru_cache(maxsize=4096, typed=True)
def _converted(dtype: np.dtype, *numbers: int | float | np.generic) -> tuple[np.generic, ...]:
    """Python's int and float as the kernel's int and FLOAT; numbers of NumPy as they are."""
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
    """((blocks along columns, blocks along lines), (threads of a block,)) for columns x lines
    places of work."""
    blocks = ceil_div(columns, THREADS)
    threads = WARP * ceil_div(columns, WARP * blocks)  # equal shares, in whole warps
    rows = max(1, BLOCKS // blocks)
    return (min(blocks, BLOCKS), min(lines, rows)), (threads,)


def launch(name: str, like: Array, columns: int, lines: int, arrays: tuple[Array, ...],
           *numbers: int | float | np.generic) -> None:
    """Start kernel `name`, for the dtype of `like`, on columns x lines places of work.

    Threads lie along the columns. The kernel's parameters are the arrays, then the numbers:
    Python's int and float become its int and FLOAT. Raises ShapeError when an array has more
    elements than the kernels can count.
    """
    if not columns * lines:
        return
    for array in arrays:
        if array.size > LARGEST:
            raise ShapeError(f"an array of {array.size} elements is too large for the GPU "
                             f"kernels, which count to {LARGEST}; use a smaller batch")
    grid, block = _grid(columns, lines)
    kernel = _kernel(backend.xp_of(like), like.dtype, name)
    kernel(grid, block, (*arrays, *_converted(like.dtype, *numbers)))
