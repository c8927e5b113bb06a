"""The speed benchmark: contenders compute the same function; numbers are kept and shown as is."""
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import minitorch_alex as mt
import minitorch_alex.functional as F
from benchmarks import cpu, harness, nets, report
from benchmarks.workloads import RATES, WORKLOADS
from minitorch_alex.autograd import no_grad
from minitorch_alex.errors import UsageError

NETS = {workload.net: (key, workload) for key, workload in WORKLOADS.items()}
SMALL = [name for name, (_, workload) in NETS.items() if workload.size == 32]
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in NETS if name not in SMALL]


# The same arithmetic


def copy_weights(ours, theirs):
    """Copy our weights to a torch network, where the paper's halving at test time is in fc7 and
    fc8 (see torch_nets.paper)."""
    import torch
    halves = getattr(getattr(ours, "drop6", None), "rule", "") == "2012"
    with torch.no_grad():
        for p, (name, t) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
            assert p.shape == tuple(t.shape), name
            factor = 0.5 if halves and name in ("fc7.weight", "fc8.weight") else 1.0
            t.copy_(torch.from_numpy(p.data * factor))


@pytest.mark.torch
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_contenders_are_the_same_net(name, monkeypatch):
    """As many parameters, the same layers in the same order and, with the same weights, the same
    logits."""
    torch = pytest.importorskip("torch")
    from benchmarks import torch_nets
    for layer in (torch.nn.Conv2d, torch.nn.Linear):  # their weights are copied from ours
        monkeypatch.setattr(layer, "reset_parameters", lambda self: None)
    _, workload = NETS[name]
    ours = nets.build(workload).eval()
    rng = np.random.default_rng(0)
    for p in ours.parameters():  # weights that keep the activations' size: every layer shows
        scale = 1.5 / np.sqrt(p.size / p.shape[0]) if p.ndim > 1 else 0.1
        p.data[...] = rng.standard_normal(p.shape, np.float32) * np.float32(scale)
    size = workload.size
    images = rng.standard_normal((2, 3, size, size)).astype(np.float32) * 20
    edge = (0, workload.edge, 0, workload.edge)
    padded = torch.nn.functional.pad(torch.from_numpy(images), edge)
    with no_grad():
        want = ours(mt.Tensor(images)).data
    for kit, layout in (
        (torch_nets.Kit(), torch.contiguous_format),
        (torch_nets.Kit(), torch.channels_last),
        (torch_nets.Kit(fast_norm=True), torch.channels_last),
        (torch_nets.Kit(fast_norm=True, fast_linear=True), torch.channels_last),
    ):
        theirs = torch_nets.NETS[name](kit).eval().to(memory_format=layout)
        our_layers = [layer for layer, _ in ours.named_children()]
        assert our_layers == [layer for layer, _ in theirs.named_children()]
        count = sum(p.size for p in ours.parameters())
        assert count == sum(p.numel() for p in theirs.parameters())
        copy_weights(ours, theirs)
        with torch.no_grad():
            got = theirs(padded.contiguous(memory_format=layout))
        assert np.abs(got.numpy() - want).max() <= 1e-3 * np.abs(want).max(), (vars(kit), layout)


@pytest.mark.torch
@pytest.mark.parametrize("block", [1, 4 << 20])
@pytest.mark.parametrize("kind", ["one group", "two groups", "within the map"])
def test_the_hand_written_lrn_is_torchs(kind, block, monkeypatch):
    """Forward and gradient in float64, image by image and all at once."""
    torch = pytest.importorskip("torch")
    from benchmarks import torch_nets
    monkeypatch.setattr(torch_nets, "BLOCK", block)
    torch.manual_seed(0)
    x = torch.randn(3, 12, 5, 7, dtype=torch.float64) * 60
    x = x.contiguous(memory_format=torch.channels_last)
    torch.set_default_dtype(torch.float64)  # for the constants
    try:
        fast, plain = {
            "one group": (torch_nets.FastNorm(12), torch_nets.Norm(1)),
            "two groups": (torch_nets.FastNorm(12, 2), torch_nets.Norm(2)),
            "within the map": (torch_nets.FastNorm(12, within=True), torch_nets.MapNorm()),
        }[kind]
    finally:
        torch.set_default_dtype(torch.float32)
    if kind == "one group":
        expected = torch.nn.functional.local_response_norm(x, 5, 5e-4, 0.75, 2.0)
        assert torch.equal(plain(x), expected)
    cotangent = torch.randn_like(x)
    results = []
    for norm in (fast, plain):
        leaf = x.clone().requires_grad_()
        y = norm(leaf)
        y.backward(cotangent)
        results.append((y.detach(), leaf.grad))
    for got, want in zip(*results, strict=True):
        assert (got - want).abs().max() <= 1e-13 * want.abs().max()
    y, gx = results[0]
    without_neighbours = cotangent * y / x  # the gradient if the denominator were constant
    share = (gx - without_neighbours).abs().max() / gx.abs().max()
    assert share > 0.1, "a case in which the neighbours do not matter"


@pytest.mark.torch
def test_the_best_torch_has_the_gradients_of_the_plain_one():
    torch = pytest.importorskip("torch")
    from benchmarks import torch_nets
    plain = torch_nets.Torch("net_w2-b128", "torch-nhwc")
    best = torch_nets.Torch("net_w2-b128", "torch-best")
    best.net.load_state_dict(plain.net.state_dict(), strict=False)  # it also has constants
    losses = []
    for net in (plain, best):
        net.feed(8)
        net.mode(True)
        losses.append([net.train_step() for _ in range(2)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for (name, p), q in zip(plain.net.named_parameters(), best.net.parameters(), strict=True):
        assert (p.grad - q.grad).abs().max() <= 1e-4 * p.grad.abs().max(), name
        assert torch.allclose(p, q, rtol=1e-5, atol=1e-7), name


class InJax:
    """JAX, with its layouts, behind the same four functions as InTiny."""

    def __init__(self):
        from benchmarks import jax_nets
        self.of = jax_nets
        self.Net = jax_nets.Jax

    def arrays(self, net, ours, factor):
        """Our arrays by layer in JAX's order; fc7 and fc8 times `factor` (see copy_weights)."""
        jnp = self.of.jnp
        channels = [layer.outputs for layer in net.net.values() if hasattr(layer, "kernel")][-1]
        last = {}
        flat = True  # whether the next linear layer is the first
        for name, (w, b) in ours.items():
            w = w * (factor if name in ("fc7", "fc8") else 1.0)
            if w.ndim == 4:
                w = w.transpose(2, 3, 1, 0)  # (O, C, KH, KW) -> (KH, KW, C, O)
            elif flat:
                side = round((w.shape[1] / channels) ** 0.5)
                w = w.reshape(len(w), channels, side, side)  # (O, C*H*W) -> (O, C, H, W)
                w = w.transpose(2, 3, 1, 0).reshape(-1, len(w))  # -> (H, W, C, O) -> (H*W*C, O)
                flat = False
            else:
                w = w.T
            last[name] = (jnp.asarray(w), jnp.asarray(b))
        return last

    def load(self, net, weights):
        net.weights = weights

    def logits_loss_and_gradients(self, net):
        """In inference's mode: nothing is dropped."""
        loss, gradients = self.of.jax.value_and_grad(net.loss)(
            net.weights, None, net.images, net.labels)
        return net.infer(), float(loss), gradients

    def batch(self, net, images, labels):
        """From NCHW."""
        net.images = self.of.jnp.asarray(images.transpose(0, 2, 3, 1))
        net.labels = self.of.jnp.asarray(labels)

    def dropped(self, x):
        from benchmarks.layers import Dropout
        key = self.of.jax.random.key(3)
        return np.asarray(self.of.apply({"drop": Dropout()}, {}, self.of.jnp.asarray(x), key))


class InTiny:
    """tinygrad, whose layouts are ours."""

    def __init__(self):
        from benchmarks import tiny_nets
        self.of = tiny_nets
        self.Net = tiny_nets.Tiny

    def arrays(self, net, ours, factor):
        return {name: (w * np.float32(factor if name in ("fc7", "fc8") else 1.0), b)
                for name, (w, b) in ours.items()}

    def load(self, net, weights):
        for name, pair in weights.items():
            for theirs, array in zip(net.weights[name], pair, strict=True):
                theirs.assign(self.of.Tensor(array)).realize()

    def logits_loss_and_gradients(self, net):
        net.optimizer.zero_grad()
        loss = net.loss(net.images, net.labels).backward()
        gradients = {name: [array.grad.numpy() for array in pair]
                     for name, pair in net.weights.items()}
        return net.infer(), loss.item(), gradients

    def batch(self, net, images, labels):
        net.images = self.of.Tensor(images).realize()
        net.labels = self.of.Tensor(labels).realize()

    def dropped(self, x):
        from benchmarks.layers import Dropout
        with self.of.Context(TRAINING=1):
            return self.of.apply({"drop": Dropout()}, {}, self.of.Tensor(x)).numpy()


@pytest.fixture(params=["jax", pytest.param("tinygrad", marks=pytest.mark.slow)])
def other(request, monkeypatch):
    """Another framework, or a skipped test."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("DEV", "CPU")
    pytest.importorskip(request.param, reason=f"needs the package {request.param}")
    if request.param == "tinygrad" and not shutil.which("clang"):
        pytest.skip("tinygrad needs clang to compile its kernels")
    return {"jax": InJax, "tinygrad": InTiny}[request.param]()


def pairs(model, kind):
    """layer -> (weight, bias) of our network, or their gradients."""
    return {name: tuple(np.array(getattr(array, kind)) for array in (layer.weight, layer.bias))
            for name, layer in model.named_children() if hasattr(layer, "weight")}


def same(got, want, what, tolerance=1e-4):
    """Equal to 1e-4, by the length of the difference."""
    got = np.asarray(got)
    assert got.shape == want.shape, what
    assert np.linalg.norm(got - np.asarray(want)) <= tolerance * np.linalg.norm(np.asarray(want)), what


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_other_frameworks_have_our_loss_and_gradients(name, other):
    """With the same weights: the logits, the loss and the gradient of each weight, without
    dropout."""
    key, workload = NETS[name]
    model = nets.build(workload).eval()
    halves = getattr(getattr(model, "drop6", None), "rule", "") == "2012"
    rng = np.random.default_rng(0)
    for p in model.parameters():
        scale = 1.5 / np.sqrt(p.size / p.shape[0]) if p.ndim > 1 else 0.1
        p.data[...] = rng.standard_normal(p.shape) * scale
    size = workload.size
    images = rng.standard_normal((2, 3, size, size)).astype(np.float32)
    labels = rng.integers(0, workload.classes, 2)
    logits = model(mt.Tensor(images))
    loss = F.cross_entropy(logits, labels)
    loss.backward()

    net = other.Net(key)
    edge = (0, workload.edge)
    other.batch(net, np.pad(images, ((0, 0), (0, 0), edge, edge)), labels)
    # Ours halves what comes to fc7 and fc8, theirs has half the weights: twice the gradients.
    other.load(net, other.arrays(net, pairs(model, "data"), 0.5 if halves else 1.0))
    their_logits, their_loss, gradients = other.logits_loss_and_gradients(net)
    same(their_logits, logits.data, "logits")
    assert their_loss == pytest.approx(loss.item(), rel=1e-4)
    wanted = other.arrays(net, pairs(model, "grad"), 2.0 if halves else 1.0)
    assert gradients.keys() == wanted.keys()
    # Rounding turns a ReLU on or off here and there among the many of a large network, and with it
    # the gradients of all that led there.
    tolerance = 1e-4 if name in SMALL else 1e-2
    for layer, pair in wanted.items():
        for got, want in zip(gradients[layer], pair, strict=True):
            same(got, want, layer, tolerance)


def test_other_frameworks_take_our_steps(other, monkeypatch):
    """Momentum and weight decay, with rates at which both show after three steps."""
    monkeypatch.setitem(RATES, "lr", 0.02)
    monkeypatch.setitem(RATES, "weight_decay", 0.5)
    ours = nets.Ours("net_w2-b128", "ours-im2col")
    ours.feed(4)
    ours.mode(True)
    net = other.Net("net_w2-b128")
    other.batch(net, np.ascontiguousarray(ours.images), ours.labels)
    other.load(net, other.arrays(net, pairs(ours.model, "data"), 1.0))
    losses = [(net.train_step(), ours.train_step()) for _ in range(3)]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-5)
    wanted = other.arrays(net, pairs(ours.model, "data"), 1.0)
    for layer, pair in wanted.items():
        for got, want in zip(net.weights[layer], pair, strict=True):
            same(got.numpy() if hasattr(got, "numpy") else got, np.asarray(want), layer)


def test_other_frameworks_drop_half_and_double_the_rest(other):
    y = other.dropped(np.ones((100, 100), np.float32))
    assert set(np.unique(y)) == {0, 2} and abs(y.mean() - 1) < 0.05


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_the_bare_kernels_do_the_same_step_to_the_bit(name):
    key, _ = NETS[name]
    net = nets.Ours(key, "ours-im2col")  # "ours" times the algorithms anew for each net
    net.feed(3)
    net.mode(True)
    weights = net.optimizer.flat.copy()
    results = []
    for step in (nets.Ours.train_step, nets.bare_step):
        net.optimizer.flat[...] = weights
        net.optimizer.velocity[...] = 0
        losses = []
        for i in range(2):
            mt.set_step(i)
            losses.append(step(net))
        results.append((losses, net.optimizer.flat.copy()))
    assert results[0][0] == results[1][0] and results[0][0][0] != results[0][0][1]
    assert np.array_equal(results[0][1], results[1][1])


def test_the_work_of_a_step():
    """Three times the multiply-adds, without conv1's gradient of the image: 4.136 GFLOP for the
    paper's network."""
    assert nets.step_flops(WORKLOADS["alexnet-b128"]) == 2 * (3 * 724_406_816 - 105_415_200)
    assert round(nets.step_flops(WORKLOADS["net_w2-b128"]) / 1e6, 1) == 59.5


# Samples


def test_ratios_are_taken_within_a_round_and_disturbed_samples_left_out():
    taken = {
        "ours": [{"round": i, "train": v, "peak_mb": 10} for i, v in enumerate((100, 60, 110))],
        "torch": [{"round": 0, "train": 50}, {"round": 1, "train": 20, "noisy": True},
                  {"round": 2, "train": 44}],
        "dezero": [{"round": 0, "train": 10, "noisy": True}],
        "torch-best": [{"round": 0, "error": "killed"}],
    }
    got = harness.summarise(taken, ["train"])
    assert got["ours"] == {"noisy": 0, "train": 100, "peak_mb": 10}
    assert got["torch"]["train_ratio"] == [2.25, 2.0, 2.5] and got["torch"]["noisy"] == 1
    # All samples of dezero were disturbed: better than none.
    assert got["dezero"]["train_ratio"] == [10, 10, 10]
    assert got["torch-best"]["train"] is None and "train_ratio" not in got["torch-best"]


def test_contenders_take_turns_and_one_that_fails_sits_out():
    calls = []

    def take(name, i):
        calls.append((name, i))
        return {"error": "no"} if name == "b" else {"train": 1}

    *_, last = harness.alternate("abc", 3, take, at_most={"c": 2})
    assert calls == [("a", 0), ("b", 0), ("c", 0), ("c", 1), ("a", 1), ("a", 2)]
    assert [s["round"] for s in last["a"]] == [0, 1, 2]
    assert len(last["b"]) == 1 and len(last["c"]) == 2
    # Another run goes on after the rounds that are complete; who sat out still does.
    calls.clear()
    *_, more = harness.alternate("abc", 5, take, last, at_most={"c": 2})
    assert calls == [("a", 3), ("a", 4)] and len(more["a"]) == 5 and more["c"] == last["c"]


@pytest.mark.parametrize(("foreign", "retries", "want"), [  # None: the child fails
    ([0.5, 0.05, 0.0], 2, {"foreign": 0.05}),
    ([0.5, 0.3, 0.4], 2, {"foreign": 0.3, "noisy": True}),
    ([0.2], 0, {"foreign": 0.2, "noisy": True}),
    ([0.2, None], 2, {"foreign": 0.2, "noisy": True}),
    ([None], 2, {"error": "killed"})])
def test_a_disturbed_sample_is_taken_again(foreign, retries, want, monkeypatch):
    answers = iter({"error": "killed"} if value is None else {"foreign": value}
                   for value in foreign)
    monkeypatch.setattr(harness, "run_child", lambda *_: next(answers))
    assert harness.sample("module", {}, {}, retries) == want


def test_a_child_is_a_process_with_the_environment_of_its_contender(tmp_path, monkeypatch):
    (tmp_path / "some_child.py").write_text("""
import json, os, sys
job = json.loads(sys.argv[1])
assert job['fine'], 'not fine'
print('chatter')
print(json.dumps({n: v for n, v in os.environ.items() if n[:4] in ('OPEN', 'MALL')}))
""")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)  # `make test` sets it
    environment = {"PYTHONPATH": str(tmp_path), "MALLOC_TOP_PAD_": "1"}
    answer = harness.run_child("some_child", {"fine": True}, environment)
    assert answer == {"MALLOC_TOP_PAD_": "1"}
    failed = harness.run_child("some_child", {"fine": False}, environment)
    assert failed == {"error": "AssertionError: not fine"}


@pytest.mark.parametrize("others", [0.0, 0.25])
def test_own_work_is_not_foreign(others, monkeypatch):
    """On a machine on which others use `others` seconds meanwhile, whatever runs now on this one."""
    used = iter((0.0, others))
    monkeypatch.setattr(harness, "_busy_seconds", lambda: harness._own_seconds() + next(used))
    result = {}
    with harness.metered(result):
        times = harness.time_steps(lambda: sum(range(200_000)), warm_up=1, least=5, seconds=0)
    assert len(times) == 5 and 0 < sum(times) <= result["wall_seconds"] + 0.001
    assert result["cpu_seconds"] > 0
    foreign = result["foreign"] * result["wall_seconds"] * harness.os.cpu_count()
    assert foreign == pytest.approx(others, rel=0.05, abs=0.01)


def test_the_work_of_a_compiler_is_own_work():
    before = harness._own_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)
    assert harness._own_seconds() - before > 0.05


def test_a_step_that_takes_too_long_is_told():
    start = time.perf_counter()
    with pytest.raises(RuntimeError, match="^a step takes more than 1 seconds$"):
        with harness.at_most(1, "a step"):
            time.sleep(30)
    assert time.perf_counter() - start < 20
    with harness.at_most(1, "a step"):
        pass
    time.sleep(1.1)  # the alarm is off: it would end this process


# What is written and shown


def a_record(path):
    record = harness.Record(path, "python -m benchmarks.cpu", {
        "cpu": "Some CPU", "cpus": 2, "python": "3.11", "numpy": "2.4", "torch": "2.13"})
    speeds = {"ours": 70, "torch": 20, "torch-malloc": 50}
    samples = {who: [{"round": i, "train": speed + i, "inference": 3 * speed, "peak_mb": 2000}
                     for i in range(2)]
               for who, speed in speeds.items()}
    summary = harness.summarise(samples, ("train", "inference"))
    record.put("speed", "alexnet-b128", {"summary": summary})
    return record


def test_what_another_run_measured_stays(tmp_path):
    path = tmp_path / "speed.json"
    a_record(path)
    command = "python -m benchmarks.cpu --sections overhead"
    again = harness.Record(path, command, {"cpu": "Some CPU"})
    again.put("overhead", "net_w2-b128", {"ratio": 1.02})
    content = json.loads(path.read_text())
    assert content["speed"]["alexnet-b128"]["summary"]["ours"]["train"] == 70.5
    # Each entry says when it was measured.
    stamp = {key: content[key] for key in ("commit", "date")}
    assert content["overhead"] == {"net_w2-b128": {"ratio": 1.02, **stamp}}
    assert content["runs"]["speed"]["command"] == "python -m benchmarks.cpu"
    assert content["command"] == command
    assert {"commit", "seed", "device", "date", "machine"} <= content.keys()


def test_tables_and_picture_come_from_the_file(tmp_path, capsys):
    path = tmp_path / "speed.json"
    picture = tmp_path / "speed.png"
    a_record(path)
    assert cpu.main(["--show", str(path), "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "| alexnet-b128 | 70.5 | 20.5 (3.44, 3.38 to 3.50) | 50.5 (1.40, 1.39 to 1.40) |" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("flags", [
    ["--rounds", "0"], ["--plot", "speed.txt"], ["--show", "no_such_file.json"]])
def test_wrong_usage_is_told(flags):
    with pytest.raises(UsageError, match=flags[0]):
        cpu.main(flags)


def test_a_summary_needs_the_section_speed(tmp_path):
    path = tmp_path / "memory.json"
    path.write_text('{"machine": {}}')
    with pytest.raises(UsageError, match="--summary needs the section speed"):
        cpu.main(["--show", str(path), "--summary"])


def test_a_picture_needs_something_to_compare():
    with pytest.raises(UsageError, match="torch-malloc"):
        report.plot({"speed": {"alexnet-b128": {"summary": {"ours": {"train": 1}}}}}, None)


@pytest.mark.slow
def test_every_section_of_ours_runs(tmp_path, capsys):
    path = tmp_path / "speed.json"
    cpu.main(["--quick", "--workloads", "net_w2-b128", "--contenders", "ours",
              "--out", str(path)])
    content = json.loads(path.read_text())
    out = capsys.readouterr().out
    for section in cpu.SECTIONS:
        assert content[section], section
    sample = content["speed"]["net_w2-b128"]["samples"]["ours"][0]
    assert sample["train"] > 0 and sample["inference"] > 0 and sample["peak_mb"] > 10
    assert content["speed"]["net_w2-b128"]["settings"]["ours"]["malloc"]
    for heading in ("Training", "Inference", "Memory", "Ceilings", "Efficiency", "Layers",
                    "Overhead", "Growth"):
        assert f"### {heading}" in out, heading
