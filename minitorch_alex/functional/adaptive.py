"""Average pooling to a fixed size, whatever the size of the input."""
from collections.abc import Sequence

import numpy as np

from .. import backend
from ..errors import ShapeError
from ..kernels.window import ceil_div
from ..tensor import Tensor
from .batch import one_or_many
from .conv import check_images


@one_or_many
def adaptive_avg_pool2d(x: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """x (N,C,H,W) averaged to (N,C,S,S), whatever H and W are: torch's AdaptiveAvgPool2d. A pair
    (S, T) gives (N,C,S,T), and None keeps the input's size.

    Row i of the output is the mean of the rows floor(i H / S) up to, but not including,
    ceil((i + 1) H / S); columns likewise. Windows overlap where S does not divide H. A mean over a
    rectangle is a mean over rows of means over columns, so two products with small matrices do it.
    Raises ShapeError when S < 1 or x is not (N,C,H,W).
    """
    check_images("adaptive_avg_pool2d", x)
    N, C, H, W = x.shape
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    S, T = (own if size is None else size for size, own in zip(sizes, (H, W), strict=True))
    if min(S, T) < 1:
        raise ShapeError(f"adaptive_avg_pool2d: output_size is {output_size}, expected 1 or more")
    columns = Tensor(backend.asarray(window_means(W, T).astype(x.dtype)))
    rows = Tensor(backend.asarray(window_means(H, S).astype(x.dtype)))
    # (N, C, H, W) -> (N*C*H, W) -> (N*C*H, T) -> (N*C, T, H)
    narrow = (x.reshape(N * C * H, W) @ columns).reshape(N * C, H, T).permute(0, 2, 1)
    # (N*C, T, H) -> (N*C*T, H) -> (N*C*T, S) -> (N, C, T, S), columns before rows
    small = (narrow.reshape(N * C * T, H) @ rows).reshape(N, C, T, S)
    return small.permute(0, 1, 3, 2)


def window_means(size: int, parts: int) -> np.ndarray:
    """(size, parts): column i has the weights of the mean over the i-th window, see
    `adaptive_avg_pool2d`."""
    weights = np.zeros((size, parts))
    for i in range(parts):
        start = i * size // parts
        end = ceil_div((i + 1) * size, parts)
        weights[start:end, i] = 1 / (end - start)
    return weights
