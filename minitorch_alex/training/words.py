"""What a training is going to do, in words: what `train` prints of its recipe before the first
step."""
import math
from collections.abc import Sequence
from typing import Any

from ..data.folders import CLASSES_ALONE, TEST_SHARE, THREE, VAL_IS_TEST
from ..models import Network, Recipe
from ..models.recipe import Change


def describe_training(recipe: Recipe, config: dict[str, Any], images: int,
                      image_size: int) -> None:
    """Print what a training on so many images is going to do."""
    steps = math.ceil(images / recipe.batch_size)
    schedule = recipe.schedule
    if schedule == "steps":
        schedule += f" {list(recipe.milestones)}"
    print(f"training    {recipe.epochs} epochs of {steps:,} steps of {recipe.batch_size} images, "
          f"lr {recipe.lr:g} ({schedule}), momentum {recipe.momentum:g}")
    throughout = " throughout" if recipe.bias_constant else ""
    with_decay = "with" if recipe.bias_decay else "without"
    weight_decay = config["layer_decay"] or f"{recipe.weight_decay:g}"
    print(f"            weight decay {weight_decay}, biases at {recipe.bias_lr:g} x lr"
          f"{throughout} {with_decay} decay, update rule {recipe.rule}")
    mean = "the mean image, cut alike" if recipe.mean_follows_crop else "the mean image"
    order = "" if recipe.reshuffle else "; the same order in every epoch"
    print(f"            images minus {mean}; {augmentation(recipe, image_size)}{order}")
    for line in change_lines(recipe.changes):
        print(f"            {line}")
    if recipe.published:
        print(f"recipe      {config['recipe_name']}: {recipe.source}")
        print(f"            published result {recipe.published}")


def deviation_lines(model: Network, config: dict[str, Any]) -> list[str]:
    """Where a network differs from its source, one line each; how often, where its weights are
    trained ones: what they are is what they stay."""
    if config.get("weights") and model.deviations:
        return [f"differs in {len(model.deviations)} points from its source; --dry-run lists them"]
    return [f"differs: {deviation}" for deviation in model.deviations]


def division(config: dict[str, Any]) -> str:
    """Which folders are watched and tested, in words."""
    share = f"{config['val_split']:.0%}" if config["val_split"] else "nothing"
    kind = config.get("data_parts", VAL_IS_TEST)
    if kind == THREE:
        return "val/ is watched; test/ is tested, once, at the end"
    if kind == CLASSES_ALONE:
        return (f"{TEST_SHARE:.0%} of each class are tested, once, at the end; {share} of the "
                "rest is watched")
    return f"{share} of train/ is watched; val/ is tested, once, at the end"


def change_lines(changes: Sequence[Change]) -> list[str]:
    """What changes in the course of a training, one line each; the layers that are frozen from
    the start share one."""
    frozen = [change.layer for change in changes
              if change.layer and change.epoch == 0 and change.value == 0]
    lines = [f"frozen: {', '.join(frozen)}; no gradient is computed for them"] if frozen else []
    return lines + [f"from epoch {change.epoch + 1} on: {in_words(change)}" for change in changes
                    if change.epoch or change.layer not in frozen]


def in_words(change: Change) -> str:
    """A change of the recipe in the course of the training: conv1.lr 0 (frozen)."""
    if not change.layer:
        return f"{change.field} {change.value}"
    frozen = " (frozen)" if change.value == 0 else ""
    return f"{change.layer}.{change.field} {change.value:g}{frozen}"


def augmentation(recipe: Recipe, image_size: int) -> str:
    """How training images are enlarged and varied, in words."""
    parts = []
    if recipe.enlarge:
        parts.append(f"enlarged to {recipe.enlarge} x {recipe.enlarge}")
    if recipe.crop or recipe.pad:
        side = recipe.crop or image_size
        border = f" of the image with a border of {recipe.pad}" if recipe.pad else ""
        parts.append(f"random {side} x {side} crops{border}")
    if recipe.flip:
        parts.append("flips")
    if parts and recipe.crop_chunk > 1:
        parts.append(f"the same for {recipe.crop_chunk} images in a row")
    if recipe.mix:
        parts.append(f"{recipe.mix:.0%} mixed with others")
    if recipe.color != "none":
        parts.append(f"PCA colour ({recipe.color})")
    return ", ".join(parts) or "no augmentation"
