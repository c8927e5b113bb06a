"""Exercises of lesson 2. Check them with   python -m minitorch_alex.check 02

Letters: N images, C channels, H W rows and columns, O kernels (channels of the result), KH KW rows
and columns of a kernel, OH OW rows and columns of the result; OH = 1 + (H + 2 padding - KH) //
stride, and OW likewise. Images are NumPy arrays (N, C, H, W). Results have the dtype of the input.
"""
import numpy as np  # noqa: F401  (for your code)


def im2col(x, KH, KW, stride, padding):
    """Exercise 2.1: the windows of x as rows of a matrix.

    x (N, C, H, W)  ->  cols (N * OH * OW, C * KH * KW)

    Row (n * OH + oh) * OW + ow is the window whose top left corner is on row oh * stride - padding
    and column ow * stride - padding of image n; outside the image there are zeros. Within a row
    the order is channels, then rows, then columns of the window:

        cols[(n * OH + oh) * OW + ow, (c * KH + kh) * KW + kw]
            = x[n, c, oh * stride - padding + kh, ow * stride - padding + kw]

    x = [[1, 2, 3], [4, 5, 6], [7, 8, 9]] (one image, one channel) with a 2 x 2 window, stride 1
    and no padding gives [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]].

    It must be fast: a loop over the windows, of which there are thousands, is too slow; one over
    the KH x KW cells of a kernel is fast enough. Even shorter is no loop at all: put the images in
    a border of zeros, take a view of it with the six axes (N, OH, OW, C, KH, KW) by
    np.lib.stride_tricks.as_strided (lesson, section 2), and reshape, which copies.
    """
    raise NotImplementedError("exercise 2.1: write im2col")


def col2im(cols, x_shape, KH, KW, stride, padding):
    """Exercise 2.2: the transpose of im2col. Every number of cols goes back to the pixel that
    im2col would have taken it from, and where several arrive they are added.

    cols (N * OH * OW, C * KH * KW), x_shape = (N, C, H, W)  ->  (N, C, H, W) in the dtype of cols

    Numbers that would go to the border of zeros are dropped; a pixel in no window stays 0.

    For x_shape (1, 1, 3, 3), a 2 x 2 window, stride 1, no padding and cols = [[1, 1, 1, 1], [10,
    10, 10, 10], [100, 100, 100, 100], [1000, 1000, 1000, 1000]] the result is [[1, 11, 10], [101,
    1111, 1010], [100, 1100, 1000]]: the pixel in the middle is in all four windows.

    A loop over the KH x KW cells, each adding a whole plane of numbers at once, is fast enough.
    (`a[index] += b` with slices adds as it should; with *lists* of indices in which one occurs
    twice, NumPy adds only once.)
    """
    raise NotImplementedError("exercise 2.2: write col2im")


def conv2d(x, w, b, stride, padding, groups):
    """Exercise 2.3: convolution as one matrix product per group.

    x (N, C, H, W), w (O, C / groups, KH, KW), b (O,)  ->  y (N, O, OH, OW)

    The C channels of x are cut into `groups` equal parts in order, and so are the O kernels. The
    kernels of part g see the channels of part g only. With groups = 1 this is the convolution of
    lesson 1. For each part: im2col of its channels, times its kernels as columns of a matrix, plus
    bias; then the rows become images again. Use your im2col.

    With C = O = 2, groups = 2, 1 x 1 kernels w = [[[[10]]], [[[100]]]] and b = [1, 2]: channel 0
    of the result is 10 times channel 0 of x, plus 1, and channel 1 is 100 times channel 1 of x,
    plus 2.
    """
    raise NotImplementedError("exercise 2.3: write conv2d")


# Exercise 2.4: the paper's GPUs, GTX 580, had 3 GB of memory each. Suppose that one of them should
# hold the im2col matrices of all five convolutional layers of AlexNet at once, and nothing else.
# How many images can a batch have at most? 3 GB is 3 * 2**30 bytes here, a number takes 4 bytes
# (float32). The matrix of a layer has batch * OH * OW rows and C * KH * KW columns, where C counts
# the channels of all groups (both halves of the net on this one GPU). The layers:
#
#     conv1     3 channels   11 x 11 windows   55 x 55 of them
#     conv2    96 channels    5 x 5            27 x 27
#     conv3   256 channels    3 x 3            13 x 13
#     conv4   384 channels    3 x 3            13 x 13
#     conv5   384 channels    3 x 3            13 x 13
LARGEST_BATCH = None
