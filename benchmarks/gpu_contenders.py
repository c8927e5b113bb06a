"""The children of benchmarks.gpu: `python -m benchmarks.gpu_contenders JOB` measures one thing and
prints it as JSON."""
import math
import os
import platform
from collections.abc import Callable
from statistics import median
from typing import Any

from .harness import answer, installed, metered, time_steps
from .workloads import GPU_WORKLOADS

# Seconds of steps before the host waits: within them it may run ahead, as in training.
SPAN = 0.2


def load(job: dict) -> Any:
    """The net of the job on the GPU, in the framework of its contender."""
    if job["contender"].startswith("ours"):
        from .nets import OursOnGpu as Net
    else:
        from .torch_nets import TorchOnGpu as Net
    return Net(job["workload"], job["contender"], job["precision"])


def images_per_second(step: Callable[[], Any], synchronize: Callable[[], None], job: dict,
                      key: str = "train") -> dict[str, Any]:
    """{key: images per second, key_steps: steps}, from the median of spans of about SPAN seconds,
    at the end of which the host waits."""
    def span(steps: int) -> None:
        for _ in range(steps):
            step()
        synchronize()

    single = min(time_steps(lambda: span(1), 1, 2, 0))
    steps = max(1, math.ceil(min(SPAN, job["seconds"]) / single))
    times = time_steps(lambda: span(steps), 1, job["least"], job["seconds"])
    rate = round(job["batch"] * steps / median(times), 2)
    return {key: rate, f"{key}_steps": steps * len(times)}


def check(net: Any) -> None:
    """Raises RuntimeError when the loss is no longer finite: arithmetic on NaN has a speed of its
    own."""
    loss = float(net.step().item())
    if not math.isfinite(loss):
        raise RuntimeError(f"the loss is {loss}")


def speed(job: dict) -> dict[str, Any]:
    """A sample: images per second in training and in inference, and the memory of training."""
    net = load(job)
    result: dict[str, Any] = {}
    net.feed(job["batch"])
    net.mode(True)
    for _ in range(job["warm_up"]):  # compiles, tries algorithms, gets memory
        net.step()
    net.synchronize()
    net.reset_peak()
    with metered(result):
        result |= images_per_second(net.step, net.synchronize, job)
    check(net)
    result |= net.memory()
    net.mode(False)
    net.infer()  # in this mode algorithms are tried once more
    shorter = job | {"seconds": job["seconds"] / 3}
    result |= images_per_second(net.infer, net.synchronize, shorter, "inference")
    return result | {"setting": net.setting()}


def kernels(job: dict) -> dict[str, Any]:
    """Ours: milliseconds of each kernel in a training step."""
    from .gpu_kernels import measure
    net = load(job)
    result: dict[str, Any] = {}
    net.feed(job["batch"])
    net.mode(True)
    for _ in range(job["warm_up"]):
        net.step()
    with metered(result):
        result |= measure(net, job["steps"])
    return result


def layers(job: dict) -> dict[str, Any]:
    """name -> [seconds forward, seconds backward] of each layer by itself, between events, the
    fastest of several after a warm-up."""
    net = load(job)
    turns: list[dict[str, list[float]]] = []
    result: dict[str, Any] = {}
    for _ in range(job["warm_up"]):
        net.layer_marks(job["batch"])
    with metered(result):
        for _ in range(job["least"]):
            marks = net.layer_marks(job["batch"])
            net.synchronize()
            turns.append({name: [net.between(a, b), net.between(b, c)]
                          for name, (a, b, c) in marks.items()})
    fastest = {name: [min(times) for times in zip(*(turn[name] for turn in turns), strict=True)]
               for name in turns[0]}
    return result | {"layers": fastest}


def feed(job: dict) -> dict[str, Any]:
    """Ours: images per second from bytes on the host, shuffled, cut, mirrored and coloured as the
    net's recipe says: training on them, the batches alone, and training on one batch that is on
    the device already."""
    import numpy as np

    from minitorch_alex import data
    from minitorch_alex.training.feed import feed as fed
    net = load(job)
    workload = GPU_WORKLOADS[job["workload"]]
    batch = job["batch"]
    result: dict[str, Any] = {}
    net.feed(batch)
    net.mode(True)
    recipe = net.model.recipe
    rng = np.random.default_rng(0)
    side = 256 if workload.size == 224 else workload.size
    count = batch * job["batches"]
    images = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    labels = rng.integers(0, workload.classes, count)
    part = data.Dataset(images, labels, tuple(map(str, range(workload.classes))), "noise")
    pca = data.fit_pca(part.images[:16]) if recipe.color != "none" else None
    transform = data.Transform(part.mean_image(), crop=recipe.crop or None, pad=recipe.pad,
                               flip=recipe.flip, pca=pca)
    source = fed(data.Loader(part, batch, transform, workers=job["workers"]))
    resident = (net.images, net.labels)

    def epoch(train: bool) -> None:
        for net.images, net.labels in source.epoch(0):
            if train:
                net.step()
        net.synchronize()

    with metered(result):
        for key, train in (("batches", False), ("train", True)):
            times = time_steps(lambda train=train: epoch(train), 1, job["least"],
                               job["seconds"])
            result[key] = round(len(part) / median(times), 2)
        check(net)
        net.images, net.labels = resident
        result["resident"] = images_per_second(net.step, net.synchronize, job)["train"]
    return result | {
        "workers": job["workers"],
        "image": side,
        "crop": recipe.crop,
        "color": recipe.color,
    }


def ceilings(job: dict) -> dict[str, Any]:
    """What the machine can do: float32 matrix products at each precision, in 10^9 operations per
    second, and copies, in 10^9 bytes per second; the best of several. And the operations of each
    workload's step."""
    from minitorch_alex import backend, selftest
    from minitorch_alex.training import cli
    from minitorch_alex.training.feed import upload_speed

    from .nets import OursOnGpu, step_flops
    result: dict[str, Any] = {}
    with metered(result):
        rates = {}
        for precision in job["precisions"]:
            cli.use_device({**cli.DEVICE_DEFAULTS, "backend": OursOnGpu.backend,
                            "precision": precision})
            rates[f"gemm_{precision}"] = round(selftest.product_speed(job["side"]) / 1e9, 1)
        rates["copy"] = round(selftest.copy_speed(job["megabytes"] << 20) / 1e9, 1)
        rates["upload"] = round(upload_speed(job["megabytes"] << 20) / 1e9, 1)
    backend.use("numpy")
    # The operations of an image are the same in a batch of any size.
    nets = {GPU_WORKLOADS[name].net: GPU_WORKLOADS[name] for name in job["workloads"]}
    work = {net: step_flops(one) for net, one in nets.items()}
    return result | {
        "rates": rates,
        "side": job["side"],
        "megabytes": job["megabytes"],
        "flops_per_image": {name: work[GPU_WORKLOADS[name].net] for name in job["workloads"]},
    }


def machine(job: dict) -> dict[str, Any]:
    """What all of it runs on; {"missing": why} where ours cannot use a GPU. `torch` is there only
    if it can use the GPU too."""
    from minitorch_alex import backend
    from minitorch_alex.errors import BackendError
    from minitorch_alex.training import cli, runs

    from .nets import OursOnGpu
    settings = {**cli.DEVICE_DEFAULTS, "backend": OursOnGpu.backend}
    try:
        cli.use_device(settings)
    except BackendError as error:
        return {"missing": str(error)}
    xp = backend.current().xp
    setting = cli.describe_device(settings)
    about = {
        "gpu": setting.partition(",")[0],
        "setting": setting,
        "memory_gb": round(xp.cuda.Device().mem_info[1] / 1e9),
        "cupy": xp.__version__,
        "cpu": runs.cpu_name(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": installed("numpy"),
    }
    if installed("torch"):
        import torch
        if torch.cuda.is_available():
            about |= {
                "torch": torch.__version__,
                "torch_cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
            }
    return about


TASKS = {
    "speed": speed,
    "kernels": kernels,
    "layers": layers,
    "feed": feed,
    "ceilings": ceilings,
    "machine": machine,
}

if __name__ == "__main__":
    answer(TASKS)
