"""Which algorithm computes a convolution: im2col (conv.py), or Winograd's (winograd.py).

Winograd's multiplies less and copies more. Which is faster depends on the channels, on the sizes
and on the processor, so it is measured (tuning.py), once before a training. Until somebody chooses,
everything is computed by im2col, which rounds less.
"""
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np

from ..window import Pair, Window
from . import winograd

Algorithm = Literal["im2col", "winograd"]
Task = Literal["outputs", "weights"]  # what is computed: y, or the gradient of w


class Problem(NamedTuple):
    """All of a convolution but the batch and the numbers. The gradient of the input is such a
    problem too: at stride 1 it is a convolution of gy, whose outputs are the channels of x."""

    task: Task
    size: Pair       # H, W
    channels: int    # C
    outputs: int     # O
    win: Window
    groups: int

    def __str__(self) -> str:
        """The form in which a choice is stored, all that decides the arithmetic:
        outputs 27x27x96 to 256, kernel 5x5, stride 1x1, padding 2x2, groups 2"""
        H, W = self.size
        pairs = ", ".join(f"{name} {a}x{b}" for name, (a, b) in (
            ("kernel", self.win.kernel), ("stride", self.win.stride),
            ("padding", self.win.padding)))
        return (f"{self.task} {H}x{W}x{self.channels} to {self.outputs}, {pairs}, "
                f"groups {self.groups}")


# One algorithm for everything, or a table: that of each Problem, as text. What a table lacks, and
# float64, is computed by im2col.
Policy = Algorithm | Mapping[str, Algorithm]
_policy: Policy = "im2col"
_listeners: list[list[Problem]] = []


def use(policy: Policy) -> None:
    """Compute convolutions from now on by one algorithm, as far as it suits them, or each by its
    own: a table from Problem, as text, to algorithm."""
    global _policy
    _policy = policy


def policy() -> Policy:
    """What `use` was last called with."""
    return _policy


def set_winograd(enabled: bool) -> None:
    """Use Winograd's algorithm for every convolution on the CPU that it suits, or for none."""
    use("winograd" if enabled else "im2col")


def use_winograd(task: Task, x: np.ndarray, outputs: int, win: Window, groups: int) -> bool:
    """Whether Winograd's algorithm is to compute this. x (N,H,W,C)"""
    if _policy == "im2col" and not _listeners:
        return False
    if not winograd.suits(win, groups):
        return False
    _, H, W, C = x.shape
    problem = Problem(task, (H, W), C, outputs, win, groups)
    for heard in _listeners:
        heard.append(problem)
    if isinstance(_policy, str):
        return _policy == "winograd"
    return x.dtype == np.float32 and _policy.get(str(problem)) == "winograd"


@contextmanager
def listen() -> Iterator[list[Problem]]:
    """Inside, the list that it gives takes up the problems for which there is a choice."""
    heard: list[Problem] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners[:] = [other for other in _listeners if other is not heard]  # not an equal one
