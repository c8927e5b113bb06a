"""Factors of matrix products in half precision: what --precision fp16 and bf16 make of them.

Tensor cores multiply numbers of two bytes faster than any others, and add up in float32. So the
two factors of a product are rounded, each once however many products it enters. All else stays
float32: results, weights, gradients, update. There are two such formats:

    bf16   8 significant bits, the exponents of float32: numbers are rounded, and that is all
    fp16  11 significant bits, from 2^-24 to 65504: gradients of a large batch are smaller

The usual remedy for the range of fp16 multiplies the loss by a number, which must be found while
training and now and then costs a step. Here each factor is multiplied by a power of two of its
own, which is exact, such that its largest absolute value lies between 2^14 and 2^15; cuBLAS scales
the product back. Nothing overflows; what vanishes is smaller than a 2^-39th part of the largest;
and there is no state to keep. The powers are found on the device, where they are needed, so the
host does not wait for them. NaN and infinity reach the product.

    factor       largest 3.1e-5 = 1.02 2^-15      times 2^29: largest 1.02 2^14, rounded to fp16
    factor       largest 0.9    = 1.80 2^-1       times 2^15: largest 1.80 2^14, rounded to fp16
    product      of the two                       times 2^-44, in float32

A power is 2^63 at most, so that the way back of two of them is a normal float: CuPy compiles with
-ftz=true, and numbers below 2^-126 are 0 on the device. A factor whose largest number is below
2^-48 therefore loses bits, and one below 2^-87 counts as 0.
"""
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from .launch import launch
from .window import ceil_div

Array = Any  # a CuPy array

PIECES = 1 << 17  # threads at most that look for the largest number: enough to fill a GPU
STEP = 64         # numbers, at least, that each of them looks at


@dataclass(frozen=True)
class Factor:
    """A factor of matrix products, rounded if the precision asks for it.

        array      its numbers: float32, float64, float16, or the bits of bfloat16 as uint16
        largest    (1,) their largest absolute value before rounding, under fp16; else None
    """

    array: Array
    largest: Array | None = None


def factor(x: Array) -> Factor:
    """x as a factor of products: rounded if it is float32 and the precision is fp16 or bf16, else
    as it is."""
    precision = backend.precision()
    if x.dtype != np.float32 or precision not in ("fp16", "bf16"):
        return Factor(x)
    xp = backend.xp_of(x)
    x = xp.ascontiguousarray(x)
    if precision == "bf16":
        y = xp.empty(x.shape, np.uint16)
        launch("to_bf16", x, x.size, 1, (x, y), x.size)
        return Factor(y)
    largest = _largest(x)
    return Factor(_scaled_half(x, largest), largest)


def _scaled_half(x: Array, largest: Array) -> Array:
    """x times a power of two, in half precision. `largest` (1,), the largest absolute value of x,
    decides which power."""
    y = backend.xp_of(x).empty(x.shape, np.float16)
    launch("to_half", x, x.size, 1, (x, largest, y), x.size)
    return y


def _largest(x: Array) -> Array:
    """(1,): the largest absolute value of x, without NaN. Each round leaves a 64th of the numbers,
    until one is left."""
    while True:
        pieces = max(1, min(PIECES, ceil_div(x.size, STEP)))
        tops = backend.xp_of(x).empty(pieces, x.dtype)
        launch("largest", x, pieces, 1, (x, tops), x.size, pieces)
        if pieces == 1:
            return tops
        x = tops


def way_back(a: Factor, b: Factor) -> Array | None:
    """(2^-k, 0, 1) where a and b together were multiplied by 2^k; None if they were not. With
    the 0 and the 1, products.multiply replaces or adds."""
    if a.largest is None or b.largest is None:
        return None
    back = backend.xp_of(a.largest, b.largest).empty(3, a.largest.dtype)
    launch("scale_back", back, 3, 1, (a.largest, b.largest, back))
    return back
