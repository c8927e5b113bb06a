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
from math import prod

import numpy as np

from .errors import UsageError

_seed = 0


class _Counters(threading.local):
    """How much has been drawn, counted per thread: two models in two threads do not disturb each
    other."""

    step = 0
    first_image = 0
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


def set_step(step: int, first_image: int = 0) -> None:
    """Set the number of the training step that comes next.

    Its dropout masks then depend on (seed, step, position in the step) alone, which is what makes
    a resumed run equal to an uninterrupted one, bit for bit.

    A part of a batch names its first image, counted in the whole batch. Each image then has the
    mask that it has in the whole batch.
    """
    _counters.step = step
    _counters.masks_in_step = 0
    set_first_image(first_image)


def set_first_image(first_image: int) -> None:
    """Set which image of the whole batch is the first one of the arrays that dropout sees from
    here on: 0 where they hold the whole batch."""
    _counters.first_image = first_image


def next_weight_rng() -> np.random.Generator:
    """The host generator of the next parameter to be initialised."""
    _counters.weights += 1
    return rng(_seed, "weights", _counters.weights)


GOLDEN = 0x9E3779B1  # what the hash of a dropout mask multiplies an element's number by


def next_dropout_key(shape: tuple[int, ...] = ()) -> tuple[int, int]:
    """The key of the next dropout mask: two 32-bit words from (seed, step, number of masks drawn
    in this step). `shape` is that of the array, whose first axis counts images.

    The hash begins with GOLDEN i + first, modulo 2^32, for element i of the array (kernels.naive.
    dropout). Where the array begins in the middle of the batch, i counts from there; since
    GOLDEN (i + before) + first = GOLDEN i + (GOLDEN before + first), the elements before it can go
    into the key, and no kernel has to know of parts.
    """
    _counters.masks_in_step += 1
    entropy = np.random.SeedSequence([_seed, zlib.crc32(b"dropout"), _counters.step,
                                      _counters.masks_in_step])
    first, second = entropy.generate_state(2)
    before = _counters.first_image * prod(shape[1:])  # elements of the images before the first
    return (int(first) + GOLDEN * before) % 2**32, int(second)
