"""The kernels in NumPy, fast: the same functions as `naive.py`, which says what they compute.

Arrays are NHWC, C-contiguous, float32 or float64; results have the dtype of the input. Five ideas
carry the speed:

1. Channels last. The inner loops of gathering, pooling and normalising run over contiguous
   channels, and a convolution's output matrix (N OH OW, O) is the next layer's image, without a
   transpose.
2. Blocks (blocks.py). im2col copies windows into a matrix of BLOCK bytes that stays in the cache,
   one matrix product reads it, and the next block overwrites it. The whole matrix would be up to
   25 times the image; where windows overlap, by_rows.py does with 5 times. The backward pass
   gathers again.
3. Threads (kernels/workers.py). Each takes a share of the batch, with BLAS at one thread.
4. Tiles. Chains of element-wise steps run over TILE elements at a time, so that each step finds in
   the cache what the last one wrote.
5. Gather, not scatter, where possible: at stride 1 the input gradient is itself a convolution.
"""
from .batch_norm import batch_moments, batch_norm, batch_norm_backward
from .conv import conv2d, conv2d_backward_input, conv2d_backward_weight, conv2d_relu
from .dense import (
    linear,
    linear_backward_input,
    linear_backward_weight,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    sum_rows,
)
from .elementwise import dropout, relu, relu_backward, sgd, tanh, tanh_backward
from .later import adam, scatter_add
from .local import (
    locally_connected2d,
    locally_connected2d_backward_input,
    locally_connected2d_backward_weight,
)
from .lrn import (
    lrn,
    lrn_backward,
    lrn_backward_of_relu,
    lrn_values,
    lrn_within,
    lrn_within_backward,
    lrn_within_backward_of_relu,
    lrn_within_values,
)
from .pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_of_relu,
    max_pool2d_values,
)

__all__ = [
    "adam", "avg_pool2d", "avg_pool2d_backward", "batch_moments", "batch_norm",
    "batch_norm_backward", "conv2d", "conv2d_backward_input", "conv2d_backward_weight",
    "conv2d_relu", "dropout", "linear", "linear_backward_input", "linear_backward_weight",
    "locally_connected2d", "locally_connected2d_backward_input",
    "locally_connected2d_backward_weight", "lrn", "lrn_backward", "lrn_backward_of_relu",
    "lrn_values", "lrn_within", "lrn_within_backward", "lrn_within_backward_of_relu",
    "lrn_within_values", "max_pool2d", "max_pool2d_backward", "max_pool2d_of_relu",
    "max_pool2d_values", "relu", "relu_backward", "scatter_add", "sgd", "softmax_cross_entropy",
    "softmax_cross_entropy_backward", "sum_rows", "tanh", "tanh_backward",
]
