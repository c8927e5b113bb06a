"""What every speed comparison here needs: fresh child processes in turn, ratios within a round, one JSON of it all.

A sample is one child process: memory peaks are its own, and no framework warms up for another. Contenders take turns
(A B C A B C ...), so that a slow minute of the machine hits all of them, and what is compared is the ratio of two
samples of one round. A child reports how much of the machine other programs used meanwhile; a sample that was
disturbed is taken again.

Only the standard library is imported at the top: the children of other frameworks import this file, and not ours.
"""
import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
FOREIGN_LIMIT = 0.12  # of the machine's CPU time: above, a sample counts as disturbed
TIMEOUT = 1800        # seconds for one child
Sample = dict[str, Any]


# in the child


def _busy_seconds() -> float | None:
    """CPU seconds that all programs on the machine, and its host's other guests, have used; None where the system
    does not tell. /proc/stat: user nice system idle iowait irq softirq steal."""
    try:
        fields = [int(f) for f in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def metered(result: Sample) -> Iterator[None]:
    """Adds to `result` the wall and own CPU seconds of the block, and `foreign`: the share of the machine's CPU time
    that others used."""
    wall, own, busy = time.perf_counter(), time.process_time(), _busy_seconds()
    yield
    wall, own = time.perf_counter() - wall, time.process_time() - own
    result |= {"wall_seconds": round(wall, 3), "cpu_seconds": round(own, 3)}
    if busy is not None:
        result["foreign"] = round(max(0.0, _busy_seconds() - busy - own) / (wall * os.cpu_count()), 3)


def time_steps(step: Callable[[], Any], warm_up: int, least: int, seconds: float) -> list[float]:
    """Seconds of each step after `warm_up` of them: at least `least` steps, and until `seconds` have passed."""
    for _ in range(warm_up):
        step()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def peak_mb() -> float | None:
    """The largest resident memory of this process so far, in MB of 10^6 bytes; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return round(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6, 1)


def answer(tasks: dict[str, Callable[[dict], dict]]) -> None:
    """The main of a child: does the job in its argument, a JSON object with the name of a task, and prints the result
    as JSON."""
    job = json.loads(sys.argv[1])
    print(json.dumps(tasks[job["task"]](job)))


# in the parent


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def run_child(module: str, job: dict, environment: dict[str, str], limit: float = TIMEOUT) -> Sample:
    """What `python -m module JOB` answers; {"error": its last words} when it fails or takes more than `limit` seconds.
    The child sees this process' environment without what slows NumPy's OpenBLAS or tunes malloc, and with
    `environment`."""
    clean = {name: value for name, value in os.environ.items()
             if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") and not name.startswith("MALLOC_")}
    try:
        done = subprocess.run([sys.executable, "-m", module, json.dumps(job)], cwd=ROOT, env=clean | environment,
                              capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {limit:.0f} seconds"}
    if done.returncode:
        words = done.stderr.strip().splitlines() or [""]
        return {"error": words[-1][:200] if done.returncode > 0 else f"killed by signal {-done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def sample(module: str, job: dict, environment: dict[str, str], retries: int, limit: float = TIMEOUT) -> Sample:
    """run_child, again up to `retries` times while others use more than FOREIGN_LIMIT of the machine; the least
    disturbed answer, marked `noisy` if it was disturbed too."""
    best: Sample = {}
    for _ in range(1 + retries):
        got = run_child(module, job, environment, limit)
        if "error" in got and best:
            break
        if "error" in got or got.get("foreign", 0) <= FOREIGN_LIMIT:
            return got
        best = min(best or got, got, key=lambda one: one["foreign"])
    return best | {"noisy": True}


def take(module: str, job: dict, what: str, environment: dict[str, str], retries: int,
         limit: float = TIMEOUT) -> Sample:
    """A sample, told on stderr."""
    start = time.perf_counter()
    got = sample(module, job, environment, retries, limit)
    words = [f"{what}: {job['contender']}"]
    if "error" in got:
        words.append(f"failed: {got['error']}")
    else:
        words += [f"{key} {got[key]:,.1f} img/s" for key in ("train", "inference") if key in got]
        words += [f"{got['peak_mb']:,.0f} MB"] if got.get("peak_mb") else []
        words.append(f"{got['cpu_seconds'] / max(got['wall_seconds'], 1e-9):.2f} CPUs")
        words.append(f"others {100 * got.get('foreign', 0):.0f} %{' (noisy)' * got.get('noisy', False)}")
    say(", ".join([*words, f"{time.perf_counter() - start:.0f} s"]))
    return got


def whole_rounds(taken: dict[str, list[Sample]]) -> int:
    """How many rounds all contenders have done that did not fail."""
    return min((len(samples) for samples in taken.values() if not samples or "error" not in samples[-1]), default=0)


def alternate(names: Iterable[str], rounds: int, take: Callable[[str, int], Sample | None],
              before: dict[str, list[Sample]] | None = None) -> Iterator[dict[str, list[Sample]]]:
    """Samples by contender, each with its `round`, as they stand after each round. `take` gives the sample of a name
    in a round, None to sit it out; a contender whose sample failed sits out the rest. `before`: the samples of an
    earlier run; rounds that are whole there are not taken again."""
    taken: dict[str, list[Sample]] = {name: list((before or {}).get(name, [])) for name in names}
    start = whole_rounds(taken)
    for samples in taken.values():
        samples[:] = [s for s in samples if s["round"] < start or "error" in s]
    for i in range(start, rounds):
        for name, samples in taken.items():
            failed = samples and "error" in samples[-1]
            got = None if failed else take(name, i)
            if got is not None:
                samples.append({"round": i} | got)
        yield taken


def good(samples: list[Sample], key: str) -> dict[int, float]:
    """round -> value, without disturbed samples unless there are no others."""
    known = [s for s in samples if s.get(key) is not None]
    quiet = [s for s in known if not s.get("noisy")]
    return {s["round"]: s[key] for s in quiet or known}


def summarise(taken: dict[str, list[Sample]], keys: Iterable[str], ours: str = "ours") -> dict[str, dict]:
    """contender -> {key: median over rounds, key_ratio: [median, least, largest] of ours / contender within a round,
    peak_mb: median, noisy: how many samples were}."""
    result: dict[str, dict] = {}
    for name, samples in taken.items():
        row: dict[str, Any] = {"noisy": sum(bool(s.get("noisy")) for s in samples)}
        for key in keys:
            values, reference = good(samples, key), good(taken.get(ours, []), key)
            row[key] = round(median(values.values()), 1) if values else None
            found = [reference[i] / values[i] for i in values if i in reference]
            if found and name != ours:
                row[f"{key}_ratio"] = [round(f(found), 3) for f in (median, min, max)]
        peaks = [s["peak_mb"] for s in samples if s.get("peak_mb")]
        row["peak_mb"] = round(median(peaks), 1) if peaks else None
        result[name] = row
    return result


def read(path: Path, flag: str) -> dict[str, Any]:
    """The JSON of a benchmark that a flag names; UsageError when it is none."""
    from minitorch_alex.errors import UsageError
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag} {path}: {error}") from None
    if "machine" not in content:
        raise UsageError(f"{flag} {path}: not a file that this benchmark wrote")
    return content


class Record:
    """One JSON file with a part for each section of a benchmark; what another run measured stays until it is measured
    anew. Written whole or not at all, after every change, so that a killed run loses nothing."""

    def __init__(self, path: Path | None, command: str, machine: dict[str, Any]) -> None:
        from minitorch_alex.training.runs import provenance
        self.path = path
        self.content: dict[str, Any] = read(path, "--out") if path is not None and path.exists() else {}
        self.run = {key: value for key, value in provenance(0).items() if key in ("commit", "seed", "device", "date")}
        self.run |= {"command": command, "device": machine.get("gpu", self.run["device"])}
        self.content |= self.run | {"machine": machine}

    def put(self, section: str, name: str, value: Any) -> None:
        """Set one entry of a section and write the file (where there is one)."""
        self.content.setdefault("runs", {})[section] = {key: self.run[key] for key in ("command", "commit", "date")}
        stamp = {key: self.run[key] for key in ("commit", "date")} if isinstance(value, dict) else {}
        self.content.setdefault(section, {})[name] = value | stamp if stamp else value
        if self.path is not None:
            from minitorch_alex.files import write_atomic
            write_atomic(self.path, [(json.dumps(self.content, indent=1, allow_nan=False) + "\n").encode()])
