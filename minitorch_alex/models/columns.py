"""One network on several ranks: the two columns of 2012, and the hybrid of 2014.

The paper spreads its network over two GPUs (section 3.2, figure 2). Each holds half of the kernels
of every layer, and the two exchange maps only where a layer reads all of them:

    rank 0   conv1 ── conv2 ─┐   ┌─ conv3 ── conv4 ── conv5 ─┐   ┌─ fc6 ─┐   ┌─ fc7 ─┐   ┌─ fc8 ─┐
                            gather                          gather      gather      gather  gather
    rank 1   conv1 ── conv2 ─┘   └─ conv3 ── conv4 ── conv5 ─┘   └─ fc6 ─┘   └─ fc7 ─┘   └─ fc8 ─┘

The configuration says where: `groups` is 2 where a layer reads its own column only. In one process
such a layer is a grouped convolution, on two ranks it is a plain one on half of the channels.

"One weird trick" (Krizhevsky 2014, arXiv:1404.5997) cuts only the fully connected layers, which
have most of the weights, and gives each rank its own images for the convolutions, which have most
of the arithmetic:

    rank 0   conv1 ... conv5 of its images ─┐   ┌─ fc6 ─┐   ┌─ fc7 ─┐   ┌─ fc8 ─┐
                                          gather      gather      gather      gather
    rank 1   conv1 ... conv5 of its images ─┘   └─ fc6 ─┘   └─ fc7 ─┘   └─ fc8 ─┘
                                         images      features                 logits of all images

Every weight is cut along its first axis, so a whole network is a concatenation: `state_dict` gives
it under its usual names, and `load_state_dict` takes it, on any number of ranks.

After the last gather all ranks compute the same loss, and the adjoint of gather adds their
gradients: each starts its backward pass with 1 / P (`share`).
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend, nn
from .. import functional as F
from ..comm import Comm, part
from ..errors import ShapeError, UsageError
from ..functional import exchange
from ..init import constant
from ..tensor import Tensor
from .alexnet import AlexNet
from .network import Network

CUT = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)  # layers whose arrays have one row per output


class Gather(nn.Module):
    """functional.exchange.gather as a layer: the features of all columns (axis 1), or the images
    of all ranks (axis 0). How many there are is counted at each call, eight bytes a rank."""

    def __init__(self, comm: Comm, axis: int) -> None:
        self.comm = comm
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return exchange.gather(x, self.comm, self.axis, total(self.comm, x.shape[self.axis]))


def total(comm: Comm, own: int) -> int:
    """The sum of a number over ranks."""
    return sum(comm.collect(own))  # on the host, also where arrays are on GPUs


class Cut(Network):
    """A network of which this rank holds a part, made by `columns` or `hybrid`.

        comm        the ranks that share the network
        share       where each of them starts its backward pass: 1 / P, see the head of this file
        seam        how many layers come before the first gather of images; 0 in columns
        cut         names of the layers of which this rank has a part

    All ranks call `state_dict` and `load_state_dict` together.
    """

    def __init__(self, whole: Network, comm: Comm, layers: Mapping[str, nn.Module]) -> None:
        self.comm = comm
        self.share = 1 / comm.size
        super().__init__(whole.image_size, whole.recipe, whole.layer_decay, whole.deviations,
                         **layers)
        names = list(layers)
        images = [i for i, layer in enumerate(self)
                  if isinstance(layer, Gather) and layer.axis == 0]
        self.seam = images[0] if images else 0
        self.cut = frozenset(name for name in names[self.seam:]
                             if isinstance(layers[name], CUT))

    def is_cut(self, name: str) -> bool:
        """Whether this rank has only a part of the parameter or buffer of that name."""
        return name.rpartition(".")[0] in self.cut

    def join(self, name: str, array: Any) -> Any:
        """The whole of an array that has the shape of this rank's parameter `name`."""
        if not self.is_cut(name):
            return array
        own = backend.asarray(array)  # where the ranks' arrays travel
        own = backend.xp_of(own).ascontiguousarray(own)
        whole = self.comm.gather(own, 0, total(self.comm, len(array)))
        return backend.to_numpy(whole) if isinstance(array, np.ndarray) else whole

    def own(self, name: str, array: Any) -> Any:
        """This rank's part of a whole parameter."""
        rows = part(len(array), self.comm.rank, self.comm.size)
        return array[rows] if self.is_cut(name) else array

    def state_dict(self) -> dict[str, np.ndarray]:
        """The whole network under its usual names, on every rank."""
        return {name: self.join(name, array) for name, array in super().state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take this rank's part of a whole network. Raises RunError as Module.load_state_dict."""
        super().load_state_dict({name: self.own(name, array) for name, array in state.items()})


def columns(whole: AlexNet, comm: Comm) -> Cut:
    """This rank's column of a network, from its configuration's groups; with its weights.

    Raises UsageError when the network has no groups, when their number is not that of the ranks,
    or when a normalisation reads the maps of both columns.
    """
    config = whole.config
    groups = max(config.groups)
    if groups == 1:
        raise UsageError("this network has no columns: its groups are all 1, so every layer reads "
                         "all maps; take alexnet, or --parallel hybrid")
    if comm.size != groups:
        raise UsageError(f"the network has {groups} columns, got {comm.size} ranks for one of it; "
                         f"start a multiple of {groups}")
    if "lrn" in " ".join(config.after).split() and config.lrn_groups % groups:
        raise UsageError("the windows of this network's local response normalisation cross the "
                         f"seam between its columns (lrn_groups = {config.lrn_groups}); take "
                         f"--set lrn_groups={groups}, or --parallel hybrid")
    return _cut(whole, comm, first_cut=0, is_column=True)


def hybrid(whole: Network, comm: Comm) -> Cut:
    """A network whose convolutions this rank has whole, for its own images, and of whose fully
    connected layers it has a part, for the images of all ranks; with its weights.

    Its output are the logits of all images. Raises UsageError when no layer is fully connected,
    or one has fewer outputs than there are ranks.
    """
    layers = list(whole.children())
    linear = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
    if not linear:
        raise UsageError("hybrid parallelism cuts the fully connected layers, and this network "
                         "has none; take data parallelism")
    first = linear[0]
    # Dropout of the features belongs to what is cut: its mask is that of all images.
    while first and isinstance(layers[first - 1], nn.Dropout):
        first -= 1
    return _cut(whole, comm, first_cut=first, is_column=False)


def _cut(whole: Network, comm: Comm, first_cut: int, is_column: bool) -> Cut:
    """The network with every layer from number first_cut on cut, and what has to be gathered."""
    layers: dict[str, nn.Module] = {}
    # What a layer leaves undecided (ReLU, pooling, normalisation) keeps what is before it.
    is_part = False  # whether this rank has a part of the features at this place
    for i, (name, layer) in enumerate(whole.named_layers()):
        if i == first_cut and not is_column:
            layers["gather_images"] = Gather(comm, 0)
        if i >= first_cut:
            if is_part and _reads_all(layer):
                layers[f"gather_{name}"] = Gather(comm, 1)
                is_part = False
            layer = _part_of(layer, comm)
            is_part = is_part or isinstance(layer, nn.Conv2d | nn.Linear)
        layers[name] = layer
    layers["gather_logits"] = Gather(comm, 1)  # so all ranks compute the loss, the same one
    return Cut(whole, comm, layers)


def _reads_all(layer: nn.Module) -> bool:
    """Whether a layer needs the features of all columns. So does dropout, whose mask is numbered
    over all features, to be that of one process."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1
    return isinstance(layer, nn.Linear | nn.Dropout)


def _part_of(layer: nn.Module, comm: Comm) -> nn.Module:
    """This rank's part of a layer, with its weights."""
    if isinstance(layer, nn.Conv2d):
        return _part_of_convolution(layer, comm)
    if isinstance(layer, nn.Linear):
        return _part_of_linear(layer, comm)
    if isinstance(layer, nn.BatchNorm2d):
        rows = part(layer.num_features, comm.rank, comm.size)
        norm = nn.BatchNorm2d(rows.stop - rows.start, layer.eps, layer.momentum, layer.affine,
                              layer.track_running_stats)
        return _with_rows(norm, layer, rows)
    if isinstance(layer, nn.LocalResponseNorm):
        return nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k,
                                    max(1, layer.groups // comm.size), layer.within_map)
    return layer  # element by element, or map by map


def _part_of_linear(layer: nn.Linear, comm: Comm) -> nn.Linear:
    """Some of the outputs, of all inputs."""
    if layer.out_features < comm.size:
        raise UsageError(f"a layer of {layer.out_features} outputs cannot be cut for "
                         f"{comm.size} ranks; start at most {layer.out_features}")
    rows = part(layer.out_features, comm.rank, comm.size)
    cut = nn.Linear(layer.in_features, rows.stop - rows.start, layer.bias is not None,
                    weight_init=constant(0), bias_init=constant(0))
    return _with_rows(cut, layer, rows)


def _part_of_convolution(layer: nn.Conv2d, comm: Comm) -> nn.Conv2d:
    """Some of the kernels, as many on each rank. With groups each rank has its own, and their
    maps."""
    if layer.out_channels % comm.size:
        raise ShapeError(f"{comm.size} columns do not divide a convolution of "
                         f"{layer.out_channels} maps")
    rows = part(layer.out_channels, comm.rank, comm.size)
    inputs = layer.in_channels // (comm.size if layer.groups > 1 else 1)
    cut = nn.Conv2d(inputs, rows.stop - rows.start, layer.kernel_size, layer.stride,
                    layer.padding, layer.dilation, max(1, layer.groups // comm.size),
                    layer.bias is not None, layer.ceil_mode, constant(0), constant(0))
    return _with_rows(cut, layer, rows)


def _with_rows(cut: Any, whole: nn.Module, rows: slice) -> Any:
    """The cut layer with these rows of the whole one's arrays."""
    state = whole.state_dict()
    for name, array in cut._named_state().items():
        array.data = backend.asarray(np.ascontiguousarray(state[name][rows]))
    return cut


# The hybrid's step, in one pass or in several.

SCHEMES = ("a", "b", "c")


@dataclass(frozen=True)
class Pass:
    """What one pass through the cut layers saw: the mean loss of its images, their logits and
    their labels, the same on all ranks."""

    loss: Tensor
    logits: Tensor
    labels: Any


def hybrid_gradients(net: Cut, x: Tensor, labels: Any, scheme: str = "a", passes: int = 1,
                     update: Callable[[], None] | None = None,
                     loss_of: Callable[[Tensor, Any], Tensor] = F.cross_entropy) -> list[Pass]:
    """Add to every parameter its gradient of the mean loss over all ranks' images: of the cut
    layers all of it, of the convolutions this rank's share, which remains to be summed over ranks.

    x (n, 3, S, S) and labels (n,) are this rank's part of the batch. The three schemes of
    Krizhevsky 2014, section 4, differ in whose features the cut layers see:

        "a"   those of all ranks, at once
        "b"   in pass k those of rank k; there are as many passes as ranks
        "c"   in pass k the k-th part of every rank's, of any number of passes

    With several passes there is less to hold at a time, and `update`, called after each pass, may
    change the cut layers: they are then trained with the smaller batch of a pass, and the
    gradients that they have are those of the last pass's mean loss.

    `loss_of` is a mean over images. Raises UsageError for an unknown scheme, and when "b" or "c"
    cannot cut the batch evenly.
    """
    layers = list(net)
    features = x  # (n, 3, S, S) -> (n, F), of this rank's images
    for layer in layers[:net.seam]:
        features = layer(features)
    images = total(net.comm, x.shape[0])
    if scheme == "a":
        passed = _one_pass(net, exchange.gather(features, net.comm, 0, images),
                           net.comm.gather(labels, 0, images), net.share, loss_of)
        if update is not None:
            update()
        return [passed]

    _check_passes(net.comm, scheme, passes, x.shape[0], images)
    collected = backend.xp_of(features.data).zeros_like(features.data)  # what goes on backward
    passed_all = []
    for k in range(passes):
        rows = slice(None) if scheme == "b" else part(x.shape[0], k, passes)
        # A graph of its own for each pass: the cut layers may change before the next one.
        own = Tensor(features.data[rows], requires_grad=features.requires_grad)
        if scheme == "b":
            joined = exchange.broadcast(own, net.comm, k)
            targets = backend.asarray(net.comm.broadcast(labels, k))  # it comes in host memory
        else:
            joined = exchange.gather(own, net.comm, 0)
            targets = net.comm.gather(labels[rows])
        weight = len(targets) / images
        passed_all.append(_one_pass(net, joined, targets,
                                    net.share * (1.0 if update else weight), loss_of))
        if own.grad is not None:
            collected[rows] += own.grad * (weight if update else 1.0)
        if update is not None:
            update()
    if features.requires_grad:
        features.backward(gradient=collected)
    return passed_all


def _one_pass(net: Cut, joined: Tensor, labels: Any, share: float,
              loss_of: Callable[[Tensor, Any], Tensor]) -> Pass:
    """Forward and backward from the features of some images."""
    logits = joined
    for layer in list(net)[net.seam + 1:]:
        logits = layer(logits)
    loss = loss_of(logits, labels)
    loss.backward(gradient=loss.dtype.type(share))
    return Pass(loss, logits, labels)


def _check_passes(comm: Comm, scheme: str, passes: int, own: int, images: int) -> None:
    """Raises UsageError when a batch cannot be cut for these passes."""
    if scheme not in SCHEMES:
        raise UsageError(f"got scheme {scheme!r}, expected one of: {', '.join(SCHEMES)}")
    if scheme == "b" and passes != comm.size:
        raise UsageError(f"in scheme b each rank has one pass: got {passes} passes for "
                         f"{comm.size} ranks")
    parts = comm.size if scheme == "b" else comm.size * passes
    if passes < 1 or images % parts or own * comm.size != images:
        raise UsageError(f"a batch of {images} images cannot be cut into {passes} passes of "
                         f"{comm.size} equal parts; take a multiple of {max(1, parts)}, or scheme "
                         "a")
