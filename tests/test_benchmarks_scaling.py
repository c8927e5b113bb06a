"""benchmarks/scaling.py: what its jobs compare, and how their times become a ratio."""
import pytest

from benchmarks import scaling
from minitorch_alex import nn
from minitorch_alex.comm import Alone, Threads
from minitorch_alex.optim import SGD


@pytest.mark.parametrize(("job", "shards"), (({}, [2]), ({"shards": 4}, [4, 2])))
def test_steps_in_shards_take_turns_with_steps_without(job, shards):
    """Without shards, a batch has one piece on each of the ranks."""
    def ways(comm):
        layer = nn.Linear(2, 2)
        return [(way.shards, setting["shards"])
                for way, setting in scaling.ways_of(job, layer, SGD(layer.parameters(), lr=0.1), comm)]

    expected = [(number, number if number == 4 else 0) for number in shards]
    assert Threads(2).run(ways) == [expected, expected]
    assert scaling.ways_of({}, None, None, Alone())[0][0] is None


def test_the_ratio_of_shards_is_that_of_each_job():
    """Not from job to job: a job that is slow in all its steps must not count. Older records have no other ratio."""
    rows = {"2 ranks x 1 thread": [{"seconds": 1.0}, {"seconds": 2.0}, {"seconds": 1.0}]}
    assert scaling.ratio_of_shards(rows) is None
    rows[scaling.IN_SHARDS] = [{"seconds": 1.2}, {"seconds": 2.2}, {"seconds": 4.0}]
    assert scaling.ratio_of_shards(rows) == 1.2
    rows[scaling.IN_SHARDS] = [{"seconds": 1.2, "without": 1.0}, {"seconds": 8.4, "without": 8.0},
                               {"seconds": 1.0, "without": 1.0}]
    assert scaling.ratio_of_shards(rows) == 1.05
