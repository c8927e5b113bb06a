"""Element by element: non-linearities, dropout and the update."""
from typing import Any

import numpy as np

from ... import backend
from ...errors import UsageError
from ..launch import launch

Array = Any  # a CuPy array

UPDATES = {"2012": "sgd_2012", "torch": "sgd_torch", "nesterov": "sgd_nesterov"}  # rule -> kernel


def _elementwise(name: str, *arrays: Array, args: tuple = ()) -> Array:
    """A new array with the results of kernel `name`, which takes the arrays, the result, the
    number of elements and `args`."""
    result = backend.xp_of(*arrays).empty_like(arrays[0])
    launch(name, result, result.size, 1, (*arrays, result), result.size, *args)
    return result


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return _elementwise("relu", x)


def relu_backward(gy: Array, y: Array) -> Array:
    """gx = gy where y > 0, else 0."""
    return _elementwise("relu_backward", gy, y)


def tanh(x: Array) -> Array:
    """y = tanh(x)."""
    return _elementwise("tanh_forward", x)


def tanh_backward(gy: Array, y: Array) -> Array:
    """gx = gy (1 - y^2)."""
    return _elementwise("tanh_backward", gy, y)


def dropout(x: Array, p: float, scale: float, key: tuple[int, int]) -> Array:
    """x scale where the hash of (key, element number) keeps the element, else 0; called on gy it
    is its own backward. `naive.dropout` has the hash with its source."""
    threshold = np.uint64(int(p * 2**32))  # 2^32 at p = 1, which 32 bits do not hold
    args = (threshold, float(scale), np.uint32(key[0]), np.uint32(key[1]))
    return _elementwise("dropout", x, args=args)


def sgd(w: Array, g: Array, v: Array, lr: float, momentum: float, weight_decay: float,
        rule: str) -> None:
    """One step of gradient descent with momentum, in place on flat w and v.

    "2012"   v := m v - wd lr w - lr g;   w := w + v        (Krizhevsky et al. 2012, 5)
    "torch"  v := m v + g + wd w;         w := w - lr v     (torch.optim.SGD)
    "nesterov"  v as in "torch";          w := w - lr (g + wd w + m v)
    Raises UsageError for another rule.
    """
    if rule not in UPDATES:
        raise UsageError(f"sgd: got rule {rule!r}, expected '2012', 'torch' or 'nesterov'")
    launch(UPDATES[rule], w, w.size, 1, (w, g, v), w.size,
           float(lr), float(momentum), float(weight_decay))
