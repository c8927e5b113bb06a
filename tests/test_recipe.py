"""Recipes: the named ones against their sources, changes by date, and what training makes of them."""
import json

import numpy as np
import pytest
from prepared_set import write_prepared

from minitorch_alex import models, train
from minitorch_alex.data import Transform
from minitorch_alex.errors import UsageError
from minitorch_alex.models.recipe import (
    RECIPES,
    Change,
    Recipe,
    change_rates,
    named,
    parse_changes,
)
from minitorch_alex.training import checkpoint

pytestmark = pytest.mark.usefixtures("fewer_shapes")


def of(optimizer, parameter):
    return next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))


def rates(recipe, epochs, model=None):
    """{epoch: rates of (conv1 weight, conv1 bias, conv2 weight, conv2 bias)} as a training has them; None: frozen."""
    model = model or models.build("alexnet_cifar", channels=(8, 8, 8, 8, 8), hidden=(8, 8))
    optimizer = models.build_optimizer(model, recipe)
    schedule, found = models.build_schedule(optimizer, recipe), {}
    for epoch in range(max(epochs) + 1):
        change_rates(optimizer, recipe, epoch)
        if epoch in epochs:
            parameters = (p for layer in (model.conv1, model.conv2) for p in (layer.weight, layer.bias))
            found[epoch] = tuple(of(optimizer, p)["lr"] if p.requires_grad else None for p in parameters)
        schedule.step()
    return found


def test_source_2012_is_the_log_of_what_ran():
    """0.01 to 25, 0.001 to 51, 0.0001 to 79, 0.00001 to 91; conv1 at 1e-5 from 67, frozen at 72; the colour noise
    off at 67: CHM layers/layer-params-145.cfg:169-181, "epoch 25" being after 25 (run4.sh:3-8). The biases at 0.02
    throughout is how the file ends (:19); sister files end at 0.002, and no comment speaks of them."""
    recipe = RECIPES["source_2012"]
    found = rates(recipe, {0, 24, 25, 50, 51, 66, 67, 71, 72, 78, 79, 90})
    for epoch, rate in {0: 1e-2, 24: 1e-2, 25: 1e-3, 50: 1e-3, 51: 1e-4, 66: 1e-4}.items():
        assert found[epoch] == pytest.approx((rate, 0.02, rate, 0.02)), epoch
    for epoch in (67, 71):
        assert found[epoch] == pytest.approx((1e-5, 0.02, 1e-4, 0.02))
    for epoch, rate in {72: 1e-4, 78: 1e-4, 79: 1e-5, 90: 1e-5}.items():
        assert found[epoch][:2] == (None, None) and found[epoch][2:] == pytest.approx((rate, 0.02))
    assert recipe.epochs == 91 and [recipe.at(e).color for e in (0, 66, 67, 90)] == ["source", "source", "none", "none"]


@pytest.mark.parametrize("name, facts", (
    ("paper", dict(epochs=90, lr=0.01, weight_decay=0.0005, batch_size=128, momentum=0.9, rule="2012", flip=True,
                   schedule="plateau", gamma=0.1, color="paper", bias_lr=1.0)),
    ("caffe", dict(epochs=90, lr=0.01, weight_decay=0.0005, batch_size=256, momentum=0.9, rule="2012", flip=True,
                   milestones=(20, 40, 60, 80), gamma=0.1, color="none", bias_lr=2.0)),
    ("torchvision", dict(epochs=90, lr=0.01, weight_decay=0.0001, batch_size=256, momentum=0.9, rule="torch", flip=True,
                         milestones=(30, 60), gamma=0.1, color="none", bias_lr=1.0, bias_decay=True))))
def test_the_other_recipes_are_those_of_their_sources(name, facts):
    recipe = RECIPES[name]
    assert {field: getattr(recipe, field) for field in facts} == facts
    assert recipe.published and recipe.source


def test_caffes_iterations_are_its_epochs():
    assert [round(n * 256 / 1_281_167) for n in (100_000, 450_000)] == [RECIPES["caffe"].milestones[0],
                                                                         RECIPES["caffe"].epochs]


def test_a_named_recipe_keeps_the_models_crops():
    own = models.build("alexnet_cifar").recipe
    assert (named("paper", own).crop, named("paper", own).pad) == (0, 4)
    assert named("caffe", Recipe(1, 0.1, crop=227)).crop == 227
    with pytest.raises(UsageError, match="unknown recipe 'vgg'; there are: paper, source_2012, half_2012, "
                                         "tower_2014, caffe, torchvision"):
        named("vgg", own)


def with_changes(text):
    return Recipe(9, 0.1, changes=parse_changes(text))


def test_changes_are_sorted_and_survive_json():
    recipe = with_changes(" 7 conv1.lr=0, 3 color=source,5 flip=True, 7 features.0.lr=1e-3")
    assert recipe.changes == (Change(3, "", "color", "source"), Change(5, "", "flip", True),
                              Change(7, "conv1", "lr", 0.0), Change(7, "features.0", "lr", 0.001))
    assert [(recipe.at(e).color, recipe.at(e).flip) for e in (2, 3, 5)] == [
        ("none", False), ("source", False), ("source", True)]
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_a_config_holds_changes_as_the_text_that_it_always_held():
    text = "67 color=none, 67 conv1.lr=1e-05, 72 conv1.lr=0"
    assert RECIPES["source_2012"].to_json()["changes"] == text and Recipe(9, 0.1).to_json()["changes"] == ""
    assert Recipe.from_json({"epochs": 9, "lr": 0.1, "milestones": [3, 5], "changes": text}) == Recipe(
        9, 0.1, milestones=(3, 5), changes=RECIPES["source_2012"].changes)
    assert models.changed(Recipe(9, 0.1), changes=text).changes == RECIPES["source_2012"].changes


@pytest.mark.parametrize("rate", (0.0, 1e-05, 0.1 + 0.2, 1 / 3, 12345678.5))
def test_the_text_of_a_change_keeps_every_digit(rate):
    change = Change(4, "features.0", "lr", rate)
    assert parse_changes(str(change)) == (change,)


@pytest.mark.parametrize("text, problem", (
    ("67", "no setting NAME=VALUE follows"), ("67 color", "no setting NAME=VALUE follows"),
    ("67 colour=none", "the name is 'colour'"), ("x color=none", "the epoch is 'x'"),
    ("-1 color=none", "the epoch is '-1'"), ("3 conv1.lr=-1", "the rate is '-1'"),
    ("3 conv1.lr=nan", "the rate is 'nan'"), ("3 conv1.lr=fast", "the rate is 'fast'"),
    ("3 lr=0.1", "expected LAYER.lr=RATE"), ("3 conv1.color=none", "a layer has no 'color'"),
    ("3 flip=yes", "flip is 'yes', expected True or False"), ("3 color=blue", "color must be one of"),
    (3, "got 3, expected a text")))
def test_an_entry_that_is_not_a_change_is_refused_by_its_wrong_part(text, problem):
    with pytest.raises(UsageError, match=problem):
        with_changes(text)


def test_a_layer_that_is_not_there_is_refused():
    model = models.build("quick_26")
    with pytest.raises(UsageError, match="no layer conv9; it has conv1, conv2, conv3, fc64, fc10"):
        models.build_optimizer(model, with_changes("1 conv9.lr=0"))


def test_biases_decay_where_the_recipe_says_so():
    model = models.build("alexnet_cifar", channels=(8, 8, 8, 8, 8), hidden=(8, 8))
    for recipe, decay in ((RECIPES["caffe"], 0), (RECIPES["torchvision"], 0.0001)):
        optimizer = models.build_optimizer(model, recipe)
        assert of(optimizer, model.conv1.bias)["weight_decay"] == decay
        assert of(optimizer, model.conv1.weight)["weight_decay"] == recipe.weight_decay


@pytest.fixture(scope="module")
def dated_run(tmp_path_factory):
    """Four epochs on a prepared set: conv1 slower from epoch 1, frozen from 2, colour noise off from 2."""
    folder = tmp_path_factory.mktemp("dated")
    write_prepared(folder / "set", size=36, n_train=60)
    flags = ["-a", "quick_26", "--data", "imagenet", "--data-dir", str(folder / "set"), "--set", "crop=32", "-b", "10",
             "--set", "color=source", "--set", "changes=1 conv1.lr=0.00001, 2 conv1.lr=0, 2 color=none", "--lr",
             "0.001", "--threads", "1", "--runs-dir", str(folder), "-p", "1", "--checkpoint-freq", "100"]
    assert train.main([*flags, "--name", "whole", "--epochs", "4"]) == 0
    return folder, flags


def state(folder, name):
    return checkpoint.load(folder / name / "checkpoint.safetensors")[0]


def test_dated_changes_happen_and_a_run_cut_by_them_goes_on_the_same(dated_run, monkeypatch):
    """Stopped after each epoch and resumed, it sees the same pixels and ends with the same weights to the bit; conv1
    stands still from its freezing on, the others do not."""
    folder, flags = dated_run
    colours, call = [], Transform.draw

    def draw(self, *args):
        colours.append(self.pca is not None and self.random)
        return call(self, *args)

    monkeypatch.setattr(Transform, "draw", draw)
    seen = []
    for epochs in range(1, 5):
        how = [*flags, "--name", "cut"] if epochs == 1 else ["--resume", str(folder / "cut")]
        colours.clear()
        assert train.main([*how, "--epochs", str(epochs)]) == 0
        seen.append((any(colours), state(folder, "cut")))
    assert [noise for noise, _ in seen] == [True, True, False, False]
    whole, cut = state(folder, "whole"), seen[-1][1]
    assert all(whole[name].tobytes() == cut[name].tobytes() for name in whole)

    def moved(name):
        return [float(np.abs(b[name] - a[name]).max()) for (_, a), (_, b) in zip(seen, seen[1:], strict=False)]

    slow, *frozen = moved("model.conv1.weight")
    assert slow > 0 and frozen == [0, 0] and min(moved("model.conv2.weight")) > 0
    log = [json.loads(line) for line in (folder / "whole" / "log.jsonl").read_text().splitlines()]
    assert {row["lr"] for row in log if row["kind"] == "epoch"} == {0.001}  # of the layers that nobody froze


def test_dry_run_prints_result_and_source_and_help_lists_the_recipes(capsys):
    args = ["-a", "alexnet_cifar", "--data", "shapes", "--recipe", "source_2012", "--dry-run"]
    assert train.main(args) == 0
    out = capsys.readouterr().out
    for text in ("91 epochs", "[25, 51, 79]", "throughout", "from epoch 68 on: color none",
                 "from epoch 73 on: conv1.lr 0 (frozen)", RECIPES["source_2012"].published,
                 RECIPES["source_2012"].source):
        assert text in out
    assert train.main([*args, "--epochs", "3"]) == 0 and "3 epochs" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} ({recipe.published})" in text for name, recipe in RECIPES.items())
