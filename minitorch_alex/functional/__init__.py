"""The operations, one idea per file; names and meanings are PyTorch's."""
from ..tensor import Tensor
from .activation import relu, tanh
from .adaptive import adaptive_avg_pool2d
from .basic import add, exp, log, mean, mul, neg, permute, reshape, sub, sum, transpose
from .conv import conv2d
from .dropout import dropout
from .indexing import index
from .linear import linear
from .local import locally_connected2d
from .loss import cross_entropy
from .lrn import local_response_norm
from .matmul import matmul
from .norm import batch_norm
from .pointwise import (
    abs,
    clamp,
    div,
    eq,
    ge,
    gt,
    le,
    leaky_relu,
    lt,
    maximum,
    minimum,
    ne,
    pow,
    power,
    sigmoid,
    sqrt,
    where,
)
from .pool import avg_pool2d, max_pool2d
from .reduce import amax, amin, argmax, argmin, max, min
from .shaping import cat, expand, flatten, squeeze, stack, t, unsqueeze, view
from .softmax import log_softmax, softmax

__all__ = ["abs", "adaptive_avg_pool2d", "add", "amax", "amin", "argmax", "argmin", "avg_pool2d",
           "batch_norm", "cat", "clamp", "conv2d", "cross_entropy", "div", "dropout", "eq", "exp",
           "expand", "flatten", "ge", "gt", "index", "le", "leaky_relu", "linear",
           "local_response_norm", "locally_connected2d", "log", "log_softmax", "lt", "matmul",
           "max", "max_pool2d", "maximum", "mean", "min", "minimum", "mul", "ne", "neg", "permute",
           "pow", "power", "relu", "reshape", "sigmoid", "softmax", "sqrt", "squeeze", "stack",
           "sub", "sum", "t", "tanh", "transpose", "unsqueeze", "view", "where"]

# A method is the function with the tensor in front. Those that arithmetic needs stand in tensor.py,
# where everybody looks for them; the rest are these functions themselves.
METHODS = (abs, add, amax, amin, argmax, argmin, clamp, div, eq, expand, flatten, ge, gt, le,
           log_softmax, lt, matmul, max, maximum, min, minimum, mul, ne, neg, pow, relu, sigmoid,
           softmax, sqrt, squeeze, sub, t, tanh, unsqueeze, view)
for method in METHODS:
    setattr(Tensor, method.__name__, method)
