"""Lesson 10, on many: the solutions. Read them after yours pass the check."""
import numpy as np


def batch_gradient(gradients: list[np.ndarray | None], counts: list[int]) -> np.ndarray:
    """10.1: the ranks' gradients, each with its share of the images.

    Commentary: a mean over a batch is the sum of the parts' means, each times its share n / B. With
    equal parts that is the average of the averages, which is why the mistake survives: only the
    last batch of an epoch is uneven, and there it makes some images count more than others. A rank
    without images has no mean at all, and its share is 0: it takes part in the sum with zeros, so
    that the others do not wait for it. The package begins the backward pass with the share instead
    of multiplying afterwards, which costs no pass over the gradients.
    """
    total = sum(counts)
    parts = [g * (n / total) for g, n in zip(gradients, counts, strict=True) if n > 0]
    return sum(parts[1:], parts[0])


def gather_backward(gradients: list[np.ndarray], widths: list[int], rank: int) -> np.ndarray:
    """10.2: the sum of what all ranks have found, of which each gets its own part.

    Commentary: forward, x_r was copied to every rank. Where a value is copied, its gradients add
    up: the rule of lesson 3, with the copies on other machines. The part that belongs to x_r is
    then cut out. Together this is the adjoint of the gather: joining becomes cutting, copying
    becomes adding. A rank that keeps its own gradient only trains a network in which the other
    column does not listen, and nothing but a comparison with one process shows it.
    """
    start = sum(widths[:rank])
    total = sum(gradients[1:], gradients[0])
    return total[:, start:start + widths[rank]]
