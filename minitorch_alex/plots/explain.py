"""Why does a network answer as it does? What in an image decides, and what a map responds to.

    saliency     how much each pixel changes the answer    Simonyan 2013 (arXiv:1312.6034), 3
    grad_cam     the places that speak for a class         Selvaraju 2017 (arXiv:1610.02391), 3
    occlusion    the answer while a part is covered        Zeiler 2013 (arXiv:1311.2901), 4.2
    deconvolve   what of an image a single unit has seen   the same, 2.1

A network is a Sequential of layers, as all models here are. It is used as in evaluation, and left
as it was: its parameters get no gradients.
"""
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import autograd, backend, nn
from .. import functional as F
from ..autograd import Function, no_grad
from ..errors import UsageError
from ..functional.activation import ReLU, Tanh
from ..functional.lrn import LocalResponseNorm
from ..functional.lrn_within import LocalResponseNormWithin
from ..functional.windows import cells_before
from ..kernels.window import Window
from ..nn import Sequential
from ..tensor import Tensor

Array = Any  # NumPy's or a device's
MAPPING = (nn.Conv2d, nn.LocallyConnected2d)      # layers that make maps
END_OF_MAPS = (*MAPPING, nn.Flatten, nn.Linear)  # what a map's own activation stands before


# Where a network is cut.


def map_layers(model: Sequential) -> dict[str, str]:
    """convolution -> the layer behind which its maps are looked at: its ReLU or tanh, or itself
    where it has none."""
    layers = list(model.named_layers())
    result = {}
    for i, (name, layer) in enumerate(layers):
        if isinstance(layer, MAPPING):
            result[name] = name
            for follower, module in layers[i + 1:]:
                if isinstance(module, END_OF_MAPS):
                    break
                if isinstance(module, nn.ReLU | nn.Tanh):
                    result[name] = follower
                    break
    return result


def cut(model: Sequential, layer: str) -> tuple[Sequential, Sequential]:
    """The network up to and with a layer, and the rest of it."""
    names = [name for name, _ in model.named_layers()]
    end = names.index(layer) + 1
    return model[:end], model[end:]


@contextlib.contextmanager
def explaining(model: Sequential) -> Iterator[None]:
    """Inside, the model behaves as in evaluation and its parameters ask for no gradients."""
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    for p, _ in wanted:
        p.requires_grad = False
    try:
        with nn.evaluating(model):
            yield
    finally:
        for p, before in wanted:
            p.requires_grad = before


# What in an image decides.


def gradient(net: Sequential, x: Array, labels: np.ndarray) -> Array:
    """d logit / d x for x (N, ...): of each input the gradient of the logit of its own class,
    labels (N,). Images of a batch do not meet in evaluation, so one backward pass does them
    all."""
    leaf = Tensor(x, requires_grad=True)
    logits = net(leaf)  # (N, ...) -> (N, K)
    chosen = np.zeros(logits.shape, logits.dtype)
    chosen[np.arange(len(labels)), labels] = 1
    logits.backward(backend.asarray(chosen))
    return leaf.grad


def saliency(model: Sequential, x: Array, labels: np.ndarray) -> Array:
    """(N, H, W): |d logit / d pixel|, of the three colours the largest; x (N, 3, H, W).

    The logit and not the probability: that also grows when other classes become less likely.
    """
    with explaining(model):
        slopes = gradient(model, x, labels)
    return abs(slopes).max(axis=1)  # (N, 3, H, W) -> (N, H, W)


def grad_cam(model: Sequential, x: Array, labels: np.ndarray, layer: str) -> Array:
    """(N, h, w): max(0, sum_c a_c A_c) of the maps A (N, C, h, w) behind `layer`, where
    a_c = mean over places of d logit / d A_c says how much map c speaks for the class.

    What speaks against the class is cut off: such places belong to others.
    """
    front, back = cut(model, layer)
    with explaining(model):
        with no_grad():
            maps = front(Tensor(x)).data
        # (N, C, h, w) -> (N, C, 1, 1)
        weights = gradient(back, maps, labels).mean(axis=(2, 3), keepdims=True)
    evidence = (weights * maps).sum(axis=1)  # (N, C, h, w) -> (N, h, w)
    return backend.xp_of(evidence).maximum(evidence, 0)


def occlusion(model: Sequential, x: Array, side: int, step: int,
              batch_size: int = 64) -> np.ndarray:
    """(R, S, K): the probabilities of one image x (3, H, W) while a square of side x side pixels
    is covered, for R x S places of its centre: each `step` pixels, from step // 2 on.

    Covered pixels are 0, which is the mean image: a grey square, as in the paper. At the edges a
    part of the square lies outside.
    """
    _, H, W = x.shape
    places = [(row, column) for row in range(step // 2, H, step)
              for column in range(step // 2, W, step)]
    answers = []
    with explaining(model), no_grad():
        for start in range(0, len(places), batch_size):
            part = places[start:start + batch_size]
            copies = backend.xp_of(x).stack([x] * len(part))
            for i, (row, column) in enumerate(part):
                top = max(row - side // 2, 0)
                left = max(column - side // 2, 0)
                bottom = row - side // 2 + side
                right = column - side // 2 + side
                copies[i, :, top:bottom, left:right] = 0
            answers.append(backend.to_numpy(F.softmax(model(Tensor(copies))).data))
    rows = len(range(step // 2, H, step))
    columns = len(range(step // 2, W, step))
    # (R*S, K) -> (R, S, K)
    return np.concatenate(answers).reshape(rows, columns, -1)


# What a map responds to.


def deconvolve(model: Sequential, x: Array, layer: str, seed: Array) -> Array:
    """(N, 3, H, W): what of the images x (N, 3, H, W) has made the activations `seed` (N, C, h, w)
    behind `layer`; all that is to be left out is 0 in it.

    The way up, walked down again (Zeiler and Fergus, 2.1):

        conv ──> ReLU ──> LRN ──> max pool ──> ...     up: the network
          │        │        │         │
        transposed rectify  as it is  unpool  <── ...  down: a deconvnet

    Unpooling puts a value where the maximum was, at the window's switch. Filtering takes the same
    kernels, transposed. Both are what the backward passes of max_pool2d and conv2d do. So this is
    a backward pass with two other rules: at a ReLU what comes *down* is rectified (a gradient
    would be masked by what went up), and a normalisation is passed by.

    Raises UsageError for a network with tanh.
    """
    front, _ = cut(model, layer)
    with explaining(model):
        maps = front(Tensor(x, requires_grad=True))
    signal = seed
    for node in autograd.order(maps.creator):  # a chain: each node has one node behind it
        signal = project(node, signal)
    return signal


def project(node: Function, signal: Array) -> Array:
    """One step down: what comes to an operation's output as a signal at its input."""
    if isinstance(node, Tanh):
        raise UsageError("deconvolution rectifies on its way down, which is for networks of ReLU; "
                         "this one has tanh")
    if isinstance(node, ReLU):
        return backend.xp_of(signal).maximum(signal, 0)
    if isinstance(node, LocalResponseNorm | LocalResponseNormWithin):
        return signal
    down = node.backward(signal)
    return down[0] if isinstance(down, tuple) else down  # the others are those of weights


class Strongest(NamedTuple):
    """The strongest activations of each of C maps, strongest first, at most one for each image.

    values (C, n), images (C, n): the image's number, places (C, n): row * width + column
    """

    values: np.ndarray
    images: np.ndarray
    places: np.ndarray

    @classmethod
    def none(cls, maps: int) -> "Strongest":
        """Before the first image."""
        return cls(np.zeros((maps, 0), np.float32), np.zeros((maps, 0), np.int64),
                   np.zeros((maps, 0), np.int64))

    def after(self, maps: np.ndarray, first: int, count: int) -> "Strongest":
        """The `count` strongest of these and of the maps (N, C, h, w) of the images first,
        first + 1, ..."""
        N, C, h, w = maps.shape
        flat = maps.transpose(1, 0, 2, 3).reshape(C, N, h * w)  # (N, C, h, w) -> (C, N, h*w)
        numbers = np.broadcast_to(first + np.arange(N), (C, N))
        values = np.concatenate([self.values, flat.max(axis=2)], axis=1)
        images = np.concatenate([self.images, numbers], axis=1)
        places = np.concatenate([self.places, flat.argmax(axis=2)], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :count]
        return Strongest(*(np.take_along_axis(a, order, axis=1) for a in (values, images, places)))


def field(layers: Iterable[nn.Module], row: int, column: int) -> tuple[int, int, int, int]:
    """The receptive field of a unit at (row, column) behind these layers: (first row, last row,
    first column, last column) of the image, which may reach past its edges."""
    spans = [(row, row), (column, column)]
    windows: list[Any] = [layer for layer in layers if hasattr(layer, "kernel_size")]
    for layer in reversed(windows):  # all other layers look at one place
        dilation = getattr(layer, "dilation", 1)
        padding = cells_before(layer.padding, layer.kernel_size, layer.stride, dilation)
        win = Window.of(layer.kernel_size, layer.stride, padding, dilation)
        spans = [(first * win.stride[axis] - win.padding[axis],
                  last * win.stride[axis] - win.padding[axis] + win.span(axis) - 1)
                 for axis, (first, last) in enumerate(spans)]
    return *spans[0], *spans[1]
