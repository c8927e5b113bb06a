"""The networks: exact counts, shapes and settings, from the paper and the released source."""
import math

import numpy as np
import pytest

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import models, nn, optim
from minitorch_alex.errors import UsageError
from minitorch_alex.models import AlexNet, AlexNetConfig, compare
from minitorch_alex.profile import outputs


def shapes(model, size):
    x = mt.Tensor(np.zeros((1, 3, size, size), np.float32))
    return {name: y.shape[1:] for name, _, y in outputs(model, x)}


def parameters(model):
    return sum(p.size for p in model.parameters())


@pytest.mark.parametrize(("name", "count"), [("quick_26", 145_578), ("net_18", 89_578), ("net_19", 89_578),
                                             ("conv_local_13", 1_116_490), ("conv_local_11", 2_112_970)])
def test_parameter_counts_of_the_2012_cifar_nets(name, count):
    assert parameters(models.build(name)) == count


def test_at_24_the_small_nets_have_their_other_counts():
    assert parameters(models.build("quick_26", image_size=24)) == 116_906
    assert parameters(models.build("net_18", image_size=24)) == 85_098


def test_from_the_scaled_start_values_keep_their_size():
    """The outputs of quick_26's layers, for noise as large as CIFAR-10's pixels; by its file they nearly vanish."""
    x = mt.Tensor(np.random.default_rng(0).normal(0, 64, (16, 3, 32, 32)).astype(np.float32))
    for start, smallest, largest in (("file", 0, 0.1), ("scaled", 0.2, 2)):
        mt.manual_seed(0)
        model = models.build("quick_26", activation="tanh", start=start)
        assert parameters(model) == 145_578
        sizes = []
        y = x
        for name, layer in model.named_children():
            y = layer(y)
            if name.startswith(("conv", "fc")):
                sizes.append(float(y.data.std()))
        assert all(smallest < size < largest for size in sizes), sizes
    with pytest.raises(UsageError, match="start is '2012', expected 'file' or 'scaled'"):
        models.build("quick_26", start="2012")


def test_net_18_without_norms_differs_in_nothing_else():
    whole, plain = (models.build("net_18", norms=norms) for norms in (True, False))
    norms = [name for name, layer in whole.named_children() if isinstance(layer, nn.LocalResponseNorm)]
    assert norms == ["rnorm1", "rnorm2"]
    assert [name for name, _ in plain.named_children()] == [
        name for name, _ in whole.named_children() if name not in norms]
    assert (plain.layer_decay, plain.recipe) == (whole.layer_decay, whole.recipe)
    assert plain.layer_decay != models.build("net_19").layer_decay


def test_maps_shrink_by_ceiling_32_16_8_4_and_24_12_6():
    sizes = shapes(models.build("net_18"), 32)
    assert [sizes[f"pool{i}"] for i in (1, 2, 3)] == [(32, 16, 16), (32, 8, 8), (64, 4, 4)]
    sizes = shapes(models.build("conv_local_11"), 24)
    assert (sizes["pool1"], sizes["pool2"], sizes["local3"]) == ((64, 12, 12), (64, 6, 6), (64, 6, 6))


def test_the_papers_alexnet_exactly():
    model = AlexNet(AlexNetConfig.paper())
    counts = [model_layer.weight.size + model_layer.bias.size for model_layer in model.children()
              if hasattr(model_layer, "weight")]
    assert counts == [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
    assert sum(counts) == 60_965_224
    sizes = shapes(model, 224)
    assert [sizes[k][1] for k in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")] == [
        55, 27, 27, 13, 13, 13, 13, 6]
    assert sizes["flatten"] == (9216,) and sizes["fc8"] == (1000,)
    assert model.deviations == []


def test_the_papers_initial_values():
    model = AlexNet(AlexNetConfig.paper(channels=(8, 8, 8, 8, 8), hidden=(64, 64), image_size=67, num_classes=10))
    biases = {name: float(layer.bias.data[0]) for name, layer in model.named_children() if hasattr(layer, "bias")}
    assert biases == {"conv1": 0, "conv2": 1, "conv3": 0, "conv4": 1, "conv5": 1, "fc6": 1, "fc7": 1, "fc8": 0}
    assert abs(model.fc7.weight.data.std() / 0.01 - 1) < 0.05


def test_normalisation_follows_the_printed_formula_and_keeps_to_its_gpu():
    lrn = AlexNet(AlexNetConfig.paper(channels=(8, 8, 8, 8, 8), hidden=(8, 8), image_size=67)).lrn1
    x = np.random.default_rng(0).standard_normal((1, 8, 2, 2)) * 100
    y = lrn(mt.Tensor(x)).data
    for i in range(8):
        gpu = range(0, 4) if i < 4 else range(4, 8)
        window = [j for j in range(i - 2, i + 3) if j in gpu]
        assert np.allclose(y[0, i], x[0, i] / (2 + 1e-4 * (x[0, window] ** 2).sum(axis=0)) ** 0.75)


@pytest.mark.parametrize(("preset", "count"), [
    ("paper", 60_965_224), ("source_2012", 60_965_224), ("half_2012", 59_798_312), ("merged", 62_378_344),
    ("caffe", 60_965_224), ("caffenet", 60_965_224), ("torchvision", 61_100_840)])
def test_parameter_counts_of_the_presets(preset, count):
    model = AlexNet(getattr(AlexNetConfig, preset)().blank())
    assert parameters(model) == count and not any(p.data.any() for p in model.parameters() if p.data.ndim > 1)


def narrow(preset, **changes):
    """A preset with an eighth of its widths, so that it runs in a moment."""
    config = getattr(AlexNetConfig, preset)()
    return AlexNet(getattr(AlexNetConfig, preset)(channels=tuple(c // 8 for c in config.channels), hidden=(32, 32),
                                                  num_classes=10, **changes))


@pytest.mark.parametrize(("preset", "maps"), [("paper", (55, 27, 27, 13, 13, 6)), ("caffe", (55, 27, 27, 13, 13, 6)),
                                              ("torchvision", (55, 27, 27, 13, 13, 6))])
def test_224_by_ceiling_227_by_floor_and_224_padded_give_the_same_maps(preset, maps):
    sizes = shapes(narrow(preset), getattr(AlexNetConfig, preset)().image_size)
    assert tuple(sizes[k][1] for k in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")) == maps


def test_what_ran_in_2012_normalises_before_the_relu_and_has_the_unpublished_layer():
    names = [name for name, _ in narrow("source_2012").named_children()]
    assert names[:10] == ["conv1", "lrn1", "pool1", "relu1", "conv2", "relu2", "lrn2", "rnorm2", "pool2", "conv3"]
    assert [name for name, _ in narrow("paper").named_children()][:8] == [
        "conv1", "relu1", "lrn1", "pool1", "conv2", "relu2", "lrn2", "pool2"]
    assert [name for name, _ in narrow("torchvision").named_children()][-8:] == [
        "flatten", "drop6", "fc6", "relu6", "drop7", "fc7", "relu7", "fc8"]
    rnorm = narrow("source_2012").rnorm2
    assert rnorm.within_map and (rnorm.size, rnorm.alpha, rnorm.k) == (5, 0.001, 1.0)


def test_torchvisions_preset_has_torchvisions_names():
    assert list(narrow("torchvision").state_dict())[::2] == [
        "features.0.weight", "features.3.weight", "features.6.weight", "features.8.weight", "features.10.weight",
        "classifier.1.weight", "classifier.4.weight", "classifier.6.weight"]


def test_compare_shows_what_differs_and_nothing_else(capsys):
    assert compare.main(["caffe", "caffenet"]) == 0
    text = capsys.readouterr().out
    assert "relu pool lrn" in text and "0 0.1 0 0.1 0.1 0.1 0.1 0" in text and "section 5" in text
    assert "channels" not in text and "60,965,224" in text
    assert compare.main(["paper", "merged", "--markdown"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "|  | paper | merged | where it is decided |" and len({row.count("|") for row in table}) == 1
    assert compare.main(["paper", "merged", "--markdown", "--short"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "|  | paper | merged |"
    with pytest.raises(UsageError, match="unknown preset 'vgg'"):
        compare.main(["vgg"])
    with pytest.raises(UsageError, match="add --markdown"):
        compare.main(["paper", "merged", "--short"])


def test_compare_shows_no_value_of_what_a_preset_does_not_use():
    rows = {row[0]: row[1:-1] for row in compare.differing_rows(["caffe", "torchvision", "cifar"])}
    assert rows["lrn_k"] == ["1", "-", "2"] and rows["init_bias"] == ["0 0.1 0 0.1 0.1 0.1 0.1 0", "-", "all 0"]
    assert rows["init_std"] == ["0.01 0.01 0.01 0.01 0.01 0.005 0.005 0.01", "-", "fc8 0.01"]
    assert "lrn_size" not in rows and rows["lrn_alpha_over_size"] == ["True", "-", "False"]


def test_cifar_states_its_deviations():
    model = models.build("alexnet_cifar")
    assert any(text.startswith("kernels: (3, 5, 3, 3, 3) (paper: (11,") for text in model.deviations)
    assert {text.partition(":")[0] for text in model.deviations} == {
        "input_scale", "channels", "kernels", "strides", "paddings", "hidden", "dropout_rule", "init", "init_bias"}


@pytest.mark.parametrize("name", ["alexnet_cifar", *models.SMALL])
def test_an_untrained_net_guesses(name):
    """The loss starts near ln 10, and every parameter receives a gradient."""
    mt.manual_seed(0)
    model = models.build(name)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 3, model.image_size, model.image_size)).astype(np.float32) - 128
    loss = F.cross_entropy(model(mt.Tensor(images)), rng.integers(0, 10, 8))
    loss.backward()
    assert abs(loss.item() - math.log(10)) < {"quick_26": 0.5, "alexnet_cifar": 0.3}.get(name, 0.05)
    assert all(p.grad is not None and np.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", models.SMALL)
def test_decay_and_rates_of_the_2012_files(name):
    model = models.build(name)
    optimizer = models.build_optimizer(model, model.recipe)
    of = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    expected = {
        "quick_26": {"conv1": 0.004, "conv2": 0.004, "conv3": 0.004, "fc64": 0.03, "fc10": 0.03},
        "net_18": {"conv1": 0.004, "conv2": 0.004, "conv3": 0.004, "fc10": 1.0},
        "net_19": {"conv1": 0.004, "conv2": 0.004, "conv3": 0.004, "fc10": 3.0},  # layer-params-19pct.cfg:9-30
        "conv_local_13": {"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc10": 0.004},
        "conv_local_11": {"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc10": 0.01}}[name]
    for layer, decay in expected.items():
        weight, bias = getattr(model, layer).weight, getattr(model, layer).bias
        assert (of[id(weight)]["lr"], of[id(weight)]["weight_decay"]) == (0.001, decay)
        assert (of[id(bias)]["lr"], of[id(bias)]["weight_decay"]) == (0.002, 0)
        assert (bias.data == 0).all()
    stds = {"conv1": 0.0001, "conv2": 0.01, "conv3": 0.01, "local3": 0.04, "local4": 0.04, "fc64": 0.1,
            "fc10": 0.1 if name == "quick_26" else 0.01}
    for layer in expected:
        assert abs(getattr(model, layer).weight.data.std() / stds[layer] - 1) < 0.1, layer


@pytest.mark.parametrize("name, epochs, drops, joins", (("conv_local_13", 160, (140, 150), 100),
                                                          ("conv_local_11", 520, (500, 510), 350)))
def test_the_locally_connected_nets_follow_their_own_procedures(name, epochs, drops, joins):
    """160 epochs: ulrichstern/cuda-convnet, branch wiki, Methodology.md:15-51, whose worked example is conv_local_13.
    520: dnouri/cuda-convnet, example-layers/layer-params-conv-local-11pct.cfg:3-8; only epsW drops (:7-8)."""
    model = models.build(name)
    assert (model.recipe.epochs, model.recipe.milestones) == (epochs, drops)
    assert any(f"after some {joins} epochs" in deviation for deviation in model.deviations)
    optimizer = models.build_optimizer(model, model.recipe)
    schedule = models.build_schedule(optimizer, model.recipe)
    for _ in range(epochs - 1):
        schedule.step()
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert np.isclose(groups[id(model.local3.weight)]["lr"], 1e-5)
    assert groups[id(model.local3.bias)]["lr"] == 0.002, "layer-params-conv-local-12pct.cfg:5-6: epsB stays"


@pytest.mark.parametrize("name", models.SMALL)
def test_the_non_linearity_of_the_small_nets_can_be_chosen(name):
    kinds = {type(layer) for key, layer in models.build(name, activation="tanh").named_children()
             if key.startswith("relu")}
    assert kinds == {nn.Tanh}
    with pytest.raises(UsageError, match="activation is 'gelu', expected 'relu' or 'tanh'"):
        models.build(name, activation="gelu")


def test_schedules_by_name():
    model = models.build("quick_26")
    optimizer = models.build_optimizer(model, model.recipe)
    rates = []
    schedule = models.build_schedule(optimizer, models.changed(model.recipe, milestones=(2,), warmup_epochs=1))
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert np.allclose(rates, [0.0001, 0.001, 0.0001, 0.0001])


def test_a_recipe_of_large_batches():
    """LARS, a rate that falls by a power, a warm-up by step: each by its word."""
    model = models.build("quick_26")
    recipe = models.changed(model.recipe, rule="lars", lr=2.0, trust=0.01, schedule="polynomial", epochs=10,
                            warmup_steps=4, warmup_start=0.5)
    optimizer = models.build_optimizer(model, recipe)
    assert isinstance(optimizer, optim.LARS) and {group["trust"] for group in optimizer.param_groups} == {0.01}
    schedule = models.build_schedule(optimizer, recipe)
    assert optimizer.param_groups[0]["lr"] == 1.0
    schedule.before_step(4)
    schedule.step()
    assert np.isclose(optimizer.param_groups[0]["lr"], 2 * 0.9 ** 2)
    with pytest.raises(UsageError, match="a warm-up goes by epoch or by step"):
        models.changed(recipe, warmup_epochs=1)
    with pytest.raises(UsageError, match="rule must be one of 2012, torch, lars, got 'lamb'"):
        models.changed(recipe, rule="lamb")


def test_unknown_names_and_values_of_the_wrong_kind_are_refused():
    with pytest.raises(UsageError, match=r"unknown model 'alexnt' .did you mean alexnet.*; there are: alexnet_cifar"):
        models.build("alexnt")
    with pytest.raises(UsageError, match="no field 'lrn_sise'"):
        models.build("alexnet_cifar", lrn_sise=3)
    with pytest.raises(UsageError, match="lr is 'high', expected a number"):
        models.changed(models.build("quick_26").recipe, lr="high")
    with pytest.raises(UsageError, match="no field lrn_size; its fields are image_size, activation and start"):
        models.build("quick_26", lrn_size=3)
    with pytest.raises(UsageError, match="activation is 3, expected 'relu' or 'tanh'"):
        models.build("quick_26", activation=3)
    with pytest.raises(UsageError, match="kernels has 2 entries"):
        AlexNetConfig.paper(kernels=(3, 3))


def test_default_classes_are_those_of_the_data_that_a_net_was_made_for():
    tens = {name for name in models.MODELS if models.default_classes(name) == 10}
    assert tens == {"alexnet_cifar", *models.SMALL}
    assert {models.default_classes(name) for name in set(models.MODELS) - tens} == {1000}
    with pytest.raises(UsageError, match="unknown model 'vgg'"):
        models.default_classes("vgg")
