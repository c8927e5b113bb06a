"""Which network a file of weights belongs to, and how many classes it knows: both by its shapes.

A file from elsewhere says neither. The names and shapes of its arrays do, up to networks that
differ in settings without weights (stride, padding, normalisation): then the user has to say.
"""
import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..errors import RunError, UsageError
from ..models import ALEXNETS, MODELS, AlexNet, AlexNetConfig, Network, build, default_classes
from . import weights

State = Mapping[str, np.ndarray]


class Filled(NamedTuple):
    """A model with the weights of a file, the name it goes by, and its number of classes."""

    name: str
    model: Network
    num_classes: int


def load(path: str | os.PathLike, name: str | None = None) -> Filled:
    """The model called `name` with the weights of a file, and as many classes as these have.
    Without a name, the one model that has such weights.

    Raises RunError when the file cannot be read or its weights do not fit, UsageError for an
    unknown name or that of another model, and without a name when several models have such
    weights.
    """
    if name is not None:
        default_classes(name)  # an unknown name is refused before a large file is read
    state = weights.read(path)
    name = name or recognise(state, path)
    # The last layer is as long as there are classes, which a net has to know when it is built.
    model = blank(name)
    num_classes = class_count(model, state) or default_classes(name)
    if num_classes != default_classes(name):
        model = blank(name, num_classes)
    try:
        weights.fill(model, state, path)
    except RunError:
        check_model(name, state, path)
        raise
    return Filled(name, model, num_classes)


def check_model(name: str, state: State, path: str | os.PathLike) -> None:
    """Raises RunError when weights are those of other models than `name`: pytorch/examples calls
    torchvision's network alexnet."""
    names = matching(state)
    if names and name not in names:
        raise RunError(f"{path} has the weights of {' or '.join(names)}, not of {name}; give "
                       f"-a {names[0]}")


def blank(name: str, num_classes: int | None = None) -> Network:
    """The model called `name` with weights of 0, to be filled from a file: no random numbers are
    drawn for an AlexNet. Raises UsageError for an unknown name."""
    count = default_classes(name) if num_classes is None else num_classes
    if name not in ALEXNETS:
        return build(name, count)
    config: AlexNetConfig = getattr(AlexNetConfig, ALEXNETS[name])(num_classes=count)
    return AlexNet(config.blank())


def class_count(model: Network, state: State) -> int | None:
    """How many classes the last layer in `state` has; None where its weight and its bias disagree
    or are missing, so that loading them will say what is wrong."""
    named = weights.by_names_of(model, dict(state))
    weight, bias = (named.get(name) for name in last_layer(model))
    if weight is None or bias is None or bias.ndim != 1 or not len(bias):
        return None
    return len(bias) if weight.ndim and len(weight) == len(bias) else None


def last_layer(model: Network) -> tuple[str, str]:
    """The names of the last layer's weight and bias."""
    # Parameters come in the order of the layers; buffers would follow them in a state_dict.
    *_, weight, bias = dict(model.named_parameters())
    return weight, bias


def recognise(state: State, path: str | os.PathLike) -> str:
    """The name of the one model that has the weights `state` of the file `path`.

    Raises RunError when no model has such weights, UsageError when several do.
    """
    names = matching(state)
    if not names:
        raise RunError(f"{path} does not belong to a run, and its weights fit none of the models "
                       f"{', '.join(MODELS)}; what is missing for one of them is said with "
                       "--model NAME")
    if len(names) > 1:
        raise UsageError(f"{path} does not belong to a run, and its weights fit "
                         f"{', '.join(names)}; say which of them it is, with --model NAME")
    return names[0]


def matching(state: State) -> list[str]:
    """The models that have such weights, whatever the number of classes."""
    return [name for name in MODELS if _may_fit(name, state) and _fits(name, state)]


def has_convolutions(name: str, state: State) -> bool:
    """Whether `state` has all convolutions of a model, with its names and shapes."""
    model = blank(name, 1)
    named = weights.by_names_of(model, dict(state))
    kernels = {key: array.shape for key, array in model.named_parameters() if array.ndim == 4}
    return all(key in named and named[key].shape == shape for key, shape in kernels.items())


def _may_fit(name: str, state: State) -> bool:
    """Whether the convolutions of an AlexNet occur in `state`: this spares building most of
    them."""
    if name not in ALEXNETS:
        return True
    config: AlexNetConfig = getattr(AlexNetConfig, ALEXNETS[name])()
    inputs = (3, *config.channels)
    expected = {(width, before // groups) for width, before, groups
                in zip(config.channels, inputs, config.groups)}
    # the first two sizes of (O, C // G, KH, KW) of each convolution, in any order
    return expected <= {array.shape[:2] for array in state.values() if array.ndim == 4}


def _fits(name: str, state: State) -> bool:
    """Whether a model has the names and shapes of `state`, whatever the number of classes."""
    # One class keeps the last layer small: it is compared without its number of rows.
    model = blank(name, 1)
    named = weights.by_names_of(model, dict(state))
    own = {key: array.shape for key, array in (*model.named_parameters(), *model.named_buffers())}
    if named.keys() != own.keys() or class_count(model, state) is None:
        return False
    weight, bias = last_layer(model)
    if named[weight].shape[1:] != own[weight][1:]:
        return False
    return all(named[key].shape == shape for key, shape in own.items()
               if key not in (weight, bias))
