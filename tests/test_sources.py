"""What really ran: values of presets and recipes against the lines of the files that decide them.

CHM is computerhistory/AlexNet-Source-Code at 2f8b81f, cc1 dnouri/cuda-convnet at e4ac0c1, cc2
akrizhevsky/cuda-convnet2 at 3238bf0, wiki1 the branch wiki of ulrichstern/cuda-convnet, Caffe
BVLC/caffe at 9b89154, tv pytorch/vision, nv borisgin/nvcaffe at 8896d33.
"""
import json
import re
from dataclasses import fields

import numpy as np
import pytest
from small_run import make_run

import minitorch_alex as mt
from minitorch_alex import evaluate, models, nn
from minitorch_alex.data import Loader, Transform, fit_pca, load_shapes
from minitorch_alex.data.transforms import DIVISORS, mix_images
from minitorch_alex.errors import ShapeError, UsageError
from minitorch_alex.models import AlexNet, AlexNetConfig, compare
from minitorch_alex.models.alexnet import PRESETS
from minitorch_alex.models.recipe import RECIPES, Recipe, build_optimizer, build_schedule, change_rates
from minitorch_alex.models.sources import REPOSITORIES, SOURCES, link
from minitorch_alex.training import runs

# (filters, channels that each sees, side of a filter) as the files have them, one entry per [layer] of the file; a
# fully connected layer is (outputs, inputs, 1). A filter has a bias.
CFG = {
    # CHM layers/layers-145.cfg:9-33 conv1a, b; 65-93 conv2; 135-161 conv3; 163-189 conv4; 192-218 conv5; 238-299
    "source_2012": [(48, 3, 11)] * 2 + [(128, 48, 5)] * 2 + [(192, 128 + 128, 3)] * 2 + [(192, 192, 3)] * 2
    + [(128, 192, 3)] * 2 + [(2048, 2 * 128 * 36, 1)] * 2 + [(2048, 2048 * 2, 1)] * 2 + [(1000, 2048 * 2, 1)],
    # CHM layers/layers-145-half.cfg:9-20, 37-50, 72-84, 86-98, 100-112, 123-156
    "half_2012": [(48, 3, 11), (128, 48, 5), (192, 128, 3), (192, 192, 3), (256, 192, 3), (4096, 256 * 36, 1),
                  (4096, 4096, 1), (1000, 4096, 1)],
    # Caffe models/bvlc_alexnet/train_val.prototxt: num_output, kernel_size, group; fc6 sees 256 maps of 6 x 6
    "caffe": [(96, 3, 11), (256, 96 // 2, 5), (384, 256, 3), (384, 384 // 2, 3), (256, 384 // 2, 3),
              (4096, 256 * 36, 1), (4096, 4096, 1), (1000, 4096, 1)],
    # cc2 layers/layers-imagenet-1gpu.cfg:9-20, 37-49, 65-76, 78-90, 92-102, 113-145
    "tower_2014": [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3), (4096, 256 * 36, 1),
                   (4096, 4096, 1), (1000, 4096, 1)],
}
# CHM layers/layers-146-2012-2011.cfg:258-286: conv6a and b see 128 + 128 maps
CFG["conv6_2012"] = CFG["source_2012"][:10] + [(128, 128 + 128, 3)] * 2 + CFG["source_2012"][10:]
CFG["paper"] = CFG["source_2012"]
CFG["merged"] = [(96, 3, 11), (256, 96, 5), (384, 256, 3), (384, 384, 3), (256, 384, 3), *CFG["caffe"][5:]]
CFG["caffenet"] = CFG["caffe"]      # models/bvlc_reference_caffenet/train_val.prototxt differs in order and biases
CFG["torchvision"] = CFG["tower_2014"]  # tv torchvision/models/alexnet.py:18-40
CFG["bn"] = CFG["caffe"]  # nv models/alexnet_bn/train_val2.prototxt; its norms have no parameters (scale_bias: false)
CFG["cifar"] = [(48, 3, 3), (128, 24, 5), (192, 128, 3), (192, 96, 3), (128, 96, 3), (1024, 128 * 16, 1),
                (1024, 1024, 1), (10, 1024, 1)]  # our own
SMALL_CFG = {
    # cc1 example-layers/layers-80sec.cfg:11-21, 34-45, 57-68, 80-91
    "quick_26": [(32, 3, 5), (32, 32, 5), (64, 32, 5), (64, 64 * 16, 1), (10, 64, 1)],
    "net_18": [(32, 3, 5), (32, 32, 5), (64, 32, 5), (10, 64 * 16, 1)],  # layers-18pct.cfg:11-21, 40-51, 69-80, 92-96
    "net_19": [(32, 3, 5), (32, 32, 5), (64, 32, 5), (10, 64 * 16, 1)],  # layers-19pct.cfg:11-21, 34-45, 57-68, 80-84
}


def parameters(model):
    return sum(p.size for p in model.parameters())


def counted(layers):
    return sum(filters * (channels * side ** 2 + 1) for filters, channels, side in layers)


@pytest.mark.parametrize("preset", PRESETS)
def test_parameters_are_those_of_the_numbers_in_the_files(preset):
    assert parameters(AlexNet(getattr(AlexNetConfig, preset)().blank())) == counted(CFG[preset])


@pytest.mark.parametrize("name", models.SMALL)
def test_parameters_of_the_small_nets_are_those_of_their_files(name):
    if name in SMALL_CFG:
        expected = counted(SMALL_CFG[name])
    else:  # cc1 layers-conv-local-1{3,1}pct.cfg: local filters have weights and a bias of their own at 36 places
        local3 = {"conv_local_13": 32, "conv_local_11": 64}[name]
        expected = counted([(64, 3, 5), (64, 64, 5), (10, 32 * 36, 1)]) + 36 * counted(
            [(local3, 64, 3), (32, local3, 3)])
    assert parameters(models.build(name)) == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_every_field_of_every_preset_names_where_it_was_read(preset):
    places = SOURCES[preset]
    assert list(places) and set(places) == {f.name for f in fields(AlexNetConfig)}
    if "@" not in REPOSITORIES[preset]:
        return
    for name, place in places.items():
        assert re.search(r":\d", place) or place.startswith(("ours", "documentation")), (name, place)
    channels = link(REPOSITORIES[preset], places["channels"])
    assert re.fullmatch(r"https://github.com/[\w-]+/[\w-]+/blob/[0-9a-f]{40}/\S+#L\d+(-L\d+)?", channels)


def test_compare_prints_the_sources_of_a_preset(capsys):
    assert compare.main(["--sources", "source_2012", "caffe"]) == 0
    text = capsys.readouterr().out
    assert "source_2012: computerhistory/AlexNet-Source-Code@2f8b81f76470bf873c865754ad8f4a5e0dbbeb7b" in text
    assert re.search(r"lrn_alpha_over_size +True +layer.py:1183\n", text)
    assert re.search(r"conv_floor +True +src/caffe/layers/conv_layer.cpp:18-19\n", text)
    with pytest.raises(UsageError, match="remove --markdown"):
        compare.main(["--sources", "--markdown"])
    with pytest.raises(ValueError, match="names no line"):
        link("a/b@c", "layer.py")


def test_every_preset_has_a_docstring_that_names_its_file():
    for preset, file in {"source_2012": "layers/layers-145.cfg", "half_2012": "layers/layers-145-half.cfg",
                         "conv6_2012": "layers/layers-146-2012-2011.cfg", "caffe": "models/bvlc_alexnet",
                         "caffenet": "models/bvlc_reference_caffenet", "tower_2014": "layers/layers-imagenet-1gpu.cfg",
                         "torchvision": "torchvision/models/alexnet.py",
                         "bn": "models/alexnet_bn/train_val2.prototxt"}.items():
        assert file in getattr(AlexNetConfig, preset).__doc__
    for name in models.SMALL:
        assert re.search(r"layers-[\w-]+\.cfg", models.SMALL[name].__doc__)


# Networks


def test_torchvisions_inputs_are_divided_by_255_std():
    """tv documentation of torchvision.models.alexnet; references/classification/presets.py:11-12, 36, 54-55, 65."""
    config = AlexNetConfig.torchvision()
    assert np.allclose(config.input_scale, 1 / (255 * np.array([0.229, 0.224, 0.225])))
    model = AlexNet(AlexNetConfig.torchvision(channels=(2,) * 5, hidden=(3, 3), num_classes=4))
    pixels = np.zeros((1, 3, 1, 1), np.float32) + [[[[58.395]], [[57.12]], [[57.375]]]]
    assert np.allclose(model.scale(mt.Tensor(pixels.astype(np.float32))).data, 1)


def test_the_net_of_lars_normalises_what_conv2_to_conv5_read():
    """nv models/alexnet_bn/train_val2.prototxt: conv1 :48, relu1 :67, pool1 :73, bn2 :84 ... pool5 :246; :84-93,
    133-142, 170-178, 209-218 moving_average_fraction 0.9, eps 0.0001, scale_bias false; :60-63 and so on: biases."""
    model = AlexNet(AlexNetConfig.bn(channels=(8,) * 5, hidden=(4, 4), num_classes=3))
    convolutions = [("Conv2d", "ReLU", "MaxPool2d", "BatchNorm2d")] * 2 + [("Conv2d", "ReLU", "BatchNorm2d")] * 2
    expected = ["Scale", *sum(map(list, convolutions), []), "Conv2d", "ReLU", "MaxPool2d", "Flatten"]
    assert [type(layer).__name__ for layer in model.children()] == [
        *expected, *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    norms = [layer for layer in model.children() if isinstance(layer, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum, norm.affine) for norm in norms} == {(1e-4, 0.1, False)}
    assert model.scale.factor == 0.00390625 and model.config.image_size == 227
    weighted = [layer for layer in model.children() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert [float(layer.bias.data[0]) for layer in weighted] == pytest.approx([0.01] * 5 + [0.1, 0.1, 0.01])
    assert [layer.groups for layer in weighted[:5]] == [1, 2, 1, 2, 2]


def test_a_run_from_before_a_correction_keeps_the_preset_that_it_had(tmp_path):
    old = {"model": "alexnet_torchvision", "model_fields": {"hidden": [4, 4]}}
    assert models.fields_of_run(old) == {"input_scale": 1.0, "adaptive_pool": 0, "hidden": (4, 4)}
    chosen = {**old, "model_fields": {"input_scale": 0.0172}}
    assert models.fields_of_run(chosen)["input_scale"] == 0.0172
    assert models.fields_of_run({**old, "preset_edition": models.PRESET_EDITION}) == {"hidden": (4, 4)}
    assert models.fields_of_run({"model": "caffenet", "model_fields": {}}) == {"conv_floor": False}
    assert models.fields_of_run({"model": "alexnet", "model_fields": {}}) == {}


def test_input_scale_takes_one_number_or_three():
    assert models.changed(AlexNetConfig.paper(), input_scale=(0.1, 0.2, 0.3)).input_scale == (0.1, 0.2, 0.3)
    assert models.changed(AlexNetConfig.torchvision(), input_scale=1).input_scale == 1
    for wrong in ((0.1, 0.2), "big", True):
        with pytest.raises(UsageError, match="input_scale is .*, expected a number, or a tuple of three"):
            models.changed(AlexNetConfig.paper(), input_scale=wrong)


def test_caffes_convolutions_round_down_and_its_pools_up():
    """Caffe src/caffe/layers/conv_layer.cpp:18-19 and pooling_layer.cpp:93-96."""
    narrow = dict(channels=(2,) * 5, hidden=(2, 2), num_classes=2)
    at_224 = AlexNet(AlexNetConfig.caffe(**narrow, image_size=224))
    x = mt.Tensor(np.zeros((1, 3, 224, 224), np.float32))
    assert at_224.conv1(x).shape[2:] == (54, 54)
    assert at_224.pool1(at_224.conv1(x)).shape[2:] == (27, 27)  # 1 + ceil(51 / 2); rounded down it would be 26
    paper = AlexNet(AlexNetConfig.paper(**narrow))
    assert paper.conv1(x).shape[2:] == (55, 55)


def test_the_sixth_convolution_sees_both_columns():
    """CHM layers/layers-146-2012-2011.cfg:258-286: inputs pool3a and pool3b, std 0.03, bias 1; fc2048 follows."""
    model = AlexNet(AlexNetConfig.conv6_2012(channels=(8, 8, 8, 8, 16), hidden=(8, 8), conv6=16, num_classes=4))
    names = [name for name, _ in model.named_children()]
    assert names[names.index("pool5"):][:4] == ["pool5", "conv6", "relu_conv6", "flatten"]
    assert model.conv6.weight.shape == (16, 16, 3, 3) and (model.conv6.bias.data == 1).all()
    assert abs(model.conv6.weight.data.std() / 0.03 - 1) < 0.1
    assert model.fc6.weight.shape == (8, 16 * 36)


def test_the_tower_of_2014_is_its_file():
    """cc2 layers/layers-imagenet-1gpu.cfg and its layer-params file."""
    config = AlexNetConfig.tower_2014()
    assert config.after[:2] == ("lrn pool relu", "relu lrn pool")  # :22-35, 49-57
    assert config.init_std == (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)  # :17, 45, 73, 87, 100, 117, 130, 143
    assert config.init_bias == (0, 1, 0, 1, 1, 1, 1, -7)  # :46, 88, 101, 118, 131, 144
    assert (config.lrn_size, config.lrn_alpha, config.lrn_k, config.lrn_alpha_over_size) == (5, 1e-4, 2, True)
    assert config.dropout_rule == "2012" and config.ceil_mode and config.paddings[0] == 0


@pytest.mark.parametrize("size", (3, 6, 7, 11))
def test_the_adaptive_pool_averages_the_cells_that_torch_averages(size):
    """tv torchvision/models/alexnet.py:32, AdaptiveAvgPool2d((6, 6)); windows from floor(iH/S) to ceil((i+1)H/S)."""
    x = np.random.default_rng(0).standard_normal((2, 3, size, size + 1))
    got = nn.AdaptiveAvgPool2d(6)(mt.Tensor(x)).data
    for i in range(6):
        for j in range(6):
            rows = slice(i * size // 6, -(-(i + 1) * size // 6))
            columns = slice(j * (size + 1) // 6, -(-(j + 1) * (size + 1) // 6))
            assert np.allclose(got[:, :, i, j], x[:, :, rows, columns].mean(axis=(2, 3)))
    with pytest.raises(ShapeError, match="expected 1 or more"):
        nn.AdaptiveAvgPool2d(0)(mt.Tensor(x))


def test_at_256_torchvisions_net_has_torchvisions_fc6():
    narrow = dict(channels=(8,) * 5, hidden=(4, 4), num_classes=3)
    assert "adaptive_pool" not in dict(AlexNet(AlexNetConfig.torchvision(**narrow)).named_children())
    model = AlexNet(AlexNetConfig.torchvision(**narrow, image_size=256))
    assert model.fc6.weight.shape == (4, 8 * 36)
    loss = model(mt.Tensor(np.ones((1, 3, 256, 256), np.float32))).sum()
    loss.backward()
    assert all(np.isfinite(p.grad).all() for p in model.parameters())


def test_one_change_at_a_time_from_13_to_11_percent():
    """cc1 layers-conv-local-13pct.cfg against -11pct.cfg: norms (:32-36, 51-55), local3 (:70), fc10's decay (params
    :46)."""
    steps = models.build("conv_local_13", lrn=True, local3=64, fc10_decay=0.01)
    whole = models.build("conv_local_11")
    assert [name for name, _ in steps.named_children()] == [name for name, _ in whole.named_children()]
    assert steps.layer_decay == whole.layer_decay and parameters(steps) == parameters(whole)
    assert "rnorm1" not in dict(models.build("conv_local_13").named_children())
    with pytest.raises(UsageError, match="local3 is 'many', expected an integer like 64"):
        models.build("conv_local_13", local3="many")
    with pytest.raises(UsageError, match="conv_local_11 has no field lrn"):
        models.build("conv_local_11", lrn=False)


# Recipes


@pytest.mark.parametrize("name", models.SMALL)
def test_the_biases_of_the_small_nets_keep_their_rate(name):
    """wiki1 Methodology.md:30 "all learning rates (the `epsW` parameters)"; cc1 layer-params-conv-local-11pct.cfg:7-8
    "(epsW)"; CHM example-layers/layer-params-conv-local-12pct.cfg:5-6, epsB=0.002 at the end."""
    assert models.build(name).recipe.bias_constant


def test_net_19_is_net_18_without_norms_and_with_more_decay():
    """cc1 example-layers/layers-19pct.cfg, layer-params-19pct.cfg:30 wc=3; 18pct:32 wc=1."""
    names = [name for name, _ in models.build("net_19").named_children()]
    assert names == [name for name, _ in models.build("net_18").named_children() if not name.startswith("rnorm")]
    assert (models.build("net_19").layer_decay["fc10"], models.build("net_18").layer_decay["fc10"]) == (3.0, 1.0)


def rates(recipe, epochs):
    """{epoch: (rate of conv2's weights, of its biases)}"""
    model = models.build("alexnet_cifar", channels=(8,) * 5, hidden=(8, 8))
    optimizer = build_optimizer(model, recipe)
    schedule = build_schedule(optimizer, recipe)
    seen = {}
    for epoch in range(max(epochs) + 1):
        change_rates(optimizer, recipe, epoch)
        of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        if epoch in epochs:
            seen[epoch] = of[id(model.conv2.weight)], of[id(model.conv2.bias)]
        schedule.step()
    return seen


def test_the_half_net_has_two_drops():
    """CHM layers/layer-params-145-half.cfg:95-99."""
    recipe = RECIPES["half_2012"]
    assert (recipe.epochs, recipe.milestones) == (96, (20, 48))
    assert [recipe.at(epoch).color for epoch in (65, 66)] == ["source", "none"]
    seen = rates(recipe, {0, 20, 48, 95})
    assert [seen[e][0] for e in (0, 20, 48, 95)] == pytest.approx([0.01, 0.001, 0.0001, 0.0001])


def test_the_tower_of_2014_falls_by_the_cube_root_of_250_and_its_biases_once_by_ten():
    """cc2 layers/layer-params-imagenet-1gpu.cfg:6-7: dexp[base=0.01;tgtFactor=250;numSteps=4] and
    dexp[base=0.02;tgtFactor=10;numSteps=2]; four rates with three steps in 90 epochs, at a quarter each."""
    recipe = RECIPES["tower_2014"]
    seen = rates(recipe, {0, 23, 44, 45, 68, 89})
    assert [seen[e][0] for e in (0, 23, 45, 68, 89)] == pytest.approx(
        [0.01, 0.01 * 250 ** (-1 / 3), 0.01 * 250 ** (-2 / 3), 0.01 / 250, 0.01 / 250])
    assert [seen[e][1] for e in (0, 44, 45, 89)] == pytest.approx([0.02, 0.02, 0.002, 0.002])


def test_a_change_of_the_biases_rate_is_read_and_checked():
    recipe = models.changed(Recipe(9, 0.1, bias_constant=True), changes="3 bias_lr=0.5")
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert rates(recipe, {2, 3, 5})[5] == (0.1, 0.05)
    with pytest.raises(UsageError, match="add bias_constant=True"):
        models.changed(Recipe(9, 0.1), changes="3 bias_lr=0.5")
    with pytest.raises(UsageError, match="bias_lr is '-1', expected 0 or more"):
        models.changed(recipe, changes="3 bias_lr=-1")


def test_a_recipe_from_before_the_new_fields_draws_as_it_did():
    old = Recipe(9, 0.1, crop=24, flip=True).to_json()
    for name in ("crop_chunk", "reshuffle", "mean_follows_crop"):
        del old[name]
    transform = runs.build_transform({"recipe": old}, np.zeros((32, 32, 3), np.float32))
    assert (transform.crop_chunk, transform.mean_follows_crop) == (1, False)
    draws = transform.draw((5, 32, 32, 3), np.random.default_rng(3))
    rng = np.random.default_rng(3)
    assert (draws.rows == rng.integers(0, 9, 5)).all() and (draws.cols == rng.integers(0, 9, 5)).all()
    assert (draws.flips == (rng.random(5) < 0.5)).all()


# Windows, order and mean


def test_32_images_in_a_row_have_one_window_and_one_mirror_draw():
    """CHM convdata.py:125 crop_chunk = 32, :252-260; convdata_jpeg.py:77, 238-246."""
    assert RECIPES["source_2012"].crop_chunk == RECIPES["half_2012"].crop_chunk == 32
    assert all(recipe.crop_chunk == 1 for name, recipe in RECIPES.items() if not name.endswith("_2012"))
    transform = Transform(crop=24, flip=True, crop_chunk=32)
    draws = transform.draw((128, 32, 32, 3), np.random.default_rng(0))
    for values in (draws.rows, draws.cols, draws.flips):
        chunks = values.reshape(4, 32)
        assert (chunks == chunks[:, :1]).all()
    assert len({(draws.rows[i], draws.cols[i]) for i in range(0, 128, 32)}) > 1
    assert transform.draw((40, 32, 32, 3), np.random.default_rng(0)).rows.shape == (40,)


def test_images_come_in_the_same_order_in_every_epoch_where_they_were_shuffled_once():
    """CHM convdata.py:152-175, and the shuffle of :261 is commented out; Caffe examples/imagenet/create_imagenet.sh:43.
    """
    assert [name for name, recipe in RECIPES.items() if not recipe.reshuffle] == [
        "source_2012", "half_2012", "tower_2014", "caffe"]
    train, _ = load_shapes(60, 10, seed=0)

    def order(epoch, **settings):
        loader = Loader(train, 20, seed=4, workers=0, **settings)
        return np.concatenate([labels for _, labels in loader.epoch(epoch)])

    fixed = [order(epoch, reshuffle=False) for epoch in (0, 1, 5)]
    assert all((labels == fixed[0]).all() for labels in fixed) and (fixed[0] == order(0)).all()
    assert not (order(1) == fixed[0]).all()


def test_caffe_cuts_and_mirrors_the_mean_with_the_image():
    """Caffe src/caffe/data_transformer.cpp:101-115."""
    assert RECIPES["caffe"].mean_follows_crop
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 10, 10, 3), np.uint8)
    mean = rng.uniform(0, 255, (10, 10, 3)).astype(np.float32)
    for pad in (0, 2):
        transform = Transform(mean, crop=7, flip=True, pad=pad, mean_follows_crop=True)
        draws = transform.draw(images.shape, np.random.default_rng(1))
        got = transform.apply(images, draws)
        border = ((pad, pad), (pad, pad), (0, 0))
        for i, (row, col, mirrored) in enumerate(zip(draws.rows, draws.cols, draws.flips, strict=True)):
            whole = np.pad(images[i].astype(np.float32), border) - np.pad(mean, border)
            want = whole[row:row + 7, col:col + 7]
            assert np.array_equal(got[i], want[:, ::-1] if mirrored else want)
    still = Transform(mean, crop=7, mean_follows_crop=True).eval()
    assert np.array_equal(still(images), Transform(mean, crop=7).eval()(images))  # the centre is the centre
    with pytest.raises(ShapeError, match="larger than the mean image"):
        Transform(mean[:5, :5], crop=7, mean_follows_crop=True).eval()(images)


def test_the_divisor_of_2012_is_one_plus_the_noise_and_makes_training_images_weaker():
    """CHM convdata.py:179-182, 205: the comment wants one scale; noise of a tenth of the width needs sqrt(1.01)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (400, 4, 4, 3), np.uint8)
    pca, mean = fit_pca(images), np.full((4, 4, 3), images.mean(axis=(0, 1, 2)), np.float32)
    assert DIVISORS["source"] == pytest.approx(1 + 0.1)
    scale = {convention: Transform(mean, pca=pca, convention=convention)(images, np.random.default_rng(1)).std()
             / Transform(mean).eval()(images).std() for convention in ("source", "variance")}
    assert scale["source"] == pytest.approx(np.sqrt(1.01) / 1.1, abs=2e-3) and round(np.sqrt(1.01) / 1.1, 3) == 0.914
    assert scale["variance"] == pytest.approx(1, abs=2e-3)


def test_images_are_mixed_three_to_one_in_chunks():
    """CHM convdata_jpeg.py:248-259, commented out; layer-params-170.cfg:207-225."""
    transform = Transform(flip=True, mix=0.5, crop_chunk=4)
    images = np.random.default_rng(0).integers(0, 256, (32, 6, 6, 3), np.uint8)
    draws = transform.draw(images.shape, np.random.default_rng(2))
    plain = transform.apply(images, draws._replace(partners=None))
    got = transform.apply(images, draws)
    changed = draws.partners != np.arange(32)
    assert 0 < changed.sum() < 32 and np.array_equal(got[~changed], plain[~changed])
    assert np.allclose(got[changed], 0.75 * plain[changed] + 0.25 * plain[draws.partners[changed]])
    for chunk in draws.partners.reshape(8, 4):
        assert (np.diff(chunk) == 1).all()
    without = Transform(flip=True, crop_chunk=4).draw(images.shape, np.random.default_rng(2))
    assert (without.flips == draws.flips).all() and without.partners is None
    assert transform.eval().draw(images.shape).partners is None
    assert np.array_equal(mix_images(plain, np.arange(32)), plain)
    with pytest.raises(UsageError, match="mix must be from 0 to 1, got 2"):
        Recipe(1, 0.1, mix=2)


# Averages of several networks


def test_weights_of_an_average_are_searched_as_in_2012():
    """CHM avg-valid.py:49-71: all from 0.5; one after the other 0, 0.05, ... 1, kept where the top-5 error falls."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 20, 300)
    good, noise = rng.random((2, 300, 20)).astype(np.float32)
    good[np.arange(300), labels] += 0.6
    weights = evaluate.search_weights([good, noise], labels)
    assert weights[0] > 3 * weights[1] and all(round(20 * w) == pytest.approx(20 * w) for w in weights)
    error = evaluate.top_error(weights[0] * good + weights[1] * noise, labels, 5)
    assert error <= evaluate.top_error(good + noise, labels, 5)
    assert evaluate.search_weights([good, good], labels) == [0.5, 0.5]  # nothing is better: nothing moves
    assert any(evaluate.search_weights([noise, -noise], labels))


def test_searched_weights_are_of_the_validation_images_and_are_recorded(tmp_path, monkeypatch):
    folders = [make_run(tmp_path / name, seed=seed)[0] for seed, name in enumerate("ab")]
    for folder in folders:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "val_split": 0.01, "seed": 0}))
    seen = []
    search = evaluate.search_weights
    monkeypatch.setattr(evaluate, "search_weights",
                        lambda probs, labels: seen.append(len(labels)) or search(probs, labels))
    assert evaluate.main([*map(str, folders), "--limit", "30", "--views", "single", "--search-weights"]) == 0
    found = json.loads((folders[0] / "evaluate-test-ensemble.json").read_text())
    assert seen == [100] and found["images"] == 30
    assert all(0 <= member["weights"]["single"] <= 1 for member in found["members"])
    with pytest.raises(UsageError, match="name two or more"):
        evaluate.main([str(folders[0]), "--search-weights"])
