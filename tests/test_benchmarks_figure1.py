"""The race of Figure 1: what is read of runs, when a level counts as reached, and a figure of it."""
import json

import pytest
from PIL import Image

from benchmarks import figure1
from minitorch_alex.errors import DataError


def a_run(folder, name, errors, activation="relu", model="quick_26", finished=True, **fields):
    directory = folder / name
    directory.mkdir()
    if activation != "relu":
        fields["activation"] = activation
    config = {"model": model, "model_fields": fields, "recipe": {"lr": 0.002}, "seed": 3,
              "command": "python -m minitorch_alex.train"}
    (directory / "config.json").write_text(json.dumps(config))
    rows = [{"kind": "interval", "error": 99.0}]
    rows += [{"kind": "epoch", "train_error": error, "seconds": 10.0 * i}
             for i, error in enumerate(errors, start=1)]
    (directory / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if finished:
        (directory / "result.json").write_text("{}")
    return directory


def test_a_level_is_reached_in_the_first_epoch_at_or_below_it():
    assert figure1.epochs_to_level({"train_error": [60.0, 25.0, 30.0, 20.0]}) == 2
    assert figure1.epochs_to_level({"train_error": [60.0, 25.001]}) is None


def test_runs_become_a_record_and_a_figure(tmp_path, capsys):
    runs = [a_run(tmp_path, "a", [60.0, 24.0]),
            a_run(tmp_path, "b", [70.0, 50.0, 40.0], "tanh", finished=False)]
    record = tmp_path / "figure1.json"
    picture = tmp_path / "figure1.png"
    arguments = [*map(str, runs), "--device", "a machine", "--record", str(record), "--figure",
                 str(picture)]
    assert figure1.main(arguments) == 0
    content = json.loads(record.read_text())
    assert [run["activation"] for run in content["runs"]] == ["relu", "tanh"]
    assert [run["finished"] for run in content["runs"]] == [True, False]
    assert content["runs"][1]["train_error"] == [70.0, 50.0, 40.0]
    assert content["runs"][1]["seconds"] == 30.0
    assert Image.open(picture).size[0] > 900
    printed = capsys.readouterr().out
    assert "epoch 2" in printed and "not in 3 epochs" in printed and "stopped early" in printed


def test_runs_join_a_record_and_replace_their_like(tmp_path):
    record = tmp_path / "figure1.json"
    picture = tmp_path / "figure1.png"
    files = ["--record", str(record), "--figure", str(picture)]
    first = [a_run(tmp_path, "a", [60.0, 24.0]), a_run(tmp_path, "b", [70.0], "tanh", finished=False)]
    figure1.main([*map(str, first), "--device", "one", "--commit", "1", "--date", "d1", *files])
    longer = a_run(tmp_path, "c", [70.0, 24.0], "tanh")
    figure1.main([str(longer), "--add", "--device", "two", "--commit", "2", "--date", "d2", *files])
    runs = json.loads(record.read_text())["runs"]
    assert [(run["activation"], run["device"], run["commit"]) for run in runs] == [
        ("relu", "one", "1"), ("tanh", "two", "2")]
    assert runs[1]["train_error"] == [70.0, 24.0]


def test_a_race_from_another_start_says_so(tmp_path):
    runs = [figure1.read_run(a_run(tmp_path, name, [60.0, 24.0], **fields))
            for name, fields in (("a", {}), ("b", {"start": "scaled"}))]
    assert [run["start"] for run in runs] == ["file", "scaled"]
    assert "from a scaled start" in figure1.title(runs[1:]) and "scaled" not in figure1.title(runs[:1])


def test_what_is_not_a_run_of_the_race_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not the directory of a run"):
        figure1.read_run(tmp_path)
    with pytest.raises(DataError, match="holds 1 epochs of net_18, expected at least one of quick"):
        figure1.read_run(a_run(tmp_path, "c", [50.0], model="net_18"))
