"""Convolution by im2col in blocks: copy windows to a matrix in the cache, one product per block.

`kernels/im2col.py` has the same idea without blocks, in a dozen lines; read it first. Windows that
overlap from row to row need less copying: by_rows.py computes those layers where it can.
"""
from dataclasses import replace
from functools import partial

import numpy as np

from ..window import Pair, Window, group_slices
from ..workers import parallel_for, parallel_list, pieces
from . import algorithms, by_rows, winograd
from .blocks import Block, blocks_per_thread, columns, plan
from .product import matmul_narrow

NARROW = 24   # numbers in a row of a window; copying fewer at a time costs as much as the product
COLUMNS = 96  # of a matrix product; with fewer, the columns' other factor is read for too little

# Forward


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
           groups: int) -> np.ndarray:
    """y[n,oh,ow,o] = b[o] + sum over the window of x w, as a product col @ w per block.

    x (N,H,W,C)  w (O,C/G,KH,KW)  b (O,) or None  ->  y (N,OH,OW,O)
    """
    return _conv2d(x, w, b, win, groups, relu=False)


def conv2d_relu(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
                groups: int) -> np.ndarray:
    """max(y, 0) of the y of `conv2d`, taken while a block of it is in the cache."""
    return _conv2d(x, w, b, win, groups, relu=True)


def _conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, groups: int,
            relu: bool) -> np.ndarray:
    if algorithms.use_winograd("outputs", x, len(w), win, groups):
        return winograd.conv2d(x, w, b, win, groups, relu)
    if by_rows.suits(x, len(w), win, groups):
        return by_rows.conv2d(x, w, b, win, groups, relu)
    t = outputs_per_window(x, len(w), win, groups)
    if t > 1:
        return _conv2d_wide(x, w, b, win, t, relu)
    return _conv2d_blocks(x, w, b, win, groups, relu)


def _conv2d_blocks(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
                   groups: int, relu: bool) -> np.ndarray:
    """`_conv2d` by im2col: per block and group (windows, KH KW C/G) @ (KH KW C/G, O/G)."""
    O = w.shape[0]
    OH, OW = win.out(*x.shape[1:3])
    y = np.empty((len(x), OH, OW, O), x.dtype)
    flat = y.reshape(-1, O)  # (N, OH, OW, O) -> (N*OH*OW, O): a row per window
    outs = group_slices(O, groups)
    # per group: (O/G, C/G, KH, KW) -> (KH, KW, C/G, O/G) -> (KH*KW*C/G, O/G)
    mats = [np.ascontiguousarray(w[o].transpose(2, 3, 1, 0)).reshape(-1, O // groups)
            for o in outs]
    blocks = _blocks(x, win, groups)

    def body(start: int, stop: int) -> None:
        for block, g, col in columns(x, win, groups, blocks[start:stop]):
            part = flat[block.places(OH, OW), outs[g]]
            matmul_narrow(col, mats[g], out=part)
            if b is not None:
                part += b[outs[g]]
            if relu:
                np.maximum(part, 0, out=part)

    parallel_for(len(blocks), body, blocks_per_thread(blocks, y.size * w[0].size))
    return y


def _blocks(x: np.ndarray, win: Window, groups: int) -> list[Block]:
    """How a batch is cut for im2col."""
    window_bytes = win.kernel[0] * win.kernel[1] * (x.shape[3] // groups) * x.itemsize
    OH, OW = win.out(*x.shape[1:3])
    return plan(len(x), OH, OW, window_bytes)


# Weight gradient


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """gw[o,c,kh,kw] = sum over windows of x gy: the sum over blocks of col^T @ gy.

    x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (O,C/G,KH,KW)
    """
    if algorithms.use_winograd("weights", x, gy.shape[3], win, groups):
        return winograd.conv2d_backward_weight(x, gy, win, groups)
    if by_rows.suits(x, gy.shape[3], win, groups):
        return by_rows.conv2d_backward_weight(x, gy, win, groups)
    t = outputs_per_window(x, gy.shape[3], win, groups)
    if t > 1:
        return _backward_weight_wide(x, gy, win, t)
    return _backward_weight_blocks(x, gy, win, groups)


def _backward_weight_blocks(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """`conv2d_backward_weight` by im2col. The columns are gathered again: to keep those of the
    forward pass would take KH KW / S^2 times the memory of x.

    Each piece of the batch sums into a matrix of its own, and these are added in order: the result
    does not depend on which thread was faster.
    """
    OH, OW, O = gy.shape[1:]
    cg = x.shape[3] // groups
    KH, KW = win.kernel
    flat = gy.reshape(-1, O)  # (N, OH, OW, O) -> (N*OH*OW, O)
    outs = group_slices(O, groups)
    blocks = _blocks(x, win, groups)
    cuts = pieces(len(blocks), blocks_per_thread(blocks, gy.size * KH * KW * cg))
    sums = [np.zeros((groups, KH * KW * cg, O // groups), x.dtype) for _ in cuts]

    def job(start: int, stop: int, total: np.ndarray) -> None:
        product = np.empty_like(total[0])
        for block, g, col in columns(x, win, groups, blocks[start:stop]):
            part = flat[block.places(OH, OW), outs[g]]
            total[g] += np.matmul(col.T, part, out=product)

    parallel_list([partial(job, start, stop, total)
                   for (start, stop), total in zip(cuts, sums, strict=True)])
    for other in sums[1:]:
        sums[0] += other
    # (G, KH*KW*C/G, O/G) -> (G, KH, KW, C/G, O/G) -> (G, O/G, C/G, KH, KW)
    gw = sums[0].reshape(groups, KH, KW, cg, O // groups).transpose(0, 4, 3, 1, 2)
    return gw.reshape(O, cg, KH, KW)  # (G, O/G, C/G, KH, KW) -> (O, C/G, KH, KW)


# Several outputs from one window
#
# A row of a window over three colours is a dozen numbers, and copying so few at a time costs as
# much as the product. And a product with 32 kernels uses each number that was copied 32 times only.
# by_rows.py takes the layers with wide rows. In the others t neighbouring outputs share one window,
# which is t - 1 columns wider. It has t times the kernels, each shifted by one column and zero
# elsewhere, and is copied for every t-th output only.
# For KW = 3 and t = 2:
#
#     pixels                   x0 x1 x2 x3 x4 x5
#     windows, t = 1           x0 x1 x2
#                                 x1 x2 x3
#                                    x2 x3 x4
#                                       x3 x4 x5            12 numbers copied for four outputs
#     windows, t = 2           x0 x1 x2 x3
#                                    x2 x3 x4 x5            8 numbers
#     kernel of output 0       w0 w1 w2  0
#     kernel of output 1        0 w0 w1 w2                  the product has a third more to do
#
# The outputs of one window are neighbours in memory too: (N, OH, OW/t, t*O) is (N, OH, OW, O).


def outputs_per_window(x: np.ndarray, O: int, win: Window, groups: int) -> int:
    """t, how many neighbouring outputs of O channels to compute from one window: several for few
    kernels, until they are COLUMNS together, and at least 2 for narrow rows. It stays below KW,
    since the zeros are multiplied too, and divides OW."""
    KW = win.kernel[1]
    OW = win.out(*x.shape[1:3])[1]
    if groups > 1 or win.stride[1] > 1 or win.dilation[1] > 1:
        return 1
    least = 2 if KW * x.shape[3] < NARROW else 1
    most = min(max(COLUMNS // O, least), KW - 1)
    return max(t for t in range(1, max(most, 1) + 1) if OW % t == 0)


def _wide_window(win: Window, t: int) -> Window:
    """The window of t neighbouring outputs."""
    return replace(win, kernel=(win.kernel[0], win.kernel[1] + t - 1), stride=(win.stride[0], t))


def _conv2d_wide(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, t: int,
                 relu: bool) -> np.ndarray:
    """`_conv2d` without groups, t outputs from each window."""
    O, C, KH, KW = w.shape
    OH, OW = win.out(*x.shape[1:3])
    wide = np.zeros((t, O, C, KH, KW + t - 1), w.dtype)
    for i in range(t):
        wide[i, ..., i:i + KW] = w
    # (t, O, C, KH, KW+t-1) -> (t*O, C, KH, KW+t-1)
    kernels = wide.reshape(t * O, C, KH, KW + t - 1)
    biases = None if b is None else np.tile(b, t)
    y = _conv2d_blocks(x, kernels, biases, _wide_window(win, t), 1, relu)
    return y.reshape(len(x), OH, OW, O)  # (N, OH, OW/t, t*O) -> (N, OH, OW, O)


def _backward_weight_wide(x: np.ndarray, gy: np.ndarray, win: Window, t: int) -> np.ndarray:
    """`conv2d_backward_weight` without groups: the sum over the t shifted copies of w."""
    N, OH, OW, O = gy.shape
    KH, KW = win.kernel
    side_by_side = gy.reshape(N, OH, OW // t, t * O)  # (N, OH, OW, O) -> (N, OH, OW/t, t*O)
    wide = _backward_weight_blocks(x, side_by_side, _wide_window(win, t), 1)
    # (t*O, C, KH, KW+t-1) -> (t, O, C, KH, KW+t-1)
    wide = wide.reshape(t, O, x.shape[3], KH, KW + t - 1)
    gw = np.zeros_like(wide[0, ..., :KW])
    for i in range(t):
        gw += wide[i, ..., i:i + KW]
    return gw


# Input gradient


def conv2d_backward_input(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], win: Window,
                          groups: int) -> np.ndarray:
    """gx[n,ih,iw,c] = sum of gy w over the outputs that looked at pixel (ih, iw).

    At stride 1 this is itself a convolution, of gy, padded by D(K-1) - P, with the kernel turned
    by 180 degrees: y0 = x0 w0 + x1 w1 and y1 = x1 w0 + x2 w1 give gx1 = gy0 w1 + gy1 w0. So it
    gathers, like the forward pass. With a stride there would be S - 1 zeros between the elements
    of gy, and most of the products would be with zeros: col2im does without them.

    gy (N,OH,OW,O)  w (O,C/G,KH,KW)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    KH, KW = win.kernel
    around = _padding_of_gradient(win)
    if win.stride == (1, 1) and min(around) >= 0:
        O, cg = w.shape[:2]
        # (O, C/G, KH, KW) -> (G, O/G, C/G, KH, KW), turned by 180 degrees
        turned = w.reshape(groups, O // groups, cg, KH, KW)[..., ::-1, ::-1]
        # (G, O/G, C/G, KH, KW) -> (G, C/G, O/G, KH, KW)
        turned = turned.transpose(0, 2, 1, 3, 4)
        # (G, C/G, O/G, KH, KW) -> (C, O/G, KH, KW)
        kernels = turned.reshape(groups * cg, O // groups, KH, KW)
        turned_win = Window(win.kernel, padding=around, dilation=win.dilation)
        return conv2d(gy, kernels, None, turned_win, groups)
    return _col2im(gy, w, x_shape, win, groups)


def _padding_of_gradient(win: Window) -> Pair:
    """D(K-1) - P per axis; negative where the padding is wider than the kernel reaches."""
    return win.span(0) - 1 - win.padding[0], win.span(1) - 1 - win.padding[1]


def _col2im(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], win: Window,
            groups: int) -> np.ndarray:
    """The input gradient by scattering: per block gcol = gy @ w^T, then `add_taps`. Threads share
    the images, so that no two of them add to the same pixel."""
    N, H, W, C = x_shape
    _, OH, OW, O = gy.shape
    cg = C // groups
    outs = group_slices(O, groups)
    ins = group_slices(C, groups)
    flat = gy.reshape(-1, O)  # (N, OH, OW, O) -> (N*OH*OW, O)
    # per group: (O/G, C/G, KH, KW) -> (O/G, KH, KW, C/G) -> (O/G, KH*KW*C/G)
    mats = [np.ascontiguousarray(w[o].transpose(0, 2, 3, 1)).reshape(O // groups, -1)
            for o in outs]
    gx = np.zeros((N, H, W, C), gy.dtype)

    def body(start: int, stop: int) -> None:
        for block in plan(stop - start, OH, OW, mats[0][0].nbytes):
            n0 = start + block.n0
            n1 = start + block.n1
            places = Block(n0, n1, block.r0, block.r1).places(OH, OW)
            for g in range(groups):
                gcol = flat[places, outs[g]] @ mats[g]
                # (n*rows*OW, KH*KW*C/G) -> (n, rows, OW, KH, KW, C/G)
                gcol = gcol.reshape(n1 - n0, block.r1 - block.r0, OW, *win.kernel, cg)
                add_taps(gx[n0:n1, :, :, ins[g]], gcol, win, OH, OW, block.r0)

    parallel_for(N, body)
    return gx


def add_taps(gx: np.ndarray, gcol: np.ndarray, win: Window, OH: int, OW: int, r0: int) -> None:
    """Add gcol (n, rows, OW, KH, KW, c), output rows from r0 on, to the pixels it was taken from.

    Windows overlap, and one addition to overlapping places would keep only the last of them. So it
    goes tap by tap: the pixels of gx (n, H, W, c) that one tap looked at are all different.
    """
    r1 = r0 + gcol.shape[1]
    SH = win.stride[0]
    for kh in range(win.kernel[0]):
        oh, ih = win.tap(0, kh, gx.shape[1], OH)
        first = max(oh.start, r0)  # of the outputs that see the image through this tap,
        last = min(oh.stop, r1)    # those that are in gcol
        if first >= last:
            continue
        top = ih.start + (first - oh.start) * SH
        rows = slice(top, top + (last - first - 1) * SH + 1, SH)
        for kw in range(win.kernel[1]):
            ow, iw = win.tap(1, kw, gx.shape[2], OW)
            gx[:, rows, iw] += gcol[:, first - r0:last - r0, ow, kh, kw]
