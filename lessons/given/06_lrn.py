"""Lesson 6, local response normalisation: the exercises.

    python -m minitorch_alex.check 06            are they right?
    python -m minitorch_alex.check 6.1 --hint    a nudge

6.1 and 6.2 become part of your own AlexNet in lesson 09. Use NumPy only. Arrays are NCHW: x[n, i,
h, w] is image n, channel i, row h, column w. Results have the dtype of x, and no argument is
changed.

The window of channel i is the `size` channels i - size // 2, ..., i - size // 2 + size - 1,
without those that do not exist (below 0, or C and above). For size 5 that is two to each side; an
even size leans to the left: for size 4 it is i - 2, i - 1, i, i + 1.
"""
import numpy as np


def lrn(
    x: np.ndarray, size: int, alpha: float, beta: float, k: float
) -> tuple[np.ndarray, np.ndarray]:
    """6.1: normalise each value by its neighbours in other channels, as printed in section 3.3 of
    the paper.

        scale[n,i,h,w] = k + alpha * (sum of x[n,j,h,w]^2 over the channels j in the window of i)
        y[n,i,h,w]     = x[n,i,h,w] / scale[n,i,h,w]^beta

    alpha is used as it is given: no division by size. Returns (y, scale), both of the shape of x.
    Each pixel of each image is independent of the others; only its channels see each other. There
    may be fewer channels than `size`. Loop over the channels or over the places of the window, not
    over pixels: your AlexNet will run on this.

        x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)         # one pixel, three channels
        y, scale = lrn(x, 3, 1.0, 1.0, 2.0)
        scale.ravel()      array([ 7., 16., 15.])       # 2 + 1 + 4,  2 + 1 + 4 + 9,  2 + 4 + 9
        y.ravel()          array([1/7, 2/16, 3/15])
        lrn(x, 2, 1.0, 1.0, 2.0)[1].ravel()      array([ 3.,  7., 15.])     # windows: i - 1 and i
    """
    raise NotImplementedError("exercise 6.1: lrn")


def lrn_backward(
    gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float
) -> np.ndarray:
    """6.2: the gradient with respect to x, given gy, the gradient with respect to y, and what lrn
    returned as scale.

        gx_i = gy_i scale_i^-beta
               - 2 alpha beta x_i * (sum of gy_j x_j scale_j^(-beta - 1)
                                     over the j whose window holds i)

    at each pixel. Mind the last words: the sum is not over the window of i but over the channels
    that have i in theirs. For an odd size the two are the same. For an even one the second is the
    mirror image of the first: for size 4, the window of i is i - 2 ... i + 1, and i is in the
    windows of i - 1, i, i + 1 and i + 2.

        x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
        scale = np.array([7.0, 16.0, 15.0]).reshape(1, 3, 1, 1)   # of size 3, alpha 1, k 2
        lrn_backward(np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1), x, scale, 3, 1.0, 1.0).ravel()
                                                                  # array([5/49, -4/49, 0.])
    """
    raise NotImplementedError("exercise 6.2: lrn_backward")


def lrn_in_review(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """6.3: find the bug and fix it. This should return the same y as lrn; it uses a running sum,
    which is a good idea.

    Its author compared it with a correct loop, on 1,000 values drawn from -1 ... 1, with size 5,
    alpha 1e-4, beta 0.75 and k 2, at a relative tolerance of 1e-4, and all agreed. How large is
    alpha times the sum of five such squares, compared with k = 2? Choose an x and constants that
    show each window.

        x = np.ones((1, 7, 1, 1))     # y should be 1 / (number of channels in the window)
        lrn_in_review(x, 5, 1.0, 1.0, 0.0).ravel()      array([1/3, 1/4, 1/5, 1/5, 1/5, 1/4, 1/3])
    """
    N, C, H, W = x.shape
    before = size // 2
    after = size - 1 - size // 2
    # total[:, c] is the sum over the channels 0 ... c - 1
    total = np.zeros((N, C + 1, H, W), x.dtype)
    np.cumsum(x * x, axis=1, out=total[:, 1:])
    scale = np.empty_like(x)
    for i in range(C):
        first = max(0, i - before)
        last = min(C - 1, i + after)
        scale[:, i] = k + alpha * (total[:, last] - total[:, first])
    return x / scale ** beta


# 6.4: the released source of 2012 divides alpha by the size of the window; its parameter file says
# scale=0.0001, its layer file size=5. The paper's formula, and lrn above, have no such division.
# Which alpha must you give to lrn so that it computes what ran in 2012?
ALPHA_OF_2012 = None

# 6.5: take the alpha of 6.4, and size 5, k = 2, beta = 0.75 as they were. A pixel has the same
# value a > 0 in all channels, and its window is complete. Where a is tiny, y = a 2^-0.75. How
# large must a be for it to be halved once more, so that y = a 2^-0.75 / 2? An answer within 1 %
# will do.
VALUE_THAT_IS_HALVED = None
