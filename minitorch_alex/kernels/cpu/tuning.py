"""Which algorithm is faster for a convolution here: both are timed on noise."""
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import algorithms, conv
from .algorithms import Algorithm, Problem

# Few channels make thin matrix products, and Winograd's has many more of them. There it wins by a
# few percent or not at all, so nothing is timed, and what a small network computes does not hang on
# a clock. The paper's conv2 has 48 in a group, conv1 as many when folded, and both gain.
MIN_CHANNELS = 40
MAX_IMAGES = 32  # are enough to tell; a batch of 128 photographs would take seconds
CALLS = 2        # of each algorithm, if one is clearly ahead
MORE_CALLS = 4   # of each, if not, and for
SECONDS = 0.03   # at least
AHEAD = 1.3      # times as fast: clearly ahead
EDITION = 3      # of these kernels: counted up when a change of them may change who wins
WORTH = 1.15     # times as fast: what Winograd's must be, more than the clock's noise, for its digit


class Race(NamedTuple):
    """The seconds that a problem takes by each algorithm, the fastest of several calls."""

    im2col: float
    winograd: float

    @property
    def winner(self) -> Algorithm:
        return "winograd" if self.im2col > WORTH * self.winograd else "im2col"


def is_open(problem: Problem) -> bool:
    """Whether Winograd's algorithm might win. A stride of S makes S x S pixels one of so many times
    the channels."""
    SH, SW = problem.win.stride
    channels = problem.channels * SH * SW
    return min(channels, problem.outputs) // problem.groups >= MIN_CHANNELS


def race(problem: Problem, images: int, clock: Callable[[], float] = time.perf_counter) -> Race:
    """Time a problem by both algorithms, in turn. The first call of each, which also gets its
    memory from the system, does not count."""
    call = _call_of(problem, images)
    seconds: dict[Algorithm, list[float]] = {"im2col": [], "winograd": []}
    before = algorithms.policy()
    try:
        while not _is_decided(seconds["im2col"][1:], seconds["winograd"][1:]):
            for algorithm, times in seconds.items():
                algorithms.use(algorithm)
                start = clock()
                call()
                times.append(clock() - start)
    finally:
        algorithms.use(before)
    return Race(min(seconds["im2col"][1:]), min(seconds["winograd"][1:]))


def _call_of(problem: Problem, images: int) -> Callable[[], np.ndarray]:
    """What computes the problem on noise."""
    rng = np.random.default_rng(0)
    O = problem.outputs
    C = problem.channels
    x = rng.standard_normal((images, *problem.size, C), np.float32)
    if problem.task == "weights":
        gy = rng.standard_normal((images, *problem.win.out(*problem.size), O), np.float32)
        return lambda: conv.conv2d_backward_weight(x, gy, problem.win, problem.groups)
    w = rng.standard_normal((O, C // problem.groups, *problem.win.kernel), np.float32)
    return lambda: conv.conv2d(x, w, None, problem.win, problem.groups)


def _is_decided(im2col: list[float], winograd: list[float]) -> bool:
    """Whether these times are enough to name the faster one."""
    if len(im2col) < CALLS:
        return False
    ratio = min(im2col) / min(winograd)
    is_clear = ratio > AHEAD or ratio < 1 / AHEAD
    return is_clear or (len(im2col) >= MORE_CALLS and sum(im2col) >= SECONDS)
