"""The kernels in families: which there are, and what goes into them.

Each family calls its kernels from module `k` on what `draw` gives, and yields the results. Two
implementations draw in the same order, so they get the same numbers.
"""
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import streams
from ..kernels import Window

Array = Any  # of the backend that is tested


class Draws:
    """Inputs of kernels: the same numbers each time, put where they are needed.

    They are float32 values in any dtype, so that a reference in float64 gets the same numbers.
    """

    def __init__(self, seed: int, put: Callable[[np.ndarray], Array], dtype: type) -> None:
        self.rng = streams.rng(0, "selftest", seed)
        self.put = put
        self.dtype = dtype

    def __call__(self, *shape: int) -> Array:
        """Normal numbers."""
        return self.put(self.rng.standard_normal(shape, np.float32).astype(self.dtype))

    def number(self, low: int, high: int) -> int:
        """One of low ... high."""
        return int(self.rng.integers(low, high + 1))

    def labels(self, n: int, classes: int) -> Array:
        """n integers in 0 ... classes - 1."""
        return self.put(self.rng.integers(0, classes, n))

    def window(self, dilated: bool = True) -> tuple[Window, tuple[int, int, int]]:
        """A window, and (N, H, W) of images that it fits into."""
        KH = self.number(1, 4)
        KW = self.number(2, 4)
        stride = self.number(1, 3)
        padding = self.number(0, KH // 2), self.number(0, KW // 2)
        dilation = self.number(1, 2) if dilated else 1
        ceil_mode = bool(self.number(0, 1))
        win = Window.of((KH, KW), stride, padding, dilation, ceil_mode)
        # 7: a window of 4 with dilation 2 covers 4 + 3 pixels
        return win, (self.number(1, 3), self.number(7, 10), self.number(7, 10))


def convolution(k: Any, draw: Draws) -> Iterator[Array]:
    win, (N, H, W) = draw.window()
    groups = draw.number(1, 2)
    C = groups * draw.number(1, 3)
    O = groups * draw.number(1, 4)
    x = draw(N, H, W, C)
    w = draw(O, C // groups, *win.kernel)
    b = draw(O)
    y = k.conv2d(x, w, b, win, groups)
    yield y
    gy = draw(*y.shape)
    yield k.conv2d(x, w, None, win, groups)
    yield k.conv2d_backward_weight(x, gy, win, groups)
    yield k.conv2d_backward_input(gy, w, x.shape, win, groups)


def locally_connected(k: Any, draw: Draws) -> Iterator[Array]:
    win, (N, H, W) = draw.window()
    C = draw.number(1, 3)
    O = draw.number(1, 3)
    OH, OW = win.out(H, W)
    x = draw(N, H, W, C)
    w = draw(OH, OW, O, C, *win.kernel)
    b = draw(OH, OW, O)
    y = k.locally_connected2d(x, w, b, win)
    yield y
    gy = draw(*y.shape)
    yield k.locally_connected2d_backward_weight(x, gy, win)
    yield k.locally_connected2d_backward_input(gy, w, x.shape, win)


def pools(k: Any, draw: Draws) -> Iterator[Array]:
    win, (N, H, W) = draw.window(dilated=False)
    x = draw(N, H, W, draw.number(1, 5))
    count_include_pad = bool(draw.number(0, 1))
    # The winners are not compared: each implementation keeps them in a form of its own.
    y, winners = k.max_pool2d(x, win)
    yield y
    gy = draw(*y.shape)
    yield k.max_pool2d_backward(gy, winners, x.shape, win)
    yield k.avg_pool2d(x, win, count_include_pad)
    yield k.avg_pool2d_backward(gy, x.shape, win, count_include_pad)


def normalisation(k: Any, draw: Draws) -> Iterator[Array]:
    x = draw(2, draw.number(3, 7), draw.number(3, 7), 2 * draw.number(1, 5))
    gy = draw(*x.shape)
    size = draw.number(1, 6)
    groups = draw.number(1, 2)
    # alpha 0.5: with the paper's 1e-4, scale would hardly differ from k, whatever the sum is
    y, scale = k.lrn(x, size, 0.5, 0.75, 2.0, groups)
    yield from (y, scale)
    yield k.lrn_backward(gy, x, scale, size, 0.5, 0.75, groups)
    y, scale = k.lrn_within(x, size, 0.5, 0.6, 1.0)
    yield from (y, scale)
    yield k.lrn_within_backward(gy, x, scale, size, 0.5, 0.6)


def activations(k: Any, draw: Draws) -> Iterator[Array]:
    n = draw.number(1, 5000)
    x = draw(n)
    gy = draw(n)
    # Both gradients are computed from y.
    for forward, backward in ((k.relu, k.relu_backward), (k.tanh, k.tanh_backward)):
        y = forward(x)
        yield y
        yield backward(gy, y)


def dropout(k: Any, draw: Draws) -> Iterator[Array]:
    x = draw(draw.number(1, 5000))
    p = draw.number(0, 8) / 8  # 0 and 1 too: all kept, none kept
    key = draw.number(0, 2**32 - 1), 7
    yield k.dropout(x, p, 1.5, key)


def fully_connected(k: Any, draw: Draws) -> Iterator[Array]:
    N = draw.number(1, 20)
    I = draw.number(1, 60)
    O = draw.number(1, 40)
    x = draw(N, I)
    w = draw(O, I)
    gy = draw(N, O)
    yield k.linear(x, w, draw(O))  # with a bias, and without
    yield k.linear(x, w, None)
    yield k.linear_backward_input(gy, w)
    yield k.linear_backward_weight(gy, x)
    yield k.sum_rows(draw(draw.number(1, 400), O))


def loss(k: Any, draw: Draws) -> Iterator[Array]:
    N = draw.number(1, 20)
    K = draw.number(2, 90)
    labels = draw.labels(N, K)
    losses, probs = k.softmax_cross_entropy(draw(N, K), labels)
    yield from (losses, probs)
    yield k.softmax_cross_entropy_backward(draw(N), probs, labels)


def update(k: Any, draw: Draws) -> Iterator[Array]:
    M = draw.number(1, 3000)
    for rule in ("2012", "torch"):
        w = draw(M)
        g = draw(M)
        v = draw(M)
        k.sgd(w, g, v, 0.1, 0.9, 5e-4, rule)  # writes into w and v
        yield from (w, v)


Family = Callable[[Any, Draws], Iterator[Array]]
FAMILIES: tuple[Family, ...] = (convolution, locally_connected, pools, normalisation, activations,
                                dropout, fully_connected, loss, update)
