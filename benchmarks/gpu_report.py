"""What the JSON of benchmarks.gpu says, as Markdown tables and as one picture.

`python -m benchmarks.gpu_report [--records DIR]` writes these tables into the pages, between their
markers. They are made from results/; with --records, the records of benchmarks/on_gpu.sh in DIR
are first copied there.
"""
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minitorch_alex import verdict
from minitorch_alex.errors import UsageError
from minitorch_alex.files import write_atomic
from minitorch_alex.training import cli

from . import claims, harness, report
from .report import number, table
from .workloads import GPU_ABOUT

TO = "torch"
COLOURS = {
    "ours": "#c8451b",
    "torch-fast-nhwc": "#12354f",
    "torch-fast": "#285d83",
    "torch-nhwc": "#6f9fc0",
    "torch": "#c9dbe7",
}
LAYERS = ("Milliseconds forward / backward between two events, each layer by itself, the fastest "
          "of several, including the time in which the device waits for the host. Then how many "
          "times as fast ours is, both ways together.")


def _precisions(part: dict) -> list[str]:
    return list(dict.fromkeys(entry["precision"] for entry in part.values()))


def _of(part: dict, precision: str) -> dict[str, dict]:
    """The entries of one precision, by workload."""
    return {name.removesuffix(f"-{precision}"): entry for name, entry in part.items()
            if entry["precision"] == precision}


def _inferred(part: dict, precision: str) -> dict[str, dict]:
    """The entries of one precision in which inference was measured."""
    return {name: entry for name, entry in _of(part, precision).items()
            if entry["summary"].get("ours", {}).get("inference")}


def _memory(part: dict, precision: str) -> str:
    rows = _of(part, precision)
    names = report.who_of((entry["summary"] for entry in rows.values()), GPU_ABOUT)
    lines = [[name, *(number(entry["summary"].get(who, {}).get("peak_mb")) for who in names)]
             for name, entry in rows.items()]
    return table(f"Memory, {precision}",
                 "What the framework's allocator has taken from the device for a training step, "
                 "in MB, without what the first steps need besides.",
                 [["workload", *names], *lines])


def _ceilings(part: dict, speed: dict) -> str:
    """What the machine can do, and, where it is known of a workload, the share that is reached."""
    machine = part["machine"]
    rates = machine["rates"]
    products = [[f"product, {key.removeprefix('gemm_')}", f"{rate:,.0f} GFLOP/s"]
                for key, rate in rates.items() if key.startswith("gemm_")]
    ceilings = table("Ceilings",
                     f"Products of {machine['side']:,} x {machine['side']:,} float32 matrices and "
                     f"copies of {machine['megabytes']:,} MB through CuPy, the best of several.", [
                         ["", "rate"],
                         *products,
                         ["copy within the device, read and written",
                          f"{rates['copy']:,.0f} GB/s"],
                         ["copy from page-locked memory of the host",
                          f"{rates['upload']:,.1f} GB/s"]])
    known = {name: entry for name, entry in speed.items()
             if _workload(name, entry) in part["floors"]}
    return "\n\n".join([ceilings, _efficiency(part["floors"], known)]) if known else ceilings


def _workload(name: str, entry: dict) -> str:
    """The workload of an entry that is named workload-precision."""
    return name.removesuffix(f"-{entry['precision']}")


def _efficiency(floors: dict, speed: dict) -> str:
    """Training speed as a share of the ceiling that the matrix products leave."""
    names = report.who_of((entry["summary"] for entry in speed.values()), GPU_ABOUT)
    lines = []
    for name, entry in speed.items():
        floor = floors[_workload(name, entry)]
        ceiling = floor[entry["precision"]]
        speeds = [entry["summary"].get(who, {}).get("train") for who in names]
        shares = [f"{100 * one / ceiling:.0f} %" if one else "" for one in speeds]
        lines.append([name, f"{floor['gflop_per_image']:.3g}", number(ceiling), *shares])
    return table("Efficiency",
                 "Training speed as a share of what the matrix product above would allow at the "
                 "same precision if all other work took no time. The gradient of the images is "
                 "not counted: nobody computes it.",
                 [["workload", "GFLOP per image", "ceiling, img/s", *names], *lines])


def _feed(part: dict) -> str:
    lines = [[name, number(entry["train"]), number(entry["batches"]), number(entry["resident"]),
              f"{100 * entry['train'] / entry['resident']:.0f} %", entry["workers"]]
             for name, entry in part.items()]
    return table("Feed",
                 "Ours, images per second: training on bytes that come from the host, are "
                 "shuffled there and cut, mirrored and coloured on the device; those batches "
                 "alone; training on one batch that is on the device already; and the first as a "
                 "share of the last.",
                 [["workload", "from the host", "batches alone", "resident batch", "share",
                   "threads"], *lines])


def _machine(content: dict) -> str:
    """The sentence about the machine, and the commit that was measured."""
    machine = content["machine"]
    torch = "PyTorch absent"
    if "torch" in machine:
        torch = (f"PyTorch {machine['torch']} with CUDA {machine['torch_cuda']} and cuDNN "
                 f"{machine['cudnn']}")
    return (f"{machine['setting'].removesuffix(', fp32')}; {torch}; {machine['cpu']}, "
            f"{machine['cpus']} CPUs; Python {machine['python']}, NumPy {machine['numpy']}; "
            f"{content['date']}, commit {content['commit']}.{_older(content)}")


def _older(content: dict) -> str:
    """Which entries were measured on other commits than the last one: one sentence each."""
    entries: dict[str, list[str]] = {}
    for section in ("speed", "kernels", "layers", "feed"):
        for name, entry in content.get(section, {}).items():
            commit = entry.get("commit", content["commit"])
            if commit != content["commit"]:
                entries.setdefault(commit, []).append(f"{name} ({section})")
    return "".join(f" Commit {commit}: {', '.join(names)}." for commit, names in entries.items())


def tables(content: dict) -> str:
    """All tables for which the JSON has numbers."""
    speed = content.get("speed", {})
    precisions = _precisions(speed)
    names = report.who_of((entry["summary"] for entry in speed.values()), GPU_ABOUT)
    parts = [_machine(content), "\n".join(f"* `{name}`: {GPU_ABOUT[name]}" for name in names)]
    if any("--quick" in run["command"] for run in content.get("runs", {}).values()):
        parts.insert(0, "**A quick trial with batches of 2: these are not measurements.**")
    for precision in precisions:
        part = _of(speed, precision)
        parts.append(report.speed(f"Training, {precision}", part, order=GPU_ABOUT))
    for precision in precisions:
        part = _inferred(speed, precision)
        if part:
            parts.append(report.speed(f"Inference, {precision}", part, "inference", GPU_ABOUT))
    parts += [_memory(speed, precision) for precision in precisions]
    if "machine" in content.get("ceilings", {}):
        parts.append(_ceilings(content["ceilings"], speed))
    parts += [kernel_table({"": content}, name) for name in content.get("kernels", {})]
    parts += [report.layers(name, entry, LAYERS, GPU_ABOUT, 3)
              for name, entry in content.get("layers", {}).items()]
    if "feed" in content:
        parts.append(_feed(content["feed"]))
    return "\n\n".join(part for part in parts if part)


def summary(content: dict) -> str:
    """Training alone, ours compared with PyTorch as installed and at its best: the table of the
    README."""
    lines = [["training, images per second", "ours", "PyTorch as installed", "PyTorch at its best",
              "ours / installed", "ours / best"]]
    for entry in content["speed"].values():
        rows = entry["summary"]
        others = [row for who, row in rows.items() if who != "ours" and "train_ratio" in row]
        plain = rows.get(TO, {})
        best: dict[str, Any] = min(others, key=lambda row: row["train_ratio"][0], default={})
        speeds = [number(row.get("train")) for row in (rows.get("ours", {}), plain, best)]
        ratios = [f"{row['train_ratio'][0]:.2f}" if "train_ratio" in row else ""
                  for row in (plain, best)]
        name = f"`{entry['net']}`, batch {entry['batch']}, {entry['precision']}"
        lines.append([name, *speeds, *ratios])
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(content: dict, path: Path) -> None:
    """Bars of images per second in training relative to torch, one panel per precision.

    Raises UsageError when the JSON does not hold them, and DiskError when the picture cannot be
    written.
    """
    speed = {name: entry for name, entry in content.get("speed", {}).items()
             if entry["summary"].get(TO, {}).get("train_ratio")}
    if not speed:
        raise UsageError(f"--plot: the section speed has no round of both ours and {TO}; measure "
                         "these first")
    panels = {}
    for precision in _precisions(speed):
        panels[f"training, {precision}, images per second relative to {TO}"] = {
            name: report.relative(entry["summary"], TO, "train")
            for name, entry in _of(speed, precision).items()}
    machine = content["machine"]
    about = (f"{machine['gpu']}; cupy {machine['cupy']}; PyTorch {machine.get('torch')}; "
             f"{content['date']}")
    report.bars(panels, COLOURS, about, path)


# Kernel by kernel

GROUPS = {
    "im2col": "im2col", "col2im": "col2im",
    "lrn": "LRN", "lrn_backward": "LRN", "lrn_within": "LRN", "lrn_within_backward": "LRN",
    "max_pool2d": "pools", "max_pool2d_backward": "pools",
    "avg_pool2d": "pools", "avg_pool2d_backward": "pools",
    "relu": "ReLU", "relu_backward": "ReLU", "bias_relu": "ReLU",
    "add_bias": "bias", "add_bias_relu": "bias",  # the latter in records of older commits
    "sum_rows": "bias gradients",
    "largest": "rounding", "to_half": "rounding", "to_bf16": "rounding", "scale_back": "rounding",
    "sgd_2012": "update", "sgd_torch": "update", "sgd_nesterov": "update", "adam": "update",
    "dropout": "dropout", "rest": "rest",
}
CONVOLUTIONS = "products of convolutions"
LINEAR = "products of linear layers"
ORDER = (CONVOLUTIONS, "im2col", "LRN", "col2im", "pools", "ReLU", "bias", "bias gradients",
         LINEAR, "update", "rounding", "dropout", "loss", "other", "rest")


def group_of(kernel: str, batch: int) -> str:
    """The group of a kernel or product.

    In a product of a linear layer the batch is a side of the first factor, and no side is long; in
    one of a convolution, one side has a row for each place of each image.
    """
    if kernel.startswith("gemm"):
        rows, inner, _, columns = map(int, re.findall(r"\d+", kernel))
        linear = batch in (rows, inner) and max(rows, inner, columns) < 10_000
        return LINEAR if linear else CONVOLUTIONS
    if kernel.startswith("softmax"):
        return "loss"
    return GROUPS.get(kernel, "other")


def groups(entry: dict) -> dict[str, float]:
    """Milliseconds of each group in an entry of the section kernels."""
    sums: dict[str, float] = {}
    for kernel, ms in entry["kernels"].items():
        group = group_of(kernel, entry["batch"])
        sums[group] = sums.get(group, 0.0) + ms
    return sums


def kernel_table(contents: dict[str, dict], name: str, estimates: dict | None = None) -> str:
    """Milliseconds of a step by groups of kernels, one column per content that has the entry;
    before them, what was expected on paper."""
    entries = {label: content["kernels"][name] for label, content in contents.items()
               if name in content.get("kernels", {})}
    columns: dict[str, dict[str, float]] = {}  # title -> milliseconds of each group
    steps: list[float] = []
    if estimates and name in estimates:
        columns[f"estimate, {estimates['device']}"] = estimates[name]["groups"]
        steps.append(estimates[name]["step_ms"])
    host = []
    for label, entry in entries.items():
        columns[label or "measured"] = groups(entry)
        steps.append(entry["step_ms"])
        text = f"{entry['host_ms']:.1f} ms in {entry['calls']} launches and products"
        host.append(f"{text} ({label})" if label else text)
    rows = [[group, *(f"{sums[group]:.2f}" if group in sums else "" for sums in columns.values())]
            for group in ORDER if any(group in sums for sums in columns.values())]
    rows.append(["**step**", *(f"**{step:.1f}**" for step in steps)])
    return table(f"Kernels of {name}",
                 "Milliseconds of one training step, between two events. The step is measured "
                 "without events, so the sum differs a little; `rest` is what CuPy does by "
                 f"itself, and waiting for the host, which needs {', '.join(host)}.",
                 [["", *columns], *rows])


# The pages

RESULTS = harness.ROOT / "results"
BEFORE = RESULTS / "gpu_kernels_before.json"
SPEED = "gpu_speed.json"
OTHER_CARD = "gpu_speed_{}.json"  # of another GPU than that of SPEED, by its name
# What else benchmarks/on_gpu.sh leaves: trainings, and a claim.
TRAININGS = ("gpu_cifar.json", "gpu_224.json", "gpu_local.json", "gpu_local13.json")
NORM = "gpu_norm.json"
SUMMARY = "gpu_summary.txt"  # what it printed


def _load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def latest() -> dict[str, Any]:
    """The measurements of gpu_speed.json; before there are any, the first ones."""
    path = RESULTS / SPEED
    return _load(path if path.exists() else BEFORE)


def other_cards() -> list[dict[str, Any]]:
    """The measurements on other GPUs than that of gpu_speed.json."""
    return [_load(path) for path in sorted(RESULTS.glob(OTHER_CARD.format("*")))]


def speed_block() -> str:
    """For the README: the short table of each GPU, and what it was measured on."""
    return "\n\n".join(f"{summary(content)}\n\n{_machine(content)}"
                       for content in (latest(), *other_cards()))


def tables_block() -> str:
    """For docs/gpu.md: all tables but that of the kernels."""
    content = latest()
    return tables({name: part for name, part in content.items() if name != "kernels"})


def kernels_block() -> str:
    """For docs/gpu.md: kernel by kernel, as expected, before and now."""
    before = _load(BEFORE)
    now = latest()
    names = dict.fromkeys([*before["kernels"], *now.get("kernels", {})])
    parts = []
    for name in names:
        contents = {f"before, commit {before['commit']}": before}
        commit = _commit(now, name)
        if commit != before["commit"]:
            contents[f"commit {commit}"] = now
        parts.append(kernel_table(contents, name, before["estimates"]))
    return "\n\n".join(parts)


def _commit(content: dict, name: str) -> str:
    """The commit on which the kernels of an entry were measured."""
    return content.get("kernels", {}).get(name, {}).get("commit", content["commit"])


def savings_block() -> str:
    """For docs/gpu.md: what each optimisation should save, and what it saved."""
    before = _load(BEFORE)
    now = latest()
    estimates = before["estimates"]
    rows = [["optimisation", f"estimate, {estimates['device']}", f"measured, {now['device']}"]]
    for saving in estimates["savings"]:
        entry = saving["entry"]
        measured = "not yet"  # where the kernel that makes the difference has not run
        if saving.get("kernel", "") in ("", *now["kernels"][entry]["kernels"]):
            names = saving["group"].split(" and ")
            old, new = (sum(groups(content["kernels"][entry]).get(name, 0.0) for name in names)
                        for content in (before, now))
            measured = f"{old - new:.1f}"
        rows.append([saving["change"], f"{saving['ms']:.1f}", measured])
    return table("What each optimisation saved",
                 "Milliseconds in a step of `alexnet` at batch 256, from commit "
                 f"{before['commit']} to commit {_commit(now, 'alexnet-b256-tf32')}; in TF32, "
                 "except the first.", rows)


def passed_block() -> str:
    """For docs/gpu.md: how many tests passed on a GPU."""
    text = (RESULTS / SUMMARY).read_text(encoding="utf-8")
    (number_passed,) = re.findall(r"^tests: .*?(\d+) passed", text, re.MULTILINE)
    return (f"* `pytest -m gpu`: {number_passed} tests passed "
            f"([{SUMMARY}](../results/{SUMMARY})).")


def trainings_block() -> str:
    """For docs/gpu.md: the trainings, with their accuracy."""
    records = [_load(RESULTS / name) for name in TRAININGS if (RESULTS / name).exists()]
    if not records:
        return "None is recorded yet."
    rows = [["network", "precision", "epochs", "test accuracy", "seconds per epoch", "memory",
             "command"]]
    for record in records:
        epochs = record["recipe"]["epochs"]
        rows.append([f"`{record['model']}`", record["precision"], epochs,
                     f"{100 - record['test']['top1_error']:.2f} %",
                     f"{record['seconds'] / epochs:.1f}",
                     f"{record['device_memory_gb']:.1f} GB", f"`{record['command']}`"])
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines.insert(1, "|---|---|---:|---:|---:|---:|---|")
    sources: dict[str, list[str]] = {}  # where it ran -> the networks
    for record in records:
        source = f"{record['device']}; {record['date']}, commit {record['commit']}"
        sources.setdefault(source, []).append(f"`{record['model']}`")
    if len(sources) == 1:
        return "\n".join([*lines, "", f"On {next(iter(sources))}."])
    abouts = [f"{', '.join(nets)}: {source}." for source, nets in sources.items()]
    return "\n".join([*lines, "", " ".join(abouts)])


def norm_block() -> str:
    """For docs/gpu.md: batch normalisation, LRN and neither on all of CIFAR-10."""
    path = RESULTS / NORM
    if not path.exists():
        return "Not recorded yet."
    record = _load(path)
    about = (f"{record['train_images']:,} images, {record['epochs']} epochs, seeds: "
             f"{record['seeds']}. On {record['device']}; {record['date']}, commit "
             f"{record['commit']}.")
    return "\n\n".join([verdict.table(record), f"    {record['command']}", about])


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"gpu": speed_block},
    "docs/gpu.md": {
        "gpu tables": tables_block,
        "gpu kernels": kernels_block,
        "gpu savings": savings_block,
        "gpu trainings": trainings_block,
        "gpu norm": norm_block,
        "gpu passed": passed_block,
    },
}


def filled(page: str, blocks: dict[str, Callable[[], str]]) -> str:
    """The page with each block between its markers, <!-- name --> and <!-- /name -->.

    Raises UsageError when the page does not have them.
    """
    for name, block in blocks.items():
        start = f"<!-- {name} -->\n"
        end = f"<!-- /{name} -->"
        if start not in page or end not in page:
            raise UsageError(f"the page has no markers {start.strip()} and {end}")
        before, _, rest = page.partition(start)
        after = rest.partition(end)[2]
        page = f"{before}{start}{block()}\n{end}{after}"
    return page


def take(directory: Path) -> list[Path]:
    """Copy the records that on_gpu.sh left in a directory to results/, and what it printed. Each
    GPU has a file of its own for its speeds, in which those that were not measured again stay.

    Raises UsageError when there are none, or when one does not name its commit.
    """
    records = [directory / name for name in (SPEED, *TRAININGS, NORM)
               if (directory / name).exists()]
    if not records:
        raise UsageError(f"--records {directory}: no gpu_speed.json or other record of "
                         "benchmarks/on_gpu.sh is there")
    for record in records:
        content = _load(record)
        if not content.get("commit"):
            raise UsageError(f"{record} names no commit: run on_gpu.sh with MINITORCH_COMMIT set")
        target = RESULTS / record.name
        text = record.read_bytes()
        if record.name == SPEED:
            target = place_of(content)
            if target.exists():
                text = (json.dumps(merged(_load(target), content), indent=1) + "\n").encode()
        write_atomic(target, [text])
    summary = directory / "summary.txt"
    # A session without the tests leaves the summary of the last one that had them.
    if summary.exists() and re.search(r"^tests: .*\d+ passed", summary.read_text(), re.MULTILINE):
        write_atomic(RESULTS / SUMMARY, [summary.read_bytes()])
    return records


def place_of(content: dict) -> Path:
    """The file of this GPU's speeds: gpu_speed.json belongs to the first GPU, gpu_speed_h100.json
    to an "NVIDIA H100 80GB HBM3"."""
    card = content["machine"].get("gpu")
    first = RESULTS / SPEED
    if not card or not first.exists() or _load(first)["machine"].get("gpu") == card:
        return first
    word = card.removeprefix("NVIDIA ").split()[0].lower()
    return RESULTS / OTHER_CARD.format(re.sub(r"[^a-z0-9]+", "-", word))


def merged(old: dict, new: dict) -> dict:
    """What `new` measured, and of `old` what it did not measure."""
    sections = ("runs", "ceilings", "speed", "kernels", "layers", "feed")
    parts = {name: {**old.get(name, {}), **new.get(name, {})} for name in sections
             if name in old or name in new}
    return {**old, **new, **parts}


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("benchmarks.gpu_report",
                        "Write the tables of results/gpu_*.json into README.md and docs/gpu.md, "
                        "between their markers;\nwith --records also docs/results.md.")
    parser.add_argument("--records", type=Path, metavar="DIR",
                        help="first copy the records that benchmarks/on_gpu.sh left in DIR to "
                             "results/")
    args = parser.parse_args(argv)
    taken = take(args.records) if args.records else []
    for record in taken:
        print(f"results/{record.name}")
    for page, blocks in BLOCKS.items():
        path = harness.ROOT / page
        write_atomic(path, [filled(path.read_text(encoding="utf-8"), blocks).encode()])
        print(page)
    if taken:
        claims.main([])  # its page has a training on a GPU too
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
