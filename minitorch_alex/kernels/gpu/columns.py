"""The column matrices of a convolution: how large they are, which are kept, and filling them.

A row of the matrix holds what one window sees, so that the convolution is a product of matrices.
A pixel is in K^2 / S^2 windows, so the columns of a 5x5 layer take 25 times as much as its input.
"""
from collections.abc import Iterator
from typing import Any

from ... import backend
from ..launch import LARGEST, launch
from ..window import Pair, Window, ceil_div

Array = Any  # a CuPy array

WORKSPACE = 512 << 20   # bytes of a column matrix at most, where it is not kept
KEPT_SHARE = 1 / 16     # of the GPU's memory: what the kept column matrices of one layer may take
ALIGNMENT = 8           # numbers: tensor cores read rows from multiples of 16 bytes on


def pitch(win: Window, cg: int) -> int:
    """The length of a row of the column matrix: KH KW C/G, rounded up to a multiple of 8."""
    return ALIGNMENT * ceil_div(win.kernel[0] * win.kernel[1] * cg, ALIGNMENT)


def window_args(x_shape: tuple[int, ...], out: Pair, first: int, cg: int,
                win: Window) -> tuple[int, ...]:
    """The arguments of im2col and col2im about images x_shape (N,H,W,C) and the window: its
    outputs (OH, OW), and cg channels from `first` on."""
    return (*x_shape, first, cg, *out, *win.kernel, *win.stride, *win.padding, *win.dilation)


def weight_matrix(w: Array, win: Window) -> Array:
    """w (O,C/G,KH,KW) as a matrix (O, pitch) whose columns have the order of the column matrix,
    with zeros at the end of each row."""
    O, cg = w.shape[:2]
    # (O, C/G, KH, KW) -> (O, KH, KW, C/G) -> (O, KH*KW*C/G)
    rows = w.transpose(0, 2, 3, 1).reshape(O, -1)
    if rows.shape[1] == pitch(win, cg):
        return rows
    matrix = backend.xp_of(w).zeros((O, pitch(win, cg)), w.dtype)
    matrix[:, :rows.shape[1]] = rows
    return matrix


def are_kept(numbers: int, groups: int, itemsize: int) -> bool:
    """Whether training keeps a layer's column matrices, each of `numbers` numbers of `itemsize`
    bytes: all of them together must fit into KEPT_SHARE of the memory.

    The rule does not ask how much memory is free at the moment, so that two runs with the same
    limit keep the same matrices and add up in the same order.
    """
    return numbers <= LARGEST and groups * numbers * itemsize <= KEPT_SHARE * backend.capacity()


def room_to_keep(x: Array, win: Window, groups: int) -> list[Array] | None:
    """An empty column matrix (N OH OW, pitch) per group, or None if they are not kept."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    shape = (N * OH * OW, pitch(win, C // groups))
    if not are_kept(shape[0] * shape[1], groups, x.itemsize):
        return None
    return [backend.xp_of(x).empty(shape, x.dtype) for _ in range(groups)]


def chunks(N: int, image_bytes: int) -> list[tuple[int, int]]:
    """The batch as (start, stop) of equal shares, each of which needs at most WORKSPACE bytes
    unless it is a single image."""
    number = ceil_div(N, max(1, WORKSPACE // image_bytes))
    edges = [N * i // number for i in range(number + 1)] if number else []
    return list(zip(edges[:-1], edges[1:], strict=True))


def gather(x: Array, win: Window, groups: int,
           kept: list[Array] | None = None) -> Iterator[tuple[slice, int, Array]]:
    """im2col, one chunk of the batch and one group at a time: yields (rows, group, col).

    `rows` are the rows of the output matrix (N OH OW, O) that `col` belongs to; col has the dtype
    of x, which is of half precision under fp16 and bf16. The next step overwrites it: by then the
    device has multiplied, since it works through its queue in order. With `kept`, the matrices
    of room_to_keep, the batch is one chunk and nothing is overwritten.
    """
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    cg = C // groups
    length = pitch(win, cg)
    parts = chunks(N, OH * OW * length * x.itemsize) if kept is None else [(0, N)]
    if kept is None:
        most = max((stop - start for start, stop in parts), default=0)
        buffer = backend.xp_of(x).empty((most * OH * OW, length), x.dtype)
    for start, stop in parts:
        images = stop - start
        rows = slice(start * OH * OW, stop * OH * OW)
        for g in range(groups):
            col = buffer[:images * OH * OW] if kept is None else kept[g]
            launch("im2col", x, length, images * OH, (x[start:stop], col),
                   *window_args((images, H, W, C), (OH, OW), g * cg, cg, win), length, OH * OW, 1)
            yield rows, g, col
