"""A convolution whose kernels take in the ReLU behind it: while a block of the product is in the
cache, max with 0 costs little."""
from .. import backend
from .activation import ReLU
from .conv import Conv2d
from .layout import contiguous, to_nchw, to_nhwc


class Conv2dReLU(Conv2d):
    """Its result is that of the ReLU behind it, max(y, 0); its gradients are those of y. Together
    with `DoneReLU` it makes the graph of the two layers, with the same numbers."""

    def forward(self, x, w, b):
        x = to_nhwc(x)
        w = contiguous(w)
        b = contiguous(b)
        self.x_shape = x.shape
        self.save(x if self.needs[1] else None, w if self.needs[0] else None)
        return to_nchw(backend.kernels_for(x, w, b).conv2d_relu(x, w, b, self.win, self.groups))


class DoneReLU(ReLU):
    """A ReLU that gets its result: backward it is one, forward there is nothing left to do."""

    def forward(self, x):
        self.save(to_nhwc(x))
        return x

