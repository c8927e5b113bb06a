"""mt.load: a run, the bundled model or a file of weights, and whatever can stand for a picture."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from small_run import make_run

import minitorch_alex as mt
from minitorch_alex import data, models
from minitorch_alex.errors import DataError, KindError, RunError, ShapeError, UsageError
from minitorch_alex.training import architectures, weights

IMAGES = data.make_shapes(3, 40).images


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return mt.load(make_run(tmp_path_factory.mktemp("runs") / "tiny")[0])


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, IMAGES):
        Image.fromarray(image).save(path)
    return paths


def probabilities(seen):
    return np.stack([each.probabilities for each in seen])


def test_paths_images_and_arrays_are_seen_alike(model, files):
    expected = probabilities(model(files))
    assert expected.shape == (3, 10) and np.ptp(expected[:, 0]) > 0
    for many in (map(str, files), (Image.open(file) for file in files), IMAGES, list(IMAGES),
                 [files[0], Image.fromarray(IMAGES[1]), IMAGES[2]]):
        assert np.array_equal(probabilities(model(many)), expected)
    for one in (files[1], str(files[1]), Image.open(files[1]), IMAGES[1]):
        assert np.allclose(model(one).probabilities, expected[1], atol=1e-6)


def test_what_a_model_sees_is_told_with_names(model):
    seen = model(IMAGES[0])
    first, *others = seen.top(10)
    assert (seen.name, seen.probability) == first and first.probability == seen.probabilities.max()
    assert sorted(guess.name for guess in (first, *others)) == sorted(data.class_names("shapes"))
    assert first.probability >= others[0].probability and len(seen.top()) == 5
    assert len(seen.top(99)) == 10 and repr(seen) == f"<{seen.name}, {100 * seen.probability:.2f} %>"
    with pytest.raises(UsageError, match="top: got 0, expected at least 1"):
        seen.top(0)


def test_pictures_of_any_number_go_through_in_batches(model):
    read = []

    def pictures():
        for image in np.concatenate([IMAGES] * 3):
            read.append(image)
            yield image

    stream = model.stream(pictures(), batch_size=4)
    assert not read
    first = next(stream)
    assert len(read) == 4 and len(list(stream)) == 8
    assert np.allclose(first.probabilities, model(IMAGES[0]).probabilities, atol=1e-6)
    assert model([]) == []


def test_grey_and_transparent_arrays_are_what_pillow_says_they_are(model):
    grey = IMAGES[0][:, :, 0]
    assert np.array_equal(model(grey).probabilities, model(np.stack([grey] * 3, axis=2)).probabilities)
    clear = np.dstack([IMAGES[0], np.zeros(grey.shape, np.uint8)])
    assert np.array_equal(model(clear).probabilities, model(np.full_like(IMAGES[0], 255)).probabilities)


def test_an_open_image_is_turned_as_its_exif_says(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png", exif=exif)
    expected = model(np.rot90(IMAGES[0], -1)).probabilities
    assert np.array_equal(model(Image.open(tmp_path / "a.png")).probabilities, expected)
    assert np.array_equal(model(tmp_path / "a.png").probabilities, expected)


@pytest.mark.parametrize(("picture", "error", "text"), [
    (np.zeros((4, 4, 3)), KindError, r"float64, expected uint8.*\(255 \* x\)"),
    (np.zeros((4, 4, 3), np.int64), KindError, "int64, expected uint8.*x.astype"),
    (np.zeros((3, 9, 9), np.uint8), ShapeError, r"\(3, 9, 9\).*x.transpose\(1, 2, 0\)"),
    (np.zeros((9, 9, 1), np.uint8), ShapeError, r"x\[:, :, 0\]"),
    (np.zeros((0, 9, 3), np.uint8), DataError, "no pixels"),
    (3, KindError, "got int in place of a picture"), ([3], KindError, "got int in place of a picture"),
    ("none.jpg", DataError, "cannot read the image none.jpg: No such file"),
    ("two\nlines.jpg", DataError, r"cannot read the image two\\nlines.jpg")])
def test_what_is_not_a_picture_is_refused_with_a_reason(model, picture, error, text):
    with pytest.raises(error, match=text):
        model(picture)


def test_an_open_image_of_a_damaged_file_is_refused(model, files):
    files[0].write_bytes(files[0].read_bytes()[:900])
    with pytest.raises(DataError, match="cannot read the image .*0.png"):
        model(Image.open(files[0]))


def test_the_bundled_model_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mt.load().classes == mt.load("pretrained").classes == data.class_names("cifar10")
    make_run(tmp_path / "pretrained")  # somebody's own run comes first
    assert mt.load("pretrained").name == "quick_26"


def test_a_model_of_another_place_is_whole(tmp_path, monkeypatch):
    """Where its data is does not matter: names and mean are in the run."""
    run, _ = make_run(tmp_path / "a" / "run")
    expected = mt.load(run)(IMAGES)
    run.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert np.array_equal(probabilities(mt.load(".")(IMAGES)), probabilities(expected))


def test_weights_are_recognised_by_their_shapes(tmp_path):
    model = models.build("quick_26", 7)
    file = tmp_path / "w.safetensors"
    weights.write(model, file)
    loaded = mt.load(file)
    assert loaded.name == "quick_26" and len(loaded.classes) == 7
    assert mt.load(file, classes=list("abcdefg")).classes == tuple("abcdefg")
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    assert mt.load(file, classes=tmp_path / "names.txt")(IMAGES[0]).name in "abcdefg"
    with pytest.raises(UsageError, match="got 2 names of classes, the model has 7"):
        mt.load(file, classes=["a", "b"])
    with pytest.raises(UsageError, match="unknown views 'two'"):
        mt.load(file, views="two")
    with pytest.raises(UsageError, match="a run knows its model"):
        mt.load(tmp_path, arch="quick_26")
    weights.write(models.build("net_18"), file)
    with pytest.raises(UsageError, match="fit net_18, net_19; say which of them it is, with --model NAME"):
        mt.load(file)
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, file)
    with pytest.raises(RunError, match="its weights fit none of the models alexnet_cifar"):
        mt.load(file)


def test_classes_are_counted_before_a_net_is_built(tmp_path, monkeypatch):
    """A bias of millions next to a weight of ten rows asks for no net of millions of classes."""
    state = dict(models.build("quick_26").state_dict()) | {"fc10.bias": np.zeros(3_000_000, np.float32)}
    safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
    built, blank = [], architectures.blank
    monkeypatch.setattr(architectures, "blank", lambda *args: built.append(args) or blank(*args))
    with pytest.raises(RunError, match=r"fc10.bias is \(3000000,\), expected \(10,\)"):
        mt.load(tmp_path / "w.safetensors", arch="quick_26")
    assert built[0] == ("quick_26",) and {classes for _, *rest in built for classes in rest} <= {1}


@pytest.mark.parametrize("name", ["alexnet_cifar", "alexnet_torchvision", *models.SMALL])
def test_widths_tell_most_nets_apart(name):
    """What spares building the large ones lets the right one through, and of the others only what has its widths."""
    state = {key: np.broadcast_to(np.float32(0), parameter.shape)
             for key, parameter in architectures.blank(name, 3).named_parameters()}
    possible = [other for other in models.ALEXNETS if architectures._may_fit(other, state)]
    assert possible == ([name] if name in models.ALEXNETS else []) or name == "alexnet_torchvision"
    assert name not in models.ALEXNETS or name in possible


def test_importing_the_package_loads_nothing_of_it():
    code = ("import sys, minitorch_alex as mt; mt.load; "
            "print([name for name in sys.modules if name.startswith(('minitorch_alex.classifier', "
            "'minitorch_alex.training', 'matplotlib'))])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parent.parent)
    assert done.stdout.strip() == "[]"
