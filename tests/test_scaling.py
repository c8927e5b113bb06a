"""The model of several ranks: its facts of AlexNet, its formulas worked out by hand, and published measurements."""
import math

import pytest

from minitorch_alex import models, profile, scaling
from minitorch_alex.comm import Alone, Threads
from minitorch_alex.errors import UsageError
from minitorch_alex.scaling import Layer, Link, Machines, step_of
from minitorch_alex.training.architectures import blank

INSIDE = Link(5e-6, 400e9)
BETWEEN = Link(10e-6, 400e9)  # 400 Gb/s for each of 8 GPUs
H100 = Machines(15_000, INSIDE, BETWEEN, 8)  # assumed, not measured


@pytest.fixture(scope="module")
def alexnet():
    """The layers of the paper's net."""
    return profile.layers_that_talk(blank("alexnet", 1000))


def test_what_alexnet_sends(alexnet):
    """Section 3.5 counted: gradients; crossings before conv3 (128 x 13 x 13 maps of each column), fc6, fc7 and fc8."""
    assert scaling.gradient_bytes(alexnet) == 4 * 60_965_224
    assert [layer.name for layer in alexnet if layer.reads_all] == ["conv3", "fc6", "fc7", "fc8"]
    assert scaling.column_bytes(alexnet) == 2 * (86_528 + 18_432 + 8_192 + 8_192) == 242_688
    assert scaling.hybrid_bytes(alexnet) == (4 * (60_965_224 - 58_631_144), 4 * (9216 + 4096 + 4096))
    whole = scaling.gradient_bytes(alexnet)
    assert round(scaling.crossing(whole, 0, scaling.column_bytes(alexnet))) == 1005
    assert round(scaling.crossing(whole, *scaling.hybrid_bytes(alexnet))) == 3368


def test_sums_by_hand():
    link = Link(0.5, 10.0)
    assert scaling.ring_seconds(40, 4, link) == 2 * 3 * (0.5 + 10 / 10)
    assert scaling.gather_seconds(40, 4, link) == scaling.ring_seconds(40, 4, link) / 2
    assert scaling.ring_seconds(40, 1, link) == scaling.between_seconds(40, 1, link) == 0
    assert scaling.between_seconds(40, 4, link) == 2 * 2 * 0.5 + 2 * 3 / 4 * 4
    machines = Machines(1.0, link, Link(1.0, 5.0), 2)
    assert scaling.sum_seconds(40, 2, machines) == scaling.ring_seconds(40, 2, link)
    assert scaling.sum_seconds(40, 8, machines) == (
        scaling.ring_seconds(40, 2, link) + scaling.between_seconds(40, 4, Link(1.0, 5.0)))


def test_a_sum_hides_behind_the_layers_that_are_still_to_compute():
    def exposed(*sums):
        """Three layers; their backward passes take 1, 4 and 4 of 14 s, after 5 s of forward passes."""
        layers = [Layer(str(i), scaling.BUCKET, adds, 0, False, False) for i, adds in enumerate((1, 2, 2))]
        return scaling._exposed(layers, 14, lambda bucket: sums[int(bucket[0].name)])

    assert exposed(0, 0, 0) == 0
    assert exposed(1, 4, 8) == pytest.approx(8)  # 4 to 12, then 4 more, then 1: ends at 17, computed at 9
    assert exposed(1, 1, 1) == pytest.approx(1)  # only the first layer's, which is complete last


def test_small_layers_are_summed_together_with_the_last_ones(alexnet):
    buckets = []
    scaling._exposed(alexnet, 1.0, lambda bucket: buckets.append([layer.name for layer in bucket]) or 0.0)
    assert buckets == [["fc8", "fc7"], ["fc6"], ["conv5", "conv4", "conv3", "conv2", "conv1"]]


@pytest.mark.parametrize("images, table", [
    (128, {8: (88, 99, 93), 64: (79, 98, 92), 1024: (77, 97, 91)}),
    (32, {8: (65, 95, 84), 64: (49, 64, 81), 1024: (46, 58, 76)}),
])
def test_what_the_model_says_of_eight_gpus_a_host(alexnet, images, table):
    """In percent, on links of 400 GB/s and 400 Gb/s a GPU: what docs/scaling.md prints."""
    for ranks, expected in table.items():
        got = [round(100 * step_of(kind, alexnet, H100, ranks, images).efficiency)
               for kind in ("data", "data, overlapped", "hybrid")]
        assert tuple(got) == expected, ranks


def test_four_v100(alexnet):
    """TensorFlow's AlexNet on 1, 2 and 4 V100 with 128 images each, fp16: 5,148, 8,816, 10,350, 11,298 img/s on 1 to 4
    (tensorflow/benchmarks issue 283): 55 % on 4. The bandwidth is fitted to that one number; nothing is overlapped."""
    machines = Machines(5148, Link(20e-6, 18e9), Link(20e-6, 18e9), 4)
    efficiencies = [round(100 * step_of("data", alexnet, machines, ranks, 128).efficiency) for ranks in (2, 3, 4)]
    assert efficiencies == [65, 58, 55]


def test_one_rank_waits_for_nobody_and_more_wait_longer(alexnet):
    for kind in scaling.KINDS:
        if kind != "columns":
            assert step_of(kind, alexnet, H100, 1, 128).efficiency == 1
        efficiencies = [step_of(kind, alexnet, H100, 2**k, 128).efficiency for k in range(1, 11)]
        assert all(b <= a + 1e-12 for a, b in zip(efficiencies, efficiencies[1:], strict=False)), kind
        assert all(0 < e <= 1 for e in efficiencies)


def test_what_cannot_be_predicted_is_refused(alexnet):
    with pytest.raises(UsageError, match="got parallelism 'pipeline', expected one of: data"):
        step_of("pipeline", alexnet, H100, 2, 128)
    with pytest.raises(UsageError, match="columns come in pairs: got 3 ranks"):
        step_of("columns", alexnet, H100, 3, 128)
    with pytest.raises(UsageError, match="there is one rank"):
        scaling.measure(Alone(), 1000)


def test_the_links_of_a_job_are_measured_and_shown():
    model = models.build("quick_26", 10)

    def body(comm):
        text = profile.describe_ranks(model, {"conv1": (0.5, 1.0)}, 8, comm)
        return scaling.measure(comm, 1 << 16), text

    (first, text), (second, other) = Threads(2).run(body)
    assert first == second and first.latency > 0 and math.isfinite(first.bandwidth)
    assert "2 ranks: a message takes" in text and "the slowest computes 5 img/s" in text
    assert "conv3" in text and "1,024" in text


def test_ranks_on_the_command_line(capsys):
    with pytest.raises(UsageError, match="there is one rank.*mpiexec -n 2"):
        profile.main(["quick_26", "--ranks", "-b", "1"])
    with pytest.raises(UsageError, match="--ranks needs the time of a step"):
        profile.main(["quick_26", "--ranks", "-b", "0"])
