"""Two of the networks in DeZero (koki0702/dezero), a teaching framework in NumPy.

It has neither groups nor LRN. Both are added here by its own means, as its user would.
"""
from typing import Any

import numpy as np

np.int = int  # DeZero 0.0.13 uses the name, which NumPy 1.24 removed

import dezero  # noqa: E402
import dezero.functions as F  # noqa: E402
import dezero.layers as L  # noqa: E402
from dezero.core import Function, as_variable  # noqa: E402

from .workloads import RATES, WORKLOADS, malloc_setting  # noqa: E402


class Norm(Function):
    """Local response normalisation across 5 maps within each of `groups`."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def _window(self, values: np.ndarray) -> np.ndarray:
        """Sums over 5 neighbouring channels, of the same group."""
        N, C, H, W = values.shape
        # (N, C, H, W) -> (N*G, C/G, H, W), so that no window crosses from group to group
        values = values.reshape(N * self.groups, C // self.groups, H, W)
        total = values.copy()
        for i in (1, 2):
            total[:, i:] += values[:, :-i]
            total[:, :-i] += values[:, i:]
        return total.reshape(N, C, H, W)  # (N*G, C/G, H, W) -> (N, C, H, W)

    def forward(self, x):
        self.scale = 2 + 1e-4 * self._window(x * x)
        return x * self.scale ** -0.75

    def backward(self, gy):
        x = self.inputs[0].data
        direct = gy.data * self.scale ** -0.75
        return as_variable(direct - 1.5e-4 * x * self._window(direct * x / self.scale))


class Part(Function):
    """The channels from `start` up to `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.channels = slice(start, stop)

    def forward(self, x):
        return x[:, self.channels]

    def backward(self, gy):
        gx = np.zeros_like(self.inputs[0].data)
        gx[:, self.channels] = gy.data
        return as_variable(gx)


class Join(Function):
    """Two groups of channels, one after the other."""

    def forward(self, a, b):
        return np.concatenate((a, b), axis=1)

    def backward(self, gy):
        half = gy.shape[1] // 2
        return as_variable(gy.data[:, :half]), as_variable(gy.data[:, half:])


class Grouped(dezero.Layer):
    """A convolution of two groups."""

    def __init__(self, i: int, o: int, kernel: int, pad: int) -> None:
        super().__init__()
        self.half = i // 2
        self.a = L.Conv2d(o // 2, kernel, pad=pad, in_channels=i // 2)
        self.b = L.Conv2d(o // 2, kernel, pad=pad, in_channels=i // 2)

    def forward(self, x):
        a = Part(0, self.half)(x)
        b = Part(self.half, 2 * self.half)(x)
        return Join()(self.a(a), self.b(b))


def pool(x):
    """Overlapping max pooling, 3 x 3 at stride 2."""
    return F.pooling(x, 3, 2)


class AlexNet(dezero.Model):
    """The paper's network, on images of 227 x 227 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = L.Conv2d(96, 11, stride=4, in_channels=3)
        self.conv2 = Grouped(96, 256, 5, 2)
        self.conv4 = Grouped(384, 384, 3, 1)
        self.conv5 = Grouped(384, 256, 3, 1)
        self.conv3 = L.Conv2d(384, 3, pad=1, in_channels=256)
        self.fc6 = L.Linear(4096, in_size=9216)
        self.fc7 = L.Linear(4096, in_size=4096)
        self.fc8 = L.Linear(1000, in_size=4096)

    def forward(self, x):
        x = pool(Norm(2)(F.relu(self.conv1(x))))
        x = pool(Norm(2)(F.relu(self.conv2(x))))
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = pool(F.relu(self.conv5(x))).reshape(x.shape[0], -1)  # (N, C, H, W) -> (N, C*H*W)
        x = F.dropout(F.relu(self.fc6(x)))
        return self.fc8(F.dropout(F.relu(self.fc7(x))))


class NetW2(dezero.Model):
    """See nets.net_w2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = L.Conv2d(32, 5, pad=2, in_channels=3)
        self.conv2 = L.Conv2d(32, 5, pad=2, in_channels=32)
        self.conv3 = L.Conv2d(64, 5, pad=2, in_channels=32)
        self.fc10 = L.Linear(10, in_size=576)

    def forward(self, x):
        x = Norm(1)(F.relu(pool(self.conv1(x))))
        x = Norm(1)(pool(F.relu(self.conv2(x))))
        x = pool(F.relu(self.conv3(x)))
        return self.fc10(x.reshape(x.shape[0], -1))  # (N, C, H, W) -> (N, C*H*W)


class DeZero:
    """A network in DeZero with its optimizer."""

    def __init__(self, workload: str, contender: str = "dezero",
                 threads: int | None = None) -> None:
        self.workload = WORKLOADS[workload]
        self.net = {"alexnet": AlexNet, "net_w2": NetW2}[self.workload.net]()
        optimizer = dezero.optimizers.MomentumSGD(RATES["lr"], RATES["momentum"])
        self.optimizer = optimizer.setup(self.net)
        self.optimizer.add_hook(dezero.optimizers.WeightDecay(RATES["weight_decay"]))

    def feed(self, batch: int) -> None:
        """Draw a batch; the zeros at the edge, which torch is given, are random numbers here."""
        rng = np.random.default_rng(0)
        side = self.workload.size + self.workload.edge
        self.images = rng.standard_normal((batch, 3, side, side), np.float32)
        self.labels = rng.integers(0, self.workload.classes, batch)

    def mode(self, training: bool) -> None:
        dezero.Config.train = training

    def train_step(self) -> float:
        self.net.cleargrads()
        loss = F.softmax_cross_entropy(self.net(self.images), self.labels)
        loss.backward()
        self.optimizer.update()
        return float(loss.data)

    def infer(self) -> np.ndarray:
        with dezero.no_grad():
            return self.net(self.images).data

    def setting(self) -> dict[str, Any]:
        return {"malloc": malloc_setting()}
