"""What crosses between ranks, with ranks that are threads: values, adjoints, gradients by finite differences."""
import pytest
from checks import exchange
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("check", exchange.CHECKS, ids=lambda check: check.__name__)
def test_checks(check):
    check()


@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), ranks=st.integers(1, 5), data=st.data())
def test_gather_and_scattered_sum_are_adjoint(shape, ranks, data):
    """<gather(x), g> = <x, scatter_sum(g)>, summed over ranks; parts may be uneven and empty."""
    axis = data.draw(st.integers(0, len(shape) - 1))
    exchange.adjoint_of_gather(tuple(shape), axis, ranks)
