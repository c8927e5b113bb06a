"""The networks, by name."""
import difflib
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar

from ..errors import UsageError
from . import small
from .alexnet import PRESETS, AlexNet, AlexNetConfig
from .network import Network
from .recipe import Recipe, build_optimizer, build_schedule

__all__ = ["ALEXNETS", "MODELS", "AlexNet", "AlexNetConfig", "Network", "Recipe", "build",
           "build_optimizer", "build_schedule", "changed", "default_classes", "fields_of_run"]

Settings = TypeVar("Settings", AlexNetConfig, Recipe)

ALEXNETS = {"alexnet_cifar": "cifar", "alexnet": "paper"}  # name of the model: preset
ALEXNETS |= {preset if preset == "caffenet" else f"alexnet_{preset}": preset
             for preset in PRESETS if preset not in ALEXNETS.values()}
SMALL: dict[str, Callable[..., Network]] = {
    "quick_26": small.quick_26,
    "net_18": small.net_18,
    "net_19": small.net_19,
    "conv_local_13": small.conv_local_13,
    "conv_local_11": small.conv_local_11,
}
SMALL_FIELDS: dict[str, type] = {"image_size": int, "activation": str}
OWN_FIELDS: dict[str, dict[str, type]] = {  # of one small net each, besides SMALL_FIELDS
    "quick_26": {"start": str},
    "net_18": {"norms": bool},
    "conv_local_13": {"lrn": bool, "local3": int, "fc10_decay": float},
}
SMALL_EXAMPLES = {"image_size": "an integer like 32", "activation": "'relu' or 'tanh'",
                  "start": "'file' or 'scaled'",
                  "norms": "True or False", "lrn": "True or False", "local3": "an integer like 64",
                  "fc10_decay": "a number like 0.01"}
MODELS = (*ALEXNETS, *SMALL)


# Presets have been corrected: PRESET_EDITION counts the corrections, and a run's config.json has
# the number of its day (none: 1). What a preset was before is what such a run goes on with.
PRESET_EDITION = 2
FIRST_EDITION: dict[str, dict[str, Any]] = {
    "alexnet_caffe": {"conv_floor": False},
    "caffenet": {"conv_floor": False},
    "alexnet_torchvision": {"input_scale": 1.0, "adaptive_pool": 0},
}


def fields_of_run(config: dict[str, Any]) -> dict[str, Any]:
    """The changes to its preset with which a run, given by its config.json, built its model."""
    fields = {name: tuple(value) if isinstance(value, list) else value
              for name, value in config["model_fields"].items()}
    if config.get("preset_edition", 1) == 1:
        return {**FIRST_EDITION.get(config["model"], {}), **fields}
    return fields


def build(name: str, num_classes: int = 10, **changes: Any) -> Network:
    """The model of that name, with some fields of its configuration changed.

    An AlexNet has the fields of AlexNetConfig, a small net the arguments of its function besides
    num_classes. The weights follow streams.manual_seed. Raises UsageError for an unknown name, an
    unknown field or a value of the wrong kind.
    """
    if name in ALEXNETS:
        config = replace(_config(name), num_classes=num_classes)
        return AlexNet(changed(config, **changes))
    _check_name(name)
    kinds = SMALL_FIELDS | OWN_FIELDS.get(name, {})
    unknown = [field for field in changes if field not in kinds]
    if unknown:
        *most, last = kinds
        raise UsageError(f"{name} has no field {', '.join(unknown)}; its fields are "
                         f"{', '.join(most)} and {last}")
    for field, value in changes.items():
        if type(value) is not kinds[field]:
            raise UsageError(f"{field} is {value!r}, expected {SMALL_EXAMPLES[field]}")
    return SMALL[name](num_classes, **changes)


def default_classes(name: str) -> int:
    """How many classes a model has where no data set says so: 10 for CIFAR-10, 1000 for ImageNet.

    Raises UsageError for an unknown name.
    """
    if name in ALEXNETS:
        return _config(name).num_classes
    _check_name(name)
    return 10


def _config(name: str) -> AlexNetConfig:
    return getattr(AlexNetConfig, ALEXNETS[name])()


def _check_name(name: str) -> None:
    if name not in MODELS:
        raise UsageError(f"unknown model {name!r}{_similar(name, MODELS)}; there are: "
                         f"{', '.join(MODELS)}")


def _similar(name: str, known: Iterable[str]) -> str:
    """" (did you mean ...?)" for a name that is nearly one of the known ones, otherwise ""."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def changed(settings: Settings, **changes: Any) -> Settings:
    """A copy of a configuration or recipe with some fields changed.

    This is where values from the command line arrive: each is checked against the kind of the old
    one, or parsed where the field says how in its metadata (Recipe.changes).
    Raises UsageError for an unknown field or a value of the wrong kind.
    """
    known = {f.name: f for f in fields(settings) if f.name != "num_classes"}
    values = {}
    for name, value in changes.items():
        if name not in known:
            recipe = [field.name for field in fields(Recipe)]
            similar = _similar(name, list(known) + recipe)
            raise UsageError(f"no field {name!r}{similar}; there are: "
                             f"{', '.join(known)}; --set also takes those of the recipe: "
                             f"{', '.join(recipe)}")
        old = getattr(settings, name)
        if "parse" in known[name].metadata:
            value = known[name].metadata["parse"](value)
        elif not _is_alike(value, old):
            raise UsageError(f"{name} is {value!r}, expected {_kind(old)}")
        values[name] = value
    return replace(settings, **values)


def _is_alike(value: object, old: object) -> bool:
    """Whether a value may replace an old one: the same type, or an integer for a number."""
    if isinstance(old, tuple):
        entry = old[0] if old else 0  # an empty tuple is one of integers: Recipe.milestones
        return isinstance(value, tuple) and all(_is_alike(v, entry) for v in value)
    if isinstance(value, bool) or isinstance(old, bool):  # a bool counts as an int in Python
        return isinstance(value, bool) and isinstance(old, bool)
    return isinstance(value, type(old)) or (isinstance(old, float) and isinstance(value, int))


def _kind(old: object) -> str:
    """What is expected in place of an old value, in words."""
    names: dict[type, str] = {bool: "True or False", int: "integer", float: "number", str: "word"}
    if isinstance(old, tuple):
        return f"a tuple of {names[type(old[0] if old else 0)]}s like {old or (8,)}"
    name = names[type(old)]
    if isinstance(old, bool):
        return f"{name} like {old!r}"
    return f"{'an' if name == 'integer' else 'a'} {name} like {old!r}"
