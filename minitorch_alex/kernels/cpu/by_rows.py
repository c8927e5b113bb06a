"""Convolution by the rows of the kernel: a fifth of im2col's copying for a 5 x 5 kernel.

im2col copies each pixel KH KW times. Here the windows are one row high, so a pixel is copied KW
times; each row of the image is multiplied with each row of the kernel, and the products are added
where they belong:

    z[kh] = rows(x) @ w[kh]                     (n H OW, KW C) @ (KW C, O)
    y[oh] = sum over kh of z[kh][oh + kh D - P]

For KH = 3, D = 1 and P = 1, on four rows of an image (a dot is a row of padding, for which nothing
is added):

    z[0]   . 0 1 2          The additions are of whole rows of outputs, which lie one after the
    z[1]   0 1 2 3          other in memory: they cost a fraction of what the copies did. There are
    z[2]   1 2 3 .          H / OH times as many multiplications as in im2col: as many where the
    -----------------       padding keeps the height (two products above belong to no output, and
    y      0 1 2 3          two dots are not multiplied), more without padding.

The gradient of the weights is a product of the same windows with the gradients of the outputs that
each row of the image contributed to, side by side:

    gw = rows(x)^T @ shifted(gy)                (KW C, n H OW) @ (n H OW, KH O)
    shifted(gy)[h, kh] = gy[h - kh D + P], or 0 where there is no such output
"""
from dataclasses import replace
from functools import partial

import numpy as np

from ..window import Window, group_slices
from ..workers import get_threads, parallel_for, parallel_list, pieces
from .blocks import BLOCK, Block, blocks_per_thread, columns, plan
from .product import matmul_narrow

MIN_WIDTH = 96     # numbers in a row of a window; products with fewer are too thin to gain
MAX_HEIGHTS = 1.1  # H / OH, how many times as many multiplications as in im2col

Tap = tuple[slice, slice]  # of one row of the kernel: output rows, and the image rows they look at


def suits(x: np.ndarray, O: int, win: Window, groups: int) -> bool:
    """Whether this is faster than im2col. It is where windows overlap from row to row and are not
    too narrow, where the padding about keeps the height, where an image fits into a block (the
    bands of larger ones would overlap, too), and where each thread has at least one image, so never
    for an empty batch."""
    N, H, W, C = x.shape
    KH, KW = win.kernel
    if KH == 1 or win.stride[0] > 1 or KW * C // groups < MIN_WIDTH or get_threads() > N:
        return False
    OH, OW = win.out(H, W)
    if H > MAX_HEIGHTS * OH:
        return False
    return H * OW * _place_bytes(x, O, win, groups) <= BLOCK


def _place_bytes(x: np.ndarray, O: int, win: Window, groups: int) -> int:
    """The bytes of one place in the image: its window, and its products with all rows of the
    kernel, or as many gradients."""
    KH, KW = win.kernel
    return (KW * (x.shape[3] // groups) + KH * (O // groups)) * x.itemsize


def _blocks(x: np.ndarray, O: int, win: Window, groups: int) -> list[Block]:
    """How a batch is cut: into whole images."""
    H, W = x.shape[1:3]
    OW = win.out(H, W)[1]
    return plan(len(x), H, OW, _place_bytes(x, O, win, groups))


def _row_window(win: Window) -> Window:
    """One row of the window, at every row of the image."""
    return replace(win, kernel=(1, win.kernel[1]), padding=(0, win.padding[1]))


def _taps(win: Window, H: int, OH: int) -> list[Tap]:
    return [win.tap(0, kh, H, OH) for kh in range(win.kernel[0])]


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, groups: int,
           relu: bool) -> np.ndarray:
    """y[n,oh,ow,o] = b[o] + sum over the window of x w; with `relu` the larger of that and 0.

    x (N,H,W,C)  w (O,C/G,KH,KW)  b (O,) or None  ->  y (N,OH,OW,O)
    """
    N, H, W, _ = x.shape
    O, cg, KH, KW = w.shape
    og = O // groups
    OH, OW = win.out(H, W)
    y = np.empty((N, OH, OW, O), x.dtype)
    outs = group_slices(O, groups)
    # per group: (O/G, C/G, KH, KW) -> (KH, KW, C/G, O/G) -> (KH, KW*C/G, O/G)
    mats = [np.ascontiguousarray(w[o].transpose(2, 3, 1, 0)).reshape(KH, KW * cg, og)
            for o in outs]
    biases = [None if b is None else b[o] for o in outs]
    taps = _taps(win, H, OH)
    blocks = _blocks(x, O, win, groups)

    def body(start: int, stop: int) -> None:
        most = max(block.rows for block in blocks[start:stop])
        buffer = np.empty(KH * most * OW * og, x.dtype)
        for block, g, col in columns(x, _row_window(win), groups, blocks[start:stop]):
            # (KH*n*H*OW*O/G,) -> (KH, n*H*OW, O/G)
            products = buffer[:KH * len(col) * og].reshape(KH, len(col), og)
            matmul_narrow(col, mats[g], out=products)
            # (KH, n*H*OW, O/G) -> (KH, n, H, OW, O/G)
            z = products.reshape(KH, block.n1 - block.n0, H, OW, og)
            part = y[block.n0:block.n1, :, :, outs[g]]
            _add_rows(z, taps, biases[g], part)
            if relu:
                np.maximum(part, 0, out=part)

    parallel_for(len(blocks), body, blocks_per_thread(blocks, y.size * w[0].size))
    return y


def _add_rows(z: np.ndarray, taps: list[Tap], bias: np.ndarray | None, y: np.ndarray) -> None:
    """y = bias + the products z (KH, n, H, OW, o), each where its row of the kernel belongs."""
    OH = y.shape[1]
    everywhere = [kh for kh, (outs, _) in enumerate(taps) if outs == slice(0, OH)]
    if everywhere:  # a row that meets the image in every window: it is written, not added
        first = everywhere[0]
        rows = z[first][:, taps[first][1]]
        if bias is None:
            np.copyto(y, rows)
        else:
            np.add(rows, bias, out=y)
    else:
        first = None
        y[...] = 0 if bias is None else bias
    for kh, (outs, ins) in enumerate(taps):
        if kh != first:
            y[:, outs] += z[kh][:, ins]


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """gw[o,c,kh,kw] = sum over windows of x gy. Each thread adds up a matrix of its own; these are
    summed in order, as in conv.py.

    x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (O,C/G,KH,KW)
    """
    H = x.shape[1]
    OH, OW, O = gy.shape[1:]
    KH, KW = win.kernel
    cg = x.shape[3] // groups
    og = O // groups
    outs = group_slices(O, groups)
    taps = _taps(win, H, OH)
    blocks = _blocks(x, O, win, groups)
    cuts = pieces(len(blocks), blocks_per_thread(blocks, gy.size * KH * KW * cg))
    sums = [np.zeros((groups, KW * cg, KH * og), x.dtype) for _ in cuts]

    def job(start: int, stop: int, total: np.ndarray) -> None:
        product = np.empty_like(total[0])
        most = max(block.rows for block in blocks[start:stop])
        buffer = np.empty((most * OW, KH * og), x.dtype)
        for block, g, col in columns(x, _row_window(win), groups, blocks[start:stop]):
            shifted = buffer[:len(col)]
            # (n*H*OW, KH*O/G) -> (n, H, OW, KH, O/G)
            images = shifted.reshape(block.n1 - block.n0, H, OW, KH, og)
            _shift_rows(gy[block.n0:block.n1, :, :, outs[g]], taps, images)
            total[g] += np.matmul(col.T, shifted, out=product)

    parallel_list([partial(job, start, stop, total)
                   for (start, stop), total in zip(cuts, sums, strict=True)])
    for other in sums[1:]:
        sums[0] += other
    # (G, KW*C/G, KH*O/G) -> (G, KW, C/G, KH, O/G) -> (G, O/G, C/G, KH, KW)
    gw = sums[0].reshape(groups, KW, cg, KH, og).transpose(0, 4, 2, 3, 1)
    return gw.reshape(O, cg, KH, KW)  # (G, O/G, C/G, KH, KW) -> (O, C/G, KH, KW)


def _shift_rows(gy: np.ndarray, taps: list[Tap], shifted: np.ndarray) -> None:
    """shifted (n, H, OW, KH, o) = for each row of the image and each row of the kernel the
    gradients gy (n, OH, OW, o) of the outputs to which their product was added, zeros where there
    are none."""
    for kh, (outs, ins) in enumerate(taps):
        shifted[:, :ins.start, :, kh] = 0
        shifted[:, ins, :, kh] = gy[:, outs]
        shifted[:, ins.stop:, :, kh] = 0
