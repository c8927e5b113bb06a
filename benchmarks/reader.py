"""python -m benchmarks.reader: how fast prepared images are read, compared with Pillow and torch's DataLoader."""
import argparse
import json
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from minitorch_alex.errors import DataError, UsageError
from minitorch_alex.machine import available_cpus
from minitorch_alex.training import cli
from minitorch_alex.training.runs import cpu_name

from . import harness

CHILD = "benchmarks.reader_contenders"
RESULT = harness.ROOT / "results" / "reader_speed.json"
IMAGENET = 1_281_167  # training images of ILSVRC-2012
CORES = (2, 16, 64)  # machines that the table is made for
DEMANDS = (5_000, 15_000)  # what GPUs take, in images per second
WORKERS = (1, 2, 8)  # on as many cores; counts that the machine does not have are left out
KEEP = {"MALLOC_TRIM_THRESHOLD_": "1000000000000", "MALLOC_MMAP_MAX_": "0"}  # glibc keeps what is freed
# name -> (format, cores, environment, what it is)
CONTENDERS: dict[str, tuple[str, int, dict[str, str], str]] = {
    f"{who} {kind} x{cores} {out}": (kind, cores, env, about)
    for who, kind, cores, out, env, about in (
        *(("ours", kind, cores, out, {}, f"Loader, {cores} thread{'s' * (cores > 1)}, {what}")
          for kind in ("tar", "npy") for cores in WORKERS
          for out, what in (("uint8", "windows as bytes"), ("float32", "windows minus the mean image"),
                            ("feed", "whole images for a GPU"))),
        ("pillow", "tar", 1, "uint8", {}, "a loop with Pillow and NumPy"),
        *(("torch", "tar", cores, "uint8", {}, f"DataLoader, {cores} worker process{'es' * (cores > 1)}")
          for cores in WORKERS),
        *(("torch", "tar", cores, "uint8 malloc", KEEP, "the same, malloc told to keep freed memory as ours is")
          for cores in WORKERS))}
BASE = "ours tar x1 uint8"


def take(job: dict, environment: dict[str, str], what: str, retries: int) -> harness.Sample:
    """A sample, reported on stderr. It is repeated while others use the machine; the least disturbed one is kept."""
    sample = harness.sample(CHILD, job, environment, retries)
    if "error" in sample:
        result = f"failed: {sample['error']}"
    else:
        result = (f"{sample['images_s']:,.0f} img/s, {sample['core_s']:,.0f} per core, "
                  f"others {100 * sample.get('foreign', 0):.0f} %")
    noise = " (noisy)" if sample.get("noisy") else ""
    harness.say(f"{what}: {job['contender']}: {result}{noise}")
    return sample


def prepare(source: Path | None, folder: Path, images: int, kind: str, workers: int) -> float:
    """Seconds that `minitorch_alex.prepare` takes to make the set `folder`. Raises DataError when it fails."""
    paths = ["--synthetic", str(images), str(folder)] if source is None else [str(source), str(folder)]
    begin = time.perf_counter()
    command = [sys.executable, "-m", "minitorch_alex.prepare", *paths, "--format", kind, "-j", str(workers)]
    done = subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"prepare failed: {done.stderr.strip().splitlines()[-1:]}")
    return time.perf_counter() - begin


def derived(summary: dict[str, Any]) -> dict[str, Any]:
    """What the medians mean for ImageNet, as far as cores add up: minutes per epoch, and cores for a GPU's demand."""
    result = {}
    for name in summary:
        rate = summary[name].get("images_s")
        if " x1 " in name and rate:
            result[name] = {
                "minutes_per_imagenet_epoch": {str(n): round(IMAGENET / (rate * n) / 60, 2) for n in CORES},
                "feeds": {f"{demand} img/s": {"cores": round(demand / rate, 2),
                                              **{str(n): rate * n >= demand for n in CORES}} for demand in DEMANDS}}
    return result


def table(content: dict[str, Any]) -> str:
    """The measurements as text."""
    summary = content["reader"]["all"]["summary"]
    lines = ["| reader | img/s | img/s per CPU second | the first row is faster by (median, least to largest) |",
             "|---|---:|---:|---:|"]
    for name, row in summary.items():
        if row.get("images_s"):
            ratio = row.get("images_s_ratio")
            times = f"{ratio[0]:.2f}, {ratio[1]:.2f} to {ratio[2]:.2f}" if ratio else ""
            lines.append(f"| {name} | {row['images_s']:,.0f} | {row['core_s']:,.0f} | {times} |")
    for name, entry in content.get("prepare", {}).items():
        lines.append(f"| prepare {name} | {entry['images_s']:,.0f} | | |")
    heads = ["reader, cores adding up", *(f"minutes per epoch, {n} cores" for n in CORES),
             *(f"cores for {d:,} img/s" for d in DEMANDS)]
    lines += ["", f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, row in content["reader"]["all"]["derived"].items():
        minutes = " | ".join(f"{row['minutes_per_imagenet_epoch'][str(n)]:.2f}" for n in CORES)
        cores = " | ".join(f"{row['feeds'][f'{d} img/s']['cores']:.1f}" for d in DEMANDS)
        lines.append(f"| {name} | {minutes} | {cores} |")
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = cli.parser("benchmarks.reader", (__doc__ or "").partition(": ")[2])
    p.add_argument("--source", type=Path, metavar="DIR", help="images to prepare and to read, in any layout that "
                   "`prepare` takes (default: drawn images)")
    p.add_argument("--images", type=int, default=4000, metavar="N",
                   help="how many images to draw without --source (default: 4000)")
    p.add_argument("--contenders", nargs="+", default=list(CONTENDERS), metavar="NAME",
                   help=f"readers to compare, some of: {', '.join(CONTENDERS)} (default: all)")
    p.add_argument("--rounds", type=int, default=7, metavar="N", help="samples per reader, taken in turn (default: 7)")
    p.add_argument("--seconds", type=float, default=3, metavar="S", help="length of a sample (default: 3)")
    p.add_argument("--retries", type=int, default=2, metavar="N",
                   help="how often a sample is repeated while other programs are busy (default: 2)")
    p.add_argument("--crop", type=int, default=224, metavar="N", help="side of the windows (default: 224)")
    p.add_argument("--out", type=Path, default=RESULT, metavar="FILE",
                   help=f"where to write the JSON (default: results/{RESULT.name})")
    p.add_argument("--show", type=Path, metavar="FILE", help="only print the tables of such a JSON")
    args = p.parse_args(argv)
    if args.images < 20 or args.rounds < 1 or args.seconds < 0 or args.retries < 0:
        raise UsageError(f"--images must be at least 20, --rounds 1, --seconds and --retries 0; got {args.images}, "
                         f"{args.rounds}, {args.seconds} and {args.retries}")
    unknown = [name for name in args.contenders if name not in CONTENDERS]
    if unknown:
        raise UsageError(f"--contenders: unknown {unknown[0]!r}; there are: {', '.join(CONTENDERS)}")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.show:
        print(table(harness.read(args.show, "--show")))
        return 0
    cpus = available_cpus()
    machine = {"cpu": cpu_name(), "cpus": cpus, "system": platform.platform(), "python": platform.python_version(),
               **{name: harness.installed(name) for name in ("numpy", "pillow", "torch")}}
    command = shlex.join(["python", "-m", "benchmarks.reader", *(sys.argv[1:] if argv is None else argv)])
    record = harness.Record(args.out, command, machine)
    names = [name for name in args.contenders if CONTENDERS[name][1] <= cpus
             and (not name.startswith("torch") or machine["torch"])]

    with tempfile.TemporaryDirectory(prefix="reader-") as scratch:
        folders = {kind: Path(scratch) / kind for kind in ("tar", "npy")}
        for kind, folder in folders.items():
            seconds = prepare(args.source, folder, args.images, kind, cpus)
            index = json.loads((folder / "index.json").read_text())
            count = sum(split["images"] for split in index["splits"].values())
            n_bytes = sum(shard["bytes"] for split in index["splits"].values() for shard in split["shards"])
            record.put("prepare", kind, {"images": count, "source": index["source"], "workers": cpus,
                                         "seconds": round(seconds, 1), "images_s": round(count / seconds, 1),
                                         "kb_an_image": round(n_bytes / count / 1e3, 1)})
            harness.say(f"prepare {kind}: {count / seconds:,.0f} img/s with {cpus} workers, start included")

        def sample(name: str, i: int) -> harness.Sample:
            kind, cores, environment, _ = CONTENDERS[name]
            job = {"task": "measure", "contender": name, "folder": str(folders[kind]), "cores": cores,
                   "crop": args.crop, "seconds": args.seconds, "warm_up": 4}
            return take(job, environment, f"round {i + 1}/{args.rounds}", args.retries)

        for taken in harness.alternate(names, args.rounds, sample):
            summary = harness.summarise(taken, ("images_s", "core_s"), BASE)
            for name in summary:
                summary[name]["about"] = CONTENDERS[name][3]
            record.put("reader", "all", {"crop": args.crop, "batch": 128, "seconds": args.seconds, "summary": summary,
                                         "derived": derived(summary), "samples": taken})
    print(table(record.content))
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
