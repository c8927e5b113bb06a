"""Convolution as products with column matrices (columns.py), a chunk of the batch at a time."""
from typing import Any

from ... import backend
from ..half import Factor, factor, way_back
from ..launch import launch
from ..products import multiply
from ..window import Window, group_slices
from .bias import add_bias
from .columns import chunks, gather, pitch, room_to_keep, weight_matrix, window_args

Array = Any  # a CuPy array

# Training: what forward has gathered and rounded, backward uses again


def conv2d_forward(x: Array, w: Array, b: Array | None, win: Window, groups: int,
                   keep: bool = True) -> tuple[Array, tuple]:
    """(y, saved): conv2d, and what conv2d_backward needs of it.

    x (N,H,W,C)  w (O,C/G,KH,KW)  b (O,) or None  ->  y (N,OH,OW,O)

    `keep` says whether conv2d_backward will be asked for the weights' gradient. saved is (x or
    None, the largest of x or None, weight matrix, its largest or None, *column matrices), with x
    and w rounded where the precision asks for it; the column matrices take the place of x.
    """
    xp = backend.xp_of(x, w, b)
    N, H, W, C = x.shape
    O = w.shape[0]
    y = xp.empty((N, *win.out(H, W), O), x.dtype)
    flat = y.reshape(-1, O)  # (N, OH, OW, O) -> (N*OH*OW, O)
    images = factor(x)
    weights = factor(weight_matrix(w, win))
    back = way_back(images, weights)
    kept = room_to_keep(images.array, win, groups) if keep else None
    outs = group_slices(O, groups)
    for rows, g, col in gather(images.array, win, groups, kept):
        multiply(col, weights.array[outs[g]].T, flat[rows, outs[g]], back)
    if b is not None:
        add_bias(flat, b)
    x_saved = images.array if kept is None else None
    return y, (x_saved, images.largest, weights.array, weights.largest, *(kept or ()))


def conv2d_backward(gy: Array, saved: tuple, x_shape: tuple[int, ...], win: Window, groups: int,
                    needs: tuple[bool, ...]) -> tuple[Array | None, Array | None]:
    """(gx, gw) from what conv2d_forward saved, each None where `needs` says that it is not
    needed.

    gw is not written into its place: its numbers have the order of the column matrix, so whoever
    brings it there moves them anyway.
    """
    x, x_largest, w, w_largest, *kept = saved
    images = Factor(x, x_largest)
    weights = Factor(w, w_largest)
    grads = factor(gy.reshape(-1, gy.shape[3]))  # (N, OH, OW, O) -> (N*OH*OW, O)
    gx = None
    gw = None
    if needs[0]:
        gx = _input_gradient(grads, weights, gy.shape, x_shape, gy.dtype, win, groups)
    if needs[1]:
        gw = _weight_gradient(images, kept, grads, x_shape, gy.dtype, win, groups)
    return gx, gw


def _weight_gradient(images: Factor, kept: list[Array], grads: Factor, x_shape: tuple[int, ...],
                     dtype: Any, win: Window, groups: int) -> Array:
    """gw (O,C/G,KH,KW): the sum of gy^T @ col over the chunks, in their order. Column matrices
    that were not kept are gathered again."""
    gy = grads.array  # (N*OH*OW, O)
    O = gy.shape[1]
    KH, KW = win.kernel
    cg = x_shape[3] // groups
    total = backend.xp_of(gy).empty((O, pitch(win, cg)), dtype)
    back = way_back(images, grads)
    outs = group_slices(O, groups)
    if kept:
        for g in range(groups):
            multiply(gy[:, outs[g]].T, kept[g], total[outs[g]], back)
    elif not len(gy):
        total[...] = 0  # an empty batch has no chunk that would write anything
    else:
        for rows, g, col in gather(images.array, win, groups):
            multiply(gy[rows, outs[g]].T, col, total[outs[g]], back, add=rows.start > 0)
    # (O, pitch) -> (O, KH*KW*C/G) -> (O, KH, KW, C/G) -> (O, C/G, KH, KW)
    return total[:, :KH * KW * cg].reshape(O, KH, KW, cg).transpose(0, 3, 1, 2)


def _input_gradient(grads: Factor, weights: Factor, gy_shape: tuple[int, ...],
                    x_shape: tuple[int, ...], dtype: Any, win: Window, groups: int) -> Array:
    """gx (N,H,W,C): gcol = gy @ w, and col2im adds up what belongs to each pixel.

    `cpu` turns the kernel at stride 1 and convolves, since there col2im would scatter. Here it
    gathers anyway, and gcol is the smaller matrix where C/G < O/G.
    """
    gy = grads.array  # (N*OH*OW, O)
    xp = backend.xp_of(gy)
    N, H, W, C = x_shape
    _, OH, OW, O = gy_shape
    cg = C // groups
    length = pitch(win, cg)
    outs = group_slices(O, groups)
    gx = xp.empty(x_shape, dtype)
    back = way_back(grads, weights)
    parts = chunks(N, OH * OW * length * gx.itemsize)
    most = max((stop - start for start, stop in parts), default=0)
    buffer = xp.empty((most * OH * OW, length), dtype)
    for start, stop in parts:
        images = stop - start
        rows = slice(start * OH * OW, stop * OH * OW)
        gcol = buffer[:images * OH * OW]
        for g in range(groups):
            multiply(gy[rows, outs[g]], weights.array[outs[g]], gcol, back)
            launch("col2im", gx, W * cg, images * H, (gcol, gx[start:stop]),
                   *window_args((images, H, W, C), (OH, OW), g * cg, cg, win), length, OH * OW, 1)
    return gx


# Single steps, which save nothing


def conv2d(x: Array, w: Array, b: Array | None, win: Window, groups: int) -> Array:
    """y (N,OH,OW,O) of x (N,H,W,C), w (O,C/G,KH,KW), b (O,) or None: col @ w^T per chunk and
    group."""
    return conv2d_forward(x, w, b, win, groups, keep=False)[0]


def conv2d_backward_weight(x: Array, gy: Array, win: Window, groups: int) -> Array:
    """gw (O,C/G,KH,KW) of the gradient gy (N,OH,OW,O) at images x (N,H,W,C)."""
    grads = factor(gy.reshape(-1, gy.shape[3]))  # (N, OH, OW, O) -> (N*OH*OW, O)
    return _weight_gradient(factor(x), [], grads, x.shape, x.dtype, win, groups)


def conv2d_backward_input(gy: Array, w: Array, x_shape: tuple[int, ...], win: Window,
                          groups: int) -> Array:
    """gx (N,H,W,C) of the gradient gy (N,OH,OW,O) at weights w (O,C/G,KH,KW)."""
    grads = factor(gy.reshape(-1, gy.shape[3]))  # (N, OH, OW, O) -> (N*OH*OW, O)
    weights = factor(weight_matrix(w, win))
    return _input_gradient(grads, weights, gy.shape, x_shape, gy.dtype, win, groups)
