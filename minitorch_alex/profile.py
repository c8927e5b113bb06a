"""python -m minitorch_alex.profile MODEL: what a network costs, layer by layer: sizes, multiply-adds, memory, time."""
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from . import backend, kernels, models, plots, streams
from . import functional as F
from .autograd import Function, no_grad
from .errors import UsageError
from .nn import Conv2d, Linear, LocallyConnected2d, Module, Sequential, evaluating, in_mode
from .tensor import Tensor
from .training import cli


def outputs(model: Sequential, x: Tensor) -> Iterator[tuple[str, Module, Tensor]]:
    """(name, layer, its output) through the model, one layer after the other, without a graph."""
    for name, layer in model.named_children():
        with no_grad():  # not around the yield: the caller's loop is none of our business
            x = layer(x)
        yield name, layer, x


def blank(model: Sequential, images: int) -> Tensor:
    """A batch of zeros of the size the model takes."""
    return Tensor(backend.asarray(np.zeros((images, 3, model.image_size, model.image_size), np.float32)))


# The ledger: what each layer costs.

FLOAT_BYTES = 4  # float32


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
    """One entry per layer. A convolution or a locally connected layer multiplies KH KW C/G numbers for each output, a
    linear layer its inputs; bias, ReLU, LRN and pools are not counted, as in the literature."""
    with evaluating(model):
        return [_entry(name, layer, y.shape[1:]) for name, layer, y in outputs(model, blank(model, 1))]


def _entry(name: str, layer: Module, shape: tuple[int, ...]) -> Entry:
    """The costs of one layer that gives an output of `shape`, without the batch, for one image."""
    terms = 0  # of the sum that makes one output
    column_bytes = 0
    if isinstance(layer, Conv2d | LocallyConnected2d):
        window = prod(layer.kernel_size) * layer.in_channels
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        terms = window // groups
        column_bytes = FLOAT_BYTES * window * prod(shape[1:])
    elif isinstance(layer, Linear):
        terms = layer.in_features
    return Entry(name, type(layer).__name__, shape, parameters=sum(p.size for p in layer.parameters()),
                 multiply_adds=terms * prod(shape), output_bytes=FLOAT_BYTES * prod(shape), column_bytes=column_bytes)


def _rows(model: Sequential, times: dict[str, tuple[float, float]] | None) -> list[list[str]]:
    """The ledger as cells: a heading, the input, an entry a layer, the sums; with `times` also milliseconds."""
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
    return rows


def layer_table(model: Sequential, times: dict[str, tuple[float, float]] | None = None, markdown: bool = False) -> str:
    """The ledger as text or as a Markdown table, with the sums below; with `times` also milliseconds forward and
    backward."""
    rows = _rows(model, times)
    if markdown:
        rule = "|" + "".join("---|" if i < 3 else "--:|" for i in range(len(rows[0])))
        heading, *body = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([heading, rule, *body])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) if i < 3 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows)


def draw(model: Sequential, path: str | os.PathLike, title: str = "") -> None:
    """The network as a picture in the manner of the paper's figure 2; see plots.network."""
    entries = ledger(model)
    layers = [(e.name, layer, e.shape) for e, layer in zip(entries, model.children(), strict=True)]
    note = (f"{sum(e.parameters for e in entries):,} parameters, "
            f"{sum(e.multiply_adds for e in entries) / 1e6:,.1f} M multiply-adds for an image")
    plots.network(layers, (3, model.image_size, model.image_size), path, title, note)


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
    images = 2
    with in_mode(model, training=True):
        logits = model(blank(model, images))
    kept = saved_bytes(F.cross_entropy(logits, backend.asarray(np.zeros(images, np.int64))))
    return 3 * sum(p.data.nbytes for p in model.parameters()), kept // images


def step_bytes(model: Sequential, batch_size: int) -> int:
    """The memory of one training step on a batch."""
    fixed, each = memory_needs(model)
    return fixed + each * batch_size


# time, and what flows through


def layer_times(model: Sequential, batch_size: int, repeats: int = 3) -> dict[str, tuple[float, float]]:
    """name -> (seconds forward, seconds backward) of each layer on a batch of noise in training mode, the fastest of
    `repeats`. The first layer with weights computes no gradient of the image, as in training."""
    rng = streams.rng(0, "profile")
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


# does the signal reach the end?

STALLS, DOUBTFUL = 0.001, 0.005  # of Signal.ratio before the last layer, see signal_verdict
VANISHED, EXPLODED = 1e-6, 100.0  # of Signal.spread after the last layer


@dataclass(frozen=True)
class Signal:
    """What a layer with weights does to a batch: the std of its input, the std of its output over it (gain), the
    differences between images over what all images share in its input (ratio), and those differences in its output
    (spread)."""

    name: str
    input_std: float
    gain: float
    ratio: float
    spread: float


def signal_ratios(model: Sequential, x: Tensor) -> list[Signal]:
    """A Signal for each layer with weights, on a batch (N,3,H,W) of at least 2 images, in evaluation mode.

    Of an activation a of N images: spread = sqrt(mean over units of var over images), and ratio = spread / sqrt(mean
    over units of (mean over images)^2). A network can only learn from the spread. UsageError for a single image."""
    if x.shape[0] < 2:
        raise UsageError(f"signal_ratios compares images: got {x.shape[0]}, expected at least 2")
    mode, found = model.training, []
    model.eval()
    before = _spread(x)
    for name, layer, y in outputs(model, x):
        after = _spread(y)
        if isinstance(layer, Conv2d | LocallyConnected2d | Linear):
            spread, common, std = before
            found.append(Signal(name, std, after[2] / std if std else 0.0, spread / common if common else float("inf"),
                                after[0]))
        before = after
    model.train(mode)
    return found


def _spread(x: Tensor) -> tuple[float, float, float]:
    """(differences between images, what they share, std of all) of an activation, in float64."""
    a = backend.to_numpy(x.data).reshape(x.shape[0], -1).astype(np.float64)
    with np.errstate(all="ignore"):
        return float(np.sqrt(a.var(axis=0).mean())), float(np.sqrt((a.mean(axis=0) ** 2).mean())), float(a.std())


def signal_table(signals: list[Signal]) -> str:
    """One line a layer."""
    width = max(len("layer"), *(len(s.name) for s in signals))
    lines = [f"{'layer':<{width}}  {'std in':>9}  {'std out / in':>12}  {'images / common, in':>19}  "
             f"{'images, out':>11}"]
    return "\n".join(lines + [f"{s.name:<{width}}  {s.input_std:>9.3g}  {s.gain:>12.3g}  {s.ratio:>19.2g}  "
                              f"{s.spread:>11.2g}" for s in signals])


def signal_verdict(signals: list[Signal]) -> str | None:
    """What is wrong with initial weights and inputs, and what helps; None where nothing is known against them.

    The measure is the ratio before the last layer. The paper's text (std 0.01 in each layer, biases 1) gives 0.008 with
    inputs 0..255 and learns, slowly at first; 0.00015 with inputs of std 1, and stalls: loss at ln K for epochs. What
    ran in 2012 (std 0.03 in conv3 to conv5) gives 0.09, Caffe's biases of 0.1 give 0.04; from 0.006 on every set-up is
    reported to train, between 0.001 and 0.005 no report is known."""
    last, first = signals[-1], signals[0]
    remedies = ["biases of 0.1 in place of 1", "larger weights (what ran in 2012 had std 0.03 in conv3 to conv5)"]
    if first.input_std < 10:
        remedies.insert(0, f"inputs of 0..255 minus the mean (their std is about 60, here it is {first.input_std:.2g})")
    helps, arrives = "; what helps: " + "; ".join(remedies), f"what reaches {last.name} differs between images by "
    if not np.isfinite(last.spread) or last.spread > EXPLODED:
        return (f"explodes: the outputs of {last.name} differ by {last.spread:.2g} between images, and the first "
                "losses will be as large; what helps: smaller weights or inputs")
    if last.ratio < STALLS:
        return (f"known to stall: {arrives}{last.ratio:.2g} of what all have in common, so the biases dominate and the "
                f"loss stays at that of a guess{helps}")
    if last.ratio < DOUBTFUL:
        return (f"doubtful: {arrives}{last.ratio:.2g} of what all have in common; set-ups that train have above "
                f"{DOUBTFUL:g}{helps}")
    if last.spread < VANISHED:
        return (f"vanishes: the outputs of {last.name} differ by {last.spread:.2g} between images, too little for "
                f"gradients to count{helps}")
    return None


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("minitorch_alex.profile", "What a network costs for one image, layer by layer.")
    parser.add_argument("model", metavar="MODEL", help=", ".join(models.MODELS))
    parser.add_argument("-b", "--batch-size", type=int, default=32, metavar="N",
                        help="images to time (default: 32; 0 measures no time)")
    parser.add_argument("--memory", type=float, default=3.0, metavar="GB",
                        help="largest batch that trains in this much memory (default: 3, the paper's GTX 580)")
    cli.add_device_flags(parser)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--plot", metavar="FILE",
                        help="only draw the network, as in the paper's figure 2 (png, svg or pdf)")
    args = parser.parse_args(argv)
    if args.batch_size < 0 or args.memory <= 0:
        raise UsageError(f"--batch-size must be 0 or more and --memory above 0, got {args.batch_size}, {args.memory}")
    kernels.keep_freed_memory()
    cli.use_device(vars(args))
    model = models.build(args.model, 10 if args.model in (*models.SMALL, "alexnet_cifar") else 1000)
    if args.plot:
        draw(model, args.plot, args.model)
        print(args.plot)
        return 0
    print(layer_table(model, layer_times(model, args.batch_size) if args.batch_size else None, args.markdown))
    fixed, each = memory_needs(model)
    fits = int((args.memory * 1e9 - fixed) // each)
    print(f"\ntraining takes {fixed / 1e6:,.0f} MB for weights, gradients and velocities and {each / 1e6:,.2f} MB an "
          "image; " + (f"a batch of {fits:,} fits" if fits > 0 else "not one image fits") + f" into {args.memory:g} GB")
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
