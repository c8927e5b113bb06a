"""The kernels on a GPU: the same functions as `cpu` and `naive`, which says what they compute, for CuPy arrays.

Arrays are NHWC, C-contiguous, float32 or float64. The work is done by matrix products (products.py, which calls cuBLAS;
half.py rounds their factors) and by the kernels of cuda/*.cu, which launch.py starts; common.cu says how those are
written. Four things to know:

1. Products are two-dimensional: a convolution is one `col @ w^T` for each group, over as much of the batch as WORKSPACE
   bytes of column matrix hold. Where the memory of the GPU allows, training keeps the column matrices of the forward
   pass for the weights' gradient, which would otherwise gather them again.
2. Nothing waits. A call puts work into the device's queue and returns; only backend.to_numpy and backend.synchronize
   wait for results. So nothing here looks at a value: a label outside 0..K-1 makes its loss NaN instead of raising.
3. Numbers are Python's. Under NumPy 2's rules an array times a NumPy scalar would become float64.
4. Every sum has a fixed order: two runs give the same bits.

CuPy is not imported: its module comes from the arrays (backend.xp_of), which also lets the tests run all of this on a
stand-in, with the .cu files compiled for the CPU.
"""
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import backend
from ..errors import ShapeError
from .half import Factor, factor, way_back
from .launch import LARGEST, launch
from .products import multiply
from .window import Pair, Window, ceil_div, group_slices

__all__ = [
    "augment", "avg_pool2d", "avg_pool2d_backward", "conv2d", "conv2d_backward", "conv2d_backward_input",
    "conv2d_backward_weight", "conv2d_forward", "dropout", "enlarge", "linear", "linear_backward",
    "linear_backward_input", "linear_backward_weight", "linear_forward", "locally_connected2d",
    "locally_connected2d_backward_input", "locally_connected2d_backward_weight", "lrn", "lrn_backward",
    "lrn_within", "lrn_within_backward", "max_pool2d", "max_pool2d_backward", "relu", "relu_backward", "sgd",
    "softmax_cross_entropy", "softmax_cross_entropy_backward", "sum_rows", "tanh", "tanh_backward",
]

Array = Any  # a CuPy array

WORKSPACE = 512 << 20   # bytes of a column matrix at most, where it is not kept
KEPT_SHARE = 1 / 16     # of the GPU's memory: what the kept column matrices of one layer may take

# convolution


def _chunks(N: int, image_bytes: int) -> list[tuple[int, int]]:
    """The batch as (start, stop) in equal shares, each of which needs at most WORKSPACE bytes (or is one image)."""
    number = ceil_div(N, max(1, WORKSPACE // image_bytes))
    edges = [N * i // number for i in range(number + 1)] if number else []
    return list(zip(edges[:-1], edges[1:], strict=True))


def _pitch(win: Window, cg: int) -> int:
    """The length of a row of the column matrix: KH KW C/G, rounded up to a multiple of 8."""
    return ceil_div(win.kernel[0] * win.kernel[1] * cg, 8) * 8


def _window_args(x_shape: tuple[int, ...], out: Pair, first: int, cg: int, win: Window) -> tuple[int, ...]:
    """What im2col and col2im are told about the images x_shape (N,H,W,C) and the window."""
    return (*x_shape, first, cg, *out, *win.kernel, *win.stride, *win.padding, *win.dilation)


def _matrices(w: Array, win: Window) -> Array:
    """w (O,C/G,KH,KW) as the matrix (O, pitch) whose columns lie as those of the column matrix, zeros at the end."""
    O, cg = w.shape[:2]
    rows = w.transpose(0, 2, 3, 1).reshape(O, -1)  # (O, KH KW C/G)
    if rows.shape[1] == _pitch(win, cg):
        return rows
    matrix = backend.xp_of(w).zeros((O, _pitch(win, cg)), w.dtype)
    matrix[:, :rows.shape[1]] = rows
    return matrix


def _kept_columns(x: Array, win: Window, groups: int) -> list[Array] | None:
    """Room for the column matrix of each group, over the whole batch; None where the layer's would take more than
    KEPT_SHARE of the memory. The rule does not ask what is free at the moment: with the same limit, two runs keep the
    same and add up in the same order."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    pitch = _pitch(win, C // groups)
    size = N * OH * OW * pitch
    if size > LARGEST or groups * size * x.itemsize > KEPT_SHARE * backend.capacity():
        return None
    return [backend.xp_of(x).empty((N * OH * OW, pitch), x.dtype) for _ in range(groups)]


def _columns(x: Array, win: Window, groups: int,
             kept: list[Array] | None = None) -> Iterator[tuple[slice, int, Array]]:
    """im2col, a chunk of the batch and a group at a time: (rows of (N OH OW, O), group, column matrix). The matrix has
    the dtype of x, half precision under fp16 and bf16. It is overwritten by the next step (the device works through its
    queue in order), unless there is room in `kept`: then the batch is one chunk."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    cg = C // groups
    pitch = _pitch(win, cg)
    chunks = _chunks(N, OH * OW * pitch * x.itemsize) if kept is None else [(0, N)]
    if kept is None:
        most = max((stop - start for start, stop in chunks), default=0)
        buffer = backend.xp_of(x).empty((most * OH * OW, pitch), x.dtype)
    for start, stop in chunks:
        images = stop - start
        rows = slice(start * OH * OW, stop * OH * OW)
        for g in range(groups):
            col = buffer[:images * OH * OW] if kept is None else kept[g]
            launch("im2col", x, pitch, images * OH, (x[start:stop], col),
                   *_window_args((images, H, W, C), (OH, OW), g * cg, cg, win), pitch, OH * OW, 1)
            yield rows, g, col


def _add_bias(y: Array, b: Array) -> None:
    """y (rows, O) += b (O,)."""
    launch("add_bias", y, y.shape[1], y.shape[0], (b, y), *y.shape)


def conv2d_forward(x: Array, w: Array, b: Array | None, win: Window, groups: int,
                   keep: bool = True) -> tuple[Array, tuple]:
    """(y, saved): conv2d, and what conv2d_backward needs of it. `keep`: it will be asked for the weights' gradient."""
    xp = backend.xp_of(x, w, b)
    N, H, W, C = x.shape
    O = w.shape[0]
    y = xp.empty((N, *win.out(H, W), O), x.dtype)
    flat = y.reshape(-1, O)  # (N OH OW, O)
    images = factor(x)
    weights = factor(_matrices(w, win))
    back = way_back(images, weights)
    kept = _kept_columns(images.array, win, groups) if keep else None
    outs = group_slices(O, groups)
    for rows, g, col in _columns(images.array, win, groups, kept):
        multiply(col, weights.array[outs[g]].T, flat[rows, outs[g]], back)
    if b is not None:
        _add_bias(flat, b)
    x_saved = images.array if kept is None else None
    return y, (x_saved, images.largest, weights.array, weights.largest, *(kept or ()))


def conv2d_backward(gy: Array, saved: tuple, x_shape: tuple[int, ...], win: Window, groups: int,
                    needs: tuple[bool, ...]) -> tuple[Array | None, Array | None]:
    """(gx, gw) from what conv2d_forward saved, each None where `needs` says that nobody wants it."""
    x, x_largest, w, w_largest, *kept = saved
    images = Factor(x, x_largest)
    weights = Factor(w, w_largest)
    grads = factor(gy.reshape(-1, gy.shape[3]))  # (N OH OW, O)
    gx = _input_gradient(grads, weights, gy.shape, x_shape, gy.dtype, win, groups) if needs[0] else None
    gw = _weight_gradient(images, kept, grads, x_shape, gy.dtype, win, groups) if needs[1] else None
    return gx, gw


def _weight_gradient(images: Factor, kept: list[Array], grads: Factor, x_shape: tuple[int, ...], dtype: Any,
                     win: Window, groups: int) -> Array:
    """gw (O,C/G,KH,KW): the sum over chunks of gy^T @ col, in their order. Columns that were not kept are gathered
    again."""
    gy = grads.array  # (N OH OW, O)
    O = gy.shape[1]
    cg = x_shape[3] // groups
    total = backend.xp_of(gy).empty((O, _pitch(win, cg)), dtype)
    back = way_back(images, grads)
    outs = group_slices(O, groups)
    if kept:
        for g in range(groups):
            multiply(gy[:, outs[g]].T, kept[g], total[outs[g]], back)
    elif not len(gy):
        total[...] = 0
    else:
        for rows, g, col in _columns(images.array, win, groups):
            multiply(gy[rows, outs[g]].T, col, total[outs[g]], back, add=rows.start > 0)
    KH, KW = win.kernel
    return total[:, :KH * KW * cg].reshape(O, KH, KW, cg).transpose(0, 3, 1, 2)  # (O, pitch) -> (O, C/G, KH, KW)


def _input_gradient(grads: Factor, weights: Factor, gy_shape: tuple[int, ...], x_shape: tuple[int, ...], dtype: Any,
                    win: Window, groups: int) -> Array:
    """gx (N,H,W,C): gcol = gy @ w, and col2im adds up where each number came from. (At stride 1 `cpu` turns the kernel
    and convolves; here the sum is a gather anyway, and gcol is the smaller matrix where C/G < O/G.)"""
    gy = grads.array  # (N OH OW, O)
    xp = backend.xp_of(gy)
    N, H, W, C = x_shape
    _, OH, OW, O = gy_shape
    cg = C // groups
    pitch = _pitch(win, cg)
    outs = group_slices(O, groups)
    gx = xp.empty(x_shape, dtype)
    back = way_back(grads, weights)
    chunks = _chunks(N, OH * OW * pitch * gx.itemsize)
    most = max((stop - start for start, stop in chunks), default=0)
    buffer = xp.empty((most * OH * OW, pitch), dtype)
    for start, stop in chunks:
        images = stop - start
        rows = slice(start * OH * OW, stop * OH * OW)
        gcol = buffer[:images * OH * OW]
        for g in range(groups):
            multiply(gy[rows, outs[g]], weights.array[outs[g]], gcol, back)
            launch("col2im", gx, W * cg, images * H, (gcol, gx[start:stop]),
                   *_window_args((images, H, W, C), (OH, OW), g * cg, cg, win), pitch, OH * OW, 1)
    return gx


def conv2d(x: Array, w: Array, b: Array | None, win: Window, groups: int) -> Array:
    """y (N,OH,OW,O) of x (N,H,W,C), w (O,C/G,KH,KW), b (O,) or None: col @ w^T for each chunk and group."""
    return conv2d_forward(x, w, b, win, groups, keep=False)[0]


def conv2d_backward_weight(x: Array, gy: Array, win: Window, groups: int) -> Array:
    """gw (O,C/G,KH,KW) of the gradient gy (N,OH,OW,O) at images x (N,H,W,C)."""
    grads = factor(gy.reshape(-1, gy.shape[3]))  # (N OH OW, O)
    return _weight_gradient(factor(x), [], grads, x.shape, x.dtype, win, groups)


def conv2d_backward_input(gy: Array, w: Array, x_shape: tuple[int, ...], win: Window, groups: int) -> Array:
    """gx (N,H,W,C) of the gradient gy (N,OH,OW,O) at weights w (O,C/G,KH,KW)."""
    grads = factor(gy.reshape(-1, gy.shape[3]))  # (N OH OW, O)
    return _input_gradient(grads, factor(_matrices(w, win)), gy.shape, x_shape, gy.dtype, win, groups)


# locally connected
#
# A product for each place, all in one call. That is three-dimensional, so it runs in full float32 whatever
# backend.set_precision says; OH OW launches of little products would cost more than the tensor cores save.


def _places(x: Array, win: Window) -> Array:
    """im2col with the places first: (OH OW, N, KH KW C)."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    width = win.kernel[0] * win.kernel[1] * C
    col = backend.xp_of(x).empty((OH * OW, N, width), x.dtype)
    launch("im2col", x, width, N * OH, (x, col), *_window_args(x.shape, (OH, OW), 0, C, win), width, 1, N)
    return col


def locally_connected2d(x: Array, w: Array, b: Array | None, win: Window) -> Array:
    """y (N,OH,OW,O) with w (OH,OW,O,C,KH,KW) and b (OH,OW,O) or None: at each place window @ w^T."""
    xp = backend.xp_of(x, w, b)
    N, (OH, OW, O) = x.shape[0], w.shape[:3]
    matrices = w.transpose(0, 1, 4, 5, 3, 2).reshape(OH * OW, -1, O)
    y = xp.empty((N, OH, OW, O), x.dtype)
    y[...] = xp.matmul(_places(x, win), matrices).reshape(OH, OW, N, O).transpose(2, 0, 1, 3)
    if b is not None:
        y += b
    return y


def locally_connected2d_backward_weight(x: Array, gy: Array, win: Window) -> Array:
    """gw (OH,OW,O,C,KH,KW): at each place gy^T @ window."""
    N, OH, OW, O = gy.shape
    gys = gy.transpose(1, 2, 3, 0).reshape(OH * OW, O, N)
    gw = backend.xp_of(x, gy).matmul(gys, _places(x, win))
    return gw.reshape(OH, OW, O, *win.kernel, x.shape[3]).transpose(0, 1, 2, 5, 3, 4)


def locally_connected2d_backward_input(gy: Array, w: Array, x_shape: tuple[int, ...], win: Window) -> Array:
    """gx (N,H,W,C): gcol = gy @ w at each place, then col2im."""
    xp = backend.xp_of(gy, w)
    N, OH, OW, O = gy.shape
    H, W, C = x_shape[1:]
    gys = gy.transpose(1, 2, 0, 3).reshape(OH * OW, N, O)
    gcol = xp.matmul(gys, w.transpose(0, 1, 2, 4, 5, 3).reshape(OH * OW, O, -1))
    gx = xp.empty(x_shape, gy.dtype)
    launch("col2im", gy, W * C, N * H, (gcol, gx), *_window_args(x_shape, (OH, OW), 0, C, win), gcol.shape[2], 1, N)
    return gx


# pooling


def _pool_args(x_shape: tuple[int, ...], win: Window) -> tuple[int, ...]:
    return (*x_shape, *win.out(*x_shape[1:3]), *win.kernel, *win.stride, *win.padding)


def max_pool2d(x: Array, win: Window) -> tuple[Array, Array]:
    """y (N,OH,OW,C), and won (N,OH,OW,C): kh KW + kw of the winning tap in two bytes, 65535 for padding only."""
    xp = backend.xp_of(x)
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    if win.kernel[0] * win.kernel[1] > 65535:
        raise ShapeError(f"max_pool2d: a window of {win.kernel} has more than 65535 cells")
    y, won = xp.empty((N, OH, OW, C), x.dtype), xp.empty((N, OH, OW, C), np.uint16)
    launch("max_pool2d", x, OW * C, N * OH, (x, y, won), *_pool_args(x.shape, win), *win.dilation)
    return y, won


def max_pool2d_backward(gy: Array, saved: Array, x_shape: tuple[int, ...], win: Window) -> Array:
    """gx (N,H,W,C): each pixel collects from the windows it won."""
    N, H, W, C = x_shape
    gx = backend.xp_of(gy, saved).empty(x_shape, gy.dtype)
    launch("max_pool2d_backward", gy, C, N * H, (gy, saved, gx), *_pool_args(x_shape, win), *win.dilation)
    return gx


def avg_pool2d(x: Array, win: Window, count_include_pad: bool) -> Array:
    """y (N,OH,OW,C): each window's sum over its number of cells inside the image (and its padding, if counted)."""
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    y = backend.xp_of(x).empty((N, OH, OW, C), x.dtype)
    launch("avg_pool2d", x, OW * C, N * OH, (x, y), *_pool_args(x.shape, win), bool(count_include_pad))
    return y


def avg_pool2d_backward(gy: Array, x_shape: tuple[int, ...], win: Window, count_include_pad: bool) -> Array:
    """gx (N,H,W,C): each cell receives gy / cells from every window that saw it."""
    N, H, W, C = x_shape
    gx = backend.xp_of(gy).empty(x_shape, gy.dtype)
    launch("avg_pool2d_backward", gy, W * C, N * H, (gy, gx), *_pool_args(x_shape, win), bool(count_include_pad))
    return gx


# response normalisation


def lrn(x: Array, size: int, alpha: float, beta: float, k: float, groups: int) -> tuple[Array, Array]:
    """y = x scale^-beta with scale = k + alpha * (sum of x^2 over the channel window); returns (y, scale)."""
    xp, C = backend.xp_of(x), x.shape[3]
    y, scale = xp.empty_like(x), xp.empty_like(x)
    pixels = x.size // C
    launch("lrn", x, C, pixels, (x, y, scale), pixels, C, C // groups, size, float(alpha), float(beta), float(k))
    return y, scale


def lrn_backward(gy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float, groups: int) -> Array:
    """gx_i = gy_i scale_i^-beta - 2 alpha beta x_i sum_j gy_j x_j scale_j^(-beta-1), over the windows j that hold i."""
    gx, C = backend.xp_of(gy, x, scale).empty_like(x), x.shape[3]
    pixels = x.size // C
    launch("lrn_backward", x, C, pixels, (gy, x, scale, gx), pixels, C, C // groups, size, float(alpha), float(beta))
    return gx


def lrn_within(x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
    """y = x scale^-beta with scale = k + alpha * (sum of x^2 over a size x size window of the same map)."""
    xp = backend.xp_of(x)
    y, scale = xp.empty_like(x), xp.empty_like(x)
    launch("lrn_within", x, x.size, 1, (x, y, scale), *x.shape, size, float(alpha), float(beta), float(k))
    return y, scale


def lrn_within_backward(gy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """As lrn_backward, the sum running over the spatial windows that hold a cell."""
    gx = backend.xp_of(gy, x, scale).empty_like(x)
    launch("lrn_within_backward", x, x.size, 1, (gy, x, scale, gx), *x.shape, size, float(alpha), float(beta))
    return gx


# element by element


def _elementwise(name: str, *arrays: Array, args: tuple = ()) -> Array:
    """A new array of the kernel's results, element by element."""
    result = backend.xp_of(*arrays).empty_like(arrays[0])
    launch(name, result, result.size, 1, (*arrays, result), result.size, *args)
    return result


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return _elementwise("relu", x)


def relu_backward(gy: Array, y: Array) -> Array:
    """gx = gy where y > 0, else 0."""
    return _elementwise("relu_backward", gy, y)


def tanh(x: Array) -> Array:
    """y = tanh(x)."""
    return _elementwise("tanh_forward", x)


def tanh_backward(gy: Array, y: Array) -> Array:
    """gx = gy (1 - y^2)."""
    return _elementwise("tanh_backward", gy, y)


def dropout(x: Array, p: float, scale: float, key: tuple[int, int]) -> Array:
    """x scale where the hash of (key, element index) keeps the element, else 0; its own backward on gy."""
    words = np.uint64(int(p * 2**32)), float(scale), np.uint32(key[0]), np.uint32(key[1])
    return _elementwise("dropout", x, args=words)


def sgd(w: Array, g: Array, v: Array, lr: float, momentum: float, weight_decay: float, rule: str) -> None:
    """One step of momentum SGD in place on flat w and v.
    "2012":  v = m v - wd lr w - lr g,  w += v  (paper section 5).   "torch":  v = m v + g + wd w,  w -= lr v."""
    rates = float(lr), float(momentum), float(weight_decay)
    launch("sgd_2012" if rule == "2012" else "sgd_torch", w, w.size, 1, (w, g, v), w.size, *rates)


# fully connected, loss


def linear_forward(x: Array, w: Array, b: Array | None) -> tuple[Array, tuple]:
    """(y, saved): linear, and what linear_backward needs of it."""
    y = backend.xp_of(x, w, b).empty((len(x), len(w)), x.dtype)
    rows = factor(x)
    weights = factor(w)
    multiply(rows.array, weights.array.T, y, way_back(rows, weights))
    if b is not None:
        _add_bias(y, b)
    return y, (rows.array, rows.largest, weights.array, weights.largest)


def linear_backward(gy: Array, saved: tuple, needs: tuple[bool, ...]) -> tuple[Array | None, Array | None]:
    """(gx, gw) from what linear_forward saved, each None where `needs` says that nobody wants it."""
    rows = Factor(*saved[:2])
    weights = Factor(*saved[2:])
    grads = factor(gy)
    gx = _times(grads, weights, gy.dtype) if needs[0] else None
    gw = _times(grads, rows, gy.dtype, turned=True) if needs[1] else None
    return gx, gw


def _times(a: Factor, b: Factor, dtype: Any, turned: bool = False) -> Array:
    """a @ b, or a^T @ b if `turned`, as a new array."""
    left = a.array.T if turned else a.array
    out = backend.xp_of(left).empty((left.shape[0], b.array.shape[1]), dtype)
    return multiply(left, b.array, out, way_back(a, b))


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """y (N,O) = x (N,I) @ w^T + b."""
    return linear_forward(x, w, b)[0]


def linear_backward_input(gy: Array, w: Array) -> Array:
    """gx (N,I) = gy (N,O) @ w."""
    return _times(factor(gy), factor(w), gy.dtype)


def linear_backward_weight(gy: Array, x: Array) -> Array:
    """gw (O,I) = gy^T @ x."""
    return _times(factor(gy), factor(x), gy.dtype, turned=True)


def sum_rows(g: Array) -> Array:
    """The sum over all axes but the last: STEP rows a thread, and again until one row is left."""
    xp, step, O = backend.xp_of(g), 128, g.shape[-1]
    rows = g.reshape(-1, O)
    if not len(rows):
        return xp.zeros(O, g.dtype)
    while True:
        sums = xp.empty((ceil_div(len(rows), step), O), g.dtype)
        launch("sum_rows", g, O, len(sums), (rows, sums), len(rows), O, step)
        if len(sums) == 1:
            return sums[0]
        rows = sums


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """loss_n = -log softmax(logits_n)[label_n] (N,) and probabilities (N,K), shifted so that exp cannot overflow.
    A label outside 0..K-1 makes its loss NaN: to raise, one would have to wait for the device."""
    xp = backend.xp_of(logits, labels)
    N, K = logits.shape
    P = min(32, K)
    top, total = xp.empty((N, P), logits.dtype), xp.empty((N, P), logits.dtype)
    row_top, row_total, loss = (xp.empty(N, logits.dtype) for _ in range(3))
    probs = xp.empty_like(logits)
    launch("softmax_pieces", logits, N * P, 1, (logits, top, total), N, K, P)
    labels = labels.astype(np.int64, copy=False)
    launch("softmax_rows", logits, N, 1, (logits, labels, top, total, row_top, row_total, loss), N, K, P)
    launch("softmax_probabilities", logits, N * K, 1, (logits, row_top, row_total, probs), N, K)
    return loss, probs


def softmax_cross_entropy_backward(g: Array, probs: Array, labels: Array) -> Array:
    """glogits = g (probs - onehot(label)), with g (N,) the gradient of each loss."""
    xp = backend.xp_of(g, probs, labels)
    N, K = probs.shape
    glogits = xp.empty_like(probs)
    labels = labels.astype(np.int64, copy=False)
    launch("softmax_cross_entropy_backward", probs, N * K, 1, (g, probs, labels, glogits), N, K)
    return glogits


# input


def enlarge(images: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
    """(N, S, S, C) from images (N,H,W,C), both uint8: what data.enlarge makes of them, to the bit. `rows` and `columns`
    are the taps (first (S,), weights (S,2), both int32) of data.enlarge.bilinear_taps for H and W."""
    xp = backend.xp_of(images, *rows, *columns)
    N, H, W, C = images.shape
    size = len(rows[0])
    y = xp.empty((N, size, size, C), np.uint8)
    like = xp.empty(0, np.float32)  # bytes and integers only, but the kernels are compiled for a kind of number
    launch("enlarge", like, size * C, N * size, (images, y, *rows, *columns), N, H, W, C, size)
    return y


def augment(images: Array, size: Pair, rows: Array, cols: Array, flips: Array, mean: Array | None = None,
            shift: Array | None = None, divisor: float = 1.0, pad: int = 0, mean_follows_crop: bool = False) -> Array:
    """What data.transforms.Transform makes of a batch, from its draws, in one pass:

        (crop of images at (rows, cols), mirrored where flips  -  centre of mean  +  shift) / divisor

    images (N,H,W,C) uint8; size (rows, columns) of the crops, whose corners rows, cols (N,) int32 count from the border
    of `pad` zeros; flips (N,) uint8 or bool; mean (HM,WM,C) float32, at least as large as the crops; shift (N,C)
    float32, the colour noise, with divisor 1.1 in the 2012 code.  ->  (N, *size, C) float32

    With `mean_follows_crop` the window of the mean is not the central one: it lies where that of the image lies and is
    mirrored with it, and the mean (H,W,C) has the size of the images.
    """
    xp = backend.xp_of(images, rows, cols, flips, mean, shift)
    N, H, W, C = images.shape
    mean = xp.zeros((*size, C), np.float32) if mean is None else mean
    shift = xp.zeros((N, C), np.float32) if shift is None else shift
    top, left = ((have - want) // 2 for have, want in zip(mean.shape[:2], size, strict=True))
    if min(top, left) < 0:
        raise ShapeError(f"crops of {size} are larger than the mean image of {mean.shape[:2]}")
    if mean_follows_crop and mean.shape[:2] != (H, W):
        raise ShapeError(f"the mean image has {mean.shape[:2]} pixels, expected those of the images, {(H, W)}")
    x = xp.empty((N, *size, C), np.float32)
    flips = flips.astype(np.uint8, copy=False)
    launch("augment", x, size[1] * C, N * size[0], (images, x, rows, cols, flips, mean, shift),
           float(divisor), N, H, W, C, *size, pad, top, left, mean.shape[1], int(mean_follows_crop))
    return x
