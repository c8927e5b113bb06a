"""Element by element, in tiles: non-linearities, dropout, the update.

The order of the axes does not matter here, so every array is seen as a flat one.
"""
import numpy as np

from ...errors import UsageError
from .blocks import TILE, as_bits, tiles


def _flat(array: np.ndarray) -> np.ndarray:
    """All elements in their order in memory, as a view."""
    return array.reshape(-1)  # (...) -> (size,)


def relu(x: np.ndarray) -> np.ndarray:
    """y = max(x, 0)."""
    y = np.empty_like(x)
    flat_x = _flat(x)
    flat_y = _flat(y)
    zeros = np.zeros(min(TILE, x.size), x.dtype)  # three times as fast as the scalar 0 below

    def body(t: slice) -> None:
        np.maximum(flat_x[t], zeros[:t.stop - t.start], out=flat_y[t])

    tiles(x.size, body)
    return y


def relu_backward(gy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """gx = 0 where y <= 0, else gy: a NaN passes its gradient on, as in PyTorch."""
    gx = np.empty_like(gy)
    flat_g = as_bits(_flat(gy))
    flat_y = _flat(y)
    flat_gx = as_bits(_flat(gx))
    tiles(gy.size, lambda t: np.multiply(flat_g[t], _passes(flat_y[t]), out=flat_gx[t]))
    return gx


def close_gate(g: np.ndarray, y: np.ndarray) -> None:
    """`relu_backward` in place, for a part of an array that is in the cache."""
    bits = as_bits(g)
    np.multiply(bits, _passes(y), out=bits)


def _passes(y: np.ndarray) -> np.ndarray:
    """Where a ReLU with the result y passes its gradient on."""
    closed = y <= 0
    return np.logical_not(closed, out=closed)


def tanh(x: np.ndarray) -> np.ndarray:
    """y = tanh(x)."""
    y = np.empty_like(x)
    flat_x = _flat(x)
    flat_y = _flat(y)
    tiles(x.size, lambda t: np.tanh(flat_x[t], out=flat_y[t]))
    return y


def tanh_backward(gy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """gx = gy (1 - y^2)."""
    gx = np.empty_like(gy)
    flat_g = _flat(gy)
    flat_y = _flat(y)
    flat_gx = _flat(gx)
    tiles(gy.size, lambda t: np.multiply(flat_g[t], 1 - np.square(flat_y[t]), out=flat_gx[t]))
    return gx


def dropout(x: np.ndarray, p: float, scale: float, key: tuple[int, int]) -> np.ndarray:
    """x scale where the hash of (key, element number) keeps the element, else 0; called on gy it
    is its own backward. `naive.dropout` has the hash with its source; uint32 wraps by itself."""
    y = np.empty_like(x)
    flat_x = _flat(x)
    flat_y = _flat(y)
    threshold = int(p * 2**32)

    def body(t: slice) -> None:
        h = np.arange(t.start, t.stop, dtype=np.uint32)
        h *= np.uint32(0x9E3779B1)
        h += np.uint32(key[0])
        h ^= h >> 16
        h *= np.uint32(0x85EBCA6B)
        h ^= h >> 13
        h += np.uint32(key[1])
        h *= np.uint32(0xC2B2AE35)
        h ^= h >> 16
        np.multiply(flat_x[t], h >= threshold, out=flat_y[t])
        flat_y[t] *= scale

    tiles(x.size, body)
    return y


def sgd(w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float,
        weight_decay: float, rule: str) -> None:
    """One step of gradient descent with momentum, in place on flat w and v.

    "2012"   v := m v - wd lr w - lr g;   w := w + v        (Krizhevsky et al. 2012, 5)
    "torch"  v := m v + g + wd w;         w := w - lr v     (torch.optim.SGD)
    "nesterov"  v as in "torch";          w := w - lr (g + wd w + m v)
    Raises UsageError for another rule.
    """
    if rule not in ("2012", "torch", "nesterov"):
        raise UsageError(f"sgd: got rule {rule!r}, expected '2012', 'torch' or 'nesterov'")
    inner = lr if rule == "2012" else 1.0  # the rate, where it multiplies inside v

    def body(t: slice) -> None:
        v_t = v[t]
        w_t = w[t]
        step = g[t] * inner
        if weight_decay:
            step += w_t * (weight_decay * inner)
        v_t *= momentum
        if rule == "2012":
            v_t -= step
            w_t += v_t
        else:
            v_t += step
            w_t -= lr * (v_t if rule == "torch" else step + momentum * v_t)

    tiles(w.size, body)
