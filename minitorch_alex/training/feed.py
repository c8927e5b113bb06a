"""Batches on the device: they travel as bytes, and are cropped, mirrored, coloured and centred
there.

A byte is a quarter of a float, and a training crop less than the image it is cut from is little
work for a GPU and much for a CPU. The host only gathers the images of a batch and draws what
chance decides (data.Transform.draw, the same random streams as on NumPy), so both back ends train
on the same pixels.

Copies run beside the computation, on a stream of their own, through a ring of slots: page-locked
memory on the host, which the loader's threads fill, an array of the same size on the device, and
two events. Three rules keep a slot whole:

    the host refills it            after its last copy has been made               copied, waited for by the host
    the device reads its array     after the copy into it                          copied, waited for by the computation
    a copy overwrites the array    after all work on what was there before         consumed, waited for by the copies

CuPy's `set` with a stream returns at once and keeps nothing alive, and memory that CuPy hands out
may still be in use by work queued earlier: the slots live as long as the feed, and each starts
with its `consumed` event.
"""
import os
import time
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, cast

import numpy as np

from .. import backend
from ..data import Dataset, Loader, Transform
from ..data.enlarge import bilinear_taps
from ..data.transforms import Draws

Array = Any  # a device array
WORKERS = min(os.cpu_count() or 1, 8)  # threads that read images for evaluation: a device waits for nothing else


class Slot:
    """One place of the ring: arrays of the same names, shapes and dtypes on the host (page-locked)
    and the device."""

    def __init__(self, xp: Any, compute: Any, N: int, image: tuple[int, int, int]) -> None:
        fields = {"images": ((N, *image), np.uint8), "labels": ((N,), np.int64), "rows": ((N,), np.int32),
                  "cols": ((N,), np.int32), "flips": ((N,), np.uint8), "shift": ((N, image[2]), np.float32)}
        self.host = {name: _pinned(xp, shape, dtype) for name, (shape, dtype) in fields.items()}
        self.device = {name: xp.empty(shape, dtype) for name, (shape, dtype) in fields.items()}
        self.copied, self.consumed = (xp.cuda.Event(disable_timing=True) for _ in range(2))
        self.consumed.record(compute)
        self.used = 0  # images of the batch that it holds
        self.colored = False


def _pinned(xp: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A host array in page-locked memory, from which the device copies by itself."""
    return np.ndarray(shape, dtype, buffer=xp.cuda.alloc_pinned_memory(prod(shape) * np.dtype(dtype).itemsize))


class Feed:
    """The batches of a Loader whose transform is a data.Transform, on the current backend, which
    has `augment`.

    `epoch` gives what Loader.epoch gives, to the bit, as device arrays.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.transform = cast(Transform, loader.transform or Transform())
        self.kernels, xp = backend.current().kernels, backend.current().xp
        mean = self.transform.mean
        self.mean = None if mean is None else backend.asarray(np.ascontiguousarray(mean, np.float32))
        self.taps: list[tuple[Array, Array]] = []
        self.stream = xp.cuda.Stream(non_blocking=True)
        self.compute = xp.cuda.get_current_stream()
        # The loader is at most `prefetch` batches ahead of the one it hands out, and one more is
        # on its way.
        size = min(loader.batch_size, len(loader.dataset))
        self.slots = [Slot(xp, self.compute, size, loader.dataset.images.shape[1:]) for _ in range(loader.prefetch + 2)]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, Array]]:
        """(x float32 (N, 3, h, w) in channels-last memory, labels int64 (N,)): batches start,
        start + 1, ... of an epoch. Both belong to the caller. As with Loader.epoch, but a worker's
        exception arrives a batch early."""
        for slot in self._arrivals(epoch, start):
            part = {name: array[:slot.used] for name, array in slot.device.items()}
            x = self._augment(part["images"], part["rows"], part["cols"], part["flips"],
                              part["shift"] if slot.colored else None)
            labels = part["labels"].copy()
            slot.consumed.record(self.compute)
            yield x.transpose(0, 3, 1, 2), labels

    def views(self, kind: str) -> Iterator[Iterable[Array]]:
        """For each batch its test views (Transform.view_draws), each float32 (N, h, w, 3), made
        when asked for."""
        for slot in self._arrivals(0, 0):
            images = slot.device["images"][:slot.used]
            yield (self._view(images, draws) for draws in self.transform.view_draws(images.shape, kind))
            slot.consumed.record(self.compute)

    def _view(self, images: Array, draws: Draws) -> Array:
        rows, cols, flips = (backend.asarray(np.zeros(len(images), dtype) if draw is None else draw.astype(dtype))
                             for draw, dtype in zip(draws, (np.int32, np.int32, np.uint8), strict=False))
        return self._augment(images, rows, cols, flips, None)

    def _augment(self, images: Array, rows: Array, cols: Array, flips: Array, shift: Array | None) -> Array:
        divisor = 1.0 if shift is None else self.transform.divisor
        window = self.transform.window(*images.shape[1:3])
        if self.transform.enlarge:
            images = self.kernels.enlarge(images, *self._taps(*images.shape[1:3]))
        return self.kernels.augment(images, window, rows, cols, flips, self.mean,
                                    shift, divisor, self.transform.pad)

    def _taps(self, height: int, width: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """What kernels.gpu.enlarge wants to know of rows and columns, on the device."""
        if not self.taps:
            for pixels in (height, width):
                first, weights = bilinear_taps(pixels, self.transform.enlarge)
                self.taps.append((backend.asarray(first), backend.asarray(weights)))
        rows, columns = self.taps
        return rows, columns

    def _arrivals(self, epoch: int, start: int) -> Iterator[Slot]:
        """The slots in the order of the batches, each when the compute stream may read it. Copied
        one batch ahead."""
        batches, last = self.loader.raw(epoch, self._place, start), None
        try:
            for b, batch in enumerate(batches, start):
                slot = self._send(self.slots[b % len(self.slots)], *batch)
                if last is not None:
                    yield self._arrived(last)
                last = slot
            if last is not None:
                yield self._arrived(last)
        finally:
            batches.close()
            self.stream.synchronize()  # nobody waits for the copies any more, and the memory may go to others

    def _place(self, b: int) -> np.ndarray:
        slot = self.slots[b % len(self.slots)]
        slot.copied.synchronize()
        return slot.host["images"]

    def _send(self, slot: Slot, images: np.ndarray, labels: np.ndarray, draws: Draws) -> Slot:
        """Start the copies of a batch whose images lie in the slot already."""
        slot.used, slot.colored = len(images), draws.shift is not None
        for name, values in zip(("labels", "rows", "cols", "flips", "shift"), (labels, *draws), strict=True):
            slot.host[name][:slot.used] = 0 if values is None else values
        self.stream.wait_event(slot.consumed)
        for name, array in slot.device.items():
            array[:slot.used].set(slot.host[name][:slot.used], stream=self.stream)
        slot.copied.record(self.stream)
        return slot

    def _arrived(self, slot: Slot) -> Slot:
        self.compute.wait_event(slot.copied)
        return slot


def feed(loader: Loader) -> Loader | Feed:
    """Where a training takes its batches from: a Feed where the backend's kernels can augment,
    else the loader itself. Both have epoch(epoch, start)."""
    return Feed(loader) if hasattr(backend.current().kernels, "augment") else loader


def views(dataset: Dataset, transform: Transform, kind: str, batch_size: int) -> Iterator[Iterable[Array]]:
    """For each batch of a data set, in order: its test views ("single", "nine" or "ten", see
    Transform.views), each float32 (N, h, w, 3) on the current backend, made when it is asked for.
    """
    if hasattr(backend.current().kernels, "augment"):
        yield from Feed(Loader(dataset, batch_size, transform.eval(), shuffle=False, workers=WORKERS)).views(kind)
        return
    for start in range(0, len(dataset), batch_size):
        images = dataset.images[start:start + batch_size]
        yield (transform.apply(images, draws) for draws in transform.view_draws(images.shape, kind))


def upload_speed(size: int, repeats: int = 5) -> float:
    """Bytes a second from page-locked memory to the device, the fastest copy of `size` bytes."""
    xp, best = backend.current().xp, float("inf")
    host, target, stream = _pinned(xp, (size,), np.uint8), xp.empty(size, np.uint8), xp.cuda.Stream(non_blocking=True)
    host[...] = 1  # touched, so that the pages are there
    free = xp.cuda.Event(disable_timing=True)
    free.record(xp.cuda.get_current_stream())
    stream.wait_event(free)
    for _ in range(repeats):
        begin = time.perf_counter()
        target.set(host, stream=stream)
        stream.synchronize()
        best = min(best, time.perf_counter() - begin)
    return size / best
