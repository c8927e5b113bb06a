"""The device feed: the loader's pixels to the bit, whatever the recipe, and slots that nobody overwrites too early."""
import host_cuda
import numpy as np
import pytest
from host_cuda import StrictArray

from minitorch_alex import backend, models, streams
from minitorch_alex.data import ColorPCA, Dataset, Loader, Transform
from minitorch_alex.errors import DataError
from minitorch_alex.evaluate import predict
from minitorch_alex.training.feed import Feed, feed, views

pytestmark = pytest.mark.skipif(host_cuda.COMPILER is None, reason="no g++ to compile the kernels for the CPU")


def a_set(n=23, size=9):
    images = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return Dataset(images, np.arange(n) % 10, tuple("0123456789"), "toy")


DATA = a_set()
MEAN = DATA.mean_image()
PCA = ColorPCA(np.array([3000.0, 200.0, 50.0]), np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0])
RECIPES = {
    "the whole image": Transform(MEAN), "no mean": Transform(), "crops and flips": Transform(MEAN, crop=6, flip=True),
    "shifts in a border": Transform(MEAN, pad=2, flip=True), "crops of a border": Transform(None, crop=4, pad=1),
    "colour by the source": Transform(MEAN, crop=7, flip=True, pca=PCA),
    "colour by the paper": Transform(MEAN, pca=PCA, convention="paper"),
    "one window for three": Transform(MEAN, crop=6, flip=True, crop_chunk=3),
    "the mean at the window's place": Transform(MEAN, crop=6, flip=True, pad=1, mean_follows_crop=True),
    "mixed": Transform(MEAN, crop=6, flip=True, mix=0.5),
    "mixed, colour": Transform(MEAN, pca=PCA, mix=0.5, crop_chunk=2),
    "enlarged": Transform(MEAN, enlarge=14), "enlarged, then crops": Transform(MEAN, enlarge=13, crop=11, flip=True),
    "enlarged, then all": Transform(MEAN, enlarge=23, crop=20, pad=1, flip=True, pca=PCA),
}
recipes = pytest.mark.parametrize("transform", RECIPES.values(), ids=RECIPES)


@pytest.fixture
def on_host():
    with host_cuda.installed():
        yield


def batches(source, epoch=0, start=0):
    return [(backend.to_numpy(x), backend.to_numpy(labels)) for x, labels in source.epoch(epoch, start)]


def assert_same(got, want):
    assert len(got) == len(want)
    for (x, labels), (y, others) in zip(got, want, strict=True):
        assert x.dtype == y.dtype == np.float32 and np.array_equal(x, y) and np.array_equal(labels, others)


@recipes
@pytest.mark.parametrize("test", (False, True), ids=("train", "eval"))
def test_the_feed_gives_what_the_loader_gives(transform, test, on_host):
    """To the bit, for every batch of two epochs, the short last one too."""
    loader = Loader(DATA, 4, transform.eval() if test else transform, seed=5, workers=2)
    source = feed(loader)
    assert isinstance(source, Feed)
    for epoch in (0, 1):
        assert_same(batches(source, epoch), batches(loader, epoch))


@pytest.mark.parametrize("workers, prefetch", ((0, 1), (1, 1), (1, 3), (3, 2), (3, 9)))
@pytest.mark.parametrize("start", (0, 2, 5, 6))
def test_workers_and_the_batch_it_begins_with_change_nothing(workers, prefetch, start, on_host):
    loader = Loader(DATA, 4, RECIPES["crops and flips"], workers=workers, prefetch=prefetch)
    assert_same(batches(Feed(loader), 3, start), batches(loader, 3)[start:])


def test_a_batch_larger_than_the_set(on_host):
    loader = Loader(DATA, 100, RECIPES["crops and flips"])
    assert_same(batches(Feed(loader)), batches(loader))


def test_a_loader_without_a_transform(on_host):
    loader = Loader(DATA, 4)
    assert_same(batches(Feed(loader)), batches(loader))


def test_on_numpy_batches_are_the_loaders():
    loader = Loader(DATA, 4, RECIPES["crops and flips"])
    assert feed(loader) is loader


def test_batches_arrive_on_the_device_in_channels_last_memory(on_host):
    x, labels = next(feed(Loader(DATA, 4, RECIPES["crops and flips"])).epoch(0))
    assert type(x) is type(labels) is StrictArray and x.shape == (4, 3, 6, 6) and labels.dtype == np.int64
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous


def test_a_batch_keeps_its_pixels_and_labels_while_later_ones_arrive(on_host):
    loader = Loader(DATA, 4, RECIPES["colour by the source"])
    kept = list(Feed(loader).epoch(0))
    assert_same([(x.get(), labels.get()) for x, labels in kept], batches(loader))


@recipes
@pytest.mark.parametrize("kind", ("single", "nine", "ten"))
def test_the_views_of_a_test_are_those_of_the_transform(transform, kind, on_host):
    got = [[backend.to_numpy(view) for view in part] for part in views(DATA, transform, kind, 10)]
    backend.use("numpy")
    plain = [list(part) for part in views(DATA, transform, kind, 10)]
    assert [len(part) for part in got] == [len(part) for part in plain] and len(got) == 3
    for b, (device, host) in enumerate(zip(got, plain, strict=True)):
        want = transform.views(DATA.images[10 * b:10 * b + 10], kind)
        assert all(np.array_equal(a, c) for a, c in zip(device, want, strict=True))
        assert all(np.array_equal(a, c) for a, c in zip(host, want, strict=True))


@pytest.mark.parametrize("kind", ("single", "ten"))
def test_a_net_is_scored_alike_on_both_back_ends(kind, on_host):
    data, results = a_set(12, 32), []
    for name in ("host cuda", "numpy"):
        backend.use(name)
        streams.manual_seed(0)
        model = models.build("quick_26", image_size=24)
        results.append(predict(model, data, Transform(data.mean_image(), crop=24, flip=True), kind, batch_size=5))
    assert results[0].shape == (12, 10) and np.abs(results[0] - results[1]).max() < 1e-5


def test_a_workers_exception_reaches_the_consumer_and_leaves_no_copy_behind(on_host, monkeypatch):
    monkeypatch.setattr(Transform, "draw", lambda self, shape, rng: (_ for _ in ()).throw(DataError("bad image")))
    source = Feed(Loader(DATA, 4, RECIPES["crops and flips"]))
    with pytest.raises(DataError, match="bad image") as caught:
        batches(source, 6)
    assert caught.value.__notes__ == ["while preparing batch 0 of epoch 6 of toy"]


def test_leaving_early_waits_for_the_copies_and_the_next_epoch_is_whole(on_host):
    loader = Loader(DATA, 4, RECIPES["crops and flips"], workers=2)
    source = Feed(loader)
    for i, _ in enumerate(source.epoch(0)):
        if i == 2:
            break
    assert not source.stream.queue and not source.stream.closed
    assert_same(batches(source, 1), batches(loader, 1))


# the three rules, broken one by one: host_cuda.py must notice


def test_a_host_that_does_not_wait_for_its_copies_is_caught(on_host, monkeypatch):
    monkeypatch.setattr(host_cuda.Event, "synchronize", lambda self: None)
    with pytest.raises(ValueError, match="read-only"):
        batches(Feed(Loader(DATA, 2, RECIPES["crops and flips"])))


def test_a_computation_that_does_not_wait_for_its_copies_is_caught(on_host, monkeypatch):
    monkeypatch.setattr(host_cuda.ComputeStream, "wait_event", lambda self, event: None)
    loader = Loader(DATA, 2, RECIPES["crops and flips"])
    with pytest.raises(AssertionError):
        assert_same(batches(Feed(loader)), batches(loader))


@pytest.mark.parametrize("rule", ("the copy waits", "work is recorded", "memory may be in use when it is handed out"))
def test_a_copy_that_does_not_wait_for_the_computation_is_caught(rule, on_host, monkeypatch):
    loader = Loader(DATA, 2, RECIPES["crops and flips"])
    if rule == "the copy waits":
        monkeypatch.setattr(host_cuda.Stream, "wait_event", lambda self, event: None)
    source = Feed(loader)
    if rule == "work is recorded":
        for slot in source.slots:
            slot.consumed.record = lambda stream: None
    if rule == "memory may be in use when it is handed out":
        for slot in source.slots:
            slot.consumed.launches = -1
    with pytest.raises(AssertionError, match="may overwrite what kernels have yet to read"):
        batches(source)


def test_the_host_runs_ahead_of_the_device_by_what_the_ring_holds(on_host, monkeypatch):
    """When the loader asks for the place of batch b, all but the last prefetch + 1 batches have been sent."""
    sent, asked = [], []
    send, place = Feed._send, Feed._place
    monkeypatch.setattr(Feed, "_send", lambda self, slot, *batch: sent.append(slot) or send(self, slot, *batch))
    monkeypatch.setattr(Feed, "_place", lambda self, b: asked.append((b, len(sent))) or place(self, b))
    batches(Feed(Loader(DATA, 2, RECIPES["crops and flips"], prefetch=2)))
    assert len({id(slot) for slot in sent}) == 4 and len(asked) == 12
    assert all(sent_by_then == max(0, b - 2) for b, sent_by_then in asked), asked


def test_a_slot_is_as_large_as_a_batch(on_host):
    source = Feed(Loader(DATA, 4))
    assert {name: array.shape for name, array in source.slots[0].host.items()} == {
        "images": (4, 9, 9, 3), "labels": (4,), "rows": (4,), "cols": (4,), "flips": (4,), "shift": (4, 3),
        "partners": (4,)}
    assert Feed(Loader(DATA, 100)).slots[0].device["images"].shape == DATA.images.shape
