"""The kernels on a GPU: the same functions as `cpu` and `naive`, which says what they compute.

Arrays are CuPy's: NHWC, C-contiguous, float32 or float64. Matrix products are cuBLAS's
(products.py; half.py rounds their factors). Everything else is done by the kernels of cuda/*.cu,
which launch.py starts; common.cu says how those are written. Four things to know:

1. Products are two-dimensional: a convolution is one `col @ w^T` per group, over as many images as
   WORKSPACE bytes of column matrix hold (columns.py). Where the memory of the GPU allows, training
   keeps the column matrices of the forward pass for the weights' gradient, which would otherwise
   gather them again.
2. Nothing waits. A call puts work into the device's queue and returns; only backend.to_numpy and
   backend.synchronize wait for results. So nothing here looks at a value: a label outside 0..K-1
   makes its loss NaN instead of raising.
3. Numbers are Python's. Under NumPy 2's rules an array times a NumPy scalar becomes float64.
4. Every sum has a fixed order: two runs give the same bits.

CuPy is not imported: its module comes from the arrays (backend.xp_of). So the tests can run all of
this on a stand-in, with the .cu files compiled for the CPU.
"""
from .batch_norm import batch_moments, batch_norm, batch_norm_backward
from .bias import bias_gradient, bias_relu, sum_rows
from .conv import (
    conv2d,
    conv2d_backward,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from .dense import (
    linear,
    linear_backward,
    linear_backward_input,
    linear_backward_weight,
    linear_forward,
)
from .elementwise import dropout, relu, relu_backward, sgd, tanh, tanh_backward
from .input import augment, enlarge
from .later import adam, scatter_add
from .local import (
    locally_connected2d,
    locally_connected2d_backward_input,
    locally_connected2d_backward_weight,
)
from .loss import softmax_cross_entropy, softmax_cross_entropy_backward
from .lrn import lrn, lrn_backward, lrn_backward_of_relu, lrn_within, lrn_within_backward
from .pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_of_relu,
)

__all__ = [
    "adam", "augment", "avg_pool2d", "avg_pool2d_backward", "batch_moments", "batch_norm",
    "batch_norm_backward", "bias_gradient", "bias_relu", "conv2d", "conv2d_backward",
    "conv2d_backward_input", "conv2d_backward_weight", "conv2d_forward", "dropout", "enlarge",
    "linear", "linear_backward", "linear_backward_input", "linear_backward_weight",
    "linear_forward", "locally_connected2d", "locally_connected2d_backward_input",
    "locally_connected2d_backward_weight", "lrn", "lrn_backward", "lrn_backward_of_relu",
    "lrn_within", "lrn_within_backward", "max_pool2d", "max_pool2d_backward", "max_pool2d_of_relu",
    "relu", "relu_backward",
    "scatter_add", "sgd",
    "softmax_cross_entropy", "softmax_cross_entropy_backward", "sum_rows", "tanh", "tanh_backward",
]
