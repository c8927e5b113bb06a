"""The pictures say what the log says. Text is looked for in SVG, where it stands as text; colour in PNG."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minitorch_alex import plots
from minitorch_alex.errors import DiskError, ShapeError, UsageError


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
    plots._label_ends(axes, [(5.0, "b", "k"), (0.0, "low", "k"), (9.0, "high", "k"), (4.99, "a", "k")])
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
