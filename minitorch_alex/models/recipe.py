"""How a model is trained: each model's own defaults, and the published recipes by name."""
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from ..errors import UsageError
from ..nn import BatchNorm2d, Module, Parameter, Sequential
from ..optim import LARS, SGD
from ..schedule import (
    CosineAnnealingLR,
    ExponentialLR,
    MultiStepLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    StepWarmUp,
    WarmUp,
)


class Change(NamedTuple):
    """A setting that differs from some epoch on: a layer's rate, or a field of the recipe."""

    epoch: int  # counted from 0
    layer: str  # the layer whose rate changes; "" where a field of the recipe changes
    field: str  # "lr" of a layer; "color", "flip" or "bias_lr" of the recipe
    value: float | str | bool

    def __str__(self) -> str:
        """The change as `parse_changes` reads it, such as "72 conv1.lr=0"."""
        value = self.value
        if isinstance(value, float):
            short = f"{value:g}"  # 0 rather than 0.0, as long as no digit is lost
            value = short if float(short) == value else value
        name = f"{self.layer}.{self.field}" if self.layer else self.field
        return f"{self.epoch} {name}={value}"


def parse_changes(text: str) -> tuple[Change, ...]:
    """The changes that a text lists, sorted by epoch.

    Its entries are EPOCH LAYER.lr=RATE, EPOCH color=KIND, EPOCH flip=True or EPOCH bias_lr=FACTOR,
    separated by commas, such as "67 color=none, 72 conv1.lr=0".

    Raises UsageError for an entry that is not a change, saying which part of it is wrong.
    """
    if not isinstance(text, str):
        raise UsageError(f"changes: got {text!r}, expected a text such as "
                         "'67 color=none, 72 conv1.lr=0'")
    entries = [entry.strip() for entry in text.split(",")]
    changes = [_parse_change(entry) for entry in entries if entry]
    return tuple(sorted(changes, key=lambda change: change.epoch))


def _parse_change(entry: str) -> Change:
    epoch, _, setting = entry.partition(" ")
    name, equals, text = setting.strip().partition("=")
    layer, _, field = name.rpartition(".")
    if not epoch.isdecimal():
        problem = f"the epoch is {epoch!r}, expected an integer of 0 or more"
    elif not equals:
        problem = "no setting NAME=VALUE follows the epoch"
    elif field == "lr":
        rate = _number(text)
        if layer and 0 <= rate < 1e9:
            return Change(int(epoch), layer, field, rate)
        problem = "it names no layer, expected LAYER.lr=RATE"
        if layer:
            problem = f"the rate is {text!r}, expected 0 or more"
    elif layer:
        problem = f"a layer has no {field!r} that could change, only lr"
    elif field == "color":
        return Change(int(epoch), layer, field, text)
    elif field == "flip":
        if text in ("True", "False"):
            return Change(int(epoch), layer, field, text == "True")
        problem = f"flip is {text!r}, expected True or False"
    elif field == "bias_lr":
        factor = _number(text)
        if 0 <= factor < 1e9:
            return Change(int(epoch), layer, field, factor)
        problem = f"bias_lr is {text!r}, expected 0 or more"
    else:
        problem = f"the name is {name!r}, expected LAYER.lr, color, flip or bias_lr"
    raise UsageError(f"changes: {entry!r} is not a change: {problem}; "
                     "write it like 67 color=none or 72 conv1.lr=0")


def _number(text: str) -> float:
    """A text as a number; NaN, which no comparison lets through, where it is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan


# What a field of a recipe that is a word may be.
KINDS = {
    "schedule": ("steps", "plateau", "exponential", "polynomial", "cosine"),
    "rule": ("2012", "torch", "lars"),
    "fc_scheme": ("b", "c"),
    "color": ("none", "source", "variance", "paper"),
    "class_weights": ("none", "balanced"),
}


@dataclass(frozen=True)
class Recipe:
    """One training recipe. Every field can be set from the command line.

    Raises UsageError for a value that no training can have.
    """

    epochs: int
    lr: float
    weight_decay: float = 0.0        # of weights; layers may have their own (layer_decay)
    batch_size: int = 128
    momentum: float = 0.9
    rule: str = "2012"               # the update rule: "2012" or "torch", see optim.SGD; "lars"
    trust: float = 0.001             # lars: its coefficient, see optim.LARS
    bias_lr: float = 2.0             # the rate of biases in units of lr (2012: epsB = 2 epsW)
    bias_constant: bool = False      # the schedule changes the rate of the weights only
    bias_decay: bool = False         # the biases decay too
    schedule: str = "steps"          # "steps", "plateau" (of the validation error), "exponential",
                                     # "polynomial" or "cosine" (down to 0 at the last epoch)
    milestones: tuple[int, ...] = () # steps: epochs before which the rate is multiplied by gamma
    gamma: float = 0.1
    patience: int = 5                # plateau: epochs without improvement before a drop
    power: float = 2.0               # polynomial: of the share of epochs that is left
    warmup_epochs: int = 0
    warmup_steps: int = 0            # a warm-up that rises with each step, for large batches
    warmup_start: float = 0.1        # where a warm-up begins, as a share of the rate
    enlarge: int = 0                 # side that smaller images are enlarged to before cropping
    crop: int = 0                    # side of the random crops; 0: the whole image
    pad: int = 0                     # border of zeros around the image before cropping
    flip: bool = False               # mirror half of the images
    fc_passes: int = 1               # --parallel hybrid: passes of the fully connected layers in a
                                     # step, each with an update of its own at lr / fc_passes
    fc_scheme: str = "c"             # whose images a pass sees: a part of every rank's ("c"), or
                                     # all of one rank's ("b"); see models/columns.py
    crop_chunk: int = 1              # so many images in a row share one window and one mirror draw
    reshuffle: bool = True           # a new order in each epoch; False: that of the first, always
    mix: float = 0.0                 # chance that a chunk is mixed with other images, 0.75 : 0.25
    mean_follows_crop: bool = False  # the mean image is cut and mirrored like each image
    color: str = "none"              # PCA noise: none, source, variance, paper; see add_color
    # What changes in the course of the training, sorted by epoch; each change holds from its epoch
    # on. A layer's rate is that of its weights, whatever the schedule says, and its biases have
    # bias_lr times that; at 0 the layer is frozen, and its gradient is not computed.
    changes: tuple[Change, ...] = field(default=(), metadata={"parse": parse_changes})
    # Of later years, for fine-tuning and for classes of unequal size.
    label_smoothing: float = 0.0     # share of a label's probability that all classes divide
    class_weights: str = "none"      # balanced: a class of half as many pictures counts twice
    published: str = ""              # the result that its authors published
    source: str = ""                 # where they describe the recipe

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "crop_chunk", "fc_passes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("enlarge", "crop", "pad", "warmup_epochs", "warmup_steps", "patience"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.mix <= 1:
            raise UsageError(f"mix must be from 0 to 1, got {self.mix}")
        if self.warmup_epochs and self.warmup_steps:
            raise UsageError("a warm-up goes by epoch or by step: got warmup_epochs = "
                             f"{self.warmup_epochs} and warmup_steps = {self.warmup_steps}, "
                             "expected 0 for one of them")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError("label_smoothing must be at least 0 and below 1, got "
                             f"{self.label_smoothing}")
        for name, kinds in KINDS.items():
            if getattr(self, name) not in kinds:
                raise UsageError(f"{name} must be one of {', '.join(kinds)}, "
                                 f"got {getattr(self, name)!r}")
        for change in self.changes:
            if change.field == "bias_lr" and not self.bias_constant:
                raise UsageError(f"changes: {change} needs biases that the schedule leaves alone; "
                                 "add bias_constant=True")
            if not change.layer:
                self.at(change.epoch)  # so that a wrong value is refused now and not in that epoch

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe in a run's config.json: `changes` is a text, and lists stand for tuples."""
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                  for name, value in settings.items()}
        fields["changes"] = parse_changes(fields.get("changes", ""))
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """What a run's config.json holds of the recipe, see `from_json`."""
        return {**asdict(self), "changes": ", ".join(map(str, self.changes))}

    def at(self, epoch: int) -> "Recipe":
        """The recipe of that epoch: fields changed by then have their new values."""
        fields: dict[str, Any] = {change.field: change.value for change in self.changes
                                  if change.epoch <= epoch and not change.layer}
        return replace(self, changes=(), **fields)


# "This many images will be cropped in the same way": computerhistory/AlexNet-Source-Code,
# convdata.py:125 and convdata_jpeg.py:77. A batch of 128 has four windows; one draw mirrors all
# 32.
CROP_CHUNK_2012 = 32

RECIPES = {
    # Sections 4.1 and 5 of Krizhevsky, Sutskever and Hinton, NIPS 2012: batches of 128, "an equal
    # learning rate for all layers", divided by 10 three times "when the validation error rate
    # stopped improving", "roughly 90 cycles".
    "paper": Recipe(
        epochs=90, lr=0.01, weight_decay=0.0005, bias_lr=1.0, schedule="plateau", flip=True,
        color="paper",
        published="40.7 / 18.2 % top-1 / top-5 error on ILSVRC-2012's validation set, ten views",
        source="Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional "
               "Neural Networks, sections 4.1, 5 and table 2"),
    # Changed by hand, as the comments at the end of the parameter file tell: the rates of the
    # weights (epsw) dropped at 25, 51 and 79; at 67 the colour noise was switched off and conv1
    # set to 1e-5, at 72 conv1 was frozen, at 91 the training was stopped. Of the biases the
    # comments say nothing. The file ends with them at 0.02, those of other runs of that autumn at
    # 0.002 (145-2010, 131, 135, 147). "Epoch 25" is after 25 passes: run4.sh:3-8 replays such
    # notes.
    "source_2012": Recipe(
        epochs=91, lr=0.01, weight_decay=0.0005, milestones=(25, 51, 79), bias_constant=True,
        flip=True, crop_chunk=CROP_CHUNK_2012, reshuffle=False, color="source",
        changes=parse_changes("67 color=none, 67 conv1.lr=1e-05, 72 conv1.lr=0"),
        published="40.66 / 18.21 % top-1 / top-5 error on ILSVRC-2012's validation set, ten views",
        source="computerhistory/AlexNet-Source-Code, layers/layer-params-145.cfg:165-182; windows "
               "and order: convdata.py:125, 152-175, 252-261"),
    # The one-column net of the paper's section 3.2, trained on ILSVRC-2010: only two drops for
    # most layers. Its file ends with the biases of conv1 and conv2 at 0.002 and the others at
    # 0.02.
    "half_2012": Recipe(
        epochs=96, lr=0.01, weight_decay=0.0005, milestones=(20, 48), bias_constant=True,
        flip=True, crop_chunk=CROP_CHUNK_2012, reshuffle=False, color="source",
        changes=parse_changes("66 color=none, 66 conv1.lr=1e-05, 72 conv1.lr=0"),
        published="39.17 / 18.23 % top-1 / top-5 error on ILSVRC-2010's test set, ten views",
        source="computerhistory/AlexNet-Source-Code, layers/layer-params-145-half.cfg:90-100"),
    # dexp[base=0.01; tgtFactor=250; numSteps=4] has steps of 250^(-1/3) after 22.5, 45 and 67.5
    # epochs; here each waits for the end of its epoch. dexp[base=0.02; tgtFactor=10; numSteps=2]
    # of the biases has one, after 45. Windows are drawn for each image, in a fixed order of
    # images.
    "tower_2014": Recipe(
        epochs=90, lr=0.01, weight_decay=0.0005, milestones=(23, 45, 68), gamma=250 ** (-1 / 3),
        bias_constant=True, flip=True, reshuffle=False, color="source",
        changes=parse_changes("45 bias_lr=0.2"),
        published="42.55 / 19.81 % top-1 / top-5 error on ILSVRC-2012's validation set, centre "
                  "crop; 40.42 / 18.15 % by ten views",
        source="akrizhevsky/cuda-convnet2, layers/layer-params-imagenet-1gpu.cfg:6-7, branch "
               "wiki, TrainingExample.md:10"),
    # 450,000 iterations of 256 images are 90 epochs, 100,000 from drop to drop are 20. Images were
    # shuffled once, when the database was written (examples/imagenet/create_imagenet.sh:43).
    "caffe": Recipe(
        epochs=90, lr=0.01, weight_decay=0.0005, batch_size=256, milestones=(20, 40, 60, 80),
        flip=True, reshuffle=False, mean_follows_crop=True,
        published="42.9 / 19.8 % top-1 / top-5 error on ILSVRC-2012's validation set, centre crop",
        source="BVLC/caffe, models/bvlc_alexnet/solver.prototxt and readme.md "
               "(iteration 360,000); the mean: src/caffe/data_transformer.cpp:101-115"),
    # 8 GPUs with 32 images each. The original crops by random area and aspect ratio
    # (RandomResizedCrop), which is not implemented here. It standardises pixels: so does the
    # preset alexnet_torchvision; with other networks --set input_scale=0.0172 comes near that. The
    # README gives these settings for AlexNet; that the published weights were made with exactly
    # these is what torchvision's page says of them, without a log.
    "torchvision": Recipe(
        epochs=90, lr=0.01, weight_decay=0.0001, batch_size=256, rule="torch", bias_lr=1.0,
        bias_decay=True, milestones=(30, 60), flip=True,
        published="43.5 / 20.9 % top-1 / top-5 error on ILSVRC-2012's validation set, centre crop",
        source="pytorch/vision, references/classification/README.md and train.py; "
               "weights AlexNet IMAGENET1K_V1"),
}


def named(name: str, models_own: Recipe) -> Recipe:
    """The recipe of that name for a model. Crop and border follow from the size of its images, so
    they come from the model's own recipe.

    Raises UsageError for a name that is not in RECIPES.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return replace(RECIPES[name], crop=models_own.crop, pad=models_own.pad)


def build_optimizer(model: Module, recipe: Recipe) -> SGD | LARS:
    """SGD, or LARS, over the model's parameters in groups of the same rate and decay.

    Weights decay as the recipe says, or as model.layer_decay says for their layer. Biases learn
    at bias_lr times the rate, and decay only if the recipe says so. A layer whose rate will change
    has groups of its own.
    Raises UsageError when a change names a layer that the model does not have.
    """
    layer_decay = getattr(model, "layer_decay", {})
    changing = {change.layer for change in recipe.changes if change.layer}
    biases_change = any(change.field == "bias_lr" for change in recipe.changes)
    # A dictionary is a set that keeps the order.
    layers = dict.fromkeys(name.rpartition(".")[0] for name, _ in model.named_parameters())
    missing = changing - set(layers)
    if missing:
        raise UsageError(f"changes: the model has no layer {min(missing)}; "
                         f"it has {', '.join(layers)}")

    groups: dict[tuple[tuple[str, Any], ...], list[Parameter]] = {}  # by their settings
    for name, parameter in model.named_parameters():
        layer, _, kind = name.rpartition(".")
        bias = kind == "bias"
        decays = recipe.bias_decay or not bias
        settings: dict[str, Any] = {
            "lr": recipe.lr * (recipe.bias_lr if bias else 1.0),
            "weight_decay": layer_decay.get(layer, recipe.weight_decay) if decays else 0.0,
        }
        if layer in changing:
            settings |= {"layer": layer, "bias": bias}
        elif biases_change and bias:
            settings["bias"] = True
        if bias and recipe.bias_constant:
            settings["constant"] = True
        groups.setdefault(tuple(settings.items()), []).append(parameter)
    return _optimizer_of_rule(
        [{**dict(settings), "params": params} for settings, params in groups.items()], recipe)


def _optimizer_of_rule(groups: list[dict[str, Any]], recipe: Recipe) -> SGD | LARS:
    """The optimizer that the recipe's rule names."""
    if recipe.rule == "lars":
        return LARS(groups, lr=recipe.lr, momentum=recipe.momentum, trust=recipe.trust)
    return SGD(groups, lr=recipe.lr, momentum=recipe.momentum, rule=recipe.rule)


def change_rates(optimizer: SGD | LARS, recipe: Recipe, epoch: int) -> None:
    """Apply the changes of rates up to that epoch, and stop the gradients of frozen layers.

    The result depends on the epoch alone, so a resumed run calls this too.
    """
    if any(change.field == "bias_lr" and change.epoch <= epoch for change in recipe.changes):
        rate = recipe.lr * recipe.at(epoch).bias_lr
        for group in optimizer.param_groups:
            if group.get("bias"):
                group.update(lr=rate, initial_lr=rate)
    for change in recipe.changes:
        if change.layer and change.epoch <= epoch:
            groups = [group for group in optimizer.param_groups
                      if group.get("layer") == change.layer]
            _change_layer(groups, recipe, float(change.value))


def _change_layer(groups: list[dict[str, Any]], recipe: Recipe, rate: float) -> None:
    """Give the groups of a layer the rate of its weights; at 0 the layer is frozen."""
    for group in groups:
        if group["bias"] and recipe.bias_constant and rate:
            continue  # such a bias keeps its rate until the layer is frozen
        own = rate * (recipe.bias_lr if group["bias"] else 1.0)
        group.update(lr=own, initial_lr=own, constant=True)
        for parameter in group["params"]:
            parameter.requires_grad = own > 0


def hold_frozen_norms(model: Sequential) -> None:
    """Let batch norms that are frozen, or follow a frozen layer and have nothing to learn
    themselves, normalise as in evaluation: their running statistics stay, as their weights do.

    Call it in training, after `change_rates`.
    """
    frozen = False
    for layer in model:
        parameters = list(layer.parameters())
        if parameters:
            frozen = not any(parameter.requires_grad for parameter in parameters)
        if isinstance(layer, BatchNorm2d):
            layer.train(not frozen)  # a change of the recipe may also let it learn again


def build_schedule(optimizer: SGD | LARS, recipe: Recipe) -> Schedule:
    """The learning-rate schedule that the recipe names."""
    schedule: Schedule
    if recipe.schedule == "plateau":
        schedule = ReduceLROnPlateau(optimizer, recipe.gamma, recipe.patience)
    elif recipe.schedule == "exponential":
        schedule = ExponentialLR(optimizer, recipe.gamma)
    elif recipe.schedule == "polynomial":
        schedule = PolynomialLR(optimizer, recipe.epochs, recipe.power)
    elif recipe.schedule == "cosine":
        schedule = CosineAnnealingLR(optimizer, recipe.epochs)
    else:
        schedule = MultiStepLR(optimizer, recipe.milestones, recipe.gamma)
    if recipe.warmup_steps:
        return StepWarmUp(schedule, recipe.warmup_steps, recipe.warmup_start)
    if recipe.warmup_epochs:
        return WarmUp(schedule, recipe.warmup_epochs, recipe.warmup_start)
    return schedule
