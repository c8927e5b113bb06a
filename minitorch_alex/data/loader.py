"""Batches for training: shuffled, transformed, and prepared by threads while the network computes."""
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..backend import rng
from ..errors import UsageError
from .dataset import Dataset

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
    workers     threads that prepare batches; 0 prepares each when it is asked for. Threads are enough:
                NumPy and Pillow let go of the interpreter lock while they work on pixels.
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
        if not 0 <= start <= len(self):
            raise UsageError(f"loader: cannot start at batch {start} of an epoch of {len(self)} batches")
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = rng(self.seed, "shuffle", epoch).permutation(order)
        produce = self._threaded if self.workers else self._inline
        return self._timed(produce(order, epoch, range(start, len(self))))

    def _batch(self, order, epoch, b):
        # A pure function of its arguments: this is why the number of workers cannot matter.
        try:
            rows = order[b * self.batch_size:(b + 1) * self.batch_size]
            x = self.dataset.images[rows]
            if self.transform is not None:
                x = self.transform(x, rng(self.seed, "augment", epoch, b))
            x = np.ascontiguousarray(x, dtype=np.float32)
            return x.transpose(0, 3, 1, 2), self.dataset.labels[rows]
        except Exception as error:
            error.add_note(f"while preparing batch {b} of epoch {epoch} of {self.dataset.name}")
            raise

    def _inline(self, order, epoch, batches):
        for b in batches:
            yield self._batch(order, epoch, b)

    def _threaded(self, order, epoch, batches):
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        ahead = deque()  # futures in the order of their batches: bounds the memory, keeps the order
        try:
            for b in batches:
                ahead.append(pool.submit(self._batch, order, epoch, b))
                if len(ahead) > self.prefetch:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # at the end, after an exception, and when the consumer drops the iterator
            pool.shutdown(wait=True, cancel_futures=True)

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
