"""Lesson 5, ReLU and overlapping pooling: the exercises.

    python -m minitorch_alex.check 05            are they right?
    python -m minitorch_alex.check 5.1 --hint    a nudge

5.1 and 5.2 become part of your own AlexNet in lesson 09. Use NumPy only. Arrays of images are
NCHW: x[n, c, h, w] is image n, channel c, row h, column w. Results have the dtype of x (of gy in a
backward), and no argument is changed.
"""
import numpy as np


def relu(x: np.ndarray) -> np.ndarray:
    """5.1, first half: y = max(x, 0), element by element, for x of any shape.

        relu(np.array([[-2.0, 0.0, 3.0], [0.5, -0.1, 7.0]]))
                                                     array([[0., 0., 3.], [0.5, 0., 7.]])
    """
    raise NotImplementedError("exercise 5.1: relu")


def relu_backward(gy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """5.1, second half: the gradient of a loss with respect to x, given gy, its gradient with
    respect to y = relu(x).

    You get y, the result of relu, and not x: it contains all that is needed. The derivative is 1
    where x > 0 and 0 where x < 0; at x = 0 there is none, and everybody takes 0. gy has the shape
    of y, and values of either sign.

        y = np.array([0.0, 3.0, 0.0, 0.5])
        relu_backward(np.array([10.0, -20.0, -30.0, 40.0]), y)     array([0., -20., 0., 40.])

    A -0. counts as 0.
    """
    raise NotImplementedError("exercise 5.1: relu_backward")


def max_pool2d(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """5.2: the largest value of each window of x (N,C,H,W): y (N,C,OH,OW).

        y[n,c,oh,ow] = max of x[n, c, oh stride + i, ow stride + j]     over i, j = 0 ... size - 1
        OH = (H - size) // stride + 1,   OW = (W - size) // stride + 1

    Windows overlap when stride < size; rows and columns that no whole window reaches are left out;
    all values may be negative. Each image and each channel is pooled separately. Loop over the
    size x size cells of a window, not over the windows: your AlexNet will run on this.

        x = np.array([[[[1.0, 5.0, 2.0, 0.0, 3.0],
                        [4.0, 0.0, 1.0, 1.0, 6.0],
                        [0.0, 2.0, 8.0, 1.0, 0.0]]]])           # (1, 1, 3, 5)
        max_pool2d(x, 3, 2)      array([[[[8., 8.]]]])          # columns 0-2 and 2-4 share the 8
        max_pool2d(x, 2, 2)      array([[[[5., 2.]]]])          # row 2 and column 4 are left out
    """
    raise NotImplementedError("exercise 5.2: max_pool2d")


def route_to_maximum(gy: np.ndarray, x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """5.3: find the bug and fix it. This should be the backward of max_pool2d: gx, of the shape of
    x.

    Each gy[n,c,oh,ow] belongs to the one cell that won its window; of several equal maxima the
    first in reading order (row by row, left to right) has won, the others get nothing from this
    window. A cell that won several windows gets the sum of their gradients.

    On values that all differ, this code is right: the usual test, with random numbers, finds
    nothing. For example, with the x of 5.2, size 3, stride 2 and gy = [[[[10.0, 20.0]]]], the 8
    won both windows and gets 30, all other cells 0. Look for an x on which more gradient goes out
    than came in.
    """
    N, C, OH, OW = gy.shape
    gx = np.zeros(x.shape, gy.dtype)
    for oh in range(OH):
        for ow in range(OW):
            rows = slice(oh * stride, oh * stride + size)
            columns = slice(ow * stride, ow * stride + size)
            window = x[:, :, rows, columns]                              # (N, C, size, size)
            won = window == window.max(axis=(2, 3), keepdims=True)
            gx[:, :, rows, columns] += won * gy[:, :, oh, ow][:, :, None, None]
    return gx


# 5.4: in how many layers does a gradient fade? There is one unit per layer, each feeding the next
# with weight 1, all of them tanh, and in each the sum that goes into tanh is 2 (thanks to its
# bias). In the backward pass through a layer a gradient is multiplied by the derivative of tanh at
# 2. What is the smallest number of layers after which less than a millionth (1e-6) of it is left?
LAYERS_TO_A_MILLIONTH = None
