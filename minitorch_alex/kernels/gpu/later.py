"""Adam's update, and the adjoint of indexing."""
import math
from typing import Any

from ... import backend
from ..launch import launch

Array = Any  # a CuPy array


def scatter_add(g: Array, places: Array, size: int) -> Array:
    """total[places[i]] += g[i]: g (n,), places (n,) -> (size,).

    Sorted by place, what one place collects stands side by side, so that one thread can add it:
    no atomic additions, and the same bits every time.
    """
    xp = backend.xp_of(g, places)
    order = xp.argsort(places)
    starts = xp.searchsorted(places[order], xp.arange(size + 1))
    total = xp.empty(size, g.dtype)
    launch("scatter_add", g, size, 1, (g, order, starts, total), size)
    return total


def adam(w: Array, g: Array, m: Array, v: Array, lr: float, beta1: float, beta2: float, eps: float,
         weight_decay: float, step: int) -> None:
    """Step number `step` (from 1) of Adam, in place on flat w, m and v; `naive_later` has the
    formula."""
    rate = lr / (1 - beta1 ** step)
    root = 1 / math.sqrt(1 - beta2 ** step)
    numbers = (rate, root, float(beta1), float(beta2), float(eps), float(weight_decay))
    launch("adam", w, w.size, 1, (w, g, m, v), w.size, *numbers)
