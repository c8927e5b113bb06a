"""Network: what every model of this package has, besides its layers."""
from collections.abc import Mapping, Sequence

from ..nn import Module, Sequential
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
