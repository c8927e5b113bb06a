"""The same networks in JAX, by jax.lax: a whole training step is one compiled function.

Images are NHWC and kernels HWIO, the order that JAX's own documentation uses.
"""
import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

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

Weights = dict[str, tuple[Array, Array]]  # layer -> (kernel, bias)


def apply(net: Net, weights: Weights, x: Array, key: Array | None) -> Array:
    """The logits of a batch of images; dropout draws from `key`, and without one does nothing."""
    for i, (name, layer) in enumerate(net.items()):
        drawn = None if key is None else jax.random.fold_in(key, i)
        x = _layer(layer, x, weights.get(name), drawn)
    return x


def _layer(layer: Layer, x: Array, weight: tuple[Array, Array] | None,
           key: Array | None) -> Array:
    match layer:
        case Conv():
            return _conv(layer, x, *weight)
        case Linear():
            w, b = weight
            return x.reshape(len(x), -1) @ w + b  # (N, H, W, C) -> (N, H*W*C), once
        case Relu():
            return jnp.maximum(x, 0)
        case Dropout():
            return x if key is None else x * (2.0 * jax.random.bernoulli(key, 0.5, x.shape))
        case Scale():
            return x * jnp.array(layer.factors, x.dtype)
        case Pool():
            return _pool(layer, x)
        case Norm():
            return _norm(layer, x)
        case MapNorm():
            window = _sum(x * x, (1, 3, 3, 1), 1, [(0, 0), (1, 1), (1, 1), (0, 0)])
            return x * (1 + 5e-5 / 9 * window) ** -0.75
    raise TypeError(f"no layer of JAX is known for {layer}")


def _conv(layer: Conv, x: Array, w: Array, b: Array) -> Array:
    """Each group by itself: XLA's feature_group_count is many times as slow on a CPU."""
    edge = (layer.padding, layer.padding)
    stride = (layer.stride, layer.stride)
    parts = zip(jnp.split(x, layer.groups, -1), jnp.split(w, layer.groups, -1))
    maps = [lax.conv_general_dilated(images, kernels, stride, (edge, edge),
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))
            for images, kernels in parts]
    return jnp.concatenate(maps, -1) + b


def _sum(x: Array, window: tuple[int, ...], stride: int, padding: Any) -> Array:
    return lax.reduce_window(x, 0.0, lax.add, window, (1, stride, stride, 1), padding)


def _pool(layer: Pool, x: Array) -> Array:
    window = (1, 3, 3, 1)
    edge = (0, layer.overhang(x.shape[1]))
    padding = ((0, 0), edge, edge, (0, 0))
    if not layer.average:
        return lax.reduce_window(x, -jnp.inf, lax.max, window, (1, 2, 2, 1), padding)
    places = _sum(jnp.ones_like(x[:1, :, :, :1]), window, 2, padding)  # a constant, (1, H, W, 1)
    return _sum(x, window, 2, padding) / places


def _norm(layer: Norm, x: Array) -> Array:
    N, H, W, C = x.shape
    groups = x.reshape(N, H, W, layer.groups, C // layer.groups)  # (N, H, W, C) -> (N, H, W, G, C/G)
    padding = ((0, 0),) * 4 + ((2, 2),)
    window = lax.reduce_window(groups * groups, 0.0, lax.add, (1, 1, 1, 1, 5), (1,) * 5, padding)
    y = groups * (2 + 1e-4 * window) ** -0.75
    return y.reshape(x.shape)  # (N, H, W, G, C/G) -> (N, H, W, C)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """The mean over the batch."""
    scores = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(scores, labels[:, None], 1).mean()


def first_weights(net: Net) -> Weights:
    """Drawn weights and biases, in the order of axes that is JAX's."""
    weights = {}
    for name, (weight, bias) in draw(net).items():
        # (O, I/G, K, K) -> (K, K, I/G, O), and (O, I) -> (I, O)
        weight = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
        weights[name] = jnp.asarray(weight), jnp.asarray(bias)
    return weights


class Jax:
    """A network in JAX with its optimizer.

    XLA makes one thread for each CPU that this process may run on.
    """

    def __init__(self, workload: str, contender: str = "jax", threads: int | None = None) -> None:
        self.workload = WORKLOADS[workload]
        self.net = NETS[self.workload.net]
        self.weights = first_weights(self.net)
        self.velocity = jax.tree.map(jnp.zeros_like, self.weights)
        self.key = jax.random.key(0)
        # The arrays of the last step become those of the next one, in the same memory.
        self._step = jax.jit(self._next, donate_argnums=(0, 1, 2))
        self._logits = jax.jit(partial(apply, self.net, key=None))

    def feed(self, batch: int) -> None:
        """Draw a batch."""
        rng = np.random.default_rng(0)
        side = self.workload.size
        edge = (0, self.workload.edge)
        images = rng.standard_normal((batch, side, side, 3), np.float32)
        self.images = jnp.asarray(np.pad(images, ((0, 0), edge, edge, (0, 0))))
        self.labels = jnp.asarray(rng.integers(0, self.workload.classes, batch))

    def mode(self, training: bool) -> None:
        """Nothing: a training step and inference are two functions."""

    def loss(self, weights: Weights, key: Array | None, images: Array, labels: Array) -> Array:
        return cross_entropy(apply(self.net, weights, images, key), labels)

    def _next(self, weights: Weights, velocity: Weights, key: Array, images: Array,
              labels: Array) -> tuple[Weights, Weights, Array, Array]:
        """(weights, velocity, key, loss) after one step of SGD as torch does it."""
        key, dropout = jax.random.split(key)
        loss, gradients = jax.value_and_grad(self.loss)(weights, dropout, images, labels)
        velocity = jax.tree.map(
            lambda v, g, w: RATES["momentum"] * v + g + RATES["weight_decay"] * w,
            velocity, gradients, weights)
        weights = jax.tree.map(lambda w, v: w - RATES["lr"] * v, weights, velocity)
        return weights, velocity, key, loss

    def train_step(self) -> float:
        self.weights, self.velocity, self.key, loss = self._step(
            self.weights, self.velocity, self.key, self.images, self.labels)
        return float(loss)

    def infer(self) -> np.ndarray:
        return np.asarray(self._logits(self.weights, self.images))

    def setting(self) -> dict[str, Any]:
        return {"threads": len(os.sched_getaffinity(0)), "malloc": malloc_setting(),
                "backend": jax.default_backend(), "memory_format": "NHWC"}
