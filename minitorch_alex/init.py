"""Initial weights, drawn on the host, so that every backend starts from the same numbers."""
import math
from collections.abc import Callable

import numpy as np

from .errors import UsageError

Init = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def gaussian(std: float) -> Init:
    """w ~ N(0, std^2). The paper uses std 0.01 in every layer (section 5), the released source 0.03 in conv3 to 5."""
    if std < 0:
        raise UsageError(f"gaussian: got std {std}, expected 0 or more")
    return lambda rng, shape: rng.normal(0.0, std, shape) if std else np.zeros(shape)


def constant(value: float) -> Init:
    """Every element the same: the paper's biases of 1 (conv2, conv4, conv5, hidden fc layers) and 0 elsewhere."""
    return lambda rng, shape: np.full(shape, float(value))


def fan_in(shape: tuple[int, ...]) -> int:
    """How many inputs one output of a weight (O, I, ...) sees; a locally connected (OH,OW,O,C,KH,KW) sees C KH KW."""
    return math.prod(shape[3:] if len(shape) == 6 else shape[1:])


def he() -> Init:
    """w ~ N(0, 2 / fan_in): keeps the variance through ReLU layers (He et al. 2015, arXiv:1502.01852)."""
    return lambda rng, shape: rng.normal(0.0, math.sqrt(2 / fan_in(shape)), shape)


def torch_uniform(fan: int | None = None) -> Init:
    """U(-1/sqrt(fan), 1/sqrt(fan)), fan = fan_in: what torch gives Conv2d and Linear when nobody chooses. A bias is
    given its weight's fan."""
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = 1 / math.sqrt(fan or fan_in(shape))
        return rng.uniform(-bound, bound, shape)
    return draw
