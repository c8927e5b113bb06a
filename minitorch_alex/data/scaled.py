"""Stored images at a smaller size: a set prepared at 256 x 256, for a network that takes 32 x 32.

They are scaled when they are read, by averages over areas, as `prepare` and folders of images do
it, so that nothing has to be prepared again for another network.
"""
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from .dataset import Dataset


class ScaledPictures:
    """The `images` of a Dataset, uint8 (N, S, S, 3), read as uint8 (N, size, size, 3).

    `images` is an array, or an object that reads on demand (imagenet.Pictures).
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, images: Any, size: int) -> None:
        self.images = images
        self.size = size
        self.shape = (len(images), size, size, 3)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.asarray(np.arange(len(self))[key])  # any index of NumPy, as numbers of rows
        out = np.empty((rows.size, *self.shape[1:]), np.uint8)
        self.read(rows.reshape(-1), out)  # (*rows.shape) -> (rows.size,)
        # (rows.size, S, S, 3) -> (*rows.shape, S, S, 3)
        return out.reshape(*rows.shape, *self.shape[1:])

    def subset(self, rows: Any) -> "ScaledPictures":
        inner = self.images.subset(rows) if hasattr(self.images, "subset") else self.images[rows]
        return ScaledPictures(inner, self.size)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """The images `rows` into `out`, uint8 (n, size, size, 3)."""
        for row, place in zip(rows.tolist(), out, strict=True):
            image = Image.fromarray(self.images[row])
            place[...] = image.resize((self.size, self.size), Image.Resampling.BOX)

    def cut(self, rows: np.ndarray, tops: np.ndarray, lefts: np.ndarray, flips: np.ndarray,
            out: np.ndarray) -> None:
        """As imagenet.Pictures.cut: of image rows[i] the window with the corner (tops[i],
        lefts[i]), mirrored where flips[i], into `out`, uint8 (n, h, w, 3)."""
        height, width = out.shape[1:3]
        whole = np.empty((1, *self.shape[1:]), np.uint8)
        for i, row in enumerate(rows):
            self.read(row[None], whole)
            window = whole[0, tops[i]:tops[i] + height, lefts[i]:lefts[i] + width]
            out[i] = window[:, ::-1] if flips[i] else window


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
