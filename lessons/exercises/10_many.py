"""Lesson 10, on many: the exercises.

    python -m minitorch_alex.check 10             are they right?
    python -m minitorch_alex.check 10.1 --hint    a nudge

No second process is needed: what the ranks have is handed to you as a list, one entry for each.
Use NumPy only. No argument is changed.
"""
import numpy as np


def batch_gradient(gradients: list[np.ndarray | None], counts: list[int]) -> np.ndarray:
    """10.1: the gradient of the mean loss over a batch, from those of its parts.

    gradients[r] is the gradient of the mean loss over the counts[r] images of rank r. A rank
    without images has None. At least one rank has images.

        batch_gradient([np.array([1.0, 0.0]), np.array([0.0, 1.0])], [3, 1])
                                                          array([0.75, 0.25])
        batch_gradient([None, np.array([0.0, 1.0])], [0, 4])      array([0., 1.])
    """
    raise NotImplementedError("exercise 10.1: batch_gradient")


def gather_backward(gradients: list[np.ndarray], widths: list[int], rank: int) -> np.ndarray:
    """10.2: the backward pass of a gather, as rank `rank` gets it.

    Going forward, rank r had x_r (N, widths[r]), and every rank got all of them side by side, the
    joined array (N, widths[0] + widths[1] + ...). Each rank went on with it in its own way:
    gradients[q] is the gradient that rank q has found for the joined array.

    Returns the gradient of x_rank, (N, widths[rank]), of the sum of all ranks' losses.

        a = np.array([[1.0, 2.0, 3.0]])          # what rank 0 has found, for one image
        b = np.array([[10.0, 20.0, 30.0]])       # and rank 1
        gather_backward([a, b], [2, 1], 0)       array([[11., 22.]])
        gather_backward([a, b], [2, 1], 1)       array([[33.]])
    """
    raise NotImplementedError("exercise 10.2: gather_backward")
