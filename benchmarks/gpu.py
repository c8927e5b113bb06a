"""python -m benchmarks.gpu: minitorch_alex with --backend cupy compared with PyTorch on a GPU."""
import argparse
import shlex
import time
from pathlib import Path

from minitorch_alex.backend import PRECISIONS
from minitorch_alex.errors import BackendError, UsageError
from minitorch_alex.training import cli

from . import gpu_report, harness
from .workloads import GPU_ABOUT, GPU_WORKLOADS

CHILD = "benchmarks.gpu_contenders"
RESULT = harness.ROOT / "results" / "gpu_speed.json"
SECTIONS = ("ceilings", "speed", "kernels", "layers", "feed")
LAYERS = ("alexnet-b128", "alexnet_cifar-b128", "net_18-b128")
FEED = LAYERS
KERNELS = ("alexnet-b256", "alexnet_torchvision-b256", *LAYERS)


class OutOfTimeError(Exception):
    """The budget does not suffice for another sample."""


class Plan:
    """How much is measured, and how much time is left for it. With --quick it is next to nothing,
    to see that everything works. Contenders are those that can run here."""

    def __init__(self, args: argparse.Namespace, contenders: list[str], record: harness.Record,
                 end: float) -> None:
        self.workloads = args.workloads
        self.precisions = args.precisions
        self.contenders = contenders
        self.quick = args.quick
        self.resume = args.resume
        self.record = record
        self.rounds = 1 if args.quick else args.rounds
        self.end = end      # of the budget, by time.monotonic
        self.longest = 0.0  # seconds that a sample took

    def entries(self, of: tuple[str, ...] = tuple(GPU_WORKLOADS)) -> list[tuple[str, str, str]]:
        """(name, workload, precision) of all that is asked for."""
        return [(f"{name}-{precision}", name, precision)
                for name in self.workloads if name in of
                for precision in self.precisions]

    def batch(self, workload: str) -> int:
        return 2 if self.quick else GPU_WORKLOADS[workload].batch

    def about(self, workload: str, precision: str) -> dict:
        """What an entry says of its workload."""
        net = GPU_WORKLOADS[workload]
        return {
            "net": net.net,
            "batch": self.batch(workload),
            "precision": precision,
            "image_size": net.size,
            "note": net.note,
        }

    def known(self, section: str, name: str) -> dict:
        """With --resume, an entry that was measured on this commit; else {}."""
        entry = self.record.content.get(section, {}).get(name, {})
        current = entry.get("commit") == self.record.run["commit"]
        return entry if self.resume and current else {}

    def take(self, task: str, workload: str, precision: str, contender: str, what: str,
             **more: object) -> harness.Sample:
        """A sample, measured by a child process. Raises OutOfTimeError when the budget does not
        suffice: a child that outlasts it is stopped."""
        left = self.end - time.monotonic()
        if left < 1.1 * self.longest or left <= 0:
            raise OutOfTimeError
        job = {
            "task": task,
            "contender": contender,
            "workload": workload,
            "batch": self.batch(workload),
            "precision": precision,
            "warm_up": 1 if self.quick else 5,
            "least": 2 if self.quick else 5,
            "seconds": 0.01 if self.quick else 1.0,
        } | more
        start = time.monotonic()
        limit = min(left, harness.TIMEOUT)
        got = harness.take(CHILD, job, what, {}, 0, limit)
        if "error" in got and time.monotonic() - start >= limit:
            raise OutOfTimeError
        self.longest = max(self.longest, time.monotonic() - start)
        return got


def ceilings(plan: Plan) -> None:
    """Products and copies, and the shortest step that the products leave."""
    if plan.known("ceilings", "machine"):
        return
    got = plan.take("ceilings", plan.workloads[0], "", "ours", "ceilings",
                    side=256 if plan.quick else 8192, megabytes=4 if plan.quick else 1024,
                    precisions=PRECISIONS, workloads=plan.workloads)
    if "error" in got:
        return
    floors = dict(plan.record.content.get("ceilings", {}).get("floors", {}))
    for name, work in got.pop("flops_per_image").items():
        floors[name] = {"gflop_per_image": work / 1e9}
        for precision in PRECISIONS:  # images per second
            floors[name][precision] = round(1e9 * got["rates"][f"gemm_{precision}"] / work, 1)
    plan.record.put("ceilings", "floors", floors)
    plan.record.put("ceilings", "machine", got)


def speed(plan: Plan) -> None:
    """Training of each workload by each contender: one round of all, then the next, so that a
    budget leaves out rounds and not workloads."""
    turns = []
    for name, workload, precision in plan.entries():
        before = plan.known("speed", name)
        settings: dict[str, dict] = dict(before.get("settings", {}))

        def sample(contender: str, i: int, workload: str = workload, precision: str = precision,
                   settings: dict = settings) -> harness.Sample:
            got = plan.take("speed", workload, precision, contender,
                            f"speed {workload} {precision} {i + 1}/{plan.rounds}")
            if "setting" in got:
                settings[contender] = got.pop("setting")
            return got

        samples = {who: before.get("samples", {}).get(who, []) for who in plan.contenders}
        turn = harness.alternate(plan.contenders, plan.rounds, sample, samples)
        done = harness.whole_rounds(samples)
        turns.append((name, plan.about(workload, precision), settings, done, turn))
    for i in range(plan.rounds):
        for name, about, settings, done, turn in turns:
            if i >= done:
                taken = {who: samples for who, samples in next(turn).items() if samples}
                summary = harness.summarise(taken, ("train", "inference"))
                entry = {"summary": summary, "settings": settings, "samples": taken}
                plan.record.put("speed", name, about | entry)


def kernels(plan: Plan) -> None:
    """Where a training step of ours goes."""
    for name, workload, precision in plan.entries(KERNELS):
        if plan.known("kernels", name):
            continue
        got = plan.take("kernels", workload, precision, "ours",
                        f"kernels {workload} {precision}", steps=2 if plan.quick else 10)
        if "error" not in got:
            plan.record.put("kernels", name, plan.about(workload, precision) | got)


def layers(plan: Plan) -> None:
    """Seconds forward and backward of each layer by itself."""
    for name, workload, precision in plan.entries(LAYERS):
        if plan.known("layers", name):
            continue
        seconds = {}
        for who in plan.contenders:
            got = plan.take("layers", workload, precision, who, f"layers {workload} {precision}")
            if "error" not in got:
                seconds[who] = got["layers"]
        plan.record.put("layers", name, plan.about(workload, precision) | {"seconds": seconds})


def feed(plan: Plan) -> None:
    """Ours from bytes on the host, and how much of the speed on a resident batch that is."""
    for name, workload, precision in plan.entries(FEED):
        if plan.known("feed", name):
            continue
        cpus = plan.record.content["machine"]["cpus"]
        got = plan.take("feed", workload, precision, "ours", f"feed {workload} {precision}",
                        batches=3 if plan.quick else 16, workers=max(1, min(8, cpus - 1)))
        if "error" not in got:
            plan.record.put("feed", name, plan.about(workload, precision) | got)


MEASURE = {
    "ceilings": ceilings,
    "speed": speed,
    "kernels": kernels,
    "layers": layers,
    "feed": feed,
}

ABOUT = """Speed and memory of minitorch_alex compared with PyTorch, on a GPU. Each sample is a
process of its own; contenders take turns. Progress goes to stderr, tables in Markdown to
stdout, all numbers to a JSON file, in which sections and workloads that are not measured now
stay as they were."""

ABOUT_SECTIONS = """sections:
  ceilings  matrix products and copies: the fastest that this GPU could be
  speed     training and inference in images per second, ratios within a round, memory
  kernels   ours, kernel by kernel, between events
  layers    forward and backward, layer by layer, between events
  feed      ours, with the batches brought from the host"""


def _lists() -> str:
    """The end of --help: what can be measured."""
    contenders = [f"  {name:<17}{text}" for name, text in GPU_ABOUT.items()]
    workloads = [f"  {name:<26}{net.size} x {net.size}, batch {net.batch}"
                 for name, net in GPU_WORKLOADS.items()]
    parts = (["contenders:", *contenders], ["workloads:", *workloads], [ABOUT_SECTIONS])
    return "\n\n".join("\n".join(part) for part in parts) + "\n\n" + cli.EXIT_CODES


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.parser("benchmarks.gpu", ABOUT, epilog=_lists())
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS,
                        metavar="NAME", help="default: all")
    parser.add_argument("--workloads", nargs="+", choices=GPU_WORKLOADS,
                        default=list(GPU_WORKLOADS), metavar="NAME", help="default: all")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS,
                        metavar="NAME", help=f"{', '.join(PRECISIONS)} (default: all; for torch, "
                        "fp16 is autocast with a scaled loss, bf16 autocast alone)")
    parser.add_argument("--contenders", nargs="+", choices=GPU_ABOUT, metavar="NAME",
                        help="default: all that can run")
    parser.add_argument("--rounds", type=int, default=3, metavar="N",
                        help="turns of all contenders (default: 3)")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="SECONDS",
                        help="start nothing that would take longer; --resume measures the rest")
    parser.add_argument("--resume", action="store_true",
                        help="measure only what the file lacks for this commit, down to single "
                             "rounds of a workload")
    parser.add_argument("--commit", metavar="HASH",
                        help="the commit of this code, where git cannot tell")
    parser.add_argument("--quick", action="store_true",
                        help="batches of 2 and one round, to see that it works; writes a file "
                             "only with --out")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="the JSON file (default: results/gpu_speed.json)")
    parser.add_argument("--show", type=Path, nargs="?", const=RESULT, metavar="FILE",
                        help="measure nothing; print the tables of this JSON file (default: "
                             "results/gpu_speed.json)")
    parser.add_argument("--summary", action="store_true", help="print the short table only")
    parser.add_argument("--plot", type=Path, metavar="FILE",
                        help="draw images per second relative to torch (.png .svg .pdf)")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {args.rounds}")
    if not args.budget > 0:
        raise UsageError(f"--budget must be above 0 (in seconds), got {args.budget:g}")
    if args.plot and args.plot.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {args.plot}: the name must end in .png, .svg or .pdf")
    return args


def command(args: argparse.Namespace, contenders: list[str]) -> str:
    """The command that measures the same, in one go and without names of files."""
    words = [] if args.sections == SECTIONS else ["--sections", *args.sections]
    if args.workloads != list(GPU_WORKLOADS):
        words += ["--workloads", *args.workloads]
    if args.precisions != PRECISIONS:
        words += ["--precisions", *args.precisions]
    words += ["--contenders", *contenders, "--rounds", str(args.rounds)]
    if args.quick:
        words += ["--quick"]
    return shlex.join(["python", "-m", "benchmarks.gpu", *words])


def open_record(args: argparse.Namespace) -> tuple[harness.Record, list[str]]:
    """The JSON of this machine, and the contenders that can run here.

    Raises BackendError when there is no GPU that ours can use, and UsageError for contenders that
    cannot run and for a file of another GPU.
    """
    machine = harness.run_child(CHILD, {"task": "machine"}, {})
    if "error" in machine or "missing" in machine:
        raise BackendError(machine.get("missing")
                           or f"the GPU cannot be asked: {machine['error']}")
    present = [name for name in GPU_ABOUT if name == "ours" or "torch" in machine]
    contenders = args.contenders or present
    absent = [name for name in contenders if name not in present]
    if absent:
        raise UsageError(f"{', '.join(absent)} cannot run here: PyTorch with CUDA is not "
                         "installed; leave it out")
    path = args.out or (None if args.quick else RESULT)
    if path is not None and path.exists():
        other = harness.read(path, "--out")["machine"].get("gpu")
        if other not in (None, machine["gpu"]):
            raise UsageError(f"--out {path} holds measurements of {other}, this is "
                             f"{machine['gpu']}: name another file")
    record = harness.Record(path, command(args, contenders), machine)
    if args.commit:
        record.run["commit"] = args.commit
        record.content["commit"] = args.commit
    return record, contenders


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.show:
        content = harness.read(args.show, "--show")
    else:
        start = time.monotonic()
        record, contenders = open_record(args)
        plan = Plan(args, contenders, record, start + args.budget)
        end = "done"
        try:
            for section in args.sections:
                MEASURE[section](plan)
        except OutOfTimeError:
            end = "the budget is spent; the same command with --resume takes the rest,"
        place = f": {record.path}" if record.path else ""
        harness.say(f"{end} in {(time.monotonic() - start) / 60:.1f} min{place}")
        content = record.content
    return harness.finish(content, args, gpu_report)


if __name__ == "__main__":
    cli.run_cli(main)
