"""A network one layer after the other, without a graph."""
from collections.abc import Iterator

import numpy as np

from .. import backend
from ..autograd import no_grad
from ..models import Network
from ..nn import Module, Sequential
from ..tensor import Tensor


def outputs(model: Sequential, x: Tensor) -> Iterator[tuple[str, Module, Tensor]]:
    """(name, layer, its output) of every layer in order, from input x (N,3,H,W)."""
    for name, layer in model.named_layers():
        with no_grad():  # not around the yield: that would switch the caller's loop too
            x = layer(x)
        yield name, layer, x


def blank(model: Network, images: int) -> Tensor:
    """A batch of zeros of the size that the model takes: (images, 3, S, S), float32."""
    size = model.image_size
    return Tensor(backend.asarray(np.zeros((images, 3, size, size), np.float32)))
