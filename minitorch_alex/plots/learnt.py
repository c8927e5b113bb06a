"""What a network has learnt, as the paper shows it: predictions and neighbours (figure 4), kernels (figure 3), maps."""
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from .style import STYLE, heading, rgb, write

BAR, TRUE, NOTE = "#7d9cc0", "#c8451b", "#66707a"


def predictions(pictures: Sequence[np.ndarray], probs: np.ndarray, classes: Sequence[str], path: str | os.PathLike,
                names: Sequence[str], top: int = 5, labels: Sequence[int] | None = None, title: str = "") -> None:
    """Each picture with the bars of its `top` most probable classes beside it (paper, figure 4 left).

    pictures uint8 (H, W, 3) each, probs (N, K), K classes, N names to write above. With `labels`, the true classes, the
    name is the class, and its bar, if it is among the first, is red. ShapeError: they do not fit together.
    UsageError, DiskError: see style.write.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    N, K = probs.shape
    if not N == len(pictures) == len(names) or K != len(classes):
        raise ShapeError(f"predictions: got {len(pictures)} pictures, {len(names)} names, {len(classes)} classes and "
                         f"probabilities of shape {probs.shape}, expected N, N, K and (N, K)")
    columns = min(math.ceil(N / 4), 4) if N > 1 else 1
    rows = math.ceil(N / columns)
    top = min(top, K)
    side, bars, gap, above = max(1.3, 0.25 * top), 2.1, 0.3, 0.3
    width, height = side + 0.15 + bars + gap, side + above + 0.12
    with rc_context(STYLE):
        figure = Figure(figsize=(columns * width + 0.1, rows * height + 0.1 + 0.28 * bool(title)), dpi=150)
        for i, picture in enumerate(pictures):
            left, low = 0.2 + (i % columns) * width, 0.08 + (rows - 1 - i // columns) * height
            axes = _place(figure, left, low, side, side)
            axes.imshow(picture, interpolation="nearest" if picture.shape[0] < 100 else "antialiased")
            axes.annotate(_short(names[i], 38), (0, 1), xycoords="axes fraction", xytext=(0, 4),
                          textcoords="offset points", fontsize=10, fontweight="bold", va="bottom")
            axes = _place(figure, left + side + 0.15, low, bars, side)
            order = np.argsort(-probs[i], kind="stable")[:top]
            for place, k in enumerate(order):
                true = labels is not None and labels[i] == k
                axes.barh(place, probs[i, k], height=0.84, color=TRUE if true else BAR, alpha=0.55)
                axes.text(0.02, place, _short(classes[k], 26), va="center", fontsize=9.5)
                axes.text(1.36, place, f"{100 * probs[i, k]:.1f} %", va="center", ha="right", fontsize=8.5, color=NOTE)
            axes.set_xlim(0, 1.36)  # the numbers stand right of the longest bar
            axes.set_ylim(top - 0.5, -0.5)
        heading(figure, title, "")
        write(figure, path)


def _place(figure: Any, left: float, low: float, width: float, height: float) -> Any:
    """Axes without lines and ticks at a place in inches."""
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, low / h, width / w, height / h))
    axes.set_axis_off()
    return axes


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def kernels(weight: np.ndarray, path: str | os.PathLike, halves: int = 1, scale: str = "common", title: str = "",
            note: str = "") -> None:
    """The kernels of a first layer (O, 3, KH, KW) as colours, up to 16 in a row, one half of them below the other
    (paper, figure 3: the kernels of GPU 1 above, those of GPU 2 below). Grey is 0.

    scale   "common": one for all, which shows their strengths (shownet.py of the 2012 code); "each": each kernel its
            own, which shows the form of the weak ones too
    ShapeError: no colours, or halves that do not divide O. UsageError, DiskError: see style.write.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if weight.ndim != 4 or weight.shape[1] != 3 or weight.shape[0] % halves:
        raise ShapeError(f"kernels: got a weight of shape {weight.shape} in {halves} parts, expected (O, 3, KH, KW) "
                         "with O a multiple of them")
    largest = np.abs(weight).max(axis=(1, 2, 3) if scale == "each" else None, keepdims=True)
    tiles = (0.5 + 0.5 * weight / np.where(largest > 0, largest, 1)).transpose(0, 2, 3, 1)
    times = math.ceil(24 / weight.shape[2])  # a weight as so many pixels, to make the margins narrow
    tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
    count = len(tiles) // halves
    columns = math.ceil(count / math.ceil(count / 16))
    parts = [mosaic(part, columns, margin=3) for part in np.split(tiles, halves)]
    width = 8.0
    tall = [width * part.shape[0] / part.shape[1] for part in parts]
    with rc_context(STYLE):
        above = 0.12 + 0.3 * bool(title) + 0.25 * bool(note)
        figure = Figure(figsize=(width + 0.3, sum(tall) + 0.16 * (halves - 1) + above + 0.15), dpi=150)
        low = figure.get_figheight() - above
        for part, height in zip(parts, tall):
            low -= height
            _place(figure, 0.15, low, width, height).imshow(part, interpolation="nearest", aspect="auto")
            low -= 0.16
        heading(figure, title, note)
        write(figure, path)


def mosaic(tiles: np.ndarray, columns: int, margin: int) -> np.ndarray:
    """Tiles (N, H, W) or (N, H, W, 3) of values 0..1 in rows of `columns`, with margins of white between them."""
    N, H, W = tiles.shape[:3]
    rows = math.ceil(N / columns)
    whole = np.ones((rows * (H + margin) - margin, columns * (W + margin) - margin, *tiles.shape[3:]), np.float32)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (H + margin), i % columns * (W + margin)
        whole[top:top + H, left:left + W] = tile
    return whole


def maps(picture: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike, title: str = "",
         most: int = 32) -> None:
    """What layers make of a picture: the first `most` maps of each, (C, H, W) by name, bright where active.

    One scale a layer: brightness goes with the square root of the value over the largest one shown. A map that stays
    dark is silent for this picture.
    UsageError, DiskError: see style.write.
    """
    from matplotlib import colormaps, rc_context
    from matplotlib.figure import Figure

    columns, wide = 4, 1.5
    rows = max(math.ceil(min(len(a), most) / columns) for _, a in layers)
    tall, above = wide / columns * rows, 0.62 + 0.3 * bool(title)
    with rc_context(STYLE):
        figure = Figure(figsize=(0.3 + (wide + 0.22) * (1 + len(layers)), tall + above + 0.1), dpi=150)
        axes = _place(figure, 0.15, tall + 0.1 - wide, wide, wide)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title("picture", fontsize=10, pad=5)
        for i, (name, a) in enumerate(layers):
            shown = np.sqrt(np.clip(a[:most] / max(float(a[:most].max()), 1e-30), 0, 1))
            tiles = colormaps["magma"](shown)[..., :3]
            whole = mosaic(tiles, columns, margin=max(1, a.shape[1] // 12))
            height = wide * whole.shape[0] / whole.shape[1]
            axes = _place(figure, 0.15 + (wide + 0.22) * (i + 1), tall + 0.1 - height, wide, height)
            axes.imshow(whole, interpolation="nearest", aspect="auto")
            of = f"{len(shown)} of {len(a)}" if len(a) > len(shown) else f"{len(a)} maps"
            axes.set_title(f"{name}\n{of}, {a.shape[1]} × {a.shape[2]}", fontsize=9, pad=5, linespacing=1.4)
        heading(figure, title, "")
        write(figure, path)


def activations(layers: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike, title: str = "",
                note: str = "") -> None:
    """A histogram for each layer's values, with their mean, standard deviation and the share below 0, which a ReLU
    silences. UsageError, DiskError: see style.write."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    with rc_context(STYLE | {"axes.grid": False, "axes.spines.left": False, "xtick.labelsize": 8.5}):
        above = 0.1 + 0.3 * bool(title) + 0.25 * bool(note)
        figure = Figure(figsize=(2.5 * columns + 0.3, 1.75 * rows + above), dpi=150)
        for i, (name, a) in enumerate(layers):
            low, high = np.quantile(a, [0.0005, 0.9995])
            room = 0.05 * (high - low) or 1.0
            counts, edges = np.histogram(a, 60, (float(low - room), float(high + room)))
            low_edge = figure.get_figheight() - above - 1.75 * (i // columns) - 1.4
            axes = _place(figure, 0.2 + 2.5 * (i % columns), low_edge, 2.2, 0.85)
            axes.set_axis_on()
            middles = (edges[:-1] + edges[1:]) / 2
            colours = np.where((middles < 0)[:, None], rgb("#c3cad1"), rgb(BAR))
            axes.bar(middles, counts, edges[1] - edges[0], color=colours)
            axes.axvline(0, color=NOTE, linewidth=0.8)
            axes.set_yticks([])
            axes.locator_params(axis="x", nbins=5)
            axes.set_title(name, fontsize=10, fontweight="bold", pad=18)
            axes.text(0, 1.05, f"mean {a.mean():.3g}, std {a.std():.3g}, {100 * (a < 0).mean():.0f} % below 0",
                      transform=axes.transAxes, fontsize=8, color=NOTE)
        heading(figure, title, note)
        write(figure, path)


def neighbours(queries: np.ndarray, found: np.ndarray, query_classes: Sequence[str],
               found_classes: Sequence[Sequence[str]], path: str | os.PathLike, title: str = "",
               note: str = "") -> None:
    """Pictures in the first column, and beside each the pictures nearest to it (paper, figure 4 right).

    queries uint8 (N, H, W, 3), found uint8 (N, M, H, W, 3), the classes of both; a class that is not the query's is
    written in red. ShapeError: they do not fit. UsageError, DiskError: see style.write.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    N, M = found.shape[:2]
    if len(queries) != N or len(query_classes) != N or [len(row) for row in found_classes] != [M] * N:
        raise ShapeError(f"neighbours: got {len(queries)} queries of {len(query_classes)} classes, {found.shape[:2]} "
                         f"neighbours of {[len(row) for row in found_classes]} classes; they must fit together")
    side, gap, apart = 0.95, 0.1, 0.25
    above = 0.12 + 0.3 * bool(title) + 0.25 * bool(note)
    with rc_context(STYLE):
        figure = Figure(figsize=(0.3 + (M + 1) * (side + gap) + apart, N * (side + 0.26) + above + 0.05), dpi=150)
        for i in range(N):
            low = figure.get_figheight() - above - i * (side + 0.26) - side
            for j in range(M + 1):
                axes = _place(figure, 0.15 + j * (side + gap) + apart * (j > 0), low, side, side)
                axes.imshow(queries[i] if j == 0 else found[i, j - 1], interpolation="nearest")
                word = query_classes[i] if j == 0 else found_classes[i][j - 1]
                axes.annotate(_short(word, 15), (0, 0), xycoords="axes fraction", xytext=(0, -3),
                              textcoords="offset points", va="top", fontsize=8.5,
                              fontweight="bold" if j == 0 else "normal",
                              color=NOTE if word == query_classes[i] else TRUE)
        heading(figure, title, note)
        write(figure, path)
