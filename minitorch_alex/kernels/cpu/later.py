"""Adam's update, and the adjoint of indexing."""
import math

import numpy as np

from .blocks import tiles


def adam(w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, lr: float, beta1: float,
         beta2: float, eps: float, weight_decay: float, step: int) -> None:
    """Step number `step` (from 1) of Adam, in place on flat w, m and v; `naive.adam` has the
    formula. The corrections of both moments are two numbers, taken out of the loop."""
    rate = lr / (1 - beta1 ** step)
    root = 1 / math.sqrt(1 - beta2 ** step)

    def body(t: slice) -> None:
        gradient = g[t] + weight_decay * w[t] if weight_decay else g[t]
        m_t = m[t]
        m_t *= beta1
        m_t += (1 - beta1) * gradient
        v_t = v[t]
        v_t *= beta2
        v_t += (1 - beta2) * np.square(gradient)
        divisor = np.sqrt(v_t)
        divisor *= root
        divisor += eps
        w[t] -= rate * m_t / divisor

    tiles(w.size, body)


def scatter_add(g: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """total[places[i]] += g[i], in the order of i: g (n,), places (n,) -> (size,)."""
    total = np.zeros(size, g.dtype)
    np.add.at(total, places, g)  # total[places] += g would keep one of several equal places
    return total
