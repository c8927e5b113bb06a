"""Matrix products on a GPU: one call of cuBLAS, told where the rows of its three matrices begin.

CuPy's own `@` would do for most products. But it returns a new array, copies a matrix whose rows
are parts of longer rows (the channels of one group among all of them), and rounds the product of
two half-precision matrices to half precision. So `multiply` calls cuBLAS itself, the way CuPy
does. Products are two-dimensional: in three dimensions CuPy 14 uses neither TF32 nor the tensor
cores.
"""
import functools
from typing import Any

import numpy as np

from .. import backend

Array = Any  # a CuPy array

# The types that a factor can have, by the dtype of the array that holds it. NumPy has no bfloat16:
# its bits are stored as unsigned integers.
KINDS = {
    "float64": "CUDA_R_64F",
    "float32": "CUDA_R_32F",
    "float16": "CUDA_R_16F",
    "uint16": "CUDA_R_16BF",
}

# cuBLAS reads alpha and beta of  out = alpha a @ b + beta out  from memory: here, on the host.
ZERO_AND_ONE = {name: np.array([0, 1], name) for name in ("float32", "float64")}


def _compute_type(cublas: Any, factor: str, result: str, precision: str) -> int:
    """The type in which cuBLAS multiplies and adds."""
    if result == "float64":
        return cublas.CUBLAS_COMPUTE_64F
    if factor == "float32" and precision == "tf32":
        return cublas.CUBLAS_COMPUTE_32F_FAST_TF32
    return cublas.CUBLAS_COMPUTE_32F


@functools.cache
def _settings(xp: Any, factor: str, result: str, precision: str) -> tuple[int, int, int, int, int]:
    """What cuBLAS must know about factors and a result of these dtypes: (type of the factors, type
    of the result, type of the sums, address of a 0, address of a 1)."""
    runtime = xp.cuda.runtime
    compute = _compute_type(xp.cuda.cublas, factor, result, precision)
    zero = ZERO_AND_ONE[result].ctypes.data
    one = zero + ZERO_AND_ONE[result].itemsize
    return getattr(runtime, KINDS[factor]), getattr(runtime, KINDS[result]), compute, zero, one


def _layout(matrix: Array) -> tuple[bool, int]:
    """(whether the matrix is the transpose of what lies in memory, elements from one row of that
    to the next). Raises ValueError when its rows are not contiguous either way."""
    rows, columns = matrix.shape
    down, across = matrix.strides
    if across == matrix.itemsize or columns == 1:
        return False, max(down // matrix.itemsize, columns)
    if down == matrix.itemsize or rows == 1:
        return True, max(across // matrix.itemsize, rows)
    raise ValueError(f"a matrix of shape {matrix.shape} has strides {matrix.strides}, expected "
                     "contiguous rows or columns; copy it first")


def is_aligned(matrix: Array) -> bool:
    """Whether the matrix begins at a multiple of 16 bytes, as new arrays do. A part of a flat
    array may not; cuBLAS writes there too, but chooses slower kernels."""
    return matrix.data.ptr % 16 == 0


def multiply(a: Array, b: Array, out: Array, way_back: Array | None = None,
             add: bool = False) -> Array:
    """out (M,N) = a (M,K) @ b (K,N), with `add` out + a @ b; returns out.

    The rows of each may be parts of longer rows, and a and b may be transposes of such matrices.
    float32 factors are multiplied as backend.set_precision says, half-precision ones give a
    float32 result, and sums are float32; float64 is float64 throughout. `way_back` (3,) holds
    2^-k, 0 and 1 on the device, where the factors were scaled by 2^k (half.way_back).
    """
    M, K = a.shape
    N = b.shape[1]
    if not M * N * K:  # cuBLAS wants at least one of each
        if not add:
            out[...] = 0
        return out
    xp = backend.xp_of(a, b, out)
    cublas = xp.cuda.cublas
    kind, result, compute, zero, one = _settings(xp, a.dtype.name, out.dtype.name,
                                                 backend.precision())
    a_transposed, a_row = _layout(a)
    b_transposed, b_row = _layout(b)
    # Addresses of the factor of the product, and of the factor of what is in `out` already.
    alpha = one
    beta = one if add else zero
    mode = cublas.CUBLAS_POINTER_MODE_HOST
    if way_back is not None:
        alpha = way_back.data.ptr
        beta = alpha + way_back.itemsize * (2 if add else 1)
        mode = cublas.CUBLAS_POINTER_MODE_DEVICE
    handle = xp.cuda.get_cublas_handle()
    before = cublas.getPointerMode(handle)
    cublas.setPointerMode(handle, mode)
    try:
        # cuBLAS expects columns in memory one after the other, where these arrays have rows. So it
        # sees the transpose of each, and is asked for  out^T (N,M) = b^T (N,K) @ a^T (K,M).
        cublas.gemmEx(
            handle,
            cublas.CUBLAS_OP_T if b_transposed else cublas.CUBLAS_OP_N,
            cublas.CUBLAS_OP_T if a_transposed else cublas.CUBLAS_OP_N,
            N, M, K,
            alpha,
            b.data.ptr, kind, b_row,
            a.data.ptr, kind, a_row,
            beta,
            out.data.ptr, result, _layout(out)[1],
            compute, cublas.CUBLAS_GEMM_DEFAULT,
        )
    finally:
        cublas.setPointerMode(handle, before)
    return out
