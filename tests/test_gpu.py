"""On a real GPU: every kernel against NumPy, every gradient against finite differences, and equal
bits in repeated runs.

Skipped where CuPy finds no device. The bodies are those that test_cuda.py and test_feed.py run
without one.
"""
import re

import checks
import numpy as np
import pytest
import test_kernels
from checks import assert_close
from host_cuda import OnDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cuda import OWN_CHECKS, training
from test_feed import DATA, RECIPES, assert_same, batches
from test_kernels import battery, conv_cases, norm_cases, pool_cases

import minitorch_alex.functional as F
from minitorch_alex import backend, models, profile, selftest
from minitorch_alex.data import Dataset, Loader
from minitorch_alex.kernels import Window, cpu, gpu
from minitorch_alex.tensor import Tensor
from minitorch_alex.training import cli, feed

pytestmark = [pytest.mark.gpu,
              pytest.mark.skipif(not backend.is_available("cupy"),
                                 reason="CuPy finds no GPU here")]
drawn = settings(deadline=None, derandomize=True, max_examples=25, database=None)


@pytest.fixture(scope="module", autouse=True)
def on_device():
    """The current backend is CuPy, and `checks` tries kernels.gpu on it instead of kernels.cpu."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        backend.use("cupy")
        backend.set_precision("fp32")
        monkeypatch.setattr(checks.kernels, "cpu", OnDevice())
        yield
        backend.use("numpy")


@pytest.mark.parametrize("check", (*checks.KERNEL_CHECKS, *OWN_CHECKS), ids=lambda f: f.__name__)
def test_every_check_of_the_kernels_passes(check):
    check()


@pytest.mark.parametrize("check", checks.ENGINE_CHECKS, ids=lambda f: f.__name__)
def test_every_check_of_the_engine_passes(check):
    check()


@drawn
@given(conv_cases())
def test_conv2d(case):
    checks.conv2d_forward(case)
    checks.conv2d_weight_gradient(case)
    checks.conv2d_input_gradient(case)
    checks.locally_connected2d(case)


@drawn
@given(pool_cases(dilations=st.just((1, 1))))
def test_pools(case):
    checks.max_pool2d(case)
    checks.avg_pool2d(case)


@drawn
@given(norm_cases)
def test_lrn(case):
    checks.lrn_forward(case)
    checks.lrn_gradient(case)
    checks.lrn_within(case)


def test_the_battery_is_numpys_and_the_same_bits_each_time(monkeypatch):
    test_kernels.assert_same(battery(OnDevice()), battery(cpu))
    first = battery(OnDevice(), np.float32)
    second = battery(OnDevice(), np.float32)
    want = battery(cpu)
    for name, arrays in first.items():
        for one, other, right in zip(arrays, second[name], want[name], strict=True):
            assert np.array_equal(one, other), f"{name}: two runs differ"
            assert_close(one, right, 1e-3 if "backward" in name else 1e-4, name)


def alexnet_layers():
    """(name, x_shape, O, Window, groups) of the paper's convolutions, for a few images."""
    five = Window.of(5, 1, 2)
    three = Window.of(3, 1, 1)
    return (("conv1", (4, 224, 224, 3), 96, Window.of(11, 4, ceil_mode=True), 1),
            ("conv2", (4, 27, 27, 96), 256, five, 2), ("conv3", (4, 13, 13, 256), 384, three, 1),
            ("conv4", (4, 13, 13, 384), 384, three, 2), ("conv5", (4, 13, 13, 384), 256, three, 2))


@pytest.mark.parametrize("precision, forward, gradients", (
    ("fp32", 1e-4, 1e-3), ("tf32", 5e-3, 5e-3), ("fp16", 5e-3, 5e-3), ("bf16", 2e-2, 2e-2)))
@pytest.mark.parametrize("layer", alexnet_layers(), ids=lambda layer: layer[0])
def test_the_papers_layers_in_float32(layer, precision, forward, gradients, monkeypatch):
    """Errors as a share of the result's norm; also in chunks of one image."""
    _, shape, O, win, groups = layer
    rng = np.random.default_rng(0)
    y_shape = (shape[0], *win.out(*shape[1:3]), O)
    x, gy = (rng.standard_normal(s).astype(np.float32) for s in (shape, y_shape))
    w = rng.standard_normal((O, shape[3] // groups, *win.kernel)).astype(np.float32)
    b = rng.standard_normal(O).astype(np.float32)
    on_gpu = OnDevice()
    try:
        backend.set_precision(precision)
        for workspace in (gpu.columns.WORKSPACE, 1):
            monkeypatch.setattr(gpu.columns, "WORKSPACE", workspace)
            for name, args, allowed in (
                    ("conv2d", (x, w, b, win, groups), forward),
                    ("conv2d_backward_weight", (x, gy, win, groups), gradients),
                    ("conv2d_backward_input", (gy, w, shape, win, groups), gradients)):
                got = getattr(on_gpu, name)(*args)
                want = getattr(cpu, name)(*args)
                error = np.linalg.norm(got - want) / np.linalg.norm(want)
                assert error < allowed, f"{name}: {error}"
    finally:
        backend.set_precision("fp32")


def test_training_steps_are_those_of_numpy_and_equal_each_time():
    (losses, weights), (again, same) = training(20), training(20)
    assert losses == again and np.array_equal(weights, same)
    backend.use("numpy")
    want_losses, want = training(20)
    backend.use("cupy")
    assert_close(losses, want_losses, 1e-3, "losses")
    assert_close(weights, want, 1e-3, "weights")


@pytest.mark.parametrize("precision, allowed", (("tf32", 1e-2), ("fp16", 1e-2), ("bf16", 5e-2)))
def test_training_in_lower_precision_is_near_numpys_and_equal_each_time(precision, allowed):
    try:
        backend.set_precision(precision)
        (losses, weights), (again, same) = training(20), training(20)
    finally:
        backend.set_precision("fp32")
    assert losses == again and np.array_equal(weights, same)
    backend.use("numpy")
    want_losses, want = training(20)
    backend.use("cupy")
    assert_close(losses, want_losses, allowed, "losses")
    assert 0 < np.linalg.norm(weights - want) / np.linalg.norm(want) < allowed


def test_the_estimate_of_memory_is_near_what_the_pool_takes():
    """It is a sum of arrays, and rather too high; the pool also keeps fragments that nothing fits
    into."""
    pool = backend.current().xp.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    model = models.build("alexnet_cifar").train()
    optimizer = models.build_optimizer(model, model.recipe)
    images = np.random.default_rng(0).standard_normal((256, 32, 32, 3)).astype(np.float32)
    x = Tensor(backend.asarray(images.transpose(0, 3, 1, 2)))
    labels = backend.asarray(np.arange(256) % 10)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    taken = pool.total_bytes() - before
    assert 0.5 < profile.step_bytes(model, 256) / taken < 2


def test_memory_and_synchronize():
    x = backend.asarray(np.zeros(1 << 20, np.float32))
    used, held = backend.memory()
    assert x.nbytes <= used <= held
    backend.synchronize()


# the feed


@pytest.mark.parametrize("transform", RECIPES.values(), ids=RECIPES)
def test_the_feed_gives_what_the_loader_gives(transform):
    loader = Loader(DATA, 4, transform, seed=5, workers=2)
    source = feed.feed(loader)
    assert isinstance(source, feed.Feed)
    for epoch in (0, 1):
        assert_same(batches(source, epoch), batches(loader, epoch))


@pytest.mark.parametrize("kind", ("single", "nine", "ten"))
def test_the_views_are_those_of_the_transform(kind):
    transform = RECIPES["crops and flips"]
    for b, part in enumerate(feed.views(DATA, transform, kind, 10)):
        want = transform.views(DATA.images[10 * b:10 * b + 10], kind)
        assert all(np.array_equal(x.get(), y) for x, y in zip(part, want, strict=True))


def test_slots_stay_whole_while_the_host_runs_far_ahead():
    """Large batches and a device that is busy: pixels would mix if a slot were refilled or
    overwritten too early."""
    images = np.random.default_rng(0).integers(0, 256, (96, 128, 128, 3), dtype=np.uint8)
    data = Dataset(images, np.arange(96) % 10, tuple("0123456789"), "noise")
    loader = Loader(data, 8, RECIPES["no mean"], workers=4, prefetch=2)
    busy = backend.asarray(np.ones((2048, 2048), np.float32))
    kept = []
    for x, labels in feed.feed(loader).epoch(0):
        for _ in range(20):
            busy = busy @ busy * 0.0 + 1.0
        kept.append((x.copy(), labels))
    assert_same([(x.get(), labels.get()) for x, labels in kept], batches(loader))


# the flags, the self-test


def test_the_device_is_described():
    text = cli.describe_device({**cli.DEVICE_DEFAULTS, "backend": "cupy"})
    assert "GB" in text and "cupy" in text and "fp32" in text


def test_a_memory_limit_stops_with_its_numbers():
    pool = backend.current().xp.get_default_memory_pool()

    try:
        cli.use_device({**cli.DEVICE_DEFAULTS, "backend": "cupy", "memory_limit": 2.0})
        with pytest.raises(MemoryError) as caught:
            backend.current().xp.empty(1 << 30, np.float32)
        assert re.search("asked for 4.29 GB, .* are in use, the limit is 2.00 GB",
                         cli.out_of_memory(caught.value))
    finally:
        pool.set_limit(size=0)


def test_the_self_test_passes(capsys):
    assert selftest.main(["--backend", "cupy", "--quick"]) == 0, capsys.readouterr().out
