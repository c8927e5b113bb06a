"""Stored images at a smaller size: a set prepared at 256 x 256, for a network that takes 32 x 32.

They are scaled when they are read, by averages over areas, as `prepare` and folders of images do
it, so that nothing has to be prepared again for another network.
"""
from dataclasses import replace
from typing import Any, Self

import numpy as np
from PIL import Image

from .dataset import Dataset
from .on_demand import OnDemand


class ScaledPictures(OnDemand):
    """The `images` of a Dataset, uint8 (N, S, S, 3), read as uint8 (N, size, size, 3).

    `images` is an array, or OnDemand itself.
    """

    def __init__(self, images: Any, size: int) -> None:
        super().__init__(len(images), size)
        self.images = images

    def subset(self, rows: Any) -> Self:
        inner = self.images.subset(rows) if hasattr(self.images, "subset") else self.images[rows]
        return type(self)(inner, self.size)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        for row, place in zip(rows.tolist(), out, strict=True):
            image = Image.fromarray(self.images[row])
            place[...] = image.resize((self.size, self.size), Image.Resampling.BOX)


def scaled(images: Dataset, size: int) -> Dataset:
    """A set with its images scaled down to size x size, and its mean image with them. The colour
    axes stay: they are of the pixels, wherever these lie."""
    if images.images.shape[1] == size:
        return images
    mean = images.mean
    if mean is not None:
        channels = [Image.fromarray(np.ascontiguousarray(mean[:, :, c], np.float32))
                    .resize((size, size), Image.Resampling.BOX) for c in range(3)]
        mean = np.stack([np.asarray(channel) for channel in channels], axis=2)  # (S, S, 3)
    pictures = ScaledPictures(images.images, size)
    return replace(images, images=pictures if images.on_disk else pictures[:], mean=mean)
