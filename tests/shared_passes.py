"""Checks of what layers share on a GPU: bias and ReLU in one pass, ReLU's gradient in the layer behind, gradients
written into their place. All to the bit: nothing is computed differently, only in fewer passes.

test_cuda.py runs them on the CPU and test_gpu.py on a GPU; each is a function `check_...` as in checks/.
"""
import contextlib
import sys

import numpy as np
from checks import cases, normal
from checks.compare import halved, same

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import backend, nn
from minitorch_alex.kernels import gpu
from minitorch_alex.tensor import Tensor

SHARED = ("bias_relu", "lrn_backward_of_relu", "max_pool2d_of_relu", "bias_gradient")
DTYPES = (np.float32, np.float64)


@contextlib.contextmanager
def one_by_one():
    """Within it each layer makes its own passes and gradients are copied into their place."""
    kernels = {name: getattr(gpu, name) for name in SHARED}
    linear_file = sys.modules["minitorch_alex.functional.linear"]  # by name: functional.linear is a function too
    places = linear_file.places
    for name in SHARED:
        delattr(gpu, name)
    linear_file.places = lambda function: (None,) * len(function.edges)
    try:
        yield
    finally:
        linear_file.places = places
        for name, kernel in kernels.items():
            setattr(gpu, name, kernel)


def device(array, dtype=None):
    return backend.asarray(np.array(array, dtype))


# kernels


def check_bias_relu():
    """max(x + b, 0) for images and for rows; a NaN stays one."""
    for shape in ((2, 3, 4, 5), (7, 3), (1, 1), (0, 4), (300, 33)):
        for dtype in DTYPES:
            x = normal(*shape).astype(dtype)
            if x.size:
                x.reshape(-1)[0] = np.nan
            b = normal(shape[-1], seed=1).astype(dtype)
            same(gpu.bias_relu(device(x), device(b)), np.where(x + b < 0, dtype(0), x + b), f"bias_relu of {shape}")


def check_lrn_backward_of_relu():
    """lrn_backward, then relu_backward."""
    for case in cases.LRN_CASES:
        for dtype in DTYPES:
            C = case.C * case.groups
            x = device(halved(2, 3, 2, C), dtype)
            gy = device(normal(2, 3, 2, C, seed=1), dtype)
            _, scale = gpu.lrn(x, case.size, case.alpha, case.beta, case.k, case.groups)
            args = (gy, x, scale, case.size, case.alpha, case.beta, case.groups)
            same(gpu.lrn_backward_of_relu(*args), gpu.relu_backward(gpu.lrn_backward(*args), x), case)


def check_max_pool2d_of_relu():
    """max_pool2d and its gradient, then relu_backward: windows of zeros, ties, a NaN."""
    for case in cases.POOL_CASES:
        for dtype in DTYPES:
            x = np.random.default_rng(0).integers(-3, 3, case.x_shape)
            x = np.maximum(x, 0).astype(dtype)
            x.reshape(-1)[-1] = np.nan
            gy = device(normal(case.N, *case.win.out(case.H, case.W), case.x_shape[3]), dtype)
            x = device(x)
            y, won = gpu.max_pool2d(x, case.win)
            want = gpu.relu_backward(gpu.max_pool2d_backward(gy, won, x.shape, case.win), x)
            y_of_relu, won = gpu.max_pool2d_of_relu(x, case.win)
            same(y_of_relu, y, case)
            same(gpu.max_pool2d_backward(gy, won, x.shape, case.win), want, case)


def check_bias_gradient():
    """sum_rows, written into a part of a longer array and nowhere else."""
    for rows in (0, 1, 128, 129, 20_000):
        gy = device(normal(rows, 3), np.float32)
        flat = device(np.full(9, 7.0), np.float32)
        place = flat[3:6]
        assert gpu.bias_gradient(gy, place) is place
        same(place, gpu.sum_rows(gy), f"the sum of {rows} rows")
        assert backend.to_numpy(flat)[[0, 1, 2, 6, 7, 8]].tolist() == [7] * 6


# layers and gradients


def net(dtype=np.float32):
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
        nn.Conv2d(12, 6, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2, 1),
        nn.Conv2d(6, 4, 1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4, 20),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(20, 10)).astype(dtype)


def images(N=6, dtype=np.float32):
    x = np.random.default_rng(0).standard_normal((N, 21, 21, 3)).astype(dtype)
    return Tensor(backend.asarray(x.transpose(0, 3, 1, 2)))  # (N, 21, 21, 3) -> (N, 3, 21, 21)


def trained(steps=3, dtype=np.float32, wanted=slice(None)):
    """Losses, weights and gradients of a few steps; `wanted` are the parameters that the optimizer has."""
    model = net(dtype)
    optimizer = mt.optim.SGD(list(model.parameters())[wanted], lr=0.05, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(steps):
        mt.set_step(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images(dtype=dtype)), np.arange(6))
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    gradients = [p.grad for p in model.parameters()]
    return [np.array(losses), optimizer.flat, *gradients]


def check_shared_passes_train_as_before():
    """Weights in an optimizer's array, some of them, and in float64."""
    for settings in ({}, {"wanted": slice(1, 6)}, {"dtype": np.float64}):
        got = trained(**settings)
        with one_by_one():
            want = trained(**settings)
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            same(one, other, f"array {i} with {settings}")


def check_shared_passes_evaluate_as_before():
    """Without a graph, and in evaluation with one."""
    model = net().eval()
    with mt.no_grad():
        y = model(images()).data
    with_graph = model(images()).data
    with one_by_one():
        want = model(images()).data
    same(y, want, "without a graph")
    same(with_graph, want, "with a graph")


def gradients_of(fn, *arrays):
    """The gradients of the sum of fn(...)^2 at float32 arrays."""
    leaves = [Tensor(device(array, np.float32), requires_grad=True) for array in arrays]
    y = fn(*leaves)
    y.backward(y.data)
    return [leaf.grad for leaf in leaves]


def check_a_gate_with_several_layers_behind():
    """The ReLU's result goes into LRN or a pool, and elsewhere: the sum of the gradients has not been through the
    gate. Twice through it is once through it."""
    def norm(y):
        return F.local_response_norm(y, 3)

    def pool(y):
        return F.max_pool2d(y, 3, 2, 1)

    x = normal(2, 3, 4, 4)
    for fn in (lambda y: norm(y) + y * 2.0, lambda y: y * 2.0 + norm(y), lambda y: norm(y) + norm(y),
               lambda y: pool(y).sum() + (y * y).sum(), lambda y: norm(y).sum() + pool(y).sum() + y.sum(),
               norm, pool, lambda y: norm(norm(y))):
        got = gradients_of(lambda x, f=fn: f(F.relu(x)), x)
        with one_by_one():
            want = gradients_of(lambda x, f=fn: f(F.relu(x)), x)
        same(got[0], want[0], "behind a ReLU")


def check_a_gate_that_is_walked_twice():
    """A second backward pass adds the same again."""
    def twice():
        x = Tensor(device(normal(2, 3, 4, 4), np.float32), requires_grad=True)
        y = F.max_pool2d(F.local_response_norm(F.relu(x), 3), 2)
        y.backward(y.data, retain_graph=True)
        y.backward(y.data)
        return x.grad

    got = twice()
    with one_by_one():
        same(got, twice(), "the second time")


def weights_of(*sizes):
    """Parameters of random numbers with places in an optimizer's arrays, one after the other."""
    weights = [nn.Parameter(device(normal(*size, seed=i), np.float32)) for i, size in enumerate(sizes)]
    mt.optim.SGD(weights, lr=0.1)
    return weights


def placed(fn, *sizes):
    """The gradients of fn of parameters that have places, which they must be in."""
    weights = weights_of(*sizes)
    y = fn(*weights)
    y.backward(y.data)
    assert all(w.grad is w.grad_place for w in weights)
    return [backend.to_numpy(w.grad).copy() for w in weights]


def check_gradients_in_their_place():
    """Also where it does not begin at a multiple of 16 bytes, and where a parameter is used twice: by two nodes, and by
    one as two inputs."""
    x = Tensor(device(normal(5, 4), np.float32))
    uneven = Tensor(device(normal(3, 3), np.float32))  # else both gradients of w w^T are the same
    for fn, sizes in (
            (lambda w, b: F.linear(x, w, b), ((3, 4), (3,))),
            (lambda b, w: F.linear(x, w, b), ((3,), (3, 4))),
            (lambda w, b: F.linear(F.linear(x, w, b), w, b), ((4, 4), (4,))),
            (lambda w: F.linear(w, w) * uneven, ((3, 3),)),
            (lambda w: F.linear(w, w) * uneven + w, ((3, 3),)),
            (lambda w, b: F.linear(x, w, b) * b, ((3, 4), (3,)))):
        got = placed(fn, *sizes)
        with one_by_one():
            want = placed(fn, *sizes)
        for one, other in zip(got, want, strict=True):
            same(one, other, f"gradients of {sizes}")


def check_gradients_in_their_place_add_up():
    """Two backward passes before a step."""
    def twice():
        w, b = weights_of((3, 4), (3,))
        for seed in (0, 1):
            y = F.linear(Tensor(device(normal(5, 4, seed=seed), np.float32)), w, b)
            y.backward(y.data)
        return w.grad, b.grad

    got = twice()
    with one_by_one():
        for one, other in zip(got, twice(), strict=True):
            same(one, other, "the sum of two")


CHECKS = (
    check_bias_relu, check_lrn_backward_of_relu, check_max_pool2d_of_relu, check_bias_gradient,
    check_shared_passes_train_as_before, check_shared_passes_evaluate_as_before,
    check_a_gate_with_several_layers_behind, check_a_gate_that_is_walked_twice, check_gradients_in_their_place,
    check_gradients_in_their_place_add_up,
)
