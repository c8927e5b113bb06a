"""The pictures say what the log says. Text is looked for in SVG, where it stands as text; colour in PNG."""
import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import make_run

import minitorch_alex as mt
from minitorch_alex import data, models, nn, plots, predict, profile
from minitorch_alex.errors import DataError, DiskError, RunError, ShapeError, UsageError
from minitorch_alex.plots import explain, figure2, learnt, projections, reasons, sheet, training
from minitorch_alex.plots.__main__ import find_neighbours, main, one_of_each
from minitorch_alex.training import runs


def a_log(epochs=6, drop=3, gamma=0.1, start=90.0):
    rows = []
    for epoch in range(1, epochs + 1):
        error, lr = start / epoch, 0.01 * gamma ** max(0, epoch - drop)
        for part in (0.5, 1.0):
            rows.append({"kind": "interval", "epoch": epoch - 1 + part, "step": 10 * epoch, "lr": lr,
                         "loss": error / 40, "error": error, "img_s": 900.0, "wait": 0.0})
        rows.append({"kind": "epoch", "epoch": epoch, "train_loss": error / 40, "train_error": error,
                     "val_loss": error / 30, "val_error": error * 1.1, "lr": lr, "seconds": 9.0})
    return rows


def drawn(path, draw, *args, **kwargs):
    draw(*args, path, **kwargs)
    if path.suffix == ".svg":
        return path.read_text()
    return np.asarray(Image.open(path).convert("RGB")).astype(int)  # (H, W, 3)


def test_the_curves_are_labelled_with_their_last_values(tmp_path):
    svg = drawn(tmp_path / "c.svg", plots.curves, a_log(), title="AlexNet on shapes", held_out="test")
    for text in ("AlexNet on shapes", "loss", "top-1 error, %", "epoch",
                 "training 0.375", "training 15.0 %", "test 0.5", "test 16.5 %"):
        assert f">{text}<" in svg


def test_sharp_drops_of_the_learning_rate_are_marked_in_both_panels_and_gentle_ones_are_not(tmp_path):
    svg = drawn(tmp_path / "c.svg", plots.curves, a_log(epochs=5, drop=3))
    assert svg.count(">lr 0.001<") == svg.count(">lr 0.0001<") == 2
    assert ">lr " not in drawn(tmp_path / "c.svg", plots.curves, a_log(gamma=0.9))


def test_several_runs_are_laid_over_each_other_by_name(tmp_path):
    svg = drawn(tmp_path / "c.svg", plots.curves, {"paper": a_log(), "torch": a_log(start=60.0)})
    for text in ("paper 16.5 %", "torch 11.0 %", "thick: validation, thin: training"):
        assert f">{text}<" in svg
    assert plots.RUNS[0] in svg and plots.RUNS[1] in svg
    test = {"kind": "test", "epoch": 6, "test_loss": 0.4, "test_error": 12.0}
    assert ", diamond: test<" in drawn(tmp_path / "c.svg", plots.curves, {"paper": a_log(), "torch": [*a_log(), test]})


def test_a_drop_of_the_learning_rate_has_the_colour_of_its_run(tmp_path):
    from matplotlib.figure import Figure
    axes = Figure().add_subplot()
    training._mark_drops(axes, [(a_log(epochs=4, drop=2), "red"), (a_log(epochs=5, drop=2), "blue")])
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [
        ("lr 0.001", training.TRAIN), ("lr 0.0001", training.TRAIN), ("lr 1e-05", "blue")]


@pytest.mark.filterwarnings("error")
def test_a_log_with_holes_or_without_rows_is_drawn(tmp_path):
    rows = a_log()
    rows[2]["val_error"], rows[5]["val_loss"], rows[17]["train_error"] = None, float("nan"), float("inf")
    del rows[11]["val_loss"]
    rows.append({"kind": "note", "text": "resumed"})
    svg = drawn(tmp_path / "c.svg", plots.curves, rows)
    assert ">validation 0.5<" in svg and ">training 18.0 %<" in svg
    zeros = [{"kind": "interval", "epoch": 0.5, "loss": 0.0, "error": 0.0}]
    for few in ([], rows[:1], zeros, {}, {"empty": []}):
        assert ">top-1 error, %<" in drawn(tmp_path / "c.svg", plots.curves, few)


def test_labels_that_would_lie_on_each_other_are_pushed_apart_and_keep_their_order(tmp_path):
    from matplotlib.figure import Figure
    axes = Figure().add_subplot()
    axes.set_ylim(0, 10)
    training._label_ends(axes, [(5.0, "b", "k"), (0.0, "low", "k"), (9.0, "high", "k"), (4.99, "a", "k")])
    at = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert list(at) == ["low", "a", "b", "high"]
    assert at["b"] - at["a"] == pytest.approx(0.065, abs=1e-3)
    assert at["high"] == pytest.approx(0.9) and at["low"] == pytest.approx(0.02)


def test_a_png_has_the_size_of_a_readme(tmp_path):
    height, width, _ = drawn(tmp_path / "new folder" / "c.png", plots.curves, a_log()).shape
    assert 1400 < width < 2000 and 0.35 < height / width < 0.5


def test_a_picture_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(UsageError, match="must end in .png, .svg or .pdf"):
        plots.curves(a_log(), tmp_path / "curves.jpeg")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        plots.curves(a_log(), tmp_path / "file" / "curves.png")


def test_confusion_writes_shares_and_counts(tmp_path):
    matrix = np.array([[974, 26, 0], [2, 198, 0], [0, 0, 0]])
    svg = drawn(tmp_path / "m.svg", plots.confusion, matrix, ["cat", "dog", "frog"], title="Test set")
    for text in ("Test set", "cat", "dog", "frog", "97", "974", "2.6", "26", "1.0", "99", "198"):
        assert f">{text}<" in svg
    assert "top-1 error 2.33 % of 1200 images" in svg
    assert ">0<" not in svg and ">0.0<" not in svg  # nothing stands where nothing was counted


def test_a_mistake_of_one_percent_can_be_seen(tmp_path):
    def orange(matrix):
        image = drawn(tmp_path / "m.png", plots.confusion, np.array(matrix), ["cat", "dog"])
        return int((image[..., 0] - image[..., 2] > 20).sum())

    assert orange([[100, 0], [0, 100]]) == 0
    assert orange([[99, 1], [0, 100]]) > 5000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("k", [1, 40, 200])
def test_few_and_many_classes_are_drawn(tmp_path, k):
    image = drawn(tmp_path / "m.png", plots.confusion, np.eye(k, dtype=int), [f"class {i}" for i in range(k)])
    assert max(image.shape) < 2000


def test_a_matrix_that_does_not_fit_its_names_is_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"got shape \(2, 3\) for 2 classes"):
        plots.confusion(np.zeros((2, 3), int), ["a", "b"], tmp_path / "m.png")


def test_matplotlib_is_loaded_when_drawing_and_pyplot_never(tmp_path):
    code = ("import sys; from minitorch_alex import plots; assert 'matplotlib' not in sys.modules; "
            "plots.curves([], sys.argv[1]); assert 'matplotlib.pyplot' not in sys.modules")
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "c.png"], cwd=Path(__file__).parent.parent,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


# the network


def layers_of(name, **changes):
    model = models.build(name, **changes)
    return [(n, layer, y.shape[1:]) for n, layer, y in profile.outputs(model, profile.blank(model, 1))]


def test_the_boxes_of_the_papers_net():
    layers = layers_of("alexnet", hidden=(64, 64))
    boxes = {s.name: s for s in figure2.stages(layers, (3, 224, 224))}
    assert {name: (s.shape, s.kind, s.kernel, s.stride, s.groups, s.parts) for name, s in boxes.items()} == {
        "input": ((3, 224, 224), "input", (0, 0), (1, 1), 1, 1),
        "conv1": ((96, 55, 55), "conv", (11, 11), (4, 4), 1, 2), "conv2": ((256, 27, 27), "conv", (5, 5), (1, 1), 2, 2),
        "conv3": ((384, 13, 13), "conv", (3, 3), (1, 1), 1, 2), "conv4": ((384, 13, 13), "conv", (3, 3), (1, 1), 2, 2),
        "conv5": ((256, 13, 13), "conv", (3, 3), (1, 1), 2, 2), "fc6": ((64,), "dense", (0, 0), (1, 1), 1, 2),
        "fc7": ((64,), "dense", (0, 0), (1, 1), 1, 2), "fc8": ((10,), "dense", (0, 0), (1, 1), 1, 1)}
    assert [name for name, s in boxes.items() if s.pooled] == ["conv1", "conv2", "conv5"]
    assert boxes["conv2"].after == ["ReLU", "LRN"] and boxes["fc6"].after == ["ReLU", "dropout"]
    assert boxes["conv2"].window == (5 / 27, 5 / 27)  # of the pooled map


def test_a_net_of_tanh_is_drawn_as_one():
    boxes = figure2.stages(layers_of("alexnet", hidden=(64, 64), activation="tanh"), (3, 224, 224))
    assert [box.after[0] for box in boxes[1:-1]] == ["tanh"] * 7


def drawn_network(layers, input_shape):
    """(words in the picture, the stage of each pyramid)"""
    from matplotlib.figure import Figure
    axes, pyramids = Figure().add_axes((0, 0, 1, 1)), []
    sketch = figure2._Sketch(axes, figure2.stages(layers, input_shape))
    pyramid = sketch._pyramid
    sketch._pyramid = lambda stage, *rest, **how: (pyramids.append(stage.name), pyramid(stage, *rest, **how))
    sketch.draw()
    return [text.get_text() for text in axes.texts], pyramids


def test_halves_are_joined_where_the_paper_joins_them():
    words, pyramids = drawn_network(layers_of("alexnet", hidden=(64, 64)), (3, 224, 224))
    assert {name: pyramids.count(name) for name in pyramids} == {
        "conv1": 2, "conv2": 2, "conv3": 4, "conv4": 2, "conv5": 2}
    for text, count in (("224", 2), ("55", 4), ("48", 2), ("192", 4), ("32", 4), ("10", 1), ("stride\nof 4", 1),
                        ("max\npooling", 3), ("dense", 3)):
        assert words.count(text) == count, text
    assert drawn_network(layers_of("net_18"), (3, 32, 32))[1] == ["conv1", "conv2", "conv3"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layers", [
    [("fc", nn.Linear(12, 5), (5,))], [("c", nn.Conv2d(3, 6, 2, groups=3), (6, 1, 1))],
    [("c", nn.Conv2d(3, 16, 1, stride=(1, 2)), (16, 2, 1)), ("d", nn.Conv2d(16, 8, 1, groups=8), (8, 2, 1))]])
def test_odd_networks_are_drawn(layers, tmp_path):
    image = drawn(tmp_path / "n.png", lambda path: plots.network(layers, (3, 2, 2), path, "title", "note"))
    assert (image.min(axis=2) < 255).any()


def test_a_network_without_weights_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no layer with weights"):
        plots.network([("relu", nn.ReLU(), (3, 2, 2))], (3, 2, 2), tmp_path / "n.png")


# what has been learnt


def test_a_mosaic_is_filled_row_by_row():
    tiles = np.stack([np.full((1, 2), i / 4) for i in range(3)])
    assert learnt.mosaic(tiles, 2, margin=1).tolist() == [
        [0, 0, 1, 0.25, 0.25], [1, 1, 1, 1, 1], [0.5, 0.5, 1, 1, 1]]


def kernel_colours(tmp_path, weight, **how):
    """The colours in the picture of two kernels of one place, without white and without blends of neighbours."""
    image = drawn(tmp_path / "k.png", lambda path: plots.kernels(weight, path, **how))
    codes, counts = np.unique(image @ (1 << 16, 1 << 8, 1), return_counts=True)  # (H, W, 3) -> (H, W): one number each
    return {(c >> 16, c >> 8 & 255, c & 255) for c in codes[counts > 1000].tolist()} - {(255, 255, 255)}


def test_kernels_show_their_colour_on_grey(tmp_path):
    weight = np.zeros((2, 3, 1, 1))
    weight[0, 0], weight[1, 2] = 1.0, -0.5
    assert kernel_colours(tmp_path, weight) == {(255, 127, 127), (127, 127, 63)}
    assert kernel_colours(tmp_path, weight, scale="each", halves=2) == {(255, 127, 127), (127, 127, 0)}
    assert kernel_colours(tmp_path, weight * 0) == {(127, 127, 127)}


@pytest.mark.parametrize(("shape", "halves"), [((4, 1, 3, 3), 1), ((5, 3, 3, 3), 2), ((4, 3), 1)])
def test_what_is_no_kernel_of_colours_is_refused(tmp_path, shape, halves):
    with pytest.raises(ShapeError, match="expected .O, 3, KH, KW."):
        plots.kernels(np.zeros(shape), tmp_path / "k.png", halves)


def test_predictions_name_the_first_classes_and_the_true_one_in_red(tmp_path):
    pictures, classes = np.zeros((2, 8, 8, 3), np.uint8), ["cat", "dog", "frog"]
    probs = np.array([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]])
    svg = drawn(tmp_path / "p.svg", lambda path: plots.predictions(
        pictures, probs, classes, path, ["one", "two"], top=2, labels=[0, 2], title="Pets"))
    for text, count in (("dog", 2), ("cat", 2), ("frog", 0), ("70.0 %", 1), ("20.0 %", 1), ("one", 1), ("Pets", 1)):
        assert svg.count(f">{text}<") == count, text
    assert svg.count(learnt.TRUE) == 1  # the second picture's true class is not among the first two
    with pytest.raises(ShapeError, match="predictions: got 2 pictures, 1 names"):
        plots.predictions(pictures, probs, classes, tmp_path / "p.svg", ["one"])


def test_activations_say_what_is_silenced(tmp_path):
    a = np.array([-1.0, -1.0, -1.0, 3.0])
    svg = drawn(tmp_path / "a.svg", lambda path: plots.activations(
        [("conv1", a), ("flat", np.zeros(9))], path, "Title"))
    for text in ("conv1", "mean 0, std 1.73, 75 % below 0", "mean 0, std 0, 0 % below 0", "Title"):
        assert f">{text}<" in svg


@pytest.mark.filterwarnings("error")
def test_maps_are_drawn_and_counted_also_where_all_are_silent(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    svg = drawn(tmp_path / "m.svg", lambda path: plots.maps(
        picture, [("conv1", np.ones((40, 4, 5))), ("conv2", np.zeros((6, 2, 2)))], path))
    assert "32 of 40, 4 × 5" in svg and "6 maps, 2 × 2" in svg


def test_neighbours_of_another_class_are_red(tmp_path):
    queries, found = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 3, 4, 4, 3), np.uint8)
    classes = [["cat", "dog", "cat"], ["dog", "dog", "dog"]]
    svg = drawn(tmp_path / "n.svg", lambda path: plots.neighbours(queries, found, ["cat", "dog"], classes, path))
    assert svg.count("<image") == 8 and svg.count(">cat<") == 3 and svg.count(">dog<") == 5
    assert svg.count(learnt.TRUE) == 1
    with pytest.raises(ShapeError, match="must fit together"):
        plots.neighbours(queries, found, ["cat", "dog"], classes[:1], tmp_path / "n.svg")


def test_the_nearest_come_first():
    features = np.float32([[0, 0], [3, 4], [1, 0], [0, -2]])
    assert find_neighbours(np.float32([[0, 0], [3, 3]]), features, 3).tolist() == [[0, 2, 3], [1, 2, 0]]


def test_one_of_each_class_then_the_next():
    dataset = data.make_shapes(30, 8).subset(np.array([0, 10, 20, 1, 11, 2]))  # classes 0 0 0 1 1 2
    assert one_of_each(dataset, 5).tolist() == [0, 3, 5, 1, 4]


# the command

ALL = ["curves", "kernels", "maps", "activations", "confusion-test", "predictions", "neighbours", "cam", "saliency",
       "occlusion", "deconv", "mistakes"]


def test_everything_is_drawn_into_the_runs_directory(tmp_path, capsys):
    directory, _ = make_run(tmp_path / "tiny", "alexnet_cifar", channels=(4, 4, 4, 4, 4), hidden=(8, 8))
    assert main([str(directory), "--limit", "60"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(directory / f"{name}.png") for name in ALL]
    assert all(Image.open(directory / f"{name}.png").width > 300 for name in ALL)


def test_only_what_is_asked_for_is_drawn_and_elsewhere(tmp_path, capsys):
    one, two = (make_run(tmp_path / name)[0] for name in ("one", "two"))
    picture = tmp_path / "p.png"
    Image.fromarray(data.make_shapes(1, 50).images[0]).save(picture)
    out = tmp_path / "out"
    assert main([str(one), "--maps", str(picture), "--out", str(out)]) == 0
    assert [file.name for file in out.iterdir()] == ["maps.png"]
    assert main([str(one), str(two), "--curves", "--kernels", "--scale", "each", "--out", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == {
        "maps.png", "curves-compared.png", "one-kernels.png", "two-kernels.png"}
    assert {file.suffix for file in one.iterdir()} == {".json", ".jsonl", ".safetensors"}


def test_maps_of_tanh_are_drawn_without_signs(tmp_path, monkeypatch):
    drawings = []
    monkeypatch.setattr(plots, "maps", lambda picture, layers, path, title: drawings.append((layers, title)))
    directory, _ = make_run(tmp_path / "tiny", "alexnet_cifar", channels=(4,) * 5, hidden=(8, 8), activation="tanh")
    assert main([str(directory), "--maps"]) == 0
    (layers, title), = drawings
    assert [name for name, _ in layers] == [f"conv{i}" for i in range(1, 6)] and "tanh, their signs left out" in title
    assert all((a >= 0).all() and a.any() for _, a in layers)


def test_without_a_checkpoint_there_are_curves_only(tmp_path, capsys):
    directory, _ = make_run(tmp_path / "tiny")
    (directory / "checkpoint.safetensors").unlink()
    assert main([str(directory)]) == 0
    assert "no checkpoint yet" in capsys.readouterr().out and (directory / "curves.png").exists()
    with pytest.raises(RunError, match="there is no checkpoint"):
        main([str(directory), "--kernels"])


def test_without_the_data_what_needs_none_is_drawn(tmp_path, capsys):
    directory, _ = make_run(tmp_path / "tiny", dataset="cifar10")
    assert main([str(directory), "--data-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert (directory / "kernels.png").exists() and out.count("is left out: ") == 10
    with pytest.raises(DataError):
        main([str(directory), "--data-dir", str(tmp_path), "--confusion"])


def test_runs_that_cannot_be_drawn(tmp_path):
    with pytest.raises(RunError, match="there is no log in"):
        main([str(tmp_path)])
    with pytest.raises(UsageError, match="two of the runs have the same name"):
        main([str(tmp_path / "a" / "x"), str(tmp_path / "b" / "x")])
    with pytest.raises(UsageError, match="--limit must be at least 1"):
        main([str(tmp_path), "--limit", "0"])


# why: sheets, heat maps, projections, mistakes; what they show is computed by explain.py, see checks/explain.py


def test_a_sheet_has_columns_of_captions_and_goes_on_below(tmp_path):
    panel = sheet.Panel(np.zeros((8, 8, 3), np.uint8), ["cat  98.0 %", "a.png"], key=[((1.0, 0, 0), "dog")])
    columns = [[panel, panel]] * 5
    bar = sheet.Bar(1, "0 %", "100 %", "probability")
    svg = drawn(tmp_path / "s.svg", lambda path: sheet.sheet(columns, path, "Title", "note", bar, across=3))
    for text, count in (("cat  98.0 %", 10), ("a.png", 10), ("dog", 10), ("Title", 1), ("note", 1), ("100 %", 1)):
        assert svg.count(f">{text}<") == count, text
    wide = drawn(tmp_path / "s.png", lambda path: sheet.sheet(columns, path, across=5)).shape
    tall = drawn(tmp_path / "s.png", lambda path: sheet.sheet(columns, path, across=3)).shape
    assert wide[1] > tall[1] and wide[0] < tall[0] < 2.1 * wide[0]
    assert "no columns" in drawn(tmp_path / "s.svg", lambda path: sheet.sheet([], path, "no columns"))


def test_a_heat_map_is_stretched_over_the_picture_and_grey_where_nothing_is(tmp_path):
    heat = np.zeros((4, 4))
    heat[0, 3] = 5
    picture = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    image = sheet.glow(picture, heat)
    assert image.shape == (256, 256, 3) and 0 <= image.min() <= image.max() <= 1
    colourful = np.ptp(image, axis=2)  # the difference of the largest and the smallest of red, green and blue
    assert colourful[32, 224] > 0.3 and colourful[128:, :128].max() < 1e-9  # the upper right cell has its middle there
    assert np.ptp(sheet.glow(picture, 0 * heat), axis=2).max() < 1e-9


def test_the_strongest_activations_are_those_of_all_batches():
    maps = np.random.default_rng(0).standard_normal((10, 3, 4, 5)).astype(np.float32)
    strongest = explain.Strongest.none(3)
    for start in (0, 4, 8):
        strongest = strongest.after(maps[start:start + 4], start, 6)
    for c in range(3):
        best = maps[:, c].reshape(10, 20)
        order = np.argsort(-best.max(axis=1))[:6]
        assert strongest.images[c].tolist() == order.tolist()
        assert strongest.places[c].tolist() == best[order].argmax(axis=1).tolist()
        assert (strongest.values[c] == best[order].max(axis=1)).all()


def test_maps_that_respond_to_the_same_images_wait():
    images = np.array([[0, 1, 2], [0, 1, 9], [5, 6, 7], [7, 8, 9], [1, 2, 0]])
    best = explain.Strongest(np.array([[9.0], [8], [7], [6], [5]]), images, images)
    assert projections.different_maps(best) == [0, 2, 3, 1]


def test_parts_of_an_image_have_one_size_and_lie_inside():
    layers = [nn.Conv2d(3, 4, 5, padding=2), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1)]
    parts = [projections.window(layers, row, column, (16, 16)) for row in (0, 3, 7) for column in (0, 7)]
    assert {(p.stop - p.start, q.stop - q.start) for p, q in parts} == {(10, 10)}
    assert {p.start for p, _ in parts} == {0, 2, 6}
    assert projections.window(layers, 3, 3, (6, 6)) == (slice(0, 6), slice(0, 6))


def test_deconvolution_needs_relu():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Tanh())
    with pytest.raises(UsageError, match="networks of ReLU; this one has tanh"):
        explain.deconvolve(net, np.zeros((1, 3, 5, 5), np.float32), "1", np.zeros((1, 2, 3, 3), np.float32))


def test_maps_are_looked_at_behind_their_activation():
    assert explain.map_layers(models.build("alexnet_cifar", channels=(4,) * 5, hidden=(8, 8))) == {
        f"conv{i}": f"relu{i}" for i in range(1, 6)}
    bare = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 2), nn.ReLU())
    assert explain.map_layers(bare) == {"0": "0"}


def test_mistakes_come_most_sure_first():
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.99, 0.01]])
    assert reasons.mistakes(probs, np.array([1, 1, 0, 1])).tolist() == [3, 0, 2]
    assert reasons.ending("train/n01440764/n01440764_10026.JPEG", 12) == "…_10026.JPEG"


def test_what_is_most_probable_is_named_by_its_colour():
    probs = np.zeros((2, 3, 6))
    for i, k in enumerate((2, 2, 0, 5, 5, 4)):
        probs[i // 3, i % 3, k] = 1
    panel = reasons.most_probable(probs, 2, tuple("abcdef"), most=2)
    assert [name for _, name in panel.key] == ["c", "f", "a", "1 more"]
    assert (panel.image[0, 0] == panel.key[0][0]).all() and (panel.image[1, 1] == panel.key[1][0]).all()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a small AlexNet."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    return make_run(path, "alexnet_cifar", channels=(4,) * 5, hidden=(8, 8))[0]


def sheets(monkeypatch):
    """A list that gets the columns, title and note of each sheet that is drawn."""
    drawings = []
    monkeypatch.setattr(sheet, "sheet", lambda columns, path, *texts: drawings.append((columns, *texts)))
    return drawings


def test_pictures_of_ones_own_and_a_class_to_explain(tiny, tmp_path, monkeypatch):
    drawings = sheets(monkeypatch)
    for i, image in enumerate(data.make_shapes(2, 50).images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    pictures = ["--images", str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    assert main([str(tiny), "--cam", "--saliency", "--occlusion", *pictures, "--out", str(tmp_path)]) == 0
    assert main([str(tiny), "--cam", "--class", "star", "--layer", "conv3", *pictures, "--out", str(tmp_path)]) == 0
    (cam, *_), (saliency, *_), (occlusion, *_), (star, _, note) = drawings
    assert [column[0].lines[0] for column in cam] == ["0.png", "1.png"]
    assert [len(drawing[0]) for drawing in (cam, saliency, occlusion, star)] == [3, 2, 3, 2]
    assert all(column[1].lines[0].startswith("star  ") for column in star) and "Grad-CAM of conv3, 8 × 8" in note
    guesses = mt.load(tiny)(tmp_path / "0.png").top(2)
    assert [panel.lines[0] for panel in cam[0][1:]] == [f"{g.name}  {100 * g.probability:.1f} %" for g in guesses]
    assert occlusion[0][1].image.shape == (16, 16, 3)


def test_mistakes_are_drawn_and_listed_with_the_names_of_their_files(tmp_path, capsys):
    """A model that says one class to all: everything else is a mistake."""
    for part in ("train", "val"):
        for name in data.make_shapes(1, 8).classes:
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for k in range(2):
                Image.new("RGB", (40, 40), (90, 20 * k, 9)).save(tmp_path / "pets" / part / name / f"{k}.png")
    directory, model = make_run(tmp_path / "tiny", dataset="folder", n_train=20)
    argv = [str(directory), "--mistakes", "--data-dir", str(tmp_path / "pets")]
    assert main(argv) == 0 and main([*argv, "--split", "train", "--out", str(tmp_path / "out")]) == 0
    rows = list(csv.DictReader((directory / "mistakes.csv").open()))
    assert len(rows) == 18 and {row["file"] for row in rows} <= {f"val/{c}/{k}.png" for c in
                                                                data.make_shapes(1, 8).classes for k in range(2)}
    assert all(row["class"] == row["file"].split("/")[1] != row["taken for"] for row in rows)
    sure = [float(row["probability"]) for row in rows]
    assert sure == sorted(sure, reverse=True) and Image.open(directory / "mistakes.png").width > 300
    assert next(csv.DictReader((tmp_path / "out" / "mistakes.csv").open()))["file"].startswith("train/")


def test_the_bundled_model_and_a_weights_file_are_explained_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(data.make_shapes(1, 50).images[0]).save("p.png")
    assert main(["pretrained", "--cam", "--kernels", "--images", "p.png"]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {"p.png", "cam.png", "kernels.png"}
    bundled = sorted(runs.PRETRAINED.iterdir())
    for file in tmp_path.glob("[ck]*.png"):
        file.unlink()
    assert main([os.path.relpath(runs.PRETRAINED), "--kernels"]) == 0  # by its path: not into the package
    assert sorted(runs.PRETRAINED.iterdir()) == bundled and Path("kernels.png").exists()
    from minitorch_alex.training import weights
    mt.manual_seed(0)
    weights.write(models.build("quick_26"), tmp_path / "w.safetensors")
    flags = ["w.safetensors", "-a", "quick_26", "--out", "out"]
    assert main([*flags, "--cam", "--saliency", "--occlusion", "--square", "5", "--maps", "--images", "p.png"]) == 0
    assert len(list(Path("out").iterdir())) == 4
    with pytest.raises(UsageError, match="a weights file has no images of its own; name some with --images"):
        main([*flags, "--deconv"])


def test_a_run_behind_a_flag_that_takes_files_is_found(tiny, tmp_path, capsys):
    Image.fromarray(data.make_shapes(1, 50).images[0]).save(tmp_path / "p.png")
    for words in (["--maps"], ["--cam", "--images", str(tmp_path / "p.png")]):
        assert main([*words, str(tiny)]) == 0
    assert capsys.readouterr().out.split() == [str(tiny / "maps.png"), str(tiny / "cam.png")]


@pytest.mark.parametrize("flags, kind, text", (
    (["--cam", "--layer", "fc6"], UsageError, "--layer fc6: expected a convolution of alexnet_cifar: conv1, conv2"),
    (["--cam", "--class", "dog"], UsageError, "--class dog: the model does not know this class; it knows disc, ring"),
    (["--cam", "--split", "val"], RunError, "the run has no val images .* use --split test or train"),
    (["--occlusion", "--square", "33"], UsageError, "--square 33: the network sees 32 x 32 pixels"),
    (["--square", "0"], UsageError, "--square must be at least 1, got 0"),
    (["--cam", "-a", "alexnet"], UsageError, "a run such as .* knows its own; leave -a out"),
    (["--cam", "--images", *["x.png"] * 25], UsageError, "names 25 files, a figure has room for 24"),
    (["--cam", "--images", "no.png"], DataError, "cannot read the image no.png")))
def test_what_cannot_be_explained_is_said_in_one_line(tiny, flags, kind, text):
    with pytest.raises(kind, match=text) as caught:
        main([str(tiny), *flags])
    assert "\n" not in str(caught.value)


def test_without_a_run_there_is_one_line():
    with pytest.raises(UsageError, match="expected a run to draw: runs/NAME, pretrained for"):
        main(["--cam"])


# the gallery


def test_the_commands_of_the_gallery_draw_its_pictures(tmp_path, monkeypatch, capsys):
    """Every command of the page but the trainings, on small runs under the same names."""
    page = (Path(__file__).parent.parent / "docs" / "gallery.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/first"), "alexnet_cifar", channels=(4,) * 5, hidden=(8, 8))
    make_run(Path("runs/quick"))
    for code in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(compile(code, "gallery.md", "exec"), {})
    commands = re.findall(r"^    python -m minitorch_alex\.(plots|predict) (.+)$", page, re.M)
    for program, words in commands:
        run = main if program == "plots" else predict.main
        limit = ["--limit", "30"] if program == "plots" else []
        assert run([*shlex.split(words), *limit]) == 0, words
    made = {file.name for file in [*Path("runs").rglob("*.png"), *Path(".").glob("*.png")]}
    shown = re.findall(r"\(gallery/([\w-]+\.png)\)", page)
    assert set(shown) <= made | {"find-lr.png"} and len(commands) >= 13


def test_the_receptive_field_of_a_unit_is_where_its_gradient_is():
    """Paddings in numbers and words, even windows, dilation; fields that reach past the edge of the image."""
    net = nn.Sequential(nn.Conv2d(2, 2, (4, 3), padding="same", dilation=(1, 2)), nn.AvgPool2d(3, 2, padding=1),
                        nn.Conv2d(2, 2, 2, padding="valid"), nn.Conv2d(2, 2, 3, stride=2, padding=1))
    for layer in (net[0], net[2], net[3]):
        layer.weight.data[...] = 1
    for row, column in ((0, 0), (1, 2), (2, 1)):
        x = mt.Tensor(np.ones((1, 2, 16, 20), np.float32), requires_grad=True)
        net(x)[0, 0, row, column].backward()
        rows, columns = np.nonzero(x.grad[0, 0])
        top, bottom, left, right = explain.field(net, row, column)
        want = max(top, 0), min(bottom, 15), max(left, 0), min(right, 19)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == want
