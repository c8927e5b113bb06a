"""Pooling: the largest or the mean value of each window.

Windows overlap when the stride is below the kernel size, as in the paper (section 3.4: size 3,
stride 2).
"""
from typing import Any

from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..kernels.window import Pair, Window
from ..tensor import Tensor
from .batch import one_or_many
from .conv import check_images, out_size
from .gates import BehindGate
from .layout import to_nchw, to_nhwc
from .windows import sum_factors, winning_cells


class MaxPool2d(BehindGate):
    """y[n,c,oh,ow] = max over the window; the padding is -inf and never wins. Saves which cell of
    each window won (one byte)."""

    def __init__(self, win: Window) -> None:
        self.win = win

    def forward(self, x):
        x = to_nhwc(x)
        self.x_shape = x.shape  # several sizes of x give one size of y, so backward must know it
        y, winners = self.kernel("max_pool2d", x)(x, self.win)
        self.save(winners)
        return to_nchw(y)

    def backward(self, gy):
        (winners,) = self.saved
        gy = to_nhwc(gy)
        gx = backend.kernels_for(gy).max_pool2d_backward(gy, winners, self.x_shape, self.win)
        return self.hand_back(to_nchw(gx))


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
    stride = kernel_size if stride is None or stride == () else stride
    win = Window.of(kernel_size, stride, padding, dilation, ceil_mode)
    if any(2 * p > k for p, k in zip(win.padding, win.kernel, strict=True)):
        raise ShapeError(f"{name}: got padding {padding} for kernel_size {kernel_size}, expected "
                         "at most half of it, or some windows would hold nothing but padding")
    out_size(name, win, x)  # raises when the windows do not fit
    return win


@one_or_many
def max_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None,
               padding: int | Pair = 0, dilation: int | Pair = 1, ceil_mode: bool = False,
               return_indices: bool = False) -> Any:
    """The maximum of each window of x (N,C,H,W): (N,C,OH,OW). One image (C,H,W) becomes (C,OH,OW).

    The stride defaults to the kernel size; padding is -inf; of equal values the first in row-major
    order takes the gradient. Sizes are rounded as in conv2d. With return_indices the result is the
    pair (maxima, indices), where indices is a raw array: the cell h W + w that won each window.
    Raises ShapeError when a window does not fit.
    """
    win = _window("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    y = MaxPool2d(win)(x)
    return (y, winning_cells(x, win)) if return_indices else y


@one_or_many
def avg_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None,
               padding: int | Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:
    """The mean of each window of x (N,C,H,W): (N,C,OH,OW).

    With count_include_pad=False the sum is divided by the number of cells inside the image, the
    clipped divisor of cuda-convnet (AvgPooler); with True padding counts, as in torch by default.
    divisor_override divides every sum by that number instead. Raises
    ShapeError when a window does not fit, or for a divisor_override of 0.
    """
    win = _window("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None:
        factors = Tensor(sum_factors(win, x, divisor_override))
        return AvgPool2d(win, count_include_pad=True)(x) * factors
    return AvgPool2d(win, count_include_pad)(x)
