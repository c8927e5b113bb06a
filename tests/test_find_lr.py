"""The range test of the learning rate: which rates it tries, when it ends, what it says, and that it keeps nothing."""
import math

import numpy as np
import pytest

from minitorch_alex import nn, plots, train
from minitorch_alex.errors import DivergedError, UserError
from minitorch_alex.optim import SGD
from minitorch_alex.training import find_lr

pytestmark = pytest.mark.usefixtures("fewer_shapes")


def an_optimizer():
    layer = nn.Linear(2, 1)
    return SGD([{"params": [layer.weight], "lr": 0.1}, {"params": [layer.bias], "lr": 0.2}], lr=0.1, momentum=0.0)


def test_rates_grow_by_a_factor_and_biases_keep_their_share():
    optimizer = an_optimizer()
    seen = []
    for factor in find_lr.scaled_rates(optimizer, steps=4):
        weight, bias = optimizer.param_groups
        seen.append(weight["lr"])
        assert factor == pytest.approx(weight["lr"] / 0.1) == pytest.approx(weight["initial_lr"] / 0.1)
        assert bias["lr"] == pytest.approx(2 * weight["lr"])
    assert seen == pytest.approx([0.1 * find_lr.LOWEST * find_lr.FACTOR ** i for i in range(4)])


def test_the_loss_is_smoothed_without_a_lean_towards_zero():
    test = find_lr.RangeTest()
    for loss in (3.0, 3.0, 3.0, 1.0):
        test.add(0.1, loss)
    weights = np.array([0.9 ** 3, 0.9 ** 2, 0.9, 1])
    assert test.smooth[:3] == pytest.approx([3, 3, 3])
    assert test.smooth[3] == pytest.approx(weights @ [3, 3, 3, 1] / weights.sum())


def run(loss_at):
    optimizer = an_optimizer()

    def step(x, labels):
        return loss_at(optimizer.param_groups[0]["lr"])

    return find_lr.run_test(optimizer, 0.1, iter([(None, None)] * 200), step)


def test_the_best_rate_is_where_the_loss_was_least_and_a_tenth_of_it_is_suggested():
    test = run(lambda lr: 2 + abs(math.log(lr / 0.02)))
    assert len(test.rates) == find_lr.STEPS
    assert 0.02 < test.best < 0.06  # smoothing looks back
    assert test.suggestion == float(f"{test.best / 10:.0e}")


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_it_ends_when_the_loss_explodes(bad):
    test = run(lambda lr: 2 - lr if lr < 0.5 else bad)
    assert test.rates[-1] >= 0.5 > test.rates[-2] and test.best < 0.5
    assert find_lr.RangeTest([0.1], [math.nan], [math.nan]).best == 0.1


def test_the_figure_names_both_rates(tmp_path):
    plots.rates([1e-3, 1e-2, 1e-1], [2.3, 2.0, math.nan], [2.3, 2.1, math.inf], 0.01, 0.001, tmp_path / "r.svg", "Net")
    svg = (tmp_path / "r.svg").read_text()
    for text in ("least at 0.01", "--lr 0.001", "learning rate", "Net"):
        assert f">{text}<" in svg


def test_a_range_test_keeps_nothing_but_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(find_lr, "STEPS", 6)
    monkeypatch.setattr(find_lr.scaled_rates, "__defaults__", (6,))
    flags = ["--data", "shapes", "-a", "quick_26", "--limit", "40", "-b", "10", "--runs-dir", str(tmp_path),
             "--name", "x"]
    assert train.main([*flags, "--find-lr"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["x-find-lr.png"]
    out = capsys.readouterr().out
    assert "6 steps at rates from 1.0e-05 to 1.6e-05" in out and "; try --lr " in out


# flags that cannot be right, in one line


@pytest.mark.parametrize("flags, code, text", (
    (["--val-split", "1.5"], 2, "--val-split must be a share from 0 to below 1, got 1.5"),
    (["--val-split", "nan"], 2, "--val-split must be"),
    (["-a", "alexnet", "--set", "image_size=32"], 2, "alexnet with image_size=32 is no network: .*alexnet_cifar"),
    (["--runs-dir", "file"], 7, "--runs-dir file is a file; give a folder")))
def test_what_makes_no_sense_is_said_before_anything_is_read(flags, code, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=text) as caught:
        train.main(["--data", "shapes", *flags])
    assert caught.value.exit_code == code


def test_a_training_that_diverges_says_so_once(tmp_path, recwarn):
    with pytest.raises(DivergedError):
        train.main(["--data", "shapes", "-a", "quick_26", "--limit", "40", "-b", "10", "--lr", "1e9", "--epochs", "3",
                    "--val-split", "0", "-p", "1", "--runs-dir", str(tmp_path)])
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]
