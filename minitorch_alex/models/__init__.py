"""The networks, by name."""
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from ..errors import UsageError
from ..nn import Module
from . import small
from .alexnet import AlexNet, AlexNetConfig
from .recipe import Recipe, build_optimizer, build_schedule

__all__ = ["MODELS", "AlexNet", "AlexNetConfig", "Recipe", "build", "build_optimizer", "build_schedule", "changed"]


def _alexnet(preset: str) -> Callable[..., Module]:
    return lambda num_classes, **changes: AlexNet(getattr(AlexNetConfig, preset)(num_classes=num_classes, **changes))


MODELS: dict[str, Callable[..., Module]] = {
    "alexnet_cifar": _alexnet("cifar"),
    "alexnet": _alexnet("paper"),
    "alexnet_source_2012": _alexnet("source_2012"),
    "alexnet_half_2012": _alexnet("half_2012"),
    "alexnet_merged": _alexnet("merged"),
    "alexnet_caffe": _alexnet("caffe"),
    "caffenet": _alexnet("caffenet"),
    "alexnet_torchvision": _alexnet("torchvision"),
    "quick_26": small.quick_26,
    "net_18": small.net_18,
    "conv_local_13": small.conv_local_13,
    "conv_local_11": small.conv_local_11,
}


def build(name: str, num_classes: int = 10, **changes: Any) -> Module:
    """The model of that name, with fields of its configuration changed. Its weights follow backend.manual_seed.
    UsageError for an unknown name or field."""
    if name not in MODELS:
        raise UsageError(f"unknown model {name!r}; there are: {', '.join(MODELS)}")
    try:
        return MODELS[name](num_classes=num_classes, **changes)
    except TypeError:
        known = [f.name for f in fields(AlexNetConfig)] if "alexnet" in name or name == "caffenet" else ["image_size"]
        raise UsageError(f"{name} has no field {', '.join(sorted(set(changes) - set(known)))}; it has: "
                         f"{', '.join(known)}") from None


def changed(settings: Any, **changes: Any) -> Any:
    """A dataclass with fields changed, each value checked against the kind of the old one. UsageError otherwise."""
    assert is_dataclass(settings)
    known = {f.name: getattr(settings, f.name) for f in fields(settings)}
    for name, value in changes.items():
        if name not in known:
            raise UsageError(f"no field {name!r}; there are: {', '.join(known)}")
        old = known[name]
        fits = isinstance(value, type(old)) or (isinstance(old, float) and isinstance(value, int))
        if not fits or (isinstance(value, bool) != isinstance(old, bool)):
            raise UsageError(f"{name} is {value!r}, expected a {type(old).__name__} like {old!r}")
    return type(settings)(**{**known, **changes})
