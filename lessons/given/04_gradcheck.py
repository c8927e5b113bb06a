"""Lesson 4, gradients checked: the exercises.

    python -m minitorch_alex.check 04            are they right?
    python -m minitorch_alex.check 4.3 --hint    a nudge

Arrays are NumPy's, float64 in the checks, and results have the dtype of what comes in. N images, C
channels, H x W pixels, O kernels, OH x OW places; gx gw gb gy are the gradients of x, w, b, y.
"""
from collections.abc import Callable, Sequence

import numpy as np

from minitorch_alex.check import yours  # noqa: F401  (4.1 needs it)


def conv2d_backward(gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int,
                    groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """4.1: the gradients (gx, gw, gb) of the convolution y = conv2d(x, w, b, stride, padding,
    groups) of lesson 2.

    gy (N,O,OH,OW) is the gradient of y; x (N,C,H,W) and w (O,C/groups,KH,KW) are the inputs.
    Return gx (N,C,H,W), gw (O,C/groups,KH,KW), gb (O,). From section 1: with the columns X
    (N*OH*OW, C*KH*KW) of im2col, the kernels as a matrix W (O, C*KH*KW), and gy as a matrix G
    (N*OH*OW, O) with its rows in the same order as those of X

        gW = G^T X
        gX = G W, then gx = col2im of gX
        gb[o] = sum of gy over n, oh, ow

    With groups this holds for each group separately: group g has the input channels from
    g*C/groups on, and the kernels from g*O/groups on. Use your own functions of lesson 2 (until
    they pass, you get the solution's):

        im2col = yours("02", "im2col")   im2col(x, KH, KW, stride, padding)
                                             -> (N*OH*OW, C*KH*KW)
        col2im = yours("02", "col2im")   col2im(cols, x_shape, KH, KW, stride, padding)
                                             -> (N,C,H,W)

    (inside the function: it looks your code up at that moment). For example, with stride 1,
    padding 0, groups 1:

        x = 1 2 3    w = 1 2    gy =   1   10    gx =   1   12   20    gw = 5421 6532    gb = 1111
            4 5 6        3 4         100 1000         103 1234 2040         8754 9865
            7 8 9                                     300 3400 4000
    """
    raise NotImplementedError("exercise 4.1: conv2d_backward")


def max_pool2d_backward(gy: np.ndarray, x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """4.2: the gradient gx (N,C,H,W) of y = max over windows of size x size pixels, `stride`
    apart, without padding.

    gy (N,C,OH,OW) is the gradient of y, x (N,C,H,W) the input. The window of (oh, ow) covers the
    `size` rows from oh*stride on and the `size` columns from ow*stride on. Its gradient goes to
    the pixel that has the largest value; if several are equal, to the first in reading order (row
    by row). A pixel that wins several windows gets the sum, one that wins none gets 0. The last
    rows and columns may be in no window (7 pixels, size 2, stride 2: three windows). A loop over
    (oh, ow), with NumPy for N and C, is fast enough.

        x = 1 5 2 5 0      size 3, stride 2      gy =    1   10      gx =    0    0    0    0    0
            3 4 6 1 7                                  100 1000              0    0    1    0    0
            2 0 3 8 4      winners: 6 at (1,2),                              0    0    0 1010    0
            1 2 5 0 2               8 at (2,3), twice,                       0    0    0    0    0
            6 6 1 3 2               6 at (4,0)                             100    0    0    0    0
    """
    raise NotImplementedError("exercise 4.2: max_pool2d_backward")


def gradient_is_right(
    forward: Callable[..., np.ndarray],
    backward: Callable[..., tuple[np.ndarray, ...]],
    inputs: Sequence[np.ndarray],
) -> bool:
    """4.3: the hunt. Is backward the gradient of forward at these inputs? True or False.

    forward(*inputs) returns an array y of any shape. backward(gy, *inputs) returns a tuple of
    arrays, one for each input: the gradient of (y * gy).sum() with respect to it, in that input's
    shape. `inputs` are float64 arrays; forward returns the same result every time, and is smooth
    near them (no pooled values closer than 0.01 to each other).

        x = np.array([1.0, 3.0])
        gradient_is_right(lambda x: x ** 2, lambda gy, x: (2 * x * gy,), [x])     True
        gradient_is_right(lambda x: x ** 2, lambda gy, x: (3 * x * gy,), [x])     False

    The checker shows it 6 right backward functions, which it must accept, and 9 with a planted
    bug, which it must reject: convolution, overlapping pool, LRN, softmax. A bug may be in the
    gradient of any input, in any element; it may be a wrong number, a wrong shape, or not a number
    at all (NaN). One of the right functions has a gradient that is exactly zero, and one has
    values of a million. Sections 3 to 5 of the lesson explain the choices: the cotangent, eps, the
    kind of difference, what to compare, the tolerance. Return False for a wrong gradient, whatever
    is wrong with it; raise nothing. Use NumPy only (minitorch_alex.gradcheck works on Tensors, and
    is the answer).
    """
    raise NotImplementedError("exercise 4.3: gradient_is_right")
