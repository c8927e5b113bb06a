"""What a training makes small: the cross-entropy, with what a recipe changes about it."""
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import functional as F
from ..models import Recipe
from ..tensor import Tensor

Loss = Callable[[Tensor, Any], Tensor]  # (logits (N, K), labels (N,)) -> the mean over the batch


def build_loss(recipe: Recipe, labels: np.ndarray, num_classes: int) -> Loss:
    """The loss of a recipe for training images with these labels (N,).

    With class weights it is the mean of w[label] times each image's loss, and not PyTorch's
    weighted mean, which divides by the sum of the batch's weights: so the parts of a batch on
    several ranks add up, and a batch of rare classes counts for more.
    """
    smoothing = recipe.label_smoothing
    if recipe.class_weights == "balanced":
        weights = balanced_weights(labels, num_classes)
        return lambda logits, labels: F.cross_entropy(
            logits, labels, weights, "none", label_smoothing=smoothing).mean()
    if smoothing:
        return partial(F.cross_entropy, label_smoothing=smoothing)
    return F.cross_entropy


def balanced_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """w_k = N / (K n_k), float32 (K,): with n_k images of class k among N, each class counts alike
    in the sum over all images, and the mean weight of an image is 1. A class without images has
    the weight 0."""
    counts = np.bincount(labels, minlength=num_classes)  # (N,) -> (K,)
    shares = num_classes * np.maximum(counts, 1)
    return np.where(counts, len(labels) / shares, 0).astype(np.float32)
