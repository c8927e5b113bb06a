"""What the JSON of benchmarks.gpu says, as Markdown tables and as one picture."""
from pathlib import Path

from minitorch_alex.errors import UsageError

from . import report
from .report import number, table
from .workloads import GPU_ABOUT

TO = "torch"
COLOURS = {"ours": "#c8451b", "torch-fast-nhwc": "#12354f", "torch-fast": "#285d83", "torch-nhwc": "#6f9fc0",
           "torch": "#c9dbe7"}
LAYERS = ("Milliseconds forward / backward between two events, each layer by itself, the fastest of several; where the "
          "device waits for the host, that is in it. Then how many times as fast ours is, both ways together.")


def _precisions(part: dict) -> list[str]:
    return list(dict.fromkeys(entry["precision"] for entry in part.values()))


def _of(part: dict, precision: str) -> dict[str, dict]:
    """The entries of one precision, by workload."""
    return {name.removesuffix(f"-{precision}"): entry for name, entry in part.items()
            if entry["precision"] == precision}


def _memory(part: dict, precision: str) -> str:
    rows = _of(part, precision)
    names = report.who_of((entry["summary"] for entry in rows.values()), GPU_ABOUT)
    return table(f"Memory, {precision}", "What the framework's allocator has taken from the device for a training "
                 "step, in MB, without what the first steps need besides.", [
                     ["workload", *names],
                     *([name, *(number(entry["summary"].get(who, {}).get("peak_mb")) for who in names)]
                       for name, entry in rows.items())])


def _ceilings(part: dict, speed: dict) -> str:
    machine, floors = part["machine"], part["floors"]
    rates = machine["rates"]
    first = table("Ceilings", f"Products of {machine['side']:,} x {machine['side']:,} float32 matrices and copies of "
                  f"{machine['megabytes']:,} MB through CuPy, the best of several.", [
                      ["", "rate"], *([f"product, {key.removeprefix('gemm_')}", f"{rate:,.0f} GFLOP/s"]
                                      for key, rate in rates.items() if key.startswith("gemm_")),
                      ["copy within the device, read and written", f"{rates['copy']:,.0f} GB/s"],
                      ["copy from page-locked memory of the host", f"{rates['upload']:,.1f} GB/s"]])
    known = {name: entry for name, entry in speed.items() if name.removesuffix(f"-{entry['precision']}") in floors}
    if not known:
        return first
    names = report.who_of((entry["summary"] for entry in known.values()), GPU_ABOUT)

    def line(name: str, entry: dict) -> list[str]:
        floor = floors[name.removesuffix(f"-{entry['precision']}")]
        ceiling = floor[entry["precision"]]
        speeds = [entry["summary"].get(who, {}).get("train") for who in names]
        return [name, f"{floor['gflop_per_image']:.3g}", number(ceiling),
                *(f"{100 * one / ceiling:.0f} %" if one else "" for one in speeds)]

    return first + "\n\n" + table(
        "Efficiency", "Training speed as a share of what the matrix product above would allow at the same precision, "
        "all other work taking no time. The images' own gradient is not counted: nobody computes it.", [
            ["workload", "GFLOP an image", "ceiling, img/s", *names],
            *(line(name, entry) for name, entry in known.items())])


def _feed(part: dict) -> str:
    return table("Feed", "Ours, images a second: training on bytes that come from the host, are shuffled there and "
                 "cut, mirrored and coloured on the device; those batches alone; training on one batch that lies on "
                 "the device; and the share that the feed leaves.", [
                     ["workload", "from the host", "batches alone", "resident batch", "share", "threads"],
                     *([name, number(e["train"]), number(e["batches"]), number(e["resident"]),
                        f"{100 * e['train'] / e['resident']:.0f} %", e["workers"]] for name, e in part.items())])


def _machine(content: dict) -> str:
    machine = content["machine"]
    torch = (f"PyTorch {machine['torch']} with CUDA {machine['torch_cuda']} and cuDNN {machine['cudnn']}"
             if "torch" in machine else "PyTorch absent")
    return (f"{machine['setting'].removesuffix(', fp32')}; {torch}; {machine['cpu']}, {machine['cpus']} CPUs; Python "
            f"{machine['python']}, NumPy {machine['numpy']}; {content['date']}, commit {content['commit']}.")


def tables(content: dict) -> str:
    """All that the JSON holds."""
    speed = content.get("speed", {})
    trial = any("--quick" in run["command"] for run in content.get("runs", {}).values())
    names = report.who_of((entry["summary"] for entry in speed.values()), GPU_ABOUT)
    parts = ["**Of a quick trial, with batches of 2: these are no measurements.**" if trial else "", _machine(content),
             "\n".join(f"* `{name}`: {GPU_ABOUT[name]}" for name in names)]
    parts += [report.speed(f"Training, {precision}", _of(speed, precision), order=GPU_ABOUT)
              for precision in _precisions(speed)]
    parts += [_memory(speed, precision) for precision in _precisions(speed)]
    parts += [_ceilings(content["ceilings"], speed)] if "machine" in content.get("ceilings", {}) else []
    parts += [report.layers(name, entry, LAYERS, GPU_ABOUT, 3) for name, entry in content.get("layers", {}).items()]
    parts += [_feed(content["feed"])] if "feed" in content else []
    return "\n\n".join(part for part in parts if part)


def summary(content: dict) -> str:
    """Training alone, ours beside PyTorch as installed and its fastest form: the table of the README."""
    lines = [["training, images a second", "ours", "PyTorch as installed", "PyTorch at its best", "ours / installed",
              "ours / best"]]
    for entry in content["speed"].values():
        rows = entry["summary"]
        known = [row for who, row in rows.items() if who != "ours" and "train_ratio" in row]
        plain, best = rows.get(TO, {}), min(known, key=lambda row: row["train_ratio"][0], default={})
        lines.append([f"`{entry['net']}`, batch {entry['batch']}, {entry['precision']}",
                      *(number(row.get("train")) for row in (rows.get("ours", {}), plain, best)),
                      *(f"{row['train_ratio'][0]:.2f}" if "train_ratio" in row else "" for row in (plain, best))])
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(content: dict, path: Path) -> None:
    """Bars of images a second in training relative to torch, a panel a precision. UsageError when the JSON does not
    hold them, DiskError when the picture cannot be written."""
    speed = {name: entry for name, entry in content.get("speed", {}).items()
             if entry["summary"].get(TO, {}).get("train_ratio")}
    if not speed:
        raise UsageError(f"--plot: the section speed has no round of both ours and {TO}; measure these first")
    panels = {f"training, {precision}, images a second relative to {TO}": {
        name: report.relative(entry["summary"], TO, "train") for name, entry in _of(speed, precision).items()}
        for precision in _precisions(speed)}
    machine = content["machine"]
    report.bars(panels, COLOURS, f"{machine['gpu']}; cupy {machine['cupy']}; PyTorch {machine.get('torch')}; "
                f"{content['date']}", path)
