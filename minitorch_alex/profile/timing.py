"""How long each layer takes, forward and backward."""
import time

import numpy as np

from .. import backend, streams
from ..models import Network
from ..nn import Module, in_mode
from ..tensor import Tensor

Times = dict[str, tuple[float, float]]  # layer -> (seconds forward, seconds backward)


def layer_times(model: Network, batch_size: int, repeats: int = 3) -> Times:
    """name -> (seconds forward, seconds backward) of each layer on a batch of noise in training
    mode, the fastest of `repeats`. The first layer with weights computes no gradient of the image,
    as in training."""
    rng = streams.rng(0, "profile")
    shape = (batch_size, model.image_size, model.image_size, 3)
    images = rng.standard_normal(shape).astype(np.float32) * 60  # about the std of real pixels
    x = Tensor(backend.asarray(images.transpose(0, 3, 1, 2)))  # (N,H,W,3) -> (N,3,H,W)
    times = {}
    with in_mode(model, training=True):
        for name, layer in model.named_layers():
            fastest = float("inf"), float("inf")
            for _ in range(repeats):
                y, forward, backward = _time_layer(layer, x)
                # The fastest: whatever else the machine does can only add time.
                fastest = min(fastest[0], forward), min(fastest[1], backward)
            times[name] = fastest
            # The next layer starts a graph of its own, so that backward times one layer alone.
            x = Tensor(y.data, requires_grad=y.requires_grad)
    return times


def _time_layer(layer: Module, x: Tensor) -> tuple[Tensor, float, float]:
    """(output, seconds forward, seconds backward) of one layer; 0 where there is no backward."""
    start = _now()
    y = layer(x)
    middle = _now()
    if y.creator is None:
        return y, middle - start, 0.0
    y.backward(y.data)  # any gradient of y's shape takes as long
    return y, middle - start, _now() - middle


def _now() -> float:
    """The time in seconds, after all that was started has ended."""
    backend.synchronize()
    return time.perf_counter()


def total_times(times: Times) -> tuple[float, float]:
    """(seconds forward, seconds backward) of all layers together."""
    forward, backward = zip(*times.values(), strict=True)
    return sum(forward), sum(backward)
