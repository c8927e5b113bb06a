"""Solutions of lesson 2's exercises; lessons/exercises/02_im2col.py has their texts."""
import numpy as np


def im2col(x, KH, KW, stride, padding):
    """Exercise 2.1: (N, C, H, W) to (N OH OW, C KH KW), the windows as rows.

    Commentary: the view costs nothing, whatever its size says: six axes, each a number of bytes to
    jump. A step to the next window jumps `stride` pixels, a step inside the window jumps one, so
    the two pairs of axes differ in that factor alone. The copy happens in reshape, since no
    strides can flatten overlapping windows. The order of the axes is the order of the rows and
    columns: with C before the windows' axes the matrix has the same numbers in other places, and
    every product with it is wrong, but no shape complains. as_strided checks nothing: a wrong size
    reads memory that is not the array's.
    """
    N, C, H, W = x.shape
    OH = 1 + (H + 2 * padding - KH) // stride
    OW = 1 + (W + 2 * padding - KW) // stride
    bordered = np.zeros((N, C, H + 2 * padding, W + 2 * padding), x.dtype)
    bordered[:, :, padding:padding + H, padding:padding + W] = x
    n, c, h, w = bordered.strides
    view = np.lib.stride_tricks.as_strided(
        bordered, (N, OH, OW, C, KH, KW), (n, h * stride, w * stride, c, h, w), writeable=False)
    # (N, OH, OW, C, KH, KW) -> (N*OH*OW, C*KH*KW): this copies
    return view.reshape(N * OH * OW, C * KH * KW)


def col2im(cols, x_shape, KH, KW, stride, padding):
    """Exercise 2.2: (N OH OW, C KH KW) to (N, C, H, W), each number added to the pixel that it
    came from.

    Commentary: for a fixed cell (kh, kw) of the kernel no pixel is met twice, so a whole plane can
    be added with slices; pixels meet only between cells, and those come one after the other. Two
    traps: `=` for `+=` keeps the last window only, which is right wherever windows do not overlap;
    and writing through the view of as_strided adds some of the overlapping numbers and loses
    others, since NumPy does not know that its elements share memory. This is not the inverse of
    im2col: a pixel that is in nine windows comes back nine times as large. It is the transpose,
    and lesson 4 shows that a transpose is just what the backward of a convolution needs.
    """
    N, C, H, W = x_shape
    OH = 1 + (H + 2 * padding - KH) // stride
    OW = 1 + (W + 2 * padding - KW) // stride
    taps = cols.reshape(N, OH, OW, C, KH, KW)  # from (N*OH*OW, C*KH*KW)
    bordered = np.zeros((N, C, H + 2 * padding, W + 2 * padding), cols.dtype)
    for kh in range(KH):
        for kw in range(KW):
            rows = slice(kh, kh + stride * (OH - 1) + 1, stride)
            columns = slice(kw, kw + stride * (OW - 1) + 1, stride)
            # (N, OH, OW, C) -> (N, C, OH, OW)
            bordered[:, :, rows, columns] += taps[:, :, :, :, kh, kw].transpose(0, 3, 1, 2)
    return bordered[:, :, padding:padding + H, padding:padding + W]


def conv2d(x, w, b, stride, padding, groups):
    """Exercise 2.3: per group im2col(x_g) @ w_g^T + b_g, then (N OH OW, O) back to (N, O, OH, OW).

    Commentary: a row of the product is a pixel with its O channels, so the channels come out last,
    and the transpose brings them to their place. A reshape straight to (N, O, OH, OW) has the
    right shape and scrambled numbers: the commonest mistake here. Groups cut both channels and
    kernels in the same order; in 2012 the parts were two GPUs, and conv2, conv4 and conv5 saw only
    the channels on their own. A cut layer has half the weights and half the work.
    """
    N, C, H, W = x.shape
    O, _, KH, KW = w.shape
    OH = 1 + (H + 2 * padding - KH) // stride
    OW = 1 + (W + 2 * padding - KW) // stride
    y = np.zeros((N, O, OH, OW), x.dtype)
    for g in range(groups):
        seen = slice(g * C // groups, (g + 1) * C // groups)
        made = slice(g * O // groups, (g + 1) * O // groups)
        cols = im2col(x[:, seen], KH, KW, stride, padding)
        rows = cols @ w[made].reshape(O // groups, -1).T + b[made]  # (N*OH*OW, O/groups)
        # (N*OH*OW, O/groups) -> (N, OH, OW, O/groups) -> (N, O/groups, OH, OW)
        y[:, made] = rows.reshape(N, OH, OW, O // groups).transpose(0, 3, 1, 2)
    return y


# 2.4: 4,405,179 numbers per image are 17,620,716 bytes, and 3 * 2**30 / 17,620,716 = 182.8. The
# 2012 code trained with 128, on two such cards; it never stored these matrices.
LARGEST_BATCH = 182
