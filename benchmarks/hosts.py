"""python -m benchmarks.hosts: the model of `profile --ranks` against training steps between two hosts.

The hosts are network namespaces of this machine (namespaces.py; needs root), with one rank of one thread each and a
cable of 100, 300 or 1,000 Mbit/s. In one job, the ranks

    measure the link and the time of a batch alone       as profile MODEL --ranks does
    predict a step by scaling.py                         data, data overlapped, columns, hybrid
    train a few steps each way                           the median step

and predicted over measured is what counts. The result is results/hosts.json.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.namespaces import ROOT, VARIABLES, Hosts, why_not
from minitorch_alex import comm, kernels, models, profile, scaling, streams
from minitorch_alex import functional as F
from minitorch_alex.files import write_atomic
from minitorch_alex.parallel import DataParallel
from minitorch_alex.training import cli, cut, ranks, runs
from minitorch_alex.training.progress import Progress

RESULT = ROOT / "results" / "hosts.json"
RATES = (100, 300, 1000)  # Mbit/s
HOSTS = 2


# In each rank.


def hold_against(network: str, images: int, steps: int) -> dict[str, Any]:
    """{kind: predicted and measured seconds of a step} of this job, with so many images a rank."""
    group = comm.start(timeout=300)
    kernels.set_threads(1)
    kernels.keep_freed_memory()
    streams.manual_seed(0)
    model = models.build(network)
    layers = profile.layers_that_talk(model)
    link = scaling.measure(group, scaling.gradient_bytes(layers))
    times = profile.layer_times(model, images)
    alone = max(group.collect(sum(map(sum, times.values()))))
    machines = scaling.Machines(images / alone, link, link, group.local_size)
    rows = {}
    has_groups = isinstance(model, models.AlexNet) and max(model.config.groups) > 1
    for kind in scaling.KINDS:
        if kind == "columns" and not has_groups:
            continue
        predicted = profile.step_here(kind, layers, machines, group.size, images)
        rows[kind] = {"predicted": predicted.compute + predicted.exposed,
                      "measured": time_steps(kind, network, images, steps, group)}
    return {"alone": alone, "latency": link.latency, "bandwidth": link.bandwidth, "steps": rows}


def time_steps(kind: str, network: str, images: int, steps: int, group: comm.Comm) -> float:
    """The median step of the slowest rank."""
    model = models.build(network)
    optimizer = models.build_optimizer(model, model.recipe)
    n = group.size * images
    place, places = group.rank, group.size
    parallel: Any
    if kind.startswith("data"):
        parallel = DataParallel(optimizer, group, overlap="overlapped" in kind)
    else:
        parallel = cut.CutParallel(kind, model, optimizer, group)
        place, places = parallel.place, parallel.places
    own = comm.part(n, place, places)
    rng = np.random.default_rng(0)
    shape = (n, model.image_size, model.image_size, 3)
    x = rng.standard_normal(shape, dtype=np.float32).transpose(0, 3, 1, 2)[own]  # NHWC -> NCHW
    labels = rng.integers(0, 10, n)[own]
    progress = Progress()
    times = []
    for _ in range(steps + 2):  # the first two make arrays and connections
        group.collect(None)     # all begin together
        begin = time.perf_counter()
        ranks.take_step(parallel, model, F.cross_entropy, x, labels, progress, n)
        times.append(time.perf_counter() - begin)
    return max(group.collect(median(times[2:])))


# The jobs.


def run_job(hosts: Hosts, args: argparse.Namespace) -> dict[str, Any]:
    """What rank 0 of a fresh job on the hosts reports."""
    command = hosts.command(HOSTS, ["-m", "benchmarks.hosts", "--child", "--network", args.network,
                                    "--images", args.images, "--steps", args.steps])
    done = subprocess.run(command, text=True, capture_output=True, timeout=900, cwd=ROOT,
                          env={**os.environ, **VARIABLES, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def ratios(report: dict[str, Any]) -> dict[str, float]:
    """{kind: predicted over measured}."""
    return {kind: round(row["predicted"] / row["measured"], 3) for kind, row in report["steps"].items()}


def show(rate: int, report: dict[str, Any]) -> None:
    """One line for each kind of parallelism."""
    print(f"{rate} Mbit/s: {8e-6 * report['bandwidth']:,.0f} Mbit/s measured, {1e6 * report['latency']:,.0f} us")
    for kind, ratio in ratios(report).items():
        efficiency = report["alone"] / report["steps"][kind]["measured"]
        print(f"  {kind:<18} predicted / measured {ratio:5.2f}   efficiency {efficiency:4.0%}", flush=True)


def main() -> int:
    parser = cli.parser("benchmarks.hosts", __doc__ or "")
    parser.add_argument("--network", default="alexnet_cifar", help="(default: alexnet_cifar)")
    parser.add_argument("--images", type=int, default=64, help="of each rank in a step (default: 64)")
    parser.add_argument("--steps", type=int, default=5, help="of each kind (default: 5)")
    parser.add_argument("--rates", type=int, nargs="+", default=RATES, metavar="MBIT", help="of the cables")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        report = hold_against(args.network, args.images, args.steps)
        if comm.current().rank == 0:
            print(json.dumps(report))
        return 0
    reason = why_not()
    if reason:
        raise SystemExit(f"this machine cannot have hosts: {reason}")
    reports = {}
    with tempfile.TemporaryDirectory() as folder:
        hosts = Hosts(HOSTS, Path(folder))
        try:
            for rate in args.rates:
                hosts.slow_down(rate)
                reports[str(rate)] = run_job(hosts, args)
                show(rate, reports[str(rate)])
        finally:
            hosts.close()
    points = [{"ranks": HOSTS, "efficiency": round(report["alone"] / report["steps"]["data"]["measured"], 3),
               "what": f"{args.network}, {rate} Mbit/s"} for rate, report in reports.items()]
    record = {**runs.provenance(0), "network": args.network, "images": args.images, "steps": args.steps,
              "ratios": {rate: ratios(report) for rate, report in reports.items()}, "points": points,
              "samples": reports}
    write_atomic(RESULT, [(json.dumps(record, indent=1) + "\n").encode()])
    print(RESULT)
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
