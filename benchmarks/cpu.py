"""python -m benchmarks.cpu: minitorch_alex compared with PyTorch on this machine's processor."""
import argparse
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minitorch_alex.errors import UsageError
from minitorch_alex.training import cli

from . import harness, report
from .workloads import ABOUT, CONTENDERS, IDEAS, PACKAGES, WORKLOADS

CHILD = "benchmarks.contenders"
RESULT = harness.ROOT / "results" / "cpu_speed.json"

# Sections that measure only some of the workloads or contenders.
LAYERS = ("alexnet-b128", "net_w2-b128")
OVERHEAD = ("alexnet-b128", "net_18-b128", "net_w2-b128")
IDEAS_OF = ("alexnet-b128", "net_w2-b128")
GROWTH = ("alexnet-b128", "net_w2-b128")
LAYERS_BY = ("ours", "ours-winograd", "torch-malloc", "torch-nhwc", "torch-best")
GROWTH_BY = ("ours", "torch-malloc")
# Slow, most of them to start: fewer rounds must do.
AT_MOST = {"dezero": 1, "torch-compile": 2, "torch-compile-nhwc": 2, "jax": 1, "tinygrad": 1}


class Plan:
    """How much is measured. With --quick next to nothing, to see that all of it works."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.workloads = args.workloads
        self.contenders = args.contenders
        self.quick = args.quick
        self.resume = args.resume
        self.rounds = 1 if args.quick else args.rounds
        self.layer_rounds = min(2, self.rounds)
        self.seconds = 0 if args.quick else 3
        self.retries = 0 if args.quick else 2

    def batch(self, workload: str) -> int:
        """The batch size of a workload."""
        batch = WORKLOADS[workload].batch
        return min(4, batch) if self.quick else batch

    def job(self, task: str, workload: str, contender: str = "ours", **more: object) -> dict:
        """What a child has to do: warm up, then at least two steps and `seconds` of them.

        The first steps make arrays and get memory from the system; one step more if malloc is told
        to keep it.
        """
        warm_up = 3 if CONTENDERS[contender] else 2
        job = {"task": task, "contender": contender, "workload": workload,
               "batch": self.batch(workload), "warm_up": 1 if self.quick else warm_up,
               "least": 2, "seconds": self.seconds}
        return job | more

    def known(self, record: harness.Record, section: str, name: str) -> dict:
        """With --resume, an entry that was measured on this commit; else {}."""
        entry = record.content.get(section, {}).get(name, {})
        current = self.resume and entry and entry.get("commit") == record.run["commit"]
        return entry if current else {}

    def entrants(self, workload: str) -> list[str]:
        """The contenders of a workload: those that have a form of it, or are not too slow."""
        about = WORKLOADS[workload]
        absent = {"dezero": not about.dezero, "ours-winograd": not about.winograd}
        return [name for name in self.contenders if not absent.get(name)]

    def choose(self, *names: str) -> list[str]:
        """Those of these contenders or workloads that were asked for."""
        return [name for name in names if name in (*self.contenders, *self.workloads)]


def take(plan: Plan, job: dict, what: str,
         environment: dict[str, str] | None = None) -> harness.Sample:
    """A sample of a contender, by default in its own environment."""
    environment = environment or CONTENDERS[job["contender"]]
    return harness.take(CHILD, job, what, environment, plan.retries)


# The sections


def speed(record: harness.Record, plan: Plan, section: str = "speed") -> None:
    """Training and inference of each workload by each contender, in turn.

    For the section `memory` one short round is enough.
    """
    short = section == "memory"
    rounds = 1 if short else plan.rounds
    for name in plan.workloads:
        workload = WORKLOADS[name]
        before = plan.known(record, section, name)
        settings: dict[str, Any] = dict(before.get("settings", {}))

        # name=name: the function must keep the workload of this turn of the loop.
        def sample(contender: str, i: int, name: str = name,
                   settings: dict = settings) -> harness.Sample:
            job = plan.job("speed", name, contender) | ({"seconds": 0} if short else {})
            result = take(plan, job, f"{section} {name} {i + 1}/{rounds}")
            if "setting" in result:  # the same in every round: kept once
                settings[contender] = result.pop("setting")
            return result

        # Written after every round: a benchmark that is stopped keeps what it has measured.
        for taken in harness.alternate(plan.entrants(name), rounds, sample,
                                       before.get("samples"), AT_MOST):
            samples = {contender: some for contender, some in taken.items() if some}
            record.put(section, name, {
                "net": workload.net,
                "batch": plan.batch(name),
                "image_size": workload.size,
                "note": workload.note,
                "summary": harness.summarise(samples, ("train", "inference")),
                "settings": settings,
                "samples": samples,
            })


def memory(record: harness.Record, plan: Plan) -> None:
    """Peak memory: from the samples of `speed` if there are any, else from a short round."""
    measured = record.content.get("speed", {})
    missing = [name for name in plan.workloads if name not in measured]
    if missing:
        asked = plan.workloads
        plan.workloads = missing
        speed(record, plan, "memory")
        plan.workloads = asked
    for name in plan.choose(*measured):
        rows = measured[name]["summary"]
        peaks = {contender: {"peak_mb": row["peak_mb"]} for contender, row in rows.items()}
        record.put("memory", name, {"batch": measured[name]["batch"], "summary": peaks})


def layers(record: harness.Record, plan: Plan) -> None:
    """Seconds forward and backward of each layer alone, the fastest of all repeats and rounds."""
    for name in plan.choose(*LAYERS):
        if plan.known(record, "layers", name):
            continue

        def sample(contender: str, i: int, name: str = name) -> harness.Sample:
            job = plan.job("layers", name, contender, least=1 if plan.quick else 3)
            return take(plan, job, f"layers {name} {i + 1}/{plan.layer_rounds}")

        # Written after the last round: with --resume an entry counts as complete.
        *_, taken = harness.alternate(plan.choose(*LAYERS_BY), plan.layer_rounds, sample)
        seconds = {contender: fastest_layers(samples) for contender, samples in taken.items()
                   if samples and "error" not in samples[-1]}
        record.put("layers", name, {"batch": plan.batch(name), "seconds": seconds})


def fastest_layers(samples: list[harness.Sample]) -> dict[str, list[float]]:
    """layer -> [seconds forward, seconds backward], each the least of several samples."""
    return {layer: [min(pair) for pair in zip(*(s["layers"][layer] for s in samples))]
            for layer in samples[0]["layers"]}


def ceilings(record: harness.Record, plan: Plan) -> None:
    """What the machine can do at most, and the training speed that this would allow."""
    floors = record.content.get("ceilings", {}).get("floors", {})
    if plan.known(record, "ceilings", "machine") and floors.keys() >= set(plan.workloads):
        return
    job = plan.job("ceilings", plan.workloads[0],
                   side=512 if plan.quick else 3072,
                   megabytes=8 if plan.quick else 256,
                   least=2 if plan.quick else 8,
                   workloads=plan.workloads)
    result = take(plan, job, "ceilings")
    if "error" in result:
        return
    # Nearly all arithmetic is in matrix products, so the fastest of these sets the ceiling.
    fastest = max(rate["gemm"] for rate in result["rates"].values())
    for name, flops in result.pop("flops_per_image").items():
        floors[name] = {"gflop_per_image": flops / 1e9,
                        "images_per_second": round(1e9 * fastest / flops, 1)}
    record.put("ceilings", "floors", floors)
    record.put("ceilings", "machine", result)


def overhead(record: harness.Record, plan: Plan) -> None:
    """A step through Tensors compared with the same step by bare kernels."""
    for name in plan.choose(*OVERHEAD):
        if plan.known(record, "overhead", name):
            continue
        # The two differ no more than two runs of either: it takes many pairs to see that.
        job = plan.job("overhead", name, least=2 if plan.quick else 7, seconds=4 * plan.seconds)
        result = take(plan, job, f"overhead {name}")
        if "error" not in result:
            record.put("overhead", name, {"batch": plan.batch(name)} | result)


def ideas(record: harness.Record, plan: Plan) -> None:
    """Training with all ideas, and with one of them changed."""
    rounds = min(3, plan.rounds)
    for name in plan.choose(*IDEAS_OF):
        before = plan.known(record, "ideas", name).get("samples")

        def sample(idea: str, i: int, name: str = name) -> harness.Sample:
            job = plan.job("ideas", name, idea=idea)
            return take(plan, job, f"ideas {name} {i + 1}/{rounds}, {idea}", IDEAS[idea])

        for taken in harness.alternate(IDEAS, rounds, sample, before):
            summary = harness.summarise(taken, ("train",), "all")  # ratios to all ideas together
            record.put("ideas", name,
                       {"batch": plan.batch(name), "samples": taken, "summary": summary})


def growth(record: harness.Record, plan: Plan) -> None:
    """Images per second by batch size and number of threads; one round."""
    batches = [1, 2] if plan.quick else [1, 8, 32, 128]
    names = plan.choose(*GROWTH_BY)
    for name in plan.choose(*GROWTH):
        rows: list[dict] = []
        for count in thread_counts(record.content["machine"]["cpus"]):
            def sample(contender: str, i: int, name: str = name,
                       count: int = count) -> harness.Sample:
                job = plan.job("growth", name, contender, threads=count, batches=batches,
                               seconds=plan.seconds / 3)
                return take(plan, job, f"growth {name}, threads {count}")

            (taken,) = harness.alternate(names, 1, sample)
            rows += growth_rows(taken, count, batches)
            record.put("growth", name, rows)


def thread_counts(cpus: int) -> list[int]:
    """1, 2, 4, ... up to the number of CPUs, and that number."""
    counts = [1]
    while 2 * counts[-1] <= cpus:
        counts.append(2 * counts[-1])
    return counts if counts[-1] == cpus else [*counts, cpus]


def growth_rows(taken: dict[str, list[harness.Sample]], threads: int,
                batches: list[int]) -> list[dict]:
    """One row per batch size, with the speeds of each contender that did not fail."""
    rows = []
    for batch in batches:
        row: dict[str, Any] = {"threads": threads, "batch": batch}
        for contender, (result,) in taken.items():
            if "error" not in result:
                speeds = result[str(batch)]
                row[contender] = {key: round(speeds[key], 1) for key in ("train", "inference")}
        rows.append(row)
    return rows


SECTIONS: dict[str, Callable[[harness.Record, Plan], None]] = {
    "speed": speed,
    "memory": memory,
    "layers": layers,
    "ceilings": ceilings,
    "overhead": overhead,
    "ideas": ideas,
    "growth": growth,
}
ABOUT_SECTIONS = {
    "speed": "training and inference in images per second, ratios within a round",
    "memory": "the peak of each process",
    "layers": "forward and backward, layer by layer",
    "ceilings": "matrix product, copy and sum: the fastest that this machine could be",
    "overhead": "a step through Tensors compared with the bare kernels",
    "ideas": "with one change to the ideas that make ours fast",
    "growth": "by batch size and by threads",
}


# The command line


def epilog() -> str:
    """The lists at the end of --help."""
    lists = {
        "contenders": [f"  {name:<20}{text}" for name, text in ABOUT.items()],
        "workloads": [f"  {name:<26}{w.size} x {w.size}, batch {w.batch}"
                      for name, w in WORKLOADS.items()],
        "sections": [f"  {name:<10}{text}" for name, text in ABOUT_SECTIONS.items()],
    }
    parts = ["\n".join([f"{heading}:", *lines]) for heading, lines in lists.items()]
    return "\n\n".join([*parts, cli.EXIT_CODES])


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Raises UsageError for those that make no sense, and for contenders whose
    package is not installed."""
    parser = cli.parser(
        "benchmarks.cpu",
        "Compare the speed and memory of minitorch_alex and PyTorch on a CPU. Each sample is a\n"
        "process of its own; contenders take turns. Progress goes to stderr, Markdown tables to\n"
        "stdout, all numbers to a JSON file, which keeps the sections and workloads that are not\n"
        "measured this time.",
        epilog=epilog())
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS), default=list(SECTIONS),
                        metavar="NAME", help="default: all")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS),
                        metavar="NAME", help="default: all")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME",
                        help="default: all whose package is installed")
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="turns of all contenders (default: 5)")
    parser.add_argument("--resume", action="store_true",
                        help="measure only what the file lacks for this commit, down to single "
                             "rounds of a workload (the section growth: anew)")
    parser.add_argument("--quick", action="store_true",
                        help="one round with batches of 4, to see that it works; writes a file "
                             "only with --out")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="the JSON file (default: results/cpu_speed.json)")
    parser.add_argument("--show", type=Path, metavar="FILE",
                        help="measure nothing; print the tables of this JSON file")
    parser.add_argument("--summary", action="store_true",
                        help="print only the short table of the README")
    parser.add_argument("--plot", type=Path, metavar="FILE",
                        help="draw the speeds relative to torch-malloc (.png .svg .pdf)")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {args.rounds}")
    if args.resume and args.quick:
        raise UsageError("--resume goes on with measurements, --quick makes none: leave out one of "
                         "the two")
    if args.plot and args.plot.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {args.plot}: the name must end in .png, .svg or .pdf")
    present = [name for name in CONTENDERS
               if package(name) == "ours" or harness.installed(package(name))]
    args.contenders = args.contenders or present
    absent = [name for name in args.contenders if name not in present]
    if absent and not args.show:
        raise UsageError(f"{', '.join(absent)} cannot run here: install {package(absent[0])}, or "
                         "leave it out of --contenders")
    lacking = [name for name in PACKAGES if not harness.installed(name)]
    if lacking and not args.show:
        harness.say(f"not installed, so not measured: {', '.join(lacking)}")
    return args


def package(contender: str) -> str:
    """The package of a contender: the torch of torch-best."""
    return contender.partition("-")[0]


def command(args: argparse.Namespace) -> str:
    """The command that measures the same, without the names of files."""
    words = [] if args.sections == list(SECTIONS) else ["--sections", *args.sections]
    words += [] if args.workloads == list(WORKLOADS) else ["--workloads", *args.workloads]
    words += ["--contenders", *args.contenders, "--rounds", str(args.rounds)]
    words += ["--quick"] if args.quick else []
    return shlex.join(["python", "-m", "benchmarks.cpu", *words])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what the arguments ask for; the content of the JSON file."""
    start = time.perf_counter()
    path = args.out or (None if args.quick else RESULT)
    machine = harness.run_child(CHILD, {"task": "machine"}, {})
    record = harness.Record(path, command(args), machine)
    plan = Plan(args)
    for section in args.sections:
        SECTIONS[section](record, plan)
    minutes = (time.perf_counter() - start) / 60
    harness.say(f"done in {minutes:.1f} min" + (f": {path}" if path else ""))
    return record.content


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = arguments(argv)
    content = harness.read(args.show, "--show") if args.show else measure(args)
    return harness.finish(content, args, report)


if __name__ == "__main__":
    cli.run_cli(main)
