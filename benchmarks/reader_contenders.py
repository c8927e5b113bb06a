"""One sample of the reader benchmark: a child process that reads a prepared set in one way, on N cores.

All have the same task: the images of a set in a shuffled order, from each a random 224 x 224 window, mirrored half of
the time, in batches. "uint8" gives bytes; "float32" also subtracts the mean image; "feed" gives whole images and what
was drawn for them, for training on a GPU, which cuts them there.
"""
import io
import json
import os
import resource
import time
from pathlib import Path

import numpy as np

from . import harness

BATCH = 128


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage,
                                                             (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def measure(job: dict) -> harness.Sample:
    """{"images_s": images a second, "core_s": images a second of CPU time, ...} of a contender: it is pinned to `cores`
    CPUs, has as many workers, reads `warm_up` batches unseen, and is then timed for `seconds` or longer."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-job["cores"]:])
    batches = CONTENDERS[job["contender"].partition(" ")[0]](job)
    # Worker processes report their time only when they end, which includes the warm-up.
    start_of_all = cpu_seconds()
    warm_up_images = sum(len(next(batches)) for _ in range(job["warm_up"]))
    count = 0
    begin = time.perf_counter()
    busy = harness._busy_seconds()
    start = cpu_seconds()
    while count == 0 or time.perf_counter() - begin < job["seconds"]:
        count += len(next(batches))
    wall = time.perf_counter() - begin
    mine = cpu_seconds() - start
    foreign = None if busy is None else harness._busy_seconds() - busy
    batches.close()  # so that workers end, and their time is known
    all_images = warm_up_images + count
    own = cpu_seconds() - start_of_all
    if job["contender"].startswith("torch"):
        mine = own * count / all_images
    result = {"images_s": round(count / wall, 1), "core_s": round(all_images / own, 1),
              "wall_seconds": round(wall, 3), "cpu_seconds": round(mine, 3), "images": count,
              "peak_mb": harness.peak_mb()}
    if foreign is not None:
        result["foreign"] = round(max(0.0, foreign - mine) / (wall * os.cpu_count()), 3)
    return result


def ours(job: dict):
    """minitorch_alex's loader with threads, in a process that keeps freed memory as `train` does."""
    from minitorch_alex import kernels
    from minitorch_alex.data import Loader, Transform, load_imagenet

    class Bytes(Loader):
        """The loader without its last step: the windows as bytes."""

        def _transformed(self, reader, batch):
            draws = self._draw(self.transform, batch)
            return reader.windows(batch.rows, draws, self.transform), self.dataset.labels[batch.rows]

    kernels.keep_freed_memory()
    train, _ = load_imagenet(job["folder"])
    transform = Transform(train.mean_image(), crop=job["crop"], flip=True)
    out = job["contender"].split()[-1]
    loader = (Bytes if out == "uint8" else Loader)(train, min(BATCH, len(train)), transform, workers=job["cores"])
    if out == "feed":
        ring = np.zeros((loader.prefetch + 2, loader.batch_size, *train.images.shape[1:]), np.uint8)
        epoch = lambda number: loader.raw(number, lambda b: ring[b % len(ring)])  # noqa: E731
    else:
        epoch = loader.epoch
    return _endless(epoch)


def _endless(epoch):
    number = 0
    while True:
        for images, *_ in epoch(number):
            yield images
        number += 1


class Windows:
    """The images of a prepared set of JPEGs, one at a time, as anybody would write it with Pillow and NumPy: a Dataset
    as torch's DataLoader takes them."""

    def __init__(self, folder: str, crop: int) -> None:
        self.folder, self.crop, self.files = Path(folder), crop, {}
        self.names = [shard["file"] for shard in json.loads((self.folder / "index.json").read_text())
                      ["splits"]["train"]["shards"]]
        self.table = np.load(self.folder / "train-samples.npy")
        self.draw = None  # made in the process that reads

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        from PIL import Image
        self.draw = self.draw or np.random.default_rng(os.getpid())
        shard, offset, length, label = self.table[i].tolist()
        if shard not in self.files:
            self.files[shard] = open(self.folder / self.names[shard], "rb")  # noqa: SIM115 - kept for the next image
        blob = os.pread(self.files[shard].fileno(), length, offset)
        image = np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))
        top, left = self.draw.integers(0, image.shape[0] - self.crop + 1, 2)
        window = image[top:top + self.crop, left:left + self.crop]
        return np.ascontiguousarray(window[:, ::-1] if self.draw.random() < 0.5 else window), label


def pillow(job: dict):
    """A plain loop in one thread."""
    windows, draw = Windows(job["folder"], job["crop"]), np.random.default_rng(0)

    def epoch(_number):
        order = draw.permutation(len(windows))
        for start in range(0, len(order), BATCH):
            yield np.stack([windows[i][0] for i in order[start:start + BATCH]]), None

    return _endless(epoch)


def torch(job: dict):
    """torch.utils.data.DataLoader with worker processes; its default collation gives a uint8 tensor."""
    import torch as library
    library.set_num_threads(1)
    windows = Windows(job["folder"], job["crop"])
    loader = library.utils.data.DataLoader(windows, BATCH, shuffle=True, num_workers=job["cores"],
                                           persistent_workers=True)
    return _endless(lambda _number: loader)


CONTENDERS = {"ours": ours, "pillow": pillow, "torch": torch}

if __name__ == "__main__":
    harness.answer({"measure": measure})
