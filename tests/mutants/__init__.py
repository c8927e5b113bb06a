"""Planted bugs. Each is an honest mistake, the kind that trains a little worse and says nothing,
as a change of a few characters of the package's source; each names the check that must notice it
(`checks/`).

A mutant whose text is no longer in the source fails its test: then the source has moved on, and
the mutant follows it.
"""
import importlib
import inspect
import sys
import textwrap
from dataclasses import dataclass, replace

FAMILIES = ("conv", "pool", "lrn", "pointwise", "dense", "update", "graph", "later", "exchange", "explain", "parallel",
            "own")


@dataclass(frozen=True)
class Mutant:
    """A bug: in `target` ("module:function" under minitorch_alex, or "module:Class.method") `old`
    becomes `new`; `also` holds further (target, old, new) of the same bug. `check` names the check
    in checks/ that must fail."""

    name: str
    description: str
    target: str
    old: str
    new: str
    check: str
    also: tuple[tuple[str, str, str], ...] = ()

    def healthy(self):
        """The same planting without the bug."""
        return replace(self, new=self.old, also=tuple((target, old, old) for target, old, _ in self.also))

    def plant(self, monkeypatch):
        """Give the functions concerned the code of their buggy twins; callers keep the functions
        they know."""
        for target, old, new in ((self.target, self.old, self.new), *self.also):
            function = find(target)
            source = textwrap.dedent(inspect.getsource(function))
            if source.count(old) != 1:
                raise LookupError(f"{self.name}: {old!r} stands {source.count(old)} times in {target}, expected once")
            twins = {}
            exec(compile(source.replace(old, new), f"<mutant {self.name}>", "exec"), function.__globals__, twins)
            monkeypatch.setattr(function, "__code__", twins[function.__name__].__code__)


def find(target):
    """The function that a target names."""
    module, path = target.split(":")
    importlib.import_module(f"minitorch_alex.{module}")
    found = sys.modules[f"minitorch_alex.{module}"]  # by name: functional.dropout is a function and a module
    for part in path.split("."):
        found = getattr(found, part)
    return found


def all_mutants():
    """The mutants of every family."""
    return [mutant for family in FAMILIES for mutant in importlib.import_module(f"mutants.{family}").MUTANTS]
