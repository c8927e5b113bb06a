"""Checks of plots/explain.py: against finite differences, formulas in loops, and a net whose answer
is known.

They run on whatever backend is current.
"""
from collections import OrderedDict

import numpy as np

import minitorch_alex as mt
from minitorch_alex import backend, nn
from minitorch_alex import functional as F
from minitorch_alex.plots import explain

from .compare import assert_close, normal
from .engine import host

STEP = 1e-5
LABELS = np.array([2, 0])


def small_net():
    """conv ReLU LRN pool, conv ReLU, fc: 3 classes for images of 9 x 9, in float64."""
    mt.manual_seed(3)
    net = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 4, 3), relu1=nn.ReLU(), lrn1=nn.LocalResponseNorm(3, alpha=1.0),
        pool1=nn.MaxPool2d(3, 2), conv2=nn.Conv2d(4, 5, 2), relu2=nn.ReLU(), flatten=nn.Flatten(),
        fc=nn.Linear(20, 3)))
    return net.astype(np.float64).eval()


def device(array):
    return backend.asarray(np.asarray(array))


def logits(net, x):
    """(N,): of each input the logit of its class."""
    return host(net(mt.Tensor(device(x))).data)[np.arange(len(x)), LABELS]


def slope(net, x, direction):
    """(N,): how fast the logits grow in a direction, by central differences."""
    return (logits(net, x + STEP * direction) - logits(net, x - STEP * direction)) / (2 * STEP)


def check_saliency_is_the_largest_slope():
    net = small_net()
    x = normal(2, 3, 9, 9)
    got = host(explain.saliency(net, device(x), LABELS))
    for row, column in ((0, 0), (2, 7), (4, 4), (5, 3), (8, 6)):
        slopes = []
        for channel in range(3):
            direction = np.zeros_like(x)
            direction[:, channel, row, column] = 1
            slopes.append(abs(slope(net, x, direction)))
        assert_close(got[:, row, column], np.max(slopes, axis=0), 1e-7, f"pixel {row}, {column}")


def check_grad_cam_weights_maps_by_their_slopes():
    """A map that grows by a little at all of its h w places moves the logit by h w times its
    weight."""
    net = small_net()
    x = normal(2, 3, 9, 9)
    front, back = explain.cut(net, "relu2")
    maps = host(front(mt.Tensor(device(x))).data)
    evidence = np.zeros((2, 2, 2))
    for c in range(5):
        direction = np.zeros_like(maps)
        direction[:, c] = 1
        weights = slope(back, maps + 1e-3, direction) / 4  # the rest is linear: no kink is near
        evidence += weights[:, None, None] * maps[:, c]
    assert (evidence < -0.01).any() and (evidence > 0.01).any()
    got = host(explain.grad_cam(net, device(x), LABELS, "relu2"))
    assert_close(got, np.maximum(evidence, 0), 1e-7, "Grad-CAM")


def check_occlusion_is_the_answer_to_covered_copies():
    net = small_net()
    x = normal(3, 9, 9)
    for side, step in ((3, 2), (4, 3)):
        got = explain.occlusion(net, device(x), side, step, batch_size=5)
        centres = range(step // 2, 9, step)
        assert got.shape == (len(centres), len(centres), 3)
        for i, row in enumerate(centres):
            for j, column in enumerate(centres):
                copy = x.copy()
                for h in range(9):
                    for w in range(9):
                        if (0 <= h - row + side // 2 < side) and (0 <= w - column + side // 2 < side):
                            copy[:, h, w] = 0
                want = host(F.softmax(net(mt.Tensor(device(copy[None])))).data)[0]
                assert_close(got[i, j], want, 1e-9, f"square at {row}, {column}")


def check_deconvolution_is_the_transpose():
    """Without rectifying, a net of kernels and switches is a matrix at this image, and the way down
    is its transpose: <A x, s> = <x, A^T s>."""
    mt.manual_seed(1)
    net = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), pool1=nn.MaxPool2d(3, 2),
        conv2=nn.Conv2d(4, 6, 2, groups=2, bias=False), pool2=nn.MaxPool2d(2, 1)))
    net = net.astype(np.float64)
    x = normal(2, 3, 17, 17)
    maps = host(net(mt.Tensor(device(x))).data)
    seed = normal(*maps.shape, seed=1)
    down = host(explain.deconvolve(net, device(x), "pool2", device(seed)))
    assert_close((down * x).sum(), (maps * seed).sum(), 1e-9, "<x, A^T s>")


def check_deconvolution_of_a_net_with_a_known_answer():
    """conv1 takes red, and green minus blue; conv2 takes 2 of the first and -3 of the second. So
    only red comes down, from the switches: what comes from the second map is negative."""
    net = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 2, 1, bias=False), relu1=nn.ReLU(),
        lrn1=nn.LocalResponseNorm(2, alpha=0.1), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(2, 1, 1, bias=False), relu2=nn.ReLU())).astype(np.float64)
    kernels = np.array([[1, 0, 0], [0, 1, -1]], np.float64).reshape(2, 3, 1, 1)
    net.load_state_dict({"conv1.weight": kernels,
                         "conv2.weight": np.array([2.0, -3.0]).reshape(1, 2, 1, 1)})
    x = np.zeros((1, 3, 2, 4))
    x[0, 0] = [[1, 5, -1, -2], [2, 3, -4, -3]]  # the right window of the first map is silent
    x[0, 1] = 0.5                               # and green everywhere, so the second is not
    seed = np.array([[[[7.0, 11.0]]]])
    want = np.zeros((1, 3, 2, 4))
    want[0, 0, 0, 1] = 2 * 7   # where red was 5
    want[0, 0, 0, 2] = 2 * 11  # of equal zeros the first is the switch; a gradient would stop here
    got = host(explain.deconvolve(net, device(x), "relu2", device(seed)))
    assert_close(got, want, 1e-12, "deconvolution")


def check_receptive_field():
    """Where the image changes a unit: kernels of ones and means let everything through."""
    layers = [nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(3, 2),
              nn.Conv2d(1, 1, 2, dilation=2, bias=False)]
    net = nn.Sequential(*layers).astype(np.float64)
    for p in net.parameters():
        p.data = backend.asarray(np.ones(p.shape))
    for row, column in ((0, 0), (1, 2), (3, 3)):
        leaf = mt.Tensor(device(np.ones((1, 1, 31, 31))), requires_grad=True)
        y = net(leaf)
        chosen = np.zeros(y.shape)
        chosen[0, 0, row, column] = 1
        y.backward(device(chosen))
        rows, columns = np.nonzero(host(leaf.grad)[0, 0])
        top, bottom, left, right = explain.field(layers, row, column)
        assert (max(top, 0), min(bottom, 30)) == (rows.min(), rows.max())
        assert (max(left, 0), min(right, 30)) == (columns.min(), columns.max())


def check_explaining_leaves_the_model_as_it_was():
    net = small_net().train()
    net.conv1.weight.requires_grad = False
    explain.saliency(net, device(normal(2, 3, 9, 9)), LABELS)
    assert net.training and all(p.grad is None for p in net.parameters())
    assert [p.requires_grad for p in net.parameters()] == [False] + [True] * 5


CHECKS = (check_saliency_is_the_largest_slope, check_grad_cam_weights_maps_by_their_slopes,
          check_occlusion_is_the_answer_to_covered_copies, check_deconvolution_is_the_transpose,
          check_deconvolution_of_a_net_with_a_known_answer, check_receptive_field,
          check_explaining_leaves_the_model_as_it_was)
