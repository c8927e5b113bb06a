"""Batches for training: shuffled, transformed, and prepared by threads while the network
computes."""
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import UsageError
from ..streams import rng
from .dataset import Dataset
from .transforms import Draws, Transform

BatchTransform = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Place = Callable[[int], np.ndarray]
Item = TypeVar("Item")


class _Batch(NamedTuple):
    """What a batch is made from. Nothing else decides on its pixels, which is why the number of
    workers cannot matter."""

    number: int
    rows: np.ndarray                  # its images, as places in the data set
    own: slice                        # those of them that this loader gives
    generator: np.random.Generator    # the source of its random choices
    place: np.ndarray | None          # where the images are to be written, or None


class _InMemory:
    """Reads from an array of images."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def windows(self, rows: np.ndarray, draws: Draws, transform: Transform,
                out: np.ndarray | None = None) -> np.ndarray:
        """uint8 (N, h, w, 3): what `transform.cut` makes of the images `rows`, and for whole
        images into `out`, where that is given."""
        if out is None:
            images = self.images[rows]
        else:
            # The default mode "raise" would go through a copy.
            images = np.take(self.images, rows, axis=0, out=out, mode="clip")
        return transform.cut(images, draws)

    def close(self) -> None:
        """Nothing to end."""


class _OnDisk:
    """Reads images from files, in several threads, and copies no more of them than is needed."""

    def __init__(self, images: Any, threads: int) -> None:
        self.images = images
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, "loader-reader") if threads > 1 else None

    def windows(self, rows: np.ndarray, draws: Draws, transform: Transform,
                out: np.ndarray | None = None) -> np.ndarray:
        """As _InMemory.windows. Only the pixels of the windows are copied, unless these reach into
        a border or the images are enlarged."""
        side = self.images.shape[1:3]
        if draws.rows is None or draws.cols is None or transform.pad or transform.enlarge:
            if out is None:
                out = np.empty((len(rows), *side, 3), np.uint8)
            self._share(self.images.read, (rows,), out)
            return transform.cut(out, draws)
        flips = np.zeros(len(rows), bool) if draws.flips is None else draws.flips
        out = np.empty((len(rows), *transform.window(*side), 3), np.uint8)
        self._share(self.images.cut, (rows, draws.rows, draws.cols, flips), out)
        return out

    def _share(self, read: Callable[..., None], arguments: tuple[np.ndarray, ...],
               out: np.ndarray) -> None:
        """Call read(*arguments, out), where each thread takes a stretch of the batch."""
        if self.pool is None:
            read(*arguments, out)
            return
        edges = np.linspace(0, len(out), self.threads + 1).astype(int)
        stretches = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if a < b]
        futures = [self.pool.submit(read, *(argument[part] for argument in arguments), out[part])
                   for part in stretches]
        for future in futures:
            future.result()

    def close(self) -> None:
        """End the threads."""
        if self.pool is not None:
            self.pool.shutdown(wait=True)


_Reader = _InMemory | _OnDisk


def _of_part(draws: Draws, own: slice | np.ndarray) -> Draws:
    """The choices for some of the images."""
    return Draws(*(None if choices is None else choices[own] for choices in draws))


def _with_partners(batch: _Batch, draws: Draws) -> tuple[np.ndarray, Draws]:
    """(rows, draws) of a batch's part: of its images, and behind them of those images of other
    parts that they are mixed with."""
    own = batch.own
    if draws.partners is None:
        return batch.rows[own], _of_part(draws, own)
    mine = np.arange(own.start, own.stop)
    wanted = np.concatenate([mine, np.setdiff1d(draws.partners[own], mine)])
    place = np.zeros(len(batch.rows), int)  # where an image of the batch is among those wanted
    place[wanted] = np.arange(len(wanted))
    partners = np.arange(len(wanted))
    partners[:len(mine)] = place[draws.partners[own]]
    return batch.rows[wanted], _of_part(draws, wanted)._replace(partners=partners)


class Loader:
    """A Dataset as epochs of batches (x, labels).

    x is float32 (N, 3, H, W), the transposed view of a C-contiguous (N, H, W, 3) array: PyTorch's
    shape on channels-last memory. labels is int64 (N,).

    The order is a permutation drawn from (seed, "shuffle", epoch), or for all epochs from
    (seed, "shuffle", 0) where `reshuffle` is False: in 2012 and in Caffe images were shuffled
    once, when they were written. And what the transform draws comes from (seed, "augment", epoch,
    batch). So the pixels are the same for any number of workers, and an epoch resumed at batch k
    continues exactly as if it had never stopped.

    dataset     a Dataset
    transform   (uint8 (N, H, W, 3), generator) -> float32 (N, h, w, 3); None only converts
    workers     threads that prepare batches, and as many that read the images of each batch if
                they are on the disk; 0 prepares each batch when it is asked for. Threads are
                enough: NumPy and Pillow release the interpreter lock while they work on pixels
                (benchmarks/reader.py compares them with processes).
    prefetch    at most this many batches are prepared ahead of the one that the consumer has
    drop_last   leave out the last batch of an epoch when it is not full
    reshuffle   whether a shuffled set has a new order in each epoch
    part        (r, P): of each batch of n images only those from n r // P up to n (r + 1) // P,
                with the pixels that they have in the whole batch; none of them when n < P. So P
                loaders with the parts (0, P) to (P - 1, P) share an epoch, each image once.

    `wait` is the time in seconds, over all epochs, that the consumer spent waiting for batches.
    Raises UsageError for settings that make no sense.
    """

    def __init__(self, dataset: Dataset, batch_size: int, transform: BatchTransform | None = None,
                 seed: int = 0, shuffle: bool = True, workers: int = 1, prefetch: int = 3,
                 drop_last: bool = False, reshuffle: bool = True,
                 part: tuple[int, int] = (0, 1)) -> None:
        if batch_size < 1 or workers < 0 or prefetch < 1:
            raise UsageError(f"loader: batch_size={batch_size} workers={workers} "
                             f"prefetch={prefetch}: expected workers >= 0 and the others >= 1")
        if drop_last and batch_size > len(dataset):
            raise UsageError(f"loader: batch_size={batch_size} is more than the {len(dataset)} "
                             f"images of {dataset.name}, and drop_last leaves nothing; "
                             "use a smaller batch")
        if not 0 <= part[0] < part[1]:
            raise UsageError(f"loader: part={part}, expected (r, P) with 0 <= r < P")
        self.dataset = dataset
        self.batch_size = batch_size
        self.transform = transform
        self.seed = seed
        self.shuffle = shuffle
        self.workers = workers
        self.prefetch = prefetch
        self.drop_last = drop_last
        self.reshuffle = reshuffle
        self.part = part
        self.wait = 0.0

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def images_in(self, b: int) -> int:
        """How many images batch b has, all parts together."""
        return min(self.batch_size, len(self.dataset) - b * self.batch_size)

    def _own(self, b: int) -> slice:
        """This loader's part of batch b."""
        n = self.images_in(b)
        r, P = self.part
        return slice(n * r // P, n * (r + 1) // P)

    def epoch(self, epoch: int,
              start: int = 0) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """The batches start, start + 1, ... of epoch number `epoch`, in order.

        An exception in a worker is raised here, at the batch it belongs to. Leaving the loop early
        ends the threads together with the iterator; whoever keeps the iterator must `close()` it.
        """
        return self._run(self._transformed, self._batches(epoch, start), epoch)

    def raw(self, epoch: int, place: Place, start: int = 0
            ) -> Generator[tuple[np.ndarray, np.ndarray, Draws], None, None]:
        """The same batches before anything is done to them: (images uint8 (N, H, W, 3), labels,
        what the transform has drawn for them). The transform must be a Transform or None;
        transform.apply(images, draws) is what `epoch` gives.

        place(b) returns where the images of batch b are to be written: uint8 (batch_size, H, W, 3)
        or larger, of which the batch is the beginning. It is called in the consumer's thread, in
        the order of the batches, at most `prefetch` ahead of the one that is asked for; from then
        on the place belongs to the loader until the batch is handed out.
        """
        return self._run(self._untransformed, self._batches(epoch, start, place), epoch)

    def _batches(self, epoch: int, start: int, place: Place | None = None) -> Iterator[_Batch]:
        """The batches of an epoch from `start` on, each put together when it is asked for."""
        if not 0 <= start <= len(self):
            raise UsageError(f"loader: cannot start at batch {start} of an epoch of {len(self)} "
                             "batches")
        order = np.arange(len(self.dataset))
        if self.shuffle:
            drawn_in = epoch if self.reshuffle else 0
            order = rng(self.seed, "shuffle", drawn_in).permutation(order)
        return (_Batch(b, order[b * self.batch_size:(b + 1) * self.batch_size], self._own(b),
                       rng(self.seed, "augment", epoch, b), place(b) if place else None)
                for b in range(start, len(self)))

    def _transformed(self, reader: _Reader, batch: _Batch) -> tuple[np.ndarray, np.ndarray]:
        """(x, labels) of a batch, or of this loader's part of it."""
        transform = self.transform
        own = batch.own
        if isinstance(transform, Transform):
            rows, draws = _with_partners(batch, self._draw(transform, batch))
            x = transform.center(reader.windows(rows, draws, transform), draws)
            x = x[:own.stop - own.start]  # without partners of other parts
        elif transform is None:
            x = reader.windows(batch.rows[own], Draws(), Transform())
        else:  # nobody knows what it draws: it gets the whole batch
            x = reader.windows(batch.rows, Draws(), Transform())
            x = transform(x, batch.generator)[own]
        x = np.ascontiguousarray(x, dtype=np.float32)
        # NHWC -> NCHW, a view
        return x.transpose(0, 3, 1, 2), self.dataset.labels[batch.rows[own]]

    def _untransformed(self, reader: _Reader,
                       batch: _Batch) -> tuple[np.ndarray, np.ndarray, Draws]:
        """(images, labels, draws) of a batch that has a place."""
        transform = Transform() if self.transform is None else self.transform
        if not isinstance(transform, Transform):
            raise UsageError(f"loader: the transform is {transform!r}; raw batches need a "
                             "data.Transform, which can draw its random choices ahead")
        if transform.mix and self.part[1] > 1:
            raise UsageError("loader: raw batches in parts cannot be mixed, for partners may be "
                             "in another part; use the numpy backend, or mix=0")
        assert batch.place is not None
        rows = batch.rows[batch.own]
        draws = _of_part(self._draw(transform, batch), batch.own)
        images = reader.windows(rows, Draws(), Transform(), batch.place[:len(rows)])
        return images, self.dataset.labels[rows], draws

    def _draw(self, transform: Transform, batch: _Batch) -> Draws:
        """What is drawn for the whole batch, whichever part of it is wanted."""
        shape = (len(batch.rows), *self.dataset.images.shape[1:])
        return transform.draw(shape, batch.generator)

    def _run(self, make: Callable[[_Reader, _Batch], Item], batches: Iterator[_Batch],
             epoch: int) -> Generator[Item, None, None]:
        """make(reader, batch) of each batch, in order. The time until each is there counts as
        `wait`."""
        results = self._results(make, batches, epoch)
        try:
            while True:
                begin = time.perf_counter()
                result = next(results, None)
                self.wait += time.perf_counter() - begin
                if result is None:
                    return
                yield result
        finally:
            results.close()

    def _results(self, make: Callable[[_Reader, _Batch], Item], batches: Iterator[_Batch],
                 epoch: int) -> Generator[Item, None, None]:
        """The same without the clock: at once, or in threads that are ahead by `prefetch`
        batches."""
        reader = self._open_reader()

        def prepare(batch: _Batch) -> Item:
            try:
                return make(reader, batch)
            except Exception as error:
                error.add_note(f"while preparing batch {batch.number} of epoch {epoch} of "
                               f"{self.dataset.name}")
                raise

        try:
            if self.workers:
                yield from self._prepare_ahead(prepare, batches)
            else:
                yield from map(prepare, batches)
        finally:  # at the end, after an exception, and when the consumer drops the iterator
            reader.close()

    def _open_reader(self) -> _Reader:
        if self.dataset.on_disk:
            return _OnDisk(self.dataset.images, self.workers)
        return _InMemory(self.dataset.images)

    def _prepare_ahead(self, prepare: Callable[[_Batch], Item],
                       batches: Iterator[_Batch]) -> Generator[Item, None, None]:
        pool = ThreadPoolExecutor(self.workers, "loader")
        # In the order of the batches; its length bounds the memory.
        futures: deque[Future[Item]] = deque()
        try:
            for batch in batches:
                futures.append(pool.submit(prepare, batch))
                if len(futures) > self.prefetch:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
