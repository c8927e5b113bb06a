"""Fine-tuning: a training that starts from weights instead of random numbers.

Weights are more than arrays. They expect a network, pictures of a size, and pixels that were
prepared as theirs were; a network that learnt from pixels between -2 and 2 sees noise in pixels
between -137 and 190. So `open_weights` brings all of it:

    "pretrained", a run      its network, recipe, mean image and class names, from its directory
    a .safetensors or .pth   the network by name (-a) or, torchvision's, by its own names; the mean
                             colour that such weights were trained with

`take` then copies every array that fits. The last layer stays as it was drawn, because its outputs
mean other classes, and everything learns at a tenth of the rate (`gentle`): what is there is good
already, and steps of the full size would undo it before the new layer knows anything.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import models
from ..data.enlarge import enlarge_mean
from ..errors import RunError, UsageError
from ..models import Network, Recipe
from ..models.recipe import parse_changes
from ..nn import Linear
from . import architectures, checkpoint, class_list, runs, weights

PRETRAINED = "pretrained"   # what the bundled model is called

# R G B of 0..255. Caffe's mean pixel of ILSVRC-2012:
IMAGENET_MEAN = np.array([123, 117, 104], np.float32)
# What torchvision's weights were trained on is (pixels / 255 - mean) / std: documentation of
# torchvision.models.alexnet. The division by 255 std is that network's first layer here.
TORCHVISION = "alexnet_torchvision"
TORCHVISION_MEAN = 255 * np.array([0.485, 0.456, 0.406], np.float32)

RATE = 0.1          # of the rate at which the weights were trained
EPOCHS = 20
BATCH_SIZE = 8      # at most: a hundred pictures are a dozen steps then, and not one or two


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights and all that belongs to them.

    name         what messages call them
    model        the name of their network, and `fields`, the changes to its preset
    recipe       how they were trained; None where nobody knows
    layer_decay  as Network's; None where nobody knows
    mean         what is subtracted from every image: the mean image (S, S, 3) of images that are
                 scaled to S x S, or a mean colour (3,); float32
    classes      what their outputs mean; () where nobody knows
    arrays       by the names that their file gives them
    """

    name: str
    model: str
    fields: dict[str, Any]
    recipe: Recipe | None
    layer_decay: dict[str, float] | None
    mean: np.ndarray
    classes: tuple[str, ...]
    arrays: dict[str, np.ndarray]

    @property
    def side(self) -> int | None:
        """To which images are scaled before windows are cut from them; None where nobody knows."""
        return self.mean.shape[0] if self.mean.ndim == 3 else None

    def mean_image(self, side: int) -> np.ndarray:
        """The mean image for images of side x side, float32 (side, side, 3)."""
        return np.broadcast_to(self.mean, (side, side, 3)).copy()


@dataclass(frozen=True)
class Taken:
    """What `take` has done: so many of the network's arrays, and the layers that stay new."""

    taken: int
    total: int
    new: tuple[str, ...]
    old_classes: int   # outputs of the weights; 0 where their last layer has another name


# Opening.


def open_weights(text: str, model: str | None = None) -> Weights:
    """The weights that a user names: "pretrained", a run, a checkpoint, or a file for the network
    `model`. Raises RunError where there are none, and UsageError for a network that is not
    theirs."""
    path = runs.PRETRAINED if text == PRETRAINED else Path(text)
    if path.is_dir():
        run, file = runs.find(path)
        return _of_checkpoint(text, file, run.read_config(), model)
    if not path.exists():
        raise RunError(f"there are no weights at {path}; give {PRETRAINED}, a run such as "
                       "runs/NAME, or a .safetensors or .pth file")
    if checkpoint.is_checkpoint(path):  # it has a copy of its run's configuration
        return _of_checkpoint(text, path, None, model)
    return _of_file(path, model)


def _of_checkpoint(name: str, file: Path, config: dict[str, Any] | None,
                   model: str | None) -> Weights:
    """The weights of a run, with the settings in its configuration; without one, with those in the
    checkpoint's own copy."""
    arrays, meta = checkpoint.load(file)
    config = config or meta.get("config")
    if not config:
        raise RunError(f"{file} has no configuration of its run; give the run's directory")
    if model not in (None, config["model"]):
        raise UsageError(f"the weights of {name} are of {config['model']}, not of {model}; leave "
                         "out --model")
    recipe = Recipe.from_json(config["recipe"])
    mean = arrays["data.mean"].astype(np.float32)
    if recipe.enlarge:  # pictures of any size are scaled to where windows are cut, in one step
        mean = enlarge_mean(mean, recipe.enlarge)
        recipe = replace(recipe, enlarge=0)
    classes = config.get("classes") or meta.get("config", {}).get("classes") or ()
    own = {key.removeprefix("model."): array for key, array in arrays.items()
           if key.startswith("model.")}
    return Weights(name, config["model"], models.fields_of_run(config), recipe,
                   dict(config["layer_decay"]), mean, tuple(classes), own)


def _of_file(path: Path, model: str | None) -> Weights:
    """The weights in a file from elsewhere. Raises UsageError when they may be of several networks
    or are of another one than `model`, RunError when they are of none."""
    arrays = weights.read(path)
    if model is not None:
        architectures.check_model(model, arrays, path)
    model = model or _network_of(arrays, path)
    color, _ = mean_color(model)
    return Weights(str(path), model, {}, None, None, color, (), arrays)


def _network_of(arrays: dict[str, np.ndarray], path: Path) -> str:
    """The network whose weights these are; of torchvision's AlexNet also where only the
    convolutions are: whatever else differs stays new."""
    if architectures.has_convolutions(TORCHVISION, arrays):
        return TORCHVISION
    return architectures.recognise(arrays, path)


def mean_color(model: str) -> tuple[np.ndarray, str]:
    """(R G B that is subtracted from pixels of 0..255, what that is called) for weights from
    elsewhere of the network `model`."""
    if model == TORCHVISION:
        return TORCHVISION_MEAN, "torchvision's mean and std"
    return IMAGENET_MEAN, "ImageNet's mean colour"


# Taking.


def take(model: Network, source: Weights, classes: Sequence[str]) -> Taken:
    """Copy into the model every array of the weights that fits: the same name and shape.

    The last layer stays new, unless its outputs mean these very classes. Raises RunError when no
    array fits.
    """
    own = model.state_dict()
    state = weights.by_names_of(model, source.arrays)
    last = layers_of(model)[-1]
    # Buffers come after the parameters in a state, so the last layer is asked for by its name.
    old_bias = state.get(f"{last}.bias")
    outputs = 0 if old_bias is None else len(old_bias)
    is_same = class_list.are_same(classes, source.classes or class_list.of_outputs(outputs))
    fitting = {name: array for name, array in state.items()
               if name in own and array.shape == own[name].shape
               and (is_same or name.rpartition(".")[0] != last)}
    if not fitting:
        raise RunError(f"no array of {source.name} fits {source.model}: {_misfit(state, own)}; is "
                       "it of another network? -a NAME chooses one")
    model.load_state_dict({**own, **fitting})
    new = dict.fromkeys(name.rpartition(".")[0] for name in own if name not in fitting)
    return Taken(len(fitting), len(own), tuple(new), outputs)


def _misfit(state: dict[str, np.ndarray], own: dict[str, np.ndarray]) -> str:
    """Where arrays differ first from those of a model: in a shape or, without a common name, in
    their names."""
    for name, array in own.items():
        if name in state:
            return f"{name} is {state[name].shape}, expected {array.shape}"
    return f"it has {next(iter(state), 'nothing')}, expected {next(iter(own))}"


def in_words(taken: Taken, name: str, num_classes: int) -> str:
    """What was taken, on one line: 14 of 16 arrays taken; fc8 is new: 10 -> 3 classes."""
    text = f"{taken.taken} of {taken.total} arrays taken from {name}"
    if not taken.new:
        return f"{text}; the same {num_classes} classes"
    *others, last = taken.new
    layers = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"{text}; {layers} new: {taken.old_classes or '?'} -> {num_classes} classes"


def gentle(recipe: Recipe) -> Recipe:
    """The recipe of weights, for teaching them something new: a tenth of the rate, which falls to
    0 along a cosine; small batches, few epochs, and nothing that belonged to the old training."""
    return replace(recipe, lr=recipe.lr * RATE, schedule="cosine", milestones=(), warmup_epochs=0,
                   epochs=EPOCHS, batch_size=min(recipe.batch_size, BATCH_SIZE), changes=(),
                   bias_constant=False, published="", source="")


# Freezing.


def layers_of(model: Network) -> list[str]:
    """The layers with parameters, in order, by the names that the parameters have."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name, _ in model.named_parameters()))


def frozen_layers(model: Network, text: str) -> list[str]:
    """The layers that --freeze names: "conv", all below the first fully connected one; else names
    or beginnings of names between commas, such as conv1,conv2 or features.

    Raises UsageError for a name of no layer, and when nothing would be left to learn.
    """
    names = layers_of(model)
    frozen: set[str] = set()
    for word in text.split(","):
        word = word.strip()
        hits = _below_linear(model) if word == "conv" else []
        hits = hits or [name for name in names if word and name.startswith(word)]
        if not hits:
            raise UsageError(f"--freeze {text}: the model has no layer {word!r}; expected conv "
                             f"for all convolutions, or names of {', '.join(names)}")
        frozen.update(hits)
    if len(frozen) == len(names):
        raise UsageError(f"--freeze {text}: all {len(names)} layers would be frozen, and nothing "
                         "could learn; leave out the last one")
    return [name for name in names if name in frozen]


def _below_linear(model: Network) -> list[str]:
    """The layers before the first fully connected one, by the names of their parameters."""
    ids: set[int] = set()
    for layer in model:
        if isinstance(layer, Linear):
            break
        ids.update(id(parameter) for parameter in layer.parameters())
    return list(dict.fromkeys(name.rpartition(".")[0] for name, parameter
                              in model.named_parameters() if id(parameter) in ids))


def freeze(recipe: Recipe, layers: Sequence[str]) -> Recipe:
    """The recipe with these layers frozen from the start: their rate is 0, and no gradient is
    computed for them, nor for anything below the first layer that learns."""
    entries = [f"0 {layer}.lr=0" for layer in layers]
    others = [str(change) for change in recipe.changes]
    return replace(recipe, changes=parse_changes(", ".join(entries + others)))
