"""Initial weights, drawn on the host, so that every backend starts from the same numbers."""
import math
from collections.abc import Callable

import numpy as np

from .errors import UsageError

Init = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def gaussian(std: float) -> Init:
    """w ~ N(0, std^2). The paper uses std 0.01 in every layer (section 5), the released source
    0.03 in conv3 to conv5. Raises UsageError for a negative std."""
    if std < 0:
        raise UsageError(f"gaussian: got std {std}, expected 0 or more")
    if std == 0:
        return constant(0.0)  # nothing is drawn: a net for its sizes alone need not wait
    return lambda rng, shape: rng.normal(0.0, std, shape)


def constant(value: float) -> Init:
    """Every element the same: the paper's biases of 1 (conv2, conv4, conv5, hidden fc layers) and
    0 elsewhere."""
    return lambda rng, shape: np.full(shape, float(value))


def fan_in(shape: tuple[int, ...]) -> int:
    """The number of inputs that one output sees: I KH KW for a weight (O,I,KH,KW), I for (O,I),
    C KH KW for a locally connected (OH,OW,O,C,KH,KW)."""
    return math.prod(shape[3:] if len(shape) == 6 else shape[1:])


def he() -> Init:
    """w ~ N(0, 2 / fan_in): keeps the variance through ReLU layers (He et al. 2015,
    arXiv:1502.01852)."""
    # 1 / fan_in would keep the variance of a linear layer; a ReLU then removes half of it.
    return lambda rng, shape: rng.normal(0.0, math.sqrt(2 / fan_in(shape)), shape)


def torch_uniform(fan: int | None = None) -> Init:
    """U(-1/sqrt(fan), 1/sqrt(fan)), fan = fan_in: torch's default for Conv2d and Linear. A bias
    uses the fan of its weight."""
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = 1 / math.sqrt(fan or fan_in(shape))
        return rng.uniform(-bound, bound, shape)
    return draw
