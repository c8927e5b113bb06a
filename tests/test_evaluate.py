"""evaluate: error rates with ties, classes, averages of models. What a user sees of one run is in test_train.py."""
import json

import numpy as np
import pytest
from prepared_set import write_prepared
from small_run import make_run

from minitorch_alex import evaluate, train
from minitorch_alex.errors import DataError, UsageError
from minitorch_alex.evaluate import by_class, error_rates, misses


def test_misses_by_hand():
    """The true class is 0: first; tied with another for the first place; third; tied by three for the places 2 to 4."""
    probs = np.array([[0.7, 0.1, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1], [0.2, 0.5, 0.3, 0], [0.2, 0.4, 0.2, 0.2]])
    labels = np.zeros(4, int)
    assert misses(probs, labels, 1).tolist() == pytest.approx([0, 1 / 2, 1, 1])
    assert misses(probs, labels, 2).tolist() == pytest.approx([0, 0, 1, 2 / 3])
    assert misses(probs, labels, 4).tolist() == pytest.approx([0, 0, 0, 0])
    loss, top1, top2 = error_rates(probs, labels, top=2)
    assert (top1, top2) == pytest.approx((100 * 2.5 / 4, 100 * (1 + 2 / 3) / 4))
    assert loss == pytest.approx(-np.log([0.7, 0.4, 0.2, 0.2]).mean())


def test_more_places_than_classes_is_no_error():
    assert error_rates(np.array([[0.3, 0.7]]), np.array([0]), top=5)[1:] == (100, 0)


def test_classes_worst_first():
    """Of "b" both are wrong and taken for "c"; of "a" one of three; "d" has no images; "c" is always right."""
    probs = np.zeros((6, 4))
    labels, guesses = np.array([0, 0, 0, 1, 1, 2]), [0, 0, 1, 2, 2, 2]
    probs[np.arange(6), guesses] = 1
    rows = by_class(probs + 1e-9, labels, ("a", "b", "c", "d"))
    assert [(r["class"], r["images"], r["top1_error"], r["taken_for"], r["taken_for_share"]) for r in rows] == [
        ("b", 2, 100, "c", 100), ("a", 3, 33.33, "b", 33.33), ("c", 1, 0, None, 0)]
    assert all(r["top5_error"] == 0 for r in rows)


def report(folder, name="test"):
    return json.loads((folder / f"evaluate-{name}.json").read_text())


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Two untrained runs with different weights."""
    return [make_run(tmp_path / name, seed=seed)[0] for seed, name in enumerate(("a", "b"))]


def test_several_runs_are_averaged_by_probability(two_runs, monkeypatch, capsys):
    probs, predict = [], evaluate.predict
    monkeypatch.setattr(evaluate, "predict", lambda *args, **kw: probs.append(predict(*args, **kw)) or probs[-1])
    names = [str(run) for run in two_runs]
    for how in ([names[0]], [names[1]], names):
        assert evaluate.main([*how, "--limit", "60", "--views", "single"]) == 0
    assert "the average of the 2" in capsys.readouterr().out
    alone = [report(run)["views"]["single"] for run in two_runs]
    together = report(two_runs[0], "test-ensemble")
    assert [m["views"]["single"] for m in together["members"]] == alone and alone[0] != alone[1]
    labels = np.arange(60) % 10
    loss, top1, _ = error_rates((probs[0] + probs[1]) / 2, labels)
    assert together["views"]["single"]["loss"] == round(loss, 4)
    assert together["views"]["single"]["top1_error"] == round(top1, 2)
    assert not np.allclose(probs[0], probs[1]) and np.array_equal(probs[0], probs[2])
    assert sum(row["images"] for row in together["by_class"]) == 60 == np.sum(together["confusion"])
    assert (two_runs[0] / "confusion-test-ensemble.png").exists()
    assert not (two_runs[1] / "evaluate-test-ensemble.json").exists()


def test_numbers_and_picture_go_where_they_are_asked_to(two_runs, tmp_path):
    before = sorted(two_runs[0].iterdir())
    out = tmp_path / "x" / "y"
    assert evaluate.main([str(two_runs[0]), "--limit", "20", "--views", "single", "--out", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == {"evaluate-test.json", "confusion-test.png"}
    assert sorted(two_runs[0].iterdir()) == before, "the run's own directory was written to"


def test_the_test_images_are_read_once_for_runs_of_different_seeds(two_runs, monkeypatch):
    loads, load = [], evaluate.runs.load_data
    monkeypatch.setattr(evaluate.runs, "load_data", lambda config: loads.append(config["seed"]) or load(config))
    assert evaluate.main([*map(str, two_runs), "--limit", "20", "--views", "single", "--worst", "0"]) == 0
    assert loads == [0]


def test_runs_that_see_different_images_are_not_averaged(tmp_path):
    runs = [make_run(tmp_path / str(n), n_train=n)[0] for n in (20, 30)]
    with pytest.raises(UsageError, match="see different train images"):
        evaluate.main([*map(str, runs), "--split", "train", "--views", "single"])


def test_the_worst_classes_are_listed(two_runs, capsys):
    assert evaluate.main([str(two_runs[0]), "--limit", "50", "--views", "single", "--worst", "3"]) == 0
    table = capsys.readouterr().out.partition("the classes with the largest error (single view)\n")[2]
    listed = table.partition("\n\n")[0].splitlines()
    assert len(listed) == 3
    rows = report(two_runs[0])["by_class"]
    assert [line.split()[0] for line in listed] == [row["class"] for row in rows[:3]]
    errors = [row["top1_error"] for row in rows]
    assert errors == sorted(errors, reverse=True) and len(rows) == 10
    with pytest.raises(UsageError, match="--worst must be 0 or more"):
        evaluate.main([str(two_runs[0]), "--worst", "-1"])


def test_a_prepared_set_is_evaluated_and_one_of_other_classes_refused(tmp_path):
    """The test images are the set's val part, and the classes those of its index."""
    write_prepared(tmp_path / "set", "tar", size=36, n_train=60, n_val=21)
    write_prepared(tmp_path / "other", "npy", size=36, classes=2)
    assert train.main(["-a", "quick_26", "--data", "imagenet", "--data-dir", str(tmp_path / "set"), "--set", "crop=32",
                       "-b", "20", "--epochs", "1", "--runs-dir", str(tmp_path), "--name", "run"]) == 0
    run = tmp_path / "run"
    assert evaluate.main([str(run), "--views", "ten", "--batch-size", "8"]) == 0
    ten = report(run)
    assert ten["images"] == 21 and {row["class"] for row in ten["by_class"]} == {"thing 0", "thing 1", "thing 2"}
    with pytest.raises(DataError, match="has 2 classes, .* was trained with 3"):
        evaluate.main([str(run), "--data-dir", str(tmp_path / "other")])


def test_many_classes_have_no_matrix_in_the_report(tmp_path):
    write_prepared(tmp_path / "set", size=36, n_train=240, n_val=120, classes=120)
    assert train.main(["-a", "quick_26", "--data", "imagenet", "--data-dir", str(tmp_path / "set"), "--set", "crop=32",
                       "--epochs", "1", "--val-split", "0", "--runs-dir", str(tmp_path), "--name", "run"]) == 0
    assert evaluate.main([str(tmp_path / "run"), "--views", "single"]) == 0
    found = report(tmp_path / "run")
    assert "confusion" not in found and len(found["by_class"]) == 120
