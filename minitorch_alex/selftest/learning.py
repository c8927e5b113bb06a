"""Whether a small network gets its images as it should, and learns."""
from collections.abc import Generator
from contextlib import closing
from itertools import count
from typing import Any

import numpy as np

from .. import backend, data, models, streams
from .. import functional as F
from ..tensor import Tensor
from ..training import feed

Array = Any  # of the backend that is tested

STEPS = 100        # training steps of the small net
ENOUGH_LOSS = 1.9  # its best mean loss of ten steps in a row must be lower (NumPy: 1.4 to 1.6)


def check_input() -> str:
    """The feed prepares a batch on the device as the loader does on the host, bit for bit."""
    images = streams.rng(0, "selftest").integers(0, 256, (50, 12, 12, 3), np.uint8)
    noise = data.Dataset(images, np.arange(50) % 10, tuple("0123456789"), "noise")
    transform = data.Transform(noise.mean_image(), crop=10, pad=1, flip=True,
                               pca=data.fit_pca(images))
    loader = data.Loader(noise, 8, transform)
    for epoch in (0, 1):  # two, since each has an order, crops and colours of its own
        for batch, expected in zip(feed.feed(loader).epoch(epoch), loader.epoch(epoch),
                                   strict=True):
            for got, want in zip(map(backend.to_numpy, batch), expected, strict=True):
                if not np.array_equal(got, want):
                    raise AssertionError("pixels or labels differ by up to "
                                         f"{np.abs(got - want).max():g}")
    return "crops, flips, colours and the mean image: the same bits as on the host"


def training(steps: int) -> list[float]:
    """The losses of a narrow AlexNet in its first steps on 512 drawn shapes, 64 at a time."""
    streams.manual_seed(1)
    model = models.build("alexnet_cifar", channels=(32, 64, 64, 64, 64), hidden=(128, 128),
                         dropout=0.1)
    model.train()
    optimizer = models.build_optimizer(model, models.changed(model.recipe, lr=0.015))
    images = data.make_shapes(512, 32)
    loader = data.Loader(images, 64, data.Transform(images.mean_image()), seed=1)
    losses = []
    with closing(batches(loader)) as stream:
        for step in range(steps):
            x, labels = next(stream)
            streams.set_step(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(Tensor(x)), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.data)  # on a GPU: reading its number here would wait for the device
    return [float(backend.to_numpy(loss)) for loss in losses]


def batches(loader: data.Loader) -> Generator[tuple[Array, Array], None, None]:
    """The batches of one epoch after the other, on the device."""
    batch_feed = feed.feed(loader)
    for epoch in count():
        yield from batch_feed.epoch(epoch)


def check_training() -> str:
    """It learns, and the same seed gives the same bits."""
    losses = training(STEPS)
    # a mean over ten steps: a single batch may be an easy one
    best = min(np.convolve(losses, np.ones(10) / 10, "valid"))
    if not best < ENOUGH_LOSS:  # not >=: a nan has to fail
        raise AssertionError(f"the loss fell from {losses[0]:.3f} to {best:.3f} only in {STEPS} "
                             f"steps, expected less than {ENOUGH_LOSS}")
    again = training(20)
    if again != losses[:20]:
        step = next(i for i, (a, b) in enumerate(zip(again, losses, strict=False)) if a != b)
        raise AssertionError(f"the same seed gave another loss in step {step + 1}: "
                             f"{again[step]!r}, {losses[step]!r}")
    return (f"loss {losses[0]:.3f} -> {best:.3f} in {STEPS} steps (must fall below "
            f"{ENOUGH_LOSS}); the same seed again: the same bits")
