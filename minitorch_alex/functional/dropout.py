"""Dropout (paper section 4.2): each hidden unit is silent with probability p, at random, at every
training step."""
from .. import backend, streams
from ..autograd import Function
from ..errors import UsageError
from ..tensor import Tensor
from .layout import to_nchw, to_nhwc


class Dropout(Function):
    """y = scale m x with m in {0, 1}. The mask is a hash of (key, element index): nothing is
    stored, backward makes the same mask again, and every backend makes the same one."""

    def __init__(self, p: float, scale: float, key: tuple[int, int]) -> None:
        self.p = p
        self.scale = scale
        self.key = key

    def forward(self, x):
        x = to_nhwc(x)
        return to_nchw(backend.kernels_for(x).dropout(x, self.p, self.scale, self.key))

    def backward(self, gy):
        return self.forward(gy)  # gx = scale m gy: the same mask, made again from the same key


def check_dropout(p: float, rule: str) -> None:
    """Raises UsageError for a probability outside 0 <= p <= 1 or an unknown rule."""
    if not 0 <= p <= 1:
        raise UsageError(f"dropout: got p = {p}, expected 0 <= p <= 1")
    if rule not in ("inverted", "2012"):
        raise UsageError(f"dropout: got rule {rule!r}, expected 'inverted' or '2012'")


def dropout(x: Tensor, p: float = 0.5, training: bool = True, rule: str = "inverted") -> Tensor:
    """Silence each element of x with probability p.

        rule          training         evaluation
        "inverted"    m x / (1 - p)    x            PyTorch's; training keeps the mean
        "2012"        m x              x (1 - p)    the paper's: "multiply their outputs by 0.5"

    Both are the same function if the next layer's weights differ by the factor 1 - p, so an
    initialisation made for one does not suit the other. Masks follow manual_seed, set_step and the
    order of calls. Raises UsageError when p is outside 0 <= p <= 1 or the rule is unknown.
    """
    check_dropout(p, rule)
    if not training:
        return x if rule == "inverted" else x * (1 - p)
    if p == 1:  # nothing is kept, and the scale would be infinite
        return x * 0.0
    scale = 1 / (1 - p) if rule == "inverted" else 1.0
    return Dropout(p, scale, streams.next_dropout_key(x.shape))(x)
