"""Convolution by im2col in blocks: gather windows into a matrix, one matrix product a block."""
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..window import Window
from ..workers import parallel_for, parallel_list, pieces
from . import winograd
from .blocks import Block, group_slices, padded_images, plan, share, windows


def _columns(x: np.ndarray, win: Window, groups: int, todo: list[Block]) -> Iterator[tuple[int, slice, np.ndarray]]:
    """im2col, a block at a time: yields (group, rows, col) with col (rows, KH KW C/G), where `rows` are rows of the
    output matrix (N OH OW, O). The matrix `col` is overwritten by the next step."""
    if not todo:
        return
    OH, OW = win.out(*x.shape[1:3])
    width = win.kernel[0] * win.kernel[1] * (x.shape[3] // groups)
    buffer = np.empty((max((n1 - n0) * (r1 - r0) for n0, n1, r0, r1 in todo) * OW, width), x.dtype)
    for (n0, n1, r0, r1), image in zip(todo, padded_images(x, win, (OH, OW), groups, todo)):
        col = buffer[:(n1 - n0) * (r1 - r0) * OW]
        for g in range(groups):
            view = windows(image[g], win, r1 - r0, OW)
            np.copyto(col.reshape(view.shape), view)
            yield g, slice((n0 * OH + r0) * OW, ((n1 - 1) * OH + r1) * OW), col


def _plan(x: np.ndarray, win: Window, groups: int) -> list[Block]:
    window_bytes = win.kernel[0] * win.kernel[1] * (x.shape[3] // groups) * x.itemsize
    return plan(x.shape[0], *win.out(*x.shape[1:3]), window_bytes)


def _abreast(x: np.ndarray, win: Window, groups: int) -> int:
    """How many outputs side by side to compute from one window. With three colours a row of a window is a dozen
    numbers, and copying so few at a time costs as much as the product: a window for t outputs is t - 1 columns wider,
    has t times the kernels, each shifted by a column and otherwise zero, and is copied for every t-th output only."""
    KW, OW = win.kernel[1], win.out(*x.shape[1:3])[1]
    few = groups == 1 and win.stride[1] == win.dilation[1] == 1 and KW * x.shape[3] < 24
    return max(t for t in range(1, max(KW, 2)) if OW % t == 0) if few else 1


def _wider(win: Window, t: int) -> Window:
    """The windows of t outputs side by side."""
    return replace(win, kernel=(win.kernel[0], win.kernel[1] + t - 1), stride=(win.stride[0], t))


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, groups: int) -> np.ndarray:
    """y (N,OH,OW,O) of x (N,H,W,C), w (O,C/G,KH,KW), b (O,) or None: per block one product col @ w."""
    if winograd.suits(win, groups):
        return winograd.conv2d(x, w, b, win, groups)
    N, H, W, _ = x.shape
    O = w.shape[0]
    OH, OW = win.out(H, W)
    if (t := _abreast(x, win, groups)) > 1:
        wide = np.zeros((t, *w.shape[:3], win.kernel[1] + t - 1), w.dtype)
        for i in range(t):
            wide[i, ..., i:i + win.kernel[1]] = w
        y = conv2d(x, wide.reshape(t * O, *wide.shape[2:]), None if b is None else np.tile(b, t), _wider(win, t), 1)
        return y.reshape(N, OH, OW, O)
    y = np.empty((N, OH, OW, O), x.dtype)
    flat, outs, todo = y.reshape(-1, O), group_slices(O, groups), _plan(x, win, groups)
    mats = [np.ascontiguousarray(w[o].transpose(2, 3, 1, 0)).reshape(-1, O // groups) for o in outs]  # (KH KW C/G, O/G)

    def body(start: int, stop: int) -> None:
        for g, rows, col in _columns(x, win, groups, todo[start:stop]):
            part = flat[rows, outs[g]]
            np.matmul(col, mats[g], out=part)
            if b is not None:
                part += b[outs[g]]

    parallel_for(len(todo), body, share(todo, y.size * w[0].size))
    return y


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """gw (O,C/G,KH,KW): the sum over blocks of col^T @ gy; each piece of the batch sums its own, then in order."""
    if winograd.suits(win, groups):
        return winograd.conv2d_backward_weight(x, gy, win, groups)
    O, cg = gy.shape[3], x.shape[3] // groups
    KH, KW = win.kernel
    if (t := _abreast(x, win, groups)) > 1:
        wide = conv2d_backward_weight(x, gy.reshape(*gy.shape[:2], -1, t * O), _wider(win, t), 1)
        wide = wide.reshape(t, O, cg, KH, -1)
        return sum(wide[i, ..., i:i + KW] for i in range(t))
    flat, outs, todo = gy.reshape(-1, O), group_slices(O, groups), _plan(x, win, groups)
    cuts = pieces(len(todo), share(todo, gy.size * KH * KW * cg))
    sums = [np.zeros((groups, KH * KW * cg, O // groups), x.dtype) for _ in cuts]

    def job(start: int, stop: int, total: np.ndarray) -> None:
        product = np.empty_like(total[0])
        for g, rows, col in _columns(x, win, groups, todo[start:stop]):
            total[g] += np.matmul(col.T, flat[rows, outs[g]], out=product)

    parallel_list([(lambda cut=cut, total=total: job(*cut, total)) for cut, total in zip(cuts, sums, strict=True)])
    for other in sums[1:]:
        sums[0] += other
    return sums[0].reshape(groups, KH, KW, cg, O // groups).transpose(0, 4, 3, 1, 2).reshape(O, cg, KH, KW)


def conv2d_backward_input(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], win: Window, groups: int) \
        -> np.ndarray:
    """gx (N,H,W,C). At stride 1 it is the convolution of gy, padded by D(K-1) - P, with the kernel turned by 180
    degrees and its channel axes swapped. Otherwise col2im: gcol = gy @ w^T, each tap added to where it looked."""
    (KH, KW), (PH, PW), (DH, DW) = win.kernel, win.padding, win.dilation
    around = DH * (KH - 1) - PH, DW * (KW - 1) - PW
    if win.stride == (1, 1) and min(around) >= 0:
        O = w.shape[0]
        turned = w.reshape(groups, O // groups, -1, KH, KW)[..., ::-1, ::-1].transpose(0, 2, 1, 3, 4)
        return conv2d(gy, turned.reshape(-1, O // groups, KH, KW), None,
                      Window(win.kernel, padding=around, dilation=win.dilation), groups)
    return _col2im(gy, w, x_shape, win, groups)


def _col2im(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], win: Window, groups: int) -> np.ndarray:
    N, H, W, C = x_shape
    _, OH, OW, O = gy.shape
    cg, outs = C // groups, group_slices(O, groups)
    flat = gy.reshape(-1, O)
    mats = [np.ascontiguousarray(w[o].transpose(0, 2, 3, 1)).reshape(O // groups, -1) for o in outs]  # (O/G, KH KW C/G)
    gx = np.zeros((N, H, W, C), gy.dtype)

    def body(start: int, stop: int) -> None:
        for n0, n1, r0, r1 in plan(stop - start, OH, OW, mats[0][0].nbytes):
            n0, n1 = start + n0, start + n1
            for g in range(groups):
                gcol = flat[(n0 * OH + r0) * OW:((n1 - 1) * OH + r1) * OW, outs[g]] @ mats[g]
                gcol = gcol.reshape(n1 - n0, r1 - r0, OW, *win.kernel, cg)
                add_taps(gx[n0:n1, :, :, g * cg:(g + 1) * cg], gcol, win, OH, OW, r0)

    parallel_for(N, body)
    return gx


def add_taps(gx: np.ndarray, gcol: np.ndarray, win: Window, OH: int, OW: int, r0: int) -> None:
    """Add gcol (n, rows, OW, KH, KW, c), output rows from r0 on, to the places of gx that each tap looked at."""
    r1 = r0 + gcol.shape[1]
    for kh in range(win.kernel[0]):
        oh, ih = win.tap(0, kh, gx.shape[1], OH)
        first, last = max(oh.start, r0), min(oh.stop, r1)
        if first >= last:
            continue
        top = ih.start + (first - oh.start) * win.stride[0]
        rows = slice(top, top + (last - first - 1) * win.stride[0] + 1, win.stride[0])
        for kw in range(win.kernel[1]):
            ow, iw = win.tap(1, kw, gx.shape[2], OW)
            gx[:, rows, iw] += gcol[:, first - r0:last - r0, ow, kh, kw]
