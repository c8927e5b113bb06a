"""Softmax and cross-entropy in one, as loss.cu computes them: in three launches."""
from typing import Any

import numpy as np

from ... import backend
from ..launch import launch

Array = Any  # a CuPy array

PIECES = 32  # threads that share a row of logits: a warp, which reads 32 neighbours in one go


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """loss_n = -log softmax(logits_n)[label_n] (N,) and the probabilities (N,K), with logits
    shifted so that exp cannot overflow.

    A label outside 0..K-1 makes its loss NaN: to raise, one would have to wait for the device.
    """
    xp = backend.xp_of(logits, labels)
    N, K = logits.shape
    P = min(PIECES, K)
    dtype = logits.dtype
    top = xp.empty((N, P), dtype)    # of each piece of a row: its largest logit,
    total = xp.empty((N, P), dtype)  # and the sum of exp(logit - largest)
    row_top = xp.empty(N, dtype)
    row_total = xp.empty(N, dtype)
    loss = xp.empty(N, dtype)
    probs = xp.empty_like(logits)
    launch("softmax_pieces", logits, N * P, 1, (logits, top, total), N, K, P)
    labels = labels.astype(np.int64, copy=False)
    launch("softmax_rows", logits, N, 1, (logits, labels, top, total, row_top, row_total, loss),
           N, K, P)
    launch("softmax_probabilities", logits, N * K, 1, (logits, row_top, row_total, probs), N, K)
    return loss, probs


def softmax_cross_entropy_backward(g: Array, probs: Array, labels: Array) -> Array:
    """glogits = g (probs - onehot(label)), with g (N,) the gradient of each loss."""
    xp = backend.xp_of(g, probs, labels)
    N, K = probs.shape
    glogits = xp.empty_like(probs)
    labels = labels.astype(np.int64, copy=False)
    launch("softmax_cross_entropy_backward", probs, N * K, 1, (g, probs, labels, glogits), N, K)
    return glogits
