"""The networks, by name."""
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from ..errors import UsageError
from . import small
from .alexnet import PRESETS, AlexNet, AlexNetConfig
from .network import Network
from .recipe import Recipe, build_optimizer, build_schedule

__all__ = ["ALEXNETS", "MODELS", "AlexNet", "AlexNetConfig", "Network", "Recipe", "build", "build_optimizer",
           "build_schedule", "changed", "default_classes"]

ALEXNETS = {"alexnet_cifar": "cifar", "alexnet": "paper"}  # name of the model -> preset of AlexNetConfig
ALEXNETS |= {preset if preset == "caffenet" else f"alexnet_{preset}": preset
             for preset in PRESETS if preset not in ALEXNETS.values()}
SMALL: dict[str, Callable[..., Network]] = {
    "quick_26": small.quick_26, "net_18": small.net_18,
    "conv_local_13": small.conv_local_13, "conv_local_11": small.conv_local_11,
}
MODELS = (*ALEXNETS, *SMALL)


def build(name: str, num_classes: int = 10, **changes: Any) -> Network:
    """The model of that name, with fields of its configuration changed (of an AlexNet: those of AlexNetConfig; of the
    small nets: image_size). Its weights follow streams.manual_seed. UsageError for an unknown name, an unknown field or
    a value of the wrong kind."""
    if name in ALEXNETS:
        config = replace(getattr(AlexNetConfig, ALEXNETS[name])(), num_classes=num_classes)
        return AlexNet(changed(config, **changes))
    if name not in SMALL:
        raise UsageError(f"unknown model {name!r}; there are: {', '.join(MODELS)}")
    size = changes.pop("image_size", None)
    if changes or not isinstance(size, int | None):
        wrong = ", ".join(changes) or f"image_size {size!r}"
        raise UsageError(f"{name} has no field {wrong}; it has: image_size, an integer")
    return SMALL[name](num_classes) if size is None else SMALL[name](num_classes, size)


def default_classes(name: str) -> int:
    """How many classes the data has for which the model was made: 10 in CIFAR-10, 1000 in ImageNet."""
    return 10 if name in (*SMALL, "alexnet_cifar") else 1000


def changed(settings: Any, **changes: Any) -> Any:
    """A copy of a dataclass with some fields changed.

    This is where values from the command line arrive: each is checked against the kind of the old one, or parsed where
    the field says how in its metadata (Recipe.changes).
    Raises UsageError for an unknown field or a value of the wrong kind.
    """
    known = {f.name: f for f in fields(settings) if f.name != "num_classes"}
    values = {}
    for name, value in changes.items():
        if name not in known:
            raise UsageError(f"no field {name!r}; there are: {', '.join(known)}")
        old = getattr(settings, name)
        if "parse" in known[name].metadata:
            value = known[name].metadata["parse"](value)
        elif not _alike(value, old):
            raise UsageError(f"{name} is {value!r}, expected {_kind(old)}")
        values[name] = value
    return replace(settings, **values)


def _alike(value: Any, old: Any) -> bool:
    if isinstance(old, tuple):
        return isinstance(value, tuple) and all(_alike(v, old[0] if old else 0) for v in value)
    if isinstance(value, bool) or isinstance(old, bool):
        return isinstance(value, bool) and isinstance(old, bool)
    return isinstance(value, type(old)) or (isinstance(old, float) and isinstance(value, int))


def _kind(old: Any) -> str:
    words = {bool: "True or False", int: "an integer", float: "a number", str: "a word"}
    if isinstance(old, tuple):
        return f"a tuple of {words[type(old[0] if old else 0)].split(' ', 1)[-1]}s like {old or (8,)}"
    return f"{words[type(old)]} like {old!r}"
