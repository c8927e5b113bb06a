"""Faults that people met with other tools, as far as they concern runs: what an output means, what
belongs to the user's process, text that a terminal or a figure cannot show, paths."""
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from prepared_set import write_prepared

from minitorch_alex import evaluate, predict, train
from minitorch_alex.errors import DataError, RunError
from minitorch_alex.plots.__main__ import main as draw
from minitorch_alex.training import checkpoint, class_list, runs

COLOURS = {"cat": (220, 30, 30), "dog": (30, 30, 220), "emu": (30, 220, 30)}


def write_folders(root, names=("cat", "dog"), colours=None):
    """ROOT/train and ROOT/val with a folder per class, each of one colour."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for name, original in zip(names, colours or names, strict=True):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(-25, 25, (32, 32, 3))
                pixels = (np.array(COLOURS[original]) + noise).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")


def rename(root, old, new):
    for part in ("train", "val"):
        (root / part / old).rename(root / part / new)


FLAGS = ["-a", "quick_26", "--data", "folder", "--data-dir", "pets", "--val-split", "0", "-b", "8",
         "--threads", "1", "--lr", "0.01", "--name", "pets"]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A folder with pets/, runs/pets trained on it, and red.png, which is a cat."""
    folder = tmp_path_factory.mktemp("trained")
    write_folders(folder / "pets")
    Image.new("RGB", (40, 40), COLOURS["cat"]).save(folder / "red.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main([*FLAGS, "--epochs", "12"]) == 0
    return folder


@pytest.fixture
def trained(trained_once, tmp_path, monkeypatch):
    """The same, to be spoilt."""
    folder = tmp_path / "copy"
    shutil.copytree(trained_once, folder)
    monkeypatch.chdir(folder)
    return folder


def first_class(capsys, *args):
    """The most probable class that predict prints."""
    capsys.readouterr()
    assert predict.main([str(a) for a in args]) == 0
    return capsys.readouterr().out.splitlines()[3].partition(" %  ")[2]


def drift_added(pets):
    (pets / "train" / "ant").mkdir()
    shutil.copy(pets / "train" / "dog" / "0.png", pets / "train" / "ant")


def drift_renamed(pets):
    rename(pets, "cat", "zcat")


def drift_one_fewer(pets):
    for part in ("train", "val"):
        shutil.rmtree(pets / part / "dog")


def drift_swapped(pets):
    """The same names, other animals: only the pixels tell, and the labels still mean the names."""
    rename(pets, "cat", "x")
    rename(pets, "dog", "cat")
    rename(pets, "x", "dog")


def drift_moved(pets):
    pets.rename(pets.with_name("elsewhere"))


@pytest.mark.parametrize("drift", [drift_added, drift_renamed, drift_one_fewer, drift_swapped, drift_moved])
def test_what_happens_to_the_data_does_not_change_what_a_prediction_means(trained, capsys, drift):
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "cat"
    drift(trained / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "cat"


@pytest.mark.parametrize("whole", [True, False])
def test_a_run_is_taken_to_another_place(trained, tmp_path, monkeypatch, capsys, whole):
    """The directory, or only the weights with their configuration."""
    target = tmp_path / "far" / "away"
    target.mkdir(parents=True)
    for file in (trained / "runs" / "pets").iterdir():
        if whole or file.name in ("config.json", "checkpoint.safetensors"):
            shutil.copy(file, target)
    monkeypatch.chdir(tmp_path)
    shutil.move(trained / "red.png", tmp_path)
    assert first_class(capsys, "red.png", "-w", target) == "cat"
    with pytest.raises(DataError, match="there is no pets .*point --data-dir to it"):
        evaluate.main([str(target), "--views", "single"])
    assert evaluate.main([str(target), "--views", "single", "--data-dir", str(trained / "pets")]) == 0


@pytest.mark.parametrize(("drift", "text"), [
    (drift_added, r"3 classes, .* 2 \('ant' is new\)"),
    (drift_renamed, "other classes than .*'zcat' is new, 'cat' is missing"),
    (drift_one_fewer, r"1 classes, .* 2 \('dog' is missing\)")])
def test_data_with_other_classes_are_refused_by_name(trained, drift, text):
    drift(trained / "pets")
    with pytest.raises(DataError, match=text):
        evaluate.main(["runs/pets", "--views", "single"])
    with pytest.raises(DataError, match=text):
        train.main(["--resume", "runs/pets", "--epochs", "13"])
    with pytest.raises(DataError, match=text):
        draw(["runs/pets", "--predictions"])


def test_a_prepared_set_of_as_many_other_classes_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("set", "other", "order"):
        write_prepared(tmp_path / name, size=36, n_train=60)
    index = json.loads((tmp_path / "other" / "index.json").read_text())
    index["classes"][1]["name"] = "thing 9"
    (tmp_path / "other" / "index.json").write_text(json.dumps(index))
    index["classes"] = [{"name": f"thing {k}", "wnid": f"n{k}"} for k in (0, 2, 1)]
    (tmp_path / "order" / "index.json").write_text(json.dumps(index))
    assert train.main(["-a", "quick_26", "--data", "imagenet", "--data-dir", "set", "--set", "crop=32", "-b", "30",
                       "--epochs", "1", "--val-split", "0", "--name", "r", "--threads", "1"]) == 0
    for folder, text in (("other", "'thing 9' is new, 'thing 1' is missing"),
                         ("order", "another order: class 1 is 'thing 2', not 'thing 1'")):
        with pytest.raises(DataError, match=text):
            evaluate.main(["runs/r", "--views", "single", "--data-dir", folder])
        with pytest.raises(DataError, match=text):
            train.main(["--resume", "runs/r", "--epochs", "2", "--data-dir", folder])


def test_names_and_digest_are_in_the_run_the_checkpoint_and_the_packaged_model(trained):
    _, meta = checkpoint.load("runs/pets/checkpoint.safetensors")
    for config in (runs.Run("runs/pets").read_config(), meta["config"]):
        assert config["classes"] == ["cat", "dog"]
        assert config["class_digest"] == class_list.digest(("cat", "dog")) != class_list.digest(("dog", "cat"))
    packaged = runs.Run(runs.PRETRAINED).read_config()
    assert packaged["class_digest"] == class_list.digest(packaged["classes"])
    assert tuple(packaged["classes"]) == predict.pretrained().classes


def test_weights_next_to_the_configuration_of_other_classes_are_refused(trained, capsys):
    config = runs.Run("runs/pets").read_config()
    (trained / "runs" / "pets" / "config.json").write_text(json.dumps({**config, "classes": ["dog", "cat"]}))
    with pytest.raises(RunError, match="another order: class 0 is 'dog', not 'cat'"):
        predict.main(["red.png", "-w", "runs/pets"])


def forget_names(run):
    """A run as it was before names were kept."""
    arrays, meta = checkpoint.load(run / "checkpoint.safetensors")
    config = json.loads((run / "config.json").read_text())
    for settings in (config, meta["config"]):
        del settings["classes"], settings["class_digest"]
    checkpoint.save(run / "checkpoint.safetensors", arrays, meta)
    (run / "config.json").write_text(json.dumps(config))


def test_a_run_from_before_names_were_kept_takes_them_from_its_data(trained, capsys):
    forget_names(trained / "runs" / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "cat"
    assert evaluate.main(["runs/pets", "--views", "single"]) == 0
    drift_added(trained / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "class 0"
    with pytest.raises(DataError, match="3 classes, the run has 2"):
        train.main(["--resume", "runs/pets", "--epochs", "13"])
    shutil.rmtree(trained / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "class 0"
    (trained / "names.txt").write_text("tabby\npoodle\n")
    assert first_class(capsys, "red.png", "-w", "runs/pets", "--classes", "names.txt") == "tabby"
    write_folders(trained / "pets")
    assert train.main(["--resume", "runs/pets", "--epochs", "13"]) == 0
    assert runs.Run("runs/pets").read_config()["classes"] == ["cat", "dog"]


def test_runs_of_other_classes_are_not_averaged(trained, capsys):
    shutil.copytree("pets", "kept")
    rename(trained / "pets", "cat", "ant")
    assert train.main([*FLAGS, "--epochs", "1", "--name", "ants"]) == 0
    shutil.rmtree("pets")
    shutil.move("kept", "pets")
    with pytest.raises(DataError, match="'cat' is new, 'ant' is missing"):
        evaluate.main(["runs/pets", "runs/ants", "--views", "single"])


def test_accents_that_a_file_system_takes_apart_are_the_same_name():
    images = train.data.make_shapes(10, 32)
    config = {"num_classes": 10, "classes": [*images.classes[:-1], "caf\u00e9"]}
    apart = train.data.Dataset(images.images, images.labels, (*images.classes[:-1], "cafe\u0301"), "x")
    class_list.check(apart, config, "the run has")
    with pytest.raises(DataError, match="is new"):
        class_list.check(images, config, "the run has")


def test_any_name_has_a_digest():
    names = ["caf\udce9", "猫", "a\nb", ""]
    assert len(class_list.digest(names)) == 64 and json.loads(json.dumps(class_list.entries(names)))["classes"] == names
