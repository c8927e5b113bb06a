"""Weights travel: safetensors both ways, PyTorch's .pth in, and nothing hostile runs."""
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

import minitorch_alex as mt
from minitorch_alex import nn
from minitorch_alex.errors import RunError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import weights


def narrow():
    """torchvision's layers and names at an eighth of the widths, on 67 x 67 pixels."""
    mt.manual_seed(0)
    return AlexNet(AlexNetConfig.torchvision(channels=(8, 24, 48, 32, 32), hidden=(32, 32), num_classes=10,
                                             image_size=67, adaptive_pool=0))


def torch_twin(torch):
    n = torch.nn
    features = n.Sequential(
        n.Conv2d(3, 8, 11, 4, 2), n.ReLU(), n.MaxPool2d(3, 2),
        n.Conv2d(8, 24, 5, padding=2), n.ReLU(), n.MaxPool2d(3, 2),
        n.Conv2d(24, 48, 3, padding=1), n.ReLU(), n.Conv2d(48, 32, 3, padding=1), n.ReLU(),
        n.Conv2d(32, 32, 3, padding=1), n.ReLU(), n.MaxPool2d(3, 2))
    classifier = n.Sequential(n.Dropout(), n.Linear(32, 32), n.ReLU(), n.Dropout(), n.Linear(32, 32), n.ReLU(),
                              n.Linear(32, 10))
    return n.ModuleDict({"features": features, "classifier": classifier}).eval()


@pytest.mark.torch
def test_a_pth_of_torch_with_torchvisions_names_gives_torchs_logits(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    twin, model = torch_twin(torch), narrow().eval()
    torch.save(twin.state_dict(), tmp_path / "alexnet.pth")
    weights.load_into(model, tmp_path / "alexnet.pth")
    x = np.random.default_rng(0).standard_normal((4, 3, 67, 67)).astype(np.float32)
    pixels = x * 255 * np.float32([0.229, 0.224, 0.225])[:, None, None]  # what the twin's inputs are made from
    with torch.no_grad():
        expected = twin["classifier"](torch.flatten(twin["features"](torch.tensor(x)), 1)).numpy()
    assert np.abs(model(mt.Tensor(pixels)).data - expected).max() < 1e-5


@pytest.mark.torch
def test_views_halves_and_parameters_of_torch_are_read_as_they_are(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    state = {"turned": base.T, "part": base[1:3, ::2], "half": torch.tensor([0.5, 2]).half(),
             "parameter": torch.nn.Parameter(torch.ones(2)), "empty": torch.zeros(0, 3), "scalar": torch.tensor(7)}
    torch.save(state, tmp_path / "odd.pth")
    got = weights.read(tmp_path / "odd.pth")
    for name, tensor in state.items():
        expected = tensor.detach().numpy()
        assert got[name].dtype == expected.dtype and got[name].shape == expected.shape, name
        assert (got[name] == expected).all(), name


def test_safetensors_round_trip(tmp_path):
    model = narrow()
    weights.write(model, tmp_path / "w.safetensors")
    other = narrow()
    for p in other.parameters():
        p.data[...] = 0
    weights.load_into(other, tmp_path / "w.safetensors")
    assert all((a == b).all() for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_each_entry_that_does_not_fit_is_named_and_nothing_changes(tmp_path):
    model, before = narrow(), narrow().state_dict()
    weights.write(nn.Sequential(features=nn.Sequential(nn.Conv2d(3, 9, 11))), tmp_path / "w.safetensors")
    with pytest.raises(RunError) as error:
        weights.load_into(model, tmp_path / "w.safetensors")
    for text in ("w.safetensors", "missing classifier.6.bias",
                 "features.0.weight is (9, 3, 11, 11), expected (8, 3, 11, 11)"):
        assert text in str(error.value)
    assert all((a == b).all() for a, b in zip(model.state_dict().values(), before.values(), strict=True))


def archive(path, program, **storages):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", program)
        for key, raw in storages.items():
            file.writestr(f"archive/data/{key.removeprefix('_')}", raw)
    return path


class Payload:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("call", [os.mkdir, os.system, eval, exec, getattr])
def test_a_hostile_pth_runs_nothing(tmp_path, call):
    target = tmp_path / "executed"
    argument = {os.system: f"mkdir {target}", os.mkdir: str(target)}.get(call, f"open({str(target)!r}, 'w')")
    file = archive(tmp_path / "evil.pth", pickle.dumps({"w": Payload(call, argument)}))
    with pytest.raises(RunError, match=r"evil.pth: the pickle asks for .*refused"):
        weights.read(file)
    assert not target.exists()


def rebuilt(storage_numbers, offset, shape, strides):
    """A pickle program, by hand: {"w": _rebuild_tensor_v2(storage 0, offset, shape, strides, False, OrderedDict())}."""
    def integer(i):
        return b"J" + struct.pack("<i", i)

    def integers(values):
        return b"(" + b"".join(map(integer, values)) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + \
        integer(storage_numbers) + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + integers(shape) + integers(strides) + \
        b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x01\x00\x00\x00w" + call + b"s."


def test_the_hand_made_pickle_is_a_good_one(tmp_path):
    file = archive(tmp_path / "ok.pth", rebuilt(6, 1, (2, 2), (1, 2)), _0=np.arange(6, dtype="<f4").tobytes())
    assert weights.read(file)["w"].tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize(("numbers", "offset", "shape", "strides"), [
    (6, 0, (7,), (1,)), (6, 3, (2, 2), (2, 1)), (6, 0, (2,), (-1,)), (6, -1, (2,), (1,)), (6, 0, (2, 2), (1,)),
    (5, 0, (2,), (1,)), (6, 0, (10**9,), (0,))])
def test_a_tensor_outside_its_storage_is_refused(tmp_path, numbers, offset, shape, strides):
    program, raw = rebuilt(numbers, offset, shape, strides), np.arange(6, dtype="<f4").tobytes()
    file = archive(tmp_path / "bad.pth", program, _0=raw)
    with pytest.raises(RunError, match="bad.pth: "):
        weights.read(file)


def test_files_that_are_something_else_are_refused_in_one_line(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a", "b")
    archive(tmp_path / "list.pth", pickle.dumps([1, 2]))
    archive(tmp_path / "cut.pth", pickle.dumps({"a": 1})[:-3])
    for name in ("text.pth", "other.zip", "list.pth", "cut.pth", "missing.pth"):
        with pytest.raises(RunError, match=name) as error:
            weights.read(tmp_path / name)
        assert "\n" not in str(error.value)
