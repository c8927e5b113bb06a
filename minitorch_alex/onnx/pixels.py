"""From raw pixels to the network's input: what data.Transform does for a single view, as nodes."""
from dataclasses import dataclass

import numpy as np

from ..data import Transform
from .graph import Graph


@dataclass(frozen=True)
class Pixels:
    """Raw pixels as the input of a graph: pictures of side x side, prepared by `transform` as its
    single view does. As bytes (N, side, side, 3), or as floats (N, 3, side, side)."""

    side: int
    transform: Transform
    as_bytes: bool = False


def prepare(graph: Graph, pixels: Pixels) -> None:
    """Add the nodes from raw pixels to the network's input."""
    transform = pixels.transform.eval()
    side = pixels.side
    if pixels.as_bytes:
        floats = graph.add("Cast", [graph.last], "pixels.float", to=graph.onnx.TensorProto.FLOAT)
        # (N, S, S, 3) -> (N, 3, S, S)
        graph.last = graph.add("Transpose", [floats], "pixels.planes", perm=[0, 3, 1, 2])
    if transform.enlarge:
        _enlarge(graph, side, transform.enlarge)
    # Which window is cut, and what is subtracted in it, is asked of the transform itself: so the
    # graph cannot differ from it.
    black = np.zeros((1, side, side, 3), np.uint8)
    (draws,) = transform.view_draws(black.shape, "single")
    mean = -transform.apply(black, draws)[0]  # what is left of black is minus the mean
    h, w, _ = mean.shape
    if (h, w) != transform.source(side, side):
        # Windows are counted from the border that training adds, which is not added here.
        top = int(draws.rows[0]) - transform.pad if draws.rows is not None else 0
        left = int(draws.cols[0]) - transform.pad if draws.cols is not None else 0
        _cut_window(graph, top, left, h, w)
    _subtract(graph, mean)


def _enlarge(graph: Graph, side: int, size: int) -> None:
    """Bilinear, first the columns and then the rows, each rounded to whole numbers: as Pillow does
    it, and data/enlarge.py after it."""
    for axis, name in ((3, "columns"), (2, "rows")):
        scales = np.ones(4)
        scales[axis] = size / side
        factors = graph.constant(f"pixels.{name}.scales", scales)
        # "": no region of interest. half_pixel: a pixel's centre is at + 0.5.
        resized = graph.add("Resize", [graph.last, "", factors], f"pixels.{name}",
                            mode="linear", coordinate_transformation_mode="half_pixel")
        graph.last = graph.add("Round", [resized], f"pixels.{name}.whole")


def _cut_window(graph: Graph, top: int, left: int, height: int, width: int) -> None:
    """The rows and columns of the pixels that the network sees."""
    starts = graph.constant("pixels.window.starts", np.array([top, left]), np.int64)
    ends = graph.constant("pixels.window.ends", np.array([top + height, left + width]), np.int64)
    axes = graph.constant("pixels.window.axes", np.array([2, 3]), np.int64)
    graph.last = graph.add("Slice", [graph.last, starts, ends, axes], "pixels.window")


def _subtract(graph: Graph, mean: np.ndarray) -> None:
    """The pixels minus the mean (h, w, 3)."""
    mean = mean.transpose(2, 0, 1)  # (h, w, 3) -> (3, h, w)
    if (mean == mean[:, :1, :1]).all():
        mean = mean[:, :1, :1]  # one colour for all places: (3, h, w) -> (3, 1, 1), broadcast
    graph.last = graph.add("Sub", [graph.last, graph.constant("pixels.mean", mean)],
                           "pixels.centred")
