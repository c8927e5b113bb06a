"""Exact sums over the pixels of a training set, from which its mean image and colour axes
follow."""
from dataclasses import dataclass
from typing import Any

import numpy as np

from .transforms import principal_axes


@dataclass(eq=False)
class Moments:
    """Sums over uint8 images, as integers, so that they do not depend on the order.

    images    how many
    total     int64 (size, size, 3): the sum of each pixel
    products  int64 (3, 3): the sums of the products of two channels, over all pixels

    A million images of 256 x 256 sum up to less than 2^63.
    """

    images: int
    total: np.ndarray
    products: np.ndarray

    @classmethod
    def zero(cls, size: int) -> "Moments":
        """Those of no images."""
        return cls(0, np.zeros((size, size, 3), np.int64), np.zeros((3, 3), np.int64))

    def add(self, image: np.ndarray) -> None:
        """Count one more image, uint8 (size, size, 3)."""
        # (size, size, 3) -> (size*size, 3). In float64, which holds these sums exactly and has a
        # fast matrix product.
        pixels = image.reshape(-1, 3).astype(np.float64)
        self.merge(Moments(1, image, np.rint(pixels.T @ pixels).astype(np.int64)))

    def merge(self, other: "Moments") -> None:
        """Count all that `other` has counted."""
        self.images += other.images
        self.total += other.total
        self.products += other.products

    def mean_image(self) -> np.ndarray:
        """float32 (size, size, 3), 0..255."""
        return (self.total / self.images).astype(np.float32)

    def color(self) -> dict[str, Any]:
        """Of all pixels as RGB colours on the 0..255 scale: mean, covariance (divided by N), and
        its eigenvalues and eigenvectors as in transforms.principal_axes."""
        n = self.images * self.total.shape[0] * self.total.shape[1]
        sums = [int(s) for s in self.total.sum(axis=(0, 1))]
        # In Python's integers: n Sxy - Sx Sy cancels most digits. The quotient is rounded once.
        covariance = [[(n * int(self.products[i, j]) - sums[i] * sums[j]) / n**2 for j in range(3)]
                      for i in range(3)]
        axes = principal_axes(np.array(covariance))
        return {"mean": [s / n for s in sums], "covariance": covariance,
                "eigenvalues": axes.eigenvalues.tolist(),
                "eigenvectors": axes.eigenvectors.tolist()}
