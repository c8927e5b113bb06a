"""`train` and `evaluate` as a user runs them: small runs on shapes, in processes of their own where that matters."""
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import host_cuda
import numpy as np
import pytest
from PIL import Image
from prepared_set import smooth, write_prepared

from minitorch_alex import backend, data, evaluate
from minitorch_alex.kernels import gpu
from minitorch_alex.train import main
from minitorch_alex.training import checkpoint, cli, runs
from minitorch_alex.training.cli import run_cli

TINY = ["-a", "quick_26", "--data", "shapes", "--limit", "400", "--val-split", "0.02", "-b", "50", "--print-freq", "2",
        "--threads", "1"]


def command(*args, module="train"):
    return [sys.executable, "-m", f"minitorch_alex.{module}", *map(str, args)]


def run(*args, module="train", cwd=None, **options):
    return subprocess.run(command(*args, module=module), text=True, capture_output=True, cwd=cwd, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}, **options)


def here(*args, program=main):
    """The same within this process: the exit code."""
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: program([str(a) for a in args]))
    return stop.value.code


@pytest.fixture
def run_here(monkeypatch, capsys):
    """`run` within this process, where everything is imported and the shapes are drawn; a training is tested on 251 of
    them."""
    load = data.load_shapes

    def load_fewer(*args):
        train, test = load(*args)
        return train, test.subset(slice(251))

    def finished(*args, cwd, program=main):
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if program is main:
                patch.setattr(data, "load_shapes", load_fewer)
            code = here(*args, program=program)
        return subprocess.CompletedProcess(args, code, *capsys.readouterr())
    return finished


def start(*args, cwd):
    return subprocess.Popen(command(*args), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)})


def one_line(stderr, *texts):
    """One clear line on stderr that says all this, and no traceback."""
    assert stderr.startswith("error: ") and len(stderr.strip().splitlines()) == 1, stderr
    for text in texts:
        assert text in stderr, stderr


def fails(result, code, *texts):
    assert result.returncode == code, result.stderr
    one_line(result.stderr, *texts)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run of three epochs, eight steps each, as it should be."""
    folder = tmp_path_factory.mktemp("runs")
    result = run(*TINY, "--epochs", 3, "--name", "whole", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_a_run_prints_what_follows_from_its_settings(uninterrupted):
    _, result = uninterrupted
    for text in ("145,578 parameters", "400 to train, 200 to validate, 2,000 to test", "ln 10 = 2.303",
                 "3 epochs of 8 steps of 50 images", "epoch   3/3", "test accuracy", "curves.png", "MB per step"):
        assert text in result.stdout
    assert result.stderr == ""  # no progress bar where there is no terminal


def test_a_run_leaves_log_curves_checkpoints_and_result(uninterrupted):
    folder, _ = uninterrupted
    directory = folder / "runs" / "whole"
    assert {p.name for p in directory.iterdir()} == {
        "config.json", "settings.toml", "log.jsonl", "curves.png", "checkpoint.safetensors",
        "checkpoint.previous.safetensors", "best.safetensors", "result.json"}
    rows = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in rows if r["kind"] == "epoch"] == [1, 2, 3]
    assert [r["step"] for r in rows if r["kind"] == "interval"] == [1, *range(2, 25, 2)]
    assert abs(rows[0]["loss"] - np.log(10)) < 0.1
    result = json.loads((directory / "result.json").read_text())
    assert result["seed"] == 0 and result["test_images"] == 2000 and len(result["curve"]) == 3
    assert result["command"].startswith("python -m minitorch_alex.train -a quick_26 --data shapes")
    _, meta = checkpoint.load(directory / "checkpoint.safetensors")
    assert (meta["epoch"], meta["batch"], meta["step"]) == (3, 0, 24)


@pytest.mark.parametrize("moment", [0.2, 0.6, 1.1])
def test_killed_at_an_arbitrary_step_and_resumed_it_ends_the_same_byte_for_byte(uninterrupted, run_here, tmp_path,
                                                                                moment):
    """SIGKILL, --resume, and the final weights, momenta, log and curve equal those of the uninterrupted run."""
    whole, _ = uninterrupted
    process = start(*TINY, "--epochs", 3, "--name", "cut", "--checkpoint-freq", 3, cwd=tmp_path)
    file = tmp_path / "runs" / "cut" / "checkpoint.safetensors"
    while not file.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(moment)
    assert process.poll() is None, "the run ended before it could be killed"
    process.kill()
    process.communicate()
    result = run_here("--resume", "--name", "cut", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "resuming" in result.stdout
    expected, _ = checkpoint.load(whole / "runs" / "whole" / "checkpoint.safetensors")
    got, _ = checkpoint.load(file)
    assert expected.keys() == got.keys()
    for name in expected:
        assert expected[name].tobytes() == got[name].tobytes(), name

    def log(folder, name):
        rows = [json.loads(line) for line in (folder / "runs" / name / "log.jsonl").read_text().splitlines()]
        return [(r["kind"], r["step"], r["epoch"], r.get("lr"), r.get("train_loss")) for r in rows]

    assert log(tmp_path, "cut") == log(whole, "whole")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted_it_writes_a_checkpoint_and_says_how_to_go_on(run_here, tmp_path, name):
    process = start(*TINY, "--epochs", 50, cwd=tmp_path)
    log = tmp_path / "runs" / "quick_26-shapes" / "log.jsonl"
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name) and "Traceback" not in err
    assert f"stopped by {name}" in out and "--resume runs/quick_26-shapes" in out
    _, meta = checkpoint.load(log.parent / "checkpoint.safetensors")
    assert 0 < meta["step"] < 400
    more = run_here("--resume", "runs/quick_26-shapes", "--epochs", meta["epoch"] + 1, cwd=tmp_path)
    assert more.returncode == 0


def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_used_on_request(uninterrupted, run_here,
                                                                                               tmp_path):
    folder = tmp_path / "runs" / "hurt"
    folder.mkdir(parents=True)
    for file in (uninterrupted[0] / "runs" / "whole").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    file, whole = folder / "checkpoint.safetensors", (folder / "checkpoint.safetensors").read_bytes()
    previous = folder / "checkpoint.previous.safetensors"

    file.write_bytes(whole[:-1000])
    fails(run_here("--resume", "runs/hurt", cwd=tmp_path), 6, "checkpoint.safetensors",
          f"--resume runs/hurt/{previous.name}")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    file.write_bytes(flipped)
    fails(run_here("--resume", "runs/hurt", cwd=tmp_path), 6, "damaged", previous.name)
    result = run_here("--resume", f"runs/hurt/{previous.name}", cwd=tmp_path)
    assert result.returncode == 0 and "at epoch 2" in result.stdout

    other = run_here(*TINY[2:], "-a", "net_18", "--epochs", 1, "--limit", 50, "--name", "other", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    file.write_bytes((tmp_path / "runs" / "other" / "checkpoint.safetensors").read_bytes())
    fails(run_here("--resume", "runs/hurt", cwd=tmp_path), 6, "'net_18', not 'quick_26'")


def test_evaluate_gives_all_views_and_a_confusion_matrix(uninterrupted, run_here):
    folder, trained = uninterrupted
    result = run("runs/whole", "--limit", 200, cwd=folder, module="evaluate")
    assert result.returncode == 0, result.stderr
    assert all(text in result.stdout for text in ("single view", "nine   views", "ten    views", "top-5 error"))
    report = json.loads((folder / "runs" / "whole" / "evaluate-test.json").read_text())
    assert np.sum(report["confusion"]) == 200 and set(report["views"]) == {"single", "nine", "ten"}
    assert (folder / "runs" / "whole" / "confusion-test.png").read_bytes().startswith(b"\x89PNG")
    full = run_here("runs/whole", "--views", "single", cwd=folder, program=evaluate.main)
    accuracy = trained.stdout.partition("(error ")[2].partition(" %")[0]
    assert f"top-1 error {float(accuracy):6.2f} %" in full.stdout, "evaluate and train disagree"


@pytest.mark.parametrize(("args", "code", "texts"), [
    (["-a", "alexnt"], 2, ["unknown model 'alexnt'", "alexnet_cifar"]),
    (["--lr", "-1"], 2, ["lr = -1.0", "at least 0"]),
    (["--epochs", "0"], 2, ["epochs"]),
    (["--data", "mnist"], 2, ["unknown data 'mnist'", "shapes"]),
    (["--set", "lrn_sise=3", "-a", "alexnet_cifar"], 2, ["lrn_sise", "lrn_size"]),
    (["--set", "milestones=5"], 2, ["milestones is 5, expected a tuple of integers"]),
    (["--set", "milestones=(1, 'a')"], 2, ["milestones is (1, 'a')"]),
    (["--set", "crop=24"], 2, ["quick_26 takes images of 32 x 32", "gives 24 x 24"]),
    (["-a", "alexnet_cifar", "--set", "channels=5"], 2, ["channels is 5, expected a tuple of integers"]),
    (["-a", "alexnet_cifar", "--set", "channels=(0,8,8,8,8)"], 2, ["at least 1"]),
    (["--momentum", "1.5"], 2, ["momentum = 1.5", "less than 1"]),
    (["--lr", "nan", "--dry-run"], 2, ["lr = nan"]),
    (["--print-freq", "0"], 2, ["--print-freq must be at least 1"]),
    (["--set", "schedule=linear"], 2, ["schedule", "plateau"]),
    (["--limit", "-3"], 2, ["--limit"]),
    (["--val-split", "1.5"], 2, ["1.5"]),
    (["--seed", "-1"], 2, ["seed"]),
    pytest.param(["--backend", "cupy"], 3, ["'cupy' is not available", "numpy"],
                 marks=pytest.mark.skipif(backend.is_available("cupy"), reason="here it is available")),
    (["--backend", "jax"], 3, ["'jax' is not available", "numpy"]),
    (["--precision", "tf32"], 2, ["--precision tf32 needs --backend cupy"]),
    (["--precision", "fp16"], 2, ["--precision fp16 needs --backend cupy"]),
    (["--precision", "bf16"], 2, ["--precision bf16 needs --backend cupy"]),
    (["--precision", "fp8"], 2, ["'fp8', expected fp32, tf32, fp16 or bf16"]),
    (["--memory-limit", "4"], 2, ["--memory-limit needs --backend cupy"]),
    (["--memory-limit", "-1", "--backend", "cupy"], 2, ["--memory-limit must be above 0"]),
    (["--resume"], 6, ["no checkpoint", "runs/quick_26-shapes"]),
    (["--resume", "nowhere"], 6, ["no checkpoint", "nowhere"]),
], ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("-") else "")
def test_bad_input_is_one_line_and_a_code_and_leaves_nothing(tmp_path, monkeypatch, capsys, args, code, texts):
    monkeypatch.chdir(tmp_path)
    assert here(*TINY, *args) == code
    one_line(capsys.readouterr().err, *texts)
    assert list(tmp_path.rglob("*")) == []


def test_an_existing_run_is_not_overwritten_unless_asked(uninterrupted, run_here):
    folder, _ = uninterrupted
    before = (folder / "runs" / "whole" / "checkpoint.safetensors").read_bytes()
    fails(run_here(*TINY, "--name", "whole", cwd=folder), 6, "runs/whole exists", "--resume", "--overwrite")
    assert (folder / "runs" / "whole" / "checkpoint.safetensors").read_bytes() == before


def test_overwriting_removes_the_run_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "again"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    for _ in range(2):
        assert here(*TINY, "--epochs", 1, "--limit", 50, "--name", "again", "--overwrite") == 0
    assert (folder / "notes.txt").read_text() == "mine" and not (folder / "checkpoint.previous.safetensors").exists()
    assert len((folder / "log.jsonl").read_text().splitlines()) == 3


def test_the_workspace_changes_no_bit_and_winograd_only_the_last_ones(run_here, tmp_path):
    """The loss of the first step is that of the same forward pass; later ones follow their own rounding."""
    def losses(*flags):
        done = run_here(*TINY, "--epochs", 1, "--name", "x", "--overwrite", *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in (tmp_path / "runs" / "x" / "log.jsonl").read_text().splitlines()]
        return [row["loss"] for row in rows if row["kind"] == "interval"]

    plain, bounded, fewer = losses(), losses("--workspace", 0), losses("--winograd")
    assert plain == bounded != fewer
    np.testing.assert_allclose(fewer, plain, rtol=1e-3)


def test_settings_cannot_change_in_the_middle_of_a_run(uninterrupted, run_here):
    fails(run_here("--resume", "runs/whole", "--lr", 0.5, cwd=uninterrupted[0]), 2, "--lr cannot be changed")


def test_a_loss_that_is_no_number_stops_with_the_layers_statistics(run_here, tmp_path):
    result = run_here(*TINY, "--lr", "1e30", "--epochs", 2, cwd=tmp_path)
    assert result.returncode == 5 and "Traceback" not in result.stderr
    assert "conv1" in result.stderr and "output mean" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: the loss is nan by step")


def test_a_full_disk_stops_with_one_line_and_leaves_no_half_written_file(small_disk):
    """The weights of quick_26 take 0.6 MB, the disk has 256 KB."""
    result = run(*TINY, "--epochs", 1, cwd=small_disk)
    assert result.returncode == 7 and "Traceback" not in result.stderr
    assert result.stderr.startswith("error: cannot write runs/quick_26-shapes/best.safetensors: No space left")
    assert "it needs 0.6 MB" in result.stderr
    assert {p.name for p in (small_disk / "runs" / "quick_26-shapes").iterdir()} == {
        "config.json", "settings.toml", "log.jsonl"}


def test_damaged_and_hostile_data_is_refused_and_nothing_is_executed(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": Payload(), "labels": [0]}))
    result = run("-a", "quick_26", "--data", "cifar10", "--data-dir", "data", cwd=tmp_path)
    fails(result, 4, "data/cifar-10-batches-py/data_batch_1", "md5", "expected c99cafc152244af753f735de768cd75f")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_dry_run_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert here(*TINY, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "64 x 8 x 8" in out and "145,578" in out
    assert list(tmp_path.rglob("*")) == []


def test_check_init_says_what_is_known_to_stall_and_writes_nothing(tmp_path, monkeypatch, capsys):
    """The paper's weights and biases on standardised pixels let next to nothing through."""
    monkeypatch.chdir(tmp_path)
    papers = ("--set", "init=gaussian", "--set", f"init_std={(0.01,) * 8}", "--set", "init_bias=(0,1,0,1,1,1,1,0)")
    for flags, verdict in ((), "healthy"), (papers, "known to stall"):
        assert here("-a", "alexnet_cifar", "--data", "shapes", *flags, "--check-init") == 0
        assert verdict in capsys.readouterr().out
    assert list(tmp_path.rglob("*")) == []


def test_any_field_can_be_set(capsys):
    assert here("-a", "alexnet_cifar", "--data", "shapes", "--set", "channels=(8,8,8,8,8)", "--set", "hidden=(16, 16)",
                "--set", "schedule=plateau", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "(plateau)" in out and "channels: (8, 8, 8, 8, 8) (paper: (96," in out


def test_help_names_every_flag_and_exit_code(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for flag in ("--arch", "--epochs", "--batch-size", "--lr", "--momentum", "--wd", "--seed", "--resume", "--limit",
                 "--dry-run", "--val-split", "--set", "--data-dir", "--threads", "--workers", "--precision",
                 "--memory-limit", "--deterministic", "--conv", "--winograd", "--workspace", "--check-init",
                 "fp16", "130, 143"):
        assert flag in text


def test_stopped_in_the_last_step_of_an_epoch_it_can_be_resumed(tmp_path, monkeypatch, capsys):
    """One step an epoch: the signal always arrives in an epoch's last step."""
    monkeypatch.chdir(tmp_path)
    process = start(*TINY, "--limit", 50, "--epochs", 40, "--name", "short", cwd=tmp_path)
    log = tmp_path / "runs" / "short" / "log.jsonl"
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    _, meta = checkpoint.load(log.parent / "checkpoint.safetensors")
    # one batch: before the epoch's validation, which the signal has cut short
    assert meta["batch"] in (0, 1) and 1 <= meta["epoch"] + meta["batch"] < 40
    assert here("--resume", "runs/short", "--epochs", meta["epoch"] + 1) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_a_refused_flag_does_not_spoil_a_run_that_goes_on(uninterrupted, monkeypatch, capsys):
    folder, _ = uninterrupted
    monkeypatch.chdir(folder)
    before = (folder / "runs" / "whole" / "config.json").read_bytes()
    for flag in ("--print-freq", "--checkpoint-freq", "--workers"):
        assert here("--resume", "runs/whole", flag, -1) == 2
        one_line(capsys.readouterr().err, flag)
    assert (folder / "runs" / "whole" / "config.json").read_bytes() == before


def test_a_flag_wins_over_set(capsys):
    assert here(*TINY, "--epochs", 3, "--set", "epochs=7", "--set", "weight_decay=0", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "3 epochs of 8 steps" in out and "weight decay 0, biases" in out


def test_a_model_of_nothing_but_nan_is_not_scored(run_here, tmp_path):
    result = run_here(*TINY, "--epochs", 1, "--lr", "1e25", "--limit", 50, "--val-split", 0, cwd=tmp_path)
    assert result.returncode == 5 and "test accuracy" not in result.stdout
    assert not (tmp_path / "runs" / "quick_26-shapes" / "result.json").exists()


def test_a_run_that_never_reached_a_checkpoint_does_not_stand_in_the_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "begun").mkdir(parents=True)
    (tmp_path / "runs" / "begun" / "config.json").write_text("{}")
    assert here(*TINY, "--epochs", 1, "--limit", 50, "--name", "begun") == 0


def test_resuming_from_the_checkpoint_before_makes_it_the_last_one(uninterrupted, tmp_path):
    folder = tmp_path / "runs" / "back"
    folder.mkdir(parents=True)
    for file in (uninterrupted[0] / "runs" / "whole").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    last, previous = folder / "checkpoint.safetensors", folder / "checkpoint.previous.safetensors"
    good = previous.read_bytes()
    last.write_bytes(last.read_bytes()[:-9])
    process = start("--resume", "runs/back/checkpoint.previous.safetensors", "--epochs", 50, cwd=tmp_path)
    while last.stat().st_size != len(good):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert last.read_bytes() == good or checkpoint.load(last)
    checkpoint.load(previous)  # never the damaged one


# on pictures in a folder, and on a prepared set


PICTURES = ["-a", "quick_26", "--set", "crop=32", "--set", "flip=True", "--set", "color=source", "-b", 10, "-p", 1,
            "--threads", 1, "--workers", 2, "--lr", "0.0001"]


@pytest.mark.parametrize("kind", ("tar", "npy"))
def test_killed_in_the_middle_of_an_epoch_on_a_prepared_set_it_ends_the_same(run_here, tmp_path, kind):
    """SIGKILL after some step of the second epoch, --resume, and every weight and momentum is the same to the bit."""
    write_prepared(tmp_path / "set", kind, size=36, n_train=220, n_val=30, per_shard=50)
    flags = [*PICTURES, "--data", "imagenet", "--data-dir", "set", "--epochs", 2]
    assert run_here(*flags, "--name", "whole", cwd=tmp_path).returncode == 0
    process = start(*flags, "--name", "cut", "--checkpoint-freq", 3, cwd=tmp_path)
    file, log = (tmp_path / "runs" / "cut" / name for name in ("checkpoint.safetensors", "log.jsonl"))
    while not log.exists() or '"step": 27' not in log.read_text():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    _, meta = checkpoint.load(file)
    assert meta["epoch"] == 1 and meta["batch"] > 0, "the kill came too late to mean anything"
    assert run_here("--resume", "runs/cut", cwd=tmp_path).returncode == 0
    expected, _ = checkpoint.load(tmp_path / "runs" / "whole" / "checkpoint.safetensors")
    got, meta = checkpoint.load(file)
    assert meta["step"] == 40 and meta["config"]["num_classes"] == 3
    assert all(expected[name].tobytes() == got[name].tobytes() for name in expected)


def test_a_run_does_not_go_on_with_other_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_prepared(tmp_path / "set", size=36, n_train=60)
    write_prepared(tmp_path / "fewer", size=36, n_train=50)
    write_prepared(tmp_path / "others", size=36, n_train=60, classes=4)
    flags = [*PICTURES, "--data", "imagenet", "--val-split", 0, "--name", "p"]
    assert here(*flags, "--data-dir", "set", "--epochs", 1) == 0
    capsys.readouterr()
    for folder, text in (("fewer", "50 images to train on, the run had 60"), ("others", "4 classes, the run has 3")):
        assert here("--resume", "runs/p", "--epochs", 2, "--data-dir", folder) == 4
        one_line(capsys.readouterr().err, text, "--data-dir")


def test_it_trains_on_folders_of_pictures_and_the_classes_follow_from_them(tmp_path, monkeypatch, capsys):
    """Two classes that differ in brightness are told apart; the test set is val/."""
    monkeypatch.chdir(tmp_path)
    for part, count in (("train", 30), ("val", 10)):
        for label, name in enumerate(("dark", "light")):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i, pixels in enumerate(smooth(count, 48, 1, seed=label)):
                Image.fromarray(pixels + np.uint8(100 * label)).save(folder / f"{i}.png")
    flags = [*PICTURES, "--data", "folder", "--data-dir", "pets", "--runs-dir", "runs", "--name", "pets"]
    assert here(*flags, "--lr", "0.001", "--epochs", 8) == 0
    out = capsys.readouterr().out
    assert "54 to train, 6 to validate, 20 to test; 2 classes" in out
    result = json.loads((tmp_path / "runs" / "pets" / "result.json").read_text())
    assert result["test"]["top1_error"] <= 10 and result["test_images"] == 20
    assert evaluate.main(["runs/pets", "--views", "ten"]) == 0
    assert "20 images of pets (val)" in capsys.readouterr().out


# on a device


def losses(folder, name):
    rows = [json.loads(line) for line in (folder / "runs" / name / "log.jsonl").read_text().splitlines()]
    return [r["loss"] for r in rows if r["kind"] == "interval"]


@pytest.fixture
def on_host(monkeypatch, tmp_path):
    """The stand-in for a GPU, in a folder of its own, with a small test set: evaluation goes through g++'s code."""
    if host_cuda.COMPILER is None:
        pytest.skip("no g++ to compile the kernels for the CPU")
    monkeypatch.chdir(tmp_path)
    load = runs.load_data
    monkeypatch.setattr(runs, "load_data", lambda config, **options: runs.Split(
        *(part and part.subset(slice(count)) for part, count in zip(load(config, **options), (120, 40, 40)))))
    with host_cuda.installed():
        backend.use("numpy")
        yield tmp_path


DEVICE = ["-a", "quick_26", "--data", "shapes", "--limit", 70, "-b", 30, "--epochs", 2, "-p", 1, "--set", "pad=3",
          "--set", "flip=True", "--set", "color=source", "--set", "lr=0.0001", "--runs-dir", "runs"]


def test_on_a_device_it_trains_on_the_same_pixels_as_on_numpy(on_host, capsys):
    """The whole program on the stand-in: losses, scores and views part from NumPy's by rounding only."""
    scores = {}
    for name, where in (("host", []), ("device", ["--backend", "host cuda"])):
        assert main([str(a) for a in (*DEVICE, *where, "--name", name)]) == 0
        assert evaluate.main([f"runs/{name}", "--views", "ten", *where]) == 0
        scores[name] = json.loads((on_host / "runs" / name / "evaluate-test.json").read_text())["views"]["ten"]["loss"]
    assert np.abs(np.subtract(losses(on_host, "host"), losses(on_host, "device"))).max() < 1e-4
    assert abs(scores["host"] - scores["device"]) < 1e-3


def test_a_run_goes_on_where_it_was_with_the_settings_it_had(on_host, monkeypatch, capsys):
    """Backend, precision, limit and determinism come from the run; limit and determinism may be changed, the others
    not. The memory that the device reports stands in log and result."""
    used = []
    use = cli.use_device

    def use_and_note(settings):
        used.append(tuple(settings[k] for k in cli.DEVICE_DEFAULTS if k != "threads"))
        use({**cli.DEVICE_DEFAULTS, "backend": settings["backend"]})
    monkeypatch.setattr(cli, "use_device", use_and_note)
    monkeypatch.setattr(backend, "memory", lambda: (1, 2_345_000_000))
    assert main([str(a) for a in (*DEVICE, "--epochs", 1, "--backend", "host cuda", "--name", "one", "--precision",
                                  "tf32", "--memory-limit", 3, "--deterministic")]) == 0
    assert "2.3 GB" in capsys.readouterr().out
    backend.use("numpy")
    assert main(["--resume", "runs/one", "--epochs", "2"]) == 0
    assert backend.current().kernels is gpu and used == [("host cuda", "auto", None, "tf32", 3.0, True)] * 2
    assert main(["--resume", "runs/one", "--epochs", "3", "--memory-limit", "5"]) == 0
    assert used[-1] == ("host cuda", "auto", None, "tf32", 5.0, True)
    result = json.loads((on_host / "runs" / "one" / "result.json").read_text())
    assert [row["device_memory_gb"] for row in result["curve"]] == [2.345] * 3
    capsys.readouterr()
    for flags in (["--precision", "fp32"], ["--backend", "numpy"]):
        assert here("--resume", "runs/one", *flags) == 2
        one_line(capsys.readouterr().err, f"{flags[0]} cannot be changed")


def test_a_run_from_before_there_were_such_settings_goes_on(uninterrupted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "old"
    folder.mkdir(parents=True)
    for file in (uninterrupted[0] / "runs" / "whole").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    for name in ("precision", "memory_limit", "deterministic"):
        del config[name]
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["--resume", "runs/old", "--precision", "fp32"]) == 0


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


def test_out_of_device_memory_is_one_line(on_host, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OutOfMemoryError("Out of memory allocating 1,500,000,000 bytes (allocated so far: 2,000,000,000 bytes, "
                               "limit set to: 3,000,000,000 bytes).")
    monkeypatch.setattr(gpu, "conv2d_forward", full)
    assert here(*DEVICE, "--backend", "host cuda") == 1
    one_line(capsys.readouterr().err, "on the GPU: asked for 1.50 GB, 2.00 GB are in use, the limit is 3.00 GB",
             "use a smaller --batch-size")


def test_a_copy_without_git_is_told_its_commit(monkeypatch):
    """MINITORCH_COMMIT comes first; without it and without git there is none."""
    monkeypatch.setattr(runs, "_commit_of_git", runs._commit_of_git.__wrapped__)  # git is asked once in a process
    monkeypatch.setenv("MINITORCH_COMMIT", "abc1234")
    assert runs.provenance(0)["commit"] == "abc1234"
    monkeypatch.delenv("MINITORCH_COMMIT")
    monkeypatch.setenv("PATH", "")
    assert runs.provenance(0)["commit"] is None
