"""Dataset: what it accepts, what it refuses, how it splits, and its mean image."""
import numpy as np
import pytest

from minitorch_alex.data import Dataset, load
from minitorch_alex.errors import DataError, UsageError


def a_set(counts=(30, 20, 10), size=4):
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8)
    return Dataset(images, labels, tuple("abc"), "toy")


def test_types_are_settled():
    images = np.zeros((2, 3, 4, 4), np.uint8).transpose(0, 2, 3, 1)  # not contiguous
    d = Dataset(images, np.array([0, 1], np.int16), ["a", "b"], "toy")
    assert d.images.shape == (2, 4, 4, 3) and d.images.flags.c_contiguous
    assert d.labels.dtype == np.int64 and d.classes == ("a", "b") and len(d) == 2
    with pytest.raises(AttributeError):
        d.labels = None


@pytest.mark.parametrize("images", [
    np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), np.uint8), np.zeros((2, 3, 4, 4), np.uint8)])
def test_wrong_images_are_refused(images):
    with pytest.raises(DataError, match=r"toy: images are .* expected uint8 \(N, H, W, 3\)"):
        Dataset(images, np.zeros(2, int), ("a",), "toy")


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros(2), np.zeros((2, 1), int)])
def test_labels_of_another_shape_or_type_are_refused(labels):
    with pytest.raises(DataError, match="expected one integer for each of the 2 images"):
        Dataset(np.zeros((2, 4, 4, 3), np.uint8), labels, ("a",), "toy")


@pytest.mark.parametrize("bad", [3, -1])
def test_the_first_bad_label_is_named(bad):
    labels = np.array([0, 2, bad, 1, bad])
    with pytest.raises(DataError, match=rf"label {bad} at index 2 is not in 0\.\.2; there are 2 such"):
        Dataset(np.zeros((5, 4, 4, 3), np.uint8), labels, tuple("abc"), "toy")


def test_subset_keeps_pairs_together_in_the_order_asked_for():
    d = a_set()
    s = d.subset([40, 3])
    assert (s.images == d.images[[40, 3]]).all() and s.labels.tolist() == [1, 0] and s.classes == d.classes


def test_names_of_files_stay_with_their_images():
    d = a_set()
    assert d.file(7) == "image 7"
    named = Dataset(d.images, d.labels, d.classes, "toy", files=np.array([f"{i}.png" for i in range(60)], object))
    assert named.subset([40, 3]).file(0) == "40.png" and named.subset(slice(5, 9)).file(1) == "6.png"
    rest, part = named.split(0.2)
    assert {s.file(i): int(s.labels[i]) for s in (rest, part) for i in range(len(s))} == {
        f"{i}.png": int(d.labels[i]) for i in range(60)}
    in_bytes = Dataset(d.images, d.labels, d.classes, "toy", files=np.array([b"\xe4.png"] * 60))
    assert in_bytes.file(0).encode("utf-8", "surrogateescape") == b"\xe4.png"
    with pytest.raises(DataError, match="toy: there are 3 names of files, expected one for each of the 60 images"):
        Dataset(d.images, d.labels, d.classes, "toy", files=np.array(["a", "b", "c"], object))


@pytest.mark.parametrize("fraction, shares", [
    (0.1, [3, 2, 1]), (0.5, [15, 10, 5]), (0.02, [1, 0, 0]), (0.9, [27, 18, 9]), (0.12, [4, 2, 1])])
def test_split_is_stratified_and_complete(fraction, shares):
    d = a_set()
    rest, part = d.split(fraction, seed=1)
    assert np.bincount(part.labels, minlength=3).tolist() == shares
    assert len(part) == round(fraction * len(d))
    rows = np.concatenate([rest.images, part.images]).reshape(len(d), -1)
    assert (np.unique(rows, axis=0) == np.unique(d.images.reshape(len(d), -1), axis=0)).all()
    assert (np.diff(rest.labels) >= 0).all() and (np.diff(part.labels) >= 0).all()  # the order is kept


def test_split_depends_on_the_seed_alone():
    d = a_set()
    a, b, c = d.split(0.2, 5)[1], d.split(0.2, 5)[1], d.split(0.2, 6)[1]
    assert (a.images == b.images).all() and not (a.images == c.images).all()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, 0.001, 0.999])
def test_split_refuses_an_empty_side(fraction):
    with pytest.raises(UsageError, match="both sides need at least one image"):
        a_set().split(fraction)


def test_mean_image_is_the_exact_mean():
    d = a_set()
    mean = d.mean_image()
    assert mean.shape == (4, 4, 3) and mean.dtype == np.float32
    assert (mean == (d.images.astype(np.float64).sum(0) / len(d)).astype(np.float32)).all()
    assert (d.subset(slice(None, None, -1)).mean_image() == mean).all()
    with pytest.raises(DataError, match="empty"):
        d.subset([]).mean_image()


def test_load_by_name():
    train, test = load("shapes", n_train=20, n_test=10, size=8)
    assert (len(train), len(test), train.images.shape[1]) == (20, 10, 8)
    with pytest.raises(DataError, match="no data set 'mnist'; there are: cifar10, shapes"):
        load("mnist")
