"""The same networks in tinygrad, with TinyJit: a training step is recorded once and replayed.

tinygrad generates C, which clang compiles (the renderer CLANG of its device CPU). Images are NCHW,
the only order that its convolutions know.
"""
from typing import Any

import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit
from tinygrad.helpers import NUM_CPU_THREADS
from tinygrad.nn.optim import SGD

from .layers import (
    NETS,
    Conv,
    Dropout,
    Layer,
    Linear,
    MapNorm,
    Net,
    Norm,
    Pool,
    Relu,
    Scale,
    draw,
)
from .workloads import RATES, WORKLOADS, malloc_setting

Weights = dict[str, tuple[Tensor, Tensor]]  # layer -> (kernel, bias)


def apply(net: Net, weights: Weights, x: Tensor) -> Tensor:
    """The logits of a batch of images."""
    for name, layer in net.items():
        x = _layer(layer, x, weights.get(name))
    return x


def _layer(layer: Layer, x: Tensor, weight: tuple[Tensor, Tensor] | None) -> Tensor:
    match layer:
        case Conv():
            return x.conv2d(*weight, layer.groups, layer.stride, padding=layer.padding)
        case Linear():
            w, b = weight
            return x.flatten(1).linear(w.T, b)  # (N, C, H, W) -> (N, C*H*W), once
        case Relu():
            return x.relu()
        case Dropout():
            return x.dropout(0.5)
        case Scale():
            return x * Tensor(layer.factors).reshape(1, -1, 1, 1)  # (3,) -> (1, 3, 1, 1)
        case Pool(average=True):
            return x.avg_pool2d(3, 2, ceil_mode=layer.ceil, count_include_pad=False)
        case Pool():
            return x.max_pool2d(3, 2, ceil_mode=layer.ceil)
        case Norm():
            return _norm(layer, x)
        case MapNorm():
            return x * (1 + 5e-5 * (x * x).avg_pool2d(3, 1, padding=1)) ** -0.75
    raise TypeError(f"no layer of tinygrad is known for {layer}")


def _norm(layer: Norm, x: Tensor) -> Tensor:
    """The window over the channels is one of an image of C/G x H*W pixels."""
    N, C, H, W = x.shape
    # (N, C, H, W) -> (N*G, 1, C/G, H*W)
    squares = (x * x).reshape(N * layer.groups, 1, C // layer.groups, H * W)
    mean = squares.avg_pool2d((5, 1), 1, padding=(2, 0))
    return x * (2 + 5e-4 * mean.reshape(x.shape)) ** -0.75  # (N*G, 1, C/G, H*W) -> (N, C, H, W)


def first_weights(net: Net) -> Weights:
    """Drawn weights and biases, as tinygrad's tensors."""
    return {name: tuple(Tensor(array).realize() for array in pair)
            for name, pair in draw(net).items()}


class Tiny:
    """A network in tinygrad with its optimizer."""

    warm_up = 2  # TinyJit runs the first call as it is and records the second

    def __init__(self, workload: str, contender: str = "tinygrad",
                 threads: int | None = None) -> None:
        if threads is not None:
            NUM_CPU_THREADS.value = threads
        self.workload = WORKLOADS[workload]
        self.net = NETS[self.workload.net]
        Tensor.manual_seed(0)
        self.weights = first_weights(self.net)
        self.parameters = [array for pair in self.weights.values() for array in pair]
        self.optimizer = SGD(self.parameters, **RATES)
        # Functions of the batch: what they read apart from weights has to be an argument.
        self._step = TinyJit(self._next)
        self._logits = TinyJit(lambda images: apply(self.net, self.weights, images).realize())

    def feed(self, batch: int) -> None:
        """Draw a batch."""
        rng = np.random.default_rng(0)
        side = self.workload.size
        edge = (0, self.workload.edge)
        images = rng.standard_normal((batch, 3, side, side), np.float32)
        self.images = Tensor(np.pad(images, ((0, 0), (0, 0), edge, edge))).realize()
        self.labels = Tensor(rng.integers(0, self.workload.classes, batch)).realize()

    def mode(self, training: bool) -> None:
        """Nothing: a training step and inference are two functions."""

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return apply(self.net, self.weights, images).sparse_categorical_crossentropy(labels)

    def _next(self, images: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(images, labels).backward()
        return loss.realize(*self.optimizer.schedule_step())

    def train_step(self) -> float:
        with Context(TRAINING=1):
            return self._step(self.images, self.labels).item()

    def infer(self) -> np.ndarray:
        return self._logits(self.images).numpy()

    def setting(self) -> dict[str, Any]:
        renderer = type(Device[Device.DEFAULT].renderer).__name__.removesuffix("Renderer")
        return {"threads": NUM_CPU_THREADS.value, "malloc": malloc_setting(),
                "backend": f"{Device.DEFAULT} ({renderer})", "memory_format": "NCHW"}
