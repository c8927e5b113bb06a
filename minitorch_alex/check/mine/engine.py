"""Adapters for what is not a kernel: the graph, operations that one function of the exercises does
in place of several kernels, and AlexNet."""
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ... import autograd, functional, streams
from ...autograd import Function
from ...errors import UsageError
from ...functional import conv
from ...functional.dropout import Dropout, check_dropout
from ...functional.layout import to_nchw, to_nhwc
from ...kernels import cpu
from ...models import Network, alexnet
from ...tensor import Tensor
from .frame import add_frame, cut_frame, is_covered
from .yours import Adapter, Functions, Yours


def _conv2d_backward(yours: Functions) -> Callable[..., tuple]:
    """Conv2d.backward: yours returns all three gradients at once, the kernels one at a time."""
    f = yours["conv2d_backward"]
    package = conv.Conv2d.backward

    def backward(self, gy):
        needs_x, needs_w, needs_b = self.needs
        if not is_covered(self.win) or not (needs_x or needs_w):
            return package(self, gy)
        # The package saves x for w's gradient and w for x's. Yours computes both in any case, so
        # zeros stand in for what is missing: what they lead to is not used.
        x, w = self.saved
        x = np.zeros(self.x_shape, gy.dtype) if x is None else x
        w = np.zeros(self.edges[1][1], gy.dtype) if w is None else w
        gy = np.ascontiguousarray(gy)
        frame = add_frame(x, self.win, 0)
        gx, gw, gb = f(gy, frame, w, self.win.stride[0], 0, self.groups)
        gx = cut_frame(f.array(gx, frame.shape, gy.dtype), x.shape, self.win)
        return (to_nchw(gx) if needs_x else None,
                f.array(gw, w.shape, gy.dtype),
                f.array(gb, w.shape[:1], gy.dtype) if needs_b else None)

    return backward


def _walk(yours: Functions) -> Callable[..., None]:
    """autograd.walk: yours, after which the graph is freed.

    A graph that was freed before goes to the package's walk, which raises the error.
    """
    your_walk = yours["backward_walk"]
    package = autograd.walk
    count_consumers = autograd.count_consumers

    def walk(root, gradient, add_to_leaf, retain_graph=False):
        nodes = list(count_consumers(root))
        if any(node.edges is None for node in nodes):
            return package(root, gradient, add_to_leaf, retain_graph)
        your_walk(root, gradient, add_to_leaf)
        # Yours leaves the graph as it was, while the package's frees each node as it passes.
        if not retain_graph:
            for node in nodes:
                node.free()

    return walk


class _Dropout(Function):
    """Yours with the package's mask: the hash of (key, place in memory) that Dropout uses."""

    def __init__(self, yours: Functions, p: float, rule: str, training: bool,
                 key: tuple[int, int]) -> None:
        self.yours = yours
        self.p = p
        self.rule = rule
        self.training = training
        self.key = key

    def kept(self, x: np.ndarray) -> np.ndarray:
        """The mask, of x's shape; x in the kernels' order."""
        return cpu.dropout(np.ones_like(x), self.p, 1.0, self.key) > 0

    def forward(self, x):
        f = self.yours["dropout"]
        x = to_nhwc(x)
        kept = self.kept(x) if self.training else np.ones(x.shape, bool)
        y = f(x, kept, self.p, self.training, self.rule)
        return to_nchw(f.array(y, x.shape, x.dtype))

    def backward(self, gy):
        f = self.yours.get("dropout_backward")
        gy = to_nhwc(gy)
        if not self.training:
            gx = gy * (1 - self.p if self.rule == "2012" else 1.0)
        elif f is None:
            scale = 1 / (1 - self.p) if self.rule == "inverted" else 1.0
            gx = cpu.dropout(gy, self.p, scale, self.key)
        else:
            gx = f.array(f(gy, self.kept(gy), self.p, self.rule), gy.shape, gy.dtype)
        return to_nchw(gx)


def _dropout(yours: Functions) -> Callable[..., Tensor]:
    """functional.dropout, with its key."""
    def dropout(x, p=0.5, training=True, rule="inverted"):
        check_dropout(p, rule)
        # A key is used up in training only, as by the package: later masks stay the same.
        key = streams.next_dropout_key(x.shape) if training else (0, 0)
        return _Dropout(yours, p, rule, training, key)(x)

    return dropout


def _dropout_backward(yours: Functions) -> Callable[..., Any]:
    """Dropout.backward, for when the forward is the package's."""
    def backward(self, gy):
        # The package's Dropout keeps its scale, from which the rule is told.
        rule = "2012" if self.scale == 1.0 else "inverted"
        return _Dropout(yours, self.p, rule, True, self.key).backward(gy)

    return backward


class _CrossEntropy(Function):
    """The mean loss and its gradient come together; the gradient is saved."""

    def __init__(self, f: Yours, labels: np.ndarray) -> None:
        self.f = f
        self.labels = labels

    def forward(self, logits):
        mean, gradient = self.f(np.ascontiguousarray(logits), self.labels)
        self.save(self.f.array(gradient, logits.shape, logits.dtype))
        return self.f.array(mean, (), logits.dtype)

    def backward(self, gy):
        (gradient,) = self.saved
        return gradient * gy


def _cross_entropy(yours: Functions) -> Callable[..., Tensor]:
    """functional.cross_entropy: yours for the mean over whole numbers as labels."""
    f = yours["softmax_cross_entropy"]
    package = functional.cross_entropy

    def cross_entropy(logits, labels, weight=None, reduction="mean", **settings):
        plain = weight is None and reduction == "mean" and not settings
        if not plain or not _are_valid(logits, labels):
            # for labels that are not valid, it raises the error
            return package(logits, labels, weight, reduction, **settings)
        return _CrossEntropy(f, np.asarray(labels).astype(np.int64))(logits)

    return cross_entropy


def _are_valid(logits: Tensor, labels: Any) -> bool:
    """Whether logits are (N, K), N > 0, and labels N integers in 0 ... K - 1."""
    if isinstance(labels, Tensor):  # probabilities
        return False
    labels = np.asarray(labels)
    if logits.ndim != 2 or not len(logits) or labels.shape != logits.shape[:1]:
        return False
    if labels.dtype.kind not in "iu":
        return False
    return bool(labels.min() >= 0 and labels.max() < logits.shape[1])


def _alexnet(yours: Functions) -> Callable[..., None]:
    """AlexNet.__init__: its layers are those that `build` made, under the names it gave them.

    The exercise builds neither a sixth convolution nor an adaptive pool: a configuration that
    needs one raises UsageError. It leaves out Caffe's rounding too, which is put right here.
    """
    f = yours["build"]

    def __init__(self, config, num_classes=None):  # noqa: N807
        if num_classes is not None:
            config = replace(config, num_classes=num_classes)
        self.config = config
        recipe = alexnet.default_recipe(config.image_size)
        layers = dict(f(config).named_children())
        if config.conv6:
            raise UsageError("exercise 9.1 builds no sixth convolution; train this network "
                             "without --mine")
        last = config.channels[4] * config.adaptive_pool ** 2
        if config.adaptive_pool and "fc6" in layers and layers["fc6"].weight.shape[1] != last:
            raise UsageError(f"exercise 9.1 builds no adaptive pool, which images of "
                             f"{config.image_size} need; train this network without --mine")
        for name, layer in layers.items():
            if config.conv_floor and name.startswith("conv"):
                layer.ceil_mode = False
        Network.__init__(self, config.image_size, recipe, {}, config.deviations(), **layers)

    return __init__


def _as_it_is(name: str) -> Adapter:
    """For a function whose signature is the package's."""
    return lambda yours: yours[name].function


PLACES: dict[str, tuple[Any, str, Adapter]] = {
    # function: (owner, attribute, adapter)
    "conv2d_backward": (conv.Conv2d, "backward", _conv2d_backward),
    "count_consumers": (autograd, "count_consumers", _as_it_is("count_consumers")),
    "unbroadcast": (autograd, "unbroadcast", _as_it_is("unbroadcast")),
    "backward_walk": (autograd, "walk", _walk),
    "dropout": (functional, "dropout", _dropout),
    "dropout_backward": (Dropout, "backward", _dropout_backward),
    "softmax_cross_entropy": (functional, "cross_entropy", _cross_entropy),
    "build": (alexnet.AlexNet, "__init__", _alexnet),
}
