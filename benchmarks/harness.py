"""What every speed comparison needs: fresh child processes in turn, ratios within a round, a JSON.

A sample is one child process: its memory peak is its own, and no framework warms up for another.
Contenders take turns, so that a slow minute of the machine affects all of them, and what is
compared is the ratio of two samples of the same round:

    round 0   A  B  C        ours / theirs, from one round each;
    round 1   A  B  C        the median over the rounds is reported,
    round 2   A  B  C        with the least and the largest

A child reports how much of the machine other programs used in the meantime. A sample that was
disturbed is taken again.

Only the standard library is imported at the top: the children of other frameworks import this
file, and must not load ours.
"""
import argparse
import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Protocol

ROOT = Path(__file__).parent.parent
FOREIGN_LIMIT = 0.12  # of the machine's CPU time: if others use more, a sample counts as disturbed
TIMEOUT = 1800        # seconds for one child
Sample = dict[str, Any]


# In the child


def _busy_seconds() -> float | None:
    """CPU seconds used so far by all programs on the machine and by other guests of its host.

    None where the system has no /proc/stat. Its fields: user nice system idle iowait irq softirq
    steal; all but idle and iowait are use.
    """
    try:
        line = Path("/proc/stat").read_text().split("\n", 1)[0]
        fields = [int(f) for f in line.split()[1:9]]
    except (OSError, ValueError):
        return None
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """CPU seconds used so far by this process and by the compilers that it started and awaited."""
    compilers = os.times()
    return time.process_time() + compilers.children_user + compilers.children_system


@contextlib.contextmanager
def at_most(seconds: int, what: str) -> Iterator[None]:
    """Raise RuntimeError when the block takes longer: as soon as it is back in Python's code."""
    def stop(*_: object) -> None:
        raise RuntimeError(f"{what} takes more than {seconds} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@contextlib.contextmanager
def metered(result: Sample) -> Iterator[None]:
    """Add to `result` the wall and CPU seconds of the block, and `foreign`: the share of the
    machine's CPU time that other programs used."""
    busy = _busy_seconds()
    own_start = _own_seconds()
    start = time.perf_counter()
    yield
    wall = time.perf_counter() - start
    own = _own_seconds() - own_start
    result |= {"wall_seconds": round(wall, 3), "cpu_seconds": round(own, 3)}
    busy_end = _busy_seconds()
    if busy is not None and busy_end is not None:
        foreign = max(0.0, busy_end - busy - own)
        result["foreign"] = round(foreign / (wall * (os.cpu_count() or 1)), 3)


def time_steps(step: Callable[[], Any], warm_up: int, least: int, seconds: float) -> list[float]:
    """Seconds of each step after `warm_up` steps: at least `least` of them, and until they add up
    to `seconds`."""
    for _ in range(warm_up):
        step()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def peak_mb() -> float | None:
    """The largest resident memory of this process so far, in MB of 10^6 bytes; None where the
    system has no /proc."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return round(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6, 1)


def answer(tasks: dict[str, Callable[[dict], dict]]) -> None:
    """The main of a child: do the job in its argument, a JSON object that names a task, and print
    the result as JSON."""
    job = json.loads(sys.argv[1])
    print(json.dumps(tasks[job["task"]](job)))


# In the parent


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def say(text: str) -> None:
    """Print a line of progress to stderr."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def run_child(module: str, job: dict, environment: dict[str, str],
              limit: float = TIMEOUT) -> Sample:
    """The answer of `python -m module JOB`; {"error": text} if it fails or takes over `limit` s.

    The child has this process's environment, without variables that slow down NumPy's OpenBLAS or
    tune malloc, and with `environment`.
    """
    clean = {name: value for name, value in os.environ.items()
             if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
             and not name.startswith("MALLOC_")}
    # cwd: the module is found from the root of the repository, wherever this process was started.
    command = [sys.executable, "-m", module, json.dumps(job)]
    try:
        child = subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True,
                               text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {limit:.0f} seconds"}
    if child.returncode < 0:
        return {"error": f"killed by signal {-child.returncode}"}
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [""]
        return {"error": lines[-1][:200]}
    return json.loads(child.stdout.splitlines()[-1])  # libraries may print lines before it


def sample(module: str, job: dict, environment: dict[str, str], retries: int,
           limit: float = TIMEOUT) -> Sample:
    """The answer of run_child, taken again up to `retries` times while it is disturbed.

    Of several disturbed answers the least disturbed one, marked `noisy`.
    """
    best: Sample = {}
    for _ in range(1 + retries):
        attempt = run_child(module, job, environment, limit)
        if "error" in attempt and best:  # a disturbed answer is better than none
            break
        if "error" in attempt or attempt.get("foreign", 0) <= FOREIGN_LIMIT:
            return attempt
        best = min(best or attempt, attempt, key=lambda one: one["foreign"])
    return best | {"noisy": True}


def take(module: str, job: dict, what: str, environment: dict[str, str], retries: int,
         limit: float = TIMEOUT) -> Sample:
    """A sample, with a line about it on stderr."""
    start = time.perf_counter()
    result = sample(module, job, environment, retries, limit)
    words = [f"{what}: {job['contender']}"]
    if "error" in result:
        words.append(f"failed: {result['error']}")
    else:
        speeds = [key for key in ("train", "inference") if key in result]
        words += [f"{key} {result[key]:,.1f} img/s" for key in speeds]
        words += [f"{result['peak_mb']:,.0f} MB"] if result.get("peak_mb") else []
        words.append(f"{result['cpu_seconds'] / max(result['wall_seconds'], 1e-9):.2f} CPUs")
        noisy = " (noisy)" if result.get("noisy") else ""
        words.append(f"others {100 * result.get('foreign', 0):.0f} %{noisy}")
    say(", ".join([*words, f"{time.perf_counter() - start:.0f} s"]))
    return result


def whole_rounds(taken: dict[str, list[Sample]]) -> int:
    """How many rounds were completed by all contenders, leaving out those that failed."""
    counts = [len(samples) for samples in taken.values()
              if not samples or "error" not in samples[-1]]
    return min(counts, default=0)


def alternate(names: Iterable[str], rounds: int, take: Callable[[str, int], Sample],
              before: dict[str, list[Sample]] | None = None,
              at_most: Mapping[str, int] | None = None) -> Iterator[dict[str, list[Sample]]]:
    """All samples so far by contender, after each round; each sample has its number as `round`.

    `take` gives the sample of a contender in a round. A contender whose sample failed sits out the
    rest, and so does a slow one after as many rounds as `at_most` says. `before` are the samples
    of an earlier run: rounds that are complete there are not repeated. Every second round goes
    through the contenders backwards: whoever comes first after a pause is not always the same.
    """
    earlier = before or {}
    taken: dict[str, list[Sample]] = {name: list(earlier.get(name, [])) for name in names}
    limits = at_most or {}
    start = whole_rounds({name: samples for name, samples in taken.items() if name not in limits})
    for samples in taken.values():
        # Rounds that were cut short are repeated whole, so that ratios are within a round.
        samples[:] = [s for s in samples if s["round"] < start or "error" in s]
    for i in range(start, rounds):
        turn = list(taken.items())
        for name, samples in reversed(turn) if i % 2 else turn:
            failed = samples and "error" in samples[-1]
            if not failed and i < limits.get(name, rounds):
                samples.append({"round": i} | take(name, i))
        yield taken


def good(samples: list[Sample], key: str) -> dict[int, float]:
    """round -> value, without disturbed samples unless there are no others."""
    known = [s for s in samples if s.get(key) is not None]
    quiet = [s for s in known if not s.get("noisy")]
    return {s["round"]: s[key] for s in quiet or known}


def summarise(taken: dict[str, list[Sample]], keys: Iterable[str],
              ours: str = "ours") -> dict[str, dict]:
    """contender -> its summary over the rounds.

    key        median, for each of `keys`
    key_ratio  [median, least, largest] of ours / contender within a round
    peak_mb    median
    noisy      how many samples were disturbed
    """
    result: dict[str, dict] = {}
    for name, samples in taken.items():
        row: dict[str, Any] = {"noisy": sum(bool(s.get("noisy")) for s in samples)}
        for key in keys:
            values = good(samples, key)
            reference = good(taken.get(ours, []), key)
            row[key] = round(median(values.values()), 1) if values else None
            # A ratio needs both in the same round.
            ratios = [reference[i] / values[i] for i in values if i in reference]
            if ratios and name != ours:
                row[f"{key}_ratio"] = [round(f(ratios), 3) for f in (median, min, max)]
        peaks = [s["peak_mb"] for s in samples if s.get("peak_mb")]
        row["peak_mb"] = round(median(peaks), 1) if peaks else None
        result[name] = row
    return result


# The JSON, and how a benchmark ends


def read(path: Path, flag: str) -> dict[str, Any]:
    """The JSON of a benchmark that a flag names. Raises UsageError when it is something else."""
    from minitorch_alex.errors import UsageError
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag} {path}: {error}") from None
    if "machine" not in content:
        raise UsageError(f"{flag} {path}: not a file that this benchmark wrote")
    return content


class Record:
    """One JSON file with a part for each section of a benchmark.

    Measurements of an earlier run stay until they are repeated. The file is written after every
    change, whole or not at all, so that a killed run loses nothing.
    """

    def __init__(self, path: Path | None, command: str, machine: dict[str, Any]) -> None:
        from minitorch_alex.training.runs import provenance
        source = provenance(0)
        self.path = path
        self.content: dict[str, Any] = {}
        if path is not None and path.exists():
            self.content = read(path, "--out")
        self.run = {key: source[key] for key in ("commit", "seed", "date")}
        self.run |= {"command": command, "device": machine.get("gpu", source["device"])}
        self.content |= self.run | {"machine": machine}

    def put(self, section: str, name: str, value: Any) -> None:
        """Set one entry of a section, with commit and date, and write the file (if any)."""
        # Entries of one file may come from several runs, so each says from which.
        stamp = {key: self.run[key] for key in ("commit", "date")}
        runs = self.content.setdefault("runs", {})
        runs[section] = {"command": self.run["command"], **stamp}
        entries = self.content.setdefault(section, {})
        entries[name] = value | stamp if isinstance(value, dict) else value
        if self.path is not None:
            from minitorch_alex.files import write_atomic
            text = json.dumps(self.content, indent=1, allow_nan=False) + "\n"
            write_atomic(self.path, [text.encode()])


class Report(Protocol):
    """The module that writes a benchmark's tables: `report`, `gpu_report`."""

    def tables(self, content: dict) -> str: ...

    def summary(self, content: dict) -> str: ...

    def plot(self, content: dict, path: Path) -> None: ...


def finish(content: dict, args: argparse.Namespace, report: Report) -> int:
    """The end of a benchmark's main: print the tables, with --summary the short one; draw --plot.

    Raises UsageError when --summary has nothing to summarise.
    """
    if args.summary and "speed" not in content:
        from minitorch_alex.errors import UsageError
        raise UsageError("--summary needs the section speed, which was not measured")
    print(report.summary(content) if args.summary else report.tables(content))
    if args.plot:
        report.plot(content, args.plot)
    return 0
