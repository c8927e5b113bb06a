"""Fully connected layers and the loss."""
import numpy as np

from ..window import ceil_div
from ..workers import parallel_for
from .blocks import TILE

FEATURES = 128  # columns of a matrix product that are worth a thread


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """y = x @ w^T + b; the threads share the output features.

    x (N,I)  w (O,I)  b (O,) or None  ->  y (N,O)
    """
    y = np.empty((x.shape[0], w.shape[0]), x.dtype)

    def body(o0: int, o1: int) -> None:
        np.matmul(x, w[o0:o1].T, out=y[:, o0:o1])
        if b is not None:
            y[:, o0:o1] += b[o0:o1]

    parallel_for(w.shape[0], body, FEATURES)
    return y


def linear_backward_input(gy: np.ndarray, w: np.ndarray) -> np.ndarray:
    """gx = gy @ w; the threads share the input features.

    gy (N,O)  w (O,I)  ->  gx (N,I)
    """
    gx = np.empty((gy.shape[0], w.shape[1]), gy.dtype)
    parallel_for(w.shape[1], lambda i0, i1: np.matmul(gy, w[:, i0:i1], out=gx[:, i0:i1]), FEATURES)
    return gx


def linear_backward_weight(gy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """gw = gy^T @ x; the threads share the output features.

    gy (N,O)  x (N,I)  ->  gw (O,I)
    """
    gw = np.empty((gy.shape[1], x.shape[1]), gy.dtype)
    parallel_for(gy.shape[1], lambda o0, o1: np.matmul(gy[:, o0:o1].T, x, out=gw[o0:o1]), FEATURES)
    return gw


def sum_rows(g: np.ndarray) -> np.ndarray:
    """The sum over all axes but the last: g (..., O) -> (O,).

    Tile by tile, so that float32 rounding does not pile up. As a product with a row of ones it is
    several times as fast as np.sum, and rounds less.
    """
    rows = g.reshape(-1, g.shape[-1])  # (..., O) -> (rows, O)
    step = max(1, TILE // rows.shape[1])
    sums = np.empty((ceil_div(len(rows), step), rows.shape[1]), g.dtype)
    ones = np.ones(min(step, len(rows)), g.dtype)

    def body(i0: int, i1: int) -> None:
        for i in range(i0, i1):
            tile = rows[i * step:(i + 1) * step]
            np.matmul(ones[:len(tile)], tile, out=sums[i])

    parallel_for(len(sums), body)
    return sums.sum(axis=0)


def softmax_cross_entropy(logits: np.ndarray,
                          labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """loss_n = -log softmax(logits_n)[label_n] and the probabilities softmax(logits).

    The largest logit is subtracted first, so that exp cannot overflow. The labels are taken to be
    0..K-1: functional.cross_entropy checks them, once for all backends.
    logits (N,K)  labels (N,) integers  ->  loss (N,), probs (N,K)
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    probs = np.exp(shifted)
    total = probs.sum(axis=1, keepdims=True)
    loss = np.log(total[:, 0]) - shifted[np.arange(len(labels)), labels]
    probs /= total
    return loss, probs


def softmax_cross_entropy_backward(g: np.ndarray, probs: np.ndarray,
                                   labels: np.ndarray) -> np.ndarray:
    """glogits = g (probs - onehot(label)), with g the gradient of each loss.

    g (N,)  probs (N,K)  labels (N,)  ->  glogits (N,K)
    """
    glogits = probs * g[:, None]
    glogits[np.arange(len(labels)), labels] -= g
    return glogits
