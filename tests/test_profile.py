"""The ledger: the numbers of the literature, and memory that is really there."""
import numpy as np
import pytest

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import models, nn, profile
from minitorch_alex.errors import UsageError


def multiply_adds(name):
    model = models.build(name, 1000)
    return {e.name: round(e.multiply_adds / 1e6, 1) for e in profile.ledger(model) if e.multiply_adds}


def test_multiply_adds_of_the_papers_net_by_layer():
    counts = multiply_adds("alexnet")
    assert counts == {"conv1": 105.4, "conv2": 223.9, "conv3": 149.5, "conv4": 112.1, "conv5": 74.8,
                      "fc6": 37.7, "fc7": 16.8, "fc8": 4.1}
    total = sum(e.multiply_adds for e in profile.ledger(models.build("alexnet", 1000)))
    assert round(total / 1e6, 1) == 724.4


@pytest.mark.parametrize(("name", "total"), [("alexnet_merged", 1135.3), ("alexnet_torchvision", 714.2)])
def test_multiply_adds_of_others(name, total):
    got = sum(e.multiply_adds for e in profile.ledger(models.build(name, 1000)))
    assert abs(got / 1e6 - total) < 0.1


def test_the_im2col_matrix_of_conv2_is_25_times_its_input():
    entries = {e.name: e for e in profile.ledger(models.build("alexnet", 1000))}
    assert entries["conv2"].column_bytes == 25 * entries["pool1"].output_bytes


def test_what_a_graph_keeps_is_counted_once():
    x = mt.Tensor(np.ones((2, 1, 4, 4), np.float32))
    weight = nn.Parameter(np.ones((3, 1, 1, 1), np.float32))
    y = F.relu(F.conv2d(x, weight))
    loss = F.tanh(F.conv2d(y, nn.Parameter(np.ones((1, 3, 1, 1), np.float32)))).sum()
    # x and relu's y, which the second convolution keeps too, and tanh's y; no weight
    assert profile.saved_bytes(loss) == 4 * (2 * 16 + 2 * 48 + 2 * 16)


def test_times_cover_every_layer_and_the_image_gets_no_gradient(monkeypatch):
    model = models.build("quick_26")
    times = profile.layer_times(model, 2, repeats=1)
    assert list(times) == [name for name, _ in model.named_children()]
    assert all(forward > 0 and backward >= 0 for forward, backward in times.values())


def test_the_command_prints_ledger_times_and_the_batch_that_fits(capsys):
    assert profile.main(["quick_26", "-b", "2", "--memory", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "145,578" in out and "forward" in out and "64 x 8 x 8" in out
    fits = int(out.partition("a batch of ")[2].partition(" fits")[0].replace(",", ""))
    fixed, each = profile.memory_needs(models.build("quick_26"))
    assert fixed == 3 * 4 * 145_578 and fixed + fits * each <= 1e8 < fixed + (fits + 1) * each
    assert profile.main(["quick_26", "-b", "0", "--memory", "0.001"]) == 0
    out = capsys.readouterr().out
    assert "forward" not in out and "not one image fits" in out
    with pytest.raises(UsageError, match="--memory above 0"):
        profile.main(["quick_26", "--memory", "-1"])
