"""Solutions of lesson 1's exercises; lessons/exercises/01_conv.py has their texts."""
import numpy as np


def out_size(size, kernel, stride, padding, ceil_mode):
    """Exercise 1.1: windows along one axis, 1 + (size + 2 padding - kernel) / stride, rounded down
    or up.

    Commentary: the first window is the 1, and the second term is how far it can still move.
    Rounding up is rounding down of the negative, negated: -(-a // b) is the ceiling of a / b
    without a float in between. AlexNet's whole size puzzle is in this line: (224 - 11) / 4 is
    53.25, so 224 gives 54 rounded down and 55 rounded up. The package's Window.out adds one rule,
    as PyTorch's pooling does: a window that would begin past the image and its left padding is
    left out.
    """
    room = size + 2 * padding - kernel
    steps = -(-room // stride) if ceil_mode else room // stride
    return 1 + steps


def conv2d_naive(x, w, b, stride, padding):
    """Exercise 1.2: y[n,o,oh,ow] = b[o] + sum w[o,c,kh,kw] x[n, c, oh S - P + kh, ow S - P + kw].

    Commentary: four loops choose a number of the result, three collect what goes into it, and the
    order of the seven is free, since the order of a sum does not matter. The test for the edge
    must check both ends: without `0 <=` a place of -1 is not an error in Python but the last row
    of the image, and the result looks almost right. The sum starts at the bias; adding the bias
    inside the inner loops adds it once per weight, a mistake that shows at once with b = 10.
    """
    N, C, H, W = x.shape
    O, _, KH, KW = w.shape
    OH = out_size(H, KH, stride, padding, False)
    OW = out_size(W, KW, stride, padding, False)
    y = np.zeros((N, O, OH, OW), x.dtype)
    for n in range(N):
        for o in range(O):
            for oh in range(OH):
                for ow in range(OW):
                    total = b[o]
                    for c in range(C):
                        for kh in range(KH):
                            for kw in range(KW):
                                ih = oh * stride - padding + kh
                                iw = ow * stride - padding + kw
                                if 0 <= ih < H and 0 <= iw < W:
                                    total += w[o, c, kh, kw] * x[n, c, ih, iw]
                    y[n, o, oh, ow] = total
    return y


# 1.3: 55 * 55 places, 96 kernels at each, and 11 * 11 * 3 multiplications for each of those.
# Counting the 34,848 weights is not enough: every one of them is used at 3,025 places.
MACS_OF_CONV1 = 105_415_200


def tap_range(k, size, out, stride, padding):
    """Exercise 1.4: the first and the last window o with 0 <= o S - P + k <= size - 1.

    Commentary: o S >= P - k means o >= (P - k) / S, and the smallest whole number that is not
    below a fraction is its ceiling; the given version took the floor. At stride 1 there is nothing
    to round, and without padding P - k is never above 0, so that max(0, ...) hides it: both usual
    tests pass. Only stride and padding together show it, and no layer of AlexNet has both. A bug
    like this one is found by a test that draws its sizes at random, not by one that repeats the
    sizes that the author had in mind. The package's version is Window.tap in kernels/window.py.
    """
    first = max(0, -((k - padding) // stride))
    last = min(out - 1, (size - 1 + padding - k) // stride)
    return first, last
