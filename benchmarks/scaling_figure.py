"""python -m benchmarks.scaling_figure: the pictures of docs/scaling.md, and the numbers of their curves.

The curves are those of the model (minitorch_alex/scaling.py). Points that were published have
their source below; those that were measured here come from results/scaling.json and hosts.json,
which benchmarks.scaling and benchmarks.hosts write. The curves' numbers go to
results/scaling_model.json.
"""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minitorch_alex import profile, scaling
from minitorch_alex.files import write_atomic
from minitorch_alex.plots.style import FAINT, INK, heading, new_figure, styled, write
from minitorch_alex.scaling import Link, Machines
from minitorch_alex.training import cli, runs
from minitorch_alex.training.architectures import blank

ROOT = Path(__file__).parent.parent
# Between processes of one machine, and between namespaces over cables of 100 to 1,000 Mbit/s.
MEASURED = (ROOT / "results" / "scaling.json", ROOT / "results" / "hosts.json")
RECORD = ROOT / "results" / "scaling_model.json"
EFFICIENCY = ROOT / "docs" / "scaling.png"
BYTES = ROOT / "docs" / "scaling_bytes.png"

COLOURS = {"data": "#1f6fb4", "data, overlapped": "#6fb1e8", "columns": "#c4532d",
           "hybrid": "#2a9d8f"}
PUBLISHED_COLOUR = "#8a5fb0"
MEASURED_COLOUR = "#222222"

# Eight GPUs a host, 400 GB/s between them and 400 Gb/s of network for each. Links are those of a
# data sheet, latencies and images per second are assumed.
GPUS = Machines(images_per_second=15_000, inside=Link(5e-6, 400e9), between=Link(10e-6, 400e9),
                ranks_per_host=8)
RANKS = tuple(2**k for k in range(11))


class Published(NamedTuple):
    """An efficiency that somebody measured, against so many times the speed of one device."""

    ranks: int
    efficiency: float
    what: str
    source: str
    checked: bool  # at its source; otherwise from memory


TABLE_2014 = "arXiv:1404.5997, table 1: hours of 90 epochs, batch 128 a GPU"
V100 = "tensorflow/benchmarks, issue 283: AlexNet, fp16, batch 128 a GPU"
PUBLISHED = (
    Published(2, 98.05 / 50.24 / 2, "hybrid, 2014", TABLE_2014, False),
    Published(4, 98.05 / 26.20 / 4, "hybrid, 2014", TABLE_2014, False),
    Published(8, 98.05 / 15.68 / 8, "hybrid, 2014", TABLE_2014, False),
    Published(2, 8_816 / 5_148 / 2, "data, V100", V100, True),
    Published(3, 10_350 / 5_148 / 3, "data, V100", V100, True),
    Published(4, 11_298 / 5_148 / 4, "data, V100", V100, True),
    Published(512, 0.68, "data, VGG-16, P100", "horovod/horovod 2626dc8, docs/benchmarks.rst",
              True),
)


class Batch(NamedTuple):
    """What AlexNet reached on ImageNet's validation set with a batch."""

    size: int
    accuracy: float  # top-1, in %
    how: str
    source: str
    checked: bool


BATCHES = (
    Batch(128, 57.67, "AlexNet of 2014, rate 0.01", TABLE_2014, False),
    Batch(1_024, 56.72, "the same, linear rate", TABLE_2014, False),
    Batch(8_192, 44.8, "Caffe's AlexNet, linear rate, warm-up",
          "arXiv:1708.03888, as in lcy-seso/LearningNotes", False),
    Batch(32_768, 58.6, "AlexNet with batch norm, LARS", "arXiv:1709.05011", False),
)


def alexnet() -> list[scaling.Layer]:
    """The layers of the paper's net."""
    return profile.layers_that_talk(blank("alexnet", 1000))


def weak(layers: Sequence[scaling.Layer], kind: str, images: int) -> list[float]:
    """Efficiency on RANKS with so many images a rank. One rank has no pair, and waits for nobody."""
    return [1.0] + [scaling.step_of(kind, layers, GPUS, ranks, images).efficiency
                    for ranks in RANKS[1:]]


def strong(layers: Sequence[scaling.Layer], batch: int) -> list[float]:
    """Efficiency of the best kind with `batch` images in all, on RANKS up to one image each."""
    kinds = ("data, overlapped", "hybrid")
    return [max(scaling.step_of(kind, layers, GPUS, ranks, batch / ranks).efficiency
                for kind in kinds) for ranks in RANKS if ranks <= batch]


def numbers(layers: Sequence[scaling.Layer]) -> dict[str, Any]:
    """What the pictures show, and what docs/scaling.md says of them."""
    whole = scaling.gradient_bytes(layers)
    fixed, per_image = scaling.hybrid_bytes(layers)
    column = scaling.column_bytes(layers)
    return {
        "gradient_bytes": whole, "column_bytes_per_image": column,
        "hybrid_bytes": fixed, "hybrid_bytes_per_image": per_image,
        "columns_cross_at": round(scaling.crossing(whole, 0, column)),
        "hybrid_crosses_at": round(scaling.crossing(whole, fixed, per_image)),
        "ranks": RANKS,
        "weak": {f"{kind}, {images} images a rank":
                 [round(e, 4) for e in weak(layers, kind, images)]
                 for images in (128, 32) for kind in scaling.KINDS},
        "strong": {str(batch.size): [round(e, 4) for e in strong(layers, batch.size)]
                   for batch in BATCHES},
        "published": [point._asdict() for point in PUBLISHED],
        "batches": [batch._asdict() for batch in BATCHES],
    }


def measured() -> list[dict[str, Any]]:
    """Points of the records: {"ranks": ..., "efficiency": ..., "what": ...}."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in MEASURED if file.exists()]
    return [point for record in records for point in record.get("points", [])]


# The pictures.


def draw_efficiency(layers: Sequence[scaling.Layer], points: Sequence[dict[str, Any]],
                    path: Path) -> None:
    """Above: as many images for every rank. Below: one batch, shared by ever more ranks, with the
    accuracy that was published for it."""
    with styled():
        figure = new_figure(figsize=(8.2, 9.4), dpi=140)
        upper, lower = figure.subplots(2)
        figure.subplots_adjust(left=0.09, right=0.80, top=0.89, bottom=0.085, hspace=0.34)
        heading(figure, "The batch ends before the wire does",
                "AlexNet on 1 to 1,024 ranks: images per second over those of ranks that need not "
                "talk.\nCurves: the model, 8 GPUs a host with 400 GB/s, 400 Gb/s of network for "
                "each, 15,000 img/s (assumed).")
        _draw_weak(upper, layers, points)
        _draw_strong(lower, layers)
        for axes in (upper, lower):
            axes.set_xscale("log", base=2)
            axes.set_xticks(RANKS, [f"{ranks:,}" for ranks in RANKS])
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
            axes.set(xlim=(0.9, 1024), ylim=(0, 1.04), xlabel="ranks")
        figure.text(0.09, 0.012, "* from memory or from notes, not checked at the source; the "
                    "recipes differ, see the table", fontsize=8.5, color="#66707a")
        write(figure, path)


def _draw_weak(axes: Any, layers: Sequence[scaling.Layer],
               points: Sequence[dict[str, Any]]) -> None:
    axes.set_title("the same number of images for every rank", fontweight="bold")
    for kind in ("data", "data, overlapped", "hybrid"):
        for images, dashes in ((128, "solid"), (32, (0, (4, 2)))):
            heights = weak(layers, kind, images)
            axes.plot(RANKS, heights, color=COLOURS[kind], linewidth=1.8, linestyle=dashes)
            shift = {("data", 128): 6, ("hybrid", 32): -6}.get((kind, images), 0)
            _name(axes, heights[-1], f"{kind}, {images}", COLOURS[kind], shift)
    _scatter(axes, [(p.ranks, p.efficiency) for p in PUBLISHED], PUBLISHED_COLOUR, "published")
    _scatter(axes, [(p["ranks"], p["efficiency"]) for p in points], MEASURED_COLOUR,
             "measured here (CPU)")
    for ranks, efficiency, text, shift in (
            (8, PUBLISHED[2].efficiency, "hybrid, 8 K20, 2014*", (-30, -16)),
            (4, PUBLISHED[5].efficiency, "data, 4 V100", (7, -4)),
            (512, 0.68, "data, VGG-16, 512 P100", (-118, 4))):
        axes.annotate(text, (ranks, efficiency), shift, textcoords="offset points", fontsize=8.5,
                      color=PUBLISHED_COLOUR)
    for point in points:
        if point["what"].endswith("Mbit/s"):  # "alexnet_cifar, 300 Mbit/s"
            axes.annotate(point["what"].split(", ")[1], (point["ranks"], point["efficiency"]),
                          (6, -13), textcoords="offset points", fontsize=8.5,
                          color=MEASURED_COLOUR)
    axes.legend(frameon=False, loc="lower center", fontsize=9)


def _scatter(axes: Any, places: Sequence[tuple[float, float]], colour: str, label: str) -> None:
    if places:
        xs, ys = zip(*places, strict=True)
        axes.scatter(xs, ys, s=34, color=colour, zorder=3, label=label, edgecolors="white",
                     linewidths=0.8)


def _name(axes: Any, height: float, text: str, colour: str, shift: float = 0) -> None:
    """A curve's name behind its end."""
    axes.annotate(text, (RANKS[-1], height), (6, shift), textcoords="offset points", fontsize=9,
                  va="center", color=colour, annotation_clip=False)


def _draw_strong(axes: Any, layers: Sequence[scaling.Layer]) -> None:
    axes.set_title("one batch, shared by all ranks; its published top-1 accuracy",
                   fontweight="bold")
    shades = ("#9fc3e6", "#5f9fd6", "#1f6fb4", "#123f6b")
    for batch, colour in zip(BATCHES, shades, strict=True):
        heights = strong(layers, batch.size)
        axes.plot(RANKS[:len(heights)], heights, color=colour, linewidth=2)
        mark = "" if batch.checked else "*"
        text = f"batch {batch.size:,}\n{batch.accuracy:.1f} %{mark}"
        place = -1, (6, 0)      # at the curve's end
        if batch.size < RANKS[-1]:
            place = 5, (-72, -6)  # it ends inside, among the others
        at, shift = place
        axes.annotate(text, (RANKS[:len(heights)][at], heights[at]), shift,
                      textcoords="offset points", fontsize=9, va="center", color=colour,
                      annotation_clip=False)


def draw_bytes(layers: Sequence[scaling.Layer], path: Path) -> None:
    """Bytes of a step over the batch, and where more features cross than gradients."""
    whole = scaling.gradient_bytes(layers)
    fixed, per_image = scaling.hybrid_bytes(layers)
    column = scaling.column_bytes(layers)
    batches = [2**(k / 4) for k in range(16, 61)]  # 16 to 32,768
    with styled():
        figure = new_figure(figsize=(8.2, 4.8), dpi=140)
        axes = figure.subplots()
        figure.subplots_adjust(left=0.10, right=0.83, top=0.80, bottom=0.13)
        heading(figure, "What a step of AlexNet moves",
                "In MB, on two ranks; on p ranks each sends 2 (p - 1)/p of it.")
        curves = (("data", [whole for _ in batches], COLOURS["data"]),
                  ("columns", [column * b for b in batches], COLOURS["columns"]),
                  ("hybrid", [fixed + per_image * b for b in batches],
                   COLOURS["hybrid"]))
        for name, sizes, colour in curves:
            axes.plot(batches, [size / 1e6 for size in sizes], color=colour, linewidth=2)
            axes.annotate(name, (batches[-1], sizes[-1] / 1e6), (6, 0), color=colour,
                          textcoords="offset points", va="center", annotation_clip=False)
        for crossing, colour in ((scaling.crossing(whole, 0, column), COLOURS["columns"]),
                                 (scaling.crossing(whole, fixed, per_image),
                                  COLOURS["hybrid"])):
            axes.plot([crossing] * 2, [1, whole / 1e6], color=FAINT, linewidth=1.2, zorder=0)
            axes.scatter([crossing], [whole / 1e6], s=36, color=colour, zorder=3)
            axes.annotate(f"{crossing:,.0f} images", (crossing, 1), (4, 6), fontsize=9,
                          textcoords="offset points", color=colour)
        axes.annotate(f"{whole / 1e6:.0f} MB of gradients", (16, whole / 1e6), (0, 6), fontsize=9,
                      textcoords="offset points", color=INK)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks([2**k for k in range(4, 16)], [f"{2**k:,}" for k in range(4, 16)],
                        fontsize=8.5)
        axes.set_yticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1,000", "10,000"])
        axes.set(xlim=(16, 32_768), ylim=(1, 12_000), xlabel="images in a batch, on all ranks")
        axes.minorticks_off()
        write(figure, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw both pictures and write the curves' numbers; the exit code."""
    parser = cli.parser("benchmarks.scaling_figure", "The pictures of docs/scaling.md.")
    parser.add_argument("--efficiency", type=Path, default=EFFICIENCY, metavar="FILE",
                        help="default: docs/scaling.png")
    parser.add_argument("--bytes", type=Path, default=BYTES, metavar="FILE",
                        help="default: docs/scaling_bytes.png")
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE",
                        help="default: results/scaling_model.json")
    args = parser.parse_args(argv)
    layers = alexnet()
    origin = runs.provenance(0)  # before the pictures change what is in the repository
    draw_efficiency(layers, measured(), args.efficiency)
    draw_bytes(layers, args.bytes)
    content = {**origin, "command": "python -m benchmarks.scaling_figure",
               "device": "none: a model", **numbers(layers)}
    write_atomic(args.record, [(json.dumps(content, indent=1) + "\n").encode()])
    print(f"{args.efficiency}\n{args.bytes}\n{args.record}")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
