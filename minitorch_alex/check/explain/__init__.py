"""What a wrong result has to do with the right one, for mistakes that are in no catalogue.

`clue` compares the two number by number and says only what it has found to be so: that one is a
constant multiple of the other, that it is turned, that a sum ran over one axis more, and so on.

    clue(2 * y, y, {"x": x}, [])       "each number is 2 times the expected one"

One file for each question:

    results.py      what is told about a result, or a tuple of them?   clue
    exceptions.py   what was wrong when an exception came?
    shapes.py       what if the shape is another one?
    values.py       which formula leads from right to wrong numbers?
    quantities.py       and what do the lessons call its factor?
    order.py        are the right numbers in wrong places?
    where.py        if none of these: which part is wrong?
    numbers.py      when are results equal, or multiples?

A finder takes (g, e, arguments): the result, the expected one, both float64, and the arguments of
the learner's function by name. It yields a sentence for each thing that it finds.
"""
from .results import LIMIT, clue

__all__ = ["LIMIT", "clue"]
