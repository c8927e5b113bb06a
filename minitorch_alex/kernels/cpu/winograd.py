"""Convolution with fewer multiplications (Winograd 1980; Lavin and Gray, arXiv:1509.09308).

Two polynomials of degree m - 1 and r - 1 can be multiplied by evaluating both at m + r - 1 points, multiplying the
values, and finding the polynomial through the products: m + r - 1 multiplications in place of m r. Turned around
(the transpose of the whole computation) this gives m outputs of a convolution with r taps; nested over rows and
columns, m x m outputs from a tile of (m + r - 1)^2 pixels:

    y = A^T [ (G w G^T) * (B^T x B) ] A          * element by element, summed over the input channels

For a 3x3 kernel F(4,3) makes 16 outputs with 36 products in place of 144, for a 5x5 one F(3,5) 9 with 49 in place of
225. For each of the 36 or 49 the sum over channels is a matrix product (tiles, C) @ (C, O). Two things are done before:

* A kernel with a stride is folded: 11x11 at stride 4 on 3 channels is 3x3 at stride 1 on the 48 of a 4x4 patch.
* Images into which tiles do not go evenly are laid side by side, sharing their border of zeros: one of 13x13 takes 16
  tiles of 4x4, four of them as one of 27x27 take 49.

The transforms cost time, and some accuracy: a float32 result is off by about 5e-6 of the largest, that of im2col by
1e-6. It pays where there are many channels (in all five layers of the paper's net, in none of small nets), so it is an
option: `kernels.set_winograd(True)`.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..window import Pair, Window
from ..workers import parallel_for, parallel_list, pieces
from .blocks import BLOCK, Block, group_slices, padded_images, plan, windows

# Where to evaluate, by the kernel's size, and at infinity; small numbers, since their powers multiply the rounding.
POINTS = {3: (0, 1, -1, 0.5, -2), 5: (0, 1, -1, 2, -2, 0.5)}
_enabled = False


def set_winograd(enabled: bool) -> None:
    """Use Winograd's algorithm for every convolution on the CPU that it suits: kernels that are, or that their stride
    folds to, 3x3 or 5x5, without dilation, and where there is a stride without groups."""
    global _enabled
    _enabled = bool(enabled)


def suits(win: Window, groups: int) -> bool:
    """Whether a convolution with these windows is to be done here."""
    (K, KW), (S, SW) = win.kernel, win.stride
    return _enabled and -(-K // S) in POINTS and K == KW and S == SW and win.dilation == (1, 1) and 1 in (S, groups)


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


@dataclass(frozen=True)
class Layout:
    """`down` x `across` images as one; the corners of two neighbours are `pitch` pixels apart."""

    down: int
    across: int
    pitch: Pair

    def places(self) -> Iterator[tuple[int, int, int]]:
        """(which image of those together, its first row, its first column)."""
        for i in range(self.down):
            for j in range(self.across):
                yield i * self.across + j, i * self.pitch[0], j * self.pitch[1]


def _layout(x_shape: tuple[int, ...], win: Window) -> Layout | None:
    """How to lay images side by side for the fewest tiles an image; None where that does not save a tenth of them.
    Neighbours share a border of zeros, and windows that see two images are computed and not used."""
    m = len(POINTS[win.kernel[0]]) + 2 - win.kernel[0]
    outs = win.out(*x_shape[1:3])
    pitch = tuple(max(size + P, out) for size, P, out in zip(x_shape[1:3], win.padding, outs, strict=True))
    numbers, saved = [], 1.0
    for step, out in zip(pitch, outs, strict=True):
        tiles = {k: -(-((k - 1) * step + out) // m) / k for k in (1, 2, 3, 4)}
        numbers.append(min(tiles, key=lambda k: round(tiles[k] / tiles[1], 2)))
        saved *= tiles[numbers[-1]] / tiles[1]
    return Layout(*numbers, pitch) if saved < 0.9 and numbers[0] * numbers[1] <= x_shape[0] else None


def _side_by_side(x: np.ndarray, layout: Layout, border: Pair, shape: Sequence[int] | None = None) -> np.ndarray:
    """The images (N,H,W,C), laid out with a border of zeros around each; of that shape, or as large as they need. Where
    the last of them are missing there are zeros."""
    N, H, W, C = x.shape
    together = layout.down * layout.across
    shape = shape or [(k - 1) * step + size + 2 * P for k, step, size, P
                      in zip((layout.down, layout.across), layout.pitch, (H, W), border, strict=True)]
    laid = np.empty((-(-N // together), *shape, C), x.dtype)

    def body(start: int, stop: int) -> None:
        for n in range(start, stop):
            laid[n] = 0
            for i, row, col in layout.places():
                if n * together + i < N:
                    inside = laid[n, border[0] + row:, border[1] + col:]
                    inside[:H, :W] = x[n * together + i]

    parallel_for(len(laid), body)
    return laid


def _apart(y: np.ndarray, layout: Layout, shape: tuple[int, int, int]) -> np.ndarray:
    """The outputs (N,OH,OW) of each image by itself."""
    N, OH, OW = shape
    images, together = np.empty((N, OH, OW, y.shape[3]), y.dtype), layout.down * layout.across

    def body(start: int, stop: int) -> None:
        for n in range(start, stop):
            for i, row, col in layout.places():
                if n * together + i < N:
                    images[n * together + i] = y[n, row:row + OH, col:col + OW]

    parallel_for(len(y), body)
    return images


@lru_cache
def transforms(r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A^T (m,s), G (s,r), B^T (s,s)) of F(m, r) with s = m + r - 1 points, in one dimension.

    A^T and G evaluate at the points (their powers; at infinity, the leading coefficient), G divided by
    prod(p - q) over the other points q. Row p of B^T holds the coefficients of the polynomial that is zero at all
    points but p, its last row those of the one that is zero at all.
    """
    points, side = POINTS[r], len(POINTS[r]) + 1
    m = side + 1 - r
    evaluate = np.array([[float(p) ** i for i in range(side)] for p in points])
    others = [[q for q in points if q != p] for p in points]
    scale = [np.prod([p - q for q in qs]) for p, qs in zip(points, others)]
    at_infinity = np.eye(side)
    A = np.vstack([evaluate[:, :m], at_infinity[m - 1, :m]])
    G = np.vstack([evaluate[:, :r] / np.reshape(scale, (-1, 1)), at_infinity[r - 1, :r]])
    BT = np.vstack([[*np.poly(qs)[::-1], 0] for qs in others] + [np.poly(points)[::-1]])
    return A.T, G, BT


def _both(matrix: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The transform of rows and columns at once, of a tile that is written as one column."""
    return np.kron(matrix, matrix).astype(dtype)


def _tiles(x: np.ndarray, win: Window, groups: int, todo: list[Block], tiling: Window, out: tuple[int, int]) \
        -> Iterator[tuple[int, Block, np.ndarray]]:
    """B^T x B, a block at a time: yields (group, block, V (s s, tiles, C/G)). Tiles are windows of s x s pixels, m
    apart, so they are gathered as in im2col. V is overwritten by the next step."""
    if not todo:
        return
    cg, values = x.shape[3] // groups, tiling.kernel[0] ** 2
    BT = _both(transforms(win.kernel[0])[2], x.dtype)
    most = max((n1 - n0) * (r1 - r0) for n0, n1, r0, r1 in todo) * out[1] * cg
    gathered, transformed = np.empty((2, values * most), x.dtype)
    for block, image in zip(todo, padded_images(x, tiling, out, groups, todo)):
        for g in range(groups):
            view = windows(image[g], tiling, block[3] - block[2], out[1]).transpose(3, 4, 0, 1, 2, 5)
            D = gathered[:view.size].reshape(view.shape)
            np.copyto(D, view)
            V = transformed[:view.size].reshape(values, -1)
            np.matmul(BT, D.reshape(values, -1), out=V)
            yield g, block, V.reshape(values, -1, cg)


def _plan(x: np.ndarray, O: int, win: Window, groups: int) -> tuple[int, Window, tuple[int, int], list[Block]]:
    """(m, the windows that are the tiles, how many tiles down and across, the blocks). Blocks grow with the
    kernels: each meets all s s C O numbers of them, or of their gradient's sums."""
    side = len(POINTS[win.kernel[0]]) + 1
    m = side + 1 - win.kernel[0]
    OH, OW = win.out(*x.shape[1:3])
    out = -(-OH // m), -(-OW // m)
    tile_bytes = side * side * (2 * x.shape[3] + O) // groups * x.itemsize
    kernel_bytes = side * side * x.shape[3] * O // groups ** 2 * x.itemsize
    todo = plan(x.shape[0], *out, tile_bytes, 2 + kernel_bytes // BLOCK)
    return m, Window((side, side), (m, m), win.padding), out, todo


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
    if (layout := _layout(x.shape, win)) is not None:
        y = conv2d(_side_by_side(x, layout, win.padding), w, b, Window(win.kernel), groups)
        return _apart(y, layout, (len(x), *win.out(*x.shape[1:3])))
    N, (O, cg, r, _) = x.shape[0], w.shape
    m, tiling, out, todo = _plan(x, O, win, groups)
    AT, G, _ = (_both(matrix, x.dtype) for matrix in transforms(r))
    y, outs, values = np.empty((N, *win.out(*x.shape[1:3]), O), x.dtype), group_slices(O, groups), len(G)
    U = np.empty((groups, values, cg, O // groups), x.dtype)  # G w G^T

    def kernel(c0: int, c1: int) -> None:
        for g, o in enumerate(outs):
            part = np.ascontiguousarray(w[o, c0:c1].transpose(2, 3, 1, 0)).reshape(r * r, -1)
            U[g, :, c0:c1] = np.matmul(G, part).reshape(values, c1 - c0, -1)

    def body(start: int, stop: int) -> None:
        for g, block, V in _tiles(x, win, groups, todo[start:stop], tiling, out):
            n0, n1, t0, t1 = block
            Y = np.matmul(AT, np.matmul(V, U[g]).reshape(values, -1))
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
    if (layout := _layout(x.shape, win)) is not None:
        together = _side_by_side(x, layout, win.padding)
        gys = _side_by_side(gy, layout, (0, 0), [size - win.kernel[0] + 1 for size in together.shape[1:3]])
        return conv2d_backward_weight(together, gys, Window(win.kernel), groups)
    O, r, cg = gy.shape[3], win.kernel[0], x.shape[3] // groups
    m, tiling, out, todo = _plan(x, O, win, groups)
    AT, G, _ = (_both(matrix, x.dtype) for matrix in transforms(r))
    outs, cuts, values = group_slices(O, groups), pieces(len(todo)), len(G)
    sums = [np.zeros((groups, values, cg, O // groups), x.dtype) for _ in cuts]

    def job(start: int, stop: int, total: np.ndarray) -> None:
        for g, block, V in _tiles(x, win, groups, todo[start:stop], tiling, out):
            n0, n1, t0, t1 = block
            tiles = np.zeros((m * m, n1 - n0, t1 - t0, out[1], O // groups), x.dtype)
            for cell, place in _cells(gy[..., outs[g]], block, m):
                tiles[cell, :, :place.shape[1], :place.shape[2]] = place
            Z = np.matmul(AT.T, tiles.reshape(m * m, -1)).reshape(values, -1, O // groups)
            total[g] += np.matmul(V.transpose(0, 2, 1), Z)

    parallel_list([(lambda cut=cut, total=total: job(*cut, total)) for cut, total in zip(cuts, sums)])
    gw = np.empty((groups, O // groups, cg, r, r), x.dtype)

    def gather(c0: int, c1: int) -> None:
        total = sums[0][:, :, c0:c1]
        for other in sums[1:]:
            total += other[:, :, c0:c1]
        part = np.matmul(G.T, total.reshape(groups, values, -1))
        gw[:, :, c0:c1] = part.reshape(groups, r, r, c1 - c0, -1).transpose(0, 4, 3, 1, 2)

    parallel_for(cg, gather)
    return gw.reshape(O, cg, r, r)
