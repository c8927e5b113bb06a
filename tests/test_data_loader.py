"""Loader: the same pixels for any number of workers, exact resumption, and no thread left behind."""
import threading
import time

import numpy as np
import pytest

from minitorch_alex.data import Dataset, Loader, Transform
from minitorch_alex.errors import DataError, UsageError


def a_set(n=50, size=8):
    images = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return Dataset(images, np.arange(n) % 10, tuple("0123456789"), "toy")


def augment(d):
    return Transform(d.mean_image(), crop=6, flip=True)


def epoch(loader, number=0, start=0):
    return [(x.copy(), y.copy()) for x, y in loader.epoch(number, start)]


def same(a, b):
    return len(a) == len(b) and all((p == r).all() and (q == s).all()
                                    for (p, q), (r, s) in zip(a, b, strict=True))


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_shape_and_memory():
    d = a_set()
    x, y = next(iter(Loader(d, 8, augment(d)).epoch(0)))
    assert x.shape == (8, 3, 6, 6) and x.dtype == np.float32 and y.shape == (8,) and y.dtype == np.int64
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous


def test_without_shuffle_and_transform_the_set_comes_as_it_is():
    d = a_set()
    x, y = (np.concatenate(parts) for parts in zip(*epoch(Loader(d, 8, shuffle=False)), strict=True))
    assert (x.transpose(0, 2, 3, 1) == d.images).all() and (y == d.labels).all()


def test_an_epoch_shows_every_image_once_with_its_label():
    d = a_set()
    label = {d.images[i].tobytes(): d.labels[i] for i in range(len(d))}
    seen = [(image.astype(np.uint8).tobytes(), y) for x, ys in Loader(d, 8).epoch(3)
            for image, y in zip(x.transpose(0, 2, 3, 1), ys, strict=True)]
    assert len({image for image, _ in seen}) == len(d) and all(label[image] == y for image, y in seen)


@pytest.mark.parametrize("workers, prefetch", [(1, 1), (1, 3), (4, 2), (4, 8)])
def test_the_number_of_workers_changes_nothing(workers, prefetch):
    d = a_set()
    inner, delays = augment(d), iter(np.random.default_rng(1).random(1000))

    def uneven(images, rng):
        time.sleep(next(delays) * 0.01)  # so that batches would overtake each other if they could
        return inner(images, rng)

    alone = epoch(Loader(d, 4, inner, seed=7, workers=0), 2)
    assert same(epoch(Loader(d, 4, uneven, seed=7, workers=workers, prefetch=prefetch), 2), alone)


def test_epochs_and_seeds_differ_and_repeat():
    d = a_set()
    loader = Loader(d, 8, augment(d), seed=1)
    first = epoch(loader, 0)
    assert same(first, epoch(loader, 0))
    assert not same(first, epoch(loader, 1))
    assert not same(first, epoch(Loader(d, 8, augment(d), seed=2), 0))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 5, 7])
def test_resuming_inside_an_epoch_is_exact(workers, start):
    d = a_set()
    loader = Loader(d, 8, augment(d), workers=workers)
    assert same(epoch(loader, 4, start), epoch(loader, 4)[start:])


def test_length_and_last_batch():
    d = a_set(50)
    for settings, sizes in [({}, [16, 16, 16, 2]), ({"drop_last": True}, [16, 16, 16])]:
        loader = Loader(d, 16, **settings)
        assert len(loader) == len(sizes) and [len(y) for _, y in loader.epoch(0)] == sizes


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_worker_s_exception_reaches_the_consumer_at_its_batch(workers):
    d, cause = a_set(), KeyError("why")

    def fails(images, rng):
        if (images == d.images[17]).all((1, 2, 3)).any():
            raise DataError("image 17 is bad") from cause
        return images.astype(np.float32)

    seen = []
    with pytest.raises(DataError, match="image 17 is bad") as caught:
        for _, y in Loader(d, 5, fails, shuffle=False, workers=workers).epoch(6):
            seen.append(y)
    assert len(seen) == 3 and caught.value.__cause__ is cause
    assert caught.value.__notes__ == ["while preparing batch 3 of epoch 6 of toy"]
    assert not loader_threads()


def test_leaving_early_leaves_no_thread():
    d = a_set()
    for i, _ in enumerate(Loader(d, 4, augment(d), workers=3).epoch(0)):
        assert loader_threads()
        if i == 2:
            break
    assert not loader_threads()

    kept = Loader(d, 4, augment(d), workers=2).epoch(0)
    next(kept)
    kept.close()
    assert not loader_threads()

    Loader(d, 4, workers=2).epoch(0)  # never started: nothing to end
    assert not loader_threads()


@pytest.mark.parametrize("workers, prefetch", [(1, 1), (4, 2)])
def test_no_more_than_prefetch_batches_are_made_ahead(workers, prefetch):
    d, made = a_set(), []

    def count(images, rng):
        made.append(len(images))
        return images.astype(np.float32)

    for taken, _ in enumerate(Loader(d, 2, count, workers=workers, prefetch=prefetch).epoch(0), start=1):
        time.sleep(0.002)
        assert len(made) <= taken + prefetch
    assert len(made) == 25


def test_wait_counts_the_consumer_s_waiting():
    d = a_set(20)

    def slow(images, rng):
        time.sleep(0.02)
        return images.astype(np.float32)

    inline = Loader(d, 5, slow, workers=0)
    epoch(inline)
    once = inline.wait
    assert 0.08 <= once < 1
    epoch(inline)
    assert inline.wait > once + 0.07  # over all epochs

    hidden = Loader(d, 5, slow, workers=1)
    for _ in hidden.epoch(0):
        time.sleep(0.04)  # the consumer's work hides all but the first batch
    assert hidden.wait < once


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"batch_size": 4, "workers": -1},
                                      {"batch_size": 4, "prefetch": 0},
                                      {"batch_size": 51, "drop_last": True}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(UsageError, match="loader: "):
        Loader(a_set(), **settings)


def test_starting_past_the_end_is_refused():
    with pytest.raises(UsageError, match="cannot start at batch 8 of an epoch of 7 batches"):
        Loader(a_set(), 8).epoch(0, start=8)


@pytest.mark.parametrize("workers, prefetch", [(0, 3), (1, 1), (3, 4)])
def test_raw_batches_are_the_epochs_before_their_transform(workers, prefetch):
    """In the places that the consumer names, in order and no earlier than promised."""
    d = a_set()
    loader = Loader(d, 8, augment(d), seed=3, workers=workers, prefetch=prefetch)
    places, asked = {}, []

    def place(b):
        asked.append(b)
        return places.setdefault(b, np.zeros((8, 8, 8, 3), np.uint8))

    whole = epoch(loader, 2)
    for b, (images, labels, draws) in enumerate(loader.raw(2, place, start=1), start=1):
        assert asked == list(range(1, min(b + (prefetch if workers else 0), len(loader) - 1) + 1))
        assert np.shares_memory(images, places[b]) and images.dtype == np.uint8
        x = loader.transform.apply(images, draws).transpose(0, 3, 1, 2)
        assert (x == whole[b][0]).all() and (labels == whole[b][1]).all()
    assert b == len(loader) - 1 and not loader_threads()


@pytest.mark.parametrize("fields", ({}, {"pad": 1}, {"crop_chunk": 3}, {"mix": 0.7, "crop_chunk": 2}, {"enlarge": 9}))
@pytest.mark.parametrize("parts", (1, 2, 3, 7))
def test_parts_of_a_batch_have_the_pixels_of_the_whole_one(parts, fields):
    """50 images in batches of 8 and a last one of 2, in which some parts are empty."""
    d = a_set()
    pca = d.color_pca()
    transform = Transform(d.mean_image(), crop=6, flip=True, pca=pca, **fields)
    whole = epoch(Loader(d, 8, transform, seed=3, workers=0), 1)
    shares = [Loader(d, 8, transform, seed=3, workers=r % 3, part=(r, parts)) for r in range(parts)]
    joined = [tuple(np.concatenate(each) for each in zip(*batch, strict=True))
              for batch in zip(*(epoch(share, 1) for share in shares), strict=True)]
    assert same(joined, whole)
    assert [shares[0].images_in(b) for b in range(7)] == [8] * 6 + [2]


@pytest.mark.parametrize("parts", (2, 3))
def test_a_transform_that_draws_by_itself_gets_the_whole_batch(parts):
    d = a_set()

    def noise(images, rng):
        return images + rng.standard_normal(images.shape)

    whole = epoch(Loader(d, 8, noise))
    for r in range(parts):
        for (x, y), (own_x, own_y) in zip(whole, epoch(Loader(d, 8, noise, part=(r, parts))), strict=True):
            own = slice(len(y) * r // parts, len(y) * (r + 1) // parts)
            assert np.array_equal(x[own], own_x) and np.array_equal(y[own], own_y)


def test_raw_batches_come_in_parts_too():
    d = a_set()
    transform = augment(d)
    whole = epoch(Loader(d, 8, transform, seed=5))
    places = np.empty((8, 8, 8, 8, 3), np.uint8)
    share = Loader(d, 8, transform, seed=5, part=(1, 2))
    batches = share.raw(0, lambda b: places[b])
    for (x, y), (images, labels, draws) in zip(whole, batches, strict=True):
        own = slice(len(y) // 2, len(y))
        assert np.array_equal(transform.apply(images, draws).transpose(0, 3, 1, 2), x[own])
        assert np.array_equal(labels, y[own])
    with pytest.raises(UsageError, match="cannot be mixed"):
        list(Loader(d, 8, Transform(mix=0.5), part=(0, 2)).raw(0, lambda b: places[b]))
    with pytest.raises(UsageError, match=r"part=\(2, 2\)"):
        Loader(d, 8, part=(2, 2))
