"""Convolution by im2col in blocks: gather windows into a matrix, one matrix product a block."""
from collections.abc import Iterator

import numpy as np

from ..window import Window
from ..workers import parallel_for, parallel_list, pieces
from . import blocks


def padded_images(x: np.ndarray, win: Window, out: tuple[int, int], start: int, stop: int, step: int) \
        -> Iterator[tuple[int, int, np.ndarray]]:
    """Images start..stop, `step` at a time, as (n0, n1, images with the zero border that their windows reach)."""
    _, H, W, C = x.shape
    (PH, PW), (HP, WP) = win.padding, win.padded((H, W), out)
    bare = PH == PW == 0 and HP <= H and WP <= W
    if not bare:
        border = np.zeros((min(step, stop - start), max(HP, PH + H), max(WP, PW + W), C), x.dtype)
    for n0 in range(start, stop, step):
        n1 = min(n0 + step, stop)
        if bare:
            yield n0, n1, x[n0:n1]
        else:
            border[:n1 - n0, PH:PH + H, PW:PW + W] = x[n0:n1]  # the border itself stays zero
            yield n0, n1, border[:n1 - n0]


def _block(win: Window, C: int, OH: int, OW: int, itemsize: int) -> tuple[int, int]:
    """(images, output rows) of one im2col block: whole images if they fit into BLOCK, else rows of one image."""
    row = OW * win.kernel[0] * win.kernel[1] * C * itemsize
    if OH * row <= blocks.BLOCK:
        return max(1, blocks.BLOCK // (OH * row)), OH
    return 1, min(OH, max(1, blocks.BLOCK // row, -(-256 // OW)))  # under 256 rows a matrix product is slow


def windows(image: np.ndarray, win: Window, rows: tuple[int, int], OW: int, channels: slice) -> np.ndarray:
    """A view, without a copy: (n, rows, OW, KH, KW, channels) of the windows of an already padded image."""
    (KH, KW), (SH, SW), (DH, DW) = win.kernel, win.stride, win.dilation
    part = image[:, rows[0] * SH:, :, channels]
    n, h, w, c = part.strides
    return np.lib.stride_tricks.as_strided(
        part, (part.shape[0], rows[1] - rows[0], OW, KH, KW, part.shape[3]), (n, h * SH, w * SW, h * DH, w * DW, c),
        writeable=False)


def _columns(x: np.ndarray, win: Window, groups: int, start: int, stop: int) \
        -> Iterator[tuple[int, slice, np.ndarray]]:
    """im2col in blocks: yields (group, rows, col) with col (rows, KH KW C/G), where `rows` are rows of the output
    matrix (N OH OW, O). The matrix `col` is overwritten by the next step."""
    _, H, W, C = x.shape
    OH, OW = win.out(H, W)
    images, rows = _block(win, C // groups, OH, OW, x.itemsize)
    width = win.kernel[0] * win.kernel[1] * (C // groups)
    buffer = np.empty((min(images, stop - start) * rows * OW, width), x.dtype)
    for n0, n1, image in padded_images(x, win, (OH, OW), start, stop, images):
        for r0 in range(0, OH, rows):
            r1 = min(r0 + rows, OH)
            col = buffer[:(n1 - n0) * (r1 - r0) * OW]
            for g in range(groups):
                view = windows(image, win, (r0, r1), OW, slice(g * C // groups, (g + 1) * C // groups))
                np.copyto(col.reshape(view.shape), view)
                yield g, slice((n0 * OH + r0) * OW, ((n1 - 1) * OH + r1) * OW), col


def _group_slices(O: int, groups: int) -> list[slice]:
    return [slice(g * O // groups, (g + 1) * O // groups) for g in range(groups)]


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window, groups: int) -> np.ndarray:
    """y (N,OH,OW,O) of x (N,H,W,C), w (O,C/G,KH,KW), b (O,) or None: per block one product col @ w."""
    N, H, W, _ = x.shape
    O = w.shape[0]
    OH, OW = win.out(H, W)
    y = np.empty((N, OH, OW, O), x.dtype)
    flat, outs = y.reshape(-1, O), _group_slices(O, groups)
    mats = [np.ascontiguousarray(w[o].transpose(2, 3, 1, 0)).reshape(-1, O // groups) for o in outs]  # (KH KW C/G, O/G)

    def body(start: int, stop: int) -> None:
        for g, rows, col in _columns(x, win, groups, start, stop):
            part = flat[rows, outs[g]]
            np.matmul(col, mats[g], out=part)
            if b is not None:
                part += b[outs[g]]

    parallel_for(N, body)
    return y


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """gw (O,C/G,KH,KW): the sum over blocks of col^T @ gy; each piece of the batch sums its own, then in order."""
    O, cg = gy.shape[3], x.shape[3] // groups
    KH, KW = win.kernel
    flat, outs = gy.reshape(-1, O), _group_slices(O, groups)
    cuts = pieces(x.shape[0])
    sums = [np.zeros((groups, O // groups, KH * KW * cg), x.dtype) for _ in cuts]

    def job(start: int, stop: int, total: np.ndarray) -> None:
        product = np.empty_like(total[0])
        for g, rows, col in _columns(x, win, groups, start, stop):
            total[g] += np.matmul(flat[rows, outs[g]].T, col, out=product)

    parallel_list([(lambda cut=cut, total=total: job(*cut, total)) for cut, total in zip(cuts, sums, strict=True)])
    for other in sums[1:]:
        sums[0] += other
    return sums[0].reshape(O, KH, KW, cg).transpose(0, 3, 1, 2)


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
    cg, outs = C // groups, _group_slices(O, groups)
    images, step = _block(win, cg, OH, OW, gy.itemsize)
    flat = gy.reshape(-1, O)
    mats = [np.ascontiguousarray(w[o].transpose(0, 2, 3, 1)).reshape(O // groups, -1) for o in outs]  # (O/G, KH KW C/G)
    gx = np.zeros((N, H, W, C), gy.dtype)

    def body(start: int, stop: int) -> None:
        for n0 in range(start, stop, images):
            n1 = min(n0 + images, stop)
            for r0 in range(0, OH, step):
                r1 = min(r0 + step, OH)
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
