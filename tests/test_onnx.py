"""What ONNX's own reference implementation computes from an exported file is what this package computes."""
import sys

import numpy as np
import pytest
from small_run import make_run

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import models, nn, onnx
from minitorch_alex.autograd import no_grad
from minitorch_alex.errors import DiskError, UsageError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import weights


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
    nn.Conv2d(3, 6, 2, stride=4, groups=3, bias=False), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
    nn.MaxPool2d((2, 3), (3, 2), dilation=2), nn.MaxPool2d(2), nn.AvgPool2d(3, 2, padding=1),
    nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    nn.AvgPool2d((3, 2), (4, 3), padding=(1, 1), ceil_mode=True, count_include_pad=False),
    nn.AvgPool2d(2, 3, padding=1, ceil_mode=True),
    nn.LocalResponseNorm(3, alpha=0.1, beta=0.6, k=2.0), nn.LocalResponseNorm(5, alpha=0.1, groups=3),
    nn.LocalResponseNorm(4, alpha=0.1, within_map=True), nn.LocalResponseNorm(5, alpha=0.1, within_map=True),
    nn.LocallyConnected2d(3, 2, 10, (3, 2), stride=(2, 3), padding=(1, 0)),
    nn.LocallyConnected2d(3, 2, 10, 4, bias=False), nn.Tanh(), nn.Dropout(0.3, "2012"), nn.Dropout(0.3)], ids=repr)
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

    for layer, text in ((nn.LocalResponseNorm(4), "size 4, but for even sizes .*; use an odd size"),
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
        assert onnx.main([*args, str(file)]) == 0
        np.testing.assert_allclose(loaded(file)[1](images), expected, atol=1e-6)
    assert f"{file}  (0.6 MB, opset 17)" in capsys.readouterr().out
    assert onnx.main(["net_18", str(file)]) == 0
    assert "net_18 with initial weights" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--weights only applies to a model"):
        onnx.main([str(run), str(file), "--weights", str(tmp_path / "w.safetensors")])
    with pytest.raises(DiskError):
        onnx.main(["net_18", str(tmp_path / "w.safetensors" / "m.onnx")])


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
