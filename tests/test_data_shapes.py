"""Shapes: the same pixels always, and hard for a linear model."""
import numpy as np
import pytest

from minitorch_alex.data import load_shapes, make_shapes
from minitorch_alex.data.shapes import CLASSES, signed_distance
from minitorch_alex.errors import UsageError


def test_form():
    train, test = load_shapes(35, 20, size=24)
    assert train.images.shape == (35, 24, 24, 3) and train.images.dtype == np.uint8 and len(test) == 20
    assert train.classes == CLASSES and len(set(CLASSES)) == 10
    assert train.labels.tolist() == [i % 10 for i in range(35)]


def test_neither_chunks_nor_the_number_change_a_picture():
    whole = make_shapes(300, seed=3).images
    for chunk in (1, 7, 300, 1000):
        assert (make_shapes(60, seed=3, chunk=chunk).images == whole[:60]).all()


def test_seeds_splits_and_pictures_differ():
    a, b, c = make_shapes(200), make_shapes(200, seed=1), make_shapes(200, split="test")
    pictures = np.concatenate([d.images.reshape(200, -1) for d in (a, b, c)])
    assert len(np.unique(pictures, axis=0)) == 600


@pytest.mark.parametrize("size", [8, 33, 96])
def test_any_size(size):
    d = make_shapes(20, size=size)
    assert d.images.shape == (20, size, size, 3)
    assert d.images.reshape(20, -1).std(axis=1).min() > 5


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 10, "size": 4}, {"n": 10, "split": "val"}])
def test_arguments_without_sense_are_refused(arguments):
    with pytest.raises(UsageError, match="expected n >= 1"):
        make_shapes(**arguments)


# A point inside and a point outside of each figure, in its own coordinates.
POINTS = {"disc": ((0.8, 0), (0.7, 0.7)), "ring": ((0.7, 0), (0, 0)), "square": ((0.7, 0.7), (0.8, 0)),
          "frame": ((0.6, 0.6), (0, 0)), "triangle": ((-0.9, 0), (0.6, 0)), "plus": ((0.9, 0), (0.5, 0.5)),
          "cross": ((0.5, 0.5), (0.9, 0)), "stripes": ((0, 0.68), (0, 0.34)),
          "crescent": ((-0.8, 0), (0.3, 0)), "star": ((0.9, 0), (-0.5, 0))}


@pytest.mark.parametrize("name", CLASSES)
def test_figures(name):
    (inside, outside), far = POINTS[name], np.float32(1.2)
    u, v = np.float32([inside, outside]).T
    near, off = signed_distance(name, u, v)
    assert near < 0 < off
    assert (signed_distance(name, far * np.cos(np.arange(7)), far * np.sin(np.arange(7))) > 0).all()


@pytest.mark.parametrize("name", CLASSES)
def test_the_border_is_about_one_unit_steep(name):
    # The slope across the border is what antialiasing relies on: it must be 1, whatever the direction.
    u, v = np.random.default_rng(0).uniform(-1, 1, (2, 20_000))
    step = 1e-4
    at = signed_distance(name, u, v)
    slope = np.hypot(signed_distance(name, u + step, v) - at, signed_distance(name, u, v + step) - at) / step
    assert np.median(slope[np.abs(at) < 0.05]) == pytest.approx(1, abs=0.02)


def test_colour_alone_tells_nothing():
    d = make_shapes(4000)
    means = np.stack([d.images[d.labels == c].mean(axis=(0, 1, 2)) for c in range(10)])
    assert np.abs(means - means.mean(0)).max() < 12  # grey levels; one picture's background varies by 74


def test_a_linear_model_stays_near_chance():
    """Softmax regression on the pixels, in plain NumPy: no better than 30 % on new pictures."""
    train, test = load_shapes(4000, 1000)
    x, t = ((d.images.reshape(len(d), -1) - np.float32(128)) / 64 for d in (train, test))
    w, v, draw = np.zeros((x.shape[1], 10), np.float32), 0, np.random.default_rng(0)
    for _ in range(8):
        for rows in np.split(draw.permutation(len(x)), 40):
            z = x[rows] @ w
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(rows)), train.labels[rows]] -= 1
            v = 0.9 * v - 0.003 * (x[rows].T @ p / len(rows) + 1e-3 * w)
            w += v
    learnt = ((x @ w).argmax(1) == train.labels).mean()
    accuracy = ((t @ w).argmax(1) == test.labels).mean()
    assert learnt > 0.4  # the model does fit what it sees
    assert accuracy < 0.3
