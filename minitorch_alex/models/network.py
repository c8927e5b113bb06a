"""Network: what every model of this package has, besides its layers; and a layer that scales
images."""
from collections.abc import Mapping, Sequence

import numpy as np

from .. import backend
from ..nn import Module, Sequential
from ..tensor import Tensor
from .recipe import Recipe


class Network(Sequential):
    """A model that has a name: its layers in order, and what a training has to know about them.

        image_size     side of the square input images (N, 3, image_size, image_size)
        recipe         how it is trained unless the user says otherwise
        layer_decay    weight decay by layer name, where it is not the recipe's
        deviations     where it differs from its source, one sentence each
    """

    # Positional arguments, so that layers may have any name.
    def __init__(self, image_size: int, recipe: Recipe, layer_decay: Mapping[str, float],
                 deviations: Sequence[str], /, **layers: Module) -> None:
        self.image_size = image_size
        self.recipe = recipe
        self.layer_decay = dict(layer_decay)
        self.deviations = list(deviations)
        super().__init__(**layers)  # refuses a layer by the name of one of these


class Scale(Module):
    """x times a constant, or times one constant for each channel of (N, 3, H, W)."""

    def __init__(self, factor: float | tuple[float, float, float]) -> None:
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.factor, tuple):
            return x * self.factor
        factors = np.array(self.factor, x.dtype)[:, None, None]  # (3,) -> (3, 1, 1)
        return x * Tensor(backend.asarray(factors))
