"""Weights travel: safetensors both ways, PyTorch's .pth in, and nothing hostile runs."""
import json
import os
import pickle
import struct
import zipfile

import fuzz_weights
import numpy as np
import pytest
import safetensors.numpy

import minitorch_alex as mt
from minitorch_alex import nn, predict
from minitorch_alex.errors import RunError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import checkpoint, weights


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


# Weights as they are found in the world


def small():
    return nn.Sequential(conv=nn.Conv2d(3, 4, 3), fc=nn.Linear(8, 5))


def renamed(how):
    return {how(name): array for name, array in small().state_dict().items()}


NAMES = {
    "as they are": lambda n: n, "DataParallel": lambda n: f"module.{n}", "torch.compile": lambda n: f"_orig_mod.{n}",
    "both": lambda n: f"module._orig_mod.{n}", "Lightning": lambda n: f"model.{n}", "net": lambda n: f"net.{n}",
    "Lightning, compiled": lambda n: f"model._orig_mod.{n}", "DataParallel in Lightning": lambda n: f"model.module.{n}",
    "DataParallel around Lightning": lambda n: f"module.model.{n}",
    "one layer in DataParallel": lambda n: n.replace("conv.", "conv.module."),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_with_what_other_tools_put_before_them_are_understood(tmp_path, kind):
    state = renamed(NAMES[kind])
    safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
    model = small()
    weights.load_into(model, tmp_path / "w.safetensors")
    for name, array in model.state_dict().items():
        assert (array == state[NAMES[kind](name)]).all()


def test_examples_of_pytorch_wrap_the_features_only(tmp_path):
    model = narrow()
    state = {name.replace("features.", "features.module."): a + 1 for name, a in model.state_dict().items()}
    safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
    before = model.state_dict()
    weights.load_into(model, tmp_path / "w.safetensors")
    assert all((model.state_dict()[name] == before[name] + 1).all() for name in before)


@pytest.mark.parametrize("attribute", ["model", "module", "net", "_orig_mod", "network"])
def test_a_net_with_an_attribute_of_such_a_name_comes_back(tmp_path, attribute):
    class Net(nn.Module):
        def __init__(self, with_head):
            setattr(self, attribute, nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
            if with_head:
                self.head = nn.Linear(3, 2)

    for with_head in (False, True):
        one, other = Net(with_head), Net(with_head)
        weights.write(one, tmp_path / "w.safetensors")
        weights.load_into(other, tmp_path / "w.safetensors")
        assert all((a == b).all() for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    inner = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with pytest.raises(RunError, match="surplus head.weight"):  # nothing is dropped in silence
        weights.load_into(inner, tmp_path / "w.safetensors")


def test_checkpoints_of_this_package_are_weights_too(tmp_path):
    model = small()
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    checkpoint.save(tmp_path / "c.safetensors", arrays | {"optim.velocity": np.zeros(3), "data.mean": np.zeros(3)}, {})
    other = small()
    weights.load_into(other, tmp_path / "c.safetensors")
    assert (other.fc.weight.data == model.fc.weight.data).all()


def safetensors_file(path, entries):
    """A safetensors file by hand: {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    exact = np.array([1.5, -2, 0, np.inf, 2.0**-126, 3.0e38, -0.0], np.float32).view("<u4")
    raw = (exact >> 16).astype("<u2").tobytes()
    file = safetensors_file(tmp_path / "b.safetensors", {"a": ("BF16", [7], raw), "s": ("BF16", [], raw[:2])})
    got = weights.read(file)
    assert got["a"].dtype == np.float32 and (got["a"].view("<u4") == exact & 0xFFFF0000).all()
    assert got["s"].shape == () and got["s"] == 1.5
    program = rebuilt(6, 1, (2, 2), (1, 2)).replace(b"FloatStorage", b"BFloat16Storage")
    numbers = np.arange(6, dtype=np.float32)
    file = archive(tmp_path / "b.pth", program, _0=(numbers.view("<u4") >> 16).astype("<u2").tobytes())
    assert weights.read(file)["w"].tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("dtype, size", [("F8_E4M3", 1), ("F8_E5M2", 1), ("F8_E8M0", 1), ("C64", 8)])
def test_numbers_that_numpy_lacks_are_named_in_one_line(tmp_path, dtype, size):
    file = safetensors_file(tmp_path / "f8.safetensors", {"conv.bias": (dtype, [2], bytes(2 * size))})
    with pytest.raises(RunError, match=rf"conv.bias holds numbers of the type {dtype}.*float\(\)"):
        weights.read(file)


@pytest.mark.parametrize("storage", ["Float8_e4m3fnStorage", "ComplexFloatStorage", "QInt8Storage"])
def test_storages_that_numpy_lacks_are_named_in_one_line(tmp_path, storage):
    program = rebuilt(6, 0, (2,), (1,)).replace(b"FloatStorage", storage.encode())
    with pytest.raises(RunError, match=f"numbers of the type torch.{storage}"):
        weights.read(archive(tmp_path / "f8.pth", program, _0=bytes(24)))


@pytest.mark.torch
def test_checkpoints_of_torch_in_all_their_forms(tmp_path):
    torch = pytest.importorskip("torch")
    import argparse
    import collections
    net = torch.nn.Sequential(collections.OrderedDict(conv=torch.nn.Conv2d(3, 4, 3), fc=torch.nn.Linear(8, 5)))
    state = net.state_dict()
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    rates = torch.optim.lr_scheduler.MultiStepLR(sgd, [2])
    beside = {"epoch": 3, "arch": "alexnet", "best_acc1": torch.tensor(5.0), "optimizer": sgd.state_dict(),
              "scheduler": rates.state_dict(), "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5),
              "size": torch.Size([3]), "device": torch.device("cpu"), "dtype": torch.float32}
    expanded = torch.zeros(1).expand(4)
    forms = {
        "plain": state, "DataParallel": torch.nn.DataParallel(net).state_dict(),
        "state_dict": {**beside, "state_dict": state}, "model": {**beside, "model": state},
        "model_state_dict": {"model_state_dict": dict(state), "epoch": 1},
        "twice": {"model": {"state_dict": state, "name": "x"}},
        "state_dict of DataParallel": {"state_dict": torch.nn.DataParallel(net).state_dict()},
        "bfloat16": {k: v.bfloat16() for k, v in state.items()}, "half": {k: v.half() for k, v in state.items()},
        "double": {k: v.double() for k, v in state.items()},
        "parameters": {k: torch.nn.Parameter(v) for k, v in state.items()},
        "buffers": {k: torch.nn.Buffer(v) for k, v in state.items()},
        "expanded": {**state, "conv.bias": expanded}, "turned": {**state, "fc.weight": state["fc.weight"].T.clone().T},
        "negated": {**state, "conv.bias": torch._neg_view(state["conv.bias"])},
        "flipped": {**state, "fc.bias": state["fc.bias"].flip(0)},
        "channels last": {**state, "conv.weight": state["conv.weight"].to(memory_format=torch.channels_last)},
        "a slice": {**state, "conv.bias": torch.arange(1000.0)[10:14]},
        "overlapping": {**state, "fc.weight": torch.arange(12.0).unfold(0, 8, 1)},
        "unsigned": {**state, "conv.bias": torch.arange(4).to(torch.uint16)},
        "all of one storage": {k: v.clone() for k, v in state.items()},
    }
    for kind, content in forms.items():
        for protocol in (2, 4):
            torch.save(content, tmp_path / "w.pth", pickle_protocol=protocol)
            model = small()
            weights.load_into(model, tmp_path / "w.pth")
            tensors = content
            for key in ("state_dict", "model", "model_state_dict", "state_dict"):
                tensors = tensors.get(key, tensors)
            for name, array in model.state_dict().items():
                tensor = tensors[name] if name in tensors else tensors[f"module.{name}"]
                assert (array == tensor.detach().resolve_neg().float().numpy()).all(), (kind, name)
    for kind, content, message in (
            ("whole module", net, "asks for torch.nn.modules"), ("list", list(state.values()), "plain state_dict"),
            ("sparse", {"a": state["conv.weight"].to_sparse()}, "no state_dict needs"),
            ("complex", {"a": torch.zeros(2, dtype=torch.complex64)}, "ComplexFloatStorage"),
            ("float8", {"a": torch.zeros(2, dtype=torch.float8_e5m2)}, "torch.float8_e5m2"),
            ("float4", {"a": torch.zeros(2, dtype=torch.float4_e2m1fn_x2)}, "torch.float4_e2m1fn_x2"),
            ("meta", {"a": torch.empty(2, device="meta")}, "no state_dict needs"),
            ("nothing", {"epoch": 3}, "plain state_dict"), ("mixed", {**state, "epoch": 3}, "plain state_dict")):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(RunError, match=message):
            weights.read(tmp_path / "w.pth")
            pytest.fail(kind)
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(RunError, match="neither a safetensors file nor a .pth of PyTorch 1.6 or later"):
        weights.read(tmp_path / "w.pth")
    torch.jit.script(net).save(tmp_path / "w.pth")
    with pytest.raises(RunError, match="TorchScript"):
        weights.read(tmp_path / "w.pth")


# Archives that lie


def peak_of(call):
    """(the most memory that a call took, what it raised)."""
    import tracemalloc
    tracemalloc.start()
    try:
        call()
        error = None
    except RunError as caught:
        error = caught
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, error


def test_a_storage_larger_than_its_tensor_is_not_inflated(tmp_path):
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("w/data.pkl", rebuilt(4, 0, (4,), (1,)))
        z.writestr("w/data/0", bytes(200 << 20))
    peak, error = peak_of(lambda: weights.read(file))
    assert peak < 4 << 20 and "data/0 has 209715200 bytes, expected 16" in str(error)


def test_a_directory_that_understates_a_size_does_not_inflate_it(tmp_path):
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("w/data.pkl", rebuilt(4, 0, (4,), (1,)))
        z.writestr("w/data/0", bytes(200 << 20))
    content = file.read_bytes().replace(struct.pack("<I", 200 << 20), struct.pack("<I", 16))
    file.write_bytes(content)
    peak, error = peak_of(lambda: weights.read(file))
    assert peak < 8 << 20 and error is not None


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_compressing_that_cannot_be_bounded_are_refused(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "w.pth", "w", compression) as z:
        z.writestr("w/data.pkl", rebuilt(4, 0, (4,), (1,)))
        z.writestr("w/data/0", bytes(16))
    with pytest.raises(RunError, match="compressed in a way"):
        weights.read(tmp_path / "w.pth")


def test_a_program_as_large_as_a_net_and_a_giant_memo_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("w/data.pkl", bytes(100 << 20))
    peak, error = peak_of(lambda: weights.read(tmp_path / "w.pth"))
    assert peak < 4 << 20 and "data.pkl has 104857600 bytes" in str(error)
    archive(tmp_path / "memo.pth", b"\x80\x02}r\x00\x00\x00\x10.")  # LONG_BINPUT 2**28: 4 GB of pointers
    peak, error = peak_of(lambda: weights.read(tmp_path / "memo.pth"))
    assert peak < 4 << 20 and "numbers an object 268435456" in str(error)


def test_a_storage_is_read_once_however_many_tensors_show_it(tmp_path):
    one = rebuilt(250_000, 0, (250_000,), (1,))[3:-2]  # without the dictionary around it
    program = b"\x80\x02}" + b"".join(one.replace(b"\x01\x00\x00\x00w", b"\x03\x00\x00\x00%03d" % i) + b"s"
                                     for i in range(100)) + b"."
    file = archive(tmp_path / "w.pth", program, _0=bytes(1_000_000))
    peak, error = peak_of(lambda: weights.read(file))
    assert error is None and len(weights.read(file)) == 100 and peak < 8 << 20


def test_a_storage_that_claims_more_than_the_file_holds_reserves_nothing(tmp_path):
    claim = 1 << 30
    file = archive(tmp_path / "w.pth", rebuilt(claim // 4, 0, (4,), (1,)), _0=b"0123456789abcdef")
    content = bytearray(file.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.index(b"archive/data/0", content.index(b"PK\x01\x02")))
    content[entry + 20:entry + 28] = struct.pack("<2I", claim, claim)  # packed and unpacked size
    file.write_bytes(content)
    peak, error = peak_of(lambda: weights.read(file))
    assert peak < 4 << 20 and "more than the archive" in str(error)


@pytest.mark.parametrize("shape", [[0, 2**62], [1] * 65, [2**62, 0, 2]])
def test_shapes_that_numpy_lacks_are_one_line(tmp_path, shape):
    file = safetensors_file(tmp_path / "w.safetensors", {"a": ("F32", shape, b"" if 0 in shape else bytes(4))})
    with pytest.raises(RunError) as error:
        weights.load_into(small(), file)
    assert len(str(error.value).splitlines()) == 1


def end_of(content, **fields):
    """The content with other fields in its end-of-directory record."""
    at = content.rindex(b"PK\x05\x06")
    names = ("signature", "disk", "start_disk", "here", "entries", "size", "offset", "comment")
    values = dict(zip(names, struct.unpack("<4s4H2LH", content[at:at + 22]), strict=True)) | fields
    return content[:at] + struct.pack("<4s4H2LH", *values.values()) + content[at + 22:]


@pytest.mark.parametrize("damage", [
    {"entries": 0, "here": 0}, {"entries": 65535, "here": 65535}, {"size": 0}, {"size": 2**32 - 1}, {"size": 60},
    {"offset": 2**32 - 1}, {"offset": 7}, {"comment": 999}, {"disk": 3},
    "locator", "no end", "cut", "no start", "half an entry"])
def test_damaged_directories_are_one_line(tmp_path, damage):
    content = fuzz_weights.pth()
    at = content.rindex(b"PK\x05\x06")
    if isinstance(damage, dict):
        content = end_of(content, **damage)
    elif damage == "locator":  # a 64-bit locator that speaks of several disks
        content = content[:at] + struct.pack("<4sLQL", b"PK\x06\x07", 1, 10**6, 9) + content[at:]
    elif damage == "half an entry":
        content = content[:at - 30] + content[at:]
    else:
        content = {"no end": content[:at], "cut": content[:at // 2], "no start": content[100:]}[damage]
    (tmp_path / "w.pth").write_bytes(content)
    try:
        state = weights.read(tmp_path / "w.pth")
        assert all((state[name] == array).all() for name, array in fuzz_weights.STATE.items())
    except RunError as error:
        assert "w.pth" in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("program", [
    b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93.", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x02N.", b"", b".",
    b"\x80\x02K\x05\x85.", b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",
    b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00."])
def test_programs_that_are_no_state_dict_are_one_line(tmp_path, program):
    peak, error = peak_of(lambda: weights.read(archive(tmp_path / "w.pth", program)))
    assert peak < 4 << 20 and len(str(error).splitlines()) == 1 and "w.pth" in str(error)


def test_names_with_line_breaks_stay_in_one_line(tmp_path):
    safetensors.numpy.save_file({"a\nb": np.zeros(2, np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(RunError) as error:
        weights.load_into(small(), tmp_path / "w.safetensors")
    assert len(str(error.value).splitlines()) == 1


def test_mutants_are_right_or_refused():
    outcomes = fuzz_weights.fuzz(seed=16, count=400)
    assert outcomes["read"] >= 10 and outcomes["refused"] >= 200


@pytest.mark.parametrize("bias", [np.float32(3).reshape(()), np.zeros((2, 2), np.float32), np.zeros(0, np.float32)])
def test_weights_whose_last_entry_counts_no_classes_are_refused(tmp_path, bias):
    state = mt.models.build("quick_26").state_dict()
    np_state = {**{f"module.{name}": array for name, array in state.items()}, "module.fc10.bias": np.asarray(bias)}
    safetensors.numpy.save_file(np_state, tmp_path / "w.safetensors")
    with pytest.raises(RunError, match="fc10.bias is"):
        predict.of_weights(tmp_path / "w.safetensors", "quick_26")
    np_state |= {"module.fc10.bias": np.zeros(7, np.float32), "module.fc10.weight": np.zeros((7, 64), np.float32)}
    safetensors.numpy.save_file(np_state, tmp_path / "w.safetensors")
    assert len(predict.of_weights(tmp_path / "w.safetensors", "quick_26").classes) == 7


def test_counts_of_batches_are_passed_over(tmp_path):
    model = nn.Sequential(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4))
    state = {**model.state_dict(), "bn.num_batches_tracked": np.array(3)}
    safetensors.numpy.save_file({f"module.{name}": a for name, a in state.items()}, tmp_path / "w.safetensors")
    weights.load_into(model, tmp_path / "w.safetensors")
