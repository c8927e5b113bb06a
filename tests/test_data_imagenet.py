"""Prepared sets: the pixels of tar and npy shards, damage by name, memory and files that stay bounded."""
import json
import os
import threading

import host_cuda
import numpy as np
import pytest
from PIL import Image
from prepared_set import smooth, write_prepared

from minitorch_alex import backend, data, prepare
from minitorch_alex.data import Loader, Transform, imagenet, load, load_imagenet
from minitorch_alex.data.transforms import fit_pca
from minitorch_alex.errors import DataError
from minitorch_alex.training import feed

KINDS = pytest.mark.parametrize("kind", ("tar", "npy"))


def files_open():
    """What this process has open, or mapped into memory, by name."""
    names = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
             if os.path.exists(f"/proc/self/fd/{fd}")}
    with open("/proc/self/maps") as maps:
        return names | {line.split(maxsplit=5)[-1].strip() for line in maps}


def open_in(folder):
    return sorted(name for name in files_open() if name.startswith(str(folder)))


@KINDS
def test_a_prepared_set_is_a_data_set(tmp_path, kind):
    stored = write_prepared(tmp_path / "set", kind)
    for name in ("imagenet", "folder"):
        train, val = load(name, tmp_path / "set")
        assert data.class_names(name, tmp_path / "set") == train.classes == ("thing 0", "thing 1", "thing 2")
    assert (train.name, val.name) == ("set (train)", "set (val)")
    for part, (images, labels) in zip((train, val), stored.values(), strict=True):
        assert len(part) == len(images) and part.labels.dtype == np.int64 and (part.labels == labels).all()
        rows = [5, 19, 5, 0, 17]
        assert part.images.shape == images.shape and (part.images[rows] == images[rows]).all()
        assert (part.images[3:8] == images[3:8]).all() and (part.images[7] == images[7]).all()
        assert (part.images[labels == 1] == images[labels == 1]).all()
        grid = np.array([[1, 2, 3], [3, 2, 1]])
        assert (part.images[grid] == images[grid]).all() and part.images[:0].shape == (0, 16, 16, 3)
        with pytest.raises(IndexError):
            part.images[len(images)]
        some = part.subset(rows)
        assert (some.images[1:3] == images[[19, 5]]).all() and (some.labels == labels[rows]).all()
    rest, held_out = train.split(0.25)
    assert len(rest) == 45 and (held_out.images[:] == stored["train"][0][np.isin(
        np.arange(60), [np.flatnonzero((stored["train"][0] == x).all(axis=(1, 2, 3)))[0] for x in held_out.images[:]]
    )]).all()


def test_mean_and_colour_are_those_of_the_whole_training_set(tmp_path):
    images, _ = write_prepared(tmp_path / "set")["train"]
    train, val = load_imagenet(tmp_path / "set")
    for part in (train, val, train.split(0.5)[1]):
        assert np.allclose(part.mean_image(), images.mean(axis=0), atol=1e-4)
        want, got = fit_pca(images), part.color_pca()
        assert np.allclose(got.eigenvalues, want.eigenvalues)
        assert np.allclose(np.abs(got.eigenvectors), np.abs(want.eigenvectors))


@KINDS
@pytest.mark.parametrize("fields", (dict(crop=12, flip=True), dict(flip=True), dict(crop=16, pad=2), dict(crop=16),
                                    dict(crop=12, flip=True, colour=True)), ids=str)
@pytest.mark.parametrize("workers", (0, 1, 3))
def test_batches_are_those_of_the_same_images_in_memory(tmp_path, kind, fields, workers):
    """To the bit, for every number of workers, from the middle of an epoch too."""
    images, labels = write_prepared(tmp_path / "set", kind)["train"]
    train, _ = load_imagenet(tmp_path / "set")
    colour = {"pca": train.color_pca()} if fields.pop("colour", False) else {}
    transform = Transform(train.mean_image(), **fields, **colour)
    expected = Loader(data.Dataset(images, labels, train.classes, "in memory"), 13, transform, seed=3, workers=0)
    loader = Loader(train, 13, transform, seed=3, workers=workers)
    for start in (0, 2):
        got, want = list(loader.epoch(1, start)), list(expected.epoch(1, start))
        assert len(got) == len(want) == len(loader) - start
        for (x, y), (u, v) in zip(got, want, strict=True):
            assert x.dtype == np.float32 and x.tobytes() == u.tobytes() and (y == v).all()
    place = np.empty((4, 13, 16, 16, 3), np.uint8)
    raw = [(x.copy(), draws) for x, _, draws in loader.raw(1, lambda b: place[b % 4])]
    for (x, draws), (u, _) in zip(raw, expected.epoch(1), strict=True):
        assert transform.apply(x, draws).transpose(0, 3, 1, 2).tobytes() == u.tobytes()


@pytest.mark.skipif(host_cuda.COMPILER is None, reason="no g++ to compile the kernels for the CPU")
@KINDS
def test_a_device_and_an_evaluation_see_the_same_images_as_in_memory(tmp_path, kind):
    """What is fed to a device, and the ten views there and on NumPy, to the bit."""
    images, labels = write_prepared(tmp_path / "set", kind)["train"]
    train, _ = load_imagenet(tmp_path / "set")
    memory = data.Dataset(images, labels, train.classes, "in memory")
    transform = Transform(train.mean_image(), crop=12, flip=True)

    def seen(dataset):
        batches = list(feed.feed(Loader(dataset, 13, transform, workers=2)).epoch(1))
        tens = [np.stack([backend.to_numpy(view) for view in batch])
                for batch in feed.views(dataset, transform, "ten", 13)]
        return [backend.to_numpy(a) for batch in batches for a in batch] + tens

    def same(a, b):
        return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    on_host = seen(memory)
    assert same(seen(train), on_host)
    with host_cuda.installed():
        assert same(seen(train), on_host)


@KINDS
def test_random_windows_reach_both_ends(tmp_path, kind):
    """From 16 to 12 there are 5 x 5 places, from 256 to 224 33 x 33, one more each way than the paper counts."""
    write_prepared(tmp_path / "set", kind, n_train=20)
    pictures = load_imagenet(tmp_path / "set")[0].images
    whole, out = pictures[[3, 4]], np.empty((2, 12, 12, 3), np.uint8)
    pictures.cut(np.array([3, 4]), np.array([0, 4]), np.array([4, 0]), np.array([False, True]), out)
    assert (out[0] == whole[0, :12, 4:]).all() and (out[1] == whole[1, 4:, 11::-1]).all()
    draws = Transform(crop=224, flip=True).draw((40_000, 256, 256, 3), np.random.default_rng(0))
    assert set(draws.rows) == set(draws.cols) == set(range(33))
    corners = set(zip(draws.rows, draws.cols, draws.flips, strict=True))
    assert {(0, 0, False), (32, 32, True), (0, 32, True), (32, 0, False)} <= corners


@KINDS
def test_files_are_opened_when_needed_bounded_and_closed(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(imagenet, "OPEN_SHARDS", 3)
    stored = write_prepared(tmp_path / "set", kind, n_train=64, per_shard=8)
    train, val = load_imagenet(tmp_path / "set")
    assert open_in(tmp_path) == []
    assert (train.images[np.arange(64)[::-1]] == stored["train"][0][::-1]).all()
    assert len(open_in(tmp_path)) == 3
    some = train.subset([1, 2])
    del train
    assert some.images[:].shape == (2, 16, 16, 3) and open_in(tmp_path) != []
    some.images.close()
    assert open_in(tmp_path) == []
    assert some.images[:].shape == (2, 16, 16, 3)
    del some
    assert open_in(tmp_path) == []


@KINDS
def test_many_threads_may_read_while_shards_come_and_go(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(imagenet, "OPEN_SHARDS", 2)
    images, _ = write_prepared(tmp_path / "set", kind, n_train=64, per_shard=8)["train"]
    pictures, wrong = load_imagenet(tmp_path / "set")[0].images, []

    def read(seed):
        for row in np.random.default_rng(seed).integers(0, 64, 200):
            if not (pictures[row] == images[row]).all():
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and len(open_in(tmp_path)) == 2


@pytest.mark.parametrize("kind, damage, text", (
    ("tar", "cut", "damaged: "), ("npy", "cut", "damaged: "), ("tar", "gone", "cannot open the shard"),
    ("npy", "gone", "cannot open the shard"), ("tar", "zeroed", "damaged at byte"), ("npy", "zeroed", "damaged: ")))
def test_a_damaged_shard_is_named(tmp_path, kind, damage, text):
    write_prepared(tmp_path / "set", kind)
    file = tmp_path / "set" / f"train-00001.{kind}"
    whole = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-100] if damage == "cut" else bytes(len(whole)))
    train, _ = load_imagenet(tmp_path / "set")
    loader = Loader(train, 10, Transform(crop=12), workers=2)
    with pytest.raises(DataError, match=text) as caught:
        list(loader.epoch(0))
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]


@pytest.mark.parametrize("kind, text", (("npy", "belongs to another set"),
                                        ("tar", "an image of 8 x 8, expected 16 x 16")))
def test_shards_of_another_size_are_refused(tmp_path, kind, text):
    write_prepared(tmp_path / "set", kind, size=8)
    index = json.loads((tmp_path / "set" / "index.json").read_text())
    (tmp_path / "set" / "index.json").write_text(json.dumps(index | {"size": 16}))
    np.save(tmp_path / "set" / "mean.npy", np.zeros((16, 16, 3), np.float32))
    with pytest.raises(DataError, match=text):
        load_imagenet(tmp_path / "set")[0].images[0]


@pytest.mark.parametrize("name, text", (
    ("index.json", "cannot be read"), ("mean.npy", "mean.npy cannot be read"), ("train-samples.npy", "cannot be read")))
def test_a_damaged_index_or_table_is_named(tmp_path, name, text):
    write_prepared(tmp_path / "set")
    file = tmp_path / "set" / name
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match=text):
        load_imagenet(tmp_path / "set")


def test_names_of_files_are_mapped_and_checked(tmp_path):
    write_prepared(tmp_path / "set")
    assert load_imagenet(tmp_path / "set")[0].files is None  # sets of before have no names
    names = np.array([f"train/{i}.JPEG".encode() for i in range(60)])
    np.save(tmp_path / "set" / "train-files.npy", names)
    train, val = load_imagenet(tmp_path / "set")
    assert isinstance(train.files, np.memmap) and train.subset([5]).file(0) == "train/5.JPEG" and val.files is None
    for wrong in (names[:5], np.arange(60)):
        np.save(tmp_path / "set" / "train-files.npy", wrong)
        with pytest.raises(DataError, match="expected the names of 60 files; prepare the set again"):
            load_imagenet(tmp_path / "set")
    (tmp_path / "set" / "train-files.npy").write_bytes(b"no")
    with pytest.raises(DataError, match="train-files.npy cannot be read"):
        load_imagenet(tmp_path / "set")


@pytest.mark.parametrize("change, text", (
    (lambda i: i.update(version=2), "version 1"), (lambda i: i.pop("color"), "index.json is damaged"),
    (lambda i: i["splits"]["train"]["shards"].pop(), "row 48 is outside of its shard"),
    (lambda i: i["splits"]["train"].update(images=61), "has 60 rows, expected 61"),
    (lambda i: i["classes"].pop(), r"label 2 at index 2 is not in 0\.\.1"),
    (lambda i: i.update(size=17), r"mean.npy has the shape \(16, 16, 3\)")))
def test_an_index_that_does_not_fit_is_refused(tmp_path, change, text):
    write_prepared(tmp_path / "set")
    file = tmp_path / "set" / "index.json"
    index = json.loads(file.read_text())
    change(index)
    file.write_text(json.dumps(index))
    with pytest.raises(DataError, match=text):
        load_imagenet(tmp_path / "set")


def test_a_folder_that_is_not_prepared_says_what_to_do(tmp_path):
    for ask in (load, data.class_names):
        with pytest.raises(DataError, match="is not a prepared set.*minitorch_alex.prepare SOURCE"):
            ask("imagenet", tmp_path)


def test_classes_of_one_name_are_told_apart():
    entries = [{"wnid": "n1", "name": "crane"}, {"wnid": "n2", "name": "tench, Tinca"}, {"wnid": "n3", "name": "crane"},
               {"wnid": "n4", "name": ""}]
    assert imagenet.prepared_classes({"classes": entries}) == ("crane (n1)", "tench", "crane (n3)", "n4")


@KINDS
def test_what_prepare_writes_is_what_is_read(tmp_path, kind):
    """Both formats of the same pictures: the raw one is what folders give, and the JPEGs are near it."""
    for part, n in (("train", 5), ("val", 2)):
        for label, name in enumerate(("n00000001", "n00000002")):
            (tmp_path / "src" / part / name).mkdir(parents=True)
            for i, pixels in enumerate(smooth(n, 40, 1, seed=10 * label + n)):
                Image.fromarray(pixels[:, :30]).save(tmp_path / "src" / part / name / f"{i}.png")
    assert prepare.main([str(tmp_path / "src"), str(tmp_path / "set"), "--format", kind, "--size", "24",
                         "--shard-images", "4", "-j", "1"]) == 0
    for got, want in zip(load("folder", tmp_path / "set"), load("folder", tmp_path / "src", size=24), strict=True):
        pixels = got.images[:].astype(int)
        differences = [np.abs(pixels - image).max(axis=(1, 2, 3)) for image in want.images.astype(int)]
        nearest = np.argmin(differences, axis=0)
        assert sorted(nearest) == list(range(len(want))) and (want.labels[nearest] == got.labels).all()
        assert np.max(np.min(differences, axis=0)) <= (0 if kind == "npy" else 25)
        assert np.allclose(got.mean_image(), got.images[:].mean(axis=0), atol=1e-3) or "val" in got.name
    train = load_imagenet(tmp_path / "set")[0]
    assert np.allclose(train.color_pca().eigenvalues, fit_pca(train.images[:]).eigenvalues, rtol=1e-6)
    assert np.allclose(train.color_pca().eigenvectors, fit_pca(train.images[:]).eigenvectors, atol=1e-6)


def anonymous_memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


@KINDS
def test_memory_stays_flat_over_an_epoch(tmp_path, kind):
    """An epoch of 24 MB of pixels leaves less than an eighth of it in memory: batches come and go."""
    write_prepared(tmp_path / "set", kind, size=64, n_train=2000, n_val=3, per_shard=500)
    train, _ = load_imagenet(tmp_path / "set")
    loader = Loader(train, 20, Transform(crop=56, flip=True), workers=2)
    peak, before = 0, None
    for b, _batch in enumerate(loader.epoch(0)):
        if b == 10:
            before = anonymous_memory()
        elif b > 10:
            peak = max(peak, anonymous_memory())
    assert peak - before < 3e6


def test_leaving_an_epoch_early_ends_the_threads(tmp_path):
    write_prepared(tmp_path / "set", "tar")
    epoch = Loader(load_imagenet(tmp_path / "set")[0], 4, Transform(crop=12), workers=3).epoch(0)
    next(epoch)
    epoch.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]
