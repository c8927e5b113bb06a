"""Random streams: every random number follows from a seed and the place where it is used.

Nothing random is ever stored. There are two kinds:

* `rng(seed, purpose, ...)`: a host generator for weights, shuffles, crops and colours, the same
  numbers on every backend. It is a pure function of its arguments, so resuming a run needs no
  saved generator state.
* `next_dropout_key()`: two 32-bit words that key the counter hash of a dropout mask
  (kernels.naive.dropout), a function of (seed, step, number of the mask within the step).
"""
import threading
import zlib

import numpy as np

from .errors import UsageError

_seed = 0


class _Counters(threading.local):
    """How much has been drawn, counted per thread: two models in two threads do not disturb each
    other."""

    step = 0
    masks_in_step = 0
    weights = 0


_counters = _Counters()


def rng(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A generator that depends on its arguments alone: PCG64 over SeedSequence([seed,
    crc32(purpose), *counters]).

    The purpose keeps streams apart: the shuffle of epoch 3 never shares numbers with its crops.
    Raises UsageError when the seed is negative.
    """
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    entropy = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *counters])
    return np.random.Generator(np.random.PCG64(entropy))


def manual_seed(seed: int) -> None:
    """Seed what follows: initial weights, in the order in which they are created, and dropout,
    from step 0.

    Raises UsageError when the seed is negative.
    """
    global _seed
    rng(seed, "check")  # a bad seed is refused here, not at the first draw
    _seed = seed
    _counters.weights = 0
    set_step(0)


def set_step(step: int) -> None:
    """Set the number of the training step that comes next.

    Its dropout masks then depend on (seed, step, position in the step) alone, which is what makes
    a resumed run equal to an uninterrupted one, bit for bit.
    """
    _counters.step = step
    _counters.masks_in_step = 0


def next_weight_rng() -> np.random.Generator:
    """The host generator of the next parameter to be initialised."""
    _counters.weights += 1
    return rng(_seed, "weights", _counters.weights)


def next_dropout_key() -> tuple[int, int]:
    """The key of the next dropout mask: two 32-bit words from (seed, step, number of masks drawn
    in this step)."""
    _counters.masks_in_step += 1
    entropy = np.random.SeedSequence([_seed, zlib.crc32(b"dropout"), _counters.step,
                                      _counters.masks_in_step])
    first, second = entropy.generate_state(2)
    return int(first), int(second)
