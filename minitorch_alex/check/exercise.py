"""What a check is made of: an exercise, and the mistakes that it knows."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from .cases import Case


@dataclass(frozen=True)
class Bug:
    """A known mistake: the solution's source with `old`, which occurs in it once, replaced by
    `new`.

    `says` tells the learner what the mistake is.
    """

    name: str
    says: str
    old: str
    new: str


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    number   as in "1.2"
    name     what the learner writes: a function, a class or a number; two are joined by ", "
    goal     the task in a few words
    check    the generator of its cases
    hints    from a nudge to nearly the answer
    bugs     the mistakes that it recognises
    in_place the arguments that the learner's function is meant to change, by name
    also     what else the learner changes for it, by name
    restart  whether the cases after one that failed may be run, to compare with known mistakes;
             not where a wrong answer may not end
    """

    number: str
    name: str
    goal: str
    check: Callable[[ModuleType], Iterator["Case"]]
    hints: tuple[str, ...] = ()
    bugs: tuple[Bug, ...] = ()
    in_place: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    restart: bool = True

    @property
    def names(self) -> list[str]:
        """What the learner writes, one name each."""
        return self.name.split(", ")
