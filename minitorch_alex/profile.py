"""python -m minitorch_alex.profile MODEL: what a network costs, layer by layer: sizes, multiply-adds, memory, time."""
import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from . import backend, kernels, models
from . import functional as F
from .autograd import Function, no_grad
from .errors import EXIT_CODES, UsageError, run_cli
from .nn import Conv2d, Linear, LocallyConnected2d, Module, Sequential
from .tensor import Tensor


def outputs(model: Sequential, x: Tensor) -> Iterator[tuple[str, Module, Tensor]]:
    """(name, layer, its output) through the model, one layer after the other, without a graph."""
    for name, layer in model.named_children():
        with no_grad():  # not around the yield: the caller's loop is none of our business
            x = layer(x)
        yield name, layer, x


def blank(model: Sequential, images: int) -> Tensor:
    """A batch of zeros of the size the model takes."""
    return Tensor(backend.asarray(np.zeros((images, 3, model.image_size, model.image_size), np.float32)))


# the ledger


@dataclass(frozen=True)
class Entry:
    """One layer: its output shape without the batch, its parameters, and for one image the multiply-adds of forward,
    the bytes of its output and the bytes that a whole im2col matrix would have (float32)."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int = 0
    multiply_adds: int = 0
    output_bytes: int = 0
    column_bytes: int = 0


def ledger(model: Sequential) -> list[Entry]:
    """An entry a layer. A convolution or a locally connected layer multiplies KH KW C/G numbers for each output, a
    linear layer its inputs; bias, ReLU, LRN and pools are not counted, as in the literature."""
    entries, model = [], model.eval()
    for name, layer, y in outputs(model, blank(model, 1)):
        window = 0
        if isinstance(layer, Conv2d | LocallyConnected2d):
            window = prod(layer.kernel_size) * layer.in_channels // getattr(layer, "groups", 1)
        columns = 4 * prod(layer.kernel_size) * layer.in_channels * prod(y.shape[2:]) if window else 0
        if isinstance(layer, Linear):
            window = layer.in_features
        entries.append(Entry(name, type(layer).__name__, y.shape[1:], sum(p.size for p in layer.parameters()),
                             window * prod(y.shape[1:]), 4 * prod(y.shape[1:]), columns))
    return entries


def layer_table(model: Sequential, times: dict[str, tuple[float, float]] | None = None) -> str:
    """The ledger as text, with the sums below; with `times` also milliseconds forward and backward."""
    heading = ["layer", "kind", "output", "parameters", "multiply-adds", "output", "im2col"]
    rows = [[*heading, "forward", "backward"] if times else heading]
    rows.append(["", "", f"3 x {model.image_size} x {model.image_size}"] + [""] * (len(rows[0]) - 3))
    entries = ledger(model)
    total = Entry("total", "", (), *(sum(getattr(e, f) for e in entries)
                                     for f in ("parameters", "multiply_adds", "output_bytes", "column_bytes")))
    for e in [*entries, total]:
        row = [e.name, e.kind, " x ".join(map(str, e.shape)), f"{e.parameters:,}" if e.parameters else "",
               f"{e.multiply_adds / 1e6:,.1f} M" if e.multiply_adds else "", f"{e.output_bytes / 1024:,.0f} KB",
               f"{e.column_bytes / 1024:,.0f} KB" if e.column_bytes else ""]
        if times:
            spent = times[e.name] if e.name in times else tuple(map(sum, zip(*times.values(), strict=True)))
            row += [f"{1e3 * seconds:,.2f} ms" for seconds in spent]
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) if i < 3 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows)


# memory


def saved_bytes(loss: Tensor) -> int:
    """How many bytes the graph behind `loss` keeps for backward, parameters aside."""
    kept: dict[int, int] = {}
    todo, visited = [loss.creator], set()
    while todo:
        node = todo.pop()
        if node in visited:
            continue
        visited.add(node)
        parameters = {id(_memory(source.data)) for source, _ in node.edges if source is not None
                      and not isinstance(source, Function)}
        for array in map(_memory, _flat(node.saved)):
            if id(array) not in parameters:
                kept[id(array)] = array.nbytes
        todo += [source for source, _ in node.edges if isinstance(source, Function)]
    return sum(kept.values())


def _memory(array: Any) -> Any:
    """The array that owns the memory of a view: two layers may keep two views of one."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _flat(saved: Any) -> Iterator[Any]:
    for item in saved:
        if isinstance(item, tuple):
            yield from _flat(item)
        elif item is not None:
            yield item


def memory_needs(model: Sequential) -> tuple[int, int]:
    """(bytes whatever the batch, bytes for each image) of a training step: weights, gradients and velocities; and what
    forward keeps for backward, measured on two images. Blocks and passing gradients come on top (tens of MB)."""
    mode, images = model.training, 2
    model.train()
    logits = model(blank(model, images))
    kept = saved_bytes(F.cross_entropy(logits, backend.asarray(np.zeros(images, np.int64))))
    model.train(mode)
    return 3 * sum(p.data.nbytes for p in model.parameters()), kept // images


def step_bytes(model: Sequential, batch_size: int) -> int:
    """The memory of one training step on a batch."""
    fixed, each = memory_needs(model)
    return fixed + each * batch_size


# time, and what flows through


def layer_times(model: Sequential, batch_size: int, repeats: int = 3) -> dict[str, tuple[float, float]]:
    """name -> (seconds forward, seconds backward) of each layer on a batch of noise in training mode, the fastest of
    `repeats`. The first layer with weights computes no gradient of the image, as in training."""
    rng = backend.rng(0, "profile")
    x = rng.standard_normal((batch_size, model.image_size, model.image_size, 3)).astype(np.float32) * 60
    x, model = Tensor(backend.asarray(x.transpose(0, 3, 1, 2))), model.train()
    times = {}
    for name, layer in model.named_children():
        best = [float("inf")] * 2
        for _ in range(repeats):
            clock = [_now()]
            y = layer(x)
            clock.append(_now())
            if y.creator is not None:
                y.backward(y.data)
                clock.append(_now())
            spent = [after - before for before, after in zip(clock, clock[1:], strict=False)]
            best = [min(pair) for pair in zip(best, [*spent, 0.0], strict=False)]  # no backward takes no time
        times[name] = best[0], best[1]
        x = Tensor(y.data, requires_grad=y.requires_grad)
    return times


def _now() -> float:
    backend.synchronize()
    return time.perf_counter()


def statistics(model: Sequential, x: Tensor) -> str:
    """One line a layer: mean, standard deviation and largest magnitude of its output and of its weight. For finding
    the layer in which the numbers left the finite."""
    lines = [f"{'layer':<10} {'output mean':>12} {'std':>10} {'max':>10}   {'weight std':>10} {'max':>10}"]
    with np.errstate(all="ignore"):
        for name, layer, y in outputs(model, x):
            a = backend.to_numpy(y.data)
            line = f"{name:<10} {a.mean():>12.3g} {a.std():>10.3g} {np.abs(a).max():>10.3g}"
            if hasattr(layer, "weight"):
                w = backend.to_numpy(layer.weight.data)
                line += f"   {w.std():>10.3g} {np.abs(w).max():>10.3g}"
            lines.append(line)
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minitorch_alex.profile", epilog=EXIT_CODES,
                                     description="What a network costs for one image, layer by layer.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help=", ".join(models.MODELS))
    parser.add_argument("-b", "--batch-size", type=int, default=32, metavar="N",
                        help="images to time (default: 32; 0 measures no time)")
    parser.add_argument("--memory", type=float, default=3.0, metavar="GB",
                        help="largest batch that trains in this much memory (default: 3, the paper's GTX 580)")
    parser.add_argument("--threads", type=int, metavar="N", help="worker threads (default: the CPUs at hand)")
    args = parser.parse_args(argv)
    if args.batch_size < 0 or args.memory <= 0:
        raise UsageError(f"--batch-size must be 0 or more and --memory above 0, got {args.batch_size}, {args.memory}")
    kernels.keep_freed_memory()
    if args.threads is not None:
        kernels.set_threads(args.threads)
    model = models.build(args.model, 10 if args.model in (*models.SMALL, "alexnet_cifar") else 1000)
    print(layer_table(model, layer_times(model, args.batch_size) if args.batch_size else None))
    fixed, each = memory_needs(model)
    fits = int((args.memory * 1e9 - fixed) // each)
    print(f"\ntraining takes {fixed / 1e6:,.0f} MB for weights, gradients and velocities and {each / 1e6:,.2f} MB an "
          "image; " + (f"a batch of {fits:,} fits" if fits > 0 else "not one image fits") + f" into {args.memory:g} GB")
    return 0


if __name__ == "__main__":
    run_cli(main)
