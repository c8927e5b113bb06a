"""Response normalisation within a map: the `rnorm` layers of the 2012 code, which are not in the
paper."""
from .gates import BehindGate
from .layout import to_nchw, to_nhwc


class LocalResponseNormWithin(BehindGate):
    """As lrn.LocalResponseNorm with a size x size spatial window of the same map in place of the
    channels."""

    def __init__(self, size: int, a: float, beta: float, k: float) -> None:
        self.size = size
        self.a = a
        self.beta = beta
        self.k = k

    def forward(self, x):
        x = to_nhwc(x)
        y, scale = self.kernel("lrn_within", x)(x, self.size, self.a, self.beta, self.k)
        self.save(x, scale)
        return to_nchw(y)

    def backward(self, gy):
        x, scale = self.saved
        gy = to_nhwc(gy)
        backward = self.kernel("lrn_within_backward", gy)
        gx = backward(gy, x, scale, self.size, self.a, self.beta)
        return self.hand_back(to_nchw(gx))
