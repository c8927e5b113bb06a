"""Which algorithm computes a convolution on the CPU: the choice, what hears of it, and a run that keeps it."""
import json
from pathlib import Path

import numpy as np
import pytest

from minitorch_alex import models, profile, train
from minitorch_alex.comm import Threads
from minitorch_alex.kernels import Window, cpu, set_winograd
from minitorch_alex.kernels.cpu import algorithms, tuning
from minitorch_alex.kernels.cpu.algorithms import Problem
from minitorch_alex.models.columns import columns
from minitorch_alex.training import checkpoint, convolution

pytestmark = pytest.mark.usefixtures("fewer_shapes")
WIN = Window.of(3, padding=1)
PROBLEM = Problem("outputs", (8, 8), 32, 48, WIN, 1)


@pytest.fixture(autouse=True)
def policy(tmp_path, monkeypatch):
    monkeypatch.setenv("MINITORCH_CACHE", str(tmp_path / "cache"))
    before = algorithms.policy()
    yield
    algorithms.use(before)


def image(C=32, dtype=np.float32):
    return np.random.default_rng(0).standard_normal((2, 8, 8, C)).astype(dtype)


def conv(x, O=48):
    return cpu.conv2d(x, np.random.default_rng(1).standard_normal((O, x.shape[3], 3, 3)).astype(x.dtype), None, WIN, 1)


def test_a_table_decides_problem_by_problem():
    """By the rounding: the other algorithm's last digits differ."""
    x = image()
    by = {}
    for algorithm in ("im2col", "winograd"):
        algorithms.use(algorithm)
        by[algorithm] = conv(x), conv(x, O=40)
    assert not np.array_equal(by["im2col"][0], by["winograd"][0])
    algorithms.use({str(PROBLEM): "winograd"})
    assert np.array_equal(conv(x), by["winograd"][0])
    assert np.array_equal(conv(x, O=40), by["im2col"][1])  # not in the table
    algorithms.use({str(PROBLEM): "im2col"})
    assert np.array_equal(conv(x), by["im2col"][0])


def test_a_table_leaves_float64_alone():
    x = image(dtype=np.float64)
    plain = conv(x)
    algorithms.use({str(PROBLEM): "winograd"})
    assert np.array_equal(conv(x), plain)
    set_winograd(True)
    assert not np.array_equal(conv(x), plain)


@pytest.mark.parametrize("change", (
    {"task": "weights"}, {"size": (8, 9)}, {"channels": 33}, {"outputs": 47}, {"groups": 2},
    {"win": Window.of(5, padding=1)}, {"win": Window.of(3, padding=2)}, {"win": Window.of(3, stride=2, padding=1)}))
def test_every_part_of_a_problem_is_in_its_text(change):
    assert str(PROBLEM._replace(**change)) != str(PROBLEM)


def test_listening_hears_the_problems_for_which_there_is_a_choice():
    x = image()
    with algorithms.listen() as heard:
        conv(x)
        cpu.conv2d(x, np.ones((4, 32, 1, 1), np.float32), None, Window.of(1), 1)  # 1x1: no Winograd
        cpu.conv2d_backward_weight(x, conv(x), WIN, 1)
    conv(x)
    assert heard == [PROBLEM, PROBLEM, PROBLEM._replace(task="weights")]


class Clock:
    """Time that goes by as the policy says: so many seconds per call of each algorithm."""

    def __init__(self, im2col, winograd):
        self.seconds = {"im2col": im2col, "winograd": winograd}
        self.now = 0.0
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls % 2 == 0:  # after a call
            self.now += self.seconds[algorithms.policy()] + (10 if self.calls <= 4 else 0)
        return self.now


@pytest.mark.parametrize("im2col, winograd, winner, calls", (
    (1.0, 0.5, "winograd", 3), (0.5, 1.0, "im2col", 3),  # clear: two calls count, the first does not
    (1.0, 0.8, "winograd", 5), (1.0, 0.9, "im2col", 5), (0.9, 1.0, "im2col", 5)))
def test_the_faster_one_wins_and_winograd_must_win_clearly(im2col, winograd, winner, calls):
    clock = Clock(im2col, winograd)
    algorithms.use("winograd")
    race = tuning.race(PROBLEM, 2, clock)
    assert race.winner == winner and race == pytest.approx((im2col, winograd))
    assert clock.calls == 4 * calls and algorithms.policy() == "winograd"


@pytest.mark.parametrize("task", ("outputs", "weights"))
def test_what_is_timed_is_the_problem_itself(task):
    problem = PROBLEM._replace(task=task)
    with algorithms.listen() as heard:
        tuning.race(problem, 2)
    assert set(heard) == {problem}


def test_few_channels_are_not_timed():
    stem = Problem("outputs", (224, 224), 3, 96, Window.of(11, stride=4), 1)  # folds to 48 channels
    problem = PROBLEM._replace(channels=40)
    assert tuning.is_open(problem) and tuning.is_open(stem)
    assert not tuning.is_open(problem._replace(channels=39)) and not tuning.is_open(problem._replace(groups=2))


def test_networks_of_32_kernels_are_not_timed():
    """What they compute hangs on no clock."""
    for name in ("quick_26", "net_18"):
        layers = convolution.problems_of(models.build(name, 10)).values()
        assert not any(tuning.is_open(problem) for layer in layers for problem in layer)


def test_the_problems_of_a_model():
    """The first layer has no gradient of the image; conv1 of this net is too narrow to be folded."""
    model = models.build("alexnet_cifar", 10)
    problems = convolution.problems_of(model)
    assert list(problems) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    tasks = [[problem.task for problem in layer] for layer in problems.values()]
    assert [sorted(layer) for layer in tasks] == [["outputs", "weights"]] + [["outputs", "outputs", "weights"]] * 4
    conv3 = problems["conv3"]
    assert str(conv3[0]) == str(Problem("outputs", (8, 8), 128, 192, WIN, 1))
    assert Problem("outputs", (8, 8), 192, 128, WIN, 1) in conv3  # the gradient of its input
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(len(layer) == 1 for layer in convolution.problems_of(model, training=False).values())


def winograd_wins(monkeypatch):
    monkeypatch.setattr(tuning, "race", lambda problem, images: tuning.Race(2.0, 1.0))


def weights(name):
    return checkpoint.load(Path("runs", name, "checkpoint.safetensors"))[0]


FLAGS = ("-a", "alexnet_cifar", "--data", "shapes", "--limit", "12", "--val-split", "0.25", "--epochs", "1", "-b", "4",
         "--threads", "1", "--set", "image_size=16", "--set", "channels=(4,40,40,40,40)", "--set",
         "groups=(1,1,1,1,1)", "--set", "hidden=(8,8)")


def test_a_run_keeps_its_choice_and_a_resumed_one_follows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    winograd_wins(monkeypatch)
    assert train.main([*FLAGS, "--epochs", "2", "--name", "whole"]) == 0
    assert "Winograd in conv3, conv4, conv5, else im2col" in capsys.readouterr().out
    assert train.main([*FLAGS, "--name", "half"]) == 0
    config = json.loads((tmp_path / "runs/half/config.json").read_text())
    assert config["conv"] == "auto" and set(config["convolutions"].values()) == {"winograd"}
    assert algorithms.policy() == "im2col"  # the caller's

    convolution.memory_file().unlink()
    monkeypatch.setattr(tuning, "race", lambda problem, images: tuning.Race(1.0, 2.0))  # now the other one
    assert train.main(["--resume", "runs/half", "--epochs", "2"]) == 0
    whole, half = map(weights, ("whole", "half"))
    assert all(np.array_equal(whole[name], half[name]) for name in whole)


def test_deterministic_does_not_look_at_a_clock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    winograd_wins(monkeypatch)
    for name, flags in (("clockless", ["--deterministic"]), ("im2col", ["--conv", "im2col"]), ("auto", [])):
        assert train.main([*FLAGS, *flags, "--name", name]) == 0
    clockless, im2col, auto = (weights(name)["model.conv3.weight"] for name in ("clockless", "im2col", "auto"))
    assert np.array_equal(clockless, im2col) and not np.array_equal(auto, im2col)


def test_profile_says_what_computes_each_layer(monkeypatch, capsys):
    winograd_wins(monkeypatch)
    assert profile.main(["alexnet_cifar", "-b", "2"]) == 0
    rows = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines() if "Conv2d" in line}
    assert rows == dict.fromkeys(("conv1", "conv2"), "im2col") | dict.fromkeys(("conv3", "conv4", "conv5"), "Winograd")


def test_a_machine_remembers_what_was_faster(monkeypatch):
    """By problem, batch, threads and kernels; a damaged file counts as none, and one that cannot be written does not
    matter."""
    model = models.build("alexnet_cifar", 10)
    raced = []
    monkeypatch.setattr(tuning, "race", lambda problem, images: raced.append(images) or tuning.Race(2.0, 1.0))
    layers = convolution.problems_of(model).values()
    first = convolution.faster(layers, 500)
    once = len(first)
    assert len(raced) == once > 5 and set(raced) == {32}
    assert convolution.faster(layers, 32) == first and len(raced) == once
    convolution.faster(layers, 31)
    assert len(raced) == 2 * once
    convolution.memory_file().write_text("[1")
    convolution.faster(layers, 31)
    assert len(raced) == 3 * once
    convolution.memory_file().write_text('{"a": 1}')
    convolution.faster(layers, 31)
    assert len(raced) == 4 * once
    monkeypatch.setattr(tuning, "EDITION", tuning.EDITION + 1)
    convolution.faster(layers, 31)
    assert len(raced) == 5 * once
    monkeypatch.setattr(convolution, "memory_file", lambda: Path("/dev/null/convolutions.json"))
    assert convolution.faster(layers, 31) == first and len(raced) == 6 * once


@pytest.mark.parametrize("config, policy", (
    ({"winograd": False}, "im2col"), ({"winograd": True}, "winograd"), ({"conv": "winograd"}, "winograd"),
    ({"conv": "auto", "convolutions": {"x": "winograd"}}, {"x": "winograd"})))
def test_what_a_run_was_trained_by_also_evaluates_it(config, policy):
    convolution.use_for_inference(config, models.build("quick_26"), 8)
    assert algorithms.policy() == policy


def test_the_part_of_a_cut_network_is_timed_too(monkeypatch):
    """conv3 of two columns reads all 128 maps and makes 96 of the 192; conv4 has a group of its own. Rank 0 decides."""
    monkeypatch.setattr(tuning, "race", lambda problem, images: tuning.Race(2.0, 1.0))

    def rank(ranks):
        whole = models.build("alexnet_cifar", 10)
        config = {"conv": "auto", "deterministic": False}
        convolution.use(config, [whole, columns(whole, ranks)], 4, ranks)
        return config["convolutions"]

    first, second = Threads(2).run(rank)
    assert first == second
    for problem in (Problem("outputs", (8, 8), 128, 96, WIN, 1), Problem("outputs", (8, 8), 96, 96, WIN, 1),
                    Problem("outputs", (8, 8), 128, 192, WIN, 1)):
        assert first[str(problem)] == "winograd"
