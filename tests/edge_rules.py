"""Checks of what only a diverged net or an unusual shape meets on a GPU: infinity and NaN, pools larger than the map,
windows without a pixel, batches without an image. What is right, the naive kernels say.

test_cuda.py runs them on the CPU and test_gpu.py on a GPU; each is a function `check_...` as in checks/.
"""
import checks
import numpy as np
from checks import assert_close, normal

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import backend, nn
from minitorch_alex.errors import ShapeError
from minitorch_alex.kernels import Window, naive

WINDOWS = (
    Window((2, 2), (2, 2)),
    Window((3, 3), (2, 2), (1, 1)),
    Window((3, 2), (1, 2), ceil_mode=True),
    Window((3, 3), (2, 2), (1, 1), (2, 2)),
    Window((2, 3), (3, 4), (1, 1), ceil_mode=True),
)


def nonfinite(*shape, seed=0, values=(np.nan, np.inf, -np.inf)):
    """Distinct numbers of either sign, a tenth of them replaced by `values`."""
    rng = np.random.default_rng(seed)
    x = rng.permutation(np.arange(np.prod(shape), dtype=np.float64)).reshape(shape) - np.prod(shape) / 3
    where = rng.random(shape) < 0.1
    x[where] = rng.choice(values, where.sum())
    return x


def alike(got, want, what):
    """Infinity and NaN at the same places, and the rest close."""
    assert np.allclose(got, want, rtol=1e-9, atol=1e-12, equal_nan=True), what


def check_infinity_and_nan_in_relu_and_pools():
    kernels = checks.kernels.cpu
    for seed in range(4):
        x = nonfinite(2, 6, 7, 3, seed=seed)
        g = nonfinite(2, 6, 7, 3, seed=seed + 100)
        y = naive.relu(x)
        alike(kernels.relu(x), y, "relu")
        alike(kernels.relu_backward(g, y), naive.relu_backward(g, y), "relu_backward")
        for win in WINDOWS:
            want, want_won = naive.max_pool2d(x, win)
            y, won = kernels.max_pool2d(x, win)
            alike(y, want, win)
            g = nonfinite(*y.shape, seed=seed, values=(np.inf, -np.inf))
            with np.errstate(invalid="ignore"):  # a cell that collects both infinities
                want = naive.max_pool2d_backward(g, want_won, x.shape, win)
            alike(kernels.max_pool2d_backward(g, won, x.shape, win), want, win)


def check_minus_infinity_wins_where_nothing_else_is():
    """A window of minus infinity has a winner, its first cell; one of padding alone has none."""
    x = mt.Tensor(backend.asarray(np.full((1, 1, 4, 4), -np.inf, np.float32)), requires_grad=True)
    F.max_pool2d(x, 3, 2, 1).sum().backward()
    assert backend.to_numpy(x.grad)[0, 0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    win = Window((1, 1), (4, 4), (1, 1), ceil_mode=True)  # one of its windows lies in the padding
    x = normal(1, 3, 3, 2)
    y, won = checks.kernels.cpu.max_pool2d(x, win)
    want, _ = naive.max_pool2d(x, win)
    alike(y, want, "a window of padding")
    assert np.isinf(y).any()
    gx = checks.kernels.cpu.max_pool2d_backward(np.ones(y.shape), won, x.shape, win)
    assert gx.sum() == np.isfinite(y).sum()


def check_infinity_in_lrn():
    """Its neighbours become 0, as x / inf, itself NaN; beyond the window nothing changes."""
    for beta in (0.75, 0.5):
        for value in (np.inf, -np.inf, np.nan):
            x = np.ones((2, 3, 2, 12), np.float32)
            plain, _ = checks.kernels.cpu.lrn(x, 5, 0.1, beta, 1.0, 1)
            x[1, 2, 0, 6] = value
            y, scale = checks.kernels.cpu.lrn(x, 5, 0.1, beta, 1.0, 1)
            assert_close(y[0], plain[0], 0, "another image")
            assert_close(y[1, 2, 0, [0, 3, 9, 11]], plain[1, 2, 0, [0, 3, 9, 11]], 0, "beyond the window")
            want = np.where(np.isinf(value), 0.0, np.nan)
            assert np.array_equal(y[1, 2, 0, [4, 5, 7, 8]], np.full(4, want), equal_nan=True), (beta, value)
            assert np.isnan(y[1, 2, 0, 6])
            gx = checks.kernels.cpu.lrn_backward(np.ones_like(x), x, scale, 5, 0.1, beta, 1)
            assert np.isfinite(gx[0]).all() and np.isfinite(gx[1, 2, 0, [0, 1, 11]]).all()


def check_pools_larger_than_the_map():
    """With padding they fit, and their windows hold the whole map; without, one line says why not."""
    for size, kernel, padding in ((1, 3, 1), (2, 5, 2), (3, 4, 2)):
        x = normal(2, size, size, 3)
        for stride in (1, kernel):
            win = Window.of(kernel, stride, padding)
            y, won = checks.kernels.cpu.max_pool2d(x, win)
            want, want_won = naive.max_pool2d(x, win)
            alike(y, want, win)
            g = normal(*y.shape, seed=1)
            alike(checks.kernels.cpu.max_pool2d_backward(g, won, x.shape, win),
                  naive.max_pool2d_backward(g, want_won, x.shape, win), win)
            for padded in (False, True):
                checks.agree("avg_pool2d", x, win, padded)
                checks.agree("avg_pool2d_backward", g, x.shape, win, padded)
    x = mt.Tensor(backend.asarray(normal(1, 1, 2, 2)))
    try:
        F.max_pool2d(x, 3)
    except ShapeError as error:
        assert "does not fit" in str(error)
    else:
        raise AssertionError("a pool larger than the map was taken")


def check_a_batch_without_images():
    """Every layer takes it, and its weights get gradients of 0."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2),
                          nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))
    optimizer = mt.optim.SGD(model.parameters(), lr=0.1)
    before = backend.to_numpy(optimizer.flat).copy()
    y = model(mt.Tensor(backend.asarray(np.zeros((0, 3, 4, 4), np.float32))))
    assert y.shape == (0, 2)
    y.sum().backward()
    optimizer.step()
    assert np.array_equal(backend.to_numpy(optimizer.flat), before)


CHECKS = (
    check_infinity_and_nan_in_relu_and_pools, check_minus_infinity_wins_where_nothing_else_is, check_infinity_in_lrn,
    check_pools_larger_than_the_map, check_a_batch_without_images,
)
