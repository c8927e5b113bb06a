"""Lesson 5, ReLU and overlapping pooling: the solutions. Read them after yours pass the check."""
import numpy as np


def relu(x: np.ndarray) -> np.ndarray:
    """5.1: y = max(x, 0), element by element.

    Commentary: np.maximum keeps float32, since a Python 0 has no dtype of its own, and it lets a
    NaN through, as x * (x > 0) does and np.where(x > 0, x, 0) does not: a net that has diverged
    should look like it. For the backward y is enough, because y > 0 says the same as x > 0. That
    is worth memory: x can be overwritten or forgotten, and y is kept anyway as the input of the
    next layer. At x = 0 any slope between 0 and 1 would do; everyone takes 0, and then a unit that
    puts out 0 gets no gradient, whatever the reason for its 0. The usual slip is y >= 0, which is
    true everywhere.
    """
    return np.maximum(x, 0)


def relu_backward(gy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """5.1: gx = gy where y > 0, else 0."""
    return gy * (y > 0)


def max_pool2d(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """5.2: the largest value of each window.

    Commentary: a loop over the windows runs as often as the image has windows, 729 times for the
    27 x 27 of AlexNet's first pool; a loop over the cells of one window runs 9 times, and each
    time compares a whole image's worth of cells at once. Start from minus infinity and not from 0:
    with 0 every window of negative values becomes 0, and after a ReLU you would never notice. Mind
    where each slice ends: one past the last cell that is read, which is (OH - 1) stride + 1 after
    where it starts. Without an end, the first cells of the windows give one row or column too
    many, and the shapes differ.
    """
    N, C, H, W = x.shape
    OH = (H - size) // stride + 1
    OW = (W - size) // stride + 1
    y = np.full((N, C, OH, OW), -np.inf, x.dtype)
    for i in range(size):
        for j in range(size):
            rows = slice(i, i + (OH - 1) * stride + 1, stride)  # OH of them
            columns = slice(j, j + (OW - 1) * stride + 1, stride)
            y = np.maximum(y, x[:, :, rows, columns])
    return y


def route_to_maximum(gy: np.ndarray, x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """5.3: the backward of max_pool2d; of equal maxima the first in reading order gets the
    gradient.

    Commentary: the given code sent the whole gradient to every cell that equals the maximum. Add 1
    to all pixels of a window and its maximum grows by 1: so the gradients of a window's cells must
    sum to gy, not to gy times the number of ties. Sharing it out equally would be right as well;
    all to the first is what argmax gives, what PyTorch does, and what lesson 04 asked for. Ties
    are not rare: behind a ReLU whole windows are 0, in a photograph a blown-out sky is 255 all
    over. The first kind happens to be harmless: the ReLU's own backward multiplies by 0 there.
    Random test data never ties, so a test with it proves nothing here; a test should contain one
    flat window.
    """
    N, C, OH, OW = gy.shape
    gx = np.zeros(x.shape, gy.dtype)
    for oh in range(OH):
        for ow in range(OW):
            rows = slice(oh * stride, oh * stride + size)
            columns = slice(ow * stride, ow * stride + size)
            # (N, C, size, size) -> (N, C, size*size), in reading order
            window = x[:, :, rows, columns].reshape(N, C, -1)
            first = window.argmax(axis=2)  # the first of equal ones, (N, C)
            won = np.arange(size * size) == first[:, :, None]
            won = won.reshape(N, C, size, size)
            gx[:, :, rows, columns] += won * gy[:, :, oh, ow][:, :, None, None]
    return gx


# 5.4: the derivative of tanh is 1 - tanh^2, at 2 it is 0.07065; its 5th power is 1.76e-6, its 6th
# 1.24e-7.
LAYERS_TO_A_MILLIONTH = 6
