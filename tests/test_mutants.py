"""Every planted bug is caught by the check that it names. A check that never failed is not a check."""
import functools

import checks
import pytest
from mutants import all_mutants

MUTANTS = all_mutants()


@functools.cache
def passes(check):
    """Run a check on the package as it is, once."""
    getattr(checks, check)()
    return True


def test_there_are_enough_bugs_and_each_is_a_different_one():
    assert len(MUTANTS) >= 20
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)
    assert len({(m.target, m.old, m.new, m.check) for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some bugs overflow: that is how they show
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_bug_is_caught(mutant, monkeypatch):
    assert passes(mutant.check)
    mutant.plant(monkeypatch)
    with pytest.raises(Exception) as caught:  # noqa: B017  an assertion, or an error in what the bug has left behind
        getattr(checks, mutant.check)()
    if isinstance(caught.value, NameError | SyntaxError | ImportError):
        raise AssertionError(f"the mutant itself is broken: {caught.value!r}")
