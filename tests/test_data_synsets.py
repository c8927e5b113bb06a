"""The names of ImageNet's classes: the list in the package, and what folders and outputs are called by it."""
import hashlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import minitorch_alex as mt
from minitorch_alex import data, members, predict
from minitorch_alex.data import synsets
from minitorch_alex.errors import DataError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import architectures, class_list

# Outputs that people know: the first and the last, what is often quoted, and both of each name that occurs twice.
KNOWN = {0: "tench", 1: "goldfish", 7: "cock", 134: "crane (n02012849)", 151: "Chihuahua", 207: "golden retriever",
         281: "tabby", 285: "Egyptian cat", 291: "lion", 388: "giant panda", 404: "airliner", 517: "crane (n03126707)",
         637: "mailbox", 638: "maillot (n03710637)", 639: "maillot (n03710721)", 817: "sports car", 954: "banana",
         999: "toilet tissue"}

# SHA-256 of the numbers, one per line, as timm 1.0.31 lists them in imagenet_synsets.txt.
DIGEST = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"


def test_there_are_a_thousand_in_the_order_of_their_numbers():
    words = synsets.imagenet_words()
    assert len(words) == 1000 and list(words) == sorted(words) and all(words.values())
    assert all(synsets.WORDNET.fullmatch(wnid) and len(wnid) == 9 for wnid in words)
    names = synsets.imagenet_names()
    assert len(set(names)) == 1000 and {k: names[k] for k in KNOWN} == KNOWN
    assert (words["n01440764"], words["n15075141"]) == (
        "tench, Tinca tinca", "toilet tissue, toilet paper, bathroom tissue")
    with pytest.raises(TypeError):
        words["n01440764"] = "carp"


def test_they_are_the_thousand_that_others_have():
    lines = "".join(f"{wnid}\n" for wnid in synsets.imagenet_words())
    assert hashlib.sha256(lines.encode()).hexdigest() == DIGEST


def test_the_file_says_where_its_words_are_from():
    text = resources.files("minitorch_alex.data").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in text
    licence = (Path(__file__).parent.parent / "licenses" / "WordNet.txt").read_text(encoding="utf-8")
    commented = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    assert [line.strip() for line in licence.splitlines() if line.strip()] == [
        line for line in commented[commented.index("WordNet Release 3.0"):] if line]


def test_the_list_is_read_when_a_name_is_needed():
    code = ("import minitorch_alex.predict, minitorch_alex.train; from minitorch_alex.data import synsets; "
            "print(synsets.imagenet_words.cache_info().misses)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_folders_are_named_where_all_are_of_the_thousand():
    assert synsets.known_words(["n02012849", "n01440764"]) == {
        "n02012849": "crane", "n01440764": "tench, Tinca tinca"}
    assert synsets.known_words(["n01440764", "dog"]) == synsets.known_words([]) == {}


def photographs(root, folders):
    """Two pictures in each folder."""
    for k, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for i, image in enumerate(data.make_shapes(2, 40, seed=k).images):
            Image.fromarray(image).save(root / folder / f"{i}.png")
    return root


def test_classes_of_a_folder_have_names_and_older_runs_their_numbers(tmp_path):
    """A run whose classes are numbers of the list is one of the same classes."""
    root = photographs(tmp_path / "set" / "train", ("n01443537", "n02012849", "n03126707"))
    assert data.class_names("folder", root.parent) == ("goldfish", "crane (n02012849)", "crane (n03126707)")
    photographs(tmp_path / "set" / "val", ("n01443537",))
    train, _ = data.load("folder", root.parent, size=8)
    config = {"num_classes": 3, "classes": ["n01443537", "n02012849", "n03126707"]}
    class_list.check(train, config, "the run has")
    config["classes"][1:] = config["classes"][:0:-1]
    with pytest.raises(DataError, match="other classes than the run has"):
        class_list.check(train, config, "the run has")


@pytest.fixture
def weights_file(tmp_path, monkeypatch):
    """A file with the names of torchvision's AlexNet and a thousand outputs; narrow, so that it is small."""
    sizes = {"channels": (8, 8, 8, 8, 8), "hidden": (16, 16)}
    monkeypatch.setattr(architectures, "blank", lambda name, classes=None: AlexNet(
        AlexNetConfig.torchvision(**sizes), classes or 1000))
    mt.manual_seed(2)
    net = AlexNet(AlexNetConfig.torchvision(**sizes), 1000)
    path = tmp_path / "alexnet.safetensors"
    safetensors.numpy.save_file({name: np.ascontiguousarray(a) for name, a in net.state_dict().items()}, path)
    return path


def test_a_thousand_outputs_are_imagenets(tmp_path, weights_file, capsys):
    model = mt.load(weights_file, arch="alexnet_torchvision")
    assert model.is_named and model.classes == synsets.imagenet_names()
    image = photographs(tmp_path / "p", ("x",)) / "x" / "0.png"
    assert model(image).name in synsets.imagenet_names()
    numbers = [str(k) for k in range(1000)]
    assert mt.load(weights_file, arch="alexnet_torchvision", classes=numbers)(image).name in numbers
    assert predict.main([str(image), "-w", str(weights_file), "-a", "alexnet_torchvision", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("["):])[0]["top"][0]["name"] == model(image).name


def test_folders_of_some_classes_find_their_outputs_without_a_file(tmp_path, weights_file):
    classifier = mt.load(weights_file, arch="alexnet_torchvision")
    def outputs(*folders):
        known = members.with_synsets(classifier, tmp_path)
        found, names = members.match(folders, folders, known, tmp_path)
        assert names == synsets.imagenet_names()
        return found.tolist()
    assert outputs("n15075141", "n01440764") == [999, 0]
    assert outputs("tench", "Toilet tissue", "crane (n03126707)") == [0, 999, 517]
    assert outputs("cardigan", "Cardigan") == [474, 264]
    with pytest.raises(DataError, match=r"none of the 1000 classes .*: 'springer' \(perhaps 'English springer'\); "):
        outputs("tench", "springer")


def test_a_thousand_other_folders_are_the_outputs_in_their_order(tmp_path, weights_file):
    classifier = members.with_synsets(mt.load(weights_file, arch="alexnet_torchvision"), tmp_path)
    folders = tuple(f"{k:03}" for k in range(1000))
    found, names = members.match(folders, folders, classifier, tmp_path)
    assert found.tolist() == list(range(1000)) and names == folders


def test_another_list_next_to_the_pictures_wins(tmp_path, weights_file):
    lines = [f"n{k:08} thing {k}, other" for k in range(1000)]
    (tmp_path / "LOC_synset_mapping.txt").write_text("\n".join(lines))
    classifier = members.with_synsets(mt.load(weights_file, arch="alexnet_torchvision"), tmp_path)
    assert members.match(("n00000007",), ("n00000007",), classifier, tmp_path)[0].tolist() == [7]
    named = mt.load(weights_file, arch="alexnet_torchvision", classes=[f"own {k}" for k in range(1000)])
    assert members.with_synsets(named, tmp_path) is named


def test_an_onnx_file_of_such_weights_has_the_names(weights_file, tmp_path):
    onnx = pytest.importorskip("onnx")
    from minitorch_alex import onnx as export
    assert export.main(["alexnet_torchvision", str(tmp_path / "a.onnx"), "-w", str(weights_file)]) == 0
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(properties["names"]) == list(synsets.imagenet_names())


def test_other_numbers_of_outputs_are_numbered():
    assert class_list.of_outputs(3) == ("class 0", "class 1", "class 2")
    assert class_list.of_outputs(1000) == synsets.imagenet_names()
