"""Kernels: array in, array out; they know no Tensor and no graph.

`naive` says what each computes, `cpu` does it fast in NumPy, `gpu` in CuPy and CUDA. All have the
same functions over NHWC arrays. `im2col` is the step from the loops of `naive` to the fast
convolution: the same three functions as matrix products.
"""
import numpy as np

from .. import backend
from . import cpu, gpu, im2col, naive
from .cpu.algorithms import set_winograd
from .memory import keep_freed_memory, release_memory, set_workspace, trim_memory
from .window import Window
from .workers import get_threads, set_threads

__all__ = ["Window", "cpu", "get_threads", "gpu", "im2col", "keep_freed_memory", "naive",
           "release_memory", "set_threads", "set_winograd", "set_workspace", "trim_memory"]

backend.register("numpy", (np.ndarray, np.generic), np, cpu)
backend.offer("cupy", gpu)
