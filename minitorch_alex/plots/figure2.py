"""A network drawn in the manner of the paper's figure 2.

Each layer's maps are a box in perspective, the kernel's window is a smaller box in it, and fully
connected layers are bars; groups are one above the other, as the paper's two GPUs are.
"""
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import nn
from ..errors import UsageError
from ..kernels.window import pair
from .style import INK, heading, new_figure, rgb, styled, write

Layers = Sequence[tuple[str, nn.Module, tuple[int, ...]]]  # name, layer, output shape without N
Point = tuple[float, float]

PLAIN = "#7d93a8"                # the maps of a network without groups
HALVES = ("#4f7ea8", "#c98a3c")  # those of its halves
KERNEL = "#c8451b"
NOTE = "#66707a"

# Inches:
SLANT = (0.36, 0.27)  # where one unit of a map's width goes on paper
TALL = 1.85           # the largest map
DEEP = 0.95           # the deepest box
BAR = 1.5             # the largest bar
GAP = 0.66            # between two boxes
COLUMN = 1.16         # the least from the start of one box to that of the next


@dataclass
class Stage:
    """One box: the input or a layer with weights, and the layers that follow it."""

    name: str
    shape: tuple[int, ...]                    # (C, H, W), or (features,)
    kind: str = "input"                       # "input", "conv", "local", "dense"
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    groups: int = 1
    window: tuple[float, float] = (0.0, 0.0)  # the kernel as a part of the map that it slides over
    after: list[str] = field(default_factory=list)
    pooled: str = ""
    parts: int = 1                            # how many boxes it is drawn as, one above the other


def stages(layers: Layers, input_shape: tuple[int, int, int]) -> list[Stage]:
    """The boxes of a network: the input, then one for each layer with weights."""
    boxes = [Stage("input", input_shape)]
    shape: tuple[int, ...] = input_shape
    for name, layer, after in layers:
        if isinstance(layer, nn.Conv2d | nn.LocallyConnected2d):
            kernel = pair(layer.kernel_size, "kernel_size", 1)
            window = min(kernel[0] / shape[1], 1.0), min(kernel[1] / shape[2], 1.0)
            kind = "conv" if isinstance(layer, nn.Conv2d) else "local"
            groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
            boxes.append(Stage(name, after, kind, kernel, pair(layer.stride, "stride", 1), groups,
                               window))
        elif isinstance(layer, nn.Linear):
            boxes.append(Stage(name, after, "dense"))
        elif isinstance(layer, nn.MaxPool2d):
            boxes[-1].pooled = "max\npooling"
        elif isinstance(layer, nn.AvgPool2d):
            boxes[-1].pooled = "average\npooling"
        elif isinstance(layer, nn.LocalResponseNorm):
            boxes[-1].after.append("LRN in maps" if layer.within_map else "LRN")
        elif isinstance(layer, nn.ReLU | nn.Tanh | nn.Dropout):
            words = {nn.ReLU: "ReLU", nn.Tanh: "tanh", nn.Dropout: "dropout"}
            boxes[-1].after.append(words[type(layer)])
        shape = after
    rows = max(stage.groups for stage in boxes)
    if 1 < rows <= 4:
        for stage in boxes[1:-1]:  # the classes are one bar: each sees both halves
            if stage.shape[0] % rows == 0:
                stage.parts = rows
    return boxes


def network(layers: Layers, input_shape: tuple[int, int, int], path: str | os.PathLike,
            title: str = "", note: str = "") -> None:
    """Draw a network from its layers and their output shapes.

    Heights and depths grow more slowly than sizes do, so that small maps can be seen. A
    convolution's box has the size of its output, before the pool that may follow. Raises
    UsageError when no layer has weights and for a suffix other than png, svg and pdf, DiskError
    when the figure cannot be written.
    """
    boxes = stages(layers, input_shape)
    if len(boxes) == 1:
        raise UsageError("this network has no layer with weights: there is nothing to draw")
    with styled():
        figure = new_figure(dpi=150)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_aspect("equal")
        sketch = _Sketch(axes, boxes)
        sketch.draw()
        left, right, low, high = sketch.extent()
        high += 0.3 * bool(title) + 0.25 * bool(note)
        figure.set_size_inches(right - left, high - low)
        axes.set_xlim(left, right)
        axes.set_ylim(low, high)
        heading(figure, title, note)
        write(figure, path)


class _Box:
    """One box on paper, in inches: the front (x, y, depth, height), and the maps' width going back
    along `slant`.

             +------+
            /      /|
           +------+ |  height
           |      | +
           |      |/   slant
           +------+
             depth
    """

    def __init__(self, x: float, middle: float, depth: float, height: float, width: float) -> None:
        self.x = x
        self.depth = depth
        self.height = height
        self.slant = (SLANT[0] * width, SLANT[1] * width)
        self.y = middle - (height + self.slant[1]) / 2

    def at(self, depth: float, back: float, up: float) -> Point:
        """The place of a point of the box, each coordinate from 0 to 1."""
        return (self.x + depth * self.depth + back * self.slant[0],
                self.y + up * self.height + back * self.slant[1])

    def faces(self) -> list[list[Point]]:
        """Front, top, right."""
        return [[self.at(d, b, u) for d, b, u in corners] for corners in (
            ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)),
            ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
            ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)))]


class _Sketch:
    """The drawing: boxes laid out from left to right, then connections, boxes and words."""

    def __init__(self, axes: Any, boxes: list[Stage]) -> None:
        self.axes = axes
        self.stages = boxes
        maps = [s for s in boxes if len(s.shape) == 3]
        most = {"side": max(max(s.shape[1:]) for s in maps),
                "deep": max(s.shape[0] // s.parts for s in maps),
                "features": max((s.shape[0] // s.parts for s in boxes if len(s.shape) == 1),
                                default=1)}
        sizes = [self._size(s, most) for s in boxes]
        self.pitch = 0.4 + max((h + SLANT[1] * w for s, (_, h, w) in zip(boxes, sizes)
                                if s.parts > 1), default=0.0)
        self.places: list[list[_Box]] = []
        x = 0.0
        for stage, (depth, height, width) in zip(boxes, sizes):
            self.places.append([_Box(x, self._middle(r, stage.parts), depth, height, width)
                                for r in range(stage.parts)])
            x += max(depth + SLANT[0] * width + GAP, COLUMN)

    def _size(self, stage: Stage, most: dict[str, int]) -> tuple[float, float, float]:
        """(depth, height, width) in inches."""
        if len(stage.shape) == 1:
            share = stage.shape[0] // stage.parts / most["features"]
            return 0.16, max(BAR * share ** 0.4, 0.3), 0.22
        C, H, W = stage.shape
        scale = TALL / most["side"] ** 0.6
        depth = max(DEEP * (C // stage.parts / most["deep"]) ** 0.6, 0.09)
        return depth, scale * H ** 0.6, scale * W ** 0.6

    def _middle(self, row: int, parts: int) -> float:
        return self.pitch * ((parts - 1) / 2 - row)

    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, low, high) of all that was drawn, with a margin."""
        boxes = [box for column in self.places for box in column]
        right = max(box.x + box.depth + box.slant[0] for box in boxes)
        high = max(box.y + box.height + box.slant[1] for box in boxes)
        lines = max(len(s.after) + (s.groups > 1) + (s.kind in ("conv", "local"))
                    for s in self.stages)
        return -0.55, right + 0.35, self.floor - 0.35 - 0.17 * lines, high + 0.2

    def draw(self) -> None:
        self.floor = min(box.y for column in self.places for box in column) - 0.55
        for i in range(1, len(self.stages)):
            connect = self._dense if self.stages[i].kind == "dense" else self._slide
            connect(i)
        for i, stage in enumerate(self.stages):
            for row, box in enumerate(self.places[i]):
                self._paint(stage, row, box)
            self._words(i)

    def _paint(self, stage: Stage, row: int, box: _Box) -> None:
        from matplotlib.patches import Polygon

        colour = HALVES[row % 2] if stage.parts > 1 else PLAIN
        for face, light in zip(box.faces(), (0.72, 0.82, 0.62)):
            tint = [light + (1 - light) * c for c in rgb(colour)]
            self.axes.add_patch(Polygon(face, facecolor=(*tint, 0.8), edgecolor=colour,
                                        linewidth=0.8, zorder=3, joinstyle="round"))
        if len(stage.shape) == 1:
            self._write(box.at(0.5, 0, 0), (0, -0.06), f"{stage.shape[0] // stage.parts}",
                        va="top")
            return
        C, H, W = stage.shape
        self._write(box.at(0.5, 0, 0), (0, -0.06), f"{C // stage.parts}", va="top")
        self._write(box.at(0, 0, 0.2), (-0.05, 0), f"{H}", ha="right")
        self._write(box.at(1, 0.55, 0), (0.05, -0.06), f"{W}", ha="left", va="top")

    def _write(self, place: Point, shift: Point, text: str, **style: Any) -> None:
        """Text next to a place, with a white rim that keeps it readable on top of lines."""
        from matplotlib.patheffects import withStroke

        style = {"ha": "center", "va": "center", "fontsize": 9, "color": INK, "zorder": 7,
                 "linespacing": 1.05} | style
        self.axes.text(place[0] + shift[0], place[1] + shift[1], text,
                       path_effects=[withStroke(linewidth=2.2, foreground="white")], **style)

    def _slide(self, i: int) -> None:
        """The window of stage i in the boxes before it, and the pyramid from each to the box it
        makes."""
        stage = self.stages[i]
        before = self.places[i - 1]
        here = self.places[i]
        for row, box in enumerate(here):
            for other, source in enumerate(before):
                own = other == row or len(before) != len(here)
                if stage.groups > 1 and not own:
                    continue
                up = 0.5
                if len(before) != len(here):  # several windows on one input: one below the other
                    up = 0.7 - 0.4 * row / max(len(here) - 1, 1)
                self._pyramid(stage, source, up, box.at(0, 0, 0.6), strength=1.0 if own else 0.55)

    def _pyramid(self, stage: Stage, box: _Box, up: float, tip: Point, strength: float) -> None:
        """A window in `box`, centred at the height `up`, and lines from its corners to the tip."""
        from matplotlib.patches import Polygon

        tall = max(stage.window[0], 0.06 / box.height)
        wide = max(stage.window[1], 0.06 / box.slant[0])
        ends = [(0.5 + sx * wide / 2, up + sy * tall / 2)
                for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        hidden: dict[str, Any] = {"linestyle": (0, (3, 2)), "alpha": 0.6, "linewidth": 0.6,
                                  "zorder": 5}
        for b, u in ends:
            self.axes.plot(*zip(box.at(1, b, u), tip), color=KERNEL, linewidth=0.7 * strength,
                           alpha=strength, zorder=5)
            if strength == 1:
                self.axes.plot(*zip(box.at(0, b, u), box.at(1, b, u)), color=KERNEL, **hidden)
        self.axes.plot(*tip, marker="o", markersize=2, color=KERNEL, zorder=6)
        if strength == 1:
            self.axes.add_patch(Polygon([box.at(0, b, u) for b, u in ends], fill=False,
                                        edgecolor=KERNEL, **hidden))
            self.axes.add_patch(Polygon([box.at(1, b, u) for b, u in ends],
                                        facecolor=(*rgb(KERNEL), 0.35), edgecolor=KERNEL,
                                        linewidth=0.8, zorder=5))

    def _dense(self, i: int) -> None:
        """Every unit sees everything: a fan from each box before to each bar."""
        from matplotlib.patches import Polygon

        for source in self.places[i - 1]:
            for bar in self.places[i]:
                corners = [source.at(1, 1, 1), bar.at(0, 0, 1), bar.at(0, 0, 0),
                           source.at(1, 1, 0)]
                self.axes.add_patch(Polygon(corners, facecolor=(*rgb(NOTE), 0.08),
                                            edgecolor="none", zorder=1))
                for a, b in (corners[:2], corners[2:]):
                    self.axes.plot(*zip(a, b), color=NOTE, linewidth=0.5, zorder=2)

    def _words(self, i: int) -> None:
        """Names and settings in a line at the bottom, strides, pools and "dense" in the gaps, as
        the paper has them."""
        stage = self.stages[i]
        column = self.places[i]
        x = column[0].x + column[0].depth / 2
        self.axes.text(x, self.floor, stage.name, ha="center", va="top", fontsize=11,
                       fontweight="bold")
        lines = []
        if stage.kind in ("conv", "local"):
            unshared = " unshared" if stage.kind == "local" else ""
            lines.append(f"{stage.kernel[0]} × {stage.kernel[1]}{unshared}")
        if stage.groups > 1:
            lines.append(f"{stage.groups} groups")
        lines += stage.after
        self.axes.text(x, self.floor - 0.23, "\n".join(lines), ha="center", va="top", fontsize=9,
                       color=NOTE, linespacing=1.3)
        if i:
            before = self.places[i - 1][-1]
            stride = f"stride\nof {stage.stride[0]}" if stage.stride[0] > 1 else ""
            gap = (before.x + before.depth + before.slant[0] + column[0].x) / 2
            words = "\n".join(filter(None, (self.stages[i - 1].pooled, stride)))
            self._write((gap, self.floor), (0, 0.05), words, va="bottom", fontsize=8.5, color=NOTE)
            if stage.kind == "dense":
                first = self.places[i - 1][0]
                top = max(first.y + first.height, column[0].y + column[0].height)
                self._write((gap, top), (0, 0.16), "dense", fontsize=8.5, color=NOTE)
