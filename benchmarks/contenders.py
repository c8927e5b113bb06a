"""The children of the benchmark: `python -m benchmarks.contenders JOB` measures one thing and prints it as JSON."""
import math
import os
import platform
from statistics import median
from typing import Any

from .harness import answer, installed, metered, peak_mb, time_steps
from .workloads import WORKLOADS


def load(job: dict) -> Any:
    """The net of the job, in the framework of its contender."""
    name = job["contender"]
    if name.startswith("ours"):
        from .nets import Ours as Net
    elif name == "dezero":
        from .dezero_nets import DeZero as Net
    else:
        from .torch_nets import Torch as Net
    return Net(job["workload"], name, job.get("threads"))


def blas() -> dict[str, Any]:
    """NumPy's BLAS: which, for which kind of processor, with how many threads."""
    from threadpoolctl import threadpool_info
    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return {"blas": f"{found[0]['internal_api']} {found[0]['version']} {found[0].get('architecture', '')}".strip(),
            "blas_threads": found[0]["num_threads"]} if found else {}


def images_per_second(net: Any, job: dict, batch: int) -> dict[str, Any]:
    """Training and inference of a net that has been fed: of each the median step, and how many there were.
    RuntimeError when training left the finite numbers: arithmetic on NaN has a speed of its own."""
    losses: list[float] = []
    net.mode(True)
    train = time_steps(lambda: losses.append(net.train_step()), job["warm_up"], job["least"], job["seconds"])
    if not math.isfinite(losses[-1]):
        raise RuntimeError(f"the loss is {losses[-1]}")
    net.mode(False)
    inference = time_steps(net.infer, 1, job["least"], job["seconds"] / 3)
    return {"train": round(batch / median(train), 2), "train_steps": len(train),
            "inference": round(batch / median(inference), 2), "inference_steps": len(inference)}


def speed(job: dict) -> dict[str, Any]:
    """A sample: images a second, memory, CPU and its disturbance."""
    net, result = load(job), {}
    net.feed(job["batch"])
    with metered(result):
        result |= images_per_second(net, job, job["batch"])
    return result | {"peak_mb": peak_mb(), "setting": net.setting() | blas()}


def ideas(job: dict) -> dict[str, Any]:
    """Images a second in training, with one idea changed."""
    from .nets import Ours, change
    change(job["idea"])
    net, result = Ours(job["workload"]), {}
    net.feed(job["batch"])
    net.mode(True)
    with metered(result):
        times = time_steps(net.train_step, job["warm_up"], job["least"], job["seconds"])
    return result | {"train": round(job["batch"] / median(times), 2)}


def growth(job: dict) -> dict[str, Any]:
    """Images a second for each batch size, with one net."""
    net, result = load(job), {}
    with metered(result):
        for batch in job["batches"]:
            net.feed(batch)
            result[str(batch)] = images_per_second(net, job, batch)
    return result


def layers(job: dict) -> dict[str, Any]:
    """name -> [seconds forward, seconds backward] of each layer by itself, the fastest of several after a warm-up."""
    net, result = load(job), {}
    net.layer_times(job["batch"])
    with metered(result):
        turns = [net.layer_times(job["batch"]) for _ in range(job["least"])]
    return result | {"layers": {name: [min(pair) for pair in zip(*(turn[name] for turn in turns))]
                                for name in turns[0]}}


def overhead(job: dict) -> dict[str, Any]:
    """Seconds of a step through Tensors, of one by bare kernels, and the median of their ratio, in turn in one
    process."""
    from .nets import bare_step
    net, result = load(job), {}
    net.feed(job["batch"])
    net.mode(True)
    steps = net.train_step, lambda: bare_step(net)
    for step in steps * job["warm_up"]:
        step()
    pairs: list[list[float]] = []
    with metered(result):
        while len(pairs) < job["least"] or sum(map(sum, pairs)) < job["seconds"]:
            pairs.append([time_steps(step, 0, 1, 0)[0] for step in steps])
    ratios = [tensors / bare for tensors, bare in pairs]
    return result | {"tensors": median(t for t, _ in pairs), "bare": median(b for _, b in pairs),
                     "ratio": round(median(ratios), 4), "least": round(min(ratios), 4),
                     "largest": round(max(ratios), 4), "pairs": len(pairs)}


def ceilings(job: dict) -> dict[str, Any]:
    """What the machine can do: a float32 matrix product in 10^9 operations a second, a copy and a sum of arrays in
    10^9 bytes a second; the best of several, with one thread and with all. And the work of each workload's step."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from minitorch_alex.kernels import get_threads, keep_freed_memory
    from minitorch_alex.kernels.workers import parallel_for

    from .nets import step_flops
    keep_freed_memory()
    n, length, threads = job["side"], job["megabytes"] * 250_000, get_threads()
    a, b = (np.random.default_rng(i).standard_normal((n, n), np.float32) for i in (0, 1))
    c = np.empty_like(a)
    x, y = np.ones(length, np.float32), np.zeros(length, np.float32)

    def best(work: Any, amount: float) -> float:
        return round(amount / min(time_steps(work, 1, job["least"], 0)) / 1e9, 1)

    def shared(total: int, body: Any) -> Any:
        return lambda: parallel_for(total, lambda i, j: body(slice(i, j)))

    rates, result, gemm, moved = {}, {}, 2 * n ** 3, 4 * length
    with metered(result):
        with threadpool_limits(1, "blas"):
            rates["one_thread"] = {"gemm": best(lambda: np.matmul(a, b, out=c), gemm),
                                   "copy": best(lambda: np.copyto(y, x), 2 * moved),
                                   "add": best(lambda: np.add(x, y, out=y), 3 * moved)}
        rates["own_threads"] = {"gemm": best(shared(n, lambda s: np.matmul(a[s], b, out=c[s])), gemm),
                                "copy": best(shared(length, lambda s: np.copyto(y[s], x[s])), 2 * moved),
                                "add": best(shared(length, lambda s: np.add(x[s], y[s], out=y[s])), 3 * moved)}
        with threadpool_limits(threads, "blas"):
            rates["blas_threads"] = {"gemm": best(lambda: np.matmul(a, b, out=c), gemm)}
    flops = {name: step_flops(WORKLOADS[name]) for name in job["workloads"]}
    return result | {"threads": threads, "rates": rates, "flops_per_image": flops, "setting": blas()}


def machine(job: dict) -> dict[str, Any]:
    """What all of it runs on."""
    from minitorch_alex.training.runs import cpu_name
    found = {name: installed(name) for name in ("numpy", "torch", "dezero")}
    return {"cpu": cpu_name(), "cpus": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
            "python": platform.python_version(), **{k: v for k, v in found.items() if v}, **blas()}


if __name__ == "__main__":
    answer({"speed": speed, "layers": layers, "overhead": overhead, "ideas": ideas, "growth": growth,
            "ceilings": ceilings, "machine": machine})
