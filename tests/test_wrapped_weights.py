"""torchvision's AlexNet in every form in which people have its file, from the file to a training. PyTorch writes it."""
import json

import numpy as np
import pytest
import safetensors.numpy
from pictures import CLASSES, write_pictures

import minitorch_alex as mt
from minitorch_alex import evaluate, models, predict, train
from minitorch_alex.errors import RunError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import checkpoint, finetune

SIZES = {"channels": (4,) * 5, "hidden": (8, 8)}
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def parallel(state):
    """The names under DataParallel."""
    return {f"module.{name}": tensor for name, tensor in state.items()}


def features_parallel(state):
    """pytorch/examples wraps the convolutions of AlexNet alone."""
    return {name.replace("features.", "features.module."): tensor for name, tensor in state.items()}


def with_optimizer(state):
    """What pytorch/examples imagenet/main.py saves after an epoch, and the state of a scheduler."""
    weights = [torch.nn.Parameter(tensor.clone()) for tensor in state.values()]
    optimizer = torch.optim.SGD(weights, 0.01, momentum=0.9, weight_decay=1e-4)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30)
    return {"epoch": 3, "arch": "alexnet", "state_dict": features_parallel(state), "best_acc1": torch.tensor(56.5),
            "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}


WRAPPINGS = {
    "state_dict.pth": lambda state: state,
    "module.pth": parallel,
    "nested.pth": lambda state: {"state_dict": parallel(state)},
    "model_best.pth.tar": with_optimizer,
    "references.pth": lambda state: {"model": state, "epoch": 1, "args": None},
    "bfloat.pth": lambda state: {name: tensor.bfloat16() for name, tensor in state.items()},
    "weights.safetensors": None,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(folder of one file for each wrapping, the network): torchvision's names, narrow layers, three classes."""
    folder = tmp_path_factory.mktemp("wrapped")
    mt.manual_seed(4)
    net = AlexNet(AlexNetConfig.torchvision(**SIZES), 3)
    # Numbers that bfloat16 holds, so that all files say the same.
    numbers = {name: array.astype("<f4").view("<u4") & 0xffff0000 for name, array in net.state_dict().items()}
    state = {name: array.view("<f4") for name, array in numbers.items()}
    net.load_state_dict(state)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    for name, wrap in WRAPPINGS.items():
        if wrap is None:
            safetensors.numpy.save_file(state, folder / name)
        else:
            torch.save(wrap(tensors), folder / name)
    return folder, net


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A current directory with pictures, in a package whose preset for torchvision's AlexNet is narrow."""
    preset = AlexNetConfig.torchvision
    monkeypatch.setattr(AlexNetConfig, "torchvision", classmethod(lambda cls, **fields: preset(**{**SIZES, **fields})))
    monkeypatch.setattr(train.plots, "curves", lambda *_: None)
    monkeypatch.setattr(evaluate.plots, "confusion", lambda *_: None)
    write_pictures(tmp_path / "pets", 5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_form_is_the_same_network(files, place, name, capsys):
    """mt.load, predict, evaluate and train recognise it, and all see what the network itself computes."""
    folder, net = files
    picture = place / "pets" / "tench" / "0.png"
    model = mt.load(folder / name)
    assert model.name == "alexnet_torchvision" and len(model.classes) == 3
    for key, array in net.state_dict().items():
        np.testing.assert_array_equal(model.model.state_dict()[key], array)
    expected = mt.load(folder / "state_dict.pth")(picture).probabilities
    np.testing.assert_array_equal(model(picture).probabilities, expected)

    assert predict.main([str(picture), "-w", str(folder / name), "--json", "answers.json"]) == 0
    (answer,) = json.loads((place / "answers.json").read_text())
    assert answer["top"][0]["probability"] == pytest.approx(expected.max(), abs=1e-6)

    assert evaluate.main(["-w", str(folder / name), "pets", "--views", "single", "--out", "measured"]) == 0
    found = json.loads((place / "measured" / "evaluate-pets.json").read_text())
    assert found["images"] == 15 and found["model"] == "alexnet_torchvision" and len(found["by_class"]) == 3

    source = finetune.open_weights(str(folder / name))
    fresh = models.build("alexnet_torchvision", 3)
    taken = finetune.take(fresh, source, CLASSES)
    assert (taken.taken, taken.total, taken.new, taken.old_classes) == (14, 16, ("classifier.6",), 3)
    for key, array in net.state_dict().items():
        if not key.startswith("classifier.6"):
            np.testing.assert_array_equal(fresh.state_dict()[key], array)


def test_another_network_s_name_is_answered_with_the_right_one(files, place):
    """pytorch/examples calls it alexnet, which is the paper's here."""
    file = str(files[0] / "model_best.pth.tar")
    for command in (lambda: evaluate.main(["-a", "alexnet", "-w", file, "pets"]),
                    lambda: train.main(["pets", "-a", "alexnet", "-w", file])):
        with pytest.raises(RunError, match="has the weights of alexnet_torchvision, not of alexnet; give"):
            command()


@pytest.mark.parametrize("name", ("model_best.pth.tar", "weights.safetensors"))
def test_a_training_starts_from_it(files, place, name, capsys):
    folder, net = files
    assert train.main(["pets", "--weights", str(folder / name), "--freeze", "conv", "--epochs", "1", "--name", "ft",
                       "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert f"14 of 16 arrays taken from {folder / name}; classifier.6 is new: 3 -> 3 classes" in out
    arrays, _ = checkpoint.load("runs/ft/checkpoint.safetensors")
    for key, array in net.state_dict().items():
        same = np.array_equal(arrays[f"model.{key}"], array)
        assert same == key.startswith("features."), key
    assert mt.load("runs/ft").classes == CLASSES
