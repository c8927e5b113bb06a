"""Matrix products with few columns, as small ones.

BLAS copies its factors into an order of its own before it multiplies. Where the result has few
columns, 32 say, each number of the large factor is used 32 times only, too few to hide the copy.
OpenBLAS has kernels without the copy for products of at most a million multiply-adds, on
processors with AVX-512. So the large factor is handed over in pieces of 32 rows and fewer, as a
stack of matrices, whose loop NumPy runs in C:

    (P, K) @ (K, N)     ->     (P/rows, rows, K) @ (K, N)

Sums of up to some 450 terms keep their bits, since BLAS adds those in one go; longer ones get
another order. On other processors each piece would be copied with all of the small factor, so
there the product stays whole.
"""
import numpy as np

from ..workers import blas_architectures

SMALL = 1_000_000  # multiply-adds: OpenBLAS, kernel/x86_64/sgemm_small_kernel_permit_skylakex.c
WITH_SMALL_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # as OpenBLAS calls them
MOST_ROWS = 32
LEAST_ROWS = 8


def matmul_narrow(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out = a @ b for a b of few columns: (P, K) @ (K, N) -> (P, N), or with several such b in a
    stack (S, K, N) -> (S, P, N)."""
    P, K = a.shape
    N = b.shape[-1]
    rows = _rows_of_a_piece(K, N) if a.dtype == np.float32 else 0
    stop = P // rows * rows if rows else 0
    if stop:
        small = a[:stop].reshape(-1, rows, K)  # (P', K) -> (P'/rows, rows, K)
        # (..., P', N) -> (..., P'/rows, rows, N), a view: written there, it stands in `out`
        small_out = out[..., :stop, :].reshape(*out.shape[:-2], -1, rows, N)
        np.matmul(small, b[..., None, :, :], out=small_out)
    if stop < P:
        np.matmul(a[stop:], b, out=out[..., stop:, :])


def _rows_of_a_piece(K: int, N: int) -> int:
    """How many rows to multiply at a time; 0 for all. The numbers are measured: the kernels work in
    steps of 32 columns, and with more than 64 only large pieces pay."""
    if N % 32 or N > 96 or not WITH_SMALL_KERNELS & blas_architectures():
        return 0
    rows = MOST_ROWS
    while rows >= LEAST_ROWS and rows * K * N > SMALL:
        rows //= 2
    if N > 64:
        return rows if rows == MOST_ROWS else 0
    return rows if rows >= LEAST_ROWS else 0
