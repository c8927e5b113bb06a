"""The matrix product: of matrices, of vectors, and of stacks of matrices."""
from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..tensor import Tensor


class MatMul(Function):
    """y = a @ b for a (..., M, K), b (..., K, N); saves each where the other's gradient is wanted.

    ga = gy b^T,  gb = a^T gy. A vector a counts as one row (1, K), a vector b as one column (K, 1),
    and y then lacks that axis. The axes in front broadcast.
    """

    def forward(self, a, b):
        self.vectors = a.ndim == 1, b.ndim == 1
        self.save(a if self.needs[1] else None, b if self.needs[0] else None)
        return a @ b

    def backward(self, gy):
        a, b = self.saved
        row, column = self.vectors
        xp = backend.xp_of(gy, a, b)
        if row:
            gy = xp.expand_dims(gy, -1 if column else -2)  # (..., N) -> (..., 1, N)
        if column:
            gy = xp.expand_dims(gy, -1)                    # (..., M) -> (..., M, 1)
        ga = None
        gb = None
        if self.needs[0]:
            matrix = b[:, None] if column else b           # (K,) -> (K, 1)
            ga = gy @ xp.swapaxes(matrix, -1, -2)          # (..., M, N) @ (..., N, K)
            ga = ga[..., 0, :] if row else ga
        if self.needs[1]:
            matrix = a[None] if row else a                 # (K,) -> (1, K)
            gb = xp.swapaxes(matrix, -1, -2) @ gy          # (..., K, M) @ (..., M, N)
            gb = gb[..., 0] if column else gb
        return ga, gb  # autograd.walk sums over the axes that were broadcast


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product a @ b of two vectors (a number), matrices (M,K) @ (K,N), or stacks of matrices
    (..., M, K) @ (..., K, N), whose axes in front broadcast. Raises ShapeError when the shapes do
    not fit."""
    fits = a.ndim > 0 and b.ndim > 0 and a.shape[-1] == b.shape[-2 if b.ndim > 1 else 0]
    stacks = zip(reversed(a.shape[:-2]), reversed(b.shape[:-2]), strict=False)
    if not fits or any(m != n and 1 not in (m, n) for m, n in stacks):
        raise ShapeError(f"matmul needs (..., M, K) @ (..., K, N), got {a.shape} @ {b.shape}")
    return MatMul()(a, b)
