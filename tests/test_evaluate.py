"""evaluate: error rates with ties, classes, averages of models. What a user sees of one run is in test_train.py."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepared_set import write_prepared
from small_run import make_run

import minitorch_alex as mt
from minitorch_alex import data, evaluate, members, models, train
from minitorch_alex.data import picture_files
from minitorch_alex.errors import DataError, UsageError
from minitorch_alex.evaluate import by_class, error_rates, misses
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import architectures, runs, weights


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
    assert all(r["top5_error"] is None for r in rows)  # of four classes one of five guesses is always right
    assert [(r["precision"], r["recall"]) for r in rows] == [(0, 0), (100, 66.67), (33.33, 100)]
    assert [r["precision"] for r in by_class(probs[:1], labels[1:2], ("a", "b", "c", "d"))] == [100]
    unseen = np.array([[0.1, 0.5, 0.1, 0.1, 0.1, 0.1, 0]] * 2)
    assert [(r["precision"], r["top5_error"]) for r in by_class(unseen, np.array([6, 1]), tuple("abcdefg"))] == [
        (None, 100), (50, 0)]


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


def test_few_classes_have_no_top_5_error(capsys):
    scores = evaluate.score(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1]), 1.0, "single")
    assert scores["top5_error"] is None and scores["top1_error"] == 50
    assert "top-5" not in capsys.readouterr().out
    assert evaluate.score(np.eye(6), np.arange(6), 1.0, "single")["top5_error"] == 0


def test_of_many_classes_those_without_images_are_drawn_as_one():
    matrix = np.zeros((30, 30), int)
    matrix[3, 3], matrix[3, 7], matrix[3, 8], matrix[9, 3], matrix[9, 9] = 5, 1, 2, 4, 6
    names = tuple(f"c{k}" for k in range(30))
    small, shown = evaluate.drawn(matrix, names)
    assert small.tolist() == [[5, 0, 3], [4, 6, 0], [0, 0, 0]] and shown == ("c3", "c9", "others")
    assert evaluate.drawn(matrix[:25, :25], names[:25])[1] == names[:25]
    assert evaluate.drawn(np.eye(30, dtype=int), names)[1] == names


def test_the_bundled_model_is_not_written_to(tmp_path, monkeypatch):
    """Where the package is installed is not the user's to write to."""
    args = evaluate.parse(["pretrained"])
    member = members.Member(args.runs[0], args)
    assert member.file.parent == runs.PRETRAINED and member.folder == Path("runs/pretrained")
    (member,) = evaluate.open_members(evaluate.parse([os.path.relpath(runs.PRETRAINED)]))
    assert member.folder == Path("runs/pretrained")


# Weights from anywhere, on a folder of pictures.


SIZES = dict(channels=(4,) * 5, hidden=(8, 8))
WNIDS = ("n01440764", "n02102040", "n02979186")


@pytest.fixture
def tiny_nets(monkeypatch):
    """The nets are narrow; they keep the names, the number of classes and the preprocessing."""
    monkeypatch.setattr(architectures, "blank", lambda name, classes=None: AlexNet(
        AlexNetConfig.torchvision(**SIZES), classes or 1000))


def weights_file(tmp_path, count, how=lambda state: state):
    """A file as torch.save writes it, and the net."""
    torch = pytest.importorskip("torch")
    mt.manual_seed(1)
    net = AlexNet(AlexNetConfig.torchvision(**SIZES), count)
    state = {name: torch.from_numpy(array) for name, array in net.state_dict().items()}
    torch.save(how(state), tmp_path / "w.pth")
    return tmp_path / "w.pth", net


def album(folder, names, count=3):
    """`count` pictures of each class, some below folders of their own."""
    for k, name in enumerate(names):
        for i, image in enumerate(data.make_shapes(count, 64, seed=k).images):
            place = folder / name / ("more" if i == 2 else "")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{i}.png")
    return folder


WRAPPINGS = {
    "torchvision": lambda state: state,
    "pytorch/examples": lambda state: {"epoch": 3, "arch": "alexnet", "best_acc1": 5.0, "state_dict": {
        name.replace("features.", "features.module."): a for name, a in state.items()}},
    "references": lambda state: {"model": state, "epoch": 1},
}


@pytest.mark.torch
@pytest.mark.parametrize("kind", WRAPPINGS)
def test_published_weights_are_measured_on_a_folder(tmp_path, kind, tiny_nets, capsys, monkeypatch):
    """The same numbers as by hand: pictures to 256, the centre of 224, torchvision's mean and std."""
    monkeypatch.chdir(tmp_path)
    file, net = weights_file(tmp_path, 3, WRAPPINGS[kind])
    root = album(tmp_path / "pets" / "val", WNIDS)
    assert evaluate.main(["-a", "alexnet_torchvision", "-w", str(file), "pets", "--views", "single"]) == 0
    found = json.loads((tmp_path / "runs" / "w" / "evaluate-pets.json").read_text())
    assert (tmp_path / "runs" / "w" / "confusion-pets.png").exists()

    model = mt.load(file, arch="alexnet_torchvision")
    labels = np.repeat(np.arange(3), 3)
    probs = np.stack([model(path).probabilities for wnid in WNIDS for path in sorted((root / wnid).rglob("*.png"))])
    loss, top1, _ = error_rates(probs, labels)
    assert found["views"]["single"] == {"loss": round(loss, 4), "top1_error": round(top1, 2), "top5_error": None}
    assert found["images"] == 9 and found["data"] == "pets" and found["weights"] == "w.pth"
    assert sorted(row["class"] for row in found["by_class"]) == ["English springer", "cassette player", "tench"]
    assert f"9 images of {Path('pets') / 'val'}" in capsys.readouterr().out


@pytest.mark.torch
def test_some_of_many_classes_are_measured_by_a_list_of_all(tmp_path, tiny_nets, monkeypatch):
    """Folders stand for the outputs of their WordNet numbers, in whatever order the list has them."""
    monkeypatch.chdir(tmp_path)
    file, _ = weights_file(tmp_path, 8)
    album(tmp_path / "pets", WNIDS)
    lines = [f"n0000000{k} thing {k}" for k in range(8)]
    lines[2], lines[0], lines[6] = (f"{wnid} {name}, other name" for wnid, name in zip(WNIDS, "abc"))
    with pytest.raises(DataError, match="has 3 folders, alexnet_torchvision has 8 outputs.*--classes FILE"):
        evaluate.main(["-a", "alexnet_torchvision", "-w", str(file), "pets"])
    (tmp_path / "names.txt").write_text("\n".join(lines))
    (tmp_path / "pets" / "LOC_synset_mapping.txt").write_text("\n".join(lines))
    for flags in (["--classes", "names.txt"], []):
        args = evaluate.parse(["-a", "alexnet_torchvision", "-w", str(file), *flags, "pets"])
        (member,) = evaluate.open_members(args)
        images = member.images()
        assert images.labels.tolist() == [2, 0, 6] * 3 and images.classes[:3] == ("b", "thing 1", "a")
    (tmp_path / "pets" / "dog").mkdir()
    (tmp_path / "pets" / WNIDS[0] / "0.png").rename(tmp_path / "pets" / "dog" / "0.png")
    with pytest.raises(DataError, match="folders that are none of the 8 classes of alexnet_torchvision: 'dog'"):
        evaluate.main(["-a", "alexnet_torchvision", "-w", str(file), "pets"])


def test_a_run_is_measured_on_another_folder_by_its_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, _ = make_run(tmp_path / "runs" / "tiny")
    names = data.class_names("shapes")
    album(tmp_path / "drawn", (names[4].upper(), names[1]))
    assert evaluate.main(["-w", str(run), "drawn", "--views", "ten", "--limit", "5"]) == 0
    found = json.loads((tmp_path / "runs" / "checkpoint" / "evaluate-drawn.json").read_text())
    assert {row["class"]: row["images"] for row in found["by_class"]} == {names[1]: 2, names[4]: 3}


def test_a_prepared_set_is_measured_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(tmp_path / "set", "tar", size=32, n_train=6, n_val=9)
    weights.write(models.build("quick_26", 3), tmp_path / "w.safetensors")
    assert evaluate.main(["-w", "w.safetensors", "set", "--views", "single"]) == 0
    found = json.loads((tmp_path / "runs" / "w" / "evaluate-set.json").read_text())
    assert found["images"] == 9 and {row["class"] for row in found["by_class"]} == {"thing 0", "thing 1", "thing 2"}
    write_prepared(tmp_path / "large", "npy", size=36, n_train=6, n_val=9)
    with pytest.raises(UsageError, match="has images of 36 x 36, quick_26 takes 32 x 32; prepare them with --size 32"):
        evaluate.main(["-w", "w.safetensors", "large"])


@pytest.mark.parametrize(("flags", "text"), [
    (["a", "--model", "net_18"], "--model says how to read --weights"),
    (["a", "--classes", "x"], "--classes says how to read --weights"),
    (["-w", "x", "a", "b"], "one folder of pictures is given"), (["-w", "x", "a", "--data-dir", "b"], "no --data-dir")])
def test_flags_of_weights_that_make_no_sense(flags, text):
    with pytest.raises(UsageError, match=text):
        evaluate.parse(flags)


def test_a_folder_without_classes_is_refused(tmp_path):
    for name, text in (("none", "there is no folder"), ("empty", "has no pictures in folders of their classes"),
                       ("half", "has train, but no folder test or val or valid or validation")):
        if name != "none":
            (tmp_path / name).mkdir()
        if name == "half":
            album(tmp_path / name / "train", ("a", "b"))
        with pytest.raises(DataError, match=text):
            evaluate.main(["-w", "pretrained", str(tmp_path / name)])


def test_files_are_read_as_an_array_would_be(tmp_path):
    root = album(tmp_path / "a", ("x", "y"))
    files, labels, folders, where = picture_files.list_part(root, "test")
    assert folders == ("x", "y") and labels.tolist() == [0, 1] * 3 and where == root
    pictures = picture_files.PictureFiles(files, 32)
    whole = pictures[:]
    assert whole.shape == pictures.shape == (6, 32, 32, 3) and len(pictures) == 6
    assert np.array_equal(pictures[4], whole[4]) and np.array_equal(pictures.subset([5, 1])[:], whole[[5, 1]])
    assert np.array_equal(pictures[np.array([[0, 3]])], whole[[[0, 3]]]) and pictures[6:].shape == (0, 32, 32, 3)
    out = np.empty((2, 32, 32, 3), np.uint8)
    pictures.read(np.array([2, 3]), out)
    assert np.array_equal(out, whole[2:4])
    out = np.empty((2, 8, 9, 3), np.uint8)
    pictures.cut(np.array([2, 3]), np.array([1, 2]), np.array([3, 4]), np.array([True, False]), out)
    assert np.array_equal(out[0], whole[2, 1:9, 3:12][:, ::-1]) and np.array_equal(out[1], whole[3, 2:10, 4:13])
