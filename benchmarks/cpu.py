"""python -m benchmarks.cpu: minitorch_alex against PyTorch on this machine's processor."""
import argparse
import shlex
import time
from pathlib import Path

from minitorch_alex.errors import UsageError
from minitorch_alex.training import cli

from . import harness, report
from .workloads import ABOUT, CONTENDERS, IDEAS, WORKLOADS

CHILD = "benchmarks.contenders"
RESULT = harness.ROOT / "results" / "cpu_speed.json"
SECTIONS = ("speed", "memory", "layers", "ceilings", "overhead", "ideas", "growth")
LAYERS = ("alexnet-b128", "net_w2-b128")
OVERHEAD = ("alexnet-b128", "net_18-b128", "net_w2-b128")
IDEAS_OF = ("alexnet-b128", "net_w2-b128")
GROWTH = ("alexnet-b128", "net_w2-b128")


class Plan:
    """How much is measured; --quick measures next to nothing, to see that all of it works."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.workloads, self.contenders, self.quick = args.workloads, args.contenders, args.quick
        self.rounds = 1 if args.quick else args.rounds
        self.few = min(2, self.rounds)  # rounds of `layers`
        self.seconds, self.retries = (0, 0) if args.quick else (3, 2)

    def batch(self, workload: str) -> int:
        return min(4, WORKLOADS[workload].batch) if self.quick else WORKLOADS[workload].batch

    def job(self, task: str, workload: str, contender: str = "ours", **more: object) -> dict:
        """The steps of a sample: the first ones make arrays and get memory from the system, more of it where malloc
        is to keep it."""
        warm_up = 1 if self.quick else 3 if CONTENDERS[contender] else 2
        return {"task": task, "contender": contender, "workload": workload, "batch": self.batch(workload),
                "warm_up": warm_up, "least": 2, "seconds": self.seconds} | more

    def some(self, *names: str) -> list[str]:
        """Of these contenders or workloads, those asked for."""
        return [name for name in names if name in (*self.contenders, *self.workloads)]


def take(plan: Plan, job: dict, what: str, environment: dict[str, str] | None = None) -> harness.Sample:
    return harness.take(CHILD, job, what, environment or CONTENDERS[job["contender"]], plan.retries)


def speed(record: harness.Record, plan: Plan, section: str = "speed") -> None:
    """Training and inference of each workload by each contender, in turn; for `memory` one short round."""
    rounds = 1 if section == "memory" else plan.rounds
    for name in plan.workloads:
        workload, settings = WORKLOADS[name], {}

        def sample(contender: str, i: int, name: str = name, settings: dict = settings) -> harness.Sample | None:
            if contender == "dezero" and (i or not WORKLOADS[name].dezero):
                return None
            if contender == "ours-winograd" and not WORKLOADS[name].winograd:
                return None
            job = plan.job("speed", name, contender) | ({"seconds": 0} if section == "memory" else {})
            got = take(plan, job, f"{section} {name} {i + 1}/{rounds}")
            if "setting" in got:
                settings[contender] = got.pop("setting")
            return got

        for taken in harness.alternate(plan.contenders, rounds, sample):
            taken = {contender: samples for contender, samples in taken.items() if samples}
            record.put(section, name, {
                "net": workload.net, "batch": plan.batch(name), "image_size": workload.size, "note": workload.note,
                "summary": harness.summarise(taken, ("train", "inference")), "settings": settings, "samples": taken})


def memory(record: harness.Record, plan: Plan) -> None:
    """Peak memory: of the samples of `speed` where there are any, or else of a short round."""
    measured = record.content.get("speed", {})
    missing = [name for name in plan.workloads if name not in measured]
    if missing:
        plan.workloads, wanted = missing, plan.workloads
        speed(record, plan, "memory")
        plan.workloads = wanted
    for name in plan.some(*measured):
        rows = measured[name]["summary"]
        record.put("memory", name, {"batch": measured[name]["batch"],
                                    "summary": {who: {"peak_mb": row["peak_mb"]} for who, row in rows.items()}})


def layers(record: harness.Record, plan: Plan) -> None:
    """Seconds forward and backward of each layer by itself, the fastest of all repeats and rounds."""
    names = plan.some("ours", "ours-winograd", "torch-malloc", "torch-nhwc", "torch-best")
    for name in plan.some(*LAYERS):
        def sample(contender: str, i: int, name: str = name) -> harness.Sample:
            return take(plan, plan.job("layers", name, contender, least=1 if plan.quick else 3),
                        f"layers {name} {i + 1}/{plan.few}")

        for taken in harness.alternate(names, plan.few, sample):
            best = {contender: {layer: [min(pair) for pair in zip(*(s["layers"][layer] for s in samples))]
                                for layer in samples[0]["layers"]}
                    for contender, samples in taken.items() if samples and "error" not in samples[-1]}
            record.put("layers", name, {"batch": plan.batch(name), "seconds": best})


def ceilings(record: harness.Record, plan: Plan) -> None:
    """What the machine can do, and the shortest step that leaves."""
    job = plan.job("ceilings", plan.workloads[0], side=512 if plan.quick else 3072, megabytes=8 if plan.quick else 256,
                   least=2 if plan.quick else 8, workloads=plan.workloads)
    got = take(plan, job, "ceilings")
    if "error" in got:
        return
    fastest = max(rate["gemm"] for rate in got["rates"].values())
    floors = {name: {"gflop_per_image": flops / 1e9, "images_per_second": round(1e9 * fastest / flops, 1)}
              for name, flops in got.pop("flops_per_image").items()}
    record.put("ceilings", "machine", got)
    record.put("ceilings", "floors", record.content["ceilings"].get("floors", {}) | floors)


def overhead(record: harness.Record, plan: Plan) -> None:
    """A step through Tensors against the same step by bare kernels."""
    for name in plan.some(*OVERHEAD):
        got = take(plan, plan.job("overhead", name, least=2 if plan.quick else 7, seconds=4 * plan.seconds),
                   f"overhead {name}")
        if "error" not in got:
            record.put("overhead", name, {"batch": plan.batch(name)} | got)


def ideas(record: harness.Record, plan: Plan) -> None:
    """Training with everything, and with one thing changed."""
    rounds = min(3, plan.rounds)
    for name in plan.some(*IDEAS_OF):
        def sample(idea: str, i: int, name: str = name) -> harness.Sample:
            job = plan.job("ideas", name, idea=idea)
            return take(plan, job, f"ideas {name} {i + 1}/{rounds}, {idea}", IDEAS[idea])

        for taken in harness.alternate(IDEAS, rounds, sample):
            record.put("ideas", name, {"batch": plan.batch(name), "samples": taken,
                                       "summary": harness.summarise(taken, ("train",), "all")})


def growth(record: harness.Record, plan: Plan) -> None:
    """Images a second by batch size and threads; one round."""
    cpus, threads = record.content["machine"]["cpus"], [1]
    while 2 * threads[-1] <= cpus:
        threads.append(2 * threads[-1])
    threads += [cpus] if threads[-1] != cpus else []
    batches = [1, 2] if plan.quick else [1, 8, 32, 128]
    names = plan.some("ours", "torch-malloc")
    for name in plan.some(*GROWTH):
        rows: list[dict] = []
        for count in threads:
            def sample(contender: str, i: int, name: str = name, count: int = count) -> harness.Sample:
                job = plan.job("growth", name, contender, threads=count, batches=batches, seconds=plan.seconds / 3)
                return take(plan, job, f"growth {name}, threads {count}")

            (taken,) = harness.alternate(names, 1, sample)
            rows += [{"threads": count, "batch": batch} | {
                who: {key: round(got[str(batch)][key], 1) for key in ("train", "inference")}
                for who, (got,) in taken.items() if "error" not in got} for batch in batches]
            record.put("growth", name, rows)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.parser(
        "benchmarks.cpu",
        "Speed and memory of minitorch_alex beside PyTorch's, on a CPU. Each sample is a process of its "
                    "own;\ncontenders take turns. Progress goes to stderr, tables in Markdown to stdout, all numbers "
                    "to a JSON\nfile, in which sections and workloads that are not measured now stay as they were.",
        epilog="contenders:\n" + "\n".join(f"  {name:<15}{text}" for name, text in ABOUT.items()) + "\n\nworkloads:\n"
               + "\n".join(f"  {name:<26}{w.size} x {w.size}, batch {w.batch}" for name, w in WORKLOADS.items())
               + "\n\nsections:\n  speed     training and inference in images a second, ratios within a round\n"
               "  memory    the peak of each process\n  layers    forward and backward, layer by layer\n"
               "  ceilings  matrix product, copy and sum: the fastest that this machine could be\n"
               "  overhead  a step through Tensors against the bare kernels\n"
               "  ideas     with one thing changed that makes ours fast\n"
               "  growth    by batch size and by threads\n\n" + cli.EXIT_CODES)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="NAME",
                        help="default: all")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME",
                        help="default: all")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME",
                        help="default: all whose package is installed")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of all contenders (default: 5)")
    parser.add_argument("--quick", action="store_true",
                        help="batches of 4 and one round, to see that it works; writes only where --out says")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the JSON file (default: results/cpu_speed.json)")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing; print the tables of this JSON file")
    parser.add_argument("--summary", action="store_true", help="print the short table of the README only")
    parser.add_argument("--plot", type=Path, metavar="FILE",
                        help="draw img/s relative to torch-malloc (.png .svg .pdf)")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {args.rounds}")
    if args.plot and args.plot.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {args.plot}: the name must end in .png, .svg or .pdf")
    present = [name for name in CONTENDERS if name.startswith("ours") or harness.installed(name.partition("-")[0])]
    args.contenders = args.contenders or present
    absent = [name for name in args.contenders if name not in present]
    if absent and not args.show:
        raise UsageError(f"{', '.join(absent)} cannot run here: install {absent[0].partition('-')[0]}, or leave it out")
    return args


def command(args: argparse.Namespace) -> str:
    """The command that measures the same, without the names of files."""
    words = [] if args.sections == SECTIONS else ["--sections", *args.sections]
    words += [] if args.workloads == list(WORKLOADS) else ["--workloads", *args.workloads]
    words += ["--contenders", *args.contenders, "--rounds", str(args.rounds), *(["--quick"] if args.quick else [])]
    return shlex.join(["python", "-m", "benchmarks.cpu", *words])


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.show:
        content = harness.read(args.show, "--show")
    else:
        start, path = time.perf_counter(), args.out or (None if args.quick else RESULT)
        machine = harness.run_child(CHILD, {"task": "machine"}, {})
        record, plan = harness.Record(path, command(args), machine), Plan(args)
        for section in args.sections:
            {"speed": speed, "memory": memory, "layers": layers, "ceilings": ceilings, "overhead": overhead,
             "ideas": ideas, "growth": growth}[section](record, plan)
        harness.say(f"done in {(time.perf_counter() - start) / 60:.1f} min" + (f": {path}" if path else ""))
        content = record.content
    if args.summary and "speed" not in content:
        raise UsageError("--summary is of the section speed, which was not measured")
    print(report.summary(content) if args.summary else report.tables(content))
    if args.plot:
        report.plot(content, args.plot)
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
