"""Convolution."""
from .. import backend
from ..autograd import Function
from ..errors import ShapeError, UsageError
from ..kernels.window import Pair, Window
from ..tensor import Tensor
from .batch import one_or_many
from .layout import contiguous, to_nchw, to_nhwc
from .places import bias_gradient
from .windows import padding_of


class Conv2d(Function):
    """y[n,o,oh,ow] = b[o] + sum_{c,kh,kw} w[o,c,kh,kw] x[n, c, oh S - P + kh D, ow S - P + kw D]

    (a cross-correlation, as everywhere in deep learning), where c runs over o's group of channels.
    Saves x and w, each where the other's gradient is wanted, or what the kernels would rather
    have: on a GPU that is the im2col matrix, where memory allows, and w in its rows. On a CPU the
    matrix is gathered again in backward, since it has up to 25 times the numbers of the image.
    """

    def __init__(self, win: Window, groups: int) -> None:
        self.win = win
        self.groups = groups

    def forward(self, x, w, b):
        x = to_nhwc(x)
        w = contiguous(w)
        b = contiguous(b)
        self.x_shape = x.shape
        kernels = backend.kernels_for(x, w, b)
        if hasattr(kernels, "conv2d_forward"):  # kernels that save something else
            y, saved = kernels.conv2d_forward(x, w, b, self.win, self.groups, self.needs[1])
        else:
            y = kernels.conv2d(x, w, b, self.win, self.groups)
            saved = x if self.needs[1] else None, w if self.needs[0] else None
        self.save(*saved)
        return to_nchw(y)

    def backward(self, gy):
        gy = to_nhwc(gy)
        kernels = backend.kernels_for(gy)
        gx = None
        gw = None
        if hasattr(kernels, "conv2d_backward"):
            gx, gw = kernels.conv2d_backward(gy, self.saved, self.x_shape, self.win, self.groups,
                                             self.needs)
        else:
            x, w = self.saved
            if self.needs[0]:
                gx = kernels.conv2d_backward_input(gy, w, self.x_shape, self.win, self.groups)
            if self.needs[1]:
                gw = kernels.conv2d_backward_weight(x, gy, self.win, self.groups)
        gb = bias_gradient(self, gy)  # (N,OH,OW,O) -> (O,)
        return None if gx is None else to_nchw(gx), gw, gb


def check_images(name: str, x: Tensor) -> None:
    """Raises ShapeError unless x is a batch of images."""
    if x.ndim != 4:
        raise ShapeError(f"{name}: got input {x.shape}, expected (N, C, H, W)")


def check_dtypes(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raises UsageError unless all have one dtype. If they were mixed, all that follows would run
    in float64, and nobody would notice."""
    if weight.dtype != x.dtype or (bias is not None and bias.dtype != x.dtype):
        raise UsageError(f"{name}: got input of {x.dtype} and weight of {weight.dtype}, expected "
                         "one dtype; convert the data with .astype, or the model with "
                         "model.astype")


def out_size(name: str, win: Window, x: Tensor) -> Pair:
    """(OH, OW) of the windows on x (N,C,H,W). Raises ShapeError, which names the operation, when
    they do not fit."""
    try:
        return win.out(*x.shape[2:])
    except ShapeError as error:
        raise ShapeError(f"{name}: {error}") from None


@one_or_many
def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1,
           padding: int | Pair | str = 0, dilation: int | Pair = 1, groups: int = 1,
           ceil_mode: bool = False) -> Tensor:
    """Convolve x (N,C,H,W) with weight (O,C/groups,KH,KW) and add bias (O,): (N,O,OH,OW). One image
    (C,H,W) becomes (O,OH,OW).

        OH = 1 + floor((H + 2 padding - dilation (KH-1) - 1) / stride)

    With ceil_mode it is the ceiling, and zeros are read past the right and bottom edge: the 2012
    code's rounding, by which 224 gives 55 (AlexNet-Source-Code layer.py:1004). A window that this
    adds but that would see no pixel is left out, as in torch's pooling. `groups` splits input and
    output channels into that many separate convolutions, the paper's two GPUs (section 3.5).
    padding may be "valid" (none) or "same" (the output has the input's size; stride 1).
    Raises ShapeError when the shapes do not fit, UsageError when the dtypes differ.
    """
    check_images("conv2d", x)
    if weight.ndim != 4:
        raise ShapeError(f"conv2d: got weight {weight.shape}, expected (O, C/groups, KH, KW)")
    C = x.shape[1]
    O, group_channels, KH, KW = weight.shape
    if groups < 1 or C % groups or O % groups:
        raise ShapeError(f"conv2d: {groups} groups do not divide {C} input and {O} output "
                         "channels")
    if group_channels * groups != C:
        raise ShapeError(f"conv2d: got input {x.shape} with {C} channels, expected "
                         f"{group_channels * groups} (weight {weight.shape}, groups {groups})")
    if bias is not None and bias.shape != (O,):
        raise ShapeError(f"conv2d: got bias {bias.shape}, expected ({O},)")
    check_dtypes("conv2d", x, weight, bias)
    cells = padding_of(padding, (KH, KW), stride, dilation)
    win = Window.of((KH, KW), stride, cells, dilation, ceil_mode)
    out_size("conv2d", win, x)  # raises when the windows do not fit
    y = Conv2d(win, groups)(x, weight, bias)
    if padding != "same" or y.shape[2:] == x.shape[2:]:
        return y
    # Padded alike on both sides, an even span gives one row or column more than the input has: the
    # first, whose window begins a cell too early.
    return y[:, :, y.shape[2] - x.shape[2]:, y.shape[3] - x.shape[3]:]
