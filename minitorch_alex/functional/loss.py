"""The loss: multinomial logistic regression (paper section 3.5). The kernel takes softmax and logarithm
together, so that neither overflow nor log(0) can happen."""
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from ..errors import UsageError
from ..tensor import Tensor
from .labels import check_labels, label_loss, probability_loss, reduced
from .layout import contiguous


class CrossEntropy(Function):
    """loss_n = -log softmax(logits_n)[label_n]; saves the probabilities.

    glogits = g (softmax - onehot).
    """

    def __init__(self, labels: Any) -> None:
        self.labels = labels

    def forward(self, logits):
        logits = contiguous(logits)
        kernels = backend.kernels_for(logits, self.labels)
        loss, probs = kernels.softmax_cross_entropy(logits, self.labels)
        self.save(probs)
        return loss

    def backward(self, g):
        (probs,) = self.saved
        g = contiguous(g)  # from mean() or sum() it comes as a view that shows one number N times
        return backend.kernels_for(g, probs).softmax_cross_entropy_backward(g, probs, self.labels)


def cross_entropy(logits: Tensor, labels: Any, weight: Any = None, reduction: str = "mean", *,
                  ignore_index: int = -100, label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(logits)[label] for logits (N,K) and integer labels (N,), a raw array.

    The natural logarithm: ln K at chance level. `reduction` is "mean" over the batch, "sum", or
    "none" for the N losses. What functional/labels.py adds, as in PyTorch:

        logits (K,), (N,K,d1,...)    one case, or a class for each place; labels (), (N,d1,...)
        labels a Tensor like logits  the probability of each class, whose gradient is given too
        weight (K,)                  a factor per class; the mean is then the weighted one
        ignore_index                 a label that costs nothing and does not count
        label_smoothing e            the label has probability 1 - e, and all K share the rest

    A word in place of the weight is the reduction. On a device labels are not read back, so -100
    is ignored there only if ignore_index is given as another number. Raises ShapeError for labels
    of the wrong shape or kind, or outside 0..K-1, and UsageError for another reduction.
    """
    if isinstance(weight, str):
        reduction = weight
        weight = None
    if reduction not in ("mean", "sum", "none"):
        raise UsageError(f"cross_entropy: got reduction {reduction!r}, "
                         "expected 'mean', 'sum' or 'none'")
    if isinstance(labels, Tensor):
        return probability_loss(logits, labels, weight, reduction, label_smoothing)
    labels = labels if backend.is_array(labels) else np.asarray(labels)
    some_ignored = check_labels(logits, labels, ignore_index)
    if isinstance(labels, np.ndarray):
        labels = backend.asarray(labels)
    if logits.ndim != 2 or weight is not None or some_ignored or label_smoothing:
        return label_loss(logits, labels, weight, reduction, ignore_index, label_smoothing)
    return reduced(CrossEntropy(labels)(logits), reduction)
