"""How a model is trained: the defaults of `train`, which belong to the model, and the recipes with a name."""
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..errors import UsageError
from ..nn import Module
from ..optim import SGD
from ..schedule import ExponentialLR, MultiStepLR, ReduceLROnPlateau, Schedule, WarmUp


class Change(NamedTuple):
    """What is different from epoch `epoch` on (counted from 0): the rate of a layer, or a field of the recipe."""

    epoch: int
    layer: str  # of which the rate changes, or "" for a field
    field: str
    value: float | str | bool


@dataclass(frozen=True)
class Recipe:
    """One training recipe. Every field can be set from the command line."""

    epochs: int
    lr: float
    weight_decay: float = 0.0        # of weights; biases have none, and layers may have their own (layer_decay)
    batch_size: int = 128
    momentum: float = 0.9
    rule: str = "2012"               # the update rule, see optim.SGD
    bias_lr: float = 2.0             # the rate of biases, in units of lr (AlexNet-Source-Code: epsB = 2 epsW)
    bias_constant: bool = False      # the biases' rate stays what it is when the schedule changes that of the weights
    bias_decay: bool = False         # the biases decay too
    schedule: str = "steps"          # "steps" at milestones, "plateau" on the validation error, "exponential"
    milestones: tuple[int, ...] = () # steps: epochs before which the rate is multiplied by gamma
    gamma: float = 0.1
    patience: int = 5                # plateau: epochs without improvement before a drop
    warmup_epochs: int = 0
    crop: int = 0                    # side of the random crops; 0: the whole image
    pad: int = 0                     # border of zeros around the image before cropping
    flip: bool = False               # mirror half of the images
    color: str = "none"              # PCA colour noise: "none", "source" or "paper" (see data.transforms)
    changes: str = ""                # by epoch, e.g. "67 color=none, 67 conv1.lr=1e-05, 72 conv1.lr=0": see `dated`
    published: str = ""              # the result that its authors published, and where they tell the recipe
    source: str = ""

    def __post_init__(self) -> None:
        """UsageError for a value that no training can have."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("crop", "pad", "warmup_epochs", "patience"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name, kinds in (("schedule", ("steps", "plateau", "exponential")), ("rule", ("2012", "torch")),
                            ("color", ("none", "source", "paper"))):
            if getattr(self, name) not in kinds:
                raise UsageError(f"{name} must be one of {', '.join(kinds)}, got {getattr(self, name)!r}")
        for change in self.dated:
            if not change.layer:
                self.at(change.epoch)  # a value that it cannot have is refused now, not in that epoch

    @property
    def dated(self) -> list[Change]:
        """`changes`, parsed: entries EPOCH LAYER.lr=RATE, color=KIND or flip=True, separated by commas, each in force
        from its epoch on. RATE is the layer's weights' from then on, whatever the schedule says, bias_lr times that its
        biases'; at 0 the layer is frozen and its gradient not computed. UsageError for anything else."""
        found = []
        for entry in filter(None, map(str.strip, self.changes.split(","))):
            epoch, _, setting = entry.partition(" ")
            name, _, text = setting.strip().partition("=")
            layer, _, field = name.rpartition(".")
            try:
                value = {"lr": float, "color": str, "flip": {"True": True, "False": False}.__getitem__}[field](text)
                if bool(layer) != (field == "lr") or int(epoch) < 0 or field == "lr" and not 0 <= value < 1e9:
                    raise ValueError
            except (KeyError, ValueError):
                raise UsageError(f"changes: {entry!r} is no change; expected e.g. 67 color=none or "
                                 "72 conv1.lr=0") from None
            found.append(Change(int(epoch), layer, field, value))
        return sorted(found, key=lambda change: change.epoch)

    def at(self, epoch: int) -> "Recipe":
        """The recipe as it stands in that epoch, with the fields changed by then."""
        fields = {change.field: change.value for change in self.dated if change.epoch <= epoch and not change.layer}
        return replace(self, changes="", **fields)


RECIPES = {
    # Sections 4.1 and 5 of Krizhevsky, Sutskever and Hinton, NIPS 2012: batches of 128, "an equal learning rate for all
    # layers", divided by 10 three times "when the validation error rate stopped improving", "roughly 90 cycles".
    "paper": Recipe(
        epochs=90, lr=0.01, weight_decay=0.0005, bias_lr=1.0, schedule="plateau", flip=True, color="paper",
        published="40.7 / 18.2 % top-1 / top-5 error on ILSVRC-2012's validation set, ten views",
        source="Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, "
               "sections 4.1, 5 and table 2"),
    # By hand, as the comments of the parameter file tell: rates dropped at 25, 51 and 79, those of biases never; at 67
    # the colour noise went off and conv1 to 1e-5, at 72 conv1 was frozen, at 91 it was stopped.
    "source_2012": Recipe(
        epochs=91, lr=0.01, weight_decay=0.0005, milestones=(25, 51, 79), bias_constant=True, flip=True, color="source",
        changes="67 color=none, 67 conv1.lr=1e-05, 72 conv1.lr=0",
        published="40.66 / 18.21 % top-1 / top-5 error on ILSVRC-2012's validation set, ten views",
        source="computerhistory/AlexNet-Source-Code, the comments of layers/layer-params-145*.cfg"),
    # 450,000 iterations of 256 images are 90 epochs, the drop after each 100,000 one after each 20.
    "caffe": Recipe(
        epochs=90, lr=0.01, weight_decay=0.0005, batch_size=256, milestones=(20, 40, 60, 80), flip=True,
        published="42.9 / 19.8 % top-1 / top-5 error on ILSVRC-2012's validation set, centre crop",
        source="BVLC/caffe, models/bvlc_alexnet/solver.prototxt and readme.md (iteration 360,000)"),
    # 8 GPUs with 32 images each. Theirs crops by random area and aspect (RandomResizedCrop), which is not done here,
    # and standardises pixels: --set input_scale=0.0172 comes near that.
    "torchvision": Recipe(
        epochs=90, lr=0.01, weight_decay=0.0001, batch_size=256, rule="torch", bias_lr=1.0, bias_decay=True,
        milestones=(30, 60), flip=True,
        published="43.5 / 20.9 % top-1 / top-5 error on ILSVRC-2012's validation set, centre crop",
        source="pytorch/vision, references/classification/README.md and train.py; weights AlexNet IMAGENET1K_V1"),
}


def named(name: str, models_own: Recipe) -> Recipe:
    """The recipe of that name for a model: what concerns the size of its images stays the model's own. UsageError for a
    name not in RECIPES."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return replace(RECIPES[name], crop=models_own.crop, pad=models_own.pad)


def build_optimizer(model: Module, recipe: Recipe) -> SGD:
    """SGD over the model's parameters in groups: weights with their decay (model.layer_decay names layers that have
    their own), biases at bias_lr times the rate, without decay unless the recipe gives it. Parameters that share both
    lie together; a layer whose rate changes has groups of its own. UsageError when the model has no such layer."""
    layer_decay = getattr(model, "layer_decay", {})
    apart = {change.layer for change in recipe.dated} - {""}
    layers = {name.rpartition(".")[0]: None for name, _ in model.named_parameters()}
    if missing := apart - set(layers):
        raise UsageError(f"changes: the model has no layer {min(missing)}; it has {', '.join(layers)}")
    groups: dict[tuple, list] = {}
    for name, parameter in model.named_parameters():
        layer, _, kind = name.rpartition(".")
        bias = kind == "bias"
        decay = layer_decay.get(layer, recipe.weight_decay) if recipe.bias_decay or not bias else 0.0
        settings = {"lr": recipe.lr * (recipe.bias_lr if bias else 1.0), "weight_decay": decay}
        settings |= {"layer": layer, "bias": bias} if layer in apart else {}
        settings |= {"constant": True} if bias and recipe.bias_constant else {}
        groups.setdefault(tuple(settings.items()), []).append(parameter)
    return SGD([{**dict(settings), "params": params} for settings, params in groups.items()],
               lr=recipe.lr, momentum=recipe.momentum, rule=recipe.rule)


def change_rates(optimizer: SGD, recipe: Recipe, epoch: int) -> None:
    """Give the layers whose rates are changed by that epoch their rates, and stop the gradients of frozen ones. What
    follows depends on the epoch alone, so a run that goes on calls it too."""
    for change in recipe.dated:
        for group in optimizer.param_groups:
            if change.layer and change.layer == group.get("layer") and change.epoch <= epoch:
                if group["bias"] and recipe.bias_constant and change.value:
                    continue  # until the layer is frozen
                rate = change.value * (recipe.bias_lr if group["bias"] else 1.0)
                group.update(lr=rate, initial_lr=rate, constant=True)
                for parameter in group["params"]:
                    parameter.requires_grad = rate > 0


def build_schedule(optimizer: SGD, recipe: Recipe) -> Schedule:
    """The learning-rate schedule the recipe names."""
    schedule: Schedule
    if recipe.schedule == "plateau":
        schedule = ReduceLROnPlateau(optimizer, recipe.gamma, recipe.patience)
    elif recipe.schedule == "exponential":
        schedule = ExponentialLR(optimizer, recipe.gamma)
    else:
        schedule = MultiStepLR(optimizer, recipe.milestones, recipe.gamma)
    return WarmUp(schedule, recipe.warmup_epochs) if recipe.warmup_epochs else schedule
