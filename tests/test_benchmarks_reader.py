"""The reader benchmark: contenders give the same pictures, and its numbers mean what its table says."""
import itertools
import json

import numpy as np
import pytest
from prepared_set import write_prepared

from benchmarks import harness, reader, reader_contenders
from minitorch_alex.errors import UsageError


def of_the_set(images, stored):
    """Whether each image is one of the set, mirrored or not, and both happen."""
    known = {image.tobytes(): False for image in stored} | {image[:, ::-1].tobytes(): True for image in stored}
    return {known[np.ascontiguousarray(image).tobytes()] for image in images} == {False, True}


@pytest.mark.parametrize("contender", ("ours tar x1 uint8", "ours npy x2 uint8", "pillow tar x1 uint8",
                                       pytest.param("torch tar x1 uint8", marks=pytest.mark.torch)))
def test_contenders_give_the_images_of_the_set_some_mirrored(tmp_path, contender):
    """Where the window is the whole image, nothing else can come out."""
    if contender.startswith("torch"):
        pytest.importorskip("torch")
    who, kind, cores, _ = contender.split()
    stored = write_prepared(tmp_path / "set", kind, size=16, n_train=60)["train"][0]
    batches = reader_contenders.CONTENDERS[who]({"contender": contender, "folder": str(tmp_path / "set"),
                                                 "crop": 16, "cores": int(cores[1:])})
    first, second = (np.asarray(batch) for batch in itertools.islice(batches, 2))
    batches.close()
    assert first.dtype == np.uint8 and first.shape == (60, 16, 16, 3)
    assert of_the_set(first, stored) and of_the_set(second, stored) and not np.array_equal(first, second)


def test_floats_are_without_the_mean_and_a_device_gets_whole_images(tmp_path):
    stored = write_prepared(tmp_path / "set", size=16, n_train=60)["train"][0]
    job = {"folder": str(tmp_path / "set"), "crop": 16, "cores": 1}
    floats = next(reader_contenders.ours(job | {"contender": "ours npy x1 float32"}))
    assert floats.dtype == np.float32 and abs(floats.mean()) < 1
    whole = next(reader_contenders.ours(job | {"contender": "ours npy x1 feed"}))
    assert whole.shape == (60, 16, 16, 3) and sorted(map(bytes, whole)) == sorted(map(bytes, stored))


def test_a_sample_is_a_child_of_its_own(tmp_path):
    write_prepared(tmp_path / "set", "tar", size=16, n_train=60)
    job = {"task": "measure", "contender": "ours tar x1 uint8", "folder": str(tmp_path / "set"), "cores": 1,
           "crop": 12, "seconds": 0, "warm_up": 2}
    got = harness.run_child(reader.CHILD, job, {})
    assert got["images"] == 60 and got["images_s"] > 0 and got["core_s"] > 0 and got["peak_mb"] > 10
    assert "not a prepared set" in harness.run_child(reader.CHILD, job | {"folder": str(tmp_path)}, {})["error"]


def test_what_a_rate_means_for_imagenet():
    """1,281,167 images at 2,000 a second and core are 640.6 seconds on one core."""
    found = reader.derived({"ours tar x1 uint8": {"images_s": 2000}, "ours tar x2 uint8": {"images_s": 1}})
    assert list(found) == ["ours tar x1 uint8"]
    row = found["ours tar x1 uint8"]
    assert row["minutes_per_imagenet_epoch"] == {"2": 5.34, "16": 0.67, "64": 0.17}
    assert row["feeds"]["5000 img/s"] == {"cores": 2.5, "2": False, "16": True, "64": True}
    assert row["feeds"]["15000 img/s"] == {"cores": 7.5, "2": False, "16": True, "64": True}


def test_the_whole_benchmark_on_a_set_that_is_there(tmp_path, monkeypatch, capsys):
    """Everything but `prepare`, whose work a written set stands for."""
    monkeypatch.setattr(reader, "prepare", lambda source, folder, images, kind, workers:
                        len(write_prepared(folder, kind, size=16)) / 1.0)
    monkeypatch.setattr(harness, "FOREIGN_LIMIT", float("inf"))  # no sample counts as disturbed
    path = tmp_path / "speed.json"
    names = ["ours tar x1 uint8", "ours npy x1 feed"]
    assert reader.main(["--contenders", *names, "--rounds", "2", "--seconds", "0", "--retries", "0", "--crop", "12",
                        "--out", str(path)]) == 0
    content, out = json.loads(path.read_text()), capsys.readouterr().out
    assert content["prepare"]["npy"]["images"] == 80 and content["prepare"]["npy"]["images_s"] == 40
    samples, summary = content["reader"]["all"]["samples"], content["reader"]["all"]["summary"]
    assert [len(samples[name]) for name in names] == [2, 2]
    ratios = [a["images_s"] / b["images_s"] for a, b in zip(*(samples[name] for name in names), strict=True)]
    assert summary[names[1]]["images_s_ratio"][1:] == pytest.approx([min(ratios), max(ratios)], rel=0.01, abs=1e-3)
    assert "minutes per epoch, 16 cores" in out and "cores for 15,000 img/s" in out
    assert reader.main(["--show", str(path)]) == 0 and capsys.readouterr().out == out


@pytest.mark.parametrize("flags", (["--contenders", "tf"], ["--rounds", "0"], ["--images", "3"],
                                   ["--show", "no_such_file.json"]))
def test_wrong_usage_is_told(flags):
    with pytest.raises(UsageError, match=flags[0]):
        reader.main(flags)
