"""The names that the lessons have for a number, to say which one a factor is."""
import itertools
import math
from collections.abc import Iterator

import numpy as np

from .numbers import Arguments


def name_factor(c: float, arguments: Arguments) -> str:
    """Which quantity of this case the factor is: all that fit are told."""
    fits = []
    for name, value in _quantities(arguments):
        if value in (1.0, -1.0):  # a factor of 1 is none, and one of -1 a wrong sign
            continue
        if math.isclose(abs(c), value, rel_tol=1e-6):
            fits.append(name)
        elif math.isclose(abs(c), 1 / value, rel_tol=1e-6):
            fits.append(f"1 / ({name})")
    # all of them: where N and KH are both 3, only the learner can tell which it is
    fits = list(dict.fromkeys(fits))[:4]
    return (", which is here " + " or ".join(fits)) if fits else ""


def _quantities(arguments: Arguments) -> Iterator[tuple[str, float]]:
    """Numbers that a factor may be, with their names."""
    yield from _settings(arguments)
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            yield from _sizes(name, value.shape)
    # a logarithm to another base than e
    yield "ln 2", math.log(2)
    yield "ln 10", math.log(10)


def _settings(arguments: Arguments) -> Iterator[tuple[str, float]]:
    """The arguments that are numbers, and what formulas make of them."""
    for name, value in arguments.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and value:
            yield name, float(value)
            if 0 < value < 1:  # a probability or a momentum: formulas have 1 - p too
                yield f"1 - {name}", 1 - float(value)
            if isinstance(value, int):
                yield f"{name}^2", float(value) ** 2


def _sizes(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """How many elements an array has along one axis or several: N, C, ..., N C H W."""
    letters = _letters(name, len(shape))
    if len(letters) < len(shape):  # axes that the lessons have no letters for
        return
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            size = math.prod(shape[i] for i in axes)
            label = " ".join(letters[i] for i in axes)
            what = {"N": "N, the batch size"}.get(label, label)
            yield f"{what} of {name}", float(size)


def _letters(name: str, ndim: int) -> tuple[str, ...]:
    """What the lessons call the axes of an argument."""
    if name == "w":
        return "O", "C", "KH", "KW"
    if name == "gy" and ndim == 4:
        return "N", "O", "OH", "OW"
    if ndim == 4:
        return "N", "C", "H", "W"
    if ndim == 2:
        return "N", "K"
    return ("the length",)
