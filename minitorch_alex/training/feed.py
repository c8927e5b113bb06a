"""Batches on the device: they travel as bytes, and are cropped, flipped and centred there.

A byte is a quarter of a float, and cropping is little work for a GPU and much for a CPU. The host
only gathers the images of a batch and makes the random draws (data.Transform.draw, from the same
random streams as on NumPy), so both backends train on the same pixels.

Copies run at the same time as the computation, on a stream of their own, through a ring of slots:

    slot        host memory, page-locked  --copy-->  device array  --augment-->  batch
                filled by the loader

Three rules keep a slot whole; each is an event, and somebody who waits for it:

    what may not start             before this has ended                      event     who waits
    the host refills its memory    the last copy out of it                    copied    the host
    the device reads its array     the copy into it                           copied    computation
    a copy overwrites the array    all work on what it held before            consumed  the copies

CuPy's `set` with a stream returns at once and keeps nothing alive, and memory that CuPy hands out
may still be in use by work queued earlier: the slots live as long as the feed, and each starts
with its `consumed` event.
"""
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, cast

import numpy as np

from .. import backend
from ..data import Dataset, Loader, Transform
from ..data.enlarge import bilinear_taps
from ..data.transforms import Draws
from ..machine import available_cpus

Array = Any  # a device array
# Threads that read images for evaluation, where the device waits for nothing else.
WORKERS = min(available_cpus(), 8)


class Slot:
    """One place of the ring: arrays of the same names, shapes and dtypes on host and device.

    N is the largest number of images in a batch, `image` the shape (H, W, 3) of one.
    """

    def __init__(self, xp: Any, compute: Any, N: int, image: tuple[int, int, int]) -> None:
        fields = {"images": ((N, *image), np.uint8), "labels": ((N,), np.int64),
                  "rows": ((N,), np.int32), "cols": ((N,), np.int32),   # where the crop begins
                  "flips": ((N,), np.uint8),                            # 1: mirrored
                  "shift": ((N, image[2]), np.float32),                 # colour noise, per channel
                  "partners": ((N,), np.int32)}                         # whom each is mixed with
        self.host = {name: backend.pinned(shape, dtype) for name, (shape, dtype) in fields.items()}
        self.device = {name: xp.empty(shape, dtype) for name, (shape, dtype) in fields.items()}
        self.copied = xp.cuda.Event(disable_timing=True)
        self.consumed = xp.cuda.Event(disable_timing=True)
        self.consumed.record(compute)
        self.used = 0         # images of the batch that it holds
        self.colored = False  # whether `shift` counts
        self.mixed = False    # whether `partners` counts


class Feed:
    """The batches of a Loader as device arrays, equal to the loader's own to the bit.

    The loader's transform is a data.Transform, and the current backend has `augment`.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.transform = cast(Transform, loader.transform or Transform())
        self.kernels = backend.current().kernels
        xp = backend.current().xp
        self.mean = None
        if self.transform.mean is not None:
            self.mean = backend.asarray(np.ascontiguousarray(self.transform.mean, np.float32))
        self.taps: list[tuple[Array, Array]] = []
        self.stream = xp.cuda.Stream(non_blocking=True)
        self.compute = xp.cuda.get_current_stream()
        # The loader is at most `prefetch` batches ahead of the one it hands out, and one more is
        # on its way.
        size = min(loader.batch_size, len(loader.dataset))
        image = loader.dataset.images.shape[1:]
        self.slots = [Slot(xp, self.compute, size, image) for _ in range(loader.prefetch + 2)]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, Array]]:
        """Batches start, start + 1, ... of an epoch, as Loader.epoch gives them.

        Each is (x float32 (N, 3, h, w) in channels-last memory, labels int64 (N,)); both belong to
        the caller. An exception of a worker arrives one batch earlier than from Loader.epoch.
        """
        for slot in self._arrivals(epoch, start):
            part = {name: array[:slot.used] for name, array in slot.device.items()}
            shift = part["shift"] if slot.colored else None
            where = part["rows"], part["cols"], part["flips"]
            if slot.mixed:
                x = self._augment_and_mix(part["images"], *where, shift, part["partners"])
            else:
                x = self._augment(part["images"], *where, shift)
            labels = part["labels"].copy()
            slot.consumed.record(self.compute)
            yield x.transpose(0, 3, 1, 2), labels  # (N, h, w, 3) -> (N, 3, h, w)

    def views(self, kind: str) -> Iterator[Iterable[Array]]:
        """For each batch its test views (Transform.view_draws), each float32 (N, h, w, 3) and made
        when it is asked for."""
        for slot in self._arrivals(0, 0):
            images = slot.device["images"][:slot.used]
            all_draws = self.transform.view_draws(images.shape, kind)
            yield (self._view(images, draws) for draws in all_draws)
            slot.consumed.record(self.compute)

    def _view(self, images: Array, draws: Draws) -> Array:
        """One view of the images (N, H, W, 3): float32 (N, h, w, 3)."""
        def on_device(draw: np.ndarray | None, dtype: type) -> Array:
            return backend.asarray(np.zeros(len(images), dtype) if draw is None
                                   else draw.astype(dtype))

        return self._augment(images, on_device(draws.rows, np.int32),
                             on_device(draws.cols, np.int32), on_device(draws.flips, np.uint8),
                             None)

    def _augment_and_mix(self, images: Array, rows: Array, cols: Array, flips: Array,
                         shift: Array | None, partners: Array) -> Array:
        """As `_augment`, with images mixed before their colours are shifted: mix_images of
        data/transforms/ in the operations of the device's array library."""
        x = self._augment(images, rows, cols, flips, None)
        xp = backend.xp_of(x)
        mixed = (partners != xp.arange(len(x)))[:, None, None, None]  # (N,) -> (N, 1, 1, 1)
        x = xp.where(mixed, 0.75 * x + 0.25 * x[partners], x)
        if shift is None:
            return x
        return (x + shift[:, None, None, :]) / self.transform.divisor

    def _augment(self, images: Array, rows: Array, cols: Array, flips: Array,
                 shift: Array | None) -> Array:
        """What data.Transform.apply does, by a kernel: (N, H, W, 3) -> float32 (N, h, w, 3)."""
        divisor = 1.0 if shift is None else self.transform.divisor
        window = self.transform.window(*images.shape[1:3])
        if self.transform.enlarge:
            images = self.kernels.enlarge(images, *self._taps(*images.shape[1:3]))
        return self.kernels.augment(images, window, rows, cols, flips, self.mean,
                                    shift, divisor, self.transform.pad,
                                    self.transform.mean_follows_crop)

    def _taps(self, height: int, width: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """What kernels.gpu.enlarge needs of rows and columns, on the device."""
        if not self.taps:
            for pixels in (height, width):
                first, weights = bilinear_taps(pixels, self.transform.enlarge)
                self.taps.append((backend.asarray(first), backend.asarray(weights)))
        rows, columns = self.taps
        return rows, columns

    def _arrivals(self, epoch: int, start: int) -> Iterator[Slot]:
        """The slots in the order of the batches, each when the compute stream may read it.

        While the caller works on one batch, the next one is being copied.
        """
        batches = self.loader.raw(epoch, self._place, start)
        before = None
        try:
            for b, batch in enumerate(batches, start):
                slot = self._send(self.slots[b % len(self.slots)], *batch)
                if before is not None:
                    yield self._arrived(before)
                before = slot
            if before is not None:
                yield self._arrived(before)
        finally:
            cast(Generator, batches).close()
            # The caller may leave in the middle of an epoch; then nobody waits for the copies any
            # more, and the memory may go to others.
            self.stream.synchronize()

    def _place(self, b: int) -> np.ndarray:
        """Where the loader's threads put the images of batch b, once the memory is free."""
        slot = self.slots[b % len(self.slots)]
        slot.copied.synchronize()
        return slot.host["images"]

    def _send(self, slot: Slot, images: np.ndarray, labels: np.ndarray, draws: Draws) -> Slot:
        """Start the copies of a batch whose images lie in the slot already."""
        slot.used = len(images)
        slot.colored = draws.shift is not None
        slot.mixed = draws.partners is not None
        for name, values in {"labels": labels, **draws._asdict()}.items():
            slot.host[name][:slot.used] = 0 if values is None else values
        self.stream.wait_event(slot.consumed)
        for name, array in slot.device.items():
            array[:slot.used].set(slot.host[name][:slot.used], stream=self.stream)
        slot.copied.record(self.stream)
        return slot

    def _arrived(self, slot: Slot) -> Slot:
        """The slot, after telling the compute stream to wait for the copy into it."""
        self.compute.wait_event(slot.copied)
        return slot


def feed(loader: Loader) -> Loader | Feed:
    """What a training takes its batches from: a Feed if the backend's kernels can augment, the
    loader itself otherwise. Both have epoch(epoch, start)."""
    return Feed(loader) if hasattr(backend.current().kernels, "augment") else loader


def views(dataset: Dataset, transform: Transform, kind: str,
          batch_size: int) -> Iterator[Iterable[Array]]:
    """For each batch of a data set, in order: its test views, see Transform.views for the kinds.

    Each view is float32 (N, h, w, 3) on the current backend, and made when it is asked for.
    """
    if hasattr(backend.current().kernels, "augment"):
        loader = Loader(dataset, batch_size, transform.eval(), shuffle=False, workers=WORKERS)
        yield from Feed(loader).views(kind)
        return
    for start in range(0, len(dataset), batch_size):
        images = dataset.images[start:start + batch_size]
        all_draws = transform.view_draws(images.shape, kind)
        yield (transform.apply(images, draws) for draws in all_draws)


def upload_speed(size: int, repeats: int = 5) -> float:
    """Bytes per second from page-locked memory to the device: the fastest copy of `size` bytes."""
    xp = backend.current().xp
    host = backend.pinned((size,), np.uint8)
    target = xp.empty(size, np.uint8)
    stream = xp.cuda.Stream(non_blocking=True)
    best = float("inf")
    host[...] = 1  # touched, so that the pages exist
    free = xp.cuda.Event(disable_timing=True)
    free.record(xp.cuda.get_current_stream())
    stream.wait_event(free)
    for _ in range(repeats):
        begin = time.perf_counter()
        target.set(host, stream=stream)
        stream.synchronize()
        best = min(best, time.perf_counter() - begin)
    return size / best
