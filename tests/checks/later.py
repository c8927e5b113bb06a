"""Checks of what PyTorch has besides AlexNet's parts: indexing, shapes, reductions, batch normalisation, Adam. Those of
kernels come first, then gradients, then values; engine.py and kernels.py have the rest."""
import numpy as np

import minitorch_alex as mt
from minitorch_alex import backend, nn
from minitorch_alex import functional as F
from minitorch_alex.kernels import naive_later

from . import kernels
from .compare import assert_close, normal
from .engine import gradients, host, leaf, spaced

# kernels


def check_batch_norm():
    """Moments, both directions, training and evaluation; a mean far from 0 must not cost digits."""
    for shape in ((5, 3), (2, 3, 2, 4), (300, 2)):
        x = normal(*shape) + 10.0
        gy = normal(*shape, seed=1)
        C = shape[-1]
        scale = normal(C, seed=2)
        shift = normal(C, seed=3)
        mean, var = kernels.agree("batch_moments", x, oracle=naive_later)
        inv_std = 1 / np.sqrt(var + 1e-5)
        kernels.agree("batch_norm", x, mean, scale, shift, oracle=naive_later)
        for training in (True, False):
            kernels.agree("batch_norm_backward", gy, x, mean, inv_std, scale, training, oracle=naive_later,
                          single=1e-4)


def check_scatter_add():
    """Places in any order, some repeatedly, some not at all."""
    places = np.array([3, 0, 3, 3, 5, 0, 6])
    kernels.agree("scatter_add", normal(7), places, 8, oracle=naive_later)
    kernels.agree("scatter_add", normal(0), np.zeros(0, np.int64), 3, oracle=naive_later)


def check_adam():
    """The kernel against the loops over several steps, with weight decay and without."""
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        for weight_decay in (0.0, 0.1):
            ours = [normal(7, seed=i).astype(dtype) for i in (0, 1)]
            ours += [np.zeros(7, dtype), np.zeros(7, dtype)]
            want = [a.astype(np.float64) for a in ours]
            for step in (1, 2, 3):
                kernels.cpu.adam(*ours, 0.1, 0.9, 0.99, 1e-8, weight_decay, step)
                naive_later.adam(*want, 0.1, 0.9, 0.99, 1e-8, weight_decay, step)
                for one, other, name in zip(ours, want, "wgmv", strict=True):
                    assert_close(one, other, tolerance, f"adam, step {step}: {name}")


def check_nesterov():
    """One step worked out by hand: m 0.9, wd 0.01, lr 0.1, w 1, g 0.5, v 0.25.

    step = 0.5 + 0.01 = 0.51;   v = 0.225 + 0.51 = 0.735;   w = 1 - 0.1 (0.51 + 0.6615) = 0.88285
    """
    for module in (kernels.naive, kernels.cpu):
        w = np.full(3, 1.0)
        v = np.full(3, 0.25)
        module.sgd(w, np.full(3, 0.5), v, 0.1, 0.9, 0.01, "nesterov")
        assert_close(v, np.full(3, 0.735), 1e-12, "nesterov: v")
        assert_close(w, np.full(3, 0.88285), 1e-12, "nesterov: w")


# gradients


def check_gradients_of_indexing():
    mask = np.array([True, False, True])
    for key in (1, slice(None, None, 2), (slice(1, None), 0), (..., None, -1), [0, 2, 0, 0], (slice(None), [1, 1, 3]),
                ([0, 2, 0], [1, 3, 1]), mask, np.array([[0, 1], [2, 0]])):
        gradients(lambda x, k=key: x[k], normal(3, 4))


def check_gradients_of_shapes():
    x = normal(2, 3, 1, 4)
    for fn in (lambda x: x.view(6, -1), lambda x: x.squeeze(), lambda x: x.squeeze(2), lambda x: x.unsqueeze(-1),
               lambda x: x.unsqueeze(0), lambda x: F.flatten(x, 1, 2), lambda x: x.expand(2, 3, 5, 4),
               lambda x: x.expand(2, -1, -1, -1, -1), lambda x: x.flatten()):
        gradients(fn, x)
    gradients(F.t, normal(2, 3))
    gradients(lambda a, b, c: F.cat([a, b, c], 1), normal(2, 3), normal(2, 1), normal(2, 2, seed=1))
    gradients(lambda a, b: F.stack([a, b], -1), normal(2, 3), normal(2, 3, seed=1))
    gradients(lambda a: F.cat([a, a]), normal(2, 3))


def check_gradients_of_pointwise_operations():
    positive = 0.5 + np.abs(normal(3, 4))
    for fn in (F.sigmoid, F.abs, F.leaky_relu, lambda x: F.leaky_relu(x, 0.3), lambda x: F.clamp(x, -0.4, 0.4),
               lambda x: F.clamp(x, max=0.2), lambda x: x.where(np.arange(4) % 2 == 0, x * 2.0), lambda x: 2.0 ** x):
        gradients(fn, spaced(3, 4))
    gradients(F.sqrt, positive)
    gradients(F.pow, positive, normal(4))
    gradients(lambda a, b: F.where(np.array([True, False, True, False]), a, b), normal(3, 4), normal(4))
    gradients(F.maximum, spaced(3, 4), 0.03 + spaced(4))
    gradients(F.minimum, spaced(3, 4), 0.03 + spaced(4))
    gradients(F.clamp, spaced(3, 4), spaced(4) - 0.33, spaced(4) + 0.31)


def check_gradients_of_extremes():
    for fn in (F.amax, F.amin):
        for dim in (None, 1, (0, 2)):
            for keepdim in (False, True):
                gradients(lambda x, f=fn, d=dim, k=keepdim: f(x, d, k), spaced(2, 3, 4))
    for fn in (F.max, F.min):
        gradients(fn, spaced(2, 3))
        gradients(lambda x, f=fn: f(x, 1).values, spaced(2, 3, 4))
        gradients(lambda x, f=fn: f(x, 0, keepdim=True).values, spaced(2, 3, 4))


def check_gradients_of_products():
    for one, other in (((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 2)), ((2, 3, 4), (4, 2)), ((4,), (2, 4, 3)),
                       ((2, 3, 4), (2, 4, 2)), ((2, 1, 3, 4), (3, 4, 2)), ((2, 3, 4), (4,))):
        gradients(F.matmul, normal(*one), normal(*other, seed=1))
    gradients(F.linear, normal(2, 3, 4), normal(5, 4), normal(5))
    gradients(F.linear, normal(4), normal(5, 4), normal(5))
    gradients(F.linear, normal(2, 4), normal(4))


def check_gradients_of_batch_norm():
    for shape in ((4, 3), (2, 3, 2, 3), (3, 2, 4), (2, 2, 2, 1, 3)):
        C = shape[1]
        x = normal(*shape)
        w = normal(C, seed=1)
        b = normal(C, seed=2)
        gradients(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), x, w, b)
        gradients(lambda x: F.batch_norm(x, None, None, training=True), x)

        def evaluated(x, w, b, C=C):
            mean = mt.Tensor(backend.asarray(normal(C, seed=3)))
            var = mt.Tensor(backend.asarray(0.5 + normal(C, seed=4) ** 2))
            return F.batch_norm(x, mean, var, w, b)
        gradients(evaluated, x, w, b)


def check_gradients_of_losses():
    """Weights, ignored labels, smoothing, probabilities, more axes."""
    labels = np.array([1, 0, 4])
    weight = 0.5 + np.arange(5.0)
    for reduction in ("mean", "sum", "none"):
        for settings in ({"weight": weight}, {"ignore_index": 0}, {"label_smoothing": 0.1},
                         {"weight": weight, "ignore_index": 4, "label_smoothing": 0.2}):
            settings = {**settings, "reduction": reduction}
            if "weight" in settings:
                settings["weight"] = backend.asarray(weight)
            gradients(lambda x, s=settings: F.cross_entropy(x, labels, **s), normal(3, 5))
        gradients(lambda x, r=reduction: F.cross_entropy(x, np.array([[1, 0], [4, 4]]), reduction=r), normal(2, 5, 2))
        gradients(lambda x, p, r=reduction: F.cross_entropy(x, p, reduction=r, label_smoothing=0.1), normal(3, 5),
                  np.abs(normal(3, 5, seed=1)))
    gradients(lambda x: F.cross_entropy(x, np.array(2)), normal(5))


def check_gradients_of_windows():
    """One image, padding by a word, another divisor."""
    for kernel in ((3, 3), (2, 4), (1, 5)):
        w = normal(2, 3, *kernel)
        for padding in ("same", "valid"):
            gradients(lambda x, w, p=padding: F.conv2d(x, w, padding=p), normal(2, 3, 5, 6), w)
    gradients(lambda x, w: F.conv2d(x, w), normal(3, 5, 6), normal(2, 3, 3, 3))
    gradients(lambda x: F.max_pool2d(x, 2), spaced(2, 4, 4))
    gradients(lambda x: F.avg_pool2d(x, 3, 2, 1, True, divisor_override=5), normal(1, 2, 6, 5))
    gradients(lambda x: F.adaptive_avg_pool2d(x, (2, 3)), normal(2, 5, 4))
    gradients(lambda x: F.local_response_norm(x, 3, 1.0), normal(2, 4, 3))


# values


def check_values_of_indexing():
    x = np.arange(12.0).reshape(3, 4)
    for key in (1, (0, -1), slice(None, None, 2), [2, 0, 0], (..., [1, 3]), np.array([True, False, True])):
        assert_close(host(leaf(x)[key].data), x[key], 0, f"x[{key}]")
    t = leaf(x)
    t[[0, 0, 2]].sum().backward()
    assert host(t.grad).sum(axis=1).tolist() == [8.0, 0.0, 4.0], "a row that was asked for twice collects twice"
    assert [row.sum().item() for row in leaf(x)] == x.sum(axis=1).tolist()


def check_values_of_comparisons():
    x = leaf([[1.0, 5.0, 5.0], [3.0, -2.0, 0.0]])
    assert host(x > 0).tolist() == [[True, True, True], [True, False, False]]
    assert host(x == leaf([1.0, 5.0, 0.0])).tolist() == [[True, True, False], [False, False, True]]
    assert host(x.argmax(1)).tolist() == [1, 0] and host(x.argmin()).tolist() == 4
    values, indices = x.max(1)
    assert host(values.data).tolist() == [5.0, 3.0] and host(indices).tolist() == [1, 0]
    assert float(x.max()) == 5.0 and f"{x.min():.1f}" == "-2.0"
    t = leaf([2.0, 7.0, 7.0])
    t.max().backward()
    assert host(t.grad).tolist() == [0.0, 0.5, 0.5], "equal ones share the gradient"
    assert host(F.clamp(t, 3, 5).data).tolist() == [3.0, 5.0, 5.0]
    for fn in (F.maximum, F.minimum):
        t = leaf([2.0, 7.0, 9.0])
        fn(t, 7.0).sum().backward()
        assert host(t.grad)[1] == 0.5, "of two equal numbers each takes half of the gradient"


def check_values_of_shapes():
    """Against NumPy: a wrong axis is its own gradient's inverse, so that gradcheck does not see it."""
    x = normal(2, 1, 3)
    a, b = leaf(x), leaf(2 * x)
    for dim in (0, 1, 3, -1, -2):
        assert_close(host(F.stack([a, b], dim).data), np.stack([x, 2 * x], dim), 0, f"stack along {dim}")
        assert_close(host(a.unsqueeze(dim).data), np.expand_dims(x, dim), 0, f"unsqueeze({dim})")
    for dim in (0, 1, 2, -1):
        assert_close(host(F.cat([a, b], dim).data), np.concatenate([x, 2 * x], dim), 0, f"cat along {dim}")
        shape = tuple(n for i, n in enumerate(x.shape) if n > 1 or i != dim % 3)
        assert a.squeeze(dim).shape == shape, f"squeeze({dim})"
    assert a.squeeze().shape == (2, 3) and leaf(normal(1, 1, 2)).squeeze(1).shape == (1, 2)
    assert_close(host(a.expand(4, 2, 5, 3).data), np.broadcast_to(x, (4, 2, 5, 3)), 0, "expand")
    assert_close(host(F.t(leaf(x[:, 0])).data), x[:, 0].T, 0, "t")


def check_values_of_rounding_and_precision():
    """Rounded quotients are flat; a result in another precision gives the gradient back in the tensor's own."""
    x = leaf([-3.5, -1.0, 2.5, 3.0])
    y = F.div(x, 2.0, rounding_mode="trunc")
    assert host(y.data).tolist() == [-1.0, 0.0, 1.0, 1.0]
    assert host(F.div(x, 2.0, rounding_mode="floor").data).tolist() == [-2.0, -1.0, 1.0, 1.0]
    y.sum().backward()
    assert host(x.grad).tolist() == [0.0] * 4, "no gradient passes through a step"
    x = leaf(normal(2, 3))
    y = F.softmax(x, -1, dtype=np.float32)
    (y * y).sum().backward()
    assert y.dtype == np.float32 and x.grad.dtype == np.float64, "the gradient has the tensor's own precision"


def check_values_of_adaptive_pooling():
    """Five rows in two parts: rows 0 to 2 and 2 to 4, the middle one in both."""
    x = normal(1, 1, 5, 3)
    y = host(F.adaptive_avg_pool2d(leaf(x), (2, 1)).data)
    want = np.array([x[0, 0, :3].mean(), x[0, 0, 2:].mean()]).reshape(1, 1, 2, 1)
    assert_close(y, want, 1e-12, "windows that overlap")


def check_values_of_same_padding():
    """Pixel (h, w) sees rows from h - left on, left = D (K-1) // 2; an even kernel reaches further down. A window over
    ones whose sum is divided by 5."""
    x = leaf(np.arange(20.0).reshape(1, 1, 4, 5))
    for K in (1, 2, 3, 4):
        w = np.zeros((1, 1, K, K))
        w[0, 0, (K - 1) // 2, (K - 1) // 2] = 1.0  # the tap that lies on the pixel itself
        y = F.conv2d(x, leaf(w), padding="same")
        assert_close(host(y.data), host(x.data), 0, f"a kernel of {K} that changes nothing")
    y = F.avg_pool2d(leaf(np.ones((1, 1, 4, 4))), 2, divisor_override=5)
    assert_close(host(y.data), np.full((1, 1, 2, 2), 0.8), 1e-12, "four ones over 5")


def check_values_of_weighted_losses():
    """Cases worked out by hand: p = (1/4, 3/4) and (1/2, 1/2)."""
    x = leaf(np.log([[1.0, 3.0], [1.0, 1.0]]))
    labels = np.array([1, 0])
    losses = np.log([4 / 3, 2.0])
    got = F.cross_entropy(x, labels, backend.asarray(np.array([2.0, 3.0])))
    assert_close(got.item(), (3 * losses[0] + 2 * losses[1]) / 5, 1e-12, "weighted mean")
    got = F.cross_entropy(x, labels, ignore_index=0)
    assert_close(got.item(), losses[0], 1e-12, "one label ignored")
    got = F.cross_entropy(x, labels, reduction="none", label_smoothing=0.5)
    assert_close(host(got.data), [0.75 * np.log(4 / 3) + 0.25 * np.log(4.0), np.log(2.0)], 1e-12, "smoothed")
    probabilities = leaf([[0.25, 0.75], [1.0, 0.0]])
    got = F.cross_entropy(x, probabilities, reduction="sum")
    assert_close(got.item(), 0.25 * np.log(4.0) + 0.75 * losses[0] + losses[1], 1e-12, "probabilities")


def check_batch_norm_layer():
    """In training the statistics of the batch, which the running ones follow; in evaluation these. Both are part of the
    state."""
    layer = nn.BatchNorm2d(3, momentum=0.25).astype(np.float64)
    x = 3.0 + 2.0 * normal(4, 3, 5, 5)
    mean = x.mean(axis=(0, 2, 3))
    var = x.var(axis=(0, 2, 3))
    y = host(layer(leaf(x)).data)
    assert_close(y.mean(axis=(0, 2, 3)), np.zeros(3), 1e-12, "mean of the result")
    assert_close(y.var(axis=(0, 2, 3)), var / (var + 1e-5), 1e-12, "variance of the result")
    assert_close(host(layer.running_mean.data), 0.25 * mean, 1e-12, "running mean")
    assert_close(host(layer.running_var.data), 0.75 + 0.25 * var * 100 / 99, 1e-12, "running variance")
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var"]
    twin = nn.BatchNorm2d(3).astype(np.float64)
    twin.load_state_dict(state)
    shape = (1, 3, 1, 1)
    want = (x - (0.25 * mean).reshape(shape)) / np.sqrt(state["running_var"].reshape(shape) + 1e-5)
    for each in (layer, twin):
        assert_close(host(each.eval()(leaf(x)).data), want, 1e-12, "evaluation")
    assert_close(host(layer.running_mean.data), state["running_mean"], 0, "evaluation leaves the statistics alone")


def check_adam_optimizer():
    """Two groups with rates of their own; every step of |g| = const moves by about lr at first."""
    a, b = (mt.nn.Parameter.drawn((2,), mt.init.constant(1.0)) for _ in range(2))
    for p in (a, b):
        p.data = p.data.astype(np.float64)
    adam = mt.optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.01}], lr=0.1)
    for step in (1, 2, 3):
        adam.zero_grad()
        ((a + b) * 0.5).sum().backward()
        adam.step()
        assert_close(host(a.data), [1 - 0.1 * step] * 2, 1e-6, "a")
        assert_close(host(b.data), [1 - 0.01 * step] * 2, 1e-6, "b")
    resumed = mt.optim.Adam([{"params": [a]}, {"params": [b]}], lr=1.0)
    resumed.load_state_dict(adam.state_dict())
    resumed.step()  # the fourth: without the number of steps the moments would count for less
    assert_close(host(a.data), [0.6] * 2, 1e-6, "a, resumed")


def check_lars():
    """Two steps against the formula, in float64: a weight and a bias of different lengths, in groups of different
    rates; a weight of 0, which has no local rate; one whose gradient is 0 moves by its velocity and its decay."""
    lr, momentum, decay, trust = 2.0, 0.9, 0.01, 0.001
    starts = [normal(3, 2), 10 * normal(4), np.zeros(2), np.ones(3)]
    params = [mt.nn.Parameter.drawn(w.shape, mt.init.constant(0.0)) for w in starts]
    for p, w in zip(params, starts, strict=True):
        p.data = leaf(w).data
    lars = mt.optim.LARS([{"params": [params[0], params[2], params[3]]},
                          {"params": [params[1]], "lr": 3.0, "weight_decay": 0.0}], lr, momentum, decay, trust)
    want = [w.copy() for w in starts]
    velocities = [np.zeros_like(w) for w in want]
    for step in range(2):
        gradients = [normal(3, 2, seed=step), 100 * normal(4, seed=step), normal(2, seed=step), np.zeros(3)]
        lars.zero_grad()
        for i, (p, g) in enumerate(zip(params, gradients, strict=True)):
            p.grad = leaf(g).data
            w, v = want[i], velocities[i]
            wd = 0.0 if i == 1 else decay
            norms = np.sqrt((w ** 2).sum()), np.sqrt((g ** 2).sum())
            local = trust * norms[0] / (norms[1] + wd * norms[0]) if min(norms) > 0 else 1.0
            v[...] = momentum * v - (3.0 if i == 1 else lr) * local * (g + wd * w)
            w += v
        lars.step()
        for i, (p, w) in enumerate(zip(params, want, strict=True)):
            assert_close(host(p.data), w, 1e-12, f"parameter {i} after step {step}")


def check_clipped_gradients():
    """Scaled down together to a norm of 1, and left alone below it."""
    a, b = (mt.nn.Parameter.drawn((2,), mt.init.constant(1.0)) for _ in range(2))
    (a * 3.0 + b * 4.0).sum().backward()
    norm = nn.utils.clip_grad_norm_([a, b], 1.0)
    assert_close(norm, np.sqrt(50.0), 1e-6, "norm before")
    assert_close(host(a.grad), [3 / np.sqrt(50.0)] * 2, 1e-5, "clipped")
    assert_close(nn.utils.clip_grad_norm_([a, b], 7.0), 1.0, 1e-5, "norm after")
    assert_close(host(b.grad), [4 / np.sqrt(50.0)] * 2, 1e-5, "left alone")


KERNEL_CHECKS = (
    check_batch_norm,
    check_scatter_add,
    check_adam,
    check_nesterov,
)
CHECKS = (
    check_gradients_of_indexing,
    check_gradients_of_shapes,
    check_gradients_of_pointwise_operations,
    check_gradients_of_extremes,
    check_gradients_of_products,
    check_gradients_of_batch_norm,
    check_gradients_of_losses,
    check_gradients_of_windows,
    check_values_of_indexing,
    check_values_of_comparisons,
    check_values_of_shapes,
    check_values_of_rounding_and_precision,
    check_values_of_adaptive_pooling,
    check_values_of_same_padding,
    check_values_of_weighted_losses,
    check_batch_norm_layer,
    check_adam_optimizer,
    check_lars,
    check_clipped_gradients,
)
