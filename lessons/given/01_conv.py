"""Exercises of lesson 1. Check them with   python -m minitorch_alex.check 01

Letters: N images, C channels, H W rows and columns, O kernels (channels of the result), KH KW rows
and columns of a kernel, OH OW rows and columns of the result. Images are NumPy arrays (N, C, H,
W), kernels (O, C, KH, KW).
"""
import numpy as np  # noqa: F401  (for your code)


def out_size(size, kernel, stride, padding, ceil_mode):
    """Exercise 1.1: how many windows fit along one axis.

    size       pixels of the image along this axis
    kernel     cells of the kernel
    stride     pixels from one window to the next
    padding    zeros added at *both* ends of the axis
    ceil_mode  False: windows that stick out are left out,
                          1 + floor((size + 2 padding - kernel) / stride)
               True: one more where the division leaves a remainder, as in the 2012 code,
                          1 + ceil((size + 2 padding - kernel) / stride)

    Returns an int; the kernel is never larger than the padded image. Use integers only: // rounds
    down, also below zero, and that is enough for rounding up.

        out_size(7, 3, 2, 0, False)     3
        out_size(8, 3, 2, 0, False)     3
        out_size(8, 3, 2, 0, True)      4
    """
    raise NotImplementedError("exercise 1.1: write out_size")


def conv2d_naive(x, w, b, stride, padding):
    """Exercise 1.2: a convolution as seven loops.

    x (N, C, H, W), w (O, C, KH, KW), b (O,), stride and padding integers, the same for rows and
    columns. Returns y (N, O, OH, OW) in the dtype of x, with the sizes of exercise 1.1, rounded
    down:

        y[n, o, oh, ow] = b[o] + sum over c, kh, kw of w[o, c, kh, kw] * x[n, c, ih, iw]
        with   ih = oh * stride - padding + kh   and   iw = ow * stride - padding + kw

    where x counts as 0 at places outside the image. The kernel is not flipped. Use loops in plain
    Python; np.zeros, and array[index] with four numbers, are all of NumPy that you need.

    With x = [[1, 2, 3], [4, 5, 6], [7, 8, 9]] and w = [[1, 0], [0, -1]] (one image, channel and
    kernel), b = 10, stride 1 and padding 0 the result is [[6, 6], [6, 6]]: 1 - 5 + 10 = 6,
    2 - 6 + 10 = 6, ... With padding 1 it is 4 x 4, and its corners are 9, 10, 10 and 19:
    0 - 1 + 10 = 9 at the top left, 9 - 0 + 10 = 19 at the bottom right.
    """
    raise NotImplementedError("exercise 1.2: write conv2d_naive")


# Exercise 1.3: how many multiply-adds does conv1 of AlexNet take for one image? It has 96 kernels
# of 11 x 11 on 3 colours at stride 4; the image has 224 x 224 pixels, there is no padding, sizes
# are rounded up. Each number of the result costs one multiply-add for each weight of its kernel;
# those with the zeros past the edge count like all others, the bias does not count. The answer is
# an exact integer.
MACS_OF_CONV1 = None


def tap_range(k, size, out, stride, padding):
    """Exercise 1.4: a bug to find and fix.

    Cell k of a kernel (0, 1, ...) is, in window o (0, 1, ..., out - 1), on the pixel
    o * stride - padding + k.

    Returns the first and the last window, (first, last), for which this pixel is inside the image,
    that is, for which

        0 <= o * stride - padding + k <= size - 1.

    With this function a convolution needs no border of zeros: cell k is simply left out of the
    windows where it would read one. Where there is no such window, last is below first.

    This version is right at stride 1, and it is right without padding. Elsewhere it is not always.
    Example: tap_range(0, 6, 3, 2, 1), a kernel's cell 0 at stride 2 and padding 1, is on the
    pixels -1, 1 and 3 in windows 0, 1 and 2, so (1, 2) is right. Find out what it returns, and
    why; a loop over all windows tells you what it should return.
    """
    first = max(0, (padding - k) // stride)
    last = min(out - 1, (size - 1 + padding - k) // stride)
    return first, last
