"""Colour noise (paper, section 4.1): each image is shifted along the main axes of all colours.

    covariance of the RGB pixels of the training set  --eigh-->  axes V (3, 3), variances l (3,)
    three normal numbers per image  --along the axes, a tenth of their widths-->  a colour (3,)

The paper and the released code disagree on how strong the noise is: see `add_color`.
"""
from math import sqrt
from typing import NamedTuple

import numpy as np

# What images with a shifted colour are divided by, in each convention of `add_color`.
# Noise of a tenth of the width adds 0.01 to the variance, so sqrt(1.01) keeps the scale.
DIVISORS = {"source": 1.1, "paper": 1.0, "variance": sqrt(1.01)}


class ColorPCA(NamedTuple):
    """The main axes of the RGB pixels of a data set, on the 0..255 scale.

    eigenvalues   (3,), of the pixels' covariance, the largest first
    eigenvectors  (3, 3), one per column
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


def principal_axes(covariance: np.ndarray) -> ColorPCA:
    """Eigenvalues and eigenvectors of a covariance (3, 3).

    The sign of an eigenvector is arbitrary; here its largest entry is positive.
    """
    values, vectors = np.linalg.eigh(covariance)  # the smallest eigenvalue first
    values = np.maximum(values[::-1], 0)  # rounding can make a tiny one negative
    vectors = vectors[:, ::-1]  # in the same order: column k belongs to values[k]
    largest = vectors[np.abs(vectors).argmax(axis=0), range(3)]
    return ColorPCA(values, vectors * np.where(largest < 0, -1.0, 1.0))


def fit_pca(images: np.ndarray) -> ColorPCA:
    """The main axes of all pixels of a set (N, H, W, 3): of the whole training set (paper, section
    4.1), not image by image. The covariance is divided by the number of pixels."""
    pixels = images.reshape(-1, 3)  # (N, H, W, 3) -> (N*H*W, 3)
    total = np.zeros(3)
    product = np.zeros((3, 3))
    step = 1 << 18  # pixels at a time: float64 takes eight times the memory of bytes
    for start in range(0, len(pixels), step):
        part = pixels[start:start + step].astype(np.float64)
        total += part.sum(axis=0)
        product += part.T @ part
    mean = total / len(pixels)
    return principal_axes(product / len(pixels) - np.outer(mean, mean))


def add_color(images: np.ndarray, pca: ColorPCA, draws: np.ndarray,
              convention: str = "source") -> np.ndarray:
    """Shift all pixels of image i by one colour, made of draws[i], three standard normal numbers.

    "source"  x := (x + V (s * 0.1 draw)) / 1.1, with s = sqrt(eigenvalues) and x free of its
              mean: the released 2012 code (convdata.py). About 12 grey levels along the first
              axis of ImageNet. The divisor is there to keep the scale, and is too large for it.
    "variance" the same with the divisor that keeps the scale, sqrt(1.01).
    "paper"   x := x + V (l * 0.1 draw), with l = eigenvalues: the text of section 4.1. Its
              strength depends on the scale of the pixels; on 0..255 it would destroy the image.
              Read on the 0..1 scale, as later reimplementations did, it is l = eigenvalues / 255
              for 0..255. About 5.5 grey levels.

    Returns float32. Raises ValueError for any other convention.
    """
    return shift_colors(images, color_shift(pca, draws, convention), DIVISORS[convention])


def color_shift(pca: ColorPCA, draws: np.ndarray, convention: str = "source") -> np.ndarray:
    """(N, 3) float32: the colour that `add_color` adds to each image, before it divides. Raises
    ValueError for an unknown convention."""
    if convention not in DIVISORS:
        raise ValueError(f"convention {convention!r}: expected 'source', 'variance' or 'paper'")
    if convention != "paper":
        strength = np.sqrt(pca.eigenvalues)
    else:
        strength = pca.eigenvalues / 255
    return ((0.1 * draws * strength) @ pca.eigenvectors.T).astype(np.float32)


def shift_colors(images: np.ndarray, shift: np.ndarray, divisor: float) -> np.ndarray:
    """float32 (N, H, W, C): (images[i] + shift[i]) / divisor, with shift (N, C)."""
    N, H, W, C = images.shape
    # (N, H, W, C) -> (N, H, W*C): whole rows of W*C numbers at once. Broadcasting along the three
    # channels alone is many times slower.
    out = images.reshape(N, H, W * C) + np.tile(shift, W)[:, None, :]
    if divisor != 1:
        out /= np.float32(divisor)
    return out.reshape(N, H, W, C)  # (N, H, W*C) -> (N, H, W, C)


def pca_color(images: np.ndarray, pca: ColorPCA, rng: np.random.Generator,
              convention: str = "source") -> np.ndarray:
    """`add_color` with a colour drawn for each image at each use (paper, section 4.1)."""
    return add_color(images, pca, rng.standard_normal((len(images), 3)), convention)
