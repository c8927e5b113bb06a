"""The GPU's benchmark without a GPU: our side on host_cuda.py, torch on the CPU with events that read a clock.

What is tested is that it measures what it says: whole steps, waited for, at the precision that was asked for, in turn,
within the budget. Its numbers mean nothing here.
"""
import json
import re
import time
from types import SimpleNamespace

import host_cuda
import numpy as np
import pytest
from test_device import MISSING, machine

from benchmarks import gpu, gpu_contenders, gpu_kernels, gpu_report, harness, nets
from benchmarks.workloads import GPU_ABOUT, GPU_WORKLOADS
from minitorch_alex import backend, streams
from minitorch_alex.errors import UsageError
from minitorch_alex.training import cli
from minitorch_alex.training.cli import run_cli

needs_compiler = pytest.mark.skipif(host_cuda.COMPILER is None, reason="no g++ to compile the kernels for the CPU")
RESULTS = harness.ROOT / "results"
a_machine = machine  # the fixture of test_device
PRETENDED = {"gpu": "Some GPU", "setting": "Some GPU, 80 GB, cupy 14.2.0, fp32", "memory_gb": 80, "cupy": "14.2.0",
             "cpu": "Some CPU", "cpus": 4, "python": "3.11", "numpy": "2.4", "torch": "2.13", "torch_cuda": "13.0",
             "cudnn": 91000}


class Clock:
    """Events of both frameworks: seconds are known once the host has waited for the device after the event."""

    waited = 0

    def __init__(self, **flags):
        assert flags in ({"enable_timing": True}, {"disable_timing": False}), flags

    def record(self, stream=None):
        self.at, self.before = time.perf_counter(), Clock.waited

    def elapsed_time(self, other):
        assert Clock.waited > other.before, "read before the host has waited for it"
        return 1e3 * (other.at - self.at)

    @staticmethod
    def wait():
        Clock.waited += 1


@pytest.fixture
def ours_on_host(monkeypatch):
    """OursOnGpu runs on the kernels of kernels/gpu/, compiled for the host."""
    if host_cuda.COMPILER is None:
        pytest.skip("no g++ to compile the kernels for the CPU")
    cuda = SimpleNamespace(**vars(host_cuda.host_xp.cuda))
    cuda.get_elapsed_time = Clock.elapsed_time
    cuda.Device = lambda: SimpleNamespace(mem_info=(10**9, 3 * 10**9))

    def event(disable_timing):
        return host_cuda.Event(True) if disable_timing else Clock(disable_timing=False)
    cuda.Event = event
    monkeypatch.setattr(host_cuda.host_xp, "cuda", cuda)
    monkeypatch.setattr(host_cuda.host_xp, "__version__", "14.2.0", raising=False)
    monkeypatch.setattr(host_cuda.host_xp, "get_default_memory_pool",
                        lambda: SimpleNamespace(free_all_blocks=lambda: None), raising=False)
    monkeypatch.setattr(nets.OursOnGpu, "backend", "host cuda")
    monkeypatch.setattr(backend, "synchronize", Clock.wait)
    monkeypatch.setattr(backend, "memory", lambda: (5 * 10**6, 7 * 10**6))
    monkeypatch.setattr(cli, "describe_device", lambda settings=None: "Some GPU, 80 GB, cupy 14.2.0, fp32")
    with host_cuda.installed():
        yield


@pytest.fixture
def torch_on_host(monkeypatch):
    """TorchOnGpu runs on the CPU."""
    torch = pytest.importorskip("torch")
    from benchmarks import torch_nets
    for name, value in (("Event", Clock), ("synchronize", Clock.wait), ("empty_cache", lambda: None),
                        ("reset_peak_memory_stats", lambda: None), ("max_memory_reserved", lambda: 9 * 10**6),
                        ("mem_get_info", lambda: (10**9, 3 * 10**9)), ("is_available", lambda: True)):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch_nets, "DEVICE", "cpu")
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    yield torch_nets
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before


@pytest.fixture
def in_process(monkeypatch):
    """Children are calls, and the jobs that they got are kept."""
    jobs = []

    def run_child(module, job, environment, limit=0):
        assert module == gpu.CHILD and environment == {}
        jobs.append(json.loads(json.dumps(job)))
        return json.loads(json.dumps(gpu_contenders.TASKS[job["task"]](job)))
    monkeypatch.setattr(harness, "run_child", run_child)
    return jobs


def job(workload="net_18-b128", contender="ours", precision="fp32", **more):
    return {"workload": workload, "contender": contender, "precision": precision, "batch": 2, "warm_up": 1, "least": 2,
            "seconds": 0.001} | more


# all of it


@pytest.mark.slow
@pytest.mark.torch
def test_every_section_runs_and_is_told(ours_on_host, torch_on_host, in_process, tmp_path, capsys):
    path, picture = tmp_path / "speed.json", tmp_path / "speed.png"
    assert gpu.main(["--quick", "--workloads", "net_18-b128", "--out", str(path), "--plot", str(picture)]) == 0
    content, out = json.loads(path.read_text()), capsys.readouterr().out
    assert content["device"] == "Some GPU" and content["machine"]["torch"] and content["machine"]["cupy"] == "14.2.0"
    assert {"commit", "seed", "date", "command"} <= content.keys() and str(tmp_path) not in path.read_text()
    for precision in backend.PRECISIONS:
        entry = content["speed"][f"net_18-b128-{precision}"]
        assert list(entry["summary"]) == list(entry["samples"]) == list(GPU_ABOUT)
        assert all(row["train"] > 0 for row in entry["summary"].values()) and entry["batch"] == 2
        assert entry["summary"]["ours"]["peak_mb"] == 7 and entry["summary"]["torch"]["peak_mb"] == 9
        assert entry["samples"]["ours"][0]["device_mb"] == entry["samples"]["torch"][0]["device_mb"] == 2000
        times = content["layers"][f"net_18-b128-{precision}"]["seconds"]
        assert list(times) == list(GPU_ABOUT) and len({tuple(layers) for layers in times.values()}) == 1
        assert all(forward > 0 and backward > 0 for layers in times.values() for forward, backward in layers.values())
        fed = content["feed"][f"net_18-b128-{precision}"]
        assert min(fed["train"], fed["batches"], fed["resident"]) > 0
    rates = content["ceilings"]["machine"]["rates"]
    assert list(rates) == [*(f"gemm_{p}" for p in backend.PRECISIONS), "copy", "upload"] and min(rates.values()) > 0
    flops = content["ceilings"]["floors"]["net_18-b128"]
    assert flops["fp32"] == pytest.approx(rates["gemm_fp32"] / flops["gflop_per_image"], abs=0.1)
    for heading in ("Training, fp32", "Training, tf32", "Memory, fp32", "Ceilings", "Efficiency",
                    "Layers of net_18-b128-fp32", "Feed"):
        assert f"### {heading}\n" in out, heading
    assert "these are not measurements" in out and picture.read_bytes().startswith(b"\x89PNG")
    assert [(j["contender"], j["precision"]) for j in in_process if j["task"] == "speed"] == [
        (who, precision) for precision in backend.PRECISIONS for who in GPU_ABOUT]


# the same step


@pytest.mark.parametrize("name", ("net_18-b128", "alexnet_cifar-b128"))
def test_our_step_is_that_of_the_cpu(ours_on_host, name):
    """Two steps, as benchmarks.cpu makes them: gradients are forgotten between them, and weights updated."""
    losses, weights = [], []
    for make in (lambda: nets.OursOnGpu(name, "ours", "fp32"), lambda: nets.Ours(name, "ours-im2col")):
        net = make()
        net.feed(3)
        net.mode(True)
        streams.set_step(0)
        losses.append([net.step().item() for _ in range(2)])
        weights.append(backend.to_numpy(net.optimizer.flat))
        backend.use("numpy")
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0][0] != losses[0][1] and np.abs(weights[0] - weights[1]).max() < 1e-5


@pytest.mark.torch
@pytest.mark.parametrize("name", ("net_18-b128", "alexnet_cifar-b128"))
def test_the_contenders_of_torch_make_the_same_step(torch_on_host, name):
    """In both memory orders, with the hand-written LRN and without, plain and fused: that of the formula."""
    results, torch, rates = {}, torch_on_host.torch, torch_on_host.RATES
    for contender in GPU_ABOUT:
        if contender.startswith("torch"):
            net = torch_on_host.TorchOnGpu(name, contender, "fp32")
            net.feed(3)
            net.mode(False)  # without dropout's draws
            results[contender] = [net.step().item() for _ in range(3)], next(net.net.parameters()).grad
            assert ("nhwc" in contender) is net.images.is_contiguous(memory_format=torch_on_host.torch.channels_last)
            assert bool(net.optimizer.defaults["fused"]) is ("fast" in contender)
            assert any(isinstance(m, torch_on_host.FastNorm) for m in net.net) is ("fast" in contender)
    net, want = torch_on_host.TorchOnGpu(name, "torch", "fp32"), []
    net.feed(3)
    net.mode(False)
    weights = list(net.net.parameters())
    velocities = [torch.zeros_like(w) for w in weights]
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(net.net(net.images), net.labels)
        want.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, v, g in zip(weights, velocities, gradients, strict=True):
                v.mul_(rates["momentum"]).add_(g + rates["weight_decay"] * w)
                w.sub_(rates["lr"] * v)
    assert want[0] != want[1] != want[2]
    gradient = gradients[0]
    for losses, other in results.values():
        np.testing.assert_allclose(losses, want, rtol=1e-5)
        assert (gradient - other).abs().max() <= 1e-4 * gradient.abs().max()


@pytest.mark.torch
@pytest.mark.parametrize("precision, dtype", (("fp32", "float32"), ("tf32", "float32"), ("fp16", "float16"),
                                              ("bf16", "bfloat16")))
def test_all_multiply_at_the_precision_asked_for(precision, dtype, torch_on_host, monkeypatch, ours_on_host):
    net, dtypes = torch_on_host.TorchOnGpu("net_18-b128", "torch", precision), []
    net.feed(2)
    net.net.conv1.register_forward_hook(lambda layer, given, result: dtypes.append(str(result.dtype)))
    net.step()
    assert dtypes == [f"torch.{dtype}"]
    backends = torch_on_host.torch.backends
    assert backends.cuda.matmul.allow_tf32 is backends.cudnn.allow_tf32 is (precision == "tf32")
    assert backends.cudnn.benchmark and net.scaler.is_enabled() is (precision == "fp16")
    used, asked = cli.use_device, []

    def use(settings):
        asked.append((settings["backend"], settings["precision"]))
        used(settings)
    monkeypatch.setattr(cli, "use_device", use)
    nets.OursOnGpu("net_18-b128", "ours", precision)
    assert asked == [("host cuda", precision)]


# the clock


def test_steps_are_waited_for_and_counted(monkeypatch):
    """A device that works 50 ms on a step while the host runs ahead: 20 steps a second, waited for once in 0.2 s."""
    now, queue = [0.0], []
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def step():
        queue.append(0.05)
        now[0] += 0.001

    def synchronize():
        now[0] += sum(queue) - 0.001 * len(queue)
        queue.clear()
    got = gpu_contenders.images_per_second(step, synchronize, job(batch=8, least=3, seconds=0.9))
    assert got["train"] == pytest.approx(160, rel=1e-6) and not queue
    assert got["train_steps"] == 20, "spans of 0.2 s, until 0.9 s have passed"


def test_a_loss_that_is_not_finite_is_no_sample(ours_on_host, monkeypatch):
    net = nets.OursOnGpu

    class Broken(net):
        def feed(self, batch):
            super().feed(batch)
            self.images = self.images * float("nan")
    monkeypatch.setattr(nets, "OursOnGpu", Broken)
    with pytest.raises(RuntimeError, match="the loss is nan"):
        gpu_contenders.speed(job())


def test_the_feed_brings_the_batches_of_the_recipe(ours_on_host, monkeypatch):
    seen = []

    class Watched(nets.OursOnGpu):
        def step(self):
            seen.append((self.images.shape, self.labels.shape, float(np.abs(backend.to_numpy(self.images)).max())))
            return super().step()
    monkeypatch.setattr(nets, "OursOnGpu", Watched)
    got = gpu_contenders.feed(job("alexnet_cifar-b128", batches=3, workers=1))
    fed = [images for images, _, largest in seen if largest > 50]  # grey levels about their mean, not normal numbers
    assert len(fed) == 3 * 3 + 1 and set(fed) == {(2, 3, 32, 32)} and len(seen) > len(fed)
    assert got["batches"] > 0 and got["image"] == 32 and got["workers"] == 1


# the budget


@pytest.fixture
def ten_seconds_each(monkeypatch):
    """Children that take 10 seconds of a clock that only they move, and answer with a speed."""
    now, jobs = [100.0], []

    def run_child(module, job, environment, limit=harness.TIMEOUT):
        if job["task"] == "machine":
            return dict(PRETENDED)
        took = 10.0
        if took > limit:
            now[0] += limit
            return {"error": f"no answer within {limit:.0f} seconds"}
        now[0] += took
        jobs.append((job["workload"], job["precision"], job["contender"]))
        return {"train": 100.0 + len(jobs), "cpu_seconds": 1, "wall_seconds": 1, "peak_mb": 5, "foreign": 0,
                "setting": {"x": 1}}
    monkeypatch.setattr(harness, "run_child", run_child)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])
    return jobs


TWO = ["--sections", "speed", "--workloads", "alexnet-b128", "net_18-b128", "--precisions", "fp32", "--contenders",
       "ours", "torch", "--rounds", "2"]


def test_a_budget_ends_it_and_resume_takes_what_is_missing_once(ten_seconds_each, tmp_path, capsys):
    path, jobs = tmp_path / "speed.json", ten_seconds_each
    order = [(name, "fp32", who) for name in ("alexnet-b128", "net_18-b128") for who in ("ours", "torch")]
    gpu.main([*TWO, "--out", str(path), "--budget", "46"])  # 4 samples take 40 s, the next one would end at 50
    assert jobs == order, "a round of each workload before the second of any"
    content = json.loads(path.read_text())
    assert [len(entry["samples"]["ours"]) for entry in content["speed"].values()] == [1, 1]
    told = capsys.readouterr().err
    assert "the budget is spent; the same command with --resume" in told and "no answer" not in told
    gpu.main([*TWO, "--out", str(path), "--budget", "16", "--resume"])  # half a round of the first: it is taken again
    back = [order[1], order[0], order[3], order[2]]  # the second round goes backwards
    assert jobs == [*order, back[0]]
    gpu.main([*TWO, "--out", str(path), "--resume"])
    assert jobs == [*order, back[0], *back]
    content = json.loads(path.read_text())
    for name in ("alexnet-b128", "net_18-b128"):
        entry = content["speed"][f"{name}-fp32"]
        assert [[s["round"] for s in samples] for samples in entry["samples"].values()] == [[0, 1], [0, 1]]
        assert entry["settings"]["torch"] == {"x": 1} and len(entry["summary"]["torch"]["train_ratio"]) == 3
    gpu.main([*TWO, "--out", str(path), "--resume"])
    assert len(jobs) == 9 and capsys.readouterr().err.endswith(f"done in 0.0 min: {path}\n")


def test_a_child_that_outlasts_the_budget_is_ended_and_is_no_failure(ten_seconds_each, tmp_path, capsys):
    path = tmp_path / "speed.json"
    gpu.main([*TWO, "--out", str(path), "--budget", "5"])
    assert ten_seconds_each == [] and not path.exists() and "the budget is spent" in capsys.readouterr().err


def test_without_resume_or_on_another_commit_all_is_measured_anew(ten_seconds_each, tmp_path, capsys):
    path = tmp_path / "speed.json"
    for flags in ([], [], ["--resume", "--commit", "abcdef"]):
        ten_seconds_each.clear()
        gpu.main([*TWO, "--out", str(path), *flags])
        assert len(ten_seconds_each) == 8
    content = json.loads(path.read_text())
    assert content["commit"] == content["speed"]["net_18-b128-fp32"]["commit"] == "abcdef"


def test_measurements_of_two_gpus_do_not_meet_in_a_file(ten_seconds_each, tmp_path, monkeypatch):
    path = tmp_path / "speed.json"
    gpu.main([*TWO, "--out", str(path)])
    monkeypatch.setitem(PRETENDED, "gpu", "Another GPU")
    before = path.read_text()
    with pytest.raises(UsageError, match="holds measurements of Some GPU, this is Another GPU: name another file"):
        gpu.main([*TWO, "--out", str(path), "--resume"])
    assert path.read_text() == before


def test_without_cuda_in_torch_ours_is_measured_alone_and_torch_refused(ten_seconds_each, monkeypatch, capsys):
    for key in ("torch", "torch_cuda", "cudnn"):
        monkeypatch.delitem(PRETENDED, key)
    with pytest.raises(UsageError, match="torch cannot run here: PyTorch with CUDA is not installed"):
        gpu.main([*TWO, "--quick"])
    words = [word for word in TWO if word not in ("--contenders", "ours", "torch")]
    gpu.main([*words, "--quick"])
    assert {who for _, _, who in ten_seconds_each} == {"ours"} and "PyTorch absent" in capsys.readouterr().out


def test_rounds_go_on_where_an_earlier_run_ended():
    before = {"a": [{"round": 0, "v": 1}, {"round": 1, "v": 2}], "b": [{"round": 0, "v": 3}],
              "c": [{"round": 0, "error": "out of memory"}]}
    assert harness.whole_rounds(before) == 1 and harness.whole_rounds({"a": [], "b": []}) == 0
    calls = []
    *_, last = harness.alternate("abc", 3, lambda name, i: calls.append((name, i)) or {"v": 9}, before)
    assert calls == [("b", 1), ("a", 1), ("a", 2), ("b", 2)] and len(before["a"]) == 2
    assert [s["v"] for s in last["a"]] == [1, 9, 9] and [s["v"] for s in last["b"]] == [3, 9, 9] and len(last["c"]) == 1


# no GPU, wrong usage


@MISSING
def test_without_a_gpu_it_stops_with_one_line(a_machine, module, wheels, texts, in_process, capsys, tmp_path):
    a_machine(module, *wheels)
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: gpu.main(["--out", str(tmp_path / "speed.json")]))
    out, err = capsys.readouterr()
    assert stop.value.code == 3 and out == "" and err.startswith("error: backend 'cupy' is not available")
    assert err.count("\n") == 1 and all(text in err for text in texts) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [["--rounds", "0"], ["--budget", "0"], ["--budget", "nan"], ["--plot", "speed.txt"],
                                   ["--show", "no_such_file.json"]])
def test_wrong_usage_is_told(flags):
    with pytest.raises(UsageError, match=flags[0]):
        gpu.main(flags)


# tables


def a_content():
    """Numbers for two workloads, in which torch-nhwc is the fastest of torch's in the one that it took part in."""
    def entry(name, precision, speeds):
        samples = {who: [{"round": i, "train": speed + i, "peak_mb": 2000} for i in range(2)]
                   for who, speed in speeds.items()}
        net = GPU_WORKLOADS[name]
        return {"net": net.net, "batch": net.batch, "precision": precision,
                "summary": harness.summarise(samples, ("train",))}
    return {"machine": PRETENDED, "date": "2030-01-01", "commit": "abc", "speed": {
        "alexnet-b128-fp32": entry("alexnet-b128", "fp32", {"ours": 3000, "torch": 4000, "torch-nhwc": 6000}),
        "alexnet-b128-tf32": entry("alexnet-b128", "tf32", {"ours": 8000, "torch": 4000})}}


def test_tables_and_picture_come_from_the_file(tmp_path, capsys):
    path, picture = tmp_path / "speed.json", tmp_path / "speed.png"
    path.write_text(json.dumps(a_content()))
    assert gpu.main(["--show", str(path), "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "### Training, fp32" in out and "| alexnet-b128 | 3,000 | 4,000 (0.75) | 6,000 (0.50) |" in out
    assert "| alexnet-b128 | 8,000 | 4,000 (2.00) |" in out and "PyTorch 2.13 with CUDA 13.0 and cuDNN 91000" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert gpu.main(["--show", str(path), "--summary"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| `alexnet`, batch 128, fp32 | 3,000 | 4,000 | 6,000 | 0.75 | 0.50 |",
        "| `alexnet`, batch 128, tf32 | 8,000 | 4,000 | 4,000 | 2.00 | 2.00 |"]


def test_bars_are_relative_to_torch(monkeypatch):
    drawn = {}
    monkeypatch.setattr(gpu_report.report, "bars", lambda panels, *rest: drawn.update(panels))
    gpu_report.plot(a_content(), None)
    (fp32, tf32) = drawn.values()
    assert [round(v, 2) for v in fp32["alexnet-b128"].values()] == [0.75, 1.0, 1.5]
    assert [round(v, 2) for v in tf32["alexnet-b128"].values()] == [2.0, 1.0]


def test_a_picture_needs_something_to_compare():
    with pytest.raises(UsageError, match="ours and torch"):
        gpu_report.plot({"speed": {"a-fp32": {"precision": "fp32", "summary": {"ours": {"train": 1}}}}}, None)


# the pages


def test_the_pages_say_what_the_records_say():
    for page, blocks in gpu_report.BLOCKS.items():
        text = (harness.ROOT / page).read_text(encoding="utf-8")
        assert text == gpu_report.filled(text, blocks), f"{page}: run python -m benchmarks.gpu_report"


def test_the_estimates_that_the_page_names_are_the_recorded_ones():
    content = json.loads(gpu_report.BEFORE.read_text())
    page = (harness.ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    for name in ("alexnet-b256-tf32", "alexnet-b256-fp16"):
        for number in (content["estimates"]["images_per_second"]["NVIDIA H200"][name],
                       content["speed"][name]["summary"]["ours"]["train"]):
            assert f"{number:,.0f}" in page
    assert f"copies {content['ceilings']['machine']['rates']['copy']:,.0f} GB/s" in page


def test_what_the_page_says_in_words_is_in_the_records():
    page = " ".join((harness.ROOT / "docs" / "gpu.md").read_text(encoding="utf-8").split())
    before, now = (json.loads((harness.ROOT / "results" / name).read_text())["kernels"]["alexnet-b256-tf32"]["kernels"]
                   for name in ("gpu_kernels_before.json", "gpu_speed.json"))
    assert f"took {now['col2im']:.2f} ms, against {before['col2im']:.2f} ms before" in page
    assert f"up to the {now['im2col'] + now['col2im']:.2f} ms of im2col and col2im" in page
    summary = (harness.ROOT / "results" / "gpu_summary.txt").read_text(encoding="utf-8")
    passed = re.search(r"(\d+) passed", summary).group(1)
    assert f"`pytest -m gpu`: {passed} tests passed" in page


def test_a_saving_counts_once_its_kernel_has_run(monkeypatch):
    content = gpu_report.latest()
    assert "ReLU's gradient in LRN's and the pools' | 1.2 | not yet |" in gpu_report.savings_block()
    content["kernels"]["alexnet-b256-tf32"]["kernels"] |= {"add_bias": 0.0, "relu": 0.0, "relu_backward": 0.1,
                                                           "bias_relu": 0.5}
    monkeypatch.setattr(gpu_report, "latest", lambda: content)
    assert "ReLU's gradient in LRN's and the pools' | 1.2 | 1.0 |" in gpu_report.savings_block()  # 0.47 + 1.17 - 0.6


def test_records_are_taken_into_the_results_and_the_pages(tmp_path, monkeypatch, capsys):
    root = tmp_path / "project"
    for folder in ("results", "docs"):
        (root / folder).mkdir(parents=True)
    before = gpu_report.BEFORE.read_text()
    monkeypatch.setattr(gpu_report, "RESULTS", root / "results")
    monkeypatch.setattr(gpu_report, "BEFORE", root / "results" / "gpu_kernels_before.json")
    gpu_report.BEFORE.write_text(before)
    (root / "results" / "gpu_summary.txt").write_bytes((RESULTS / "gpu_summary.txt").read_bytes())
    for page in gpu_report.BLOCKS:
        (root / page).write_bytes((harness.ROOT / page).read_bytes())
    monkeypatch.setattr(harness, "ROOT", root)
    monkeypatch.setattr(gpu_report.claims, "main", lambda argv: print("docs/results.md"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="no gpu_speed.json or other record"):
        gpu_report.main(["--records", str(out)])
    content = json.loads(before) | {"commit": "fedcba9"}
    content["kernels"]["alexnet-b256-tf32"] |= {"step_ms": 12.34, "commit": "fedcba9"}
    (out / "gpu_speed.json").write_text(json.dumps(content))
    training = {"model": "alexnet_cifar", "precision": "tf32", "recipe": {"epochs": 10}, "test": {"top1_error": 12.5},
                "seconds": 42, "device_memory_gb": 1.5, "command": "python -m minitorch_alex.train -a alexnet_cifar",
                "device": "NVIDIA H200", "date": "2030-01-01", "commit": None}
    (out / "gpu_cifar.json").write_text(json.dumps(training))
    with pytest.raises(UsageError, match="names no commit"):
        gpu_report.main(["--records", str(out)])
    (out / "gpu_cifar.json").write_text(json.dumps(training | {"commit": "fedcba9"}))
    assert gpu_report.main(["--records", str(out)]) == 0
    assert capsys.readouterr().out.split()[-3:] == ["README.md", "docs/gpu.md", "docs/results.md"]
    page = (root / "docs" / "gpu.md").read_text()
    assert "| **step** | **20.6** | **19.7** | **12.3** |" in page
    assert "| `alexnet_cifar` | tf32 | 10 | 87.50 % | 4.2 | 1.5 GB |" in page
    assert "commit fedcba9." in (root / "README.md").read_text()
    # Another day: a later commit measures one entry, and a claim.
    for record in out.iterdir():
        record.unlink()
    later = {**json.loads(before), "commit": "abcdef0", "speed": {}, "ceilings": {}, "kernels": {}}
    entry = content["speed"]["alexnet-b256-tf32"]
    later["speed"] = {"alexnet-b128-tf32": {**entry, "batch": 128, "commit": "abcdef0"}}
    (out / "gpu_speed.json").write_text(json.dumps(later))
    norm = json.loads((RESULTS / "ablate-lrn.json").read_text()) | {"commit": "abcdef0"}
    (out / "gpu_norm.json").write_text(json.dumps(norm))
    (out / "summary.txt").write_text("machine: exit 0, 1 s: fine\ntests: exit 0, 20 s: 321 passed, 1 deselected\n")
    assert gpu_report.main(["--records", str(out)]) == 0
    taken = json.loads((root / "results" / "gpu_speed.json").read_text())
    assert taken["speed"] == {**content["speed"], **later["speed"]} and taken["kernels"] == content["kernels"]
    page = (root / "docs" / "gpu.md").read_text()
    assert f"commit abcdef0. Commit {entry['commit']}: alexnet-b256-tf32 (speed)" in page
    assert "| alexnet-b128 |" in page and "| alexnet-b256 |" in page
    assert norm["command"] in page and f"seeds: {norm['seeds']}" in page and "87.50 %" in page
    assert "321 tests passed" in page
    (out / "summary.txt").write_text("norm: exit 0, 20 s: 3 passed\n")
    gpu_report.take(out)
    assert "321 tests passed" in gpu_report.passed_block(), "a session without tests"
    # Another GPU has a file of its own, and its table follows in the README.
    other = later | {"machine": {**later["machine"], "gpu": "NVIDIA H999 80GB", "setting": "NVIDIA H999 80GB"}}
    for commit in ("1111111", "2222222"):
        (out / "gpu_speed.json").write_text(json.dumps(other | {"commit": commit}))
        assert gpu_report.main(["--records", str(out)]) == 0
    assert json.loads((root / "results" / "gpu_speed.json").read_text()) == taken, "speeds of two GPUs do not mix"
    assert json.loads((root / "results" / "gpu_speed_h999.json").read_text())["commit"] == "2222222"
    text = (root / "README.md").read_text()
    assert text.index("NVIDIA H200") < text.index("NVIDIA H999 80GB; PyTorch")
    with pytest.raises(UsageError, match="the page has no markers <!-- gpu --> and <!-- /gpu -->"):
        gpu_report.filled("nothing", {"gpu": str})


@pytest.mark.parametrize("kernel, batch, group", (
    ("gemm (93312, 128) @ (128, 1200)", 128, "products of convolutions"), ("im2col", 128, "im2col"),
    ("gemm (96, 8192) @ (8192, 864)", 128, "products of convolutions"), ("largest", 128, "rounding"),
    ("gemm (4096, 256) @ (256, 9216)", 256, "products of linear layers"), ("softmax_rows", 128, "loss"),
    ("gemm (128, 10) @ (10, 1024)", 128, "products of linear layers"), ("something new", 128, "other")))
def test_kernels_belong_to_groups(kernel, batch, group):
    assert gpu_report.group_of(kernel, batch) == group and group in gpu_report.ORDER


def test_the_meter_times_every_launch_and_product_and_leaves_no_trace(ours_on_host):
    sites = gpu_kernels.call_sites()
    callers = {f"{module.__name__.rpartition('.')[2]}.{name}" for module, name, *_ in sites}
    assert {"conv.launch", "conv.multiply", "half.launch", "lrn.launch", "dense.multiply"} <= callers
    net = nets.OursOnGpu("net_18-b128", "ours", "fp32")
    net.feed(2)
    net.mode(True)
    net.step()
    measured = gpu_kernels.measure(net, 2)
    names = measured["kernels"]
    assert measured["calls"] >= len(names) - 1 and {"im2col", "sgd_2012", "rest"} <= set(names)
    assert any(name.startswith("gemm (") for name in names)
    assert sum(names.values()) == pytest.approx(measured["timed_step_ms"], abs=0.01)
    assert measured["step_ms"] > 0 and measured["host_ms"] > 0
    assert gpu_kernels.call_sites() == sites
