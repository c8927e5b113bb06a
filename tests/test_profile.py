"""The ledger: the numbers of the literature, and memory that is really there."""
import numpy as np
import pytest
from small_run import make_run

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import data, models, nn, profile
from minitorch_alex.errors import RunError, UsageError
from minitorch_alex.training.architectures import blank


def multiply_adds(name):
    ledger = profile.ledger(blank(name, 1000))
    return {e.name: round(e.multiply_adds / 1e6, 1) for e in ledger if e.multiply_adds}


def test_multiply_adds_of_the_papers_net_by_layer():
    counts = multiply_adds("alexnet")
    assert counts == {"conv1": 105.4, "conv2": 223.9, "conv3": 149.5, "conv4": 112.1, "conv5": 74.8,
                      "fc6": 37.7, "fc7": 16.8, "fc8": 4.1}
    total = sum(e.multiply_adds for e in profile.ledger(blank("alexnet", 1000)))
    assert round(total / 1e6, 1) == 724.4


# Worked out apart from the package, layer by layer: kernels x (channels of the group x side^2 [+ 1]) [x places].
PAPER = ((34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000),
         (105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192, 37_748_736, 16_777_216, 4_096_000))
BY_LAYER = {
    "alexnet": PAPER, "alexnet_source_2012": PAPER, "alexnet_caffe": PAPER, "caffenet": PAPER,
    "alexnet_half_2012": (
        (17_472, 153_728, 221_376, 331_968, 442_624, 37_752_832, 16_781_312, 4_097_000),
        (52_707_600, 111_974_400, 37_380_096, 56_070_144, 74_760_192, 37_748_736, 16_777_216, 4_096_000)),
    "alexnet_merged": (
        (34_944, 614_656, 885_120, 1_327_488, 884_992, 37_752_832, 16_781_312, 4_097_000),
        (105_415_200, 447_897_600, 149_520_384, 224_280_576, 149_520_384, 37_748_736, 16_777_216, 4_096_000)),
    "alexnet_torchvision": (
        (23_296, 307_392, 663_936, 884_992, 590_080, 37_752_832, 16_781_312, 4_097_000),
        (70_276_800, 223_948_800, 112_140_288, 149_520_384, 99_680_256, 37_748_736, 16_777_216, 4_096_000)),
    "alexnet_cifar": (
        (1_344, 76_928, 221_376, 166_080, 110_720, 2_098_176, 1_049_600, 10_250),
        (1_327_104, 19_660_800, 14_155_776, 10_616_832, 7_077_888, 2_097_152, 1_048_576, 10_240)),
}


@pytest.mark.parametrize("name", BY_LAYER)
def test_parameters_and_multiply_adds_of_every_preset_by_layer(name):
    entries = profile.ledger(blank(name, 10 if name == "alexnet_cifar" else 1000))
    learning = [e for e in entries if e.multiply_adds and e.parameters]
    assert tuple(e.parameters for e in learning) == BY_LAYER[name][0]
    assert tuple(e.multiply_adds for e in learning) == BY_LAYER[name][1]
    assert sum(e.parameters for e in entries) == sum(BY_LAYER[name][0])
    assert sum(e.multiply_adds for e in entries) == sum(BY_LAYER[name][1])


@pytest.mark.parametrize(("name", "total"), [("alexnet_merged", 1135.3), ("alexnet_torchvision", 714.2)])
def test_multiply_adds_of_others(name, total):
    got = sum(e.multiply_adds for e in profile.ledger(blank(name, 1000)))
    assert abs(got / 1e6 - total) < 0.1


def test_the_im2col_matrix_of_conv2_is_25_times_its_input():
    entries = {e.name: e for e in profile.ledger(blank("alexnet", 1000))}
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


def test_markdown_has_a_row_a_layer_and_the_sums(capsys):
    assert profile.main(["quick_26", "-b", "0", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| layer | kind | output | parameters | multiply-adds | output | im2col |"
    assert lines[1] == "|---|---|---|--:|--:|--:|--:|"
    assert "| conv1 | Conv2d | 32 x 32 x 32 | 2,432 | 2.5 M | 128 KB | 300 KB |" in lines
    assert any(line.startswith("| total |  |  | 145,578 |") for line in lines)


def test_plot_draws_the_network_and_prints_no_table(tmp_path, capsys):
    file = tmp_path / "net.svg"
    assert profile.main(["quick_26", "--plot", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert "145,578 parameters" in file.read_text()
    with pytest.raises(UsageError, match="must end in .png"):
        profile.main(["quick_26", "--plot", str(tmp_path / "net.jpg")])


# the signal


def two_layers(weight=1.0, bias=0.0):
    """y = w x + b, twice, on images of 3 x 1 x 1: everything can be worked out by hand."""
    settings = {"weight_init": lambda rng, shape: weight * np.eye(3), "bias_init": lambda rng, shape: np.full(3, bias)}
    return nn.Sequential(flatten=nn.Flatten(), a=nn.Linear(3, 3, **settings), b=nn.Linear(3, 3, **settings))


TWO_IMAGES = mt.Tensor(np.array([[1, 1, 1], [-1, -1, -1]], np.float32).reshape(2, 3, 1, 1))


def test_the_signal_of_a_net_worked_out_by_hand():
    model = two_layers(0.1, 1.0)
    a, b = profile.signal_ratios(model, TWO_IMAGES)
    assert (a.name, b.name) == ("a", "b") and model.training
    assert a.input_std == 1 and a.gain == pytest.approx(0.1) and a.ratio == np.inf  # nothing in common
    assert a.spread == pytest.approx(0.1) and b.ratio == pytest.approx(0.1 / 1.0)  # 1.1 and 0.9
    assert [b.input_std, b.gain, b.spread] == pytest.approx([0.1, 0.1, 0.01], rel=1e-5)
    assert "0.1" in profile.signal_table([a, b]).splitlines()[2]
    with pytest.raises(UsageError, match="got 1, expected at least 2"):
        profile.signal_ratios(model, mt.Tensor(np.zeros((1, 3, 1, 1), np.float32)))


@pytest.mark.parametrize(("weight", "bias", "verdict"), [
    (1.0, 0.0, None), (0.1, 1.0, None), (0.004, 1.0, "doubtful"), (0.0005, 1.0, "known to stall"),
    (1e-4, 0.0, "vanishes"), (0.0, 0.0, "vanishes"), (20.0, 0.0, "explodes"), (1e30, 0.0, "explodes")])
@pytest.mark.filterwarnings("ignore:overflow")
def test_the_verdict(weight, bias, verdict):
    text = profile.signal_verdict(profile.signal_ratios(two_layers(weight, bias), TWO_IMAGES))
    assert text is None if verdict is None else text.startswith(verdict)


def test_the_papers_initial_weights_stall_on_inputs_of_std_1_and_not_on_0_to_255():
    mt.manual_seed(0)
    model = models.build("alexnet", 10)
    images = data.make_shapes(16, 224).images.astype(np.float32)
    x = (images - images.mean(axis=0)).transpose(0, 3, 1, 2)
    signals = profile.signal_ratios(model, mt.Tensor(x))
    assert profile.signal_verdict(signals) is None and 0.004 < signals[-1].ratio < 0.02
    assert [s.name for s in signals] == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    signals = profile.signal_ratios(model, mt.Tensor(x / x.std()))
    text = profile.signal_verdict(signals)
    assert text.startswith("known to stall") and "inputs of 0..255" in text and signals[-1].ratio < 0.001


def test_a_run_is_profiled_with_its_own_settings(tmp_path, capsys):
    run, _ = make_run(tmp_path / "run", "alexnet_cifar", channels=(8, 8, 8, 8, 8), hidden=(8, 8))
    assert profile.main([str(run), "-b", "0"]) == 0
    assert "conv5" in capsys.readouterr().out
    assert profile.open_model("pretrained")[1] == "alexnet_cifar"
    for text, error in ((str(tmp_path), RunError), ("runs/none", UsageError)):
        with pytest.raises(error):
            profile.main([text])


def test_the_estimate_of_memory_leaves_running_statistics_alone():
    """It runs blank images in training mode, at every start of a training, resumed or not."""
    after = ("bn relu pool", "relu pool", "relu", "relu", "relu pool")
    model = models.build("alexnet_cifar", channels=(8,) * 5, hidden=(16, 16), after=after)
    before = model.state_dict()
    profile.memory_needs(model)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
