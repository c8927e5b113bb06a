"""Convolution with fewer multiplications (Winograd 1980; Lavin and Gray, arXiv:1509.09308).

Two polynomials of degree m - 1 and r - 1 can be multiplied by evaluating both at m + r - 1 points,
multiplying the values, and finding the polynomial through the products: m + r - 1 multiplications
in place of m r. Turned around (the transpose of the whole computation) this gives m outputs of a
convolution with r taps; nested over rows and columns, m x m outputs from a tile of (m + r - 1)^2
pixels:

    y = A^T [ (G w G^T) * (B^T x B) ] A     * element by element, summed over the input channels

For a 3x3 kernel F(4,3) makes 16 outputs with 36 products in place of 144, for a 5x5 one F(3,5) 9
with 49 in place of 225. Tiles overlap by r - 1 pixels; along one axis, F(4,3):

    pixels of tile 0      0 1 2 3 4 5                     side = m + r - 1 = 6
    pixels of tile 1              4 5 6 7 8 9
    outputs               0 1 2 3 4 5 6 7                 m = 4 from each

For each of the 36 or 49 the sum over channels is a matrix product (tiles, C) @ (C, O). There are
three stages, fold -> lay -> multiply:

* Fold: a kernel with a stride becomes one without. 11x11 at stride 4 on 3 channels is 3x3 at
  stride 1 on the 48 numbers of a 4x4 patch.
* Lay: images into which tiles do not go evenly are laid side by side (side_by_side.py).
* Multiply: the formula above.

The transforms cost time and some accuracy: a float32 result is off by about 5e-6 of the largest,
that of im2col by 5e-7. It pays where there are many channels: algorithms.py says when it is used.
"""
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from ..window import Pair, Window, ceil_div, group_slices
from ..workers import parallel_for, parallel_list, pieces
from . import side_by_side
from .blocks import BLOCK, Block, padded_images, plan, windows

# Where to evaluate, by the kernel's size, apart from infinity. Small numbers: their powers
# multiply the rounding errors.
POINTS: dict[int, tuple[float, ...]] = {3: (0, 1, -1, 0.5, -2), 5: (0, 1, -1, 2, -2, 0.5)}


def suits(win: Window, groups: int) -> bool:
    """Whether a convolution with these windows can be computed here: a kernel of 3x3 or 5x5, or one
    that its stride folds to such a one, without dilation; with a stride, without groups."""
    K, KW = win.kernel
    S, SW = win.stride
    if K != KW or S != SW or win.dilation != (1, 1):
        return False
    return ceil_div(K, S) in POINTS and (S == 1 or groups == 1)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, groups: int,
           relu: bool = False) -> np.ndarray:
    """As conv.conv2d, or conv.conv2d_relu.

    x (N,H,W,C)  w (O,C/G,K,K)  b (O,) or None  ->  y (N,OH,OW,O)
    """
    patches = fold(x, win)  # x itself where there is no stride
    kernels = fold_kernel(w, win)
    small = folded_window(win)
    layout = side_by_side.best_layout(patches.shape, small, tile_outputs(small))
    if layout is None:
        return _multiply(patches, kernels, b, small, groups, relu)
    sheets = side_by_side.lay(patches, layout, small.padding)
    bare = Window(small.kernel)  # the padding is in `sheets` already
    y = _multiply(sheets, kernels, b, bare, groups, relu)
    return side_by_side.take_apart(y, layout, (len(x), *win.out(*x.shape[1:3])))


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """As conv.conv2d_backward_weight. x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (O,C/G,K,K)"""
    patches = fold(x, win)
    small = folded_window(win)
    layout = side_by_side.best_layout(patches.shape, small, tile_outputs(small))
    if layout is None:
        gw = _multiply_backward_weight(patches, gy, small, groups)
    else:
        sheets = side_by_side.lay(patches, layout, small.padding)
        bare = Window(small.kernel)  # the padding is in `sheets` already
        # outputs that see two images have no gradient: zeros between those of the images
        gys = side_by_side.lay(gy, layout, (0, 0), bare.out(*sheets.shape[1:3]))
        gw = _multiply_backward_weight(sheets, gys, bare, groups)
    return unfold_kernel(gw, win)


# Stage 1, fold: a stride of S is a convolution without one over patches of S x S pixels.
#
#     pixels     0 1 2 3 4 5 6 7 8 9           K = 3, S = 2
#     window 0   a b c
#     window 1       a b c
#     patches    [0 1] [2 3] [4 5] ...         r = ceil(K / S) = 2
#     window 0   [a b] [c 0]
#     window 1         [a b] [c 0]             the same outputs, at stride 1


def folded_window(win: Window) -> Window:
    """The window on the folded image, which has its padding in it."""
    if win.stride == (1, 1):
        return win
    r = ceil_div(win.kernel[0], win.stride[0])
    return Window((r, r))


def fold(x: np.ndarray, win: Window) -> np.ndarray:
    """The padded image with its S x S patches as pixels: x (N,H,W,C) -> (N,H',W',S*S*C)."""
    if win.stride == (1, 1):
        return x
    N, H, W, C = x.shape
    S = win.stride[0]
    PH, PW = win.padding
    OH, OW = win.out(H, W)
    r = ceil_div(win.kernel[0], S)
    h = OH - 1 + r
    w = OW - 1 + r
    patches = np.empty((N, h, w, S, S * C), x.dtype)

    def body(start: int, stop: int) -> None:
        padded = np.zeros((h * S, w * S, C), x.dtype)
        inside = padded[PH:PH + H, PW:PW + W]
        for n in range(start, stop):
            inside[...] = x[n, :inside.shape[0], :inside.shape[1]]
            # (h*S, w*S, C) -> (h, S, w, S*C) -> (h, w, S, S*C)
            patches[n] = padded.reshape(h, S, w, S * C).transpose(0, 2, 1, 3)

    parallel_for(N, body)
    return patches.reshape(N, h, w, S * S * C)  # (N, h, w, S, S*C) -> (N, h, w, S*S*C)


def fold_kernel(w: np.ndarray, win: Window) -> np.ndarray:
    """w (O,C,K,K) for a folded image: (O,S*S*C,r,r), zeros where S r reaches past K."""
    if win.stride == (1, 1):
        return w
    O, C, K, _ = w.shape
    S = win.stride[0]
    r = ceil_div(K, S)
    whole = np.zeros((O, C, r * S, r * S), w.dtype)
    whole[:, :, :K, :K] = w
    # (O, C, r*S, r*S) -> (O, C, r, S, r, S) -> (O, S, S, C, r, r)
    patches = whole.reshape(O, C, r, S, r, S).transpose(0, 3, 5, 1, 2, 4)
    return patches.reshape(O, S * S * C, r, r)  # (O, S, S, C, r, r) -> (O, S*S*C, r, r)


def unfold_kernel(gw: np.ndarray, win: Window) -> np.ndarray:
    """The transpose of `fold_kernel`: gw (O,S*S*C,r,r) -> (O,C,K,K)."""
    if win.stride == (1, 1):
        return gw
    K = win.kernel[0]
    S = win.stride[0]
    O, patch, r, _ = gw.shape
    C = patch // (S * S)
    # (O, S*S*C, r, r) -> (O, S, S, C, r, r) -> (O, C, r, S, r, S)
    whole = gw.reshape(O, S, S, C, r, r).transpose(0, 3, 4, 1, 5, 2)
    # (O, C, r, S, r, S) -> (O, C, r*S, r*S) -> (O, C, K, K)
    return whole.reshape(O, C, r * S, r * S)[:, :, :K, :K]


# Stage 3, multiply


@dataclass(frozen=True)
class Tiling:
    """How outputs are cut into tiles: m x m of them from side x side pixels each."""

    m: int
    side: int
    windows: Window  # the pixels of the tiles: windows of side x side, m apart
    down: int        # tiles per image
    across: int
    blocks: list[Block]  # as for im2col, with tiles in place of output rows

    @property
    def values(self) -> int:
        """In how many points a tile is evaluated: the products per channel."""
        return self.side * self.side

    def cells(self, y: np.ndarray, block: Block) -> Iterator[tuple[int, np.ndarray]]:
        """For each of the m x m cells of a tile the elements of y (N,OH,OW,O) that lie there, in
        all tiles of a block: every m-th one. Tiles at the rim have cells that are not in y."""
        n0, n1, t0, t1 = block
        m = self.m
        for i in range(m):
            for j in range(m):
                yield i * m + j, y[n0:n1, t0 * m + i:t1 * m:m, j::m]


def tile_outputs(win: Window) -> int:
    """m, how many outputs along one axis a tile has: the points, with infinity, are m + r - 1."""
    r = win.kernel[0]
    return len(POINTS[r]) + 2 - r


def tiling_of(x: np.ndarray, O: int, win: Window, groups: int) -> Tiling:
    """How to cut a convolution of x (N,H,W,C) to O channels."""
    N, H, W, C = x.shape
    m = tile_outputs(win)
    side = m + win.kernel[0] - 1
    OH, OW = win.out(H, W)
    down = ceil_div(OH, m)
    across = ceil_div(OW, m)
    # Per tile: pixels and their transform (2 C), products (O). Blocks grow with the kernels, since
    # each block reads all of these, or of their gradient's sums, from memory.
    tile_bytes = side * side * (2 * C + O) // groups * x.itemsize
    kernel_bytes = side * side * C * O // groups ** 2 * x.itemsize
    blocks = plan(N, down, across, tile_bytes, 2 + kernel_bytes // BLOCK)
    return Tiling(m, side, Window((side, side), (m, m), win.padding), down, across, blocks)


@lru_cache
def transforms(r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A^T (m,s), G (s,r), B^T (s,s)) of F(m, r) with s = m + r - 1 points, in one dimension.

    A^T and G evaluate at the points (their powers; at infinity, the leading coefficient), G
    divided by prod(p - q) over the other points q. Row p of B^T holds the coefficients of the
    polynomial that is zero at all points but p, its last row those of the one that is zero at all.
    """
    points = POINTS[r]
    side = len(points) + 1
    m = side + 1 - r
    at_infinity = np.eye(side)
    powers = np.array([[float(p) ** i for i in range(side)] for p in points])
    others = [[q for q in points if q != p] for p in points]
    scale = np.array([[np.prod([p - q for q in qs])] for p, qs in zip(points, others)])  # (s-1, 1)
    A = np.vstack([powers[:, :m], at_infinity[m - 1, :m]])
    G = np.vstack([powers[:, :r] / scale, at_infinity[r - 1, :r]])
    BT = np.vstack([[*np.poly(qs)[::-1], 0] for qs in others] + [np.poly(points)[::-1]])
    return A.T, G, BT


def transforms_2d(r: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`transforms` of rows and columns at once, for tiles that are written as one column: the
    matrix of X -> M X M^T is the Kronecker product of M with itself."""
    AT, G, BT = (np.kron(matrix, matrix).astype(dtype) for matrix in transforms(r))
    return AT, G, BT


def _transformed_tiles(x: np.ndarray, BT: np.ndarray, groups: int, tiling: Tiling,
                       blocks: list[Block]) -> Iterator[tuple[int, Block, np.ndarray]]:
    """B^T x B, a block at a time: yields (group, block, V (s*s, tiles, C/G)).

    Tiles are windows of s x s pixels, m apart, so they are gathered as in im2col. V is overwritten
    by the next step.
    """
    if not blocks:
        return
    cg = x.shape[3] // groups
    values = tiling.values
    out = tiling.down, tiling.across
    largest = max(block.rows for block in blocks) * tiling.across * cg
    pixel_buffer = np.empty(values * largest, x.dtype)
    value_buffer = np.empty(values * largest, x.dtype)
    for block, image in zip(blocks, padded_images(x, tiling.windows, out, groups, blocks)):
        for g in range(groups):
            view = windows(image[g], tiling.windows, block.r1 - block.r0, tiling.across)
            # (n, rows, across, s, s, C/G) -> (s, s, n, rows, across, C/G)
            view = view.transpose(3, 4, 0, 1, 2, 5)
            # the beginning of the buffer -> (s, s, n, rows, across, C/G)
            D = pixel_buffer[:view.size].reshape(view.shape)
            np.copyto(D, view)
            # (s, s, n, rows, across, C/G) -> (s*s, tiles*C/G), multiplied by B^T
            V = value_buffer[:view.size].reshape(values, -1)
            np.matmul(BT, D.reshape(values, -1), out=V)  # (s*s, s*s) @ (s*s, tiles*C/G)
            yield g, block, V.reshape(values, -1, cg)  # (s*s, tiles*C/G) -> (s*s, tiles, C/G)


def _transformed_kernels(w: np.ndarray, G: np.ndarray, groups: int) -> np.ndarray:
    """U = G w G^T: w (O,C/G,r,r) -> (groups, s*s, C/G, O/G). Threads share the input channels.

    The r*r taps of a kernel stay side by side: the product takes them as columns, and channels
    that have to change places move r*r numbers at a time, not one.
    """
    O, cg, r, _ = w.shape
    og = O // groups
    taps = w.transpose(1, 0, 2, 3)  # (O, C/G, r, r) -> (C/G, O, r, r)
    U = np.empty((groups, len(G), cg * og), w.dtype)

    def body(c0: int, c1: int) -> None:
        for g, o in enumerate(group_slices(O, groups)):
            part = taps[c0:c1, o].reshape(-1, r * r)  # (c, O/G, r, r) -> (c*O/G, r*r)
            np.matmul(G, part.T, out=U[g, :, c0 * og:c1 * og])  # (s*s, r*r) @ (r*r, c*O/G)

    parallel_for(cg, body)
    return U.reshape(groups, len(G), cg, og)  # (G, s*s, C/G*O/G) -> (G, s*s, C/G, O/G)


def _multiply(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, groups: int,
              relu: bool) -> np.ndarray:
    """The convolution at stride 1, with `relu` its positive part: per block and point one product
    V (tiles, C/G) @ U (C/G, O/G).

    x (N,H,W,C)  w (O,C/G,r,r)  b (O,) or None  ->  y (N,OH,OW,O)
    """
    O = w.shape[0]
    tiling = tiling_of(x, O, win, groups)
    m = tiling.m
    AT, G, BT = transforms_2d(win.kernel[0], x.dtype)
    y = np.empty((len(x), *win.out(*x.shape[1:3]), O), x.dtype)
    outs = group_slices(O, groups)
    U = _transformed_kernels(w, G, groups)

    def body(start: int, stop: int) -> None:
        for g, block, V in _transformed_tiles(x, BT, groups, tiling, tiling.blocks[start:stop]):
            n0, n1, t0, t1 = block
            # (s*s, tiles, O/G) -> (s*s, tiles*O/G), times A^T -> (m*m, tiles*O/G)
            Y = np.matmul(AT, np.matmul(V, U[g]).reshape(tiling.values, -1))
            # (m*m, tiles*O/G) -> (m*m, n, rows, across, O/G)
            Y = Y.reshape(m * m, n1 - n0, t1 - t0, tiling.across, -1)
            for cell, place in tiling.cells(y[..., outs[g]], block):
                place[...] = Y[cell, :, :place.shape[1], :place.shape[2]]
            part = y[n0:n1, t0 * m:t1 * m, :, outs[g]]
            if b is not None:
                part += b[outs[g]]
            if relu:
                np.maximum(part, 0, out=part)

    parallel_for(len(tiling.blocks), body)
    return y


def _multiply_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window,
                              groups: int) -> np.ndarray:
    """The weight gradient at stride 1: the transpose of the formula, which is linear in w:

        gw = G^T [ sum over tiles of (B^T x B) * (A gy A^T) ] G

    where for each point the sum is V^T (C/G, tiles) @ Z (tiles, O/G).
    x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (O,C/G,r,r)
    """
    O = gy.shape[3]
    cg = x.shape[3] // groups
    tiling = tiling_of(x, O, win, groups)
    m = tiling.m
    values = tiling.values
    AT, G, BT = transforms_2d(win.kernel[0], x.dtype)
    outs = group_slices(O, groups)
    cuts = pieces(len(tiling.blocks))
    # The first product of a sum is written into its place: these arrays are many megabytes.
    new = np.empty if tiling.blocks else np.zeros
    sums = [new((groups, values, cg, O // groups), x.dtype) for _ in cuts]

    def job(start: int, stop: int, total: np.ndarray) -> None:
        product = np.empty_like(total[0]) if stop - start > 1 else None
        for g, block, V in _transformed_tiles(x, BT, groups, tiling, tiling.blocks[start:stop]):
            n0, n1, t0, t1 = block
            tiles = np.zeros((m * m, n1 - n0, t1 - t0, tiling.across, O // groups), x.dtype)
            for cell, place in tiling.cells(gy[..., outs[g]], block):
                tiles[cell, :, :place.shape[1], :place.shape[2]] = place
            # (m*m, n, rows, across, O/G) -> (m*m, tiles*O/G), times A -> (s*s, tiles, O/G)
            Z = np.matmul(AT.T, tiles.reshape(m * m, -1)).reshape(values, -1, O // groups)
            V = V.transpose(0, 2, 1)  # (s*s, tiles, C/G) -> (s*s, C/G, tiles)
            if block is tiling.blocks[start]:
                np.matmul(V, Z, out=total[g])
            else:
                total[g] += np.matmul(V, Z, out=product)

    parallel_list([partial(job, start, stop, total)
                   for (start, stop), total in zip(cuts, sums, strict=True)])
    return _kernel_gradient(sums, G, win.kernel)


def _kernel_gradient(sums: list[np.ndarray], G: np.ndarray, kernel: Pair) -> np.ndarray:
    """gw = G^T (the sum of `sums`) G: each (groups, s*s, C/G, O/G) -> (O,C/G,r,r). Threads share
    the input channels; the sums are added in order, so that the result is the same each time."""
    groups, values, cg, og = sums[0].shape
    r = kernel[0]
    gw = np.empty((groups, og, cg, r * r), sums[0].dtype)

    def body(c0: int, c1: int) -> None:
        total = sums[0][:, :, c0:c1]
        for other in sums[1:]:
            total += other[:, :, c0:c1]
        # (G, s*s, c, O/G) -> (G, s*s, c*O/G) -> (G, c*O/G, s*s), times G -> (G, c*O/G, r*r)
        part = np.matmul(total.reshape(groups, values, -1).transpose(0, 2, 1), G)
        # (G, c*O/G, r*r) -> (G, c, O/G, r*r) -> (G, O/G, c, r*r)
        gw[:, :, c0:c1] = part.reshape(groups, c1 - c0, og, r * r).transpose(0, 2, 1, 3)

    parallel_for(cg, body)
    return gw.reshape(groups * og, cg, r, r)  # (G, O/G, C/G, r*r) -> (O, C/G, r, r)
