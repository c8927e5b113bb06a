"""Images laid side by side as one, so that tiles fit them evenly.

Winograd's algorithm (winograd.py) computes m x m outputs at a time, and an image into which such
tiles do not go evenly has a rim that is computed and not used. Several images in a row, with a
border of zeros between them, waste less. In one dimension, with m = 4, 13 outputs and padding 1:

    one image      13 outputs                       4 tiles   4.0 per image
    two images     13 + 1 + 13 = 27 outputs         7 tiles   3.5 per image

Neighbours share their border, which is the padding of both:

    columns        0  a a a ... a  0  b b b ... b  0
    images            |<- size ->|    |<- size ->|
    pitch             |<- size + P ->|

The outputs whose windows see both a and b are computed and not used, too. In two dimensions four
images of 13 x 13 are one of 27 x 27: 49 tiles in place of 64.
"""
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..window import Pair, Window, ceil_div
from ..workers import parallel_for

MOST_IMAGES = 4      # per axis; more save hardly anything and leave more zeros on the last sheet
WORTH_COPYING = 0.9  # of the tiles at most must be left, or the copying costs what it saves


@dataclass(frozen=True)
class Layout:
    """`down` x `across` images on one sheet; corners of neighbours are `pitch` pixels apart."""

    down: int
    across: int
    pitch: Pair

    @property
    def together(self) -> int:
        """How many images are on a sheet."""
        return self.down * self.across

    def places(self) -> Iterator[tuple[int, int, int]]:
        """(number of the image among those together, its first row, its first column)."""
        for i in range(self.down):
            for j in range(self.across):
                yield i * self.across + j, i * self.pitch[0], j * self.pitch[1]


def best_layout(x_shape: tuple[int, ...], win: Window, m: int) -> Layout | None:
    """The layout with the fewest tiles of m x m outputs per image.

    None where it does not save a tenth of them, or where the batch has too few images.
    """
    _, H, W, _ = x_shape
    OH, OW = win.out(H, W)
    rows, row_share, row_pitch = _best_count(H, win.padding[0], OH, m)
    columns, column_share, column_pitch = _best_count(W, win.padding[1], OW, m)
    if row_share * column_share >= WORTH_COPYING or rows * columns > x_shape[0]:
        return None
    return Layout(rows, columns, (row_pitch, column_pitch))


def _best_count(size: int, padding: int, out: int, m: int) -> tuple[int, float, int]:
    """For one axis: how many images, their tiles as a share of those of single ones, the pitch."""
    pitch = max(size + padding, out)  # the outputs of neighbours must not overlap either
    tiles = {k: ceil_div((k - 1) * pitch + out, m) / k for k in range(1, MOST_IMAGES + 1)}
    # rounded, so that of counts which save nearly the same the smallest is taken
    count = min(tiles, key=lambda k: round(tiles[k] / tiles[1], 2))
    return count, tiles[count] / tiles[1], pitch


def lay(x: np.ndarray, layout: Layout, border: Pair, shape: Pair | None = None) -> np.ndarray:
    """Sheets of images (N,H,W,C) side by side, with a border of zeros around each.

    A sheet has the given `shape`, or is as large as its images need. Places without an image, on
    the last sheet, are zero.
    x (N,H,W,C)  ->  (N / together, height, width, C)
    """
    N, H, W, C = x.shape
    if shape is None:
        shape = ((layout.down - 1) * layout.pitch[0] + H + 2 * border[0],
                 (layout.across - 1) * layout.pitch[1] + W + 2 * border[1])
    sheets = np.empty((ceil_div(N, layout.together), *shape, C), x.dtype)

    def body(start: int, stop: int) -> None:
        for n in range(start, stop):
            sheets[n] = 0
            for i, row, column in layout.places():
                if n * layout.together + i < N:
                    corner = sheets[n, border[0] + row:, border[1] + column:]
                    corner[:H, :W] = x[n * layout.together + i]

    parallel_for(len(sheets), body)
    return sheets


def take_apart(y: np.ndarray, layout: Layout, shape: tuple[int, int, int]) -> np.ndarray:
    """The outputs of each image by itself; those that belong to no image are left out.

    y (N / together, height, width, O), shape (N, OH, OW)  ->  (N,OH,OW,O)
    """
    N, OH, OW = shape
    images = np.empty((N, OH, OW, y.shape[3]), y.dtype)

    def body(start: int, stop: int) -> None:
        for n in range(start, stop):
            for i, row, column in layout.places():
                if n * layout.together + i < N:
                    images[n * layout.together + i] = y[n, row:row + OH, column:column + OW]

    parallel_for(len(y), body)
    return images
