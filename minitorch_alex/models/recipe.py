"""How a model is trained: the defaults of `train`, which belong to the model."""
from dataclasses import dataclass

from ..errors import UsageError
from ..nn import Module
from ..optim import SGD
from ..schedule import ExponentialLR, MultiStepLR, ReduceLROnPlateau, Schedule, WarmUp


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
    schedule: str = "steps"          # "steps" at milestones, "plateau" on the validation error, "exponential"
    milestones: tuple[int, ...] = () # steps: epochs before which the rate is multiplied by gamma
    gamma: float = 0.1
    patience: int = 5                # plateau: epochs without improvement before a drop
    warmup_epochs: int = 0
    crop: int = 0                    # side of the random crops; 0: the whole image
    pad: int = 0                     # border of zeros around the image before cropping
    flip: bool = False               # mirror half of the images
    color: str = "none"              # PCA colour noise: "none", "source" or "paper" (see data.transforms)

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


def build_optimizer(model: Module, recipe: Recipe) -> SGD:
    """SGD over the model's parameters in groups: weights with their decay (model.layer_decay names layers that have
    their own), biases at bias_lr times the rate without decay. Parameters that share both lie together."""
    layer_decay = getattr(model, "layer_decay", {})
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in model.named_parameters():
        layer, _, kind = name.rpartition(".")
        if kind == "bias":
            key = (recipe.bias_lr * recipe.lr, 0.0)
        else:
            key = (recipe.lr, layer_decay.get(layer, recipe.weight_decay))
        groups.setdefault(key, []).append(parameter)
    return SGD([{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()],
               lr=recipe.lr, momentum=recipe.momentum, rule=recipe.rule)


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
