"""Unfinished trainings: what is read of their directories, and a figure of it."""
import json

import pytest
from PIL import Image

from benchmarks import unfinished
from minitorch_alex.errors import DataError


def a_run(folder, name, errors):
    directory = folder / name
    directory.mkdir()
    config = {"model": name, "seed": 0, "recipe": {"epochs": 160},
              "command": "python -m minitorch_alex.train --data-dir /a/folder --seed 0"}
    (directory / "config.json").write_text(json.dumps(config))
    rows = [{"kind": "interval", "error": 99.0}]
    rows += [{"kind": "epoch", "train_error": error, "seconds": 10.0 * i} for i, error in enumerate(errors, start=1)]
    (directory / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


def test_runs_become_a_record_and_a_figure(tmp_path, capsys):
    runs = [a_run(tmp_path, "one", [60.0, 50.0004, 45.25]), a_run(tmp_path, "two", [70.0])]
    record = tmp_path / "unfinished.json"
    picture = tmp_path / "unfinished.png"
    assert unfinished.main([*map(str, runs), "--device", "a machine", "--commit", "c0ffee", "--date", "today",
                            "--record", str(record), "--figure", str(picture)]) == 0
    content = json.loads(record.read_text())
    assert content["device"] == "a machine"
    assert [run["train_error"] for run in content["runs"]] == [[60.0, 50.0, 45.25], [70.0]]
    assert content["runs"][0]["seconds"] == 30.0
    assert content["runs"][0]["command"] == "python -m minitorch_alex.train --seed 0"
    assert Image.open(picture).size[0] > 900
    assert "one: not finished: 45.2 % training error after 3 of 160 epochs" in capsys.readouterr().out


def test_what_is_not_a_run_is_told(tmp_path):
    with pytest.raises(DataError, match="not the directory of a run"):
        unfinished.read_run(tmp_path)
    with pytest.raises(DataError, match="not come to the end of an epoch"):
        unfinished.read_run(a_run(tmp_path, "new", []))
    torn = a_run(tmp_path, "torn", [60.0])
    with (torn / "log.jsonl").open("a") as log:
        log.write('{"kind": "epo')
    with pytest.raises(DataError, match="log.jsonl of whole lines"):
        unfinished.read_run(torn)
