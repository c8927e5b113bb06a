"""Training that starts from weights: what is taken, what they expect of pixels, what is frozen, and what a user types
first."""
import json
import re
import shutil

import numpy as np
import pytest
import safetensors.numpy
from pictures import CLASSES, write_pictures
from prepared_set import write_prepared
from small_run import make_run

from minitorch_alex import backend, models, predict, train
from minitorch_alex import functional as F
from minitorch_alex.autograd import order
from minitorch_alex.errors import DataError, RunError, UsageError
from minitorch_alex.models.recipe import change_rates
from minitorch_alex.tensor import Tensor
from minitorch_alex.training import checkpoint, finetune, runs, settings, weights
from minitorch_alex.training.cli import run_cli


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A current directory with pets/{train,val}, flat/CLASS and small/, a trained run of ten classes."""
    write_pictures(tmp_path / "pets" / "train", 10)
    write_pictures(tmp_path / "pets" / "val", 4, seed=1)
    write_pictures(tmp_path / "flat", 10)
    monkeypatch.setattr(train.plots, "curves", lambda *_: None)
    make_run(tmp_path / "small")
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    config["layer_decay"] = {}
    (tmp_path / "small" / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    return tmp_path


FAST = ("--epochs", "2", "--threads", "1", "--name", "ft")


def go(*flags):
    """`train` within this process: the exit code."""
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: train.main([str(flag) for flag in flags]))
    return stop.value.code


def result(name="ft"):
    return json.loads((runs.Path("runs") / name / "result.json").read_text())


# What is taken.


def test_a_folder_and_the_bundled_model_are_all_it_takes(place, capsys):
    assert go("pets", "--weights", "pretrained", *FAST) == 0
    out = capsys.readouterr().out
    assert "34 of 36 arrays taken from pretrained; fc8 is new: 10 -> 3 classes" in out
    assert "lr 0.005 (cosine)" in out and "27 to train, 3 to validate, 12 to test" in out
    config = json.loads((place / "runs" / "ft" / "config.json").read_text())
    original = json.loads((runs.PRETRAINED / "config.json").read_text())
    assert config["model_fields"] == original["model_fields"] and config["data_size"] == 32
    assert config["recipe"]["crop"] == 28 and config["classes"] == list(CLASSES)
    arrays, _ = checkpoint.load(place / "runs" / "ft" / "checkpoint.safetensors")
    bundled, _ = checkpoint.load(runs.PRETRAINED / "checkpoint.safetensors")
    np.testing.assert_array_equal(arrays["data.mean"], bundled["data.mean"].astype(np.float32))
    assert arrays["model.fc8.weight"].shape == (3, 512)
    change = np.abs(arrays["model.conv1.weight"] - bundled["model.conv1.weight"]).max()
    assert 0 < change < 0.01, "it started elsewhere, or did not move"


def test_the_default_name_of_the_run_is_that_of_the_folder(place, capsys):
    assert go("pets", "-w", "small", "--epochs", "1") == 0
    assert (place / "runs" / "quick_26-pets" / "result.json").exists()


def test_every_array_that_fits_is_taken_and_the_rest_said(place):
    source = finetune.open_weights("pretrained")
    model = models.build("alexnet_cifar", 3, **{**source.fields, "hidden": (64, 512)})
    taken = finetune.take(model, source, CLASSES)
    assert taken.new == ("fc6", "fc7", "fc8") or taken.new == ("fc6", "fc7.weight", "fc8")
    assert finetune.in_words(taken, "x", 3).endswith("are new: 10 -> 3 classes")
    np.testing.assert_array_equal(model.state_dict()["conv5.weight"], source.arrays["conv5.weight"].astype(np.float32))


def test_the_last_layer_is_taken_only_where_its_outputs_mean_the_same_classes(place):
    source = finetune.open_weights("pretrained")
    model = models.build("alexnet_cifar", 10, **source.fields)
    assert finetune.take(model, source, source.classes).new == ()
    model = models.build("alexnet_cifar", 10, **source.fields)
    assert finetune.take(model, source, source.classes[::-1]).new == ("fc8",)


def test_weights_of_another_network_are_refused_with_names_and_shapes(place):
    source = finetune.open_weights("pretrained")
    with pytest.raises(RunError, match=r"no array of pretrained fits .*: conv1.weight is \(48, 3, 3, 3\), expected "):
        finetune.take(models.build("net_18", 3), source, CLASSES)


# Files from elsewhere.


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory):
    """A file with the names and shapes of torchvision's AlexNet, but for fewer numbers in fc6 and fc7."""
    config = models.AlexNetConfig.torchvision(hidden=(8, 8), num_classes=10)
    path = tmp_path_factory.mktemp("weights") / "alexnet.safetensors"
    state = {name: np.ascontiguousarray(a) for name, a in models.AlexNet(config).state_dict().items()}
    safetensors.numpy.save_file(state, path)
    return path


def test_torchvisions_names_tell_the_network_and_its_pixels(torchvision_file):
    source = finetune.open_weights(str(torchvision_file))
    assert source.model == "alexnet_torchvision" and source.side is None
    model = models.build("alexnet_torchvision", 3, hidden=(8, 8))
    assert finetune.take(model, source, CLASSES).new == ("classifier.6",)
    # The mean and the first layer together give (pixels / 255 - mean) / std.
    pixels = np.float32([10, 128, 250])
    x = Tensor((pixels - source.mean_image(4)[0, 0]).reshape(1, 3, 1, 1))
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(model[0](x).data.reshape(-1), expected, rtol=1e-5)


def test_names_of_wrappers_are_read_too(torchvision_file, tmp_path):
    state = safetensors.numpy.load_file(torchvision_file)
    for k, rename in enumerate((lambda n: f"module.{n}", lambda n: n.replace("features.", "features.module."))):
        file = tmp_path / f"{k}.safetensors"
        safetensors.numpy.save_file({rename(name): array for name, array in state.items()}, file)
        source = finetune.open_weights(str(file))
        taken = finetune.take(models.build("alexnet_torchvision", 3, hidden=(8, 8)), source, CLASSES)
        assert taken.new == ("classifier.6",)


def test_other_files_are_recognised_where_one_network_has_such_weights(place, capsys):
    _, model = make_run(place / "x", seed=3)
    weights.write(model, place / "quick.safetensors")
    assert go("pets", "-w", "quick.safetensors", *FAST) == 0
    assert "quick_26, " in capsys.readouterr().out and result()["model"] == "quick_26"
    weights.write(models.build("net_18"), place / "net.safetensors")
    with pytest.raises(UsageError, match="its weights fit net_18, net_19; say which of them it is"):
        finetune.open_weights("net.safetensors")
    assert finetune.open_weights("net.safetensors", "net_19").model == "net_19"


def test_another_network_with_torchvisions_names_is_refused(place):
    """VGG's layers have such names too, and its first bias has AlexNet's shape."""
    state = {"features.0.weight": np.zeros((64, 3, 3, 3), np.float32), "features.0.bias": np.zeros(64, np.float32),
             "classifier.6.weight": np.zeros((10, 8), np.float32), "classifier.6.bias": np.zeros(10, np.float32)}
    safetensors.numpy.save_file(state, place / "vgg.safetensors")
    with pytest.raises(RunError, match="vgg.safetensors .* its weights fit none of the models"):
        finetune.open_weights("vgg.safetensors")


def test_a_checkpoint_alone_knows_its_run(place, tmp_path):
    """best.safetensors carried elsewhere: the configuration is inside."""
    assert go("pets", "-w", "small", *FAST) == 0
    shutil.copy("runs/ft/best.safetensors", "carried.safetensors")
    source = finetune.open_weights("carried.safetensors")
    assert source.model == "quick_26" and source.classes == CLASSES and source.side == 32


# Freezing.


def test_frozen_layers_keep_their_bits_and_the_others_learn(place):
    assert go("pets", "-w", "pretrained", "--freeze", "conv", *FAST) == 0
    arrays, _ = checkpoint.load(place / "runs" / "ft" / "checkpoint.safetensors")
    bundled, _ = checkpoint.load(runs.PRETRAINED / "checkpoint.safetensors")
    for name, array in bundled.items():
        if "conv" in name or "bn" in name:
            np.testing.assert_array_equal(arrays[name], array.astype(np.float32))
        elif "fc6" in name or "fc7" in name:
            assert (arrays[name] != array).any(), name


def test_frozen_layers_cost_no_backward_pass_and_keep_nothing():
    """Counts the operations that a backward pass would visit, and the bytes that wait for it."""
    source = finetune.open_weights("pretrained")
    SOME = "conv1,bn1,conv2,bn2"
    visited, kept = {}, {}
    for text in ("", SOME, "conv"):
        model = models.build("alexnet_cifar", 3, **source.fields)
        recipe = finetune.gentle(source.recipe)
        frozen = finetune.frozen_layers(model, text) if text else []
        optimizer = models.build_optimizer(model, finetune.freeze(recipe, frozen))
        change_rates(optimizer, finetune.freeze(recipe, frozen), 0)
        loss = F.cross_entropy(model(Tensor(np.zeros((4, 3, 28, 28), np.float32))), np.arange(4) % 3)
        nodes = list(order(loss.creator))
        visited[text] = [type(node).__name__ for node in nodes]
        kept[text] = sum(a.nbytes for node in nodes for a in node.saved if hasattr(a, "nbytes"))
        loss.backward()
        with_gradient = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert with_gradient == set(finetune.layers_of(model)) - set(frozen)
    for kind, counts in (("Conv2d", [5, 3, 0]), ("MaxPool2d", [3, 1, 0])):  # a Conv2dReLU is one too
        assert [sum(name.startswith(kind) for name in names) for names in visited.values()] == counts
    assert kept["conv"] < 0.2 * kept[""], kept  # of these, a megabyte is fc7's weights
    assert kept["conv"] < kept[SOME] < 0.8 * kept[""], kept


@pytest.mark.parametrize("text, layers", (
    ("conv", ["conv1", "conv2", "conv3", "conv4", "conv5"]), ("conv1, fc6", ["conv1", "fc6"]), ("fc7", ["fc7"])))
def test_what_freeze_names(text, layers):
    assert finetune.frozen_layers(models.build("alexnet_cifar", 3, hidden=(8, 8)), text) == layers


def test_torchvisions_layers_freeze_under_the_same_word():
    model = models.build("alexnet_torchvision", 3, hidden=(8, 8))
    assert finetune.frozen_layers(model, "conv") == [f"features.{k}" for k in (0, 3, 6, 8, 10)]


@pytest.mark.parametrize("text, message", (
    ("conv9", "no layer 'conv9'; expected conv for all convolutions, or names of conv1, conv2"),
    ("conv,fc", "all 8 layers would be frozen, and nothing could learn")))
def test_what_freeze_refuses(text, message):
    with pytest.raises(UsageError, match=message):
        finetune.frozen_layers(models.build("alexnet_cifar", 3, hidden=(8, 8)), text)


# A run is whole.


def test_a_run_predicts_from_any_directory_without_its_data(place, tmp_path_factory, monkeypatch, capsys):
    assert go("pets", "-w", "small", *FAST) == 0
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move("runs/ft", elsewhere / "carried")
    picture = shutil.copy("pets/val/tench/0.png", elsewhere / "x.png")
    shutil.rmtree("pets")
    monkeypatch.chdir(elsewhere)
    assert predict.main([str(picture), "-w", "carried"]) == 0
    assert "tench" in capsys.readouterr().out


def test_data_is_found_from_another_directory_where_it_was(place, monkeypatch):
    assert go("pets", "-w", "small", *FAST) == 0
    config = json.loads((place / "runs" / "ft" / "config.json").read_text())
    monkeypatch.chdir(place / "runs")
    assert len(runs.load_data(config).test) == 12
    config["data_dir"] = "pats"
    with pytest.raises(DataError, match="there is no pats"):
        runs.load_data(config)


# The first tries of a user, each of which ended in an error once.


TRIES = {
    "a folder alone": (["pets", "-a", "quick_26"], 0, ""),
    "a folder for a data set": (["--data", "pets"], 2, "pets is a folder: give it without --data"),
    "--pretrained": (["pets", "--pretrained"], 2, "--weights pretrained starts from the bundled model"),
    "--weights": (["pets", "--weights", "small"], 0, "8 of 10 arrays"),
    "-w": (["pets", "-w", "small"], 0, "fc10 is new: 10 -> 3 classes"),
    "--finetune": (["pets", "--finetune", "small"], 2, "--weights RUN or --weights FILE"),
    "a weights file to resume": (["pets", "-a", "alexnet_torchvision", "--resume", "x.pth"], 6, "--weights"),
    "the bundled model to resume, with data": (["pets", "--resume", runs.PRETRAINED], 2, "--weights"),
    "the bundled model to resume": (["--resume", runs.PRETRAINED, "--epochs", "61"], 6, "--weights"),
    "a run to resume on other pictures": (["--resume", "small", "--data", "folder", "--data-dir", "pets"], 2,
                                          "--weights small"),
    "--num-classes": (["pets", "--num-classes", "3"], 2, "as many classes as there are folders"),
    "--set num_classes": (["pets", "--set", "num_classes=3"], 2, "num_classes follows from the data"),
    "classes alone": (["flat", "-w", "small"], 0, "22 to train, 2 to validate, 6 to test"),
    "a prepared set": (["prepared", "-w", "small"], 0, "fc10 is new"),
    "a prepared set from scratch": (["prepared", "-a", "quick_26"], 0, "test accuracy"),
    "a file that holds a program": (["pets", "-w", "whole.pth"], 6, "refused, nothing was run"),
}


@pytest.mark.parametrize("name", TRIES)
def test_what_a_user_tries_first_works_or_says_what_to_type(place, capsys, name):
    argv, code, text = TRIES[name]
    if "prepared" in argv:
        write_prepared(place / "prepared", "npy", size=64, n_train=40, n_val=10, per_shard=20)
    if "x.pth" in argv:
        (place / "x.pth").write_bytes(b"PK")
    if "whole.pth" in argv:
        write_program(place / "whole.pth")
    if code == 0:
        argv = [*argv, "--epochs", "1", "--threads", "1"]
    capsys.readouterr()
    assert go(*argv) == code
    out, err = capsys.readouterr()
    assert text in out + err
    if code:
        assert err.startswith("error: ") and len(err.strip().splitlines()) == 1


def write_program(path):
    """A .pth of torch.save(model): its pickle names a class."""
    import pickle
    import zipfile
    code = pickle.PROTO + bytes([2]) + b"c__main__\nAlexNet\n."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", code)
        archive.writestr("m/version", "3")


def test_a_class_list_is_kept_when_a_folder_is_added_later(place, capsys):
    """Names are those that it was trained with; the data is refused."""
    assert go("pets", "-w", "small", *FAST) == 0
    write_pictures(place / "pets" / "train", 3, classes=("aardvark",))
    capsys.readouterr()
    assert predict.main(["pets/val/church/0.png", "-w", "runs/ft"]) == 0
    assert "aardvark" not in capsys.readouterr().out
    assert go("--resume", "runs/ft", "--epochs", "3") == 4
    assert "'aardvark' is new" in capsys.readouterr().err


def test_settings_are_named_by_the_rules_of_this_package():
    """The advice for other tools' flags names flags that exist, and no flag that works."""
    from minitorch_alex.training import foreign
    own = {word for flag in settings.BY_NAME.values() for word in flag.names.split()}
    for flag, text in foreign.FLAGS.items():
        assert flag not in own
        named = {word.strip(",.;)") for word in text.split() if word.startswith("-")} - {"-m"}
        assert named <= own, (flag, named - own)
    assert backend.current().name == "numpy"


# What is told about it.


def test_frozen_layers_keep_nothing_in_the_memory_that_is_told(place, capsys):
    def memory(*flags):
        assert go("pets", "-w", "pretrained", "-b", "64", "--dry-run", *flags) == 0
        return int(re.search(r"memory +about (\d+) MB", capsys.readouterr().out)[1])

    assert memory("--freeze", "conv") < 0.75 * memory()


def test_how_the_network_differs_from_its_source_is_one_line(place, capsys):
    assert go("pets", "-w", "pretrained", "--epochs", "1", "--threads", "1", "--name", "ft") == 0
    out = capsys.readouterr().out
    count = int(re.search(r"differs in (\d+) points from its source; --dry-run lists them", out)[1])
    assert count > 3 and "differs: " not in out
    assert go("pets", "-w", "pretrained", "--dry-run") == 0
    listed = capsys.readouterr().out.partition("differs from its source\n")[2]
    assert len(listed.strip().splitlines()) == count and "channels: " in listed


def test_of_five_classes_or_fewer_no_top_5_error_is_recorded(place):
    assert go("pets", "-w", "small", *FAST) == 0
    assert result()["test"]["top5_error"] is None and 0 <= result()["test"]["top1_error"] <= 100
