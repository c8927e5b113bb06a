"""What cross_entropy takes besides one label per case: class weights, ignored labels, smoothed
labels, probabilities, and a class for each place of a map. Put together from other operations; the
plain case has a kernel of its own (loss.py)."""
from typing import Any

import numpy as np

from .. import backend
from ..errors import ShapeError
from ..tensor import Tensor
from .basic import mean, sum
from .indexing import index
from .pointwise import tensor_like, where
from .softmax import log_softmax


def check_labels(logits: Tensor, labels: Any, ignore_index: int) -> bool:
    """Whether some labels may have to be ignored. Raises ShapeError for labels that do not fit
    logits (N,K,...), or are not the number of a class."""
    axis = 1 if logits.ndim > 1 else 0  # of the classes
    places = logits.shape[:axis] + logits.shape[axis + 1:]
    if not logits.ndim or labels.shape != places or not logits.size:
        raise ShapeError(f"cross_entropy: got logits {logits.shape} and labels {labels.shape}; "
                         "expected (N, K) and (N,) with N of at least 1, or (N, K, d1, ...) and "
                         "(N, d1, ...)")
    if labels.dtype.kind not in "iu":
        raise ShapeError(f"cross_entropy: got labels of {labels.dtype}, expected integers, or "
                         "probabilities as a Tensor")
    if not isinstance(labels, np.ndarray):  # on a device they are not read back to be checked
        return ignore_index != -100
    K = logits.shape[axis]
    outside = (labels < 0) | (labels >= K)
    if not outside.any() and not 0 <= ignore_index < K:
        return False  # most often: all of them are classes, and none of these is to be ignored
    wrong = np.argwhere(outside & (labels != ignore_index))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        raise ShapeError(f"cross_entropy: label {labels[place]} at position "
                         f"{place[0] if len(place) == 1 else place} is not a class 0..{K - 1}")
    return bool((labels == ignore_index).any())


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses, or they themselves for "none"."""
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    return losses


def _class_rows(x: Tensor) -> Tensor:
    """(K,), (N,K) or (N,K,d1,...) -> (M, K), a row for each case and place."""
    if x.ndim == 1:
        return x.reshape(1, -1)  # (K,) -> (1, K)
    last = x.permute(0, *range(2, x.ndim), 1)  # (N, K, d1, ...) -> (N, d1, ..., K)
    return last.reshape(-1, x.shape[1])        # (N, d1, ..., K) -> (N*d1*..., K)


def _class_weights(logits: Tensor, weight: Any) -> Tensor | None:
    """The factors of the classes (K,). Raises ShapeError for another shape."""
    if weight is None:
        return None
    factors = tensor_like(weight, logits).detach()
    K = logits.shape[1 if logits.ndim > 1 else 0]
    if factors.shape != (K,):
        raise ShapeError(f"cross_entropy: got a weight of shape {factors.shape}, expected ({K},)")
    return factors


def label_loss(logits: Tensor, labels: Any, weight: Any, reduction: str, ignore_index: int,
               label_smoothing: float) -> Tensor:
    """-w[label] ((1 - e) log p[label] + ...), see cross_entropy; ignored labels cost 0 and are left
    out of the mean, which is divided by the sum of the w[label]."""
    xp = backend.xp_of(logits.data, labels)
    log_p = log_softmax(_class_rows(logits))  # (M, K)
    M, K = log_p.shape
    flat = labels.reshape(-1)                 # (N, d1, ...) -> (M,)
    kept = flat != ignore_index
    classes = xp.where(kept, flat, xp.zeros_like(flat))
    weights = _class_weights(logits, weight)
    counts = kept.astype(logits.dtype)        # w[label], 0 where it is ignored
    if weights is not None:
        counts = counts * weights.data[classes]
    losses = -index(log_p, (xp.arange(M), classes)) * Tensor(counts)
    if label_smoothing:
        all_classes = log_p if weights is None else log_p * weights
        smooth = -sum(all_classes, -1) * Tensor(kept.astype(logits.dtype))
        losses = losses * (1 - label_smoothing) + smooth * (label_smoothing / K)
    losses = where(kept, losses, 0.0)         # 0 times an infinite loss would be NaN
    if reduction == "mean":
        return sum(losses) / Tensor(counts.sum())
    return reduced(losses.reshape(labels.shape), reduction)  # (M,) -> (N, d1, ...)


def probability_loss(logits: Tensor, target: Tensor, weight: Any, reduction: str,
                     label_smoothing: float) -> Tensor:
    """-sum_k w[k] target[k] log p[k] for each case and place; the mean is over these, whatever the
    weights are. Raises ShapeError unless the target has the shape of the logits."""
    if target.shape != logits.shape or not logits.size:
        raise ShapeError(f"cross_entropy: got logits {logits.shape} and probabilities "
                         f"{target.shape}, expected one shape, with at least one element")
    rows = _class_rows(target)                # (M, K)
    if label_smoothing:
        rows = rows * (1 - label_smoothing) + label_smoothing / rows.shape[1]
    weights = _class_weights(logits, weight)
    terms = rows * log_softmax(_class_rows(logits))
    losses = -sum(terms if weights is None else terms * weights, -1)
    if reduction == "mean":
        return mean(losses)
    shape = logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else ()
    return reduced(losses.reshape(shape), reduction)  # (M,) -> (N, d1, ...)
