"""Pooling: the largest or the mean value of each window.

Windows overlap when the stride is below the kernel size, as in the paper (section 3.4: size 3,
stride 2).
"""
import numpy as np

from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..kernels.window import Pair, Window, ceil_div
from ..tensor import Tensor
from .conv import check_images, out_size
from .layout import to_nchw, to_nhwc


class MaxPool2d(Function):
    """y[n,c,oh,ow] = max over the window; the padding is -inf and never wins. Saves which cell of
    each window won (one byte)."""

    def __init__(self, win: Window) -> None:
        self.win = win

    def forward(self, x):
        x = to_nhwc(x)
        self.x_shape = x.shape  # several sizes of x give one size of y, so backward must know it
        y, winners = backend.kernels_for(x).max_pool2d(x, self.win)
        self.save(winners)
        return to_nchw(y)

    def backward(self, gy):
        (winners,) = self.saved
        gy = to_nhwc(gy)
        kernels = backend.kernels_for(gy)
        return to_nchw(kernels.max_pool2d_backward(gy, winners, self.x_shape, self.win))


class AvgPool2d(Function):
    """y[n,c,oh,ow] = sum over the window / number of its cells. Saves nothing."""

    def __init__(self, win: Window, count_include_pad: bool) -> None:
        self.win = win
        self.count_include_pad = count_include_pad

    def forward(self, x):
        x = to_nhwc(x)
        self.x_shape = x.shape
        return to_nchw(backend.kernels_for(x).avg_pool2d(x, self.win, self.count_include_pad))

    def backward(self, gy):
        gy = to_nhwc(gy)
        kernels = backend.kernels_for(gy)
        gx = kernels.avg_pool2d_backward(gy, self.x_shape, self.win, self.count_include_pad)
        return to_nchw(gx)


def _window(name: str, x: Tensor, kernel_size: int | Pair, stride: int | Pair | None,
            padding: int | Pair, dilation: int | Pair, ceil_mode: bool) -> Window:
    """The windows of a pool on x. Raises ShapeError when they do not fit."""
    check_images(name, x)
    stride = kernel_size if stride is None else stride
    win = Window.of(kernel_size, stride, padding, dilation, ceil_mode)
    if any(2 * p > k for p, k in zip(win.padding, win.kernel, strict=True)):
        raise ShapeError(f"{name}: got padding {padding} for kernel_size {kernel_size}, expected "
                         "at most half of it, or some windows would hold nothing but padding")
    out_size(name, win, x)  # raises when the windows do not fit
    return win


def max_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None,
               padding: int | Pair = 0, dilation: int | Pair = 1,
               ceil_mode: bool = False) -> Tensor:
    """The maximum of each window of x (N,C,H,W): (N,C,OH,OW).

    The stride defaults to the kernel size; padding is -inf; of equal values the first in row-major
    order takes the gradient. Sizes are rounded as in conv2d. Raises ShapeError when a window does
    not fit.
    """
    win = _window("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    return MaxPool2d(win)(x)


def adaptive_avg_pool2d(x: Tensor, output_size: int) -> Tensor:
    """x (N,C,H,W) averaged to (N,C,S,S), whatever H and W are: torch's AdaptiveAvgPool2d.

    Row i of the output is the mean of the rows floor(i H / S) up to, but not including,
    ceil((i + 1) H / S); columns likewise. Windows overlap where S does not divide H. A mean over a
    rectangle is a mean over rows of means over columns, so two products with small matrices do it.
    Raises ShapeError when S < 1 or x is not (N,C,H,W).
    """
    check_images("adaptive_avg_pool2d", x)
    if output_size < 1:
        raise ShapeError(f"adaptive_avg_pool2d: output_size is {output_size}, expected 1 or more")
    N, C, H, W = x.shape
    S = output_size
    columns = Tensor(backend.asarray(window_means(W, S).astype(x.dtype)))
    rows = Tensor(backend.asarray(window_means(H, S).astype(x.dtype)))
    # (N, C, H, W) -> (N*C*H, W) -> (N*C*H, S) -> (N*C, S, H)
    narrow = (x.reshape(N * C * H, W) @ columns).reshape(N * C, H, S).permute(0, 2, 1)
    # (N*C, S, H) -> (N*C*S, H) -> (N*C*S, S) -> (N, C, S, S), columns before rows
    small = (narrow.reshape(N * C * S, H) @ rows).reshape(N, C, S, S)
    return small.permute(0, 1, 3, 2)


def window_means(size: int, parts: int) -> np.ndarray:
    """(size, parts): column i has the weights of the mean over the i-th window, see
    `adaptive_avg_pool2d`."""
    weights = np.zeros((size, parts))
    for i in range(parts):
        start = i * size // parts
        end = ceil_div((i + 1) * size, parts)
        weights[start:end, i] = 1 / (end - start)
    return weights


def avg_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None,
               padding: int | Pair = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:
    """The mean of each window of x (N,C,H,W): (N,C,OH,OW).

    With count_include_pad=False the sum is divided by the number of cells inside the image, the
    clipped divisor of cuda-convnet (AvgPooler); with True padding counts, as
    in torch by default. Raises ShapeError when a window does not fit.
    """
    win = _window("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    return AvgPool2d(win, count_include_pad)(x)
