"""What is told about a wrong result, or about a tuple of them."""
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .exceptions import of_exception
from .numbers import Arguments, are_close, as_array
from .order import find_order
from .shapes import find_border, find_exchanged_axes, find_sizes, find_sums
from .values import find_argument, find_constants, find_multiples, find_nans, find_rounding
from .where import locate

LIMIT = 200_000  # numbers; larger results are not compared in so many ways

Finder = Callable[[np.ndarray, np.ndarray, Arguments], Iterator[str]]
# The first that says something says the most.
OF_SHAPE: tuple[Finder, ...] = (find_border, find_exchanged_axes, find_sums, find_sizes)
OF_VALUES: tuple[Finder, ...] = (find_nans, find_constants, find_multiples, find_order,
                                 find_rounding, find_argument)


def clue(got: Any, expected: Any, arguments: Arguments, passed: list[str]) -> str:
    """One or two sentences about a wrong result; "" when nothing was found.

    got, expected   arrays, numbers or tuples of them
    arguments       those of the learner's function in this case, by name
    passed          labels of the cases that passed before
    """
    # An exception comes as (type, message): see attempts.Attempt.
    if isinstance(got, tuple) and len(got) == 2 and isinstance(got[0], type):
        return of_exception(got[0], got[1], arguments)
    if expected is None or got is None:
        return ""
    if isinstance(expected, tuple):
        return _of_tuple(got, expected, arguments, passed)
    g = as_array(got)
    e = as_array(expected)
    if g is None or e is None or max(g.size, e.size) > LIMIT or not e.size:
        return ""
    with np.errstate(all="ignore"):
        finders = OF_SHAPE if g.shape != e.shape else OF_VALUES
        texts = (text for find in finders for text in find(g, e, arguments))
        return next(texts, "") or locate(g, e, arguments, passed)


def _of_tuple(got: Any, expected: tuple, arguments: Arguments, passed: list[str]) -> str:
    """What is wrong with each result that is, and which are right."""
    pairs = _pairs(got, expected)
    right = [i for i, (a, b) in enumerate(pairs) if are_close(a, b)]
    if len(right) == len(pairs):
        return ""
    order = _order_of_results(pairs)
    if order is not None:
        places = ", ".join(str(j + 1) for j in order)
        return f"the results are right but in another order: yours are number {places}"
    wrong = [i for i in range(len(pairs)) if i not in right]
    texts = [f"result {i + 1}: {text}" for i in wrong
             if (text := clue(got[i], expected[i], arguments, passed))]
    return "; ".join(texts) + (_praise(right) if texts else "")


def _pairs(got: Any, expected: tuple) -> list[tuple[np.ndarray, np.ndarray]]:
    """(result, expected one) as arrays; none unless all are numbers and there are equally many."""
    if not isinstance(got, tuple | list) or len(got) != len(expected):
        return []
    pairs = []
    for result, wanted in zip(got, expected, strict=True):
        g = as_array(result)
        e = as_array(wanted)
        if g is None or e is None:
            return []
        pairs.append((g, e))
    return pairs


def _order_of_results(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[int, ...] | None:
    """Which expected result each of the results is; None unless all are there."""
    # three results at most in any exercise, so at most six orders
    for order in itertools.permutations(range(len(pairs))):
        if all(are_close(pairs[i][0], pairs[j][1]) for i, j in enumerate(order)):
            return order
    return None


def _praise(right: list[int]) -> str:
    """Which results of a tuple are right, to be told after what is wrong."""
    if not right:
        return ""
    numbers = " and ".join(str(i + 1) for i in right)
    return f"; result {numbers} is right" if len(right) == 1 else f"; results {numbers} are right"
