"""Convolution with fewer multiplications (Winograd 1980; Lavin and Gray, arXiv:1509.09308).

Two polynomials of degree m - 1 and r - 1 can be multiplied by evaluating both at m + r - 1 points, multiplying the
values, and finding the polynomial through the products: m + r - 1 multiplications in place of m r. Turned around
(the transpose of the whole computation) this gives m outputs of a convolution with r taps; nested over rows and
columns, m x m outputs from a tile of (m + r - 1)^2 pixels:

    y = A^T [ (G w G^T) * (B^T x B) ] A          * element by element, summed over the input channels

Six points serve both kernels: F(4,3) makes 16 outputs with 36 products in place of 144, F(2,5) 4 with 36 in place of
100. For each of the 36 the sum over channels is a matrix product (tiles, C) @ (C, O). A kernel with a stride is folded
first: 11x11 at stride 4 on 3 channels is 3x3 at stride 1 on the 48 that a 4x4 patch holds.

The transforms cost time, and some accuracy: a float32 result is off by about 1e-5 of the largest, that of im2col by
1e-6. It pays where there are many channels (in all five layers of the paper's net, in none of small nets), so it is an
option: `kernels.set_winograd(True)`.
"""
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from ..window import Window
from ..workers import parallel_for, parallel_list, pieces
from .blocks import BLOCK, Block, group_slices, padded_images, plan, windows

POINTS = (0, 1, -1, 2, -2)  # and infinity; small ones, since their powers multiply the rounding
SIDE = len(POINTS) + 1
_enabled = False


def set_winograd(enabled: bool) -> None:
    """Use Winograd's algorithm for every convolution on the CPU that it suits: kernels that are, or that their stride
    folds to, 3x3 or 5x5, without dilation, and where there is a stride without groups."""
    global _enabled
    _enabled = bool(enabled)


def suits(win: Window, groups: int) -> bool:
    """Whether a convolution with these windows is to be done here."""
    (K, KW), (S, SW) = win.kernel, win.stride
    return _enabled and -(-K // S) in (3, 5) and K == KW and S == SW and win.dilation == (1, 1) and 1 in (S, groups)


def _fold(x: np.ndarray, win: Window) -> tuple[np.ndarray, Window]:
    """The padded image with its S x S patches as pixels, (N, H', W', S S C), and the windows of stride 1 on it."""
    S, (N, H, W, C), (PH, PW), (OH, OW) = win.stride[0], x.shape, win.padding, win.out(*x.shape[1:3])
    r = -(-win.kernel[0] // S)
    h, w = OH - 1 + r, OW - 1 + r
    patches = np.empty((N, h, w, S, S * C), x.dtype)

    def body(start: int, stop: int) -> None:
        padded = np.zeros((h * S, w * S, C), x.dtype)
        inside = padded[PH:PH + H, PW:PW + W]
        for n in range(start, stop):
            inside[...] = x[n, :inside.shape[0], :inside.shape[1]]
            patches[n] = padded.reshape(h, S, w, S * C).transpose(0, 2, 1, 3)

    parallel_for(N, body)
    return patches.reshape(N, h, w, -1), Window((r, r))


def _fold_kernel(w: np.ndarray, win: Window) -> np.ndarray:
    """w (O,C,K,K) for a folded image: (O, S S C, r, r), zeros where S r reaches past K."""
    (O, C, K, _), S = w.shape, win.stride[0]
    r = -(-K // S)
    whole = np.zeros((O, C, r * S, r * S), w.dtype)
    whole[:, :, :K, :K] = w
    return whole.reshape(O, C, r, S, r, S).transpose(0, 3, 5, 1, 2, 4).reshape(O, -1, r, r)


@lru_cache
def transforms(r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A^T (m,6), G (6,r), B^T (6,6)) of F(m, r) with m + r - 1 = 6, in one dimension.

    A^T and G evaluate at the points (their powers; at infinity, the leading coefficient), G divided by
    prod(p - q) over the other points q. Row p of B^T holds the coefficients of the polynomial that is zero at all
    points but p, its last row those of the one that is zero at all.
    """
    m = SIDE + 1 - r
    evaluate = np.array([[float(p) ** i for i in range(SIDE)] for p in POINTS])
    others = [[q for q in POINTS if q != p] for p in POINTS]
    scale = [np.prod([p - q for q in qs]) for p, qs in zip(POINTS, others)]
    at_infinity = np.eye(SIDE)
    A = np.vstack([evaluate[:, :m], at_infinity[m - 1, :m]])
    G = np.vstack([evaluate[:, :r] / np.reshape(scale, (-1, 1)), at_infinity[r - 1, :r]])
    BT = np.vstack([[*np.poly(qs)[::-1], 0] for qs in others] + [np.poly(POINTS)[::-1]])
    return A.T, G, BT


def _both(matrix: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The transform of rows and columns at once, of a tile that is written as one column."""
    return np.kron(matrix, matrix).astype(dtype)


def _tiles(x: np.ndarray, win: Window, groups: int, todo: list[Block], tiling: Window, out: tuple[int, int]) \
        -> Iterator[tuple[int, Block, np.ndarray]]:
    """B^T x B, a block at a time: yields (group, block, V (36, tiles, C/G)). Tiles are windows of 6 x 6 pixels, m
    apart, so they are gathered as in im2col. V is overwritten by the next step."""
    if not todo:
        return
    cg = x.shape[3] // groups
    BT = _both(transforms(win.kernel[0])[2], x.dtype)
    most = max((n1 - n0) * (r1 - r0) for n0, n1, r0, r1 in todo) * out[1] * cg
    gathered, transformed = np.empty((2, SIDE * SIDE * most), x.dtype)
    for block, image in zip(todo, padded_images(x, tiling, out, groups, todo)):
        for g in range(groups):
            view = windows(image[g], tiling, block[3] - block[2], out[1]).transpose(3, 4, 0, 1, 2, 5)
            D = gathered[:view.size].reshape(view.shape)
            np.copyto(D, view)
            V = transformed[:view.size].reshape(SIDE * SIDE, -1)
            np.matmul(BT, D.reshape(SIDE * SIDE, -1), out=V)
            yield g, block, V.reshape(SIDE * SIDE, -1, cg)


def _plan(x: np.ndarray, O: int, win: Window, groups: int) -> tuple[int, Window, tuple[int, int], list[Block]]:
    """(m, the windows that are the tiles, how many tiles down and across, the blocks). Blocks grow with the
    kernels: each meets all 36 C O numbers of them, or of their gradient's sums."""
    m = SIDE + 1 - win.kernel[0]
    OH, OW = win.out(*x.shape[1:3])
    out = -(-OH // m), -(-OW // m)
    tile_bytes = SIDE * SIDE * (2 * x.shape[3] + O) // groups * x.itemsize
    kernel_bytes = SIDE * SIDE * x.shape[3] * O // groups ** 2 * x.itemsize
    todo = plan(x.shape[0], *out, tile_bytes, 2 + kernel_bytes // BLOCK)
    return m, Window((SIDE, SIDE), (m, m), win.padding), out, todo


def _cells(y: np.ndarray, block: Block, m: int) -> Iterator[tuple[int, np.ndarray]]:
    """For each of the m x m cells of a tile its place in y (N,OH,OW,O), of all tiles of a block that have it there."""
    n0, n1, t0, t1 = block
    for i in range(m):
        for j in range(m):
            yield i * m + j, y[n0:n1, t0 * m + i:t1 * m:m, j::m]


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, groups: int) -> np.ndarray:
    """As conv.conv2d: per block and point one product V (tiles, C/G) @ U (C/G, O/G)."""
    if win.stride != (1, 1):
        folded, small = _fold(x, win)
        return conv2d(folded, _fold_kernel(w, win), b, small, groups)
    N, (O, cg, r, _) = x.shape[0], w.shape
    m, tiling, out, todo = _plan(x, O, win, groups)
    AT, G, _ = (_both(matrix, x.dtype) for matrix in transforms(r))
    y, outs = np.empty((N, *win.out(*x.shape[1:3]), O), x.dtype), group_slices(O, groups)
    U = np.empty((groups, SIDE * SIDE, cg, O // groups), x.dtype)  # G w G^T

    def kernel(c0: int, c1: int) -> None:
        for g, o in enumerate(outs):
            part = np.ascontiguousarray(w[o, c0:c1].transpose(2, 3, 1, 0)).reshape(r * r, -1)
            U[g, :, c0:c1] = np.matmul(G, part).reshape(SIDE * SIDE, c1 - c0, -1)

    def body(start: int, stop: int) -> None:
        for g, block, V in _tiles(x, win, groups, todo[start:stop], tiling, out):
            n0, n1, t0, t1 = block
            Y = np.matmul(AT, np.matmul(V, U[g]).reshape(SIDE * SIDE, -1))
            Y = Y.reshape(m * m, n1 - n0, t1 - t0, out[1], -1)
            for cell, place in _cells(y[..., outs[g]], block, m):
                place[...] = Y[cell, :, :place.shape[1], :place.shape[2]]
            if b is not None:
                y[n0:n1, t0 * m:t1 * m, :, outs[g]] += b[outs[g]]

    parallel_for(cg, kernel)
    parallel_for(len(todo), body)
    return y


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """As conv.conv2d_backward_weight. The formula above is linear in w, so its gradient walks it backwards:
    gw = G^T [ sum over tiles of (B^T x B) * (A gy A^T) ] G, where for each point the sum is V^T @ Z."""
    if win.stride != (1, 1):
        (folded, small), (K, _), (S, _), C = _fold(x, win), win.kernel, win.stride, x.shape[3]
        gw = conv2d_backward_weight(folded, gy, small, groups)
        gw = gw.reshape(-1, S, S, C, *small.kernel).transpose(0, 3, 4, 1, 5, 2)
        return gw.reshape(-1, C, S * small.kernel[0], S * small.kernel[0])[:, :, :K, :K]
    O, r, cg = gy.shape[3], win.kernel[0], x.shape[3] // groups
    m, tiling, out, todo = _plan(x, O, win, groups)
    AT, G, _ = (_both(matrix, x.dtype) for matrix in transforms(r))
    outs, cuts = group_slices(O, groups), pieces(len(todo))
    sums = [np.zeros((groups, SIDE * SIDE, cg, O // groups), x.dtype) for _ in cuts]

    def job(start: int, stop: int, total: np.ndarray) -> None:
        for g, block, V in _tiles(x, win, groups, todo[start:stop], tiling, out):
            n0, n1, t0, t1 = block
            tiles = np.zeros((m * m, n1 - n0, t1 - t0, out[1], O // groups), x.dtype)
            for cell, place in _cells(gy[..., outs[g]], block, m):
                tiles[cell, :, :place.shape[1], :place.shape[2]] = place
            Z = np.matmul(AT.T, tiles.reshape(m * m, -1)).reshape(SIDE * SIDE, -1, O // groups)
            total[g] += np.matmul(V.transpose(0, 2, 1), Z)

    parallel_list([(lambda cut=cut, total=total: job(*cut, total)) for cut, total in zip(cuts, sums)])
    gw = np.empty((groups, O // groups, cg, r, r), x.dtype)

    def gather(c0: int, c1: int) -> None:
        total = sums[0][:, :, c0:c1]
        for other in sums[1:]:
            total += other[:, :, c0:c1]
        part = np.matmul(G.T, total.reshape(groups, SIDE * SIDE, -1))
        gw[:, :, c0:c1] = part.reshape(groups, r, r, c1 - c0, -1).transpose(0, 4, 3, 1, 2)

    parallel_for(cg, gather)
    return gw.reshape(O, cg, r, r)
