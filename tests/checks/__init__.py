"""Checks that the tests and the planted bugs share: what a test proves on many drawn cases, a
check proves on a few.

A check is a function `check_...` without arguments that returns when all is well and raises when
not. `test_mutants.py` plants each bug of `mutants/` and runs the check that is named there: it
must fail. That is what shows that a check looks at what it claims to look at. The functions next
to them take one case and serve the drawn tests too.

    compare.py   comparing arrays            kernels.py   checks of the kernels, CPU and GPU
    cases.py     shapes and settings         engine.py    checks of what is built on them
    later.py     checks of both kinds, of what PyTorch has besides AlexNet's parts
    exchange.py  checks of what crosses between ranks, on NumPy alone
    parallel.py  checks of training on several ranks, which are threads
    explain.py   checks of what says why a network answers as it does
    together.py  checks of what the CPU's kernels do in one pass
    own.py       checks of fine-tuning and what surrounds it

A check belongs to the tuple CHECKS at the end of its file; test_kernels.py finds one that was
forgotten there.
"""
from . import cases, compare, engine, exchange, explain, kernels, later, own, parallel, together
from .cases import NormCase, WindowCase, fitting
from .compare import assert_close, dot, in_precision, normal
from .engine import (
    avg_pool2d_gradients,
    conv2d_gradients,
    gradients,
    host,
    leaf,
    locally_connected2d_gradients,
    lrn_gradients,
    max_pool2d_gradients,
    spaced,
)
from .kernels import (
    agree,
    avg_pool2d,
    conv2d_adjoint,
    conv2d_forward,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    locally_connected2d,
    lrn_forward,
    lrn_gradient,
    lrn_within,
    max_pool2d,
    oracles_agree,
    winograd,
)

KERNEL_CHECKS = (*kernels.CHECKS, *later.KERNEL_CHECKS, *together.KERNEL_CHECKS)
ENGINE_CHECKS = (*engine.CHECKS, *later.CHECKS, *explain.CHECKS, *together.CHECKS)
BY_NAME = {check.__name__: check for check in (*KERNEL_CHECKS, *ENGINE_CHECKS, *exchange.CHECKS, *parallel.CHECKS,
                                                *own.CHECKS)}

__all__ = [
    "BY_NAME", "ENGINE_CHECKS", "KERNEL_CHECKS", "NormCase", "WindowCase", "agree", "assert_close",
    "avg_pool2d", "avg_pool2d_gradients", "cases", "compare", "conv2d_adjoint", "conv2d_forward",
    "conv2d_gradients", "conv2d_input_gradient", "conv2d_weight_gradient", "dot", "engine", "exchange",
    "explain",
    "fitting", "gradients", "host", "in_precision", "kernels", "later", "leaf", "locally_connected2d",
    "locally_connected2d_gradients", "lrn_forward", "lrn_gradient", "lrn_gradients", "lrn_within",
    "max_pool2d", "max_pool2d_gradients", "normal", "oracles_agree", "own", "spaced", "together", "winograd",
]
