"""Figure 2 of Zeiler and Fergus (2013): what the maps of each convolution respond to.

    conv1   deconvolved | images   deconvolved | images   ...     one pair for each of four maps,
    conv2   deconvolved | images   ...                            nine activations in each
"""
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..nn import Module
from . import explain
from .learnt import mosaic
from .sheet import NOTE, SIZES
from .style import heading, new_figure, place, styled, write
from .subject import Subject

MAPS = 4        # of each layer, those with the strongest activations
SMALL = 24      # pixels: smaller tiles are enlarged, so that the margins between them are narrow
BLOCK = 0.98    # side of nine tiles; inches, as all that follows
APART = 0.05    # between the two blocks of a map
GAP = 0.24      # between maps
BELOW = 0.36    # between layers, with the caption


class Tiles(NamedTuple):
    """What is drawn of one map: (n, side, side, 3) each, values 0..1."""

    projections: np.ndarray
    patches: np.ndarray


def projections(subject: Subject, layers: Mapping[str, str],
                strongest: Mapping[str, explain.Strongest], path: Path) -> None:
    """Draw the strongest activations of each layer (convolution -> the layer behind which its maps
    are), projected back, next to what they look at."""
    rows = {}
    for convolution, layer in layers.items():
        best = strongest[layer]
        rows[convolution] = [tiles_of(subject, layer, best, c) for c in different_maps(best)]
    pair = 2 * BLOCK + APART
    above = 0.7
    with styled():
        size = (0.3 + MAPS * (pair + GAP) - GAP, above + len(rows) * (BLOCK + BELOW))
        figure = new_figure(figsize=size, dpi=150)
        for i, (convolution, maps) in enumerate(rows.items()):
            low = figure.get_figheight() - above - i * (BLOCK + BELOW) - 0.24 - BLOCK
            for j, tiles in enumerate(maps):
                left = 0.15 + j * (pair + GAP)
                for block, x in ((tiles.projections, left), (tiles.patches, left + BLOCK + APART)):
                    axes = place(figure, x, low, BLOCK, BLOCK)
                    axes.imshow(nine(block), interpolation="nearest")
            side = rows[convolution][0].patches.shape[1]
            _caption(figure, convolution, f"parts of {side} × {side} pixels", low + BLOCK + 0.06)
        heading(figure, f"{subject.title}: what maps respond to",
                f"the nine strongest activations of four maps among {len(subject.images):,} "
                f"{subject.split} images: deconvolved (left, grey is 0), and what they look at")
        write(figure, path)


def different_maps(best: explain.Strongest) -> list[int]:
    """MAPS maps, the most strongly activated first. One that responds to the same images as a map
    before it, to more than a third of them, waits until no others are left."""
    chosen: list[int] = []
    waiting: list[int] = []
    for c in np.argsort(-best.values.mean(axis=1), kind="stable").tolist():
        common = [np.isin(best.images[c], best.images[other]).mean() for other in chosen]
        (waiting if max(common, default=0) > 1 / 3 else chosen).append(c)
    return [*chosen, *waiting][:MAPS]


def _caption(figure: Any, name: str, note: str, low: float) -> None:
    """The name of a layer, bold, and a note next to it."""
    w, h = figure.get_size_inches()
    figure.text(0.15 / w, low / h, name, fontsize=SIZES[0], fontweight="bold")
    figure.text((0.15 + 0.085 * len(name) + 0.12) / w, low / h, note, fontsize=SIZES[1],
                     color=NOTE)


def tiles_of(subject: Subject, layer: str, best: explain.Strongest, c: int) -> Tiles:
    """The activations of map c, projected back to the pixels and cut to what they look at."""
    images = subject.images.images[best.images[c]]
    x = subject.batch(images).data
    front, _ = explain.cut(subject.model, layer)
    shape = front(explain.Tensor(x)).shape  # (n, C, h, w)
    seed = np.zeros(shape, np.float32)
    rows, columns = np.divmod(best.places[c], shape[3])
    seed[np.arange(len(seed)), c, rows, columns] = best.values[c]
    signal = backend.to_numpy(explain.deconvolve(subject.model, x, layer, backend.asarray(seed)))
    signal = signal.transpose(0, 2, 3, 1)  # (n, 3, H, W) -> (n, H, W, 3)
    # A few pixels outshine all others: the strongest hundredth of the part that is shown is full.
    windows = [window(list(front), int(row), int(column), shape=signal.shape[1:3])
               for row, column in zip(rows, columns)]
    parts = np.stack([a[part] for a, part in zip(signal, windows)])
    strong = np.quantile(np.abs(parts), 0.99, axis=(1, 2, 3), keepdims=True)
    shades = 0.5 + 0.5 * np.clip(parts / np.where(strong > 0, strong, 1), -1, 1)
    seen = subject.seen(images) / 255
    return Tiles(shades, np.stack([a[part] for a, part in zip(seen, windows)]))


def window(layers: list[Module], row: int, column: int,
           shape: tuple[int, int]) -> tuple[slice, slice]:
    """The part of an image of that shape that a unit looks at, moved inside where it reaches past
    an edge, and no larger than the image: of the same size for all units of a map."""
    first_row, last_row, first_column, last_column = explain.field(layers, row, column)
    result = []
    for first, last, extent in ((first_row, last_row, shape[0]),
                                (first_column, last_column, shape[1])):
        side = min(last - first + 1, extent)
        start = min(max(first, 0), extent - side)
        result.append(slice(start, start + side))
    return result[0], result[1]


def nine(tiles: np.ndarray) -> np.ndarray:
    """Tiles (n, side, side, 3) in three columns, small ones enlarged."""
    times = math.ceil(SMALL / tiles.shape[1])
    tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
    return mosaic(tiles, 3, margin=max(1, tiles.shape[1] // 16))
