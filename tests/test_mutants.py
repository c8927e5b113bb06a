"""Every planted bug is caught by the check that it names. A check that never failed is not a
check."""
import checks
import pytest
from mutants import all_mutants

MUTANTS = all_mutants()


def test_there_are_enough_bugs_and_each_is_a_different_one():
    assert len(MUTANTS) >= 20
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)
    assert len({(m.target, m.old, m.new, m.check) for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some bugs overflow: that is how they show
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_bug_is_caught(mutant, monkeypatch):
    """With the function planted as it is the check passes, so what fails it below is the bug and
    not the planting."""
    check = checks.BY_NAME[mutant.check]
    with monkeypatch.context() as harmless:
        mutant.healthy().plant(harmless)
        check()
    mutant.plant(monkeypatch)
    with pytest.raises(Exception) as caught:  # noqa: B017  an assertion, or an error in what the bug left behind
        check()
    if isinstance(caught.value, NameError | SyntaxError | ImportError):
        raise AssertionError(f"the mutant itself is broken: {caught.value!r}")
