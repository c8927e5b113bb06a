"""Pictures of every kind come in, the run's own preprocessing is used, and what goes wrong is said in one line."""
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import make_run

import minitorch_alex as mt
from minitorch_alex import data, models, predict, train
from minitorch_alex.errors import DataError, DivergedError, RunError, UsageError
from minitorch_alex.evaluate import predict as evaluated
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import architectures, runs, weights
from minitorch_alex.training.cli import run_cli
from minitorch_alex.training.runs import Run

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "tiny")[0]


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(data.make_shapes(1, 40).images[0]).save(file)
    return file


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return np.asarray(predict.read_image(tmp_path / name))


def filled(mode, colour):
    return Image.new(mode, (3, 2), colour)


@pytest.mark.parametrize(("image", "name", "expected"), [
    (filled("RGB", (9, 80, 200)), "a.png", (9, 80, 200)), (filled("L", 77), "a.png", (77,) * 3),
    (filled("1", 1), "a.png", (255,) * 3), (filled("CMYK", (255, 0, 0, 0)), "a.tif", (0, 255, 255)),
    (filled("RGBA", (200, 0, 0, 0)), "a.png", (255,) * 3), (filled("RGBA", (0, 0, 0, 255)), "a.png", (0,) * 3),
    (filled("LA", (100, 255)), "a.png", (100,) * 3), (filled("P", 0), "a.gif", (0,) * 3),
    (Image.fromarray(np.full((2, 3), 25700, np.uint16)), "a.png", (100,) * 3),
    (Image.fromarray(np.full((2, 3), 100, np.int32)), "a.tif", (100,) * 3)])
def test_pictures_of_every_kind_become_rgb(tmp_path, image, name, expected):
    pixels = saved(tmp_path, image, name)
    assert pixels.shape == (2, 3, 3) and pixels.dtype == np.uint8 and (pixels == expected).all()


def test_a_palette_with_a_transparent_colour_stands_on_white(tmp_path):
    image = filled("P", 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert (saved(tmp_path, image) == (10, 20, 30)).all()
    assert (saved(tmp_path, image, transparency=1) == 255).all()


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    image = Image.fromarray(np.uint8([[[255, 0, 0], [0, 255, 0]]]))
    assert saved(tmp_path, image, exif=exif).tolist() == [[[255, 0, 0]], [[0, 255, 0]]]


def test_the_short_side_is_resized_and_the_centre_taken():
    wide = np.zeros((2, 8, 3), np.uint8)
    wide[:, 3:5] = 90
    assert (predict.square(Image.fromarray(wide), 2) == 90).all()
    assert predict.square(Image.fromarray(wide), 7).shape == (7, 7, 3)


@pytest.mark.parametrize("views", ["single", "nine", "ten"])
@pytest.mark.parametrize("name", ["quick_26", "conv_local_13"])  # of whole images, and of crops of 24
def test_a_picture_from_the_data_is_seen_as_evaluation_sees_it(tmp_path, name, views):
    directory, model = make_run(tmp_path, name)
    test = data.make_shapes(3, 32, split="test")
    run, file = runs.find(directory)
    mean = runs.load_model(file, run.read_config())[1]["data.mean"]
    expected = evaluated(model, test, runs.build_transform(run.read_config(), mean), views)
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(files, test.images):
        Image.fromarray(image).save(path)
    predictor = predict.of_run(directory, views=views)
    squares = np.stack([predict.square(predict.read_image(f), predictor.side) for f in files])
    got = predictor.probabilities(squares, batch_size=2)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7)
    assert tuple(predictor.classes) == test.classes


def test_the_command_prints_the_first_classes_and_draws(run, picture, tmp_path, capsys):
    out = tmp_path / "p.svg"
    assert predict.main([str(picture), str(picture), "-w", str(run), "--top", "3", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"quick_26 from {run / 'checkpoint.safetensors'}, epoch 1"
    assert lines[2] == f"{picture}  (40 x 40)" and lines[-1] == str(out)
    rows = [line.split(" %  ") for line in lines[3:6]]
    chances = [float(row[0]) for row in rows]
    assert chances == sorted(chances, reverse=True) and all(row[1] in data.class_names("shapes") for row in rows)
    svg = out.read_text()
    assert svg.count(">a.png<") == 2 and svg.count(f">{rows[0][1]}<") == 2 and svg.count("<image") == 2


def test_names_of_classes_from_a_file(run, picture, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"shape-{i}" for i in range(10)))
    assert predict.main([str(picture), "-w", str(run), "--classes", str(names)]) == 0
    assert capsys.readouterr().out.count("shape-") == 5
    names.write_text("one\ntwo\n")
    with pytest.raises(UsageError, match="names 2 classes, the model has 10"):
        predict.main([str(picture), "-w", str(run), "--classes", str(names)])


def test_a_file_of_weights_brings_its_number_of_classes(picture, tmp_path, capsys):
    mt.manual_seed(3)
    model = models.build("quick_26", 7)
    weights.write(model, tmp_path / "w.safetensors")
    assert predict.main([str(picture), "-w", str(tmp_path / "w.safetensors"), "--model", "quick_26", "--top", "9"]) == 0
    out = capsys.readouterr().out
    assert "ImageNet's mean colour; its classes have numbers, and --classes FILE names them\n" in out
    assert out.count("%  class ") == 7
    predictor = predict.of_weights(tmp_path / "w.safetensors", "quick_26")
    grey = np.full((1, 32, 32, 3), (124, 117, 100), np.uint8)
    assert (predictor.prepare(grey) == (1, 0, -4)).all() and len(predictor.prepare(grey)) == 1
    several = predict.of_weights(tmp_path / "w.safetensors", "quick_26", "ten")
    assert several.prepare(grey).shape == (2, 1, 32, 32, 3)  # a single window, and its mirror image


def test_torchvisions_net_gets_torchvisions_inputs(tmp_path, monkeypatch):
    def blank(name, classes=1000):
        return AlexNet(AlexNetConfig.torchvision(image_size=224, channels=(2,) * 5, hidden=(3, 3)), classes)

    weights.write(blank("", 4), tmp_path / "w.safetensors")
    monkeypatch.setattr(architectures, "blank", blank)
    predictor = predict.of_weights(tmp_path / "w.safetensors", "alexnet_torchvision")
    assert predictor.side == 256 and len(predictor.classes) == 4
    x = predictor.prepare(np.full((1, 256, 256, 3), 255, np.uint8))
    assert x.shape == (1, 1, 224, 224, 3) and x.dtype == np.float32
    x = predictor.model.scale(mt.Tensor(x[0].transpose(0, 3, 1, 2))).data.transpose(0, 2, 3, 1)[None]
    white = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(x[0, 0, 0, 0], white, rtol=1e-5)


def fails(capsys, code, text, *args):
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: predict.main([str(a) for a in args]))
    error = capsys.readouterr().err
    assert stop.value.code == code and error.startswith("error: ") and error.count("\n") == 1 and text in error, error


def test_what_goes_wrong_is_said_in_one_line(run, picture, tmp_path, capsys):
    broken, text, loose = tmp_path / "broken.png", tmp_path / "text.png", tmp_path / "w.safetensors"
    broken.write_bytes(picture.read_bytes()[:900])
    text.write_text("no picture")
    weights.write(models.build("net_18"), loose)
    fails(capsys, DataError.exit_code, "No such file", tmp_path / "none.png", "-w", run)
    fails(capsys, DataError.exit_code, "not an image that Pillow can read", text, "-w", run)
    fails(capsys, DataError.exit_code, "cannot read the image", broken, "-w", run)
    (tmp_path / "empty").mkdir()
    fails(capsys, DataError.exit_code, "has no images in it", tmp_path / "empty", "-w", run)
    fails(capsys, RunError.exit_code, "there is no checkpoint at", picture, "-w", tmp_path / "none")
    fails(capsys, UsageError.exit_code, "with --model NAME", picture, "-w", loose)
    fails(capsys, RunError.exit_code, "net_18 or net_19, not of quick_26", picture, "-w", loose, "--model", "quick_26")
    fails(capsys, RunError.exit_code, "cannot read the weights", picture, "-w", "none.pth", "--model", "net_18")
    fails(capsys, UsageError.exit_code, "unknown model 'net_20'", picture, "-w", loose, "--model", "net_20")
    fails(capsys, UsageError.exit_code, "--top must be at least 1", picture, "-w", run, "--top", 0)
    fails(capsys, DataError.exit_code, "cannot read the names", picture, "-w", run, "--classes", tmp_path / "none.txt")


# Many pictures, and answers for programs.


@pytest.fixture
def folder(tmp_path):
    """Six pictures at several depths, a text and a damaged picture."""
    root = tmp_path / "album"
    for i, image in enumerate(data.make_shapes(6, 40).images):
        place = root / ("", "sub/", "sub/deep/")[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    (root / "notes").write_text("no picture")
    (root / "Thumbs.db").write_text("a system's")
    return root


def names(root):
    return sorted(str(path) for path in root.rglob("*.png"))


def test_folders_are_searched_and_told_as_json(run, folder, capsys):
    assert predict.main([str(folder), "-w", str(run), "--json", "--top", "2"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [row["file"] for row in rows] == names(folder) and len(out.splitlines()) == 8
    assert err.splitlines()[0].startswith("quick_26 from ") and "'" + str(folder / "notes") + "'" in err
    seen = predict.of_run(run)(folder / "sub" / "1.png").top(2)
    (row,) = [row for row in rows if row["file"].endswith("1.png")]
    assert (row["width"], row["height"]) == (40, 40)
    assert [guess["name"] for guess in row["top"]] == [guess.name for guess in seen]
    assert row["top"][0]["probability"] == pytest.approx(seen[0].probability, abs=2e-6)


def test_tables_go_to_files_whole(run, folder, tmp_path, capsys):
    table, listing = tmp_path / "new" / "p.csv", tmp_path / "p.json"
    (folder / "a \"quoted\", name.png").write_bytes((folder / "0.png").read_bytes())
    assert predict.main([str(folder), "-w", str(run), "--csv", str(table), "--json", str(listing), "--top", "99"]) == 0
    rows = list(csv.reader(table.open(newline="")))
    assert rows[0] == ["file", *(f"{what}_{i}" for i in range(1, 11) for what in ("name", "probability"))]
    assert [row[0] for row in rows[1:]] == names(folder) == [row["file"] for row in json.loads(listing.read_text())]
    assert sum(float(number) for number in rows[1][2::2]) == pytest.approx(1, abs=1e-4)
    assert capsys.readouterr().out.splitlines()[1:] == [str(listing), str(table)]
    before = table.read_bytes()
    fails(capsys, DataError.exit_code, "No such file", tmp_path / "none.png", "-w", run, "--csv", table)
    assert table.read_bytes() == before and len(list(table.parent.iterdir())) == 1


def test_a_picture_that_cannot_be_read_is_told_and_the_others_are_predicted(run, folder, capsys):
    (folder / "b\nroken.png").write_bytes((folder / "0.png").read_bytes()[:900])
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: predict.main([str(folder), "none.png", "-w", str(run), "--csv"]))
    out, err = capsys.readouterr()
    assert stop.value.code == DataError.exit_code and len(out.splitlines()) == 1 + 6
    _, broken, missing, note, end = err.splitlines()
    assert broken.startswith("passed over: cannot read the image ") and "b\\nroken.png: " in broken
    assert missing == "passed over: cannot read the image none.png: No such file or directory"
    assert note.startswith("note: 2 files or folders were passed over")
    assert end == "error: 2 of 9 images could not be read, see above; the others are predicted"


def test_a_picture_comes_in_on_standard_input(run, picture, capsys, monkeypatch):
    class Piped:
        def __init__(self, content):
            self.buffer = io.BytesIO(content)

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Piped(picture.read_bytes()))
    assert predict.main(["-", "-w", str(run)]) == 0
    assert "\n-  (40 x 40)\n" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", Piped(b"a.png\nb.png\n"))
    fails(capsys, DataError.exit_code, "names of files go through xargs", "-", "-w", run)
    monkeypatch.setattr(sys, "stdin", None)
    fails(capsys, DataError.exit_code, "nothing is piped into it", "-", "-w", run)
    fails(capsys, UsageError.exit_code, "which can be read once", "-", "-", "-w", run)


def test_names_of_outputs_are_checked_before_anything_else(picture, tmp_path, capsys):
    """No model is looked for: the weights are missing. A picture after --json is not overwritten."""
    (tmp_path / "d.csv").mkdir()
    for flags, text in ((["--out", "p.csv"], "--out p.csv: the name must end in .png, .svg or .pdf"),
                        (["--json", picture], "must end in .json; to print to the terminal, put --json after"),
                        (["--csv", "p.txt"], "--csv p.txt: the name must end in .csv"),
                        (["--csv", tmp_path / "d.csv"], "is a folder; give the name of a file"),
                        (["--csv", "--json"], "cannot both go to the terminal")):
        fails(capsys, UsageError.exit_code, text, picture, "-w", "none", *flags)
    assert picture.exists()


def test_only_a_few_pictures_wait_for_the_network(tmp_path, run, monkeypatch):
    """Reading is at most READ_AHEAD ahead of what was taken, and the network gets BATCH_SIZE at a time."""
    monkeypatch.setattr(predict.pictures, "READ_AHEAD", 3)
    monkeypatch.setattr(predict.pictures, "available_cpus", lambda: 1)
    reads, read = [], predict.read
    monkeypatch.setattr(predict.pictures, "read", lambda *args: reads.append(args) or read(*args))
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    pictures = predict.read_ahead([predict.Source(str(tmp_path / "a.png"))] * 9, 32, False)
    for taken in range(1, 7):
        assert next(pictures).square.shape == (32, 32, 3) and len(reads) <= taken + 3
    pictures.close()
    assert len(reads) < 9


@pytest.mark.slow
def test_memory_stays_flat_over_five_thousand_pictures(run, tmp_path):
    (tmp_path / "album").mkdir()
    Image.new("RGB", (240, 180)).save(tmp_path / "a.jpg")
    for i in range(5000):
        os.link(tmp_path / "a.jpg", tmp_path / "album" / f"{i}.jpg")
    code = ("import resource, sys; from minitorch_alex import predict; predict.main(sys.argv[1:]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)")

    def peak(*images):
        args = [*map(str, images), "-w", str(run), "--csv", str(tmp_path / "p.csv")]
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])  # MB

    few = peak(*sorted((tmp_path / "album").iterdir())[:300])
    assert peak(tmp_path / "album") < few + 25  # their pixels are 648 MB
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 5001


def test_the_model_that_comes_with_the_package(picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # it is found from anywhere
    assert predict.main([str(picture)]) == 0
    about, *lines = capsys.readouterr().out.splitlines()
    assert about.endswith("it knows only airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck")
    assert sum(line.endswith(data.class_names("cifar10")) for line in lines) == 5
    for flags in (["--model", "net_18"], ["--previous"]):
        fails(capsys, UsageError.exit_code, f"{flags[0]} says how to read --weights", picture, *flags)


def test_the_model_that_comes_with_the_package_is_what_its_card_says():
    files = {file.name: file for file in runs.PRETRAINED.iterdir()}
    assert files.keys() == {"README.md", "config.json", "result.json", "checkpoint.safetensors"}
    assert sum(file.stat().st_size for file in files.values()) <= 3_000_000
    card, result = files["README.md"].read_text(), json.loads(files["result.json"].read_text())
    views = json.loads((ROOT / "results" / "alexnet_cifar-evaluate.json").read_text())["views"]
    assert json.loads((ROOT / "results" / "alexnet_cifar.json").read_text()) == result
    assert views["single"]["top1_error"] == result["test"]["top1_error"]
    for view in views.values():
        assert f"{100 - view['top1_error']:.2f} %" in card
    assert result["command"] in card and result["commit"] in card
    parameters = sum(p.size for p in predict.pretrained().model.parameters())
    assert f"{parameters:,} parameters" in card


@pytest.mark.skipif("MINITORCH_DATA" not in os.environ, reason="MINITORCH_DATA names no folder with real data")
def test_the_model_that_comes_with_the_package_sees_real_pictures():
    test = data.load("cifar10", os.environ["MINITORCH_DATA"])[1].subset(slice(1000))
    probs = predict.pretrained().probabilities(test.images)
    assert np.mean(probs.argmax(1) != test.labels) < 0.17


def test_a_slim_run_predicts_what_the_run_does(tmp_path):
    directory, model = make_run(tmp_path / "run")
    with pytest.raises(RunError, match="is not finished"):
        runs.slim(directory, tmp_path / "slim")
    assert not (tmp_path / "slim").exists()
    Run(directory).write_json(Run(directory).result, {"seed": 0})
    runs.slim(directory, tmp_path / "slim")
    whole, slim = predict.of_run(directory), predict.of_run(tmp_path / "slim")
    for (name, a), b in zip(model.state_dict().items(), slim.model.state_dict().values(), strict=True):
        assert b.dtype == np.float32 and np.array_equal(b, a.astype(np.float16)), name
    images = data.make_shapes(4, 32).images
    np.testing.assert_allclose(slim.probabilities(images), whole.probabilities(images), atol=2e-3)
    size = [(tmp_path / name / "checkpoint.safetensors").stat().st_size for name in ("run", "slim")]
    assert size[1] < 0.55 * size[0]
    with pytest.raises(RunError, match="weights only"):
        train.main(["--resume", str(tmp_path / "slim")])


def test_a_picture_of_too_many_pixels_is_refused(picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="has more than 200 pixels"):
        predict.read_image(picture)


def test_weights_that_diverged_predict_nothing(tmp_path):
    predictor = predict.of_run(make_run(tmp_path)[0])
    for parameter in predictor.model.parameters():
        parameter.data[...] = np.nan
    with pytest.raises(DivergedError, match="not finite"):
        predictor.probabilities(np.zeros((1, 32, 32, 3), np.uint8))
