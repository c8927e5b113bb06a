"""Adapters for kernels: (the learner's functions) -> a function with the signature of kernels.cpu.
"""
from collections.abc import Callable

import numpy as np

from ...kernels import cpu
from ...kernels.window import group_slices
from .frame import add_frame, as_nchw, as_nhwc, cut_frame, is_covered, is_covered_pool
from .yours import Adapter, Functions, Yours


def _conv2d(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["conv2d"]

    def conv2d(x, w, b, win, groups):
        if not is_covered(win):
            return cpu.conv2d(x, w, b, win, groups)
        N, H, W, _ = x.shape
        O = len(w)
        bias = np.zeros(O, w.dtype) if b is None else b  # the exercise always adds one
        y = f(add_frame(x, win, 0), w, bias, win.stride[0], 0, groups)
        return as_nhwc(f.array(y, (N, O, *win.out(H, W)), x.dtype))

    return conv2d


def _max_pool2d(yours: Functions) -> Callable[..., tuple]:
    """y, and what the backward in use needs: the winning taps for the package's, x for yours."""
    f = yours.get("max_pool2d")
    backward_is_yours = "max_pool2d_backward" in yours

    def max_pool2d(x, win):
        if not is_covered_pool(win):
            return cpu.max_pool2d(x, win)
        # The package's backward needs winners even where y is yours, which has none to tell.
        if f is None or not backward_is_yours:
            y, winners = cpu.max_pool2d(x, win)
        if f is not None:
            N, H, W, C = x.shape
            y = f(add_frame(x, win, -np.inf), win.kernel[0], win.stride[0])
            y = as_nhwc(f.array(y, (N, C, *win.out(H, W)), x.dtype))
        return y, (x,) if backward_is_yours else winners

    return max_pool2d


def _max_pool2d_backward(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["max_pool2d_backward"]

    def max_pool2d_backward(gy, saved, x_shape, win):
        if not is_covered_pool(win):
            return cpu.max_pool2d_backward(gy, saved, x_shape, win)
        (x,) = saved  # by _max_pool2d above: the exercise looks for the winners again
        frame = add_frame(x, win, -np.inf)
        gx = f(as_nchw(gy), frame, win.kernel[0], win.stride[0])
        return cut_frame(f.array(gx, frame.shape, gy.dtype), x_shape, win)

    return max_pool2d_backward


def _elementwise(name: str) -> Adapter:
    """ReLU and its gradient, for which the order of the axes does not matter."""
    def adapter(yours: Functions) -> Callable[..., np.ndarray]:
        f = yours[name]
        return lambda x, *rest: np.ascontiguousarray(f.array(f(x, *rest), x.shape, x.dtype))

    return adapter


def _by_group(f: Yours, arrays: list[np.ndarray], groups: int, settings: tuple,
              results: int) -> list[np.ndarray]:
    """f(*arrays, *settings) for each group of channels separately, the results joined.

    arrays and joined results are (N,H,W,C), f takes and returns (N,C/G,H,W).
    """
    x = arrays[0]
    joined = [np.empty_like(x) for _ in range(results)]
    for channels in group_slices(x.shape[3], groups):
        pieces = [as_nchw(a[..., channels]) for a in arrays]
        outputs = f(*pieces, *settings)
        if results == 1:
            outputs = (outputs,)
        for whole, output in zip(joined, outputs, strict=True):
            # (N,C/G,H,W) -> (N,H,W,C/G)
            whole[..., channels] = f.array(output, pieces[0].shape, x.dtype).transpose(0, 2, 3, 1)
    return joined


def _lrn(yours: Functions) -> Callable[..., tuple]:
    f = yours["lrn"]

    def lrn(x, size, alpha, beta, k, groups):
        return tuple(_by_group(f, [x], groups, (size, alpha, beta, k), results=2))

    return lrn


def _lrn_backward(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["lrn_backward"]

    def lrn_backward(gy, x, scale, size, alpha, beta, groups):
        return _by_group(f, [gy, x, scale], groups, (size, alpha, beta), results=1)[0]

    return lrn_backward


def _sgd(yours: Functions) -> Callable[..., None]:
    f = yours["sgd_step"]

    def sgd(w, g, v, lr, momentum, weight_decay, rule):
        if rule == "2012":
            # in place, as the kernel does: w and v are views of the optimizer's buffers
            f(w, g, v, lr, momentum, weight_decay)
        else:
            cpu.sgd(w, g, v, lr, momentum, weight_decay, rule)

    return sgd


KERNELS: dict[str, tuple[tuple[str, ...], Adapter]] = {
    # kernel: (the functions that it depends on, its adapter)
    "conv2d": (("conv2d",), _conv2d),
    "max_pool2d": (("max_pool2d", "max_pool2d_backward"), _max_pool2d),
    "max_pool2d_backward": (("max_pool2d_backward",), _max_pool2d_backward),
    "relu": (("relu",), _elementwise("relu")),
    "relu_backward": (("relu_backward",), _elementwise("relu_backward")),
    "lrn": (("lrn",), _lrn),
    "lrn_backward": (("lrn_backward",), _lrn_backward),
    "sgd": (("sgd_step",), _sgd),
}
