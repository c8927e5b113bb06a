"""What several processes would gain: what each layer sends, and how much speed is left."""
from dataclasses import replace

from .. import comm, scaling
from ..models import Network
from ..nn import Linear
from .costs import FLOAT_BYTES, ledger
from .timing import Times, total_times


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
        # Hybrid parallelism cuts the fully connected layers: instead of their gradients it sends
        # what they read.
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
    seconds = sum(total_times(times))
    # One link for both levels: inside a host and between hosts is not measured apart. All ranks
    # wait for the slowest in every step, so its speed is that of each.
    machines = scaling.Machines(images / max(ranks.collect(seconds)), link, link, ranks.local_size)
    return "\n".join([
        f"{ranks.size} ranks: a message takes {1e6 * link.latency:,.0f} us and "
        f"{link.bandwidth / 1e9:,.2f} GB/s; the slowest computes "
        f"{machines.images_per_second:,.0f} img/s",
        f"\na step of {ranks.size} x {images} images moves, of 2 (p - 1)/p of which each rank "
        "sends:", ranks_table(layers, ranks.size * images),
        f"\npredicted efficiency with {images} images a rank and these links "
        "(columns need a net with groups):", efficiency_table(layers, machines, images)])
