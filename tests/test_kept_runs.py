"""What a training keeps and tells besides its last weights: the best ones, tables, settings, lines, and how it ends."""
import csv
import json

import numpy as np
import pytest
from pictures import write_pictures

from minitorch_alex import data, train
from minitorch_alex import functional as F
from minitorch_alex.data import folders
from minitorch_alex.errors import DataError, UsageError
from minitorch_alex.models import Recipe
from minitorch_alex.tensor import Tensor
from minitorch_alex.training import best, checkpoint, config_file, logs, objective, runs, settings
from minitorch_alex.training.best import Best
from minitorch_alex.training.cli import run_cli
from minitorch_alex.training.runs import Run


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """A current directory with pets/{train,val}; figures are not drawn."""
    write_pictures(tmp_path / "pets" / "train", 8)
    write_pictures(tmp_path / "pets" / "val", 3, seed=1)
    monkeypatch.setattr(train.plots, "curves", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pets"


FAST = ("-a", "quick_26", "--threads", "1", "-b", "8", "--lr", "0.0001")


def go(*flags):
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: train.main([str(flag) for flag in flags]))
    return stop.value.code


def rows_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


# Folders.


def test_val_is_watched_and_test_is_tested_where_both_are_there(pets, capsys):
    write_pictures(pets / "test", 2, seed=2)
    assert go("pets", *FAST, "--epochs", 1) == 0
    assert "24 to train, 9 to validate, 6 to test" in capsys.readouterr().out
    config = Run("runs/quick_26-pets").read_config()
    assert (config["data_parts"], config["val_split"]) == (folders.THREE, 0.0)
    assert go("pets", *FAST, "--val-split", 0.2, "--name", "x") == 2
    assert "has pictures for validation of its own" in capsys.readouterr().err


def test_a_run_from_before_parts_were_noted_reads_its_folders_as_it_did(pets):
    write_pictures(pets / "test", 2, seed=2)
    config = {"data": "folder", "data_dir": "pets", "data_size": 8, "val_split": 0.25, "seed": 0, "limit": 0}
    split = runs.load_data(config)
    assert [len(part) for part in split] == [18, 6, 9]  # val/ is the test


def test_a_fifth_of_classes_alone_is_tested_the_same_pictures_in_every_session(tmp_path):
    write_pictures(tmp_path / "flat", 10)
    first, second = (folders.load_parts(tmp_path / "flat", 8, folders.CLASSES_ALONE) for _ in range(2))
    assert (len(first.train), first.val, len(first.test)) == (24, None, 6)
    assert first.test.files.tolist() == second.test.files.tolist()
    assert not set(first.test.files) & set(first.train.files)
    write_pictures(tmp_path / "more", 12)
    kept = {file.partition("/")[2] for file in folders.load_parts(tmp_path / "more", 8, "CLASS").test.files
            if file.startswith("tench")}
    assert len(kept & {file.partition("/")[2] for file in first.test.files if file.startswith("tench")}) >= 1


@pytest.mark.parametrize("names, text", (
    (("training", "other"), "flat/training looks like a part of the pictures .*call the parts train, val and test"),
    (("pets",), "needs two classes to tell apart; give .*flat/pets if")))
def test_folders_that_are_no_classes_are_refused(tmp_path, names, text):
    write_pictures(tmp_path / "flat", 1, classes=names)
    with pytest.raises(DataError, match=text):
        data.class_names("folder", tmp_path / "flat")


# The best weights, and the end.


def test_the_best_epoch_is_that_with_the_least_error_and_then_the_least_loss():
    rows = [{"kind": "epoch", "step": k, "epoch": k, "val_error": error, "val_loss": loss}
            for k, (error, loss) in enumerate(((50, 1.0), (40, 0.9), (40, 0.8), (45, 0.1)), 1)]
    assert best.of_rows(rows, 4) == Best(3, 40, 0.8) and best.of_rows(rows, 2) == Best(2, 40, 0.9)
    assert best.of_rows([{"kind": "epoch", "step": 1, "epoch": 1}], 1) == Best()
    assert Best(3, 40, 0.8).is_stale(5, 2) and not Best(3, 40, 0.8).is_stale(4, 2)
    assert not Best(3, 40, 0.8).is_stale(99, 0) and not Best().is_stale(9, 1)


def test_early_stop_ends_tests_the_best_weights_and_is_left_alone_then(pets, monkeypatch, capsys):
    errors = iter([(1.0, 50.0, 0.0), (0.9, 40.0, 0.0), (1.1, 45.0, 0.0), (1.2, 45.0, 0.0), (0.7, 33.0, 0.0)])
    monkeypatch.setattr(train, "error_rates", lambda *_: next(errors))
    assert go("pets", *FAST, "--epochs", 9, "--early-stop", 2, "--name", "x") == 0
    run = Run("runs/x")
    result = json.loads(run.result.read_text())
    assert (result["weights"], result["best_epoch"], len(result["curve"])) == ("best.safetensors", 2, 4)
    _, meta = checkpoint.load(run.best)
    assert meta["epoch"] == 2 and runs.find("runs/x")[1] == run.best
    assert runs.find("runs/x", to_resume=True)[1] == run.checkpoint
    before = {file: file.read_bytes() for file in run.directory.iterdir()}
    capsys.readouterr()
    assert go("--resume", "runs/x") == 0
    assert "give --early-stop 0 to go on" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in run.directory.iterdir()} == before


def test_a_finished_run_is_left_alone_and_goes_on_when_asked(pets, capsys):
    assert go("pets", *FAST, "--epochs", 1, "--name", "x") == 0
    before = {file: file.read_bytes() for file in Run("runs/x").directory.iterdir()}
    capsys.readouterr()
    assert go("--resume", "runs/x") == 0
    assert "finished, at epoch 1; give --epochs N to go on" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in Run("runs/x").directory.iterdir()} == before
    assert go("--resume", "runs/x", "--epochs", 2) == 0
    assert [row["epoch"] for row in rows_of(Run("runs/x").directory) if row["kind"] == "epoch"] == [1, 2]


def test_resume_auto_starts_and_goes_on_by_the_same_command(pets, capsys):
    command = ("pets", *FAST, "--set", "flip=True", "--name", "job", "--resume", "auto")
    assert go(*command, "--epochs", 1) == 0
    assert go(*command, "--epochs", 2) == 0
    assert "resuming" in capsys.readouterr().out
    assert go(*command, "--set", "flip=False", "--epochs", 3) == 2
    assert "--set cannot be changed when resuming" in capsys.readouterr().err


# What is told and written.


def test_without_a_terminal_a_line_tells_step_and_time_left(pets, capsys):
    assert go("pets", *FAST, "--epochs", 2, "-p", 2) == 0
    out = capsys.readouterr().out
    assert "  epoch 1/2, step 2 of 6: loss " in out and " left\n" in out


def test_the_table_has_a_row_for_each_of_the_log_after_resuming_too(pets):
    assert go("pets", *FAST, "--epochs", 1, "-p", 1, "--name", "x", "--log", "csv") == 0
    assert go("--resume", "runs/x", "--epochs", 2) == 0
    run = Run("runs/x")
    with open(run.table, newline="") as file:
        table = list(csv.DictReader(file))
    rows = rows_of(run.directory)
    assert [(row["kind"], row["step"]) for row in table] == [(row["kind"], str(row["step"])) for row in rows]
    assert float(table[0]["loss"]) == rows[0]["loss"]


def test_tensorboard_needs_its_package_and_gets_every_number(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, logdir, flush_secs):
            assert logdir == str(tmp_path) and flush_secs <= 1

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(UsageError, match="pip install tensorboardX"):
        logs.check("tensorboard")
    monkeypatch.setattr(logs, "_writer", lambda: Writer)
    run = Run(tmp_path)
    run.append_log({"kind": "interval", "step": 1, "epoch": 0.5, "loss": 2.0})
    log = logs.open_log("tensorboard", run)
    log.write({"kind": "epoch", "step": 2, "epoch": 1, "val_error": 30.0, "ranks": 2})
    log.close()
    assert written == [("interval/loss", 2.0, 1), ("epoch/val_error", 30.0, 2), "closed"]


def test_tensorboard_reads_every_number_of_a_run_once(pets):
    """With tensorboardX itself, read back by TensorBoard; also after resuming."""
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert go("pets", *FAST, "--epochs", 1, "-p", 1, "--name", "x", "--log", "tensorboard") == 0
    assert go("--resume", "runs/x", "--epochs", 2) == 0
    run = Run("runs/x")
    assert len(list(run.directory.glob("events.out.tfevents.*"))) == 1
    events = accumulator.EventAccumulator(str(run.directory))
    events.Reload()
    expected = {}
    for row in rows_of(run.directory):
        for name in set(logs.COLUMNS[3:]) & set(row):
            expected.setdefault(f"{row['kind']}/{name}", []).append((row["step"], np.float32(row[name])))
    assert {"interval/loss", "epoch/val_error", "test/test_error"} <= set(expected)
    assert {tag: [(event.step, np.float32(event.value)) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]} == expected


def test_what_a_run_wrote_can_be_given_again(pets):
    flags = (*FAST, "--epochs", 1, "--seed", 3, "--set", "flip=True", "--set", "milestones=(1, 2)")
    assert go("pets", *flags, "--name", "first") == 0
    assert go("--config", "runs/first/settings.toml", "--name", "second") == 0
    first, second = (checkpoint.load(f"runs/{name}/checkpoint.safetensors")[0] for name in ("first", "second"))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    args, given = settings.parse(["--config", "runs/first/settings.toml", "--lr", "0.5"])
    assert args.lr == 0.5 and args.seed == 3 and settings.parse_fields(args.set)["milestones"] == (1, 2)
    assert {"seed", "lr", "set"} <= given


@pytest.mark.parametrize("text, message", (
    ("epoch = 3", "unknown setting 'epoch' .did you mean epochs"),
    ("epochs = '3'", "epochs is '3', expected an integer"),
    ("deterministic = 1", "expected true or false"), ("log = 'excel'", "expected one of csv, tensorboard"),
    ("lr = ", "expected a TOML file"), ("resume = 'x'", "unknown setting 'resume'")))
def test_a_wrong_setting_in_a_file_is_named(tmp_path, text, message):
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        config_file.read(file, settings.BY_NAME)


# The loss.


def test_balanced_weights_make_each_class_count_alike():
    labels = np.array([0] * 6 + [1] * 3)
    weights = objective.balanced_weights(labels, 3)
    np.testing.assert_allclose(weights, [0.5, 1.0, 0.0])
    logits = Tensor(np.random.default_rng(0).normal(size=(9, 3)))
    recipe = Recipe(epochs=1, lr=0.1, class_weights="balanced")
    loss = objective.build_loss(recipe, labels, 3)
    log_p = logits.data - np.log(np.exp(logits.data).sum(axis=1, keepdims=True))
    expected = -(weights[labels] * log_p[np.arange(9), labels]).mean()
    np.testing.assert_allclose(loss(logits, labels).data, expected, rtol=1e-6)
    # Parts of a batch add up, as several ranks need it.
    parts = [len(labels[rows]) / 9 * loss(Tensor(logits.data[rows]), labels[rows]).data
             for rows in (slice(6), slice(6, 9))]
    parts = sum(parts)
    np.testing.assert_allclose(parts, expected, rtol=1e-6)


def test_a_recipe_without_additions_has_the_plain_loss():
    assert objective.build_loss(Recipe(epochs=1, lr=0.1), np.zeros(3, int), 2) is F.cross_entropy


def test_cosine_falls_to_nothing_over_the_epochs(pets):
    assert go("pets", *FAST, "--epochs", 4, "--set", "schedule=cosine", "--name", "x") == 0
    rates = [row["lr"] for row in rows_of(Run("runs/x").directory) if row["kind"] == "epoch"]
    np.testing.assert_allclose(rates, [1e-4 * (1 + np.cos(np.pi * k / 4)) / 2 for k in range(4)])


@pytest.mark.parametrize("flags, hint", (
    ((), ""), (("-b", "32"), "lr 0.001 is for batches of 128; for 32 the linear rule gives --lr 0.00025"),
    (("-b", "1024"), "lr 0.001 is for batches of 128; for 1024 the linear rule gives --lr 0.008 --set warmup_epochs=5"),
    (("-b", "4096"), "lr 0.001 is for batches of 128; for 4096 the linear rule gives --lr 0.032, but AlexNet has "
     "diverged at such rates: take --set rule=lars, with a rate and a warm-up as in docs/scaling.md"),
    (("-b", "32", "--lr", "0.001"), "")))
def test_another_batch_size_gets_a_remark_on_the_rate(flags, hint):
    args, given = settings.parse(["-a", "quick_26", "--data", "shapes", *flags])
    config, model = settings.new_config(args, given)
    recipe = Recipe.from_json(config["recipe"])
    assert settings.rate_hint(given, recipe, settings.own_recipe(args, model, None)) == hint
