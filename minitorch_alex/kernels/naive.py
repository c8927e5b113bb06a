"""Every kernel as loops straight from its formula: what the fast ones mean, and their oracle.

Nothing here is fast and nothing is clever. Two habits keep it easy to check against the formula:

* A forward is written for one output element: which inputs does it read?
* A backward is the same loop run the other way: for each output element, its gradient is *added*
  to every input that the forward read, times the derivative of that one step. This is the chain
  rule and no more (the scatter form). Fast kernels gather instead, for each input over its
  outputs: two derivations, one answer.

Arrays are NHWC and C-contiguous, weights (O,C/G,KH,KW); results have the dtype of `x` (`gy` in a
backward).

    N batch   C channels in   H W rows and columns in   O channels out   OH OW rows and columns out
    KH KW kernel   S stride   P padding   D dilation   G groups   gx gw gb gy gradients of x w b y
"""
import math
from collections.abc import Iterator

import numpy as np

from ..errors import UsageError
from .window import Window

# The sliding window


def cells(win: Window, oh: int, ow: int, H: int, W: int) -> Iterator[tuple[int, int, int, int]]:
    """The cells (kh, kw, ih, iw) of window (oh, ow) that lie inside an H x W image, row by row.

    Kernel cell (kh, kw) lies on the pixel (ih, iw) = (oh S - P + kh D, ow S - P + kw D). Cells in
    the padding, and those that a rounded-up output size puts past the right or bottom edge, are
    left out.
    """
    KH, KW = win.kernel
    SH, SW = win.stride
    PH, PW = win.padding
    DH, DW = win.dilation
    for kh in range(KH):
        for kw in range(KW):
            ih = oh * SH - PH + kh * DH
            iw = ow * SW - PW + kw * DW
            if 0 <= ih < H and 0 <= iw < W:
                yield kh, kw, ih, iw


# Convolution


def group_channels(o: int, O: int, Cg: int, groups: int) -> slice:
    """The Cg input channels that output channel `o` sees: those of its own group (Krizhevsky et
    al. 2012, 3.5 and Fig. 2: the second, fourth and fifth layers see only the maps that reside on
    the same GPU)."""
    g = o // (O // groups)
    return slice(g * Cg, (g + 1) * Cg)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
           groups: int) -> np.ndarray:
    """y[n,oh,ow,o] = b[o] + sum_{kh,kw,c} x[n, oh S - P + kh D, ow S - P + kw D, c] w[o,c,kh,kw].

    x is zero outside the image, and o sees the channels c of its group. This is the
    cross-correlation that PyTorch, Caffe and cuda-convnet all call convolution: the kernel is not
    flipped.
    x (N,H,W,C)  w (O,C/G,KH,KW)  b (O,) or None  ->  y (N,OH,OW,O)
    """
    N, H, W, C = x.shape
    O, Cg, KH, KW = w.shape
    OH, OW = win.out(H, W)
    y = np.zeros((N, OH, OW, O), x.dtype)
    for n, oh, ow, o in np.ndindex(N, OH, OW, O):
        seen = group_channels(o, O, Cg, groups)
        for kh, kw, ih, iw in cells(win, oh, ow, H, W):
            y[n, oh, ow, o] += np.dot(x[n, ih, iw, seen], w[o, :, kh, kw])
        if b is not None:
            y[n, oh, ow, o] += b[o]
    return y


def conv2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """gw[o,c,kh,kw] += gy[n,oh,ow,o] x[n,ih,iw,c]: each weight collects the pixels it was
    multiplied with.

    x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (O,C/G,KH,KW)
    """
    N, H, W, C = x.shape
    N, OH, OW, O = gy.shape
    Cg = C // groups
    gw = np.zeros((O, Cg, *win.kernel), gy.dtype)
    for n, oh, ow, o in np.ndindex(N, OH, OW, O):
        seen = group_channels(o, O, Cg, groups)
        for kh, kw, ih, iw in cells(win, oh, ow, H, W):
            gw[o, :, kh, kw] += gy[n, oh, ow, o] * x[n, ih, iw, seen]
    return gw


def conv2d_backward_input(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], win: Window,
                          groups: int) -> np.ndarray:
    """gx[n,ih,iw,c] += gy[n,oh,ow,o] w[o,c,kh,kw]: each pixel collects the weights it was
    multiplied with.

    gy (N,OH,OW,O)  w (O,C/G,KH,KW)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, H, W, C = x_shape
    N, OH, OW, O = gy.shape
    gx = np.zeros(x_shape, gy.dtype)
    for n, oh, ow, o in np.ndindex(N, OH, OW, O):
        seen = group_channels(o, O, C // groups, groups)
        for kh, kw, ih, iw in cells(win, oh, ow, H, W):
            gx[n, ih, iw, seen] += gy[n, oh, ow, o] * w[o, :, kh, kw]
    return gx


# Locally connected


def locally_connected2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None,
                        win: Window) -> np.ndarray:
    """A convolution that shares no weights: each output position has its own kernel and bias.

    y[n,oh,ow,o] = b[oh,ow,o] + sum_{kh,kw,c} x[n,ih,iw,c] w[oh,ow,o,c,kh,kw]
    This is cuda-convnet's `local` layer.
    x (N,H,W,C)  w (OH,OW,O,C,KH,KW)  b (OH,OW,O) or None  ->  y (N,OH,OW,O)
    """
    N, H, W, C = x.shape
    OH, OW, O = w.shape[:3]
    y = np.zeros((N, OH, OW, O), x.dtype)
    for n, oh, ow, o in np.ndindex(N, OH, OW, O):
        for kh, kw, ih, iw in cells(win, oh, ow, H, W):
            y[n, oh, ow, o] += np.dot(x[n, ih, iw], w[oh, ow, o, :, kh, kw])
        if b is not None:
            y[n, oh, ow, o] += b[oh, ow, o]
    return y


def locally_connected2d_backward_weight(x: np.ndarray, gy: np.ndarray, win: Window) -> np.ndarray:
    """gw[oh,ow,o,c,kh,kw] += gy[n,oh,ow,o] x[n,ih,iw,c]: a sum over the batch only.

    x (N,H,W,C)  gy (N,OH,OW,O)  ->  gw (OH,OW,O,C,KH,KW)
    """
    N, H, W, C = x.shape
    N, OH, OW, O = gy.shape
    gw = np.zeros((OH, OW, O, C, *win.kernel), gy.dtype)
    for n, oh, ow, o in np.ndindex(N, OH, OW, O):
        for kh, kw, ih, iw in cells(win, oh, ow, H, W):
            gw[oh, ow, o, :, kh, kw] += gy[n, oh, ow, o] * x[n, ih, iw]
    return gw


def locally_connected2d_backward_input(gy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...],
                                       win: Window) -> np.ndarray:
    """gx[n,ih,iw,c] += gy[n,oh,ow,o] w[oh,ow,o,c,kh,kw].

    gy (N,OH,OW,O)  w (OH,OW,O,C,KH,KW)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, H, W, C = x_shape
    N, OH, OW, O = gy.shape
    gx = np.zeros(x_shape, gy.dtype)
    for n, oh, ow, o in np.ndindex(N, OH, OW, O):
        for kh, kw, ih, iw in cells(win, oh, ow, H, W):
            gx[n, ih, iw] += gy[n, oh, ow, o] * w[oh, ow, o, :, kh, kw]
    return gx


# Pooling


def max_pool2d(x: np.ndarray, win: Window) -> tuple[np.ndarray, np.ndarray]:
    """y[n,oh,ow,c] = the largest x[n,ih,iw,c] of the window; of equal ones the first, row by row.

    So does PyTorch. Padding is never read, which is the same as padding with -inf (zeros would win
    at the border of an image of negative values). A NaN wins, so that pooling does not hide a
    diverged net.
    x (N,H,W,C)  ->  y (N,OH,OW,C), saved (N,OH,OW,C,2): the winner's row and column, or -1
    """
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    y = np.full((N, OH, OW, C), -np.inf, x.dtype)
    saved = np.full((N, OH, OW, C, 2), -1)
    for n, oh, ow, c in np.ndindex(N, OH, OW, C):
        is_first = True
        for _, _, ih, iw in cells(win, oh, ow, H, W):
            value = x[n, ih, iw, c]
            if is_first or value > y[n, oh, ow, c] or np.isnan(value):
                y[n, oh, ow, c] = value
                saved[n, oh, ow, c] = ih, iw
                is_first = False
    return y, saved


def max_pool2d_backward(gy: np.ndarray, saved: np.ndarray, x_shape: tuple[int, ...],
                        win: Window) -> np.ndarray:
    """gx[n, winner of (oh,ow), c] += gy[n,oh,ow,c]: the winner of each window takes all.

    gy (N,OH,OW,C)  saved (N,OH,OW,C,2)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    gx = np.zeros(x_shape, gy.dtype)
    for n, oh, ow, c in np.ndindex(gy.shape):
        ih, iw = saved[n, oh, ow, c]
        if ih >= 0:
            gx[n, ih, iw, c] += gy[n, oh, ow, c]
    return gx


def average_divisor(win: Window, oh: int, ow: int, H: int, W: int, count_include_pad: bool) -> int:
    """How many cells of window (oh, ow) count: those on the image (cuda-convnet's `AvgPooler`),
    or, with `count_include_pad`, those on the image and its padding (PyTorch). Cells past that
    never count."""
    KH, KW = win.kernel
    SH, SW = win.stride
    PH, PW = win.padding
    rim_h, rim_w = win.padding if count_include_pad else (0, 0)
    rows = sum(-rim_h <= oh * SH - PH + kh < H + rim_h for kh in range(KH))
    columns = sum(-rim_w <= ow * SW - PW + kw < W + rim_w for kw in range(KW))
    return rows * columns


def avg_pool2d(x: np.ndarray, win: Window, count_include_pad: bool) -> np.ndarray:
    """y[n,oh,ow,c] = sum of the window's pixels / `average_divisor`. Dilation is 1.

    x (N,H,W,C)  ->  y (N,OH,OW,C)
    """
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    y = np.zeros((N, OH, OW, C), x.dtype)
    for n, oh, ow in np.ndindex(N, OH, OW):
        divisor = average_divisor(win, oh, ow, H, W, count_include_pad)
        for _, _, ih, iw in cells(win, oh, ow, H, W):
            y[n, oh, ow] += x[n, ih, iw] / divisor
    return y


def avg_pool2d_backward(gy: np.ndarray, x_shape: tuple[int, ...], win: Window,
                        count_include_pad: bool) -> np.ndarray:
    """gx[n,ih,iw,c] += gy[n,oh,ow,c] / `average_divisor`.

    gy (N,OH,OW,C)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, H, W, C = x_shape
    N, OH, OW, C = gy.shape
    gx = np.zeros(x_shape, gy.dtype)
    for n, oh, ow in np.ndindex(N, OH, OW):
        divisor = average_divisor(win, oh, ow, H, W, count_include_pad)
        for _, _, ih, iw in cells(win, oh, ow, H, W):
            gx[n, ih, iw] += gy[n, oh, ow] / divisor
    return gx


# Response normalization


def window_around(i: int, size: int, first: int, stop: int) -> range:
    """The `size` neighbours of i from i - size//2 on, clipped to first ... stop - 1.

    An even window leans to the left, as in cuda-convnet (`kFCNorm`, conv_util.cu) and PyTorch.
    """
    left = i - size // 2
    return range(max(left, first), min(left + size, stop))


def channel_window(i: int, size: int, C: int, groups: int) -> range:
    """`window_around` channel i inside i's group: in 2012 none crossed from one GPU's maps to the
    other's."""
    Cg = C // groups
    first = i // Cg * Cg
    return window_around(i, size, first, first + Cg)


def lrn(x: np.ndarray, size: int, alpha: float, beta: float, k: float,
        groups: int) -> tuple[np.ndarray, np.ndarray]:
    """y_i = x_i scale_i^-beta,   scale_i = k + alpha sum_{j in window(i)} x_j^2,   per pixel.

    Krizhevsky et al. 2012, 3.3. `alpha` multiplies the plain sum as in the paper's formula; the
    2012 code and PyTorch divide alpha by size first, which is the caller's business.
    x (N,H,W,C)  ->  y (N,H,W,C), scale (N,H,W,C)
    """
    C = x.shape[-1]
    y = np.zeros_like(x)
    scale = np.zeros_like(x)
    for n, h, w, i in np.ndindex(x.shape):
        total = sum(x[n, h, w, j] ** 2 for j in channel_window(i, size, C, groups))
        scale[n, h, w, i] = k + alpha * total
        y[n, h, w, i] = x[n, h, w, i] * scale[n, h, w, i] ** -beta
    return y, scale


def lrn_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float,
                 beta: float, groups: int) -> np.ndarray:
    """y_i depends on x_i itself and, through scale_i, on every x_j of its window (x_i among them):

    gx_i += gy_i scale_i^-beta
    gx_j += gy_i x_i (-beta) scale_i^(-beta-1) 2 alpha x_j      for j in window(i)

    gy, x, scale (N,H,W,C)  ->  gx (N,H,W,C)
    """
    C = x.shape[-1]
    gx = np.zeros_like(x)
    for n, h, w, i in np.ndindex(x.shape):
        s = scale[n, h, w, i]
        gx[n, h, w, i] += gy[n, h, w, i] * s ** -beta
        through_scale = gy[n, h, w, i] * x[n, h, w, i] * -beta * s ** (-beta - 1)
        for j in channel_window(i, size, C, groups):
            gx[n, h, w, j] += through_scale * 2 * alpha * x[n, h, w, j]
    return gx


def lrn_within(x: np.ndarray, size: int, alpha: float, beta: float,
               k: float) -> tuple[np.ndarray, np.ndarray]:
    """`lrn` over a size x size square of pixels of one channel: the `rnorm` of cuda-convnet.

    y[h,w] = x[h,w] scale[h,w]^-beta
    scale[h,w] = k + alpha sum_{ih in window(h), iw in window(w)} x[ih,iw]^2
    x (N,H,W,C)  ->  y (N,H,W,C), scale (N,H,W,C)
    """
    N, H, W, C = x.shape
    y = np.zeros_like(x)
    scale = np.zeros_like(x)
    for n, h, w, c in np.ndindex(x.shape):
        total = sum(x[n, ih, iw, c] ** 2
                    for ih in window_around(h, size, 0, H) for iw in window_around(w, size, 0, W))
        scale[n, h, w, c] = k + alpha * total
        y[n, h, w, c] = x[n, h, w, c] * scale[n, h, w, c] ** -beta
    return y, scale


def lrn_within_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float,
                        beta: float) -> np.ndarray:
    """As `lrn_backward`, with the square of pixels for the window.

    gy, x, scale (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, H, W, C = x.shape
    gx = np.zeros_like(x)
    for n, h, w, c in np.ndindex(x.shape):
        s = scale[n, h, w, c]
        gx[n, h, w, c] += gy[n, h, w, c] * s ** -beta
        through_scale = gy[n, h, w, c] * x[n, h, w, c] * -beta * s ** (-beta - 1)
        for ih in window_around(h, size, 0, H):
            for iw in window_around(w, size, 0, W):
                gx[n, ih, iw, c] += through_scale * 2 * alpha * x[n, ih, iw, c]
    return gx


# Activations


def relu(x: np.ndarray) -> np.ndarray:
    """y = max(x, 0), element by element (Krizhevsky et al. 2012, 3.1). NaN stays. Any shape."""
    y = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        y[index] = 0 if x[index] < 0 else x[index]
    return y


def relu_backward(gy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """gx = 0 where y <= 0, else gy; the kink at 0 counts as flat and NaN passes, as in PyTorch.
    Any shape."""
    gx = np.zeros_like(gy)
    for index in np.ndindex(y.shape):
        gx[index] = 0 if y[index] <= 0 else gy[index]
    return gx


def tanh(x: np.ndarray) -> np.ndarray:
    """y = tanh(x), the unit that the paper's Fig. 1 races against ReLU. Any shape."""
    y = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        y[index] = math.tanh(x[index])
    return y


def tanh_backward(gy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """gx = gy (1 - y^2), since tanh' = 1 - tanh^2. Any shape."""
    gx = np.zeros_like(gy)
    for index in np.ndindex(y.shape):
        gx[index] = gy[index] * (1 - y[index] ** 2)
    return gx


# Dropout

WORD = 0xFFFFFFFF  # the hash works in 32-bit unsigned words: `& WORD` keeps the low 32 bits


def dropout_hash(i: int, key: tuple[int, int]) -> int:
    """A 32-bit word that looks random but depends on `key` and the element's number `i` only: the
    finalizer of MurmurHash3 (`fmix32`), one word of the key mixed in before it and the other in
    its middle."""
    h = (i * 0x9E3779B1 + key[0]) & WORD
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & WORD
    h ^= h >> 13
    h = (h + key[1]) & WORD
    h = (h * 0xC2B2AE35) & WORD
    h ^= h >> 16
    return h


def dropout(x: np.ndarray, p: float, scale: float, key: tuple[int, int]) -> np.ndarray:
    """y_i = x_i scale with probability 1 - p, else 0 (Krizhevsky et al. 2012, 4.2).

    Element i (in C order) is kept when its hash is at least floor(p 2^32): nothing is drawn or
    stored, the same key gives the same mask again. Linear in x, so the backward is this very call
    on gy. Any shape.
    """
    threshold = math.floor(p * 2 ** 32)
    y = np.zeros_like(x)
    for i, index in enumerate(np.ndindex(x.shape)):
        if dropout_hash(i, key) >= threshold:
            y[index] = x[index] * scale
    return y


# Fully connected


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """y[n,o] = b[o] + sum_i x[n,i] w[o,i].

    x (N,I)  w (O,I)  b (O,) or None  ->  y (N,O)
    """
    N = x.shape[0]
    O = w.shape[0]
    y = np.zeros((N, O), x.dtype)
    for n, o in np.ndindex(N, O):
        y[n, o] = np.dot(x[n], w[o]) + (0 if b is None else b[o])
    return y


def linear_backward_input(gy: np.ndarray, w: np.ndarray) -> np.ndarray:
    """gx[n,i] += gy[n,o] w[o,i].

    gy (N,O)  w (O,I)  ->  gx (N,I)
    """
    gx = np.zeros((gy.shape[0], w.shape[1]), gy.dtype)
    for n, o in np.ndindex(gy.shape):
        gx[n] += gy[n, o] * w[o]
    return gx


def linear_backward_weight(gy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """gw[o,i] += gy[n,o] x[n,i].

    gy (N,O)  x (N,I)  ->  gw (O,I)
    """
    gw = np.zeros((gy.shape[1], x.shape[1]), gy.dtype)
    for n, o in np.ndindex(gy.shape):
        gw[o] += gy[n, o] * x[n]
    return gw


def sum_rows(g: np.ndarray) -> np.ndarray:
    """gb[o] += g[...,o]: a bias was added to every row (every pixel of every image), so it
    collects from all.

    g (..., O)  ->  (O,)
    """
    total = np.zeros(g.shape[-1], g.dtype)
    for index in np.ndindex(g.shape[:-1]):
        total += g[index]
    return total


# Loss


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """probs[n,j] = exp(z[n,j]) / sum_i exp(z[n,i]);   loss[n] = -log probs[n,label].

    Multinomial logistic regression (Krizhevsky et al. 2012, 3.5). The largest logit is taken off
    first, which changes nothing but keeps exp from overflowing; the loss is log(sum exp) -
    z[label], so that a probability that rounds to 0 still costs a finite number. The caller has
    checked the labels.
    logits (N,K)  labels (N,) integers  ->  loss (N,), probs (N,K)
    """
    N, K = logits.shape
    loss = np.zeros(N, logits.dtype)
    probs = np.zeros_like(logits)
    for n in range(N):
        z = logits[n] - logits[n].max()
        total = sum(math.exp(z[j]) for j in range(K))
        for j in range(K):
            probs[n, j] = math.exp(z[j]) / total
        loss[n] = math.log(total) - z[labels[n]]
    return loss, probs


def softmax_cross_entropy_backward(g: np.ndarray, probs: np.ndarray,
                                   labels: np.ndarray) -> np.ndarray:
    """d loss[n] / d z[n,j] = probs[n,j] - (1 if j is the label), times g[n], the loss's gradient.

    g (N,)  probs (N,K)  labels (N,)  ->  glogits (N,K)
    """
    glogits = np.zeros_like(probs)
    for n, j in np.ndindex(probs.shape):
        glogits[n, j] = g[n] * (probs[n, j] - (j == labels[n]))
    return glogits


# Update


def sgd(w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float,
        weight_decay: float, rule: str) -> None:
    """One step of gradient descent with momentum, in place on weights w and velocities v (1-D).

    "2012"   v := m v - wd lr w - lr g;   w := w + v        (Krizhevsky et al. 2012, 5)
    "torch"  v := m v + g + wd w;         w := w - lr v     (torch.optim.SGD)
    "nesterov"  v as in "torch";          w := w - lr (g + wd w + m v)

    The first two take the same steps while lr stays the same, and part when it changes.
    Raises UsageError for another rule.
    """
    for i in range(w.shape[0]):
        if rule == "2012":
            v[i] = momentum * v[i] - weight_decay * lr * w[i] - lr * g[i]
            w[i] = w[i] + v[i]
        elif rule == "torch":
            v[i] = momentum * v[i] + g[i] + weight_decay * w[i]
            w[i] = w[i] - lr * v[i]
        elif rule == "nesterov":
            step = g[i] + weight_decay * w[i]
            v[i] = momentum * v[i] + step
            w[i] = w[i] - lr * (step + momentum * v[i])
        else:
            raise UsageError(f"sgd: got rule {rule!r}, expected '2012', 'torch' or 'nesterov'")
