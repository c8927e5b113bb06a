"""Where the time of a training step goes, kernel by kernel: section `kernels` of benchmarks.gpu.

Every launch and every matrix product of a step is put between two CUDA events. The time of a
kernel is the median over the steps of what all its launches in a step took. Events lengthen a step
a little, and what CuPy does by itself (copies, sums of arrays) is not between any: the difference
between the step and the sum is `rest`.
"""
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

from minitorch_alex.kernels.launch import launch
from minitorch_alex.kernels.products import multiply

from .nets import OursOnGpu


def _kernel_name(kernel: str, *rest: Any) -> str:
    return kernel


def _product_name(a: Any, b: Any, *rest: Any) -> str:
    return f"gemm {a.shape} @ {b.shape}"


WORK = (("launch", launch, _kernel_name), ("multiply", multiply, _product_name))


def call_sites() -> list[tuple[Any, str, Callable[..., Any], Callable[..., str]]]:
    """Every module of the kernels that calls `launch` or `multiply` by its own name, as (module,
    name, function, how to name a call)."""
    modules = [module for name, module in sys.modules.items()
               if name.startswith("minitorch_alex.kernels.")]
    return [(module, name, function, label) for module in modules
            for name, function, label in WORK if getattr(module, name, None) is function]


class Meter:
    """`with Meter(net)` times launches and products; step() says how long they took."""

    def __init__(self, net: OursOnGpu) -> None:
        self.net = net
        self.calls: list[tuple[str, Any, Any]] = []  # name, mark before, mark after
        self.sites = call_sites()

    def __enter__(self) -> "Meter":
        for module, name, function, label in self.sites:
            setattr(module, name, self.timed(function, label))
        return self

    def __exit__(self, *error: object) -> None:
        for module, name, function, _ in self.sites:
            setattr(module, name, function)

    def timed(self, work: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        """`work`, which in addition leaves a mark before and a mark after each call."""
        def call(*args: Any, **kwargs: Any) -> Any:
            start = self.net.mark()
            result = work(*args, **kwargs)
            self.calls.append((name(*args), start, self.net.mark()))
            return result

        return call

    def step(self) -> dict[str, float]:
        """Milliseconds of each kernel in one step, with `step` for the whole step."""
        self.calls.clear()
        start = self.net.mark()
        self.net.step()
        stop = self.net.mark()
        self.net.synchronize()
        spent: dict[str, float] = defaultdict(float)
        for name, first, last in self.calls:
            spent[name] += 1e3 * self.net.between(first, last)
        return {**spent, "step": 1e3 * self.net.between(start, stop)}


def measure(net: OursOnGpu, steps: int) -> dict[str, Any]:
    """The times of a network that has its batch and is warm, in milliseconds per step.

    step_ms        a step, without events
    host_ms        what the host needs to issue it
    timed_step_ms  a step, with events
    calls          launches and products in a step
    kernels        name -> milliseconds, the longest first; with `rest`
    """
    net.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        net.step()
    issued = time.perf_counter() - start
    net.synchronize()
    whole = time.perf_counter() - start
    with Meter(net) as meter:
        taken = [meter.step() for _ in range(steps)]
    kernels = {name: round(median(one.get(name, 0.0) for one in taken), 4) for name in taken[0]}
    timed_step = kernels.pop("step")
    kernels["rest"] = round(timed_step - sum(kernels.values()), 4)
    return {
        "step_ms": round(1e3 * whole / steps, 3),
        "host_ms": round(1e3 * issued / steps, 3),
        "timed_step_ms": timed_step,
        "calls": len(meter.calls),
        "kernels": dict(sorted(kernels.items(), key=lambda item: -item[1])),
    }
