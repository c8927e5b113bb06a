"""A sheet: pictures of one size in columns, each with a caption, and what is laid over a picture.

    picture        picture        picture          one column for each image that is asked about
    its evidence   its evidence   its evidence     the rows below: what the network made of it
"""
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .style import (
    INK,
    drawable,
    heading,
    heading_width,
    load_matplotlib,
    new_figure,
    place,
    styled,
    write,
)

NOTE = "#66707a"
HEAT = "inferno"   # perceptually uniform: twice as bright is twice as much
SCALE = "viridis"  # the same, for numbers that a bar explains
PIXELS = 256       # side of what is laid over pictures
SIDE = 1.5         # of a panel; inches, as all that follows
GAP = 0.22
LINE = 0.19        # of a caption
SIZES = (9.5, 8.0)  # of the first line of a caption and of those below it; points


@dataclass(frozen=True)
class Panel:
    """A picture of a sheet: its pixels (H, W, 3), uint8 or 0..1; the lines above it, the first in
    bold type; and the colour of the first line."""

    image: np.ndarray
    lines: Sequence[str] = ()
    colour: str = INK
    key: Sequence[tuple[Any, str]] = ()  # colours and their meanings, to write below


@dataclass(frozen=True)
class Bar:
    """A scale at the right of one row of the sheet: from `low` to `high`, with a label."""

    row: int
    low: str
    high: str
    label: str
    colormap: str = SCALE


def sheet(columns: Sequence[Sequence[Panel]], path: str | os.PathLike, title: str = "",
          note: str = "", bar: Bar | None = None, across: int = 6) -> None:
    """Draw columns of panels next to each other, `across` of them at most; others follow below.

    All columns have as many panels. Raises UsageError and DiskError as style.write does.
    """
    depth = max((len(column) for column in columns), default=0)
    across = max(min(across, len(columns)), 1)
    bands = math.ceil(len(columns) / across)
    lines = [max((len(column[row].lines) for column in columns), default=0)
             for row in range(depth)]
    keys = max((len(panel.key) for column in columns for panel in column), default=0)
    heights = [SIDE + 0.1 + LINE * count for count in lines]  # of each row, with its captions
    band = sum(heights) + LINE * keys + 0.12
    above = 0.08 + 0.3 * bool(title) + 0.25 * bool(note)
    width = 0.3 + across * (SIDE + GAP) - GAP + 0.75 * (bar is not None)
    title = drawable(title, path)
    with styled():
        width = max(width, heading_width(title, note))
        figure = new_figure(figsize=(width, above + bands * band + 0.06), dpi=150)
        for i, column in enumerate(columns):
            left = 0.15 + i % across * (SIDE + GAP)
            top = figure.get_figheight() - above - i // across * band
            for row, panel in enumerate(column):
                low = top - sum(heights[:row + 1])
                _draw_panel(figure, panel, left, low, path)
                if bar is not None and row == bar.row and i % across == across - 1:
                    _draw_bar(figure, bar, left + SIDE + 0.12, low)
        heading(figure, title, note)
        write(figure, path)


def _draw_panel(figure: Any, panel: Panel, left: float, low: float,
                path: str | os.PathLike) -> None:
    """A panel with its lower left corner at a place."""
    axes = place(figure, left, low, SIDE, SIDE)
    interpolation = "nearest" if panel.image.shape[0] < 100 else "antialiased"
    axes.imshow(panel.image, interpolation=interpolation)
    for i, line in enumerate(panel.lines):
        last = len(panel.lines) - 1 - i  # lines below this one
        colour = panel.colour if i == 0 else NOTE
        _write(figure, drawable(line, path, 24), left, low + SIDE + 0.05 + LINE * last, colour,
               size=SIZES[0] if i == 0 else SIZES[1], weight="bold" if i == 0 else "normal")
    for i, (colour, text) in enumerate(panel.key):
        y = low - 0.06 - LINE * (i + 1) + 0.04
        patch = place(figure, left, y, 0.11, 0.11)
        patch.imshow(np.array([[colour]]), aspect="auto")
        _write(figure, drawable(text, path, 22), left + 0.17, y, INK, SIZES[1])


def _write(figure: Any, text: str, left: float, low: float, colour: Any, size: float,
           weight: str = "normal") -> None:
    """A line of text with its lower left corner at a place in inches."""
    w, h = figure.get_size_inches()
    figure.text(left / w, low / h, text, fontsize=size, fontweight=weight, color=colour,
                va="baseline")


def _draw_bar(figure: Any, bar: Bar, left: float, low: float) -> None:
    """The scale of a row of panels, right of them."""
    axes = place(figure, left, low, 0.12, SIDE)
    ramp = colours(np.linspace(1, 0, PIXELS)[:, None], bar.colormap)
    axes.imshow(ramp, aspect="auto", interpolation="nearest")
    for height, text, va in ((1, bar.high, "top"), (0, bar.low, "bottom")):
        axes.annotate(text, (1, height), (4, 0), xycoords="axes fraction",
                      textcoords="offset points", fontsize=SIZES[1], color=NOTE, va=va)
    axes.annotate(bar.label, (1, 0.5), (5, 0), xycoords="axes fraction", rotation=90,
                  textcoords="offset points", fontsize=SIZES[1], color=NOTE, va="center")


def colours(values: np.ndarray, colormap: str) -> np.ndarray:
    """(..., 3): numbers from 0 to 1 as the colours of a colour map."""
    return load_matplotlib().colormaps[colormap](values)[..., :3]


def smooth(values: np.ndarray, side: int = PIXELS) -> np.ndarray:
    """(side, side) of numbers (h, w), stretched over the picture: linear between the middles of
    their cells."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def enlarged(picture: np.ndarray, side: int = PIXELS) -> np.ndarray:
    """(side, side, 3) of a uint8 picture: pixels stay squares where they are few."""
    how = Image.Resampling.NEAREST if len(picture) < 100 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize((side, side), how))


def glow(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with the numbers of a heat map (h, w) laid over it: grey where there is
    none, and the more of the heat map's colour the more there is. 1 is the largest number; a map
    of zeros leaves the picture grey."""
    largest = float(heat.max())
    strength = smooth(heat / largest if largest > 0 else heat)[..., None]  # (S, S) -> (S, S, 1)
    grey = enlarged(picture) @ np.array([0.3, 0.59, 0.11]) / 255
    grey = 0.12 + 0.75 * grey[..., None]  # (S, S) -> (S, S, 1)
    share = np.clip(1.4 * strength, 0, 0.85)  # of the colour
    return (1 - share) * grey + share * colours(0.15 + 0.8 * strength[..., 0], HEAT)
