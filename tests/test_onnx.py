"""What ONNX's own reference implementation computes from an exported file is what this package computes."""
import hashlib
import json
import sys

import numpy as np
import pytest
from PIL import Image
from small_run import make_run

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import data, models, nn, onnx
from minitorch_alex.autograd import no_grad
from minitorch_alex.errors import DiskError, UsageError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import architectures, weights


def loaded(path):
    """The checked file, and a function from images to its output."""
    reference = pytest.importorskip("onnx.reference")
    import onnx as package
    proto = package.load(str(path))
    package.checker.check_model(proto, full_check=True)
    evaluator = reference.ReferenceEvaluator(proto, new_ops=[an_lrn(reference)])
    return proto, lambda images: evaluator.run(None, {"images": images})[0]


def an_lrn(reference):
    """LRN by the text of the standard (onnx.ai/onnx/operators/onnx__LRN.html): the reference implementation of onnx
    1.23 runs over as many channels as there are images."""
    class LRN(reference.op_run.OpRun):
        op_domain = ""

        def _run(self, x, alpha=None, beta=None, bias=None, size=None):
            squares, left, right = np.zeros_like(x), (size - 1) // 2, -(-(size - 1) // 2)
            for c in range(x.shape[1]):
                squares[:, c] = (x[:, max(0, c - left):c + right + 1] ** 2).sum(axis=1)
            return ((x / (bias + alpha / size * squares) ** beta).astype(x.dtype),)

    return LRN


def agrees(model, tmp_path, size, tolerance=1e-4):
    """Logits of two images within `tolerance` of the largest."""
    pytest.importorskip("onnx")
    model.image_size = size
    rng = np.random.default_rng(0)
    images = (60 * rng.standard_normal((2, 3, size, size))).astype(np.float32)
    for _, buffer in model.named_buffers():
        buffer.data[...] = rng.uniform(0.5, 2, buffer.shape)
    for parameter in model.parameters():  # weights and biases for which each layer matters
        scale = 1 / np.sqrt(max(1, np.prod(parameter.shape[1:]))) if parameter.data.ndim > 1 else 0.5
        parameter.data[...] = scale * rng.standard_normal(parameter.shape)
    model.train()
    onnx.export(model, tmp_path / "m.onnx")
    assert model.training
    proto, run = loaded(tmp_path / "m.onnx")
    model.eval()
    with no_grad():
        expected = model(mt.Tensor(images)).numpy()
    got = run(images)
    assert got.shape == expected.shape and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))
    assert len(run(images[:1])) == 1  # the batch is free
    return proto


NARROW = dict(channels=(8, 12, 8, 12, 8), hidden=(16, 16), num_classes=7, image_size=67)


@pytest.mark.parametrize("preset", ["paper", "source_2012", "caffe", "caffenet", "conv6_2012", "tower_2014",
                                    "torchvision", "merged"])
def test_narrow_alexnets(preset, tmp_path):
    changes = NARROW | ({"image_size": 70} if preset == "paper" else {})  # 1 + ceil(59 / 4): rounded up
    model = AlexNet(getattr(AlexNetConfig, preset)(**changes))
    proto = agrees(model, tmp_path, model.image_size)
    kinds = [node.op_type for node in proto.graph.node]
    convolutions = 6 if preset == "conv6_2012" else 5
    assert kinds.count("Conv") == convolutions and kinds.count("Gemm") == 3 and kinds.count("MaxPool") == 3
    columns = preset in ("paper", "source_2012", "conv6_2012")  # a norm in each
    assert kinds.count("Split") == (2 if columns else 0) and "Dropout" not in kinds
    assert {c.name for c in proto.graph.initializer} >= {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("name", ["alexnet_cifar", *models.SMALL])
def test_small_nets(name, tmp_path):
    changes = {"channels": (8, 8, 8, 8, 8), "hidden": (8, 8)} if name == "alexnet_cifar" else {}
    model = models.build(name, **changes)
    agrees(model, tmp_path, model.image_size)


@pytest.mark.parametrize("layer", [
    nn.Conv2d(3, 4, (3, 2), stride=(2, 3), padding=(2, 1), dilation=(1, 2), ceil_mode=True),
    nn.Conv2d(3, 6, 2, stride=4, groups=3, bias=False), nn.Conv2d(3, 4, (4, 3), padding="same", dilation=(1, 2)),
    nn.Conv2d(3, 4, 3, padding="valid"), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
    nn.MaxPool2d((2, 3), (3, 2), dilation=2), nn.MaxPool2d(2), nn.AvgPool2d(3, 2, padding=1),
    nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    nn.AvgPool2d((3, 2), (4, 3), padding=(1, 1), ceil_mode=True, count_include_pad=False),
    nn.AvgPool2d(2, 3, padding=1, ceil_mode=True),
    nn.LocalResponseNorm(3, alpha=0.1, beta=0.6, k=2.0), nn.LocalResponseNorm(5, alpha=0.1, groups=3),
    nn.LocalResponseNorm(4, alpha=0.1, within_map=True), nn.LocalResponseNorm(5, alpha=0.1, within_map=True),
    nn.LocallyConnected2d(3, 2, 10, (3, 2), stride=(2, 3), padding=(1, 0)),
    nn.LocallyConnected2d(3, 2, 10, 4, bias=False), nn.LocallyConnected2d(3, 2, 10, 12, padding=1),
    nn.BatchNorm2d(3), nn.BatchNorm2d(3, eps=0.1, affine=False),
    nn.Tanh(), nn.Dropout(0.3, "2012"), nn.Dropout(0.3)], ids=repr)
def test_each_kind_of_layer(layer, tmp_path):
    agrees(nn.Sequential(layer=layer, flatten=nn.Flatten()), tmp_path, 10, tolerance=1e-5)


def test_softmax_gives_probabilities(tmp_path):
    pytest.importorskip("onnx")
    model = models.build("quick_26").eval()
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32) * 60
    onnx.export(model, tmp_path / "m.onnx", softmax=True)
    proto, run = loaded(tmp_path / "m.onnx")
    assert [out.name for out in proto.graph.output] == ["probabilities"]
    np.testing.assert_allclose(run(images), F.softmax(model(mt.Tensor(images))).numpy(), atol=1e-6)


def test_what_has_no_form_in_onnx_is_refused(tmp_path):
    pytest.importorskip("onnx")

    class Odd(nn.Module):
        def forward(self, x):
            return x

    class OddReLU(nn.ReLU):
        """What its forward does, nobody can know."""

    for layer, text in ((OddReLU(), "layer layer: OddReLU has no form in ONNX here"),
                        (nn.Flatten(2), r"layer layer: Flatten\(2, -1\) has no form in ONNX here, expected Flatten"),
                        (nn.Flatten(1, 2), r"Flatten\(1, 2\) has no form"),
                        (nn.LocalResponseNorm(4), "size 4, but for even sizes .*; use an odd size"),
                        (nn.BatchNorm2d(3, track_running_stats=False), "layer: .*build it with track_running_stats"),
                        (Odd(), "layer layer: Odd has no form in ONNX here")):
        model = nn.Sequential(layer=layer)
        model.image_size = 8
        with pytest.raises(UsageError, match=text):
            onnx.export(model, tmp_path / "m.onnx")
        assert not list(tmp_path.iterdir())


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match="which is not installed: pip install onnx"):
        onnx.main(["quick_26", str(tmp_path / "m.onnx")])


def test_the_command_exports_runs_models_and_files_of_weights(tmp_path, capsys):
    pytest.importorskip("onnx")
    run, model = make_run(tmp_path / "run")
    images = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32) * 60
    expected = model.eval()(mt.Tensor(images)).numpy()
    file = tmp_path / "m.onnx"
    weights.write(model, tmp_path / "w.safetensors")
    for args in ([str(run)], ["quick_26", "--weights", str(tmp_path / "w.safetensors")]):
        assert onnx.main([*args, str(file), "--prepared"]) == 0
        np.testing.assert_allclose(loaded(file)[1](images), expected, atol=1e-6)
    assert f"{file}  (0.6 MB, opset 17)" in capsys.readouterr().out
    assert onnx.main(["net_18", str(file)]) == 0
    assert "net_18 with initial weights" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--weights only applies to a model"):
        onnx.main([str(run), str(file), "--weights", str(tmp_path / "w.safetensors")])
    with pytest.raises(DiskError):
        onnx.main(["net_18", str(tmp_path / "w.safetensors" / "m.onnx")])


# Files that stand alone: raw pixels in, checked by onnxruntime.


def answers(file, pixels):
    """(properties, outputs of onnxruntime for raw pixels)."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    assert source.name == "pixels"
    if source.type == "tensor(float)":
        # (N, S, S, 3) -> (N, 3, S, S)
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
    return session.get_modelmeta().custom_metadata_map, session.run(None, {source.name: pixels})[0]


@pytest.mark.parametrize("uint8", [False, True])
@pytest.mark.parametrize("recipe", [
    {}, {"crop": 24}, {"crop": 24, "mean_follows_crop": True}, {"pad": 4}, {"pad": 4, "crop": 24},
    {"enlarge": 45}, {"enlarge": 45, "crop": 24}], ids=str)
def test_raw_pixels_are_prepared_as_in_training(tmp_path, recipe, uint8):
    size = recipe.get("crop") or recipe.get("enlarge") or 32
    run, _ = make_run(tmp_path / "run", image_size=size)
    config = json.loads((run / "config.json").read_text())
    config["recipe"] |= {"crop": 0, "pad": 0, **recipe}
    (run / "config.json").write_text(json.dumps(config))
    flags = ["--uint8"] if uint8 else []
    assert onnx.main([str(run), str(tmp_path / "m.onnx"), "--softmax", *flags]) == 0
    classifier = mt.load(run)
    pixels = data.make_shapes(5, classifier.side).images
    properties, got = answers(tmp_path / "m.onnx", pixels)
    np.testing.assert_allclose(got, classifier.probabilities(pixels), atol=2e-5)
    assert json.loads(properties["names"]) == json.loads(properties["classes"]) == list(data.class_names("shapes"))
    digest = hashlib.sha256((run / "checkpoint.safetensors").read_bytes()).hexdigest()
    assert properties["weights_sha256"] == digest and properties["run"] == "run"
    assert (properties["size"], properties["order"], properties["range"]) == ("32", "RGB", "0..255")
    assert properties["layout"] == ("NHWC" if uint8 else "NCHW") and properties["model"] == "quick_26"


def test_the_bundled_model_answers_alike_from_pictures(tmp_path, capsys):
    """From a file of any size to names, with Pillow and onnxruntime alone."""
    file = tmp_path / "m.onnx"
    assert onnx.main(["pretrained", str(file), "--uint8"]) == 0
    assert "5.8 MB" in capsys.readouterr().out
    picture = Image.fromarray(data.make_shapes(1, 90).images[0]).resize((120, 90))
    picture.save(tmp_path / "a.png")
    scaled = picture.resize((43, 32), Image.Resampling.BOX)
    square = np.asarray(scaled.crop((5, 0, 37, 32)))
    properties, logits = answers(file, square[None])
    seen = mt.load()(tmp_path / "a.png")
    assert json.loads(properties["names"])[logits[0].argmax()] == seen.name
    np.testing.assert_allclose(np.exp(logits[0]) / np.exp(logits[0]).sum(), seen.probabilities, atol=1e-5)


def test_torchvisions_weights_take_raw_pixels_too(tmp_path, monkeypatch):
    """Their mean is a colour, and their division by std a factor in the graph."""
    def blank(name, classes=7):
        return AlexNet(AlexNetConfig.torchvision(**NARROW), classes)

    monkeypatch.setattr(architectures, "blank", blank)
    weights.write(blank(""), tmp_path / "w.safetensors")
    assert onnx.main(["alexnet_torchvision", str(tmp_path / "m.onnx"), "-w", str(tmp_path / "w.safetensors")]) == 0
    classifier = mt.load(tmp_path / "w.safetensors", arch="alexnet_torchvision")
    pixels = data.make_shapes(2, classifier.side).images
    _, logits = answers(tmp_path / "m.onnx", pixels)
    inputs = classifier.prepare(pixels)[0].transpose(0, 3, 1, 2)  # (N, h, w, 3) -> (N, 3, h, w)
    np.testing.assert_allclose(logits, classifier.model(mt.Tensor(inputs)).numpy(), atol=1e-5)
    proto, _ = loaded(tmp_path / "m.onnx")
    shapes = {c.name: tuple(c.dims) for c in proto.graph.initializer}
    assert shapes["pixels.mean"] == (3, 1, 1) and [n.op_type for n in proto.graph.node][:3] == ["Slice", "Sub", "Mul"]


def test_flags_of_the_input_that_contradict_each_other(tmp_path):
    for args in (["pretrained", "--prepared"], ["net_18"]):
        with pytest.raises(UsageError, match="--uint8 is for raw pixels"):
            onnx.main([*args, str(tmp_path / "m.onnx"), "--uint8"])
    with pytest.raises(UsageError, match="is a folder; give the name of a file"):
        onnx.main(["net_18", str(tmp_path)])


def test_shared_layers_and_tied_weights_are_one_constant(tmp_path):
    conv, relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()
    local = nn.LocallyConnected2d(3, 3, 8, 3, padding=1)
    net = models.Network(8, None, {}, [], c1=conv, r1=relu, c2=conv, r2=relu, c3=nn.Conv2d(3, 3, 3, padding=1),
                         l1=local, l2=local, flat=nn.Flatten(), fc=nn.Linear(192, 2))
    net.c3.weight = conv.weight
    onnx.export(net, tmp_path / "shared.onnx")
    proto, run = loaded(tmp_path / "shared.onnx")
    names = [c.name for c in proto.graph.initializer]
    assert len(names) == len(set(names)) and {"c1.weight", "c1.bias", "c3.bias", "l1.weight"} <= set(names)
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    with no_grad():
        assert np.abs(run(images) - net(mt.Tensor(images)).data).max() < 1e-4
