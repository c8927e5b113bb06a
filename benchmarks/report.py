"""What the JSON of a speed benchmark says, as Markdown tables and as one picture."""
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minitorch_alex.errors import UsageError
from minitorch_alex.files import write_atomic

from . import harness
from .workloads import ABOUT, CONTENDERS


def table(heading: str, note: str, rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join([f"### {heading}", "", *([note, ""] if note else []),
                      *("| " + " | ".join(line) + " |" for line in lines)])


def who_of(summaries: Iterable[dict], order: Iterable[str] = CONTENDERS) -> list[str]:
    """The contenders that occur, in their order."""
    found = {name for summary in summaries for name in summary}
    return [name for name in order if name in found]


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def speed(heading: str, part: dict, key: str = "train", order: Iterable[str] = CONTENDERS) -> str:
    """Images a second of each workload by each contender, and how they stand to ours."""
    names = who_of((entry["summary"] for entry in part.values()), order)

    def cell(row: dict | None) -> str:
        if not row or row.get(key) is None:
            return ""
        ratio = row.get(f"{key}_ratio")
        spread = "" if not ratio or ratio[1] == ratio[2] else f", {ratio[1]:.2f} to {ratio[2]:.2f}"
        return number(row[key]) + (f" ({ratio[0]:.2f}{spread})" if ratio else "") + " *" * bool(row["noisy"])

    noisy = any(row["noisy"] for entry in part.values() for row in entry["summary"].values())
    note = ("Images a second, median. In brackets, how many times as fast ours is: median, least and largest ratio of "
            "one round." + " A star: some samples were disturbed by other programs." * noisy)
    return table(heading, note, [
        ["workload", *names],
        *([name, *(cell(entry["summary"].get(who)) for who in names)] for name, entry in part.items())])


def _winograd(part: dict) -> str:
    """How the option stands to all others."""
    base, keys = "ours-winograd", {"train": "training", "inference": "inference"}
    rows = [(name, key, harness.summarise(entry.get("samples", {}), keys, base)) for name, entry in part.items()
            if entry["summary"].get(base, {}).get("train") for key in keys]
    if not rows:
        return ""
    names = [who for who in who_of(summary for _, _, summary in rows) if who != base]

    def cell(ratio: list[float] | None) -> str:
        return f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})" if ratio else ""

    return table("With --winograd", f"How many times as fast as the others {base} is: median, least and largest ratio "
                 "of one round.", [
                     ["workload", "", *names],
                     *([name, keys[key], *(cell(summary.get(who, {}).get(f"{key}_ratio")) for who in names)]
                       for name, key, summary in rows)])


def _memory(part: dict) -> str:
    names = who_of(entry["summary"] for entry in part.values())
    return table("Memory", "Peak resident memory of a process that trains and infers, in MB.", [
        ["workload", *names],
        *([name, *(number(entry["summary"].get(who, {}).get("peak_mb")) for who in names)]
          for name, entry in part.items())])


def _ceilings(part: dict, speed: dict) -> str:
    machine, names = part["machine"], who_of(entry["summary"] for entry in speed.values())
    hows = (("one_thread", "one thread"), ("own_threads", f"{machine['threads']} threads of ours, BLAS with one each"),
            ("blas_threads", f"{machine['threads']} threads of BLAS"))
    first = table("Ceilings", f"The best of several; NumPy with {machine['setting'].get('blas', 'some BLAS')}.", [
        ["", "matrix product, GFLOP/s", "copy, GB/s", "add, GB/s"],
        *([text, *(number(machine["rates"][how].get(kind)) for kind in ("gemm", "copy", "add"))]
          for how, text in hows)])
    floor = {name: entry for name, entry in part["floors"].items() if name in speed}
    if not floor:
        return first

    def efficiency(name: str, who: str) -> str:
        got = speed[name]["summary"].get(who, {}).get("train")
        return f"{100 * got / floor[name]['images_per_second']:.0f} %" if got else ""

    return first + "\n\n" + table(
        "Efficiency", "Training speed as a share of what the fastest matrix product above would allow, all other work "
        "taking no time. The images' own gradient is not counted: nobody computes it.", [
            ["workload", "GFLOP an image", "ceiling, img/s", *names],
            *([name, f"{entry['gflop_per_image']:.3g}", number(entry["images_per_second"]),
               *(efficiency(name, who) for who in names)] for name, entry in floor.items())])


def layers(name: str, entry: dict, note: str, order: Iterable[str] = CONTENDERS, digits: int = 1) -> str:
    """Milliseconds of each layer by each contender, and how they stand to ours."""
    seconds = {who: entry["seconds"][who] for who in who_of([entry["seconds"]], order)}
    for times in seconds.values():
        times["sum"] = [sum(column) for column in zip(*times.values())]
    others = [who for who in seconds if who != "ours"] if "ours" in seconds else []

    def line(layer: str) -> list[str]:
        times = {who: seconds[who][layer] for who in seconds}
        seen = others and sum(times["ours"]) > 0.05 * 10 ** -(digits + 2)
        return [layer, *(f"{1e3 * there:.{digits}f} / {1e3 * back:.{digits}f}" for there, back in times.values()),
                *(f"{sum(times[who]) / sum(times['ours']):.2f}" if seen else "" for who in others)]

    return table(f"Layers of {name}", note, [["layer", *seconds, *(f"to {who}" for who in others)],
                                             *(line(layer) for layer in next(iter(seconds.values()), {}))])


def _overhead(part: dict) -> str:
    return table("Overhead", "A training step through Tensors against the same kernels called one after the other, in "
                 "turn in one process; the ratio with its quietest and loudest pair.", [
                     ["workload", "Tensors, ms", "bare kernels, ms", "ratio"],
                     *([name, f"{1e3 * e['tensors']:.1f}", f"{1e3 * e['bare']:.1f}",
                        f"{e['ratio']:.3f} ({e['least']:.2f} to {e['largest']:.2f})"] for name, e in part.items())])


def _ideas(name: str, row: dict) -> str:
    def share(entry: dict) -> str:
        middle, low, high = (f"{1 / entry['train_ratio'][i]:.2f}" for i in (0, 2, 1))
        return f"{middle} ({low} to {high})"

    return table(f"Ideas, {name}", "Images a second in training with everything, and with one thing changed; then the "
                 "share of the speed with everything: median, least and largest of the rounds.", [
                     ["", "images a second", "share"],
                     *([idea, number(entry["train"]), share(entry) if "train_ratio" in entry else ""]
                       for idea, entry in row.items() if entry["train"])])


def _growth(name: str, rows: list[dict]) -> str:
    names = who_of(rows)
    cells = [[row["threads"], row["batch"], *(number(row.get(who, {}).get(key)) for key in ("train", "inference")
                                             for who in names)] for row in rows]
    return table(f"Growth of {name.rsplit('-b', 1)[0]}", "Images a second by threads and batch size.", [
        ["threads", "batch", *(f"{key}, {who}" for key in ("training", "inference") for who in names)], *cells])


LAYERS = ("Milliseconds forward / backward, each layer by itself, the fastest of several; then how many times as fast "
          "ours is, both ways together.")


def tables(content: dict) -> str:
    """All that the JSON holds."""
    machine, rows = content["machine"], content.get("speed", {})
    trial = any("--quick" in run["command"] for run in content.get("runs", {}).values())
    parts = ["**Of a quick trial, with batches of 4: these are no measurements.**" if trial else "",
             f"{machine['cpu']}, {machine['cpus']} CPUs; Python {machine['python']}, NumPy {machine['numpy']} "
             f"({machine.get('blas', 'unknown BLAS')}), PyTorch {machine.get('torch', 'absent')}; {content['date']}, "
             f"commit {content['commit']}.",
             "\n".join(f"* `{name}`: {ABOUT[name]}" for name in who_of(entry["summary"] for entry in rows.values()))]
    parts += [speed(heading, rows, key) for key, heading in (("train", "Training"), ("inference", "Inference")) if rows]
    parts += [_winograd(rows)] if rows else []
    parts += [_memory(content["memory"])] if "memory" in content else []
    parts += [_ceilings(content["ceilings"], rows)] if "floors" in content.get("ceilings", {}) else []
    parts += [layers(name, entry, LAYERS) for name, entry in content.get("layers", {}).items()]
    parts += [_overhead(content["overhead"])] if "overhead" in content else []
    parts += [_ideas(name, entry["summary"]) for name, entry in content.get("ideas", {}).items()]
    parts += [_growth(name, rows) for name, rows in content.get("growth", {}).items()]
    return "\n\n".join(part for part in parts if part)


SUMMARY = {"ours": "ours", "ours-winograd": "`--winograd`", "torch": "PyTorch as installed",
           "torch-malloc": "malloc tuned", "torch-best": "at its best"}


def summary(content: dict) -> str:
    """Training alone, and few contenders: the table of the README."""
    lines = [["training, images a second", *SUMMARY.values(), "ours / malloc tuned"]]
    for name, entry in content["speed"].items():
        net, batch = name.rsplit("-b", 1)
        rows = [entry["summary"].get(who, {}) for who in SUMMARY]
        ratio = entry["summary"]["torch-malloc"]["train_ratio"][0]
        lines.append([f"`{net}`, batch {batch}", *(number(row.get("train")) for row in rows), f"{ratio:.2f}"])
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


COLOURS = {"ours": "#c8451b", "ours-winograd": "#e58a5f", "torch-best": "#12354f", "torch-lrn": "#285d83",
           "torch-nhwc": "#4d86ad", "torch-malloc": "#8fb3cc", "torch": "#c9dbe7", "dezero": "#b9bec4"}
TO = "torch-malloc"
INK, FAINT = "#2b3036", "#66707a"
STYLE = {"font.size": 9.5, "text.color": INK, "svg.fonttype": "none", "axes.edgecolor": "#9aa3ad",
         "axes.titlelocation": "left", "axes.titlesize": 9.5, "axes.spines.top": False, "axes.spines.right": False,
         "axes.spines.left": False, "axes.grid": True, "axes.grid.axis": "x", "axes.axisbelow": True,
         "grid.color": "#e8ebee", "xtick.color": "#9aa3ad", "xtick.labelcolor": INK, "ytick.labelcolor": INK}


def plot(content: dict, path: Path) -> None:
    """Bars of images a second relative to torch-malloc, training left and inference right, by workload. UsageError
    when the JSON does not hold them, DiskError when the picture cannot be written."""
    part = {name: entry["summary"] for name, entry in content.get("speed", {}).items()
            if entry["summary"].get(TO, {}).get("train_ratio")}
    if not part:
        raise UsageError(f"--plot: the section speed has no round of both ours and {TO}; measure these first")
    panels = {f"{title}, images a second relative to {TO}": {name: relative(summary, TO, key)
                                                             for name, summary in part.items()}
              for key, title in (("train", "training"), ("inference", "inference"))}
    bars(panels, COLOURS, f"{content['machine']['cpu']}, {content['machine']['cpus']} CPUs; "
         f"PyTorch {content['machine'].get('torch')}; {content['date']}", path)


def relative(summary: dict, to: str, key: str) -> dict[str, float]:
    """contender -> its speed over that of `to`, both as ratios of ours: as in the table."""
    return {who: summary[to][f"{key}_ratio"][0] / row.get(f"{key}_ratio", [1])[0] for who, row in summary.items()
            if who == "ours" or f"{key}_ratio" in row}


def bars(panels: dict[str, dict[str, dict[str, float]]], colours: dict[str, str], note: str, path: Path) -> None:
    """A picture of {title: {workload: {contender: relative speed}}}: a panel a title, side by side, with a bar a
    contender in the order of their colours. DiskError when it cannot be written."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    workloads = list(dict.fromkeys(name for part in panels.values() for name in part))
    names = [who for who in colours if any(who in row for part in panels.values() for row in part.values())]
    places, labels, y = {}, {}, 0.0
    for name in workloads:
        mine = [who for who in names if any(who in part.get(name, {}) for part in panels.values())]
        labels[name] = y + (len(mine) - 1) / 2
        for who in mine:
            places[name, who] = y
            y += 1
        y += 0.9
    with rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.25 + 0.155 * y), dpi=160)
        axes_of = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, part) in zip(axes_of, panels.items()):
            for (name, who), place in places.items():
                value = part.get(name, {}).get(who)
                if value is None:
                    continue
                axes.barh(place, value, 0.86, color=colours[who], label=who)
                axes.text(value, place, f" {value:.2f}", va="center", fontsize=7.5 if who != "ours" else 8.5,
                          fontweight="bold" if who == "ours" else "normal", color=INK,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})
            axes.axvline(1, color="#6b7680", linewidth=0.9, zorder=0.9)
            axes.set_title(title)
            axes.margins(x=0.1, y=0.01)
            axes.tick_params(axis="y", length=0)
        axes_of[0].set_yticks(list(labels.values()), [name.replace("-b", "\nbatch ") for name in labels])
        axes_of[0].invert_yaxis()
        handles = {label: handle for axes in axes_of for handle, label in zip(*axes.get_legend_handles_labels())}
        figure.legend([handles[who] for who in names], names, loc="upper center", ncols=len(names), frameon=False,
                      handlelength=1.1, columnspacing=1.4)
        up = 1 / figure.get_figheight()
        figure.text(0.99, 0.05 * up, note, ha="right", fontsize=7.5, color=FAINT)
        figure.tight_layout(rect=(0, 0.1 * up, 1, 1 - 0.3 * up))
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix.removeprefix("."))
    write_atomic(path, [buffer.getvalue()])
