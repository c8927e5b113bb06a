"""The operations, one idea per file; names and meanings are PyTorch's."""
from .activation import relu, tanh
from .basic import (
    add,
    div,
    exp,
    flatten,
    log,
    matmul,
    mean,
    mul,
    neg,
    permute,
    power,
    reshape,
    sub,
    sum,
    transpose,
)
from .conv import conv2d, locally_connected2d
from .dropout import dropout
from .linear import linear
from .loss import cross_entropy, log_softmax, softmax
from .lrn import local_response_norm
from .pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d

__all__ = ["adaptive_avg_pool2d", "add", "avg_pool2d", "conv2d", "cross_entropy", "div", "dropout", "exp", "flatten",
           "linear", "local_response_norm", "locally_connected2d", "log", "log_softmax", "matmul",
           "max_pool2d", "mean", "mul",
           "neg", "permute", "power", "relu", "reshape", "softmax", "sub", "sum", "tanh",
           "transpose"]
