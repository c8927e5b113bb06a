"""The ledger: what each layer of a network costs for one image."""
from dataclasses import dataclass
from math import prod

from ..models import Network
from ..nn import Conv2d, Linear, LocallyConnected2d, Module, evaluating
from .forward import blank, outputs

FLOAT_BYTES = 4  # float32


@dataclass(frozen=True)
class Entry:
    """One layer, and what it costs for one image.

        shape           of its output, without the batch
        parameters      how many numbers it learns
        multiply_adds   of its forward pass
        output_bytes    of its output, float32
        column_bytes    that a whole im2col matrix would have, float32
    """

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
        window = prod(layer.kernel_size) * layer.in_channels  # KH KW C: what an im2col row holds
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
