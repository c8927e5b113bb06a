"""How fast this machine is: matrix products, copies, and training, compared with them."""
import time
from collections.abc import Callable, Iterator

import numpy as np

from .. import backend, models, profile
from .. import functional as F
from ..kernels import cpu, half, products
from ..tensor import Tensor
from ..training import feed


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest time of `repeats`, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        backend.synchronize()
        begin = time.perf_counter()
        work()
        backend.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times[1:])  # the first compiles what is not compiled yet, and takes memory


def product_speed(n: int) -> float:
    """Operations per second of an n x n product at the current precision; rounding the factors
    does not count."""
    a = backend.asarray(np.random.default_rng(0).standard_normal((n, n), np.float32))
    if backend.current().kernels is cpu:
        return 2 * n**3 / seconds(lambda: a @ a, 5)
    # On a GPU as a layer multiplies: factors in half precision where --precision says so, with a
    # scale of their own (kernels/half.py).
    out = backend.xp_of(a).empty_like(a)
    factor = half.factor(a)
    scale = half.way_back(factor, factor)
    return 2 * n**3 / seconds(lambda: products.multiply(factor.array, factor.array, out, scale), 5)


def copy_speed(size: int) -> float:
    """Bytes per second, read and written, of a copy of `size` bytes within the backend's memory.

    The bits are random: a chip that moves zeros draws less power and may run at a higher clock.
    """
    bits = np.random.default_rng(0).integers(0, 2**32, size // 4, np.uint32)
    source = backend.asarray(bits.view(np.float32))
    target = source.copy()

    def copy() -> None:
        target[...] = source

    return 2 * size / seconds(copy, 5)  # twice: each byte is read and written


def training_speed(images: int, repeats: int) -> tuple[float, float]:
    """(images per second, operations per second) of training the paper's net on noise; the
    fastest step of `repeats` counts."""
    model = models.build("alexnet", 1000)
    model.train()
    optimizer = models.build_optimizer(model, model.recipe)
    noise = np.random.default_rng(0).standard_normal((images, 224, 224, 3), np.float32)
    x = backend.asarray(noise).transpose(0, 3, 1, 2)  # (N,H,W,C) -> (N,C,H,W)
    labels = np.arange(images)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(Tensor(x)), labels).backward()
        optimizer.step()

    images_per_second = images / seconds(step, repeats)
    # a multiply-add is two operations
    return images_per_second, images_per_second * 2 * _multiply_adds(model)


def _multiply_adds(model: models.Network) -> int:
    """Of a training step, per image."""
    # Forward, the weights' gradients and the inputs' cost the same, but the images have none.
    entries = profile.ledger(model)
    return 3 * sum(e.multiply_adds for e in entries) - entries[0].multiply_adds


def sizes(gpu: bool, quick: bool) -> tuple[int, int, int]:
    """(rows of the product's factors, megabytes of the copy, images of a training step), such that
    each measurement takes seconds."""
    if not gpu:
        return 1024, 128, 8
    if quick:
        return 4096, 256, 32
    return 8192, 1024, 128


def speed(quick: bool) -> Iterator[str]:
    """The speed of products and copies, and of training the paper's net, compared with them."""
    gpu = backend.current().kernels is not cpu
    n, megabytes, images = sizes(gpu, quick)
    product = product_speed(n)
    yield f"product  {product / 1e9:10,.0f} GFLOP/s, {n:,} x {n:,}, {backend.precision()}"
    copy = copy_speed(megabytes << 20)
    yield f"copy     {copy / 1e9:10,.0f} GB/s read and written, {megabytes} MB"
    if gpu:
        upload = feed.upload_speed(megabytes << 20)
        yield f"upload   {upload / 1e9:10,.0f} GB/s from page-locked memory to the device"
    images_per_second, operations = training_speed(images, 1 if quick else 3)
    yield (f"alexnet  {images_per_second:10,.1f} images/s trained, {images} at a time: "
           f"{operations / 1e9:,.0f} GFLOP/s, {operations / product:.0%} of the product's")
