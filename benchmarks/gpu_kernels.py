"""python -m benchmarks.gpu_kernels: where a training step on the GPU goes, kernel by kernel.

Every launch and every matrix product of a step is put between two CUDA events; the figure of a kernel is the median
over the steps of what its launches took together. Events lengthen a step a little, and what CuPy does by itself
(copies, sums of arrays) is not between any: the difference between the step and the sum is shown as `rest`.
"""
import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from minitorch_alex.kernels import gpu, half

from .nets import OursOnGpu

MODULES = (gpu, half)


class Meter:
    """Stands in for `launch` and `product`, and keeps a pair of events for each call."""

    def __init__(self, net: OursOnGpu) -> None:
        self.net = net
        self.calls: list[tuple[str, Any, Any]] = []

    def timed(self, work: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = self.net.mark()
            result = work(*args, **kwargs)
            self.calls.append((name(*args), start, self.net.mark()))
            return result
        return call

    def install(self) -> None:
        for module in MODULES:
            module.launch = self.timed(module.launch, lambda kernel, *rest: kernel)
            module.product = self.timed(module.product, lambda a, b, *rest: f"gemm {a.shape} @ {b.shape}")

    def step(self) -> dict[str, float]:
        """Milliseconds of each kernel in one step, with `step` for the whole of it."""
        self.calls.clear()
        start = self.net.mark()
        self.net.step()
        stop = self.net.mark()
        self.net.synchronize()
        spent: dict[str, float] = defaultdict(float)
        for name, first, last in self.calls:
            spent[name] += 1e3 * self.net.between(first, last)
        return {**spent, "step": 1e3 * self.net.between(start, stop)}


def measure(workload: str, precision: str, steps: int) -> dict[str, Any]:
    """{"step_ms", "host_ms", "launches", "kernels": name -> ms} of one workload."""
    net = OursOnGpu(workload, "ours", precision)
    net.feed(net.workload.batch)
    net.mode(True)
    for _ in range(5):
        net.step()
    net.synchronize()
    begin = time.perf_counter()
    for _ in range(steps):
        net.step()
    issued = time.perf_counter() - begin
    net.synchronize()
    plain = time.perf_counter() - begin
    meter = Meter(net)
    originals = [(module, module.launch, module.product) for module in MODULES]
    meter.install()
    taken = [meter.step() for _ in range(steps)]
    for module, launch, product in originals:
        module.launch = launch
        module.product = product
    kernels = {name: round(median(one.get(name, 0.0) for one in taken), 4) for name in taken[0]}
    step = kernels.pop("step")
    kernels["rest"] = round(step - sum(kernels.values()), 4)
    return {"workload": workload, "precision": precision, "step_ms": round(1e3 * plain / steps, 3),
            "host_ms": round(1e3 * issued / steps, 3), "timed_step_ms": step, "calls": len(meter.calls),
            "kernels": dict(sorted(kernels.items(), key=lambda item: -item[1]))}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_kernels", description=__doc__.split("\n")[0])
    parser.add_argument("--workloads", nargs="+", default=["alexnet-b256"], metavar="NAME")
    parser.add_argument("--precisions", nargs="+", default=["tf32", "fp16"], metavar="NAME")
    parser.add_argument("--steps", type=int, default=10, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a JSON file of all figures")
    args = parser.parse_args(argv)
    results = []
    for workload in args.workloads:
        for precision in args.precisions:
            result = measure(workload, precision, args.steps)
            results.append(result)
            print(f"{workload} {precision}: {result['step_ms']} ms a step ({result['host_ms']} ms on the host, "
                  f"{result['calls']} calls)")
            for name, ms in result["kernels"].items():
                print(f"  {ms:8.3f} ms  {name}")
            sys.stdout.flush()
            if args.out:
                args.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
