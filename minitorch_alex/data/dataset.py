"""Labelled images: what every reader of data returns, and what the loader takes."""
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..streams import rng
from .transforms import ColorPCA, fit_pca


@dataclass(frozen=True, eq=False)
class Dataset:
    """N labelled colour images, kept as bytes: a quarter of the size of float32, and what the
    files hold.

    images   uint8 (N, H, W, 3), C-contiguous, values 0..255; or an object that is indexed in the
             same way and reads such bytes from the disk on demand (imagenet.Pictures)
    labels   int64 (N,), each in 0..len(classes)-1
    classes  the names of the classes; a label is a place in this tuple
    name     what messages call the set
    mean     the mean image, where it is known: mean_image() then returns it, for a subset too
    pca      the colour axes, where they are known; as with `mean`
    files    the names of the files that the images come from, (N,) of text or of the bytes that
             the system uses for names; None where there are none

    Raises DataError when the parts do not fit together, naming the first bad index.
    """

    images: Any = field(repr=False)
    labels: np.ndarray = field(repr=False)
    classes: tuple[str, ...]
    name: str
    mean: np.ndarray | None = field(default=None, repr=False)
    pca: ColorPCA | None = field(default=None, repr=False)
    files: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        images = self.images if self.on_disk else np.asarray(self.images)
        labels = np.asarray(self.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise DataError(f"{self.name}: images are {images.dtype} {images.shape}, "
                            "expected uint8 (N, H, W, 3)")
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise DataError(f"{self.name}: labels are {labels.dtype} {labels.shape}, "
                            f"expected one integer for each of the {len(images)} images")
        bad = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if bad.size:
            raise DataError(f"{self.name}: label {labels[bad[0]]} at index {bad[0]} is not in "
                            f"0..{len(self.classes) - 1}; there are {bad.size} such labels")
        if self.files is not None and len(self.files) != len(images):
            raise DataError(f"{self.name}: there are {len(self.files)} names of files, expected "
                            f"one for each of the {len(images)} images")
        # Frozen, so that images and labels stay in step. The types promised above are set here,
        # once.
        if not self.on_disk:
            object.__setattr__(self, "images", np.ascontiguousarray(images))
        object.__setattr__(self, "labels", np.ascontiguousarray(labels, dtype=np.int64))
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def on_disk(self) -> bool:
        """Whether the images are read on demand."""
        return hasattr(self.images, "read")

    def subset(self, indices: Sequence[int] | np.ndarray | slice) -> "Dataset":
        """The images at `indices` (integers, a boolean mask or a slice), in that order. Nothing is
        read from the disk."""
        images = self.images.subset(indices) if self.on_disk else self.images[indices]
        files = None if self.files is None else self.files[indices]
        return replace(self, images=images, labels=self.labels[indices], files=files)

    def file(self, i: int) -> str:
        """What image i is called: the name of its file, or "image 17" where it has none."""
        return f"image {i}" if self.files is None else os.fsdecode(self.files[i])

    def split(self, fraction: float, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """(rest, part), with round(fraction * N) images in `part`, drawn from each class in
        proportion.

        Which ones depends on the seed alone; both sides keep the order of the whole. Raises
        UsageError unless both sides get at least one image.
        """
        size = round(fraction * len(self)) if 0 < fraction < 1 else 0
        if not 0 < size < len(self):
            raise UsageError(f"cannot split {fraction} off the {len(self)} images of {self.name}: "
                             "both sides need at least one image")
        generator = rng(seed, "split")
        members = [generator.permutation(np.flatnonzero(self.labels == label))
                   for label in range(len(self.classes))]
        shares = np.array([size * len(rows) / len(self) for rows in members])
        counts = np.floor(shares).astype(int)
        # Largest remainder: what rounding down left over goes to the classes that lost most by it.
        losers = np.argsort(counts - shares, kind="stable")
        counts[losers[:size - counts.sum()]] += 1
        in_part = np.zeros(len(self), bool)
        for rows, count in zip(members, counts, strict=True):
            in_part[rows[:count]] = True
        return self.subset(~in_part), self.subset(in_part)

    def mean_image(self) -> np.ndarray:
        """The mean of each pixel and channel over the set: float32 (H, W, 3) on the 0..255 scale.

        "Subtracting the mean activity over the training set from each pixel" (paper, section 2).
        Summed in float64, which holds sums of bytes exactly: the result depends neither on the
        order nor on the machine. Raises DataError for an empty set.
        """
        if self.mean is not None:
            return self.mean
        if not len(self):
            raise DataError(f"{self.name}: an empty set has no mean image")
        return (self.images.sum(axis=0, dtype=np.float64) / len(self)).astype(np.float32)

    def color_pca(self) -> ColorPCA:
        """The main axes of the set's pixels: `pca`, or fit_pca of the images."""
        return self.pca if self.pca is not None else fit_pca(self.images)
