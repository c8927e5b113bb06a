"""Checks of what makes trained weights one's own: which file it is, what is taken and kept, which epoch is the best,
what its outputs are called.

Arrays of a few numbers; no training.
"""
import csv
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import safetensors.numpy

import minitorch_alex as mt
from minitorch_alex import members, models
from minitorch_alex.classifier import Classifier, of_weights
from minitorch_alex.data import Transform, synsets
from minitorch_alex.errors import RunError, UsageError
from minitorch_alex.models import AlexNetConfig
from minitorch_alex.models.recipe import change_rates, hold_frozen_norms
from minitorch_alex.training import architectures, class_list, finetune, logs
from minitorch_alex.training.best import Best, of_rows
from minitorch_alex.training.runs import Run
from minitorch_alex.training.words import change_lines

NARROW = {"channels": (4, 4, 4, 4, 4), "hidden": (5, 6)}


def raises(error, function, *arguments):
    """Whether a call ends in that error."""
    try:
        function(*arguments)
    except error:
        return True
    return False


def narrow_weights(classes=("a", "b", "c"), **changes):
    """(the weights of a narrow AlexNet, as one opens them; the network)."""
    mt.manual_seed(1)
    net = models.build("alexnet_cifar", len(classes), **{**NARROW, **changes})
    mean = np.zeros(3, np.float32)
    source = finetune.Weights("some", "alexnet_cifar", {}, net.recipe, {}, mean, tuple(classes), net.state_dict())
    return source, net


def check_what_is_taken():
    """All that has a name and shape of the network's; the last layer only where its outputs mean the same classes."""
    source, old = narrow_weights()
    for classes, is_new in ((("a", "b", "c"), False), (("a", "c", "b"), True), (("x", "y", "z"), True)):
        mt.manual_seed(2)
        new = models.build("alexnet_cifar", 3, **NARROW)
        drawn = new.state_dict()
        taken = finetune.take(new, source, classes)
        assert taken.new == (("fc8",) if is_new else ()) and taken.total == 16 == taken.taken + 2 * is_new
        for name, array in new.state_dict().items():
            expected = drawn if is_new and name.startswith("fc8") else old.state_dict()
            assert np.array_equal(array, expected[name]), name
    wider = models.build("alexnet_cifar", 3, **{**NARROW, "hidden": (5, 7)})
    assert finetune.take(wider, source, ("a", "b", "c")).new == ("fc7", "fc8")
    assert raises(RunError, finetune.take, models.build("quick_26", 3), source, ())


def check_gentle_recipe():
    recipe = replace(models.build("quick_26").recipe, lr=0.02, batch_size=128, schedule="steps", milestones=(30, 60))
    gentle = finetune.gentle(recipe)
    assert np.isclose(gentle.lr, 0.002) and gentle.batch_size == 8 and gentle.schedule == "cosine"
    assert gentle.milestones == () and gentle.momentum == recipe.momentum
    assert finetune.gentle(replace(recipe, batch_size=4)).batch_size == 4


def check_frozen_layers():
    """From the first step on, and no others; what was changed before stays."""
    _, net = narrow_weights()
    convolutions = ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert finetune.frozen_layers(net, "conv") == convolutions
    assert finetune.frozen_layers(net, "fc7, conv1") == ["conv1", "fc7"]
    for text in ("onv1", "", "conv,fc"):
        assert raises(UsageError, finetune.frozen_layers, net, text), text
    torchvision = models.AlexNet(AlexNetConfig.torchvision(**NARROW))
    assert finetune.frozen_layers(torchvision, "conv") == [f"features.{k}" for k in (0, 3, 6, 8, 10)]
    recipe = finetune.freeze(finetune.freeze(net.recipe, ["fc6"]), convolutions[:2])
    assert change_lines(recipe.changes) == ["frozen: conv1, conv2, fc6; no gradient is computed for them"]


def check_frozen_norms():
    """A frozen batch norm keeps its statistics; one without weights of its own follows the layer before it."""
    three = AlexNetConfig.cifar(after=("relu pool bn", "relu pool bn", "relu", "relu", "relu pool bn"))
    bare = AlexNetConfig.bn(image_size=67)
    for net, text, held in ((three, "conv", 3), (three, "conv1,bn1,conv2", 1), (bare, "conv1,conv2", 2)):
        net = models.AlexNet(replace(net, channels=(4, 8, 4, 4, 4), hidden=(5, 6)))
        recipe = finetune.freeze(net.recipe, finetune.frozen_layers(net, text))
        change_rates(models.build_optimizer(net, recipe), recipe, 0)
        hold_frozen_norms(net.train())
        rng = np.random.default_rng(0)
        net(mt.Tensor(rng.normal(size=(2, 3, net.image_size, net.image_size)).astype(np.float32)))
        moved = [bool(buffer.data.any()) for name, buffer in net.named_buffers() if "running_mean" in name]
        assert moved == [False] * held + [True] * (len(moved) - held), text
        for parameter in net.parameters():
            parameter.requires_grad = True  # as a later epoch may have it
        hold_frozen_norms(net)
        assert all(layer.training for layer in net), text


def check_pixels_of_published_weights():
    """Mean and first layer of torchvision's network give (pixels / 255 - mean) / std; others get ImageNet's mean."""
    mean, _ = finetune.mean_color("alexnet_torchvision")
    net = models.AlexNet(AlexNetConfig.torchvision(**NARROW))
    pixels = np.float32([10, 128, 250])
    got = net[0](mt.Tensor((pixels - mean).reshape(1, 3, 1, 1))).data.reshape(-1)
    assert np.allclose(got, (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], atol=1e-5)
    assert finetune.mean_color("alexnet_caffe")[0].tolist() == [123, 117, 104]


def check_best_epoch():
    """The least error, among equals the least loss, and then the first."""
    rows = [{"kind": "epoch", "epoch": k + 1, "step": 10 * k + 10, "val_error": error, "val_loss": loss}
            for k, (error, loss) in enumerate(((50, 1.0), (40, 2.0), (40, 1.5), (40, 1.5), (45, 0.5), (30, 3.0)))]
    rows.insert(3, {"kind": "interval", "epoch": 3.5, "step": 35, "loss": 0.1})
    assert [of_rows(rows, step).epoch for step in (9, 10, 20, 30, 40, 59, 60)] == [0, 1, 2, 3, 3, 3, 6]
    assert Best(2, 40.0, 2.0).after({"epoch": 3}) == Best(2, 40.0, 2.0)


def check_early_stop():
    best = Best(4, 40.0, 2.0)
    assert [best.is_stale(epoch, 3) for epoch in (4, 6, 7, 8)] == [False, False, True, True]
    assert not best.is_stale(99, 0) and not Best().is_stale(99, 3)


# Among three networks, because it builds each to compare it.
@mock.patch.object(architectures, "MODELS", ("quick_26", "net_18", "net_19"))
def check_networks_are_recognised():
    """By names and shapes of all arrays, whatever the number of classes."""
    nets = {name: models.build(name, 7) for name in ("quick_26", "net_18")}
    states = {name: net.state_dict() for name, net in nets.items()}
    assert architectures.recognise(states["quick_26"], "w") == "quick_26"
    assert raises(UsageError, architectures.recognise, states["net_18"], "w")
    less = {name: array for name, array in states["quick_26"].items() if name != "conv2.bias"}
    wider = {**states["quick_26"], "fc10.weight": np.zeros((7, 65), np.float32)}
    uneven = {**states["quick_26"], "fc10.bias": np.zeros(6, np.float32)}
    assert all(raises(RunError, architectures.recognise, state, "w") for state in (less, wider, uneven))
    assert architectures.class_count(nets["quick_26"], states["quick_26"]) == 7
    assert architectures.class_count(nets["quick_26"], uneven) is None
    assert raises(RunError, architectures.check_model, "net_18", states["quick_26"], "w")
    architectures.check_model("net_19", states["net_18"], "w")


def check_predictions():
    """Names by probability, the first of equal ones first; the mean over the views; one for each picture of a batch."""
    mt.manual_seed(3)
    net = models.build("quick_26", 4)
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3)).astype(np.uint8)
    plain = Transform(np.zeros((40, 40, 3), np.float32), crop=32, random=False)
    model = Classifier(net.eval(), tuple("abcd"), 40, plain, "nine", "quick_26", "", Path("w"))
    views = model.prepare(images)
    expected = np.mean([softmax(net(mt.Tensor(view.transpose(0, 3, 1, 2))).data) for view in views], axis=0)
    got = list(model.stream(images, batch_size=2))
    assert np.allclose([seen.probabilities for seen in got], expected, atol=1e-6)
    seen = type(got[0])(np.array([0.2, 0.3, 0.2, 0.3]), "abcd")
    assert [guess.name for guess in seen.top(3)] == ["b", "d", "a"] and seen.name == "b" and seen.probability == 0.3
    assert raises(UsageError, model.named, "abc") and model.named("wxyz").classes == tuple("wxyz")


def softmax(logits):
    """(N, K) -> (N, K)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def check_names_of_outputs():
    """ImageNet's for a thousand; lists of numbers and of names are the same classes in the same order only."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w.safetensors"
        safetensors.numpy.save_file(models.build("quick_26", 6).state_dict(), file)
        assert of_weights(file).classes == tuple(f"class {k}" for k in range(6))
    assert class_list.of_outputs(1000)[0] == "tench" and class_list.of_outputs(999)[0] == "class 0"
    assert class_list.are_same(("n01440764", "n01443537"), ("tench", "goldfish"))
    assert not class_list.are_same(("n01440764", "n01443537"), ("goldfish", "tench"))
    assert class_list.are_same(("café",), ("cafe\u0301",))
    assert synsets.short_names([("n02012849", "crane"), ("n03126707", "crane"), ("a, b", "a, b"), ("n1", "x, y")]) == (
        "crane (n02012849)", "crane (n03126707)", "a, b", "x")


def check_folders_find_their_outputs():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w.safetensors"
        safetensors.numpy.save_file(models.build("quick_26", 3).state_dict(), file)
        plain = of_weights(file)
    named = plain.named(["n00000001 Cat", "n00000003 cat, tom", "n00000002 dog"])
    outputs = {folder: members.match((folder,), (folder,), named, Path("d"))[0][0]
               for folder in ("n00000002", "cat", "Cat", "DOG", "n00000003 cat, tom")}
    assert outputs == {"n00000002": 2, "cat": 1, "Cat": 0, "DOG": 2, "n00000003 cat, tom": 1}
    found, names = members.match(("x", "y", "z"), ("X", "Y", "Z"), plain, Path("d"))
    assert found.tolist() == [0, 1, 2] and names == ("X", "Y", "Z")


def check_table_of_the_log():
    """One row each, also when it is opened again; an interval's share of an epoch as it is."""
    rows = [{"kind": "interval", "step": 1, "epoch": 0.5, "loss": 2.0}, {"kind": "epoch", "step": 2, "val_error": 30.0}]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder)
        for session in (rows[:1], rows):
            log = logs.TableLog(run, session[:-1])
            log.write({**session[-1], "ranks": 2})
        with open(run.table, newline="") as file:
            table = list(csv.DictReader(file))
    assert [(row["kind"], row["loss"], row["val_error"]) for row in table] == [
        ("interval", "2.0", ""), ("epoch", "", "30.0")]


CHECKS = (check_what_is_taken, check_gentle_recipe, check_frozen_layers, check_frozen_norms,
          check_pixels_of_published_weights, check_best_epoch, check_early_stop, check_networks_are_recognised,
          check_predictions, check_names_of_outputs, check_folders_find_their_outputs, check_table_of_the_log)
