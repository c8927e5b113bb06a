"""Matrix products on a GPU, and what --precision fp16 makes of them: factors in half precision, sums in float32.

Tensor cores multiply numbers of half precision (11 significant bits, 2 bytes) faster than any others, and add up in
float32. So the two factors of a product are rounded, and all else stays float32: results, weights, gradients, update.

What is difficult is the range, which ends at 65504 and begins at 2^-24; gradients of a large batch are smaller. The
usual remedy multiplies the loss by a number that must be found while training and now and then costs a step. Here each
factor is multiplied by a power of two, which is exact, such that its largest absolute value lies between 2^14 and 2^15;
cuBLAS scales the product back. Nothing overflows; what vanishes is smaller than a 2^-39th part of the largest; and
there is no state to keep. The powers are found on the device, where they are needed: the host does not wait for them.
NaN and infinity go through to the product.
"""
from typing import Any

import numpy as np

from .. import backend
from .launch import launch

Array = Any  # a CuPy array

PIECES, STEP = 65536, 256  # the largest number is sought by so many threads at most; each reads STEP numbers, or more


def factors(a: Array, b: Array) -> tuple[Array, Array, Array | None]:
    """(a, b, back) for `product`: as they are with None; under fp16, of float32, rounded to half precision with
    back (2,) = (2^-k, 0), where a and b together were multiplied by 2^k."""
    if backend.precision() != "fp16" or a.dtype != np.float32:
        return a, b, None
    xp = backend.xp_of(a, b)
    a, b = xp.ascontiguousarray(a), xp.ascontiguousarray(b)
    top_a, top_b, back = _largest(a), _largest(b), xp.empty(2, a.dtype)
    launch("scale_back", a, 2, 1, top_a, top_b, back)
    return _rounded(a, top_a, top_b), _rounded(b, top_b, top_a), back


def _largest(x: Array) -> Array:
    """(1,): the largest absolute value of x, NaN aside."""
    while True:
        pieces = max(1, min(PIECES, -(-x.size // STEP)))
        tops = backend.xp_of(x).empty(pieces, x.dtype)
        launch("largest", x, pieces, 1, x, tops, x.size, pieces)
        if pieces == 1:
            return tops
        x = tops


def _rounded(x: Array, top: Array, other: Array) -> Array:
    """x in half precision, scaled as `top` asks, its largest absolute value, and that of the other factor allows."""
    y = backend.xp_of(x).empty(x.shape, np.float16)
    launch("to_half", x, x.size, 1, x, top, other, y, x.size)
    return y


def product(a: Array, b: Array, back: Array | None) -> Array:
    """a (M,K) @ b (K,N), each C-contiguous or the transpose of such; in half precision times back[0], in float32.
    CuPy's own `@` would round results to half precision too, so cuBLAS is called as CuPy does it."""
    if back is None:
        return a @ b
    xp, (M, K), N = backend.xp_of(a, b, back), a.shape, b.shape[1]
    if not M * N * K:
        return xp.zeros((M, N), back.dtype)
    y, cublas, runtime = xp.empty((M, N), back.dtype), xp.cuda.cublas, xp.cuda.runtime
    # cuBLAS counts down columns, so that it sees each matrix transposed and makes y^T = b^T @ a^T
    (op_a, row_a), (op_b, row_b) = ((cublas.CUBLAS_OP_N, m.shape[1]) if m.flags.c_contiguous else
                                    (cublas.CUBLAS_OP_T, m.shape[0]) for m in (a, b))
    handle = xp.cuda.get_cublas_handle()
    before = cublas.getPointerMode(handle)
    cublas.setPointerMode(handle, cublas.CUBLAS_POINTER_MODE_DEVICE)  # it finds the two numbers of `back` there
    try:
        cublas.gemmEx(handle, op_b, op_a, N, M, K, back.data.ptr, b.data.ptr, runtime.CUDA_R_16F, row_b, a.data.ptr,
                      runtime.CUDA_R_16F, row_a, back.data.ptr + back.itemsize, y.data.ptr, runtime.CUDA_R_32F, N,
                      cublas.CUBLAS_COMPUTE_32F, cublas.CUBLAS_GEMM_DEFAULT)
    finally:
        cublas.setPointerMode(handle, before)
    return y
