"""Folders of images: what is read from them, in which order, and what is refused."""
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minitorch_alex import data
from minitorch_alex.data import folders, load, load_folder
from minitorch_alex.errors import DataError


def write_folder(folder, sizes=((40, 30), (20, 50)), classes=("b", "a", "c"), parts=("train", "val")):
    """DIR/PART/CLASS/k.png, an image of each size in every class and one more in the first; its red is the class."""
    for part in parts:
        for label, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for k, size in enumerate(sizes + sizes[:1] * (label == 0)):
                Image.new("RGB", size, (50 * label, 10 * k, 99)).save(folder / part / name / f"{k}.png")
    return folder


def test_images_become_squares_one_class_per_folder_one_of_each_class_in_turn(tmp_path):
    train, test = load("folder", write_folder(tmp_path / "pets"), size=16)
    assert train.images.shape == (7, 16, 16, 3) and len(test) == 7
    assert train.classes == ("a", "b", "c") == data.class_names("folder", tmp_path / "pets")
    assert (train.name, test.name) == ("pets (train)", "pets (val)")
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2, 1]  # "b" was written first, with one more image
    assert [train.file(i) for i in (0, 1, 6)] == ["train/a/0.png", "train/b/0.png", "train/b/2.png"]
    assert test.file(6) == "val/b/2.png"
    reds = {0: 50, 1: 0, 2: 100}
    assert [image[0, 0, 0] for image in train.images] == [reds[label] for label in train.labels]


def test_the_centre_is_kept_and_the_short_side_scaled(tmp_path):
    """Left and right thirds of a wide image are cut off; a small one is enlarged; grey becomes RGB."""
    pixels = np.zeros((30, 90), np.uint8)
    pixels[:, 30:60] = 200
    for part in ("train", "val"):
        (tmp_path / part / "x").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / part / "x" / "wide.PNG")
        Image.fromarray(np.full((5, 5), 7, np.uint8)).save(tmp_path / part / "x" / "small.jpeg")
    images = load_folder(tmp_path, 15)[0].images
    assert {image[7, 7, 0] for image in images} == {200, 7} and (images == images[:, 7:8, 7:8]).all()


def test_other_files_are_skipped_and_hidden_folders_are_not_classes(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / "a" / "notes.txt").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    assert len(load_folder(tmp_path, 8)[0]) == 7 and data.class_names("folder", tmp_path) == ("a", "b", "c")


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "val" / "c" / "bad.png").write_bytes(b"\x89PNG no")
    with pytest.raises(DataError, match="val/c/bad.png cannot be read as an image: .*repair or remove it"):
        load_folder(tmp_path, 8)


@pytest.mark.parametrize("change, text", (
    (lambda d: os.rename(d / "val", d / "other"), "val is missing: expected .*val/CLASS"),
    (lambda d: os.rename(d / "train", d / "other"), "train has no folders; expected .*train/CLASS"),
    (lambda d: (d / "val" / "z").mkdir(), "val/z is not a class"),
    (lambda d: [f.unlink() for f in (d / "val").rglob("*.png")], "val has no images")))
def test_a_folder_of_another_kind_is_refused(tmp_path, change, text):
    change(write_folder(tmp_path / "d"))
    with pytest.raises(DataError, match=text):
        load_folder(tmp_path / "d", 8)


def test_more_than_fits_into_memory_is_refused_before_reading_with_a_pointer_to_prepare(tmp_path, monkeypatch):
    write_folder(tmp_path)
    need = 14 * 8 * 8 * 3
    assert len(load_folder(tmp_path, 8, memory=need)[0]) == 7
    monkeypatch.setattr(folders, "read_pictures", None)
    with pytest.raises(DataError, match=r"has 14 images; at 8 x 8 .* up to 0\.0 GB; .*minitorch_alex\.prepare"):
        load_folder(tmp_path, 8, memory=need - 1)
    with pytest.raises(DataError, match=r"at 100000 x 100000 they take 420\.0 GB"):
        load_folder(tmp_path, 100_000)


@pytest.mark.skipif("MINITORCH_DATA" not in os.environ, reason="MINITORCH_DATA names no folder with real data")
def test_real_images():
    """A few of the ten-class subset of ImageNet: every pixel value occurs, and the classes have WordNet's names."""
    root = Path(os.environ["MINITORCH_DATA"]) / "imagenette-224"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    classes = data.class_names("folder", root)
    assert len(classes) == 10 and classes[0] == "tench"
    files = sorted((root / "val" / "n01440764").iterdir())[:8]
    images = folders.read_pictures(files, 64, "a few")
    assert images.shape == (8, 64, 64, 3) and len(np.unique(images)) > 250
