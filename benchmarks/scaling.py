"""python -m benchmarks.scaling: two processes of one thread against one process of two threads.

Every sample is a fresh job. Contenders take turns, and what is reported is the median of their
ratios within a round (harness.py says why). Shards change a step by less than one job differs from
the next, so within a job in shards its steps take turns with steps without them. On a machine that
is busy with other things the ratios mean nothing: sums between processes are work for the same
processors.

    2 ranks x 1 thread against 1 process x 2 threads      a step of net_18, alexnet_cifar, alexnet
    the same against 1 process x 1 thread                 efficiency; a point of docs/scaling.png
    in two columns; with --shards 4
    the sum of 244 MB, the gradients of alexnet           against torch.distributed's gloo

The result is results/scaling.json. With --quick next to nothing is measured, to see that it works.
"""
import argparse
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from minitorch_alex import comm, kernels, models, streams
from minitorch_alex import functional as F
from minitorch_alex.errors import UsageError
from minitorch_alex.files import write_atomic
from minitorch_alex.models import Network
from minitorch_alex.optimizer import Optimizer
from minitorch_alex.parallel import DataParallel
from minitorch_alex.tensor import Tensor
from minitorch_alex.training import cli, convolution, cut, ranks, runs
from minitorch_alex.training.progress import Progress

RESULT = Path(__file__).parent.parent / "results" / "scaling.json"
GRADIENTS = 60_965_224  # parameters of alexnet, in float32: 244 MB
# (network, images in a batch), and what is compared on it.
WORKLOADS = (("net_18", 128), ("alexnet_cifar", 128), ("alexnet", 128), ("alexnet", 32))
NAMES = [*(f"{network}-b{images}" for network, images in WORKLOADS), "sum"]
IN_SHARDS = "2 ranks, --shards 4"
# name -> (ranks, threads of each, what else)
CONTENDERS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "1 process x 1 thread": (1, 1, {}),
    "1 process x 2 threads": (1, 2, {}),
    "2 ranks x 1 thread": (2, 1, {}),
    IN_SHARDS: (2, 1, {"shards": 4}),
    "2 ranks, two columns": (2, 1, {"kind": "columns"}),
}


# In each rank.


def ways_of(job: dict[str, Any], model: Network, optimizer: Optimizer,
            group: comm.Comm) -> list[tuple[Any, dict[str, Any]]]:
    """[(what a step goes through, None in one process; the setting of its convolutions)]; of a job
    in shards, then the same without them, for steps that take turns."""
    setting = {"conv": "auto", "deterministic": False, "shards": 0}  # as `train` without a flag
    if job.get("kind") == "columns":
        return [(cut.CutParallel("columns", model, optimizer, group), setting)]
    if group.size == 1:
        return [(None, setting)]
    numbers = [job["shards"], 0] if "shards" in job else [0]
    return [(DataParallel(optimizer, group, shards), setting | {"shards": shards})
            for shards in numbers]


def time_training(job: dict[str, Any]) -> dict[str, float]:
    """The median step in seconds, and the share of it that was spent in sums; of a job in shards
    also that of the steps without them ("without")."""
    group = comm.start(timeout=600)
    kernels.set_threads(job["threads"])
    kernels.keep_freed_memory()
    streams.manual_seed(0)
    model = models.build(job["network"], 1000 if job["network"] == "alexnet" else 10)
    optimizer = models.build_optimizer(model, model.recipe)
    n = job["batch"]
    ways = ways_of(job, model, optimizer, group)
    parallel = ways[0][0]
    is_cut = isinstance(parallel, cut.CutParallel)
    networks = [model, parallel.net] if is_cut else [model]
    own = slice(0, n) if is_cut else comm.part(n, group.rank, group.size)
    rng = np.random.default_rng(0)
    shape = (n, model.image_size, model.image_size, 3)
    x = rng.standard_normal(shape, dtype=np.float32).transpose(0, 3, 1, 2)[own]  # NHWC -> NCHW
    labels = rng.integers(0, 10, n)[own]
    progress = Progress()

    def step(way: Any) -> None:
        if way is not None:
            ranks.take_step(way, model, F.cross_entropy, x, labels, progress, n)
            return
        streams.set_step(progress.step)
        optimizer.zero_grad()
        F.cross_entropy(model(Tensor(x)), labels).backward()
        optimizer.step()
        kernels.trim_memory()
        progress.step += 1

    times: list[list[float]] = [[] for _ in ways]
    for i in range(job["steps"] + 2):
        if i == 2 and parallel is not None:  # the first two steps make arrays
            parallel.seconds = 0.0
        for (way, setting), seconds in zip(ways, times, strict=True):
            convolution.use(setting, networks, n, group)  # what it has chosen the first time
            group.collect(None)  # all begin together
            begin = time.perf_counter()
            step(way)
            seconds.append(time.perf_counter() - begin)
    in_sums = parallel.seconds / sum(times[0][2:]) if parallel is not None else 0.0
    slowest = [max(group.collect(median(seconds[2:]))) for seconds in times]
    result = {"seconds": slowest[0], "exchange": in_sums}
    return result | {"without": slowest[1]} if len(ways) > 1 else result


def time_sum(job: dict[str, Any]) -> dict[str, float]:
    """The best of several sums of 244 MB over the ranks, by this package or by gloo."""
    group = comm.start(timeout=600)
    a = np.full(job["numbers"], 1.0, np.float32)
    add: Callable[[Any], Any] = group.sum
    if job["by"] == "gloo":
        import torch
        import torch.distributed as dist
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=f"file://{job['file']}", rank=group.rank,
                                world_size=group.size)
        tensor = torch.from_numpy(a)

        def all_reduce(_: Any) -> Any:
            return dist.all_reduce(tensor)

        add = all_reduce

    times = []
    for _ in range(job["steps"] + 1):
        a[...] = 1.0
        group.collect(None)
        begin = time.perf_counter()
        add(a)
        times.append(time.perf_counter() - begin)
    assert a[0] == group.size
    return {"seconds": max(group.collect(min(times[1:])))}


# The jobs.


def run_job(count: int, job: dict[str, Any]) -> dict[str, float]:
    """What rank 0 of a fresh job of `count` processes reports."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--child", json.dumps(job)]
    if count > 1:
        mpiexec = comm.own_mpiexec()
        if mpiexec is None:
            raise UsageError("there is no mpiexec next to this Python: pip install 'mpich>=5'")
        command = [mpiexec, "-n", str(count), *command]
    done = subprocess.run(command, text=True, capture_output=True, timeout=1800)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """{workload: {contender: what its jobs reported}}, in turns."""
    results: dict[str, Any] = {}
    for network, images in WORKLOADS:
        if f"{network}-b{images}" not in args.workloads:
            continue
        batch = 4 if args.quick else images
        rows: dict[str, list[dict[str, float]]] = {}
        for number in range(args.rounds):
            for name, (count, threads, more) in CONTENDERS.items():
                if more.get("kind") and network != "alexnet":
                    continue
                if more.get("shards") and network != "alexnet_cifar":
                    continue
                job = {"task": "train", "network": network, "batch": batch, "threads": threads,
                       "steps": args.steps, **more}
                rows.setdefault(name, []).append(run_job(count, job))
                print(f"{network} {images}, round {number + 1}: {name:22} "
                      f"{rows[name][-1]['seconds'] * 1e3:8.1f} ms", flush=True)
        results[f"{network}-b{images}"] = rows
    if "sum" in args.workloads:
        results["sum"] = measure_sums(args)
    return results


def measure_sums(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """{this package or gloo: what the jobs reported}, in turns."""
    numbers = 100_000 if args.quick else GRADIENTS
    sums: dict[str, list[dict[str, float]]] = {}
    for _ in range(args.rounds):
        for by in ("ours", "gloo") if args.gloo else ("ours",):
            with tempfile.TemporaryDirectory() as folder:
                job = {"task": "sum", "by": by, "numbers": numbers, "steps": args.steps,
                       "file": os.path.join(folder, "gloo")}
                sums.setdefault(by, []).append(run_job(2, job))
                print(f"sum of {4e-6 * numbers:.0f} MB, {by:5}"
                      f"{sums[by][-1]['seconds'] * 1e3:8.1f} ms", flush=True)
    return sums


def ratio(rows: dict[str, list[dict[str, float]]], slow: str, fast: str) -> float | None:
    """The median over the rounds of how many times as long `slow` takes as `fast`."""
    if slow not in rows or fast not in rows:
        return None
    pairs = zip(rows[slow], rows[fast], strict=True)
    return round(median(a["seconds"] / b["seconds"] for a, b in pairs), 3)


def ratio_of_shards(rows: dict[str, list[dict[str, float]]]) -> float | None:
    """The median over the jobs in shards of how many times as long a step takes as without; from
    job to job in records from before these steps took turns."""
    turns = [row for row in rows.get(IN_SHARDS, []) if "without" in row]
    if not turns:
        return ratio(rows, IN_SHARDS, "2 ranks x 1 thread")
    return round(median(row["seconds"] / row["without"] for row in turns), 3)


def summary(results: dict[str, Any]) -> dict[str, Any]:
    """The ratios that the targets are about, and the points of docs/scaling.png."""
    table: dict[str, Any] = {}
    points = []
    for workload, rows in results.items():
        if workload == "sum":
            table["sum of 244 MB, gloo / ours"] = ratio(rows, "gloo", "ours")
            continue
        pair = rows["2 ranks x 1 thread"]
        double = ratio(rows, "1 process x 1 thread", "2 ranks x 1 thread")
        table[workload] = {
            "2 ranks, over 2 threads": ratio(rows, "1 process x 2 threads", "2 ranks x 1 thread"),
            "columns, over 2 threads": ratio(rows, "1 process x 2 threads", "2 ranks, two columns"),
            "--shards 4, longer by": ratio_of_shards(rows),
            "efficiency of 2 ranks": round((double or 0) / 2, 3),
            "exchange, share of a step": round(median(row["exchange"] for row in pair), 3),
        }
        points.append({"ranks": 2, "efficiency": round((double or 0) / 2, 3), "what": workload})
    return {"ratios": table, "points": points}


HEADINGS = ("workload", "2 ranks, over 2 threads", "columns, over 2 threads",
            "--shards 4, longer by", "efficiency of 2 ranks", "exchange, share of a step")


def table(record: dict[str, Any]) -> list[str]:
    """The ratios of a record in Markdown, one row per workload."""
    rows = ["| " + " | ".join(HEADINGS) + " |", "|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    for workload, ratios in record["ratios"].items():
        if isinstance(ratios, dict):
            cells = [_cell(heading, ratios[heading]) for heading in HEADINGS[1:]]
            rows.append(f"| `{workload}` | " + " | ".join(cells) + " |")
    return rows


def sum_words(record: dict[str, Any]) -> str:
    """What the sum of all gradients of alexnet takes, in words."""
    sums = record["samples"]["sum"]
    best = {by: median(row["seconds"] for row in rows) for by, rows in sums.items()}
    words = f"The sum of 244 MB between the two takes {best['ours'] * 1e3:.0f} ms"
    if "gloo" in best:
        words += (f", {record['ratios']['sum of 244 MB, gloo / ours']:.1f} times as fast as by "
                  f"gloo of PyTorch ({best['gloo'] * 1e3:.0f} ms)")
    return f"{words}."


def _cell(heading: str, value: float | None) -> str:
    if value is None:
        return ""
    if heading == "--shards 4, longer by":
        return f"{100 * (value - 1):.1f} %"
    return f"{value:.2f}" if "over" in heading else f"{100 * value:.1f} %"


def command(args: argparse.Namespace) -> str:
    """The command that measures the same."""
    words = [] if args.workloads == NAMES else ["--workloads", *args.workloads]
    words += ["--rounds", str(args.rounds), "--steps", str(args.steps)]
    return shlex.join(["python", "-m", "benchmarks.scaling", *words])


def main() -> int:
    parser = cli.parser("benchmarks.scaling", __doc__ or "")
    parser.add_argument("--rounds", type=int, default=5, help="turns of all contenders (default: 5)")
    parser.add_argument("--workloads", nargs="+", choices=NAMES, default=NAMES, metavar="NAME",
                        help=f"some of {', '.join(NAMES)} (default: all; the record keeps the "
                             "others)")
    parser.add_argument("--steps", type=int, default=5, help="steps of a sample (default: 5)")
    parser.add_argument("--no-gloo", dest="gloo", action="store_false", help="where torch is not installed")
    parser.add_argument("--quick", action="store_true", help="four images, one round; writes nothing")
    parser.add_argument("--show", action="store_true",
                        help="measure nothing; print the table of results/scaling.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        job = json.loads(args.child)
        print(json.dumps(time_training(job) if job["task"] == "train" else time_sum(job)))
        return 0
    if args.show:
        record = json.loads(RESULT.read_text(encoding="utf-8"))
        print(*table(record), "", sum_words(record), sep="\n")
        return 0
    if args.gloo and importlib.util.find_spec("torch") is None:
        raise UsageError("gloo is part of PyTorch, which is not installed: "
                         "pip install torch, or leave gloo out with --no-gloo")
    if args.quick:
        args.rounds = 1
        args.steps = 1
    results = measure(args)
    record = {**runs.provenance(0), "command": command(args)}
    made = {name: {key: record[key] for key in ("command", "commit", "date")} for name in results}
    if not args.quick and RESULT.exists():  # workloads that were not measured now stay as they are
        before = json.loads(RESULT.read_text(encoding="utf-8"))
        results = before["samples"] | results
        made = before["runs"] | made
    record |= {"runs": made, **summary(results), "samples": results}
    print(json.dumps(record["ratios"], indent=1))
    if not args.quick:
        write_atomic(RESULT, [(json.dumps(record, indent=1) + "\n").encode()])
        print(RESULT)
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
