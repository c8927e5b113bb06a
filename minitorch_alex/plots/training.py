"""How training went: the curves of one or several runs, and a confusion matrix."""
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ShapeError
from .style import (
    FAINT,
    INK,
    drawable,
    heading,
    load_matplotlib,
    new_figure,
    styled,
    write,
)

Rows = Sequence[Mapping[str, Any]]
Series = tuple[list[float], list[float]]  # a line: its epochs, its values
End = tuple[float, str, str]  # the last value of a line, the label there, its colour

TRAIN = "#7b8794"     # one run: training in slate,
HELD_OUT = "#c8451b"  # held-out data in vermilion
# Several runs: one colour per run.
RUNS = ("#c8451b", "#1f6f9f", "#3a8f4d", "#8a4fa0", "#b8860b", "#444c56")
BIG_DROP = 0.6  # a learning rate below this part of the last one is marked; a gentle decay is not
WRITTEN_CELLS = 25   # classes up to which the cells of a confusion matrix carry text
NAMED_CLASSES = 100  # classes up to which its axes carry names


def curves(runs: Rows | Mapping[str, Rows], path: str | os.PathLike, title: str = "",
           held_out: str = "validation") -> None:
    """Loss (left) and top-1 error in % (right) over the epochs, of one run's log or of several by
    name.

    A log is a sequence of rows of three kinds; other kinds and other keys are ignored:

        {"kind": "interval", "epoch": 3.25, "loss", "error"}    training, since the last such row
        {"kind": "epoch", "epoch": 4, "train_loss", "train_error", "val_loss", "val_error", "lr"}
        {"kind": "test", "epoch": 4, "test_loss", "test_error"}    the test set, once at the end

    Errors are in percent. "epoch" is the number of finished epochs, so 4 is the end of the fourth;
    the means of training over an epoch are drawn in its middle. A value that is missing, None or
    not finite leaves a gap. `held_out` names the data behind val_loss and val_error. Thin vertical
    lines mark sharp drops of the learning rate, of several runs in the colour of the run. The
    suffix of `path` chooses the format: png, svg or pdf. Raises UsageError for another suffix,
    DiskError when the figure cannot be written.
    """
    single = not isinstance(runs, Mapping)
    named = runs if isinstance(runs, Mapping) else {"": runs}
    logs: Mapping[str, Rows] = {drawable(name, path, 40): rows for name, rows in named.items()}
    with styled():
        from matplotlib.ticker import MaxNLocator

        figure = new_figure(dpi=160)
        panels = figure.subplots(1, 2)
        ends = [_draw_panel(panels[0], logs, "loss", single, held_out),
                _draw_panel(panels[1], logs, "error", single, held_out)]
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        tested = any(row["kind"] == "test" for rows in logs.values() for row in rows)
        note = "" if single else f"thick: {held_out}, thin: training" + ", diamond: test" * tested
        _arrange(figure, panels, ends, above=0.45 + 0.3 * bool(title) + 0.25 * bool(note))
        heading(figure, drawable(title, path), note)
        write(figure, path)


def losses(variants: Mapping[str, Sequence[Sequence[tuple[int, float]]]], path: str | os.PathLike,
           guess: float, title: str = "") -> None:
    """Training loss over the steps: one colour per variant, one line per training of it, which is
    a sequence of (step, loss) pairs. A dashed line marks the loss at chance level, ln C (`guess`),
    where a training that has stalled stays. Later variants have narrower lines, so that a line
    under another can be seen."""
    with styled():
        figure = new_figure(figsize=(8, 4.4), dpi=160, layout="constrained")
        axes = figure.subplots()
        axes.axhline(guess, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate("chance level, ln C", (1, guess), (0, -4),
                      xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                      va="top", fontsize=9.5)
        lowest = highest = guess
        for k, ((name, trainings), colour) in enumerate(zip(variants.items(), RUNS, strict=False)):
            for i, points in enumerate(trainings):
                axes.plot(*zip(*points, strict=True), color=colour,
                          linewidth=max(1.3, 3 - 0.6 * k), label=name if i == 0 else None)
                later = [loss for _, loss in points[len(points) // 4:]]
                lowest = min(lowest, *later)
                highest = max(highest, *later)
        room = 0.25 * (highest - lowest)  # the first steps may leave the figure at the top
        axes.set(xlabel="step", ylabel="training loss", xlim=(0, None))
        axes.set_ylim(max(0, lowest - 2 * room), highest + room)
        axes.set_title(title, fontsize=13, fontweight="bold")
        axes.legend(frameon=False, loc="lower left")
        write(figure, path)


def race(variants: Mapping[str, Sequence[Sequence[tuple[float, float]]]], path: str | os.PathLike,
         level: float, title: str = "") -> None:
    """Training error in % over the epochs: one colour per variant, one line per training of it,
    which is a sequence of (epoch, error) pairs. A dashed line marks the `level` at which they end.
    """
    with styled():
        figure = new_figure(figsize=(8, 4.4), dpi=160, layout="constrained")
        axes = figure.subplots()
        axes.axhline(level, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"{level:g} %", (1, level), (0, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", va="bottom", fontsize=9.5)
        for (name, trainings), colour in zip(variants.items(), RUNS, strict=False):
            for i, points in enumerate(trainings):
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8,
                          label=name if i == 0 else None)
        axes.set(xlabel="epoch", ylabel="training error, %", xlim=(0, None), ylim=(0, 100))
        axes.set_title(title, fontsize=13, fontweight="bold")
        axes.legend(frameon=False, loc="upper right")
        write(figure, path)


def rates(values: Sequence[float], losses: Sequence[float], smooth: Sequence[float], best: float,
          suggestion: float, path: str | os.PathLike, title: str = "") -> None:
    """A range test of the learning rate: the loss of each step over its rate, faint, and smoothed;
    the rate where the smoothed loss was least, and a suggestion. What is not finite, and what
    exploded above the first loss, leaves the figure at the top."""
    known = [loss for loss in smooth if np.isfinite(loss)] or [1.0]
    with styled({"axes.grid.axis": "both"}):
        figure = new_figure(figsize=(8, 4.4), dpi=160, layout="constrained")
        axes = figure.subplots()
        axes.plot(values, losses, color=TRAIN, linewidth=0.9, alpha=0.5, label="loss of the step")
        axes.plot(values, smooth, color=TRAIN, linewidth=2.2, label="smoothed")
        for rate, text, colour in ((best, f"least at {best:.2g}", INK),
                                   (suggestion, f"--lr {suggestion:g}", HELD_OUT)):
            axes.axvline(rate, color=colour, linewidth=1.3, linestyle=(0, (4, 3)))
            axes.annotate(text, (rate, 1), (4, -4), xycoords=("data", "axes fraction"),
                          textcoords="offset points", va="top", fontsize=10, color=colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.set(xlabel="learning rate", ylabel="training loss")
        top = min(1.3 * known[0], max([loss for loss in losses if np.isfinite(loss)] or known))
        bottom = min([loss for loss in losses if np.isfinite(loss)] or known)
        room = 0.08 * (top - bottom) or 0.1
        axes.set_ylim(bottom - 3 * room, top + room)
        axes.set_title(title, fontsize=13, fontweight="bold")
        axes.legend(frameon=False, loc="lower left")
        write(figure, path)


def dots(variants: Mapping[str, Sequence[float]], path: str | os.PathLike, label: str,
         title: str = "") -> None:
    """One row per variant: a dot for each of its values, a stroke at their mean, and the mean as a
    number."""
    with styled({"axes.spines.left": False, "axes.grid.axis": "x"}):
        figure = new_figure(figsize=(8, 1.3 + 0.5 * len(variants)), dpi=160, layout="constrained")
        axes = figure.subplots()
        for i, values in enumerate(variants.values()):
            mean = float(np.mean(values))
            axes.plot([mean, mean], [i - 0.27, i + 0.27], color=INK, linewidth=2)
            axes.plot(values, [i] * len(values), "o", color=RUNS[i % len(RUNS)], markersize=7,
                      alpha=0.75)
            axes.annotate(f"{mean:.1f}", (1, i), (6, 0), xycoords=("axes fraction", "data"),
                          textcoords="offset points", ha="left", va="center",
                          annotation_clip=False)
        axes.set_yticks(range(len(variants)), list(variants))
        axes.set_ylim(len(variants) - 0.5, -0.5)
        axes.margins(x=0.08)
        axes.set_xlabel(label)
        axes.set_title(title, fontsize=13, fontweight="bold")
        write(figure, path)


def confusion(matrix: np.ndarray, classes: Sequence[str], path: str | os.PathLike,
              title: str = "") -> None:
    """A confusion matrix: `matrix[i, j]` counts the images of class i taken for class j; (K, K)
    and K names.

    Each cell has its share of the row in % and, below it, the count. Right answers are blue,
    mistakes orange. The depth of colour goes with the square root of the share (orange is full at
    25 %), so that a mistake of 1 % can be seen next to 90 % of right answers. With more than 25
    classes the cells have no text, with more than 100 the axes have no names. Raises ShapeError
    when matrix and names do not fit, UsageError and DiskError as `curves` does.
    """
    matrix = np.asarray(matrix)
    k = len(classes)
    if matrix.shape != (k, k):
        raise ShapeError(f"confusion: got shape {matrix.shape} for {k} classes, expected {(k, k)}")
    total = matrix.sum()
    error = 100 * (1 - np.trace(matrix) / max(total, 1))
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colours = _cell_colours(matrix, share)
    note = f"top-1 error {error:.2f} % of {total} images"

    bare = {"axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False}
    with styled(bare):
        side = min(max(0.72 * k, 3.0), 11.0)
        figure = new_figure(figsize=(side + 1.9, side + 1.9), dpi=120)
        axes = figure.add_subplot()
        axes.imshow(colours, interpolation="nearest")
        if k <= WRITTEN_CELLS:
            _write_cells(axes, matrix, share, colours)
            note += "; in the cells, % of the row and count"
        if k <= NAMED_CLASSES:
            axes.hlines(np.arange(k + 1) - 0.5, -0.5, k - 0.5, color=FAINT, linewidth=0.5)
            axes.vlines(np.arange(k + 1) - 0.5, -0.5, k - 0.5, color=FAINT, linewidth=0.5)
        _name_classes(axes, [drawable(name, path, 30) for name in classes])
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.62 / (side + 1.9)))
        heading(figure, drawable(title, path), note)
        write(figure, path)


def _cell_colours(matrix: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(K, K, 4): blue for right answers, orange for mistakes, white where there are none."""
    colormaps = load_matplotlib().colormaps
    right = np.eye(len(matrix), dtype=bool)[:, :, None]  # (K, K) -> (K, K, 1)
    blue = colormaps["Blues"](0.85 * np.sqrt(share))
    orange = colormaps["Oranges"](0.75 * np.minimum(1, 2 * np.sqrt(share)))
    colours = np.where(right, blue, orange)
    colours[matrix == 0] = 1.0
    return colours


def _write_cells(axes: Any, matrix: np.ndarray, share: np.ndarray, colours: np.ndarray) -> None:
    """In each cell its share of the row in % and, below it, the count."""
    for (i, j), n in np.ndenumerate(matrix):
        if n:
            brightness = colours[i, j, :3] @ (0.3, 0.59, 0.11)
            cell: dict[str, Any] = {"ha": "center", "va": "center",
                                    "color": "white" if brightness < 0.55 else INK}
            axes.text(j, i - 0.12, _percent(float(share[i, j])), **cell, fontsize=11.5,
                      fontweight="bold" if i == j else "normal")
            axes.text(j, i + 0.25, f"{n}", **cell, fontsize=8.5, alpha=0.75)


def _name_classes(axes: Any, classes: Sequence[str]) -> None:
    """The classes at both axes: upright if there are many, none if there are too many."""
    k = len(classes)
    names = classes if k <= NAMED_CLASSES else []
    ticks = range(len(names))
    if k <= WRITTEN_CELLS:
        axes.set_xticks(ticks, names, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(ticks, names, rotation=90, ha="center", rotation_mode="default")
    axes.set_yticks(ticks, names)
    axes.tick_params(labelsize=11 if k <= WRITTEN_CELLS else 6, length=0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")


def _series(rows: Rows, kind: str, key: str,
            shift: float = 0.0) -> Series:
    """The epochs and values of `key` in the rows of a kind; NaN, a gap in the line, where there is
    none."""
    rows = [row for row in rows if row["kind"] == kind]
    values = [_finite(row.get(key)) for row in rows]
    if np.isnan(values).all():
        return [], []
    return [row["epoch"] + shift for row in rows], values


def _finite(value: float | None) -> float:
    return float("nan") if value is None or not np.isfinite(value) else float(value)


def _dots(series: Series) -> dict[str, Any]:
    """A short series shows its points, and a single point shows at all."""
    return {"marker": "o", "markersize": 3.2} if len(series[0]) <= 20 else {}


def _end(series: Series, text: str, colour: str, key: str) -> list[End]:
    """The label at the end of a line: its name and its last value."""
    known = [v for v in series[1] if not np.isnan(v)]
    if not known:
        return []
    value = f"{known[-1]:.3g}" if key == "loss" else f"{known[-1]:.1f} %"
    return [(known[-1], f"{text} {value}", colour)]


def _draw_panel(axes: Any, logs: Mapping[str, Rows], key: str, single: bool,
                held_out: str) -> list[End]:
    """The lines of one panel, "loss" or "error"; returns the labels to write at their ends."""
    ends: list[End] = []
    colours = [TRAIN if single else RUNS[i % len(RUNS)] for i in range(len(logs))]
    for (run, rows), colour in zip(logs.items(), colours, strict=True):
        if single:
            ends += _draw_single(axes, rows, key, held_out)
        else:
            ends += _draw_one_of_several(axes, rows, key, run, colour)
    _set_limits(axes, logs, key)
    axes.set_title("loss" if key == "loss" else "top-1 error, %")
    _mark_drops(axes, zip(logs.values(), colours, strict=True))
    return ends


def _draw_single(axes: Any, rows: Rows, key: str, held_out: str) -> list[End]:
    """The lines of the only run: every interval faintly, epochs, validation, and the test."""
    steps = _series(rows, "interval", key)
    means = _series(rows, "epoch", f"train_{key}", shift=-0.5)
    held = _series(rows, "epoch", f"val_{key}")
    tested = _series(rows, "test", f"test_{key}")
    axes.plot(*steps, color=TRAIN, linewidth=0.8, alpha=0.35 if means[0] else 1.0)
    axes.plot(*means, color=TRAIN, linewidth=1.6, **_dots(means))
    _draw_outcome(axes, held, tested, HELD_OUT, INK)
    return [*_end(means if means[0] else steps, "training", TRAIN, key),
            *_end(tested, "test", INK, key), *_end(held, held_out, HELD_OUT, key)]


def _draw_one_of_several(axes: Any, rows: Rows, key: str, run: str, colour: str) -> list[End]:
    """The lines of one run among others: its intervals would hide theirs, so they are drawn only
    where there are no epochs yet."""
    means = _series(rows, "epoch", f"train_{key}", shift=-0.5)
    held = _series(rows, "epoch", f"val_{key}")
    if not means[0]:
        axes.plot(*_series(rows, "interval", key), color=colour, linewidth=0.8)
    axes.plot(*means, color=colour, linewidth=1.0, **_dots(means))
    _draw_outcome(axes, held, _series(rows, "test", f"test_{key}"), colour, colour)
    return _end(held, run, colour, key)


def _draw_outcome(axes: Any, held: Series, tested: Series, colour: str, test_colour: str) -> None:
    """What images showed that were not trained on: a line for validation, a diamond for the test.
    """
    axes.plot(*held, color=colour, linewidth=2.0, clip_on=False, **_dots(held))
    axes.plot(*tested, color=test_colour, linestyle="", marker="D", markersize=5, clip_on=False)


def _set_limits(axes: Any, logs: Mapping[str, Rows], key: str) -> None:
    """Both axes from 0, up to a little above the largest value and to the last epoch."""
    values = [y for line in axes.lines for y in line.get_ydata() if np.isfinite(y)]
    top = 1.06 * max(values, default=0.0) or 1.0
    axes.set_ylim(0, min(top, 100) if key == "error" else top)
    epochs = [row.get("epoch", 0) for rows in logs.values() for row in rows]
    axes.set_xlim(0, max(epochs, default=0) or 1)


def _mark_drops(axes: Any, logs: Iterable[tuple[Rows, str]]) -> None:
    """A thin vertical line, with the new rate at its top, wherever the learning rate of a log fell
    sharply, in the log's colour. Where two logs fell to the same rate at once, it is grey."""
    drops: dict[tuple[float, float], str] = {}
    for rows, colour in logs:
        epochs = [row for row in rows if row["kind"] == "epoch" and row.get("lr")]
        for before, after in pairwise(epochs):
            if after["lr"] < BIG_DROP * before["lr"]:
                place = before["epoch"], after["lr"]
                drops[place] = TRAIN if place in drops else colour
    line = 0
    last = -np.inf
    for (epoch, rate), colour in sorted(drops.items()):
        # Close to the last mark its text would run into the other one: write it one line lower.
        near = epoch - last < 0.2 * axes.get_xlim()[1]
        line = line + 1 if near else 0
        last = epoch
        axes.axvline(epoch, color="#c3cad1" if colour == TRAIN else colour, linewidth=0.9,
                     zorder=1, alpha=1.0 if colour == TRAIN else 0.35)
        axes.annotate(f"lr {rate:.3g}", (epoch, 1), xycoords=("data", "axes fraction"),
                      xytext=(3, -2 - 12 * line), textcoords="offset points", va="top", fontsize=9,
                      color=colour)


def _arrange(figure: Any, panels: Sequence[Any], ends: Sequence[list[End]], above: float) -> None:
    """Lay out panels of 3.3 x 2.8 inches, with room for the labels to the right of each."""
    room = 0.15 + 0.087 * max((len(text) for panel in ends for _, text, _ in panel), default=0)
    left = 0.5
    below = 0.55
    width = 3.3
    height = 2.8
    figure.set_size_inches(2 * (left + width + room), below + height + above)
    for i, axes in enumerate(panels):
        x = left + i * (left + width + room)
        axes.set_position((x / figure.get_figwidth(), below / figure.get_figheight(),
                           width / figure.get_figwidth(), height / figure.get_figheight()))
        _label_ends(axes, ends[i])


def _label_ends(axes: Any, ends: list[End], gap: float = 0.065) -> None:
    """Write each label at the height of its line's end, pushed apart to `gap` of the panel's
    height."""
    ends = sorted(ends)
    heights = [y / axes.get_ylim()[1] for y, _, _ in ends]
    for _ in range(100):
        for i in range(1, len(heights)):
            overlap = max(0.0, gap - (heights[i] - heights[i - 1]))
            heights[i - 1] -= overlap / 2
            heights[i] += overlap / 2
        if heights and heights[0] < 0.02:
            heights[0] = 0.02
    for height, (_, text, colour) in zip(heights, ends):
        axes.text(1.02, height, text, transform=axes.transAxes, color=colour, va="center",
                  fontsize=10.5)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.1f}"
