"""python -m benchmarks.overhead: the speed of training compared with another checkout of the package."""
import argparse
import platform
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minitorch_alex.errors import UsageError
from minitorch_alex.machine import available_cpus
from minitorch_alex.training import cli
from minitorch_alex.training.runs import cpu_name

from . import harness

CHILD = "benchmarks.overhead_child"
RESULT = harness.ROOT / "results" / "overhead.json"


@dataclass(frozen=True)
class Net:
    """A network, the batch that it is given, and how many rounds of both checkouts it takes to see
    a percent: the faster a step, the more one sample differs from the next."""

    batch: int
    size: int
    rounds: int


NETS = {
    "net_8": Net(batch=8, size=8, rounds=15),
    "net_w2": Net(batch=128, size=32, rounds=9),
    "alexnet_cifar": Net(batch=128, size=32, rounds=9),
}


def commit_of(checkout: Path) -> str:
    """The commit of a checkout. Raises UsageError when it is none, or has no package."""
    if not (checkout / "minitorch_alex" / "__init__.py").exists():
        raise UsageError(f"--against {checkout}: no minitorch_alex there; expected the root of a "
                         "checkout, from git worktree add or git clone for instance")
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise UsageError(f"--against {checkout}: {done.stderr.strip()}")
    return done.stdout.strip()


def compare(name: str, checkouts: dict[str, Path],
            args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One network's entry of the JSON after each round: samples in turn, and the ratios within a
    round."""
    net = NETS[name]
    rounds = args.rounds or net.rounds

    def sample(who: str, i: int) -> harness.Sample:
        job = {"task": "measure", "contender": who, "net": name, "batch": net.batch,
               "size": net.size, "checkout": str(checkouts[who]), "warm_up": 5, "least": 3,
               "seconds": args.seconds}
        return harness.take(CHILD, job, f"{name} {i + 1}/{rounds}", {}, args.retries)

    for taken in harness.alternate(checkouts, rounds, sample):
        losses = {one.get("loss") for samples in taken.values() for one in samples}
        yield {"batch": net.batch, "image_size": net.size,
               "same_numbers": len(losses) == 1 and None not in losses,
               "summary": harness.summarise(taken, ("train",), "this"), "samples": taken}


def table(content: dict[str, Any]) -> str:
    """The ratios as text."""
    lines = ["| network | batch | speed / the other's (median, least to largest) | same numbers |",
             "|---|---:|---:|---|"]
    for name, entry in content["overhead"].items():
        ratio = entry["summary"]["other"].get("train_ratio")
        text = f"{ratio[0]:.3f}, {ratio[1]:.3f} to {ratio[2]:.3f}" if ratio else "failed"
        same = "yes" if entry["same_numbers"] else "no"
        lines.append(f"| {name} | {entry['batch']} | {text} | {same} |")
    return "\n".join(lines)


def command(args: argparse.Namespace) -> str:
    """The command that measures the same, without the names of files."""
    words = ["--against", "DIR"]
    words += [] if args.nets == list(NETS) else ["--nets", *args.nets]
    words += ["--rounds", str(args.rounds)] if args.rounds else []
    words += ["--seconds", f"{args.seconds:g}", "--retries", str(args.retries)]
    return shlex.join(["python", "-m", "benchmarks.overhead", *words])


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Raises UsageError for those that make no sense."""
    parser = cli.parser(
        "benchmarks.overhead",
        "Compare the speed of training with that of another checkout of this package, for\n"
        "instance of the commit before a change of the engine. Samples are processes of their\n"
        "own, taken in turn; what counts is the ratio within a round.")
    parser.add_argument("--against", type=Path, metavar="DIR", help="the other checkout")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS), metavar="NAME",
                        help=f"some of: {', '.join(NETS)} (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help="samples of each checkout (default: 9, 15 of net_8)")
    parser.add_argument("--seconds", type=float, default=2, metavar="S",
                        help="length of a sample (default: 2)")
    parser.add_argument("--retries", type=int, default=1, metavar="N",
                        help="how often a sample is repeated while other programs are busy "
                             "(default: 1)")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE",
                        help="where to write the JSON (default: results/overhead.json)")
    parser.add_argument("--show", type=Path, metavar="FILE",
                        help="measure nothing; print the table of this JSON")
    args = parser.parse_args(argv)
    if args.against is None and args.show is None:
        raise UsageError("--against DIR is missing: the checkout to compare with")
    if (args.rounds is not None and args.rounds < 1) or args.seconds < 0 or args.retries < 0:
        raise UsageError("--rounds must be at least 1, --seconds and --retries at least 0; got "
                         f"{args.rounds}, {args.seconds} and {args.retries}")
    return args


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what the arguments ask for; the content of the JSON file."""
    other = args.against.resolve()
    against = commit_of(other)
    machine = {"cpu": cpu_name(), "cpus": available_cpus(), "system": platform.platform(),
               "python": platform.python_version(), "numpy": harness.installed("numpy")}
    record = harness.Record(args.out, command(args), machine)
    for name in args.nets:
        for entry in compare(name, {"this": harness.ROOT, "other": other}, args):
            record.put("overhead", name, {"against": against} | entry)
    return record.content


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = arguments(argv)
    print(table(harness.read(args.show, "--show") if args.show else measure(args)))
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
