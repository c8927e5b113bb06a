"""Checks of what the CPU's kernels do in one pass where others take two: ReLU in the blocks of a convolution, its
gradient in the layer behind it, a pool without winners. All to the bit: nothing is computed differently.

shared_passes.py has the same of the GPU's.
"""
import contextlib

import numpy as np

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import backend, nn
from minitorch_alex.kernels import cpu, set_winograd
from minitorch_alex.tensor import Tensor

from . import cases
from .compare import halved, normal, same

NAMES = ("conv2d_relu", "lrn_backward_of_relu", "lrn_values", "lrn_within_backward_of_relu", "lrn_within_values",
         "max_pool2d_of_relu", "max_pool2d_values")
DTYPES = (np.float32, np.float64)


@contextlib.contextmanager
def one_by_one():
    """Within it each layer makes its own passes."""
    kernels = {name: getattr(cpu, name) for name in NAMES}
    for name in NAMES:
        delattr(cpu, name)
    try:
        yield
    finally:
        for name, kernel in kernels.items():
            setattr(cpu, name, kernel)


def check_conv2d_relu():
    """conv2d, then relu: by im2col, with several outputs per window, by Winograd's algorithm; with a NaN."""
    try:
        for winograd, some in ((False, cases.CONV_CASES), (True, cases.WINOGRAD_CASES)):
            set_winograd(winograd)
            for case in some:
                for dtype in DTYPES:
                    x, w, b, _ = (a.astype(dtype) for a in case.arrays())
                    x.reshape(-1)[:1] = np.nan
                    for bias in (b, None):
                        args = (x, w, bias, case.win, case.groups)
                        same(cpu.conv2d_relu(*args), cpu.relu(cpu.conv2d(*args)), case)
    finally:
        set_winograd(False)


def check_norms_behind_a_relu():
    """The gradient of LRN, then that of the ReLU before it."""
    for case in cases.LRN_CASES:
        for dtype in DTYPES:
            C = case.C * case.groups
            x = halved(2, 3, 2, C, dtype=dtype)
            gy = normal(2, 3, 2, C, seed=1).astype(dtype)
            _, scale = cpu.lrn(x, case.size, case.alpha, case.beta, case.k, case.groups)
            args = (gy, x, scale, case.size, case.alpha, case.beta, case.groups)
            same(cpu.lrn_backward_of_relu(*args), cpu.relu_backward(cpu.lrn_backward(*args), x), case)
            _, scale = cpu.lrn_within(x, case.size, case.alpha, case.beta, case.k)
            args = (gy, x, scale, case.size, case.alpha, case.beta)
            want = cpu.relu_backward(cpu.lrn_within_backward(*args), x)
            same(cpu.lrn_within_backward_of_relu(*args), want, case)


def check_pool_behind_a_relu():
    """The gradient of a pool, then that of the ReLU before it: windows of zeros, ties, a NaN."""
    for case in (*cases.POOL_CASES, cases.WindowCase(H=300, W=2, kernel=(257, 2), stride=(3, 1))):
        for dtype in DTYPES:
            x = np.random.default_rng(0).integers(-3, 3, case.x_shape)
            x = np.maximum(x, 0).astype(dtype)
            x.reshape(-1)[-1:] = np.nan
            gy = normal(case.N, *case.win.out(case.H, case.W), case.x_shape[3]).astype(dtype)
            y, won = cpu.max_pool2d(x, case.win)
            want = cpu.relu_backward(cpu.max_pool2d_backward(gy, won, x.shape, case.win), x)
            y_of_relu, won = cpu.max_pool2d_of_relu(x, case.win)
            same(y_of_relu, y, case)
            same(cpu.max_pool2d_backward(gy, won, x.shape, case.win), want, case)


def check_max_pool2d_values():
    """The maxima alone, of ties, infinities and NaN too."""
    for case in cases.POOL_CASES:
        for dtype in DTYPES:
            x = np.random.default_rng(0).integers(-3, 3, case.x_shape).astype(dtype)
            x.reshape(-1)[::7] = -np.inf
            x.reshape(-1)[-1:] = np.nan
            same(cpu.max_pool2d_values(x, case.win)[0], cpu.max_pool2d(x, case.win)[0], case)


def check_lrn_values():
    """What LRN gives, without what it would save."""
    for case in cases.LRN_CASES:
        for dtype in DTYPES:
            x = normal(2, 3, 2, case.C * case.groups).astype(dtype)
            args = (x, case.size, case.alpha, case.beta, case.k)
            same(cpu.lrn_values(*args, case.groups)[0], cpu.lrn(*args, case.groups)[0], case)
            same(cpu.lrn_within_values(*args)[0], cpu.lrn_within(*args)[0], case)


def net(dtype):
    """All that shares passes, and what must not: a ReLU before an average pool, tanh, a layer without a bias."""
    mt.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, ceil_mode=True),
        nn.ReLU(),
        nn.LocalResponseNorm(5, k=2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 12, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(),
        nn.LocalResponseNorm(3, within_map=True),
        nn.Conv2d(12, 6, (2, 3), padding="same", bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2, 1),
        nn.Conv2d(6, 4, 1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4, 20),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(20, 10)).astype(dtype)


def images(dtype):
    return Tensor(backend.asarray(normal(6, 3, 21, 21).astype(dtype)))


def trained(dtype=np.float32, wanted=slice(None), winograd=False):
    """Losses, weights, gradients and outputs of three steps; `wanted` are the parameters that the optimizer has."""
    set_winograd(winograd)
    model = net(dtype)
    optimizer = mt.optim.SGD(list(model.parameters())[wanted], lr=0.05, momentum=0.9, weight_decay=5e-4)
    losses = []
    try:
        for step in range(3):
            mt.set_step(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images(dtype)), np.arange(6))
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
        model.eval()
        outputs = model(images(dtype)).data
        with mt.no_grad():
            same(model(images(dtype)).data, outputs, "without a graph")
    finally:
        set_winograd(False)
    return [np.array(losses), optimizer.flat, outputs, *(p.grad for p in model.parameters())]


def check_passes_together_train_as_one_by_one():
    for settings in ({}, {"wanted": slice(1, 6)}, {"dtype": np.float64}, {"winograd": True}):
        got = trained(**settings)
        with one_by_one():
            want = trained(**settings)
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            same(one, other, f"array {i} with {settings}")


def gradient_of(fn, x):
    """The gradient of the sum of fn(x)^2 / 2."""
    leaf = Tensor(backend.asarray(x), requires_grad=True)
    y = fn(leaf)
    y.backward(y.data)
    return leaf.grad


def check_a_relu_with_several_layers_behind():
    """A sum of gradients has not been through the gate. Twice through it is once through it."""
    def within(y):
        return F.local_response_norm(y, 3, within_map=True)

    def pool(y):
        return F.max_pool2d(y, 3, 2, 1)

    x = normal(2, 3, 4, 4).astype(np.float32)
    for fn in (lambda y: within(y) + y * 2.0, lambda y: y * 2.0 + within(y), lambda y: within(y) + within(y),
               lambda y: pool(y).sum() + (y * y).sum(), lambda y: within(y).sum() + pool(y).sum() + y.sum(),
               within, pool):
        got = gradient_of(lambda leaf, f=fn: f(F.relu(leaf)), x)
        with one_by_one():
            want = gradient_of(lambda leaf, f=fn: f(F.relu(leaf)), x)
        same(got, want, "behind a ReLU")


KERNEL_CHECKS = (check_conv2d_relu, check_norms_behind_a_relu, check_pool_behind_a_relu, check_max_pool2d_values,
                 check_lrn_values)
CHECKS = (check_passes_together_train_as_one_by_one, check_a_relu_with_several_layers_behind)
