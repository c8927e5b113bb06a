"""What a network has learnt: predictions and neighbours (the paper's figure 4), kernels (its
figure 3), maps and activations."""
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from .style import (
    drawable,
    heading,
    load_matplotlib,
    new_figure,
    place,
    rgb,
    styled,
    write,
)

BAR = "#7d9cc0"
TRUE = "#c8451b"
NOTE = "#66707a"


def predictions(pictures: Sequence[np.ndarray], probs: np.ndarray, classes: Sequence[str],
                path: str | os.PathLike, names: Sequence[str], top: int = 5,
                labels: Sequence[int] | np.ndarray | None = None, title: str = "") -> None:
    """Each image, and next to it the bars of its `top` most probable classes (paper, figure 4
    left).

    pictures uint8 (H, W, 3) each, probs (N, K), K classes, N names to write above. With `labels`,
    the true classes, the bar of the true class, if it is among the first, is red. Raises
    ShapeError when they do not fit together; UsageError and DiskError as style.write does.
    """
    N, K = probs.shape
    if not N == len(pictures) == len(names) or K != len(classes):
        raise ShapeError(f"predictions: got {len(pictures)} pictures, {len(names)} names, "
                         f"{len(classes)} classes and probabilities of shape {probs.shape}, "
                         "expected N, N, K and (N, K)")
    columns = min(math.ceil(N / 4), 4) if N > 1 else 1
    rows = math.ceil(N / columns)
    top = min(top, K)
    side = max(1.3, 0.25 * top)  # inches, as all that follows
    bars = 2.1
    shown = [drawable(name, path, 26) for name in classes]
    width = side + 0.15 + bars + 0.3
    height = side + 0.3 + 0.12
    with styled():
        size = (columns * width + 0.1, rows * height + 0.1 + 0.28 * bool(title))
        figure = new_figure(figsize=size, dpi=150)
        for i, picture in enumerate(pictures):
            row, column = divmod(i, columns)
            left = 0.2 + column * width
            low = 0.08 + (rows - 1 - row) * height
            axes = place(figure, left, low, side, side)
            interpolation = "nearest" if picture.shape[0] < 100 else "antialiased"
            axes.imshow(picture, interpolation=interpolation)
            axes.annotate(drawable(names[i], path, 38), (0, 1), xycoords="axes fraction",
                          xytext=(0, 4), textcoords="offset points", fontsize=10,
                          fontweight="bold", va="bottom")
            axes = place(figure, left + side + 0.15, low, bars, side)
            _draw_bars(axes, probs[i], shown, top, None if labels is None else labels[i])
        heading(figure, drawable(title, path), "")
        write(figure, path)


def _draw_bars(axes: Any, probs: np.ndarray, classes: Sequence[str], top: int,
               label: int | None) -> None:
    """The `top` most probable classes, the most probable one at the top; drawable names."""
    order = np.argsort(-probs, kind="stable")[:top]
    for row, k in enumerate(order):
        colour = TRUE if k == label else BAR
        axes.barh(row, probs[k], height=0.84, color=colour, alpha=0.55)
        axes.text(0.02, row, classes[k], va="center", fontsize=9.5)
        axes.text(1.36, row, f"{100 * probs[k]:.1f} %", va="center", ha="right", fontsize=8.5,
                  color=NOTE)
    axes.set_xlim(0, 1.36)  # room for the numbers to the right of the longest bar
    axes.set_ylim(top - 0.5, -0.5)


def kernels(weight: np.ndarray, path: str | os.PathLike, halves: int = 1, scale: str = "common",
            title: str = "", note: str = "") -> None:
    """The kernels of a first layer (O, 3, KH, KW) as colours, up to 16 in a row, one half of them
    below the other (paper, figure 3: the kernels of GPU 1 above, those of GPU 2 below). Grey is 0.

        scale   "common": one for all, which shows their strengths (shownet.py of the 2012 code)
                "each": one for each kernel, which shows the form of the weak ones too

    Raises ShapeError when the kernels have no colours or the halves do not divide O; UsageError
    and DiskError as style.write does.
    """
    if weight.ndim != 4 or weight.shape[1] != 3 or weight.shape[0] % halves:
        raise ShapeError(f"kernels: got a weight of shape {weight.shape} in {halves} parts, "
                         "expected (O, 3, KH, KW) with O a multiple of them")
    largest = np.abs(weight).max(axis=(1, 2, 3) if scale == "each" else None, keepdims=True)
    tiles = 0.5 + 0.5 * weight / np.where(largest > 0, largest, 1)
    tiles = tiles.transpose(0, 2, 3, 1)  # (O,3,KH,KW) -> (O,KH,KW,3)
    times = math.ceil(24 / weight.shape[2])  # pixels per weight, so that the margins are narrow
    tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
    count = len(tiles) // halves
    columns = math.ceil(count / math.ceil(count / 16))
    parts = [mosaic(part, columns, margin=3) for part in np.split(tiles, halves)]
    width = 8.0
    tall = [width * part.shape[0] / part.shape[1] for part in parts]
    with styled():
        above = 0.12 + 0.3 * bool(title) + 0.25 * bool(note)
        size = (width + 0.3, sum(tall) + 0.16 * (halves - 1) + above + 0.15)
        figure = new_figure(figsize=size, dpi=150)
        low = figure.get_figheight() - above
        for part, height in zip(parts, tall):
            low -= height
            axes = place(figure, 0.15, low, width, height)
            axes.imshow(part, interpolation="nearest", aspect="auto")
            low -= 0.16
        heading(figure, title, note)
        write(figure, path)


def mosaic(tiles: np.ndarray, columns: int, margin: int) -> np.ndarray:
    """Tiles (N, H, W) or (N, H, W, 3) of values 0..1 in rows of `columns`, with margins of white
    between them."""
    N, H, W = tiles.shape[:3]
    rows = math.ceil(N / columns)
    height = rows * (H + margin) - margin
    width = columns * (W + margin) - margin
    image = np.ones((height, width, *tiles.shape[3:]), np.float32)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        top = row * (H + margin)
        left = column * (W + margin)
        image[top:top + H, left:left + W] = tile
    return image


def maps(picture: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike,
         title: str = "", most: int = 32) -> None:
    """The feature maps of an image: the first `most` maps of each layer, (C, H, W) by name, bright
    where active.

    There is one scale per layer: brightness grows with the square root of the value over the
    largest one shown. A map that stays dark is silent for this image. Raises UsageError and
    DiskError as style.write does.
    """
    colormap = load_matplotlib().colormaps["magma"]
    columns = 4
    width = 1.5  # inches, of the image and of each layer's maps together
    rows = max(math.ceil(min(len(a), most) / columns) for _, a in layers)
    tallest = width / columns * rows
    above = 0.62 + 0.3 * bool(title)
    with styled():
        size = (0.3 + (width + 0.22) * (1 + len(layers)), tallest + above + 0.1)
        figure = new_figure(figsize=size, dpi=150)
        axes = place(figure, 0.15, tallest + 0.1 - width, width, width)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title("image", fontsize=10, pad=5)
        for i, (name, a) in enumerate(layers):
            brightness = np.sqrt(np.clip(a[:most] / max(float(a[:most].max()), 1e-30), 0, 1))
            tiles = colormap(brightness)[..., :3]  # (C,H,W) -> (C,H,W,3)
            image = mosaic(tiles, columns, margin=max(1, a.shape[1] // 12))
            height = width * image.shape[0] / image.shape[1]
            left = 0.15 + (width + 0.22) * (i + 1)
            axes = place(figure, left, tallest + 0.1 - height, width, height)
            axes.imshow(image, interpolation="nearest", aspect="auto")
            count = f"{most} of {len(a)}" if len(a) > most else f"{len(a)} maps"
            axes.set_title(f"{name}\n{count}, {a.shape[1]} × {a.shape[2]}", fontsize=9, pad=5,
                           linespacing=1.4)
        heading(figure, title, "")
        write(figure, path)


def activations(layers: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike, title: str = "",
                note: str = "") -> None:
    """A histogram for each layer's values, with their mean, standard deviation and the share below
    0, which a ReLU silences. Raises UsageError and DiskError as style.write does."""
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    with styled({"axes.grid": False, "axes.spines.left": False, "xtick.labelsize": 8.5}):
        above = 0.1 + 0.3 * bool(title) + 0.25 * bool(note)
        figure = new_figure(figsize=(2.5 * columns + 0.3, 1.75 * rows + above), dpi=150)
        for i, (name, a) in enumerate(layers):
            low, high = np.quantile(a, [0.0005, 0.9995])
            room = 0.05 * (high - low) or 1.0
            counts, edges = np.histogram(a, 60, (float(low - room), float(high + room)))
            low_edge = figure.get_figheight() - above - 1.75 * (i // columns) - 1.4
            axes = place(figure, 0.2 + 2.5 * (i % columns), low_edge, 2.2, 0.85)
            axes.set_axis_on()
            middles = (edges[:-1] + edges[1:]) / 2
            colours = np.where((middles < 0)[:, None], rgb("#c3cad1"), rgb(BAR))
            axes.bar(middles, counts, edges[1] - edges[0], color=colours)
            axes.axvline(0, color=NOTE, linewidth=0.8)
            axes.set_yticks([])
            axes.locator_params(axis="x", nbins=5)
            axes.set_title(name, fontsize=10, fontweight="bold", pad=18)
            measures = (f"mean {a.mean():.3g}, std {a.std():.3g}, "
                        f"{100 * (a < 0).mean():.0f} % below 0")
            axes.text(0, 1.05, measures, transform=axes.transAxes, fontsize=8, color=NOTE)
        heading(figure, title, note)
        write(figure, path)


def neighbours(queries: np.ndarray, found: np.ndarray, query_classes: Sequence[str],
               found_classes: Sequence[Sequence[str]], path: str | os.PathLike, title: str = "",
               note: str = "") -> None:
    """Images in the first column, and to the right of each the images nearest to it (paper, figure
    4 right).

    queries uint8 (N, H, W, 3), found uint8 (N, M, H, W, 3), the classes of both; a class that is
    not the query's is written in red. Raises ShapeError when they do not fit; UsageError and
    DiskError as style.write does.
    """
    N, M = found.shape[:2]
    lengths = [len(row) for row in found_classes]
    if len(queries) != N or len(query_classes) != N or lengths != [M] * N:
        raise ShapeError(f"neighbours: got {len(queries)} queries of {len(query_classes)} "
                         f"classes, {found.shape[:2]} neighbours of {lengths} classes; they must "
                         "fit together")
    side = 0.95  # inches, as all that follows
    gap = 0.1
    apart = 0.25  # between the queries and their neighbours
    above = 0.12 + 0.3 * bool(title) + 0.25 * bool(note)
    with styled():
        size = (0.3 + (M + 1) * (side + gap) + apart, N * (side + 0.26) + above + 0.05)
        figure = new_figure(figsize=size, dpi=150)
        for i in range(N):
            low = figure.get_figheight() - above - i * (side + 0.26) - side
            for j in range(M + 1):
                axes = place(figure, 0.15 + j * (side + gap) + apart * (j > 0), low, side, side)
                axes.imshow(queries[i] if j == 0 else found[i, j - 1], interpolation="nearest")
                word = query_classes[i] if j == 0 else found_classes[i][j - 1]
                axes.annotate(drawable(word, path, 15), (0, 0), xycoords="axes fraction",
                              xytext=(0, -3), textcoords="offset points", va="top", fontsize=8.5,
                              fontweight="bold" if j == 0 else "normal",
                              color=NOTE if word == query_classes[i] else TRUE)
        heading(figure, title, note)
        write(figure, path)
