"""python -m minitorch_alex.profile MODEL: what a network costs, layer by layer.

Output sizes, parameters, multiply-adds, memory and time; how much of the signal arrives; and with
--ranks what several processes would gain.
"""
import argparse
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from math import prod
from typing import Any

import numpy as np

from . import backend, comm, kernels, models, plots, scaling, streams
from . import functional as F
from .autograd import Function, no_grad
from .errors import UsageError
from .kernels import gpu
from .kernels.cpu import algorithms
from .kernels.window import ceil_div
from .models import Network
from .nn import Conv2d, Linear, LocallyConnected2d, Module, Sequential, evaluating, in_mode
from .tensor import Tensor
from .training import cli, convolution, runs
from .training.ranks import threads_per_rank

FLOAT_BYTES = 4  # float32
Times = dict[str, tuple[float, float]]  # layer -> (seconds forward, seconds backward)


def outputs(model: Sequential, x: Tensor) -> Iterator[tuple[str, Module, Tensor]]:
    """(name, layer, its output) through the model, one layer after the other, without a graph."""
    for name, layer in model.named_layers():
        with no_grad():  # not around the yield: that would switch the caller's loop too
            x = layer(x)
        yield name, layer, x


def blank(model: Network, images: int) -> Tensor:
    """A batch of zeros of the size that the model takes: (images, 3, S, S)."""
    size = model.image_size
    return Tensor(backend.asarray(np.zeros((images, 3, size, size), np.float32)))


# The ledger: what each layer costs.


@dataclass(frozen=True)
class Entry:
    """One layer: its output shape without the batch, its parameters, and for one image the
    multiply-adds of forward, the bytes of its output and the bytes that a whole im2col matrix
    would have (float32)."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int = 0
    multiply_adds: int = 0
    output_bytes: int = 0
    column_bytes: int = 0


def ledger(model: Network) -> list[Entry]:
    """One entry per layer. A convolution or a locally connected layer multiplies KH KW C/G numbers
    for each output, a linear layer its inputs; bias, ReLU, LRN and pools are not counted, as in
    the literature."""
    entries = []
    counted: set[int] = set()  # ids: weights that several layers share count once, at the first
    with evaluating(model):
        for name, layer, y in outputs(model, blank(model, 1)):
            own = {id(p): p.size for p in layer.parameters() if id(p) not in counted}
            counted |= own.keys()
            entries.append(_entry(name, layer, y.shape[1:], sum(own.values())))
    return entries


def _entry(name: str, layer: Module, shape: tuple[int, ...], parameters: int) -> Entry:
    """The costs of one layer, for one image; `shape` is that of its output without the batch."""
    terms = 0  # of the sum that makes one output
    column_bytes = 0
    if isinstance(layer, Conv2d | LocallyConnected2d):
        window = prod(layer.kernel_size) * layer.in_channels
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        terms = window // groups
        column_bytes = FLOAT_BYTES * window * prod(shape[1:])
    elif isinstance(layer, Linear):
        terms = layer.in_features
    return Entry(name, type(layer).__name__, shape,
                 parameters=parameters, multiply_adds=terms * prod(shape),
                 output_bytes=FLOAT_BYTES * prod(shape), column_bytes=column_bytes)


def total(entries: list[Entry]) -> Entry:
    """The sums over all layers."""
    return Entry("total", "", (), parameters=sum(e.parameters for e in entries),
                 multiply_adds=sum(e.multiply_adds for e in entries),
                 output_bytes=sum(e.output_bytes for e in entries),
                 column_bytes=sum(e.column_bytes for e in entries))


def layer_table(model: Network, times: Times | None = None, markdown: bool = False,
                computed_by: Mapping[str, str] | None = None) -> str:
    """The ledger as text or as a Markdown table, with the sums below; with `times` also
    milliseconds forward and backward, with `computed_by` (layer -> name) what computes each
    convolution."""
    rows = _rows(model, times)
    if computed_by:
        cells = ["computed by"] + [computed_by.get(row[0], "") for row in rows[1:]]
        rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    if markdown:
        rule = "|" + "".join("---|" if i < 3 else "--:|" for i in range(len(rows[0])))
        heading, *body = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([heading, rule, *body])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(_aligned(row, widths) for row in rows)


def _rows(model: Network, times: Times | None) -> list[list[str]]:
    """The ledger as cells: a heading, the input, one row per layer, the sums; with `times` also
    milliseconds."""
    heading = ["layer", "kind", "output", "parameters", "multiply-adds", "output", "im2col"]
    if times:
        heading += ["forward", "backward"]
    image = ["", "", f"3 x {model.image_size} x {model.image_size}"]
    rows = [heading, image + [""] * (len(heading) - len(image))]
    entries = ledger(model)
    for entry in [*entries, total(entries)]:
        row = _cells(entry)
        if times:
            row += [f"{1e3 * seconds:,.2f} ms"
                    for seconds in times.get(entry.name, _total_times(times))]
        rows.append(row)
    return rows


def _cells(entry: Entry) -> list[str]:
    return [entry.name, entry.kind, " x ".join(map(str, entry.shape)),
            f"{entry.parameters:,}" if entry.parameters else "",
            f"{entry.multiply_adds / 1e6:,.1f} M" if entry.multiply_adds else "",
            f"{entry.output_bytes / 1024:,.0f} KB",
            f"{entry.column_bytes / 1024:,.0f} KB" if entry.column_bytes else ""]


def _total_times(times: Times) -> tuple[float, float]:
    forward, backward = zip(*times.values(), strict=True)
    return sum(forward), sum(backward)


def _aligned(row: list[str], widths: list[int]) -> str:
    """The cells of a row side by side: words to the left, numbers to the right."""
    cells = [cell.ljust(width) if i < 3 else cell.rjust(width)
             for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
    return "  ".join(cells).rstrip()


def draw(model: Network, path: str | os.PathLike, title: str = "") -> None:
    """The network as a figure in the manner of the paper's figure 2; see plots.network."""
    entries = ledger(model)
    layers = [(entry.name, layer, entry.shape)
              for entry, layer in zip(entries, model, strict=True)]
    sums = total(entries)
    note = (f"{sums.parameters:,} parameters, "
            f"{sums.multiply_adds / 1e6:,.1f} M multiply-adds per image")
    plots.network(layers, (3, model.image_size, model.image_size), path, title, note)


# Memory.


def saved_bytes(loss: Tensor) -> int:
    """How many bytes the graph behind `loss` keeps for backward, parameters aside."""
    kept: dict[int, int] = {}  # id of an array -> its bytes: several layers may keep the same one
    parameters: set[int] = set()
    visited: set[Function] = set()
    todo = [loss.creator] if loss.creator else []
    while todo:
        node = todo.pop()
        if node in visited:
            continue
        visited.add(node)
        kept |= {id(array): array.nbytes for array in map(_owner, _flat(node.saved))}
        for source, _ in node.edges or ():
            if isinstance(source, Function):
                todo.append(source)
            elif source is not None:
                parameters.add(id(_owner(source.data)))
    return sum(n_bytes for array, n_bytes in kept.items() if array not in parameters)


def _owner(array: Any) -> Any:
    """The array that owns the memory of a view: two layers may keep two views of one array."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _flat(saved: Any) -> Iterator[Any]:
    """The arrays among what a Function saved, which may hold tuples, records
    (kernels.half.Factor) and None."""
    for item in saved:
        if isinstance(item, tuple):
            yield from _flat(item)
        elif is_dataclass(item):
            yield from _flat(vars(item).values())
        elif item is not None:
            yield item


def memory_needs(model: Network) -> tuple[int, int]:
    """(bytes for any batch, bytes per image) of a training step: weights, gradients and
    velocities; and what forward keeps for backward, measured on one image and on two. (On a GPU
    some of that belongs to any batch: weights in the order or the precision of the products.) Work
    memory of the kernels and gradients in flight come on top: tens of MB on a CPU, see step_bytes
    for a GPU."""
    one, two = (_kept_bytes(model, images) for images in (1, 2))
    parameters = sum(p.data.nbytes for p in model.parameters())
    return 3 * parameters + max(0, 2 * one - two), two - one


def _kept_bytes(model: Network, images: int) -> int:
    """What forward keeps for backward of so many images. Running statistics stay as they are: a
    blank image is none of the training's."""
    before = [(buffer, buffer.data.copy()) for _, buffer in model.named_buffers()]
    with in_mode(model, training=True):
        logits = model(blank(model, images))
    for buffer, array in before:
        buffer.data[...] = array
    return saved_bytes(F.cross_entropy(logits, backend.asarray(np.zeros(images, np.int64))))


def step_bytes(model: Network, batch_size: int) -> int:
    """The memory of one training step on a batch; on a GPU with its column matrices."""
    fixed, per_image = memory_needs(model)
    kept = fixed + per_image * batch_size
    return kept + (_gpu_work_bytes(model, batch_size) if backend.current().kernels is gpu else 0)


def _gpu_work_bytes(model: Network, batch_size: int) -> int:
    """What a step on a GPU takes besides memory_needs: in the layer that needs most, the gradients
    of input and output, and a column matrix: that of the input's gradient, or its own where it is
    not kept (kernels/gpu/columns.py). memory_needs has counted all columns as kept, as they are
    for one image: the others are taken off."""
    before = batch_size * FLOAT_BYTES * 3 * model.image_size**2  # bytes of a layer's input
    factor_bytes = 2 if backend.precision() in ("fp16", "bf16") else FLOAT_BYTES
    # Nobody needs the gradient of the image, which the first convolution would give.
    first = next((layer for layer in model.children() if isinstance(layer, Conv2d)), None)
    most = 0
    not_kept = 0
    for layer, entry in zip(model, ledger(model), strict=True):
        after = batch_size * entry.output_bytes
        work = before + after
        if isinstance(layer, Conv2d):
            numbers = _column_numbers(layer, entry, batch_size)
            kept = gpu.columns.are_kept(numbers, layer.groups, factor_bytes)
            columns = 0 if layer is first else min(gpu.columns.WORKSPACE, numbers * FLOAT_BYTES)
            if not kept:
                columns = max(columns, min(gpu.columns.WORKSPACE, numbers * factor_bytes))
                not_kept += layer.groups * numbers * factor_bytes
                not_kept -= before * factor_bytes // FLOAT_BYTES
            work += columns
        if factor_bytes < FLOAT_BYTES:
            work += after // 2  # the gradient, rounded
        most = max(most, work)
        before = after
    return most - not_kept


def _column_numbers(layer: Conv2d, entry: Entry, batch_size: int) -> int:
    """How many numbers the column matrix of one group has on a GPU, with its rows rounded up."""
    width = prod(layer.kernel_size) * layer.in_channels // layer.groups
    return batch_size * prod(entry.shape[1:]) * 8 * ceil_div(width, 8)


# Time, and what flows through.


def layer_times(model: Network, batch_size: int, repeats: int = 3) -> Times:
    """name -> (seconds forward, seconds backward) of each layer on a batch of noise in training
    mode, the fastest of `repeats`. The first layer with weights computes no gradient of the image,
    as in training."""
    rng = streams.rng(0, "profile")
    shape = (batch_size, model.image_size, model.image_size, 3)
    images = rng.standard_normal(shape).astype(np.float32) * 60  # about the std of real pixels
    x = Tensor(backend.asarray(images.transpose(0, 3, 1, 2)))  # (N,H,W,3) -> (N,3,H,W)
    times = {}
    with in_mode(model, training=True):
        for name, layer in model.named_layers():
            fastest = float("inf"), float("inf")
            for _ in range(repeats):
                y, forward, backward = _time_layer(layer, x)
                fastest = min(fastest[0], forward), min(fastest[1], backward)
            times[name] = fastest
            # The next layer starts a graph of its own, so that backward times one layer alone.
            x = Tensor(y.data, requires_grad=y.requires_grad)
    return times


def _time_layer(layer: Module, x: Tensor) -> tuple[Tensor, float, float]:
    """(output, seconds forward, seconds backward) of one layer; backward needs a graph."""
    start = _now()
    y = layer(x)
    middle = _now()
    if y.creator is None:
        return y, middle - start, 0.0
    y.backward(y.data)
    return y, middle - start, _now() - middle


def _now() -> float:
    backend.synchronize()
    return time.perf_counter()


def statistics(model: Sequential, x: Tensor) -> str:
    """One line per layer: mean, standard deviation and largest magnitude of its output and of its
    weight. For finding the layer in which the numbers stopped being finite."""
    lines = [f"{'layer':<10} {'output mean':>12} {'std':>10} {'max':>10}   {'weight std':>10} "
             f"{'max':>10}"]
    with np.errstate(all="ignore"):
        for name, layer, y in outputs(model, x):
            a = backend.to_numpy(y.data)
            line = f"{name:<10} {a.mean():>12.3g} {a.std():>10.3g} {np.abs(a).max():>10.3g}"
            if isinstance(layer, Conv2d | LocallyConnected2d | Linear):
                w = backend.to_numpy(layer.weight.data)
                line += f"   {w.std():>10.3g} {np.abs(w).max():>10.3g}"
            lines.append(line)
    return "\n".join(lines)


# Does the signal reach the end?

# Signal.ratio before the last layer, see signal_verdict:
STALLS = 0.001    # below this a network is known not to learn
DOUBTFUL = 0.005  # below this none is known to learn
# Signal.spread after the last layer:
VANISHED = 1e-6
EXPLODED = 100.0


@dataclass(frozen=True)
class Signal:
    """What a layer with weights does to a batch.

        input_std   standard deviation of its input
        gain        standard deviation of its output over that of its input
        ratio       differences between images over what all images share, in its input
        spread      differences between images, in its output
    """

    name: str
    input_std: float
    gain: float
    ratio: float
    spread: float


@dataclass(frozen=True)
class _Activation:
    """Measures of an activation a (N, ...), in float64.

        spread   sqrt(mean over units of the variance over images): the differences between images
        common   sqrt(mean over units of (mean over images)^2): what all images share
        std      of all values
    """

    spread: float
    common: float
    std: float

    @classmethod
    def of(cls, x: Tensor) -> "_Activation":
        a = backend.to_numpy(x.data)
        a = a.reshape(len(a), -1).astype(np.float64)  # (N, ...) -> (N, units)
        with np.errstate(all="ignore"):
            spread = np.sqrt(a.var(axis=0).mean())
            common = np.sqrt((a.mean(axis=0) ** 2).mean())
            return cls(float(spread), float(common), float(a.std()))


def signal_ratios(model: Sequential, x: Tensor) -> list[Signal]:
    """A Signal for each layer with weights, on a batch (N,3,H,W) of at least 2 images, in
    evaluation mode.

    A network can only learn from the differences between images (_Activation.spread).
    Raises UsageError for a single image.
    """
    if x.shape[0] < 2:
        raise UsageError(f"signal_ratios compares images: got {x.shape[0]}, expected at least 2")
    signals = []
    before = _Activation.of(x)
    with evaluating(model):
        for name, layer, y in outputs(model, x):
            after = _Activation.of(y)
            if isinstance(layer, Conv2d | LocallyConnected2d | Linear):
                gain = after.std / before.std if before.std else 0.0
                ratio = before.spread / before.common if before.common else float("inf")
                signals.append(Signal(name, before.std, gain, ratio, after.spread))
            before = after
    return signals


def signal_table(signals: list[Signal]) -> str:
    """One line per layer."""
    width = max(len("layer"), *(len(s.name) for s in signals))
    heading = (f"{'layer':<{width}}  {'std in':>9}  {'std out / in':>12}  "
               f"{'images / common, in':>19}  {'images, out':>11}")
    lines = [f"{s.name:<{width}}  {s.input_std:>9.3g}  {s.gain:>12.3g}  {s.ratio:>19.2g}  "
             f"{s.spread:>11.2g}"
             for s in signals]
    return "\n".join([heading, *lines])


def signal_verdict(signals: list[Signal]) -> str | None:
    """What is wrong with initial weights and inputs, and what helps; None where no problem is
    known.

    The measure is the ratio before the last layer. The paper's text (std 0.01 in each layer,
    biases 1) gives 0.008 with inputs 0..255 and learns, slowly at first; 0.00015 with inputs of
    std 1, and stalls: loss at ln K for epochs. What ran in 2012 (std 0.03 in conv3 to conv5) gives
    0.09, Caffe's biases of 0.1 give 0.04; from 0.006 on every set-up is reported to train, between
    0.001 and 0.005 no report is known."""
    first = signals[0]
    last = signals[-1]
    remedies = ["biases of 0.1 in place of 1",
                "larger weights (what ran in 2012 had std 0.03 in conv3 to conv5)"]
    if first.input_std < 10:
        remedies.insert(0, "inputs of 0..255 minus the mean (their std is about 60, here it is "
                           f"{first.input_std:.2g})")
    advice = "; what helps: " + "; ".join(remedies)
    share = (f"the differences between images that reach {last.name} are {last.ratio:.2g} of what "
             "all images share")
    if not np.isfinite(last.spread) or last.spread > EXPLODED:
        return (f"explodes: the outputs of {last.name} differ by {last.spread:.2g} between "
                "images, and the first losses will be as large; what helps: smaller weights or "
                "inputs")
    if last.ratio < STALLS:
        return (f"known to stall: {share}, so the biases dominate and the loss stays at chance "
                f"level{advice}")
    if last.ratio < DOUBTFUL:
        return (f"doubtful: {share}; set-ups that are known to train have more than "
                f"{DOUBTFUL:g}{advice}")
    if last.spread < VANISHED:
        return (f"vanishes: the outputs of {last.name} differ by {last.spread:.2g} between "
                f"images, which leaves gradients too small to learn from{advice}")
    return None


# Several ranks.


def layers_that_talk(model: Network) -> list[scaling.Layer]:
    """The layers with weights, as the model of several ranks knows them (scaling.py)."""
    layers: list[scaling.Layer] = []
    input_bytes = FLOAT_BYTES * 3 * model.image_size**2
    for layer, entry in zip(model, ledger(model), strict=True):
        if entry.parameters:
            # A convolution without groups reads the maps of both columns; the first reads images.
            whole = bool(layers) and getattr(layer, "groups", 1) == 1
            layers.append(scaling.Layer(entry.name, FLOAT_BYTES * entry.parameters,
                                        entry.multiply_adds, input_bytes,
                                        isinstance(layer, Linear), whole))
        input_bytes = entry.output_bytes
    return layers


def ranks_table(layers: list[scaling.Layer], images: int) -> str:
    """What a layer sends in a step of so many images in all, in MB: gradients of data parallelism;
    what crosses between two columns, from each to the other; features of hybrid parallelism."""
    heading = f"{'layer':<10} {'data':>12} {'columns':>12} {'hybrid':>12}"
    lines = [heading]
    for layer in layers:
        crossing = images * scaling.column_bytes([layer])
        features = images * layer.input_bytes if layer.is_linear else layer.weight_bytes
        lines.append(_megabytes(layer.name, layer.weight_bytes, crossing, features))
    fixed, per_image = scaling.hybrid_bytes(layers)
    lines.append(_megabytes("total", scaling.gradient_bytes(layers),
                            images * scaling.column_bytes(layers), fixed + images * per_image))
    return "\n".join(lines)


def _megabytes(name: str, *numbers: float) -> str:
    return f"{name:<10} " + " ".join(f"{n_bytes / 1e6:>9,.2f} MB" for n_bytes in numbers)


def efficiency_table(layers: list[scaling.Layer], machines: scaling.Machines, images: int) -> str:
    """The predicted efficiency of each kind of parallelism on 2 to 1,024 ranks with so many images
    each."""
    lines = [f"{'ranks':<10} " + " ".join(f"{kind:>16}" for kind in scaling.KINDS)]
    for ranks in (2**k for k in range(1, 11)):
        steps = [step_here(kind, layers, machines, ranks, images) for kind in scaling.KINDS]
        lines.append(f"{ranks:<10,} " + " ".join(f"{step.efficiency:>16.0%}" for step in steps))
    return "\n".join(lines)


def step_here(kind: str, layers: list[scaling.Layer], machines: scaling.Machines, ranks: int,
              images: float) -> scaling.Step:
    """The model's step for what `--parallel` does on a job's links: its hybrid cuts the fully
    connected layers for all ranks, and not for those of each host by themselves."""
    if kind == "hybrid":
        machines = replace(machines, ranks_per_host=ranks, inside=machines.between)
    return scaling.step_of(kind, layers, machines, ranks, images)


def describe_ranks(model: Network, times: Times, images: int, ranks: comm.Comm) -> str:
    """This job's links, what each layer would send, and how much of the ranks' speed is left, by
    the model of scaling.py. `times` are of a batch of `images`, which each rank has."""
    layers = layers_that_talk(model)
    link = scaling.measure(ranks, scaling.gradient_bytes(layers))
    seconds = sum(_total_times(times))
    machines = scaling.Machines(images / max(ranks.collect(seconds)), link, link, ranks.local_size)
    return "\n".join([
        f"{ranks.size} ranks: a message takes {1e6 * link.latency:,.0f} us and "
        f"{link.bandwidth / 1e9:,.2f} GB/s; the slowest computes "
        f"{machines.images_per_second:,.0f} img/s",
        f"\na step of {ranks.size} x {images} images moves, of 2 (p - 1)/p of which each rank "
        "sends:", ranks_table(layers, ranks.size * images),
        f"\npredicted efficiency with {images} images a rank and these links "
        "(columns need a net with groups):", efficiency_table(layers, machines, images)])


# The command.


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    kernels.keep_freed_memory()
    # Each rank gets its share of the processors, unless --threads says otherwise.
    ranks = comm.start(timeout=300) if args.ranks else comm.Alone()
    if ranks.size > 1:
        kernels.set_threads(threads_per_rank(ranks))
    cli.use_device(vars(args))
    model, name = open_model(args.model)
    if args.plot:
        draw(model, args.plot, name)
        print(args.plot)
        return 0
    computed_by = use_faster_convolutions(model, args)
    times = layer_times(model, args.batch_size) if args.batch_size else None
    if times and args.ranks:
        text = describe_ranks(model, times, args.batch_size, ranks)
        if ranks.rank == 0:
            print(text)
        return 0
    print(layer_table(model, times, args.markdown, computed_by))
    print(f"\n{describe_memory(model, args.memory)}")
    return 0


def open_model(text: str) -> tuple[Network, str]:
    """(the model of that name, or of a run; its name). Raises UsageError for a name of neither,
    RunError for a folder that is not a run."""
    if text in models.MODELS or not (os.path.exists(text) or text == runs.PRETRAINED.name):
        return models.build(text, models.default_classes(text)), text
    run, file = runs.find(text)
    config = run.read_config()
    return runs.load_model(file, config).model, config["model"]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UsageError for a batch size or a memory that makes no sense."""
    parser = cli.parser("minitorch_alex.profile",
                        "What a network costs for one image, layer by layer.")
    parser.add_argument("model", type=cli.home, metavar="MODEL",
                        help=f"a run (runs/NAME), or one of {', '.join(models.MODELS)}")
    parser.add_argument("-b", "--batch-size", type=int, default=32, metavar="N",
                        help="number of images to time (default: 32; 0 skips the timing)")
    parser.add_argument("--memory", type=float, default=3.0, metavar="GB",
                        help="report the largest batch that trains in this much memory (default: "
                             "3, the paper's GTX 580)")
    cli.add_device_flags(parser)
    parser.add_argument("--ranks", action="store_true",
                        help="under mpiexec or srun: measure how fast this job's ranks sum, and "
                             "predict data parallelism, two columns and the hybrid of both, by "
                             "layer and by number of ranks")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--plot", type=cli.home, metavar="FILE",
                        help="only draw the network, as in the paper's figure 2 (png, svg or pdf)")
    args = parser.parse_args(argv)
    if args.batch_size < 0 or args.memory <= 0:
        raise UsageError("--batch-size must be 0 or more and --memory above 0, got "
                         f"{args.batch_size}, {args.memory}")
    if args.ranks and not args.batch_size:
        raise UsageError("--ranks needs the time of a step: got --batch-size 0, expected at least "
                         "1")
    return args


def use_faster_convolutions(model: Network, args: argparse.Namespace) -> dict[str, str]:
    """What --conv auto means for the batch that is timed: convolution -> what computes it; empty
    where nothing is timed, or where there is no choice."""
    if args.conv != "auto" or args.backend != "numpy" or not args.batch_size:
        return {}
    choices = convolution.faster(convolution.problems_of(model).values(), args.batch_size)
    algorithms.use(choices)
    return convolution.by_layer(model, choices)


def describe_memory(model: Network, gigabytes: float) -> str:
    """What a training step needs, and the largest batch that fits, in a sentence."""
    fixed, per_image = memory_needs(model)
    batch = int((gigabytes * 1e9 - fixed) // per_image)
    verdict = f"a batch of {batch:,} fits" if batch > 0 else "not one image fits"
    return (f"training takes {fixed / 1e6:,.0f} MB for weights, gradients and velocities and "
            f"{per_image / 1e6:,.2f} MB per image; {verdict} into {gigabytes:g} GB")


if __name__ == "__main__":
    cli.run_cli(main)
