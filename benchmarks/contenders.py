"""The children of benchmarks.cpu: `python -m benchmarks.contenders JOB` measures one thing.

JOB is a JSON object (see cpu.Plan.job), and so is the answer. Frameworks are imported only in the
functions that measure them: a child loads one framework, not all.
"""
import math
import os
import platform
from statistics import median
from typing import Any

from .harness import answer, at_most, installed, metered, peak_mb, time_steps
from .workloads import FIRST_STEP_LIMIT, PACKAGES, STEP_LIMIT, WORKLOADS


def load(job: dict) -> Any:
    """The network of the job, in the framework of its contender."""
    name = job["contender"]
    if name.startswith("ours"):
        from .nets import Ours as Net
    elif name == "dezero":
        from .dezero_nets import DeZero as Net
    elif name == "jax":
        from .jax_nets import Jax as Net
    elif name == "tinygrad":
        from .tiny_nets import Tiny as Net
    else:
        from .torch_nets import Torch as Net
    return Net(job["workload"], name, job.get("threads"))


def blas() -> dict[str, Any]:
    """NumPy's BLAS: its name, the processor it is tuned for, and its number of threads."""
    from threadpoolctl import threadpool_info
    libraries = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    if not libraries:
        return {}
    first = libraries[0]
    name = f"{first['internal_api']} {first['version']} {first.get('architecture', '')}".strip()
    return {"blas": name, "blas_threads": first["num_threads"]}


def images_per_second(net: Any, job: dict, batch: int) -> dict[str, Any]:
    """Training and inference of a network that has its batch: speed of the median step, and steps.

    Raises RuntimeError when a step takes too long, or when the loss is no longer finite: arithmetic
    on NaN has a different speed.
    """
    losses: list[float] = []

    def train_step() -> None:
        limit = STEP_LIMIT if losses else FIRST_STEP_LIMIT
        with at_most(limit, "a step" if losses else "the first step"):
            losses.append(net.train_step())

    net.mode(True)
    train = time_steps(train_step, job["warm_up"], job["least"], job["seconds"])
    if not math.isfinite(losses[-1]):
        raise RuntimeError(f"the loss is {losses[-1]}")
    net.mode(False)
    warm_up = getattr(net, "warm_up", 1)
    inference = time_steps(net.infer, warm_up, job["least"], job["seconds"] / 3)
    return {
        "train": round(batch / median(train), 2),
        "train_steps": len(train),
        "inference": round(batch / median(inference), 2),
        "inference_steps": len(inference),
    }


def speed(job: dict) -> dict[str, Any]:
    """A sample: images per second, memory, CPU time, and how much others disturbed it."""
    net = load(job)
    result: dict[str, Any] = {}
    net.feed(job["batch"])
    with metered(result):
        result |= images_per_second(net, job, job["batch"])
    return result | {"peak_mb": peak_mb(), "setting": net.setting() | blas()}


def ideas(job: dict) -> dict[str, Any]:
    """Images per second in training, with one idea changed."""
    from .nets import Ours, change
    change(job["idea"])
    net = Ours(job["workload"])
    result: dict[str, Any] = {}
    net.feed(job["batch"])
    net.mode(True)
    with metered(result):
        times = time_steps(net.train_step, job["warm_up"], job["least"], job["seconds"])
    return result | {"train": round(job["batch"] / median(times), 2)}


def growth(job: dict) -> dict[str, Any]:
    """Images per second for each batch size, with one network."""
    net = load(job)
    result: dict[str, Any] = {}
    with metered(result):
        for batch in job["batches"]:
            net.feed(batch)
            result[str(batch)] = images_per_second(net, job, batch)
    return result


def layers(job: dict) -> dict[str, Any]:
    """name -> [seconds forward, seconds backward] of each layer alone, the least of several."""
    net = load(job)
    result: dict[str, Any] = {}
    net.layer_times(job["batch"])  # warm-up
    with metered(result):
        turns = [net.layer_times(job["batch"]) for _ in range(job["least"])]
    fastest = {name: [min(pair) for pair in zip(*(turn[name] for turn in turns))]
               for name in turns[0]}
    return result | {"layers": fastest}


def overhead(job: dict) -> dict[str, Any]:
    """Median seconds of a step through Tensors and of one by bare kernels, and of their ratio.

    The two take turns in one process, so that a slow moment affects both.
    """
    from .nets import bare_step
    net = load(job)
    result: dict[str, Any] = {}
    net.feed(job["batch"])
    net.mode(True)
    steps = (net.train_step, lambda: bare_step(net))
    for step in steps * job["warm_up"]:
        step()
    pairs: list[list[float]] = []
    with metered(result):
        while len(pairs) < job["least"] or sum(map(sum, pairs)) < job["seconds"]:
            pairs.append([time_steps(step, 0, 1, 0)[0] for step in steps])
    ratios = [tensors / bare for tensors, bare in pairs]
    return result | {
        "tensors": median(t for t, _ in pairs),
        "bare": median(b for _, b in pairs),
        "ratio": round(median(ratios), 4),
        "least": round(min(ratios), 4),
        "largest": round(max(ratios), 4),
        "pairs": len(pairs),
    }


def ceilings(job: dict) -> dict[str, Any]:
    """What the machine can do at most, and how much work a step of each workload is.

    The best of several, with one thread and with all: a float32 matrix product in 10^9 operations
    per second, a copy and a sum of arrays in 10^9 bytes per second.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    from minitorch_alex.kernels import get_threads, keep_freed_memory
    from minitorch_alex.kernels.workers import parallel_for

    from .nets import step_flops
    keep_freed_memory()
    n = job["side"]
    length = job["megabytes"] * 250_000  # float32 numbers
    threads = get_threads()
    a = np.random.default_rng(0).standard_normal((n, n), np.float32)
    b = np.random.default_rng(1).standard_normal((n, n), np.float32)
    c = np.empty_like(a)
    x = np.ones(length, np.float32)
    y = np.zeros(length, np.float32)

    def product(rows: slice = slice(None)) -> None:
        np.matmul(a[rows], b, out=c[rows])

    def copy(part: slice = slice(None)) -> None:
        np.copyto(y[part], x[part])

    def add(part: slice = slice(None)) -> None:
        np.add(x[part], y[part], out=y[part])

    def best(work: Any, amount: float) -> float:
        return round(amount / min(time_steps(work, 1, job["least"], 0)) / 1e9, 1)

    def split(total: int, work: Any) -> Any:
        """`work`, divided among our threads."""
        return lambda: parallel_for(total, lambda i, j: work(slice(i, j)))

    flops = 2 * n ** 3       # of the product
    copied = 2 * 4 * length  # bytes read and written
    added = 3 * 4 * length   # bytes: two arrays read, one written
    rates = {}
    result: dict[str, Any] = {}
    with metered(result):
        with threadpool_limits(1, "blas"):
            rates["one_thread"] = {"gemm": best(product, flops), "copy": best(copy, copied),
                                   "add": best(add, added)}
        rates["own_threads"] = {"gemm": best(split(n, product), flops),
                                "copy": best(split(length, copy), copied),
                                "add": best(split(length, add), added)}
        with threadpool_limits(threads, "blas"):
            rates["blas_threads"] = {"gemm": best(product, flops)}
    per_image = {name: step_flops(WORKLOADS[name]) for name in job["workloads"]}
    return result | {"threads": threads, "rates": rates, "flops_per_image": per_image,
                     "setting": blas()}


def machine(job: dict) -> dict[str, Any]:
    """The machine and the versions that all of it runs on."""
    from minitorch_alex.training.runs import cpu_name
    versions = {name: installed(name) for name in ("numpy", *PACKAGES)}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "memory_gb": round(memory / 1e9),
        "python": platform.python_version(),
        **{name: version for name, version in versions.items() if version},
        **blas(),
    }


if __name__ == "__main__":
    answer({
        "speed": speed,
        "layers": layers,
        "overhead": overhead,
        "ideas": ideas,
        "growth": growth,
        "ceilings": ceilings,
        "machine": machine,
    })
