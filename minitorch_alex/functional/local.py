"""The locally connected layer: a convolution whose weights are not shared."""
from .. import backend
from ..autograd import Function
from ..errors import ShapeError
from ..kernels.window import Pair, Window
from ..tensor import Tensor
from .batch import one_or_many
from .conv import check_dtypes, check_images, out_size
from .layout import contiguous, to_nchw, to_nhwc


class LocallyConnected2d(Function):
    """As conv.Conv2d with a weight of its own at every output place: w[oh,ow,o,c,kh,kw], b[o,oh,ow].
    Saves x and w, each where the other's gradient is wanted."""

    def __init__(self, win: Window) -> None:
        self.win = win

    def forward(self, x, w, b):
        x = to_nhwc(x)
        w = contiguous(w)
        self.x_shape = x.shape
        self.save(x if self.needs[1] else None, w if self.needs[0] else None)
        b = None if b is None else contiguous(b.transpose(1, 2, 0))  # (O,OH,OW) -> (OH,OW,O)
        return to_nchw(backend.kernels_for(x, w, b).locally_connected2d(x, w, b, self.win))

    def backward(self, gy):
        x, w = self.saved
        gy = to_nhwc(gy)
        kernels = backend.kernels_for(gy)
        gx = None
        gw = None
        gb = None
        if self.needs[0]:
            gx = to_nchw(kernels.locally_connected2d_backward_input(gy, w, self.x_shape, self.win))
        if self.needs[1]:
            gw = kernels.locally_connected2d_backward_weight(x, gy, self.win)
        if self.needs[2]:
            gb = gy.sum(axis=0).transpose(2, 0, 1)  # (N,OH,OW,O) -> (OH,OW,O) -> (O,OH,OW)
        return gx, gw, gb


@one_or_many
def locally_connected2d(x: Tensor, weight: Tensor, bias: Tensor | None = None,
                        stride: int | Pair = 1, padding: int | Pair = 0,
                        dilation: int | Pair = 1) -> Tensor:
    """As conv2d with weights that differ from place to place: x (N,C,H,W), weight
    (OH,OW,O,C,KH,KW), bias (O,OH,OW).

    The `local` layers of the CIFAR nets of 2011 (AlexNet-Source-Code
    example-layers/layers-conv-local-13pct.cfg). Raises ShapeError when the shapes do not fit,
    UsageError when the dtypes differ.
    """
    check_images("locally_connected2d", x)
    if weight.ndim != 6:
        raise ShapeError(f"locally_connected2d: got weight {weight.shape}, expected "
                         "(OH, OW, O, C, KH, KW)")
    check_dtypes("locally_connected2d", x, weight, bias)
    _, _, O, _, KH, KW = weight.shape
    win = Window.of((KH, KW), stride, padding, dilation)
    OH, OW = out_size("locally_connected2d", win, x)
    expected = (OH, OW, O, x.shape[1], KH, KW)
    if weight.shape != expected:
        raise ShapeError(f"locally_connected2d: got weight {weight.shape}, expected {expected} "
                         f"for input {x.shape}")
    if bias is not None and bias.shape != (O, OH, OW):
        raise ShapeError(f"locally_connected2d: got bias {bias.shape}, expected {(O, OH, OW)}")
    return LocallyConnected2d(win)(x, weight, bias)
