"""The networks of the workloads as plain lists of layers, for frameworks that bring none: JAX and
tinygrad. Each reads the same list, so that both compute the same function.

No framework is imported: a child loads only the one that it measures.
"""
from dataclasses import dataclass

import numpy as np

from minitorch_alex.models.alexnet import TORCHVISION_SCALE


@dataclass(frozen=True)
class Conv:
    """A convolution of `groups` with a square kernel, and its bias."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def fan_in(self) -> int:
        """How many numbers each output is a sum of."""
        return self.inputs // self.groups * self.kernel ** 2

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, I/G, K, K)"""
        return self.outputs, self.inputs // self.groups, self.kernel, self.kernel


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with bias; the first one flattens an image."""

    inputs: int
    outputs: int

    @property
    def fan_in(self) -> int:
        """How many numbers each output is a sum of."""
        return self.inputs

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, I)"""
        return self.outputs, self.inputs


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class Dropout:
    """Zero with probability 1/2 while training, and twice the rest."""


@dataclass(frozen=True)
class Scale:
    """x times one factor for each channel, or one for all."""

    factors: tuple[float, ...]


@dataclass(frozen=True)
class Pool:
    """3 x 3 pooling at stride 2: the maximum, or the mean of those places that exist.

    With `ceil` the last window may reach past the edge (see `overhang`).
    """

    ceil: bool
    average: bool = False

    def overhang(self, side: int) -> int:
        """Rows, and columns, that the last window reads past the edge of an image of this size."""
        return (side - 3) % 2 if self.ceil else 0


@dataclass(frozen=True)
class Norm:
    """x (2 + 1e-4 times the sum of x^2 over 5 channels of the same group)^-3/4."""

    groups: int = 1


@dataclass(frozen=True)
class MapNorm:
    """x (1 + 5e-5 times the mean of x^2 over 3 x 3 places, zeros outside)^-3/4."""


Weighted = Conv | Linear
Layer = Weighted | Relu | Dropout | Scale | Pool | Norm | MapNorm
Net = dict[str, Layer]


def paper(widths: tuple[int, ...], conv1: tuple[int, ...], features: int, hidden: int,
          classes: int, **before: Layer) -> Net:
    """The paper's AlexNet, with dropout that doubles what it keeps (see torch_nets.paper)."""
    a, b, c, d, e = widths
    return before | {
        "conv1": Conv(3, a, *conv1),
        "relu1": Relu(),
        "lrn1": Norm(2),
        "pool1": Pool(ceil=True),
        "conv2": Conv(a, b, 5, padding=2, groups=2),
        "relu2": Relu(),
        "lrn2": Norm(2),
        "pool2": Pool(ceil=True),
        "conv3": Conv(b, c, 3, padding=1),
        "relu3": Relu(),
        "conv4": Conv(c, d, 3, padding=1, groups=2),
        "relu4": Relu(),
        "conv5": Conv(d, e, 3, padding=1, groups=2),
        "relu5": Relu(),
        "pool5": Pool(ceil=True),
        "fc6": Linear(features, hidden),
        "relu6": Relu(),
        "drop6": Dropout(),
        "fc7": Linear(hidden, hidden),
        "relu7": Relu(),
        "drop7": Dropout(),
        "fc8": Linear(hidden, classes),
    }


NETS: dict[str, Net] = {
    "alexnet": paper((96, 256, 384, 384, 256), (11, 4), 9216, 4096, 1000),
    "alexnet_torchvision": {
        "scale": Scale(TORCHVISION_SCALE),
        "conv1": Conv(3, 64, 11, 4, 2),
        "relu1": Relu(),
        "pool1": Pool(ceil=False),
        "conv2": Conv(64, 192, 5, padding=2),
        "relu2": Relu(),
        "pool2": Pool(ceil=False),
        "conv3": Conv(192, 384, 3, padding=1),
        "relu3": Relu(),
        "conv4": Conv(384, 256, 3, padding=1),
        "relu4": Relu(),
        "conv5": Conv(256, 256, 3, padding=1),
        "relu5": Relu(),
        "pool5": Pool(ceil=False),
        "drop6": Dropout(),
        "fc6": Linear(9216, 4096),
        "relu6": Relu(),
        "drop7": Dropout(),
        "fc7": Linear(4096, 4096),
        "relu7": Relu(),
        "fc8": Linear(4096, 1000),
    },
    "net_18": {
        "conv1": Conv(3, 32, 5, padding=2),
        "pool1": Pool(ceil=True),
        "relu1": Relu(),
        "rnorm1": MapNorm(),
        "conv2": Conv(32, 32, 5, padding=2),
        "relu2": Relu(),
        "pool2": Pool(ceil=True, average=True),
        "rnorm2": MapNorm(),
        "conv3": Conv(32, 64, 5, padding=2),
        "relu3": Relu(),
        "pool3": Pool(ceil=True, average=True),
        "fc10": Linear(1024, 10),
    },
    "net_w2": {
        "conv1": Conv(3, 32, 5, padding=2),
        "pool1": Pool(ceil=False),
        "relu1": Relu(),
        "lrn1": Norm(),
        "conv2": Conv(32, 32, 5, padding=2),
        "relu2": Relu(),
        "pool2": Pool(ceil=False),
        "lrn2": Norm(),
        "conv3": Conv(32, 64, 5, padding=2),
        "relu3": Relu(),
        "pool3": Pool(ceil=False),
        "fc10": Linear(576, 10),
    },
    "alexnet_cifar": paper((48, 128, 192, 192, 128), (3, 1, 1), 2048, 1024, 10,
                           scale=Scale((1 / 64,))),
}


def draw(net: Net) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """layer -> (weight, bias), uniform within 1 / sqrt(fan-in), as torch draws them; float32."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, layer in net.items():
        if isinstance(layer, Conv | Linear):
            bound = layer.fan_in ** -0.5
            weight = rng.uniform(-bound, bound, layer.weight_shape).astype(np.float32)
            bias = rng.uniform(-bound, bound, layer.outputs).astype(np.float32)
            weights[name] = weight, bias
    return weights
