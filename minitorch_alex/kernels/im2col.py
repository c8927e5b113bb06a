"""Convolution as one matrix product: the step from the loops of `naive.py` to `cpu/conv.py`.

A window of the image, written as one row, times a kernel, written as one column, is one number of
the output. So with all windows of a batch as the rows of a matrix `col`, and all kernels as the
columns of another, a convolution is their product, and both gradients are products with a
transpose:

    y = col @ w        (N OH OW, KH KW C) @ (KH KW C, O)
    gw = col^T @ gy    (KH KW C, N OH OW) @ (N OH OW, O)
    gcol = gy @ w^T    (N OH OW, O) @ (O, KH KW C),  and gx is each gcol added to where it was read

The matrix costs memory: each pixel is in it up to KH KW / S^2 times. `cpu/conv.py` makes it a
block at a time, in the cache, and shares the blocks among threads; the products are these. The
tests use this file as a second oracle: it shares no line with `cpu/`, and it is fast enough for
the sizes of the paper's layers, for which the loops of `naive.py` would take minutes.

Letters and layouts are those of `naive.py`.
"""
import numpy as np

from .window import Window, group_slices


def im2col(x: np.ndarray, win: Window) -> np.ndarray:
    """Every window of every image: x (N,H,W,C) -> (N,OH,OW,KH,KW,C).

    It is filled tap by tap: at tap (kh, kw) the windows see the pixels kh D, kh D + S, kh D + 2 S
    ... of the padded image, one for each output row, and the same along the columns.
    """
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    KH, KW = win.kernel
    PH, PW = win.padding
    padded = np.zeros((N, *_padded_size(x.shape, win), C), x.dtype)
    padded[:, PH:PH + H, PW:PW + W] = x
    col = np.empty((N, OH, OW, KH, KW, C), x.dtype)
    for kh, kw in np.ndindex(KH, KW):
        rows, columns = _tap(win, kh, kw, OH, OW)
        col[:, :, :, kh, kw] = padded[:, rows, columns]
    return col


def col2im(gcol: np.ndarray, x_shape: tuple[int, ...], win: Window) -> np.ndarray:
    """The transpose of `im2col`: gcol (N,OH,OW,KH,KW,C) -> gx (N,H,W,C), each number added to the
    pixel that it was read from. What was read from the padding is dropped."""
    N, H, W, C = x_shape
    _, OH, OW, KH, KW, _ = gcol.shape
    PH, PW = win.padding
    padded = np.zeros((N, *_padded_size(x_shape, win), C), gcol.dtype)
    for kh, kw in np.ndindex(KH, KW):
        rows, columns = _tap(win, kh, kw, OH, OW)
        padded[:, rows, columns] += gcol[:, :, :, kh, kw]
    return padded[:, PH:PH + H, PW:PW + W]


def _padded_size(x_shape: tuple[int, ...], win: Window) -> tuple[int, int]:
    """(HP, WP): the image with its padding, and as far past it as rounded-up windows reach."""
    _, H, W, _ = x_shape
    PH, PW = win.padding
    HP, WP = win.padded((H, W), win.out(H, W))
    return max(HP, H + 2 * PH), max(WP, W + 2 * PW)


def _tap(win: Window, kh: int, kw: int, OH: int, OW: int) -> tuple[slice, slice]:
    """The rows and columns of a padded image that tap (kh, kw) of all windows sees."""
    SH, SW = win.stride
    top = kh * win.dilation[0]
    left = kw * win.dilation[1]
    return (slice(top, top + (OH - 1) * SH + 1, SH),
            slice(left, left + (OW - 1) * SW + 1, SW))


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
           groups: int) -> np.ndarray:
    """y = b + col @ w, group by group.

    x (N,H,W,C)  w (O,C/G,KH,KW)  b (O,) or None  ->  y (N,OH,OW,O)
    """
    N, H, W, C = x.shape
    O, cg, KH, KW = w.shape
    OH, OW = win.out(H, W)
    col = im2col(x, win)
    y = np.empty((N, OH, OW, O), x.dtype)
    for seen, out in zip(group_slices(C, groups), group_slices(O, groups)):
        # (N, OH, OW, KH, KW, C/G) -> (N*OH*OW, KH*KW*C/G)
        rows = col[..., seen].reshape(N * OH * OW, KH * KW * cg)
        # (O/G, C/G, KH, KW) -> (KH, KW, C/G, O/G) -> (KH*KW*C/G, O/G)
        kernels = w[out].transpose(2, 3, 1, 0).reshape(KH * KW * cg, O // groups)
        # (N*OH*OW, O/G) -> (N, OH, OW, O/G)
        y[..., out] = (rows @ kernels).reshape(N, OH, OW, O // groups)
    return y if b is None else y + b


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """gw = col^T @ gy, group by group.

    x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (O,C/G,KH,KW)
    """
    N, H, W, C = x.shape
    N, OH, OW, O = gy.shape
    KH, KW = win.kernel
    cg = C // groups
    col = im2col(x, win)
    gw = np.empty((O, cg, KH, KW), x.dtype)
    for seen, out in zip(group_slices(C, groups), group_slices(O, groups)):
        # (N, OH, OW, KH, KW, C/G) -> (N*OH*OW, KH*KW*C/G)
        rows = col[..., seen].reshape(N * OH * OW, KH * KW * cg)
        # (N, OH, OW, O/G) -> (N*OH*OW, O/G)
        gys = gy[..., out].reshape(N * OH * OW, O // groups)
        # (KH*KW*C/G, O/G) -> (KH, KW, C/G, O/G) -> (O/G, C/G, KH, KW)
        gw[out] = (rows.T @ gys).reshape(KH, KW, cg, O // groups).transpose(3, 2, 0, 1)
    return gw


def conv2d_backward_input(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], win: Window,
                          groups: int) -> np.ndarray:
    """gcol = gy @ w^T, group by group, then col2im.

    gy (N,OH,OW,O)  w (O,C/G,KH,KW)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, OH, OW, O = gy.shape
    O, cg, KH, KW = w.shape
    C = x_shape[3]
    gcol = np.empty((N, OH, OW, KH, KW, C), gy.dtype)
    for seen, out in zip(group_slices(C, groups), group_slices(O, groups)):
        # (N, OH, OW, O/G) -> (N*OH*OW, O/G)
        gys = gy[..., out].reshape(N * OH * OW, O // groups)
        # (O/G, C/G, KH, KW) -> (O/G, KH, KW, C/G) -> (O/G, KH*KW*C/G)
        kernels = w[out].transpose(0, 2, 3, 1).reshape(O // groups, KH * KW * cg)
        # (N*OH*OW, KH*KW*C/G) -> (N, OH, OW, KH, KW, C/G)
        gcol[..., seen] = (gys @ kernels).reshape(N, OH, OW, KH, KW, cg)
    return col2im(gcol, x_shape, win)
