"""What the JSON of a speed benchmark says, as Markdown tables and as one figure."""
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minitorch_alex.errors import UsageError
from minitorch_alex.files import write_atomic

from . import harness
from .workloads import ABOUT, CONTENDERS, PACKAGES

WAYS = {"train": "training", "inference": "inference"}  # key in the JSON -> in words


# Parts of tables


def table(heading: str, note: str, rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table under a heading and a note; the first row is its head."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = ["| " + " | ".join(line) + " |" for line in (head, rule, *body)]
    return "\n".join([f"### {heading}", "", *([note, ""] if note else []), *lines])


def who_of(summaries: Iterable[Mapping[str, Any]],
           order: Iterable[str] = CONTENDERS) -> list[str]:
    """The contenders that occur in any of the summaries, in their order."""
    present = {name for summary in summaries for name in summary}
    return [name for name in order if name in present]


def number(value: float | None) -> str:
    """A number with about three digits; empty for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def with_range(ratio: Sequence[float] | None) -> str:
    """[median, least, largest] as text; empty for None."""
    return f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})" if ratio else ""


# The tables


def speed(heading: str, part: dict, key: str = "train",
          order: Iterable[str] = CONTENDERS) -> str:
    """Images per second of each workload by each contender, and how much faster ours is."""
    names = who_of((entry["summary"] for entry in part.values()), order)
    rows = [[name, *(_speed_cell(entry["summary"].get(who), key) for who in names)]
            for name, entry in part.items()]
    # The star is explained only where there is one.
    noisy = any(row["noisy"] for entry in part.values() for row in entry["summary"].values())
    note = ("Images per second, median. In parentheses, how many times as fast ours is: median, "
            "least and largest ratio of one round.")
    if noisy:
        note += " With a star, some samples were disturbed by other programs."
    return table(heading, note, [["workload", *names], *rows])


def _speed_cell(row: dict | None, key: str) -> str:
    if not row or row.get(key) is None:
        return ""
    text = number(row[key])
    ratio = row.get(f"{key}_ratio")
    if ratio:
        one_round = ratio[1] == ratio[2]  # a range of a single value is no range
        spread = "" if one_round else f", {ratio[1]:.2f} to {ratio[2]:.2f}"
        text += f" ({ratio[0]:.2f}{spread})"
    return text + (" *" if row["noisy"] else "")


def _left_out(content: dict) -> str:
    """One line for each contender that is missing in a row of the section speed, and why."""
    lines = [f"* not installed: {text}" for name, text in PACKAGES.items()
             if name not in content["machine"]]
    for name, entry in content.get("speed", {}).items():
        for who, samples in entry.get("samples", {}).items():
            if samples and "error" in samples[-1]:
                reason = samples[-1]["error"].removeprefix("RuntimeError: ")
                lines.append(f"* `{who}` on {name}: {reason}")
    return "\n".join(["Left out:", "", *lines]) if lines else ""


def _winograd(part: dict) -> str:
    """How much faster the option --winograd is than all others."""
    base = "ours-winograd"
    rows = [(name, key, harness.summarise(entry.get("samples", {}), WAYS, base))
            for name, entry in part.items()
            if entry["summary"].get(base, {}).get("train")
            for key in WAYS]
    if not rows:
        return ""
    names = [who for who in who_of(summary for _, _, summary in rows) if who != base]
    lines = []
    for name, key, summary in rows:
        ratios = [summary.get(who, {}).get(f"{key}_ratio") for who in names]
        lines.append([name, WAYS[key], *map(with_range, ratios)])
    note = (f"How many times as fast as the others {base} is: median, least and largest ratio of "
            "one round.")
    return table("With --winograd", note, [["workload", "", *names], *lines])


def _memory(part: dict) -> str:
    names = who_of(entry["summary"] for entry in part.values())
    rows = [[name, *(number(entry["summary"].get(who, {}).get("peak_mb")) for who in names)]
            for name, entry in part.items()]
    return table("Memory", "Peak resident memory of a process that trains and infers, in MB.",
                 [["workload", *names], *rows])


def _ceilings(part: dict, speed: dict) -> str:
    """The speed of the machine's parts, and the share of it that each contender reaches."""
    machine = part["machine"]
    threads = machine["threads"]
    ways = {
        "one_thread": "one thread",
        "own_threads": f"{threads} threads of ours, BLAS with one each",
        "blas_threads": f"{threads} threads of BLAS",
    }
    kinds = ("gemm", "copy", "add")
    rows = [[text, *(number(machine["rates"][way].get(kind)) for kind in kinds)]
            for way, text in ways.items()]
    note = f"The best of several; NumPy with {machine['setting'].get('blas', 'some BLAS')}."
    ceilings = table("Ceilings", note,
                     [["", "matrix product, GFLOP/s", "copy, GB/s", "add, GB/s"], *rows])
    floors = {name: entry for name, entry in part["floors"].items() if name in speed}
    return "\n\n".join([ceilings, _efficiency(floors, speed)]) if floors else ceilings


def _efficiency(floors: dict, speed: dict) -> str:
    names = who_of(entry["summary"] for entry in speed.values())
    rows = []
    for name, floor in floors.items():
        ceiling = floor["images_per_second"]
        speeds = [speed[name]["summary"].get(who, {}).get("train") for who in names]
        shares = [f"{100 * one / ceiling:.0f} %" if one else "" for one in speeds]
        work = f"{floor['gflop_per_image']:.3g}"
        rows.append([name, work, number(ceiling), *shares])
    note = ("Training speed as a share of what the fastest matrix product above would allow if "
            "all other work took no time. The gradient of the images is not counted: nobody "
            "computes it.")
    head = ["workload", "GFLOP per image", "ceiling, img/s", *names]
    return table("Efficiency", note, [head, *rows])


LAYERS = ("Milliseconds forward / backward, each layer alone, the fastest of several; then how "
          "many times as fast ours is, both ways together.")


def layers(name: str, entry: dict, note: str, order: Iterable[str] = CONTENDERS,
           digits: int = 1) -> str:
    """Milliseconds of each layer by each contender, and how much faster ours is.

    Ratios of layers that are too fast for the `digits` shown are left out.
    """
    seconds = {who: dict(entry["seconds"][who]) for who in who_of([entry["seconds"]], order)}
    for times in seconds.values():
        times["sum"] = [sum(column) for column in zip(*times.values())]
    others = [who for who in seconds if who != "ours"] if "ours" in seconds else []
    shortest = 0.05 * 10 ** -(digits + 2)  # seconds: half of the last digit in milliseconds
    rows = []
    for layer in next(iter(seconds.values()), {}):
        times = {who: seconds[who][layer] for who in seconds}
        cells = [f"{1e3 * forward:.{digits}f} / {1e3 * backward:.{digits}f}"
                 for forward, backward in times.values()]
        visible = others and sum(times["ours"]) > shortest
        ratios = [f"{sum(times[who]) / sum(times['ours']):.2f}" if visible else ""
                  for who in others]
        rows.append([layer, *cells, *ratios])
    head = ["layer", *seconds, *(f"to {who}" for who in others)]
    return table(f"Layers of {name}", note, [head, *rows])


def _overhead(part: dict) -> str:
    rows = [[name, f"{1e3 * e['tensors']:.1f}", f"{1e3 * e['bare']:.1f}",
             f"{e['ratio']:.3f} ({e['least']:.2f} to {e['largest']:.2f})"]
            for name, e in part.items()]
    note = ("A training step through Tensors compared with the same kernels called one after the "
            "other, in turn in one process; the ratio with that of its quietest and loudest pair.")
    head = ["workload", "Tensors, ms", "bare kernels, ms", "ratio"]
    return table("Overhead", note, [head, *rows])


def _ideas(name: str, summary: dict) -> str:
    rows = [[idea, number(row["train"]), _share(row)]
            for idea, row in summary.items() if row["train"]]
    note = ("Images per second in training with all ideas, and with one change; then the share of "
            "the speed with all ideas: median, least and largest of the rounds.")
    return table(f"Ideas, {name}", note, [["", "images per second", "share"], *rows])


def _share(row: dict) -> str:
    """The ratios all / this, turned around: the least share is that of the largest ratio."""
    if "train_ratio" not in row:
        return ""
    middle, least, largest = row["train_ratio"]
    return with_range([1 / middle, 1 / largest, 1 / least])


def _growth(name: str, rows: list[dict]) -> str:
    names = who_of(rows)
    columns = [(who, key) for key in WAYS for who in names]
    lines = [[row["threads"], row["batch"],
              *(number(row.get(who, {}).get(key)) for who, key in columns)]
             for row in rows]
    head = ["threads", "batch", *(f"{WAYS[key]}, {who}" for who, key in columns)]
    return table(f"Growth of {name.rsplit('-b', 1)[0]}",
                 "Images per second by threads and batch size.", [head, *lines])


def tables(content: dict) -> str:
    """All that the JSON holds, as Markdown."""
    rows = content.get("speed", {})
    parts = [_trial(content), machine(content)]
    parts.append("\n".join(f"* `{name}`: {ABOUT[name]}"
                           for name in who_of(entry["summary"] for entry in rows.values())))
    if rows:
        parts += [speed("Training", rows), speed("Inference", rows, "inference"),
                  _left_out(content), _winograd(rows)]
    if "memory" in content:
        parts.append(_memory(content["memory"]))
    if "floors" in content.get("ceilings", {}):
        parts.append(_ceilings(content["ceilings"], rows))
    parts += [layers(name, entry, LAYERS) for name, entry in content.get("layers", {}).items()]
    if "overhead" in content:
        parts.append(_overhead(content["overhead"]))
    parts += [_ideas(name, entry["summary"]) for name, entry in content.get("ideas", {}).items()]
    parts += [_growth(name, grown) for name, grown in content.get("growth", {}).items()]
    return "\n\n".join(part for part in parts if part)


def _trial(content: dict) -> str:
    """A warning on top of numbers that --quick measured."""
    quick = any("--quick" in run["command"] for run in content.get("runs", {}).values())
    return "**From a quick trial with batches of 4: these are not measurements.**" if quick else ""


def machine(content: dict) -> str:
    """The machine, the versions, and when it was measured."""
    m = content["machine"]
    packages = [f"{text} {m[name]}" for name, text in PACKAGES.items() if name in m]
    return (f"{m['cpu']}, {m['cpus']} CPUs; Python {m['python']}, NumPy {m['numpy']} "
            f"({m.get('blas', 'unknown BLAS')}), {', '.join(packages) or 'PyTorch absent'}; "
            f"{content['date']}, commit {content['commit']}.")


SUMMARY = {
    "ours": "ours",
    "torch": "PyTorch as installed",
    "torch-malloc": "malloc tuned",
    "torch-best": "at its best",
    "torch-compile": "`torch.compile`",
    "jax": "JAX",
    "tinygrad": "tinygrad",
}
# The last columns: ours compared with these.
COMPARED = {"torch": "as installed", "torch-best": "at its best"}


def summary(content: dict) -> str:
    """The table of the README: training only, and few contenders."""
    rows = {name: entry["summary"] for name, entry in content["speed"].items()}
    names = who_of(rows.values(), SUMMARY)
    ratios = [name for name in COMPARED if name in names]
    lines = [["training, images per second", *(SUMMARY[name] for name in names),
              *(f"ours / {COMPARED[name]}" for name in ratios)]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])
    for name, row in rows.items():
        net, batch = name.rsplit("-b", 1)
        speeds = [number(row.get(who, {}).get("train")) for who in names]
        gains = [row.get(who, {}).get("train_ratio") for who in ratios]
        lines.append([f"`{net}`, batch {batch}", *speeds,
                      *(f"{gain[0]:.2f}" if gain else "" for gain in gains)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# The figure


COLOURS = {
    "ours": "#c8451b",
    "ours-winograd": "#e58a5f",
    "torch-best": "#12354f",
    "torch-lrn": "#285d83",
    "torch-nhwc": "#4d86ad",
    "torch-malloc": "#8fb3cc",
    "torch": "#c9dbe7",
    "torch-compile-nhwc": "#4f7a4a",
    "torch-compile": "#9dbb94",
    "jax": "#7b5ea7",
    "tinygrad": "#d3a53b",
    "dezero": "#b9bec4",
}
TO = "torch-malloc"
INK = "#2b3036"
FAINT = "#66707a"
STYLE = {
    "font.size": 9.5,
    "text.color": INK,
    "svg.fonttype": "none",
    "axes.edgecolor": "#9aa3ad",
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "grid.color": "#e8ebee",
    "xtick.color": "#9aa3ad",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
Panel = dict[str, dict[str, float]]  # workload -> contender -> relative speed


def plot(content: dict, path: Path) -> None:
    """Draw images per second relative to torch-malloc: training left, inference right.

    Raises UsageError when the JSON does not hold them, DiskError when the file cannot be written.
    """
    part = {name: entry["summary"] for name, entry in content.get("speed", {}).items()
            if entry["summary"].get(TO, {}).get("train_ratio")}
    if not part:
        raise UsageError(f"--plot: the section speed has no round of both ours and {TO}; measure "
                         "these first")
    panels = {f"{text}, speed relative to {TO}":
              {name: relative(summary, TO, key) for name, summary in part.items()}
              for key, text in WAYS.items()}
    m = content["machine"]
    note = f"{m['cpu']}, {m['cpus']} CPUs; PyTorch {m.get('torch')}; {content['date']}"
    bars(panels, COLOURS, note, path)


def relative(summary: dict, to: str, key: str) -> dict[str, float]:
    """contender -> its speed over that of `to`, both as ratios of ours: as in the table."""
    reference = summary[to][f"{key}_ratio"][0]
    return {who: reference / row.get(f"{key}_ratio", [1])[0] for who, row in summary.items()
            if who == "ours" or f"{key}_ratio" in row}


def bars(panels: dict[str, Panel], colours: dict[str, str], note: str, path: Path) -> None:
    """Draw {title: panel} side by side: for each workload one bar per contender, in the order of
    their colours. Raises DiskError when the file cannot be written."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = [who for who in colours
             if any(who in row for panel in panels.values() for row in panel.values())]
    places, labels, end = _arrange(panels, names)
    with rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.25 + 0.155 * end), dpi=160)
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, panel) in zip(all_axes, panels.items()):
            _draw_panel(axes, title, panel, places, colours)
        ticks = [name.replace("-b", "\nbatch ") for name in labels]
        all_axes[0].set_yticks(list(labels.values()), ticks)
        all_axes[0].invert_yaxis()
        # One legend for all panels, with each contender once.
        handles = {label: handle for axes in all_axes
                   for handle, label in zip(*axes.get_legend_handles_labels())}
        figure.legend([handles[who] for who in names], names, loc="upper center",
                      ncols=len(names), frameon=False, handlelength=1.1, columnspacing=1.4)
        inch = 1 / figure.get_figheight()  # as a part of the figure's height
        figure.text(0.99, 0.05 * inch, note, ha="right", fontsize=7.5, color=FAINT)
        figure.tight_layout(rect=(0, 0.1 * inch, 1, 1 - 0.3 * inch))
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix.removeprefix("."))
    write_atomic(path, [buffer.getvalue()])


def _arrange(panels: dict[str, Panel], names: list[str],
             ) -> tuple[dict[tuple[str, str], float], dict[str, float], float]:
    """((workload, contender) -> height of its bar, workload -> height of its label, the end).

    The panels share their heights: a contender has a place if any of them knows it.
    """
    workloads = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    places = {}
    labels = {}
    y = 0.0
    for name in workloads:
        present = [who for who in names
                   if any(who in panel.get(name, {}) for panel in panels.values())]
        labels[name] = y + (len(present) - 1) / 2
        for who in present:
            places[name, who] = y
            y += 1
        y += 0.9  # a gap between two workloads
    return places, labels, y


def _draw_panel(axes: Any, title: str, panel: Panel, places: dict[tuple[str, str], float],
                colours: dict[str, str]) -> None:
    """The bars of one panel, each with its value."""
    for (name, who), place in places.items():
        value = panel.get(name, {}).get(who)
        if value is None:
            continue
        ours = who == "ours"
        # A white box behind each value, so that no line of the grid crosses it.
        axes.barh(place, value, 0.86, color=colours[who], label=who)
        axes.text(value, place, f" {value:.2f}", va="center", fontsize=8.5 if ours else 7.5,
                  fontweight="bold" if ours else "normal", color=INK,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})
    axes.axvline(1, color="#6b7680", linewidth=0.9, zorder=0.9)
    axes.set_title(title)
    axes.margins(x=0.1, y=0.01)
    axes.tick_params(axis="y", length=0)
