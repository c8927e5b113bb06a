"""Batches for training: shuffled, transformed, and prepared by threads while the network computes."""
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from ..errors import UsageError
from ..streams import rng
from .dataset import Dataset
from .transforms import Draws, Transform

BatchTransform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Loader:
    """A Dataset as epochs of batches (x, labels).

    x is float32 (N, 3, H, W), the transposed view of a C-contiguous (N, H, W, 3) array: PyTorch's shape on
    channels-last memory. labels is int64 (N,).

    The order is a permutation drawn from (seed, "shuffle", epoch), and what the transform draws comes from
    (seed, "augment", epoch, batch). So the pixels are the same for any number of workers, and an epoch taken
    up again at batch k goes on exactly as if it had never stopped.

    dataset     a Dataset
    transform   (uint8 (N, H, W, 3), generator) -> float32 (N, h, w, 3); None only converts to float32
    workers     threads that prepare batches, and as many that read the images of each where they are on the disk;
                0 prepares each batch when it is asked for. Threads are enough: NumPy and Pillow let go of the
                interpreter lock while they work on pixels (benchmarks/reader.py compares them with processes).
    prefetch    at most so many batches are prepared ahead of the one that the consumer has
    drop_last   leave out the last batch of an epoch when it is not full

    `wait` is the time in seconds, over all epochs, that the consumer spent waiting for batches.
    Raises UsageError for settings that make no sense.
    """

    def __init__(self, dataset: Dataset, batch_size: int, transform: BatchTransform | None = None,
                 seed: int = 0, shuffle: bool = True, workers: int = 1, prefetch: int = 3,
                 drop_last: bool = False) -> None:
        if batch_size < 1 or workers < 0 or prefetch < 1:
            raise UsageError(f"loader: batch_size={batch_size} workers={workers} prefetch={prefetch}: "
                             f"expected workers >= 0 and the others >= 1")
        if drop_last and batch_size > len(dataset):
            raise UsageError(f"loader: batch_size={batch_size} is more than the {len(dataset)} images of "
                             f"{dataset.name}, and drop_last leaves nothing: take a smaller batch")
        self.dataset = dataset
        self.batch_size = batch_size
        self.transform = transform
        self.seed = seed
        self.shuffle = shuffle
        self.workers = workers
        self.prefetch = prefetch
        self.drop_last = drop_last
        self.wait = 0.0

    def __len__(self) -> int:
        """Batches an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches start, start + 1, ... of epoch number `epoch`, in order.

        An exception in a worker is raised here, at the batch it belongs to. Leaving the loop early ends the
        threads together with the iterator; whoever keeps the iterator must `close()` it.
        """
        return self._run(self._batch, epoch, start)

    def raw(self, epoch: int, place: Callable[[int], np.ndarray],
            start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, Draws]]:
        """The same batches before anything is done to them: (images uint8 (N, H, W, 3), labels, what the transform,
        a Transform, has drawn for them). transform.apply(images, draws) is what `epoch` gives.

        place(b) says where the images of batch b are to be written: uint8 (batch_size, H, W, 3) or larger, of which
        the batch is the beginning. It is called in the consumer's thread, in the order of the batches, at most
        `prefetch` ahead of the one that is asked for; from then on the place belongs to the loader until the
        batch is handed out.
        """
        return self._run(self._raw, epoch, start, place)

    def _run(self, make, epoch, start, place=None):
        if not 0 <= start <= len(self):
            raise UsageError(f"loader: cannot start at batch {start} of an epoch of {len(self)} batches")
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = rng(self.seed, "shuffle", epoch).permutation(order)
        jobs = (partial(self._noted, make, order, epoch, b, *([place(b)] if place else []))
                for b in range(start, len(self)))
        return self._timed((self._threaded if self.workers else self._inline)(jobs))

    def _noted(self, make: Callable, order: np.ndarray, epoch: int, b: int, *place: np.ndarray,
               readers: ThreadPoolExecutor | None = None) -> tuple[Any, ...]:
        # A pure function of its arguments: this is why the number of workers cannot matter.
        try:
            rows = order[b * self.batch_size:(b + 1) * self.batch_size]
            return make(rows, rng(self.seed, "augment", epoch, b), *place, readers=readers)
        except Exception as error:
            error.add_note(f"while preparing batch {b} of epoch {epoch} of {self.dataset.name}")
            raise

    def _batch(self, rows, draws_from, readers):
        x = self._read(rows, draws_from, readers) if self.dataset.on_disk else self._take(rows, draws_from)
        x = np.ascontiguousarray(x, dtype=np.float32)
        return x.transpose(0, 3, 1, 2), self.dataset.labels[rows]

    def _take(self, rows, draws_from):
        images = self.dataset.images[rows]
        return images if self.transform is None else self.transform(images, draws_from)

    def _read(self, rows, draws_from, readers):
        """The same of images on the disk, of which only the windows that the transform cuts out are copied."""
        shape = (len(rows), *self.dataset.images.shape[1:])
        if not isinstance(self.transform, Transform) or self.transform.pad or self.transform.crop is None:
            images = self._shared(self.dataset.images.read, (rows,), np.empty(shape, np.uint8), readers)
            return images if self.transform is None else self.transform(images, draws_from)
        draws = self.transform.draw(shape, draws_from)
        return self.transform.apply(self._cut(rows, draws, readers), Draws(shift=draws.shift))

    def _cut(self, rows, draws, readers):
        """uint8 (N, h, w, 3): the windows of images on the disk, mirrored as drawn."""
        windows = np.empty((len(rows), *self.transform.window(*self.dataset.images.shape[1:3]), 3), np.uint8)
        flips = np.zeros(len(rows), bool) if draws.flips is None else draws.flips
        return self._shared(self.dataset.images.cut, (rows, draws.rows, draws.cols, flips), windows, readers)

    def _raw(self, rows, draws_from, place, readers):
        images = place[:len(rows)]
        if self.dataset.on_disk:
            self._shared(self.dataset.images.read, (rows,), images, readers)
        else:
            np.take(self.dataset.images, rows, axis=0, out=images, mode="clip")  # "raise" would copy
        draws = Draws() if self.transform is None else self.transform.draw(images.shape, draws_from)
        return images, self.dataset.labels[rows], draws

    def _shared(self, read, arguments, out, readers):
        """read(*arguments, out), shared out among the readers: each takes a stretch of the batch. Returns `out`."""
        if readers is None:
            read(*arguments, out)
            return out
        cuts = np.linspace(0, len(out), self.workers + 1).astype(int)
        parts = [slice(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if a < b]
        for done in [readers.submit(read, *(a[part] for a in arguments), out[part]) for part in parts]:
            done.result()
        return out

    def _inline(self, jobs):
        for job in jobs:
            yield job()

    def _threaded(self, jobs):
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        readers = ThreadPoolExecutor(self.workers, thread_name_prefix="loader-reader") \
            if self.dataset.on_disk and self.workers > 1 else None
        ahead = deque()  # futures in the order of their batches: bounds the memory, keeps the order
        try:
            for job in jobs:
                ahead.append(pool.submit(job, readers=readers))
                if len(ahead) > self.prefetch:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # at the end, after an exception, and when the consumer drops the iterator
            pool.shutdown(wait=True, cancel_futures=True)
            if readers is not None:
                readers.shutdown(wait=True)

    def _timed(self, source):
        try:
            while True:
                begin = time.perf_counter()
                batch = next(source, None)
                self.wait += time.perf_counter() - begin
                if batch is None:
                    return
                yield batch
        finally:
            source.close()
