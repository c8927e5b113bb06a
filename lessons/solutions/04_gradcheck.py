"""Lesson 4, gradients checked: the solutions. Read them after yours pass the check."""
from collections.abc import Callable, Sequence

import numpy as np

from minitorch_alex.check import yours


def conv2d_backward(gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int,
                    groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """4.1: the gradients of x, w and b of a convolution: gx (N,C,H,W), gw (O,C/groups,KH,KW), gb
    (O,).

    Commentary: as a matrix product, Y = X W^T, a convolution has the gradients of a linear layer:
    G^T X for the weights, G W for the columns. The only special thing about it is im2col before
    and col2im after, and col2im is where pixels that several windows share collect their sum. The
    transposition before the reshape decides: gy is (N,O,OH,OW) and the rows of the matrix are
    places, so O has to go last first; without it the shapes still fit, and everything but gb is
    wrong. The bias has been added at each place of each image, so its gradient is a sum over all
    of them, never a mean: if the loss is a mean, the division has happened in the loss.
    """
    im2col = yours("02", "im2col")
    col2im = yours("02", "col2im")
    O, Cg, KH, KW = w.shape
    Og = O // groups
    gx = np.empty_like(x)
    gw = np.empty_like(w)
    for g in range(groups):
        seen = slice(g * Cg, (g + 1) * Cg)
        made = slice(g * Og, (g + 1) * Og)
        # (N, O/G, OH, OW) -> (N*OH*OW, O/G): one row per place
        places = gy[:, made].transpose(0, 2, 3, 1).reshape(-1, Og)
        cols = im2col(x[:, seen], KH, KW, stride, padding)  # (N*OH*OW, C/G*KH*KW)
        gw[made] = (places.T @ cols).reshape(Og, Cg, KH, KW)
        gcols = places @ w[made].reshape(Og, -1)  # (N*OH*OW, C/G*KH*KW)
        gx[:, seen] = col2im(gcols, x[:, seen].shape, KH, KW, stride, padding)
    gb = gy.sum(axis=(0, 2, 3))
    return gx, gw, gb


def max_pool2d_backward(gy: np.ndarray, x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """4.2: the gradient of x of a max pooling: gx (N,C,H,W).

    Commentary: the winner takes all, and where windows overlap a pixel may win several times: its
    gradients add up. That is the whole difference between 2/2 and 3/2, and = for += is the bug
    that a test with 2/2 never sees. argmax gives the first of equal values, in the order in which
    the window is flattened: reading order, as promised. Ties are not rare: after a ReLU whole
    windows are 0, and if every cell that equals the maximum took the gradient, it would be counted
    nine times.
    """
    N, C, OH, OW = gy.shape
    n, c = np.ogrid[:N, :C]
    gx = np.zeros_like(x)
    for oh, ow in np.ndindex(OH, OW):
        top = oh * stride
        left = ow * stride
        # (N, C, size, size) -> (N, C, size*size), in reading order
        window = x[:, :, top:top + size, left:left + size].reshape(N, C, -1)
        kh, kw = np.divmod(window.argmax(axis=2), size)  # (N, C) each
        gx[n, c, top + kh, left + kw] += gy[:, :, oh, ow]
    return gx


def gradient_is_right(
    forward: Callable[..., np.ndarray],
    backward: Callable[..., tuple[np.ndarray, ...]],
    inputs: Sequence[np.ndarray],
) -> bool:
    """4.3: whether backward gives the gradients of forward at these inputs.

    Commentary: five decisions, and each of them lets a bug through if it is made differently. The
    cotangent is drawn at random, because errors that sum to zero vanish under ones. All inputs and
    all their elements are looked at. The shapes are compared before the numbers, because NumPy
    would broadcast (1,4) with (4,) without an error. The comparison is `not all <=` and not `any
    >`, because NaN is neither. And the tolerance has three parts: 1e-6 of the value, four orders
    of magnitude above what right code shows and fine enough for LRN at alpha 1e-4; 1e-9 for a
    gradient that is zero; and the rounding of the forward pass, divided by eps as the difference
    divides it, for large values. Differences are taken to both sides: to one side only, their own
    error is of order eps.
    """
    inputs = [np.array(x) for x in inputs]
    y = forward(*inputs)
    cotangent = np.random.default_rng(0).standard_normal(y.shape)
    eps = 1e-5
    rounding = 4 * np.finfo(np.float64).eps * np.abs(y * cotangent).sum() / eps
    gradients = backward(cotangent.copy(), *inputs)
    for i, (x, gx) in enumerate(zip(inputs, gradients)):
        if np.shape(gx) != x.shape:
            return False
        numeric = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            value = []
            for step in (eps, -eps):
                moved = x.copy()
                moved[index] += step
                value.append((forward(*inputs[:i], moved, *inputs[i + 1:]) * cotangent).sum())
            numeric[index] = (value[0] - value[1]) / (2 * eps)
        allowed = 1e-9 + rounding + 1e-6 * np.maximum(np.abs(gx), np.abs(numeric))
        if not (np.abs(gx - numeric) <= allowed).all():
            return False
    return True
