"""The settings of a training: one table of flags, and what a run keeps of them.

From FLAGS follow the parser, the defaults and the ends of the help texts, what config.json stores,
and what may change when a run is resumed. What no flag sets comes from the model's own recipe
(models/recipe.py).
"""
import argparse
import ast
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from .. import data, models, streams
from ..errors import UsageError
from ..models import Network, Recipe
from ..models.recipe import RECIPES, named
from . import class_list, cli, convolution, ranks
from .cli import Flag
from .runs import Run

INTEGER = {"type": int, "metavar": "N"}
NUMBER = {"type": float, "metavar": "X"}
NAME = {"metavar": "NAME"}
FOLDER = {"type": cli.home, "metavar": "DIR"}
SWITCH = {"action": "store_true"}
BY_RECIPE = "by the model's recipe"
PUBLISHED = "; ".join(f"{name} ({recipe.published})" for name, recipe in RECIPES.items())

FLAGS: dict[str, tuple[Flag, ...]] = {
    "what to train": (
        Flag("-a --arch --model", ", ".join(models.MODELS), "alexnet_cifar",
             stored="config", options=NAME),
        Flag("--data", f"{', '.join(data.NAMES)}; shapes are drawn by the program and need no "
             "download; folder reads DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG; imagenet "
             "reads what prepare has written", "cifar10", stored="config", options=NAME),
        Flag("--data-dir", "where the data is, or is downloaded to", "data",
             stored="config", on_resume="any", options=FOLDER),
        Flag("--limit", "train on the first N images only; validation and test keep "
             "theirs", 0, shown="all", minimum=0,
             stored="config", options=INTEGER),
        Flag("--val-split", "share of the training images that is held out for validation; 0 "
             "trains on all", 0.1, minimum=0, stored="config",
             options={"type": float, "metavar": "F"}),
    ),
    "how": (
        Flag("--recipe", "train by a published recipe instead of the model's own: "
             + PUBLISHED.replace("%", "%%"), stored="config",
             options={"dest": "recipe_name", **NAME}),
        Flag("--epochs", "passes over the training images", shown=BY_RECIPE,
             stored="recipe", on_resume="any", options=INTEGER),
        Flag("-b --batch-size", "images per step", shown=BY_RECIPE, stored="recipe",
             options=INTEGER),
        Flag("--lr", "learning rate of the weights", shown=BY_RECIPE, stored="recipe",
             options=NUMBER),
        Flag("--momentum", "momentum of the update", shown=BY_RECIPE, stored="recipe",
             options=NUMBER),
        Flag("--wd --weight-decay", "weight decay of every layer, also of layers for which the "
             "model has its own", shown=BY_RECIPE, stored="recipe", options=NUMBER),
        Flag("--set", "change any field of the model's configuration or of the recipe, e.g. "
             "--set lrn_size=3 --set schedule=plateau; may be repeated", (), on_resume="never",
             options={"action": "append", "metavar": "FIELD=VALUE"}),
        Flag("--seed", "seed of the weights, shuffles, crops and dropout", 0,
             stored="config", options=INTEGER),
        Flag("--mine", "train with the exercises you solved in place of the package's parts; "
             "without DIR, with those in lessons/exercises", on_resume="any",
             options={"type": cli.home, "nargs": "?", "const": "", "metavar": "DIR"}),
    ),
    "where": (
        Flag("--name", "name of the run's directory", shown="MODEL-DATA", on_resume="any",
             options=NAME),
        Flag("--runs-dir", "where runs are kept", "runs", on_resume="any", options=FOLDER),
        Flag("--overwrite", "restart a run that exists: its files are removed", False,
             on_resume="never", options=SWITCH),
        Flag("--resume", "resume a run: a directory, or a checkpoint in one; without RUN, the one "
             "of --name", on_resume="any", options={"type": cli.home, "nargs": "?", "const": "",
                                           "metavar": "RUN"}),
        *cli.DEVICE_FLAGS,
        *ranks.FLAGS,
        ranks.KIND,
        ranks.SHARDS,
        Flag("-j --workers", "threads that read and prepare batches", 1, minimum=0,
             stored="config", on_resume="any", options=INTEGER),
        Flag("-p --print-freq", "steps between log lines", 50, minimum=1,
             stored="config", on_resume="any", options=INTEGER),
        Flag("--checkpoint-freq", "steps between checkpoints; one is also written after each "
             "epoch", 500, minimum=1, stored="config", on_resume="any", options=INTEGER),
        Flag("--dry-run", "print what would be done, layer by layer, and exit", False,
             on_resume="never", options=SWITCH),
        Flag("--check-init", "report how much of the difference between images reaches each layer "
             "at initialisation, warn if such a network is known not to learn, and exit", False,
             on_resume="never", options=SWITCH),
    ),
}
BY_NAME = {flag.dest: flag for flags in FLAGS.values() for flag in flags}
IN_CONFIG = [flag.dest for flag in BY_NAME.values() if flag.stored == "config"]
IN_RECIPE = [flag.dest for flag in BY_NAME.values() if flag.stored == "recipe"]


def parser() -> argparse.ArgumentParser:
    """The parser. Flags that are not given are absent from its result, so that a resumed run can
    tell them apart."""
    about = "Train a network from scratch. --dry-run prints the model and its recipe."
    epilog = cli.EXIT_CODES.replace(cli.INTERRUPTED,
                                    f"{cli.INTERRUPTED}; a checkpoint was written first")
    result = cli.parser("minitorch_alex.train", about, epilog)
    for title, flags in FLAGS.items():
        group = result.add_argument_group(title)
        for flag in flags:
            flag.add_to(group, default=argparse.SUPPRESS)
    return result


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, set[str]]:
    """(all settings, the names of those that the user gave). Raises UsageError for a value that
    makes no sense, in a new run and in a resumed one."""
    typed = vars(parser().parse_args(argv))
    values = {name: typed.get(name, flag.default) for name, flag in BY_NAME.items()}
    for name, flag in BY_NAME.items():
        flag.check(values[name])
    if values["data"] not in data.NAMES:
        raise UsageError(f"unknown data {values['data']!r}; there are: {', '.join(data.NAMES)}")
    return argparse.Namespace(**values), set(typed)


def parse_fields(items: Iterable[str]) -> dict[str, Any]:
    """The settings of --set FIELD=VALUE: values are Python literals, anything else is a word."""
    settings: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item}: expected FIELD=VALUE")
        try:
            settings[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            settings[name] = text
    return settings


def new_config(args: argparse.Namespace, given: set[str]) -> tuple[dict[str, Any], Network]:
    """(the configuration of a new run, as config.json keeps it; its model).

    A flag wins over --set, and both win over the recipe. Raises UsageError for settings that make
    no sense.
    """
    settings = parse_fields(args.set)
    settings |= {name: getattr(args, name) for name in IN_RECIPE if name in given}
    known = {field.name for field in fields(Recipe)}
    recipe_fields = {name: value for name, value in settings.items() if name in known}
    model_fields = {name: value for name, value in settings.items() if name not in known}

    names = data.class_names(args.data, args.data_dir)
    streams.manual_seed(args.seed)  # the weights are drawn from this seed
    model = models.build(args.model, len(names), **model_fields)
    recipe = named(args.recipe_name, model.recipe) if args.recipe_name else model.recipe
    recipe = models.changed(recipe, **recipe_fields)
    if args.val_split == 0 and recipe.schedule == "plateau":
        raise UsageError("the plateau schedule watches the validation error; "
                         "set --val-split above 0")
    if "weight_decay" in settings or args.recipe_name:
        model.layer_decay = {}  # the weight decay that was asked for is that of every layer

    config = {name: getattr(args, name) for name in IN_CONFIG}
    config |= {"data_size": image_room(recipe, model.image_size), "num_classes": len(names),
               **class_list.entries(names), "model_fields": model_fields,
               "preset_edition": models.PRESET_EDITION, "recipe": recipe.to_json(),
               "layer_decay": model.layer_decay}
    return config, model


def image_room(recipe: Recipe, image_size: int) -> int:
    """Side of the images from which a recipe's random crops are cut: 256 for 224, as in 2012, and
    at least 8 more than the crop; the model's own size where whole images or their borders are
    cropped."""
    if recipe.crop and not recipe.pad:
        return recipe.crop + max(8, recipe.crop // 7)
    return image_size


def resumed_config(run: Run, args: argparse.Namespace, given: set[str]) -> dict[str, Any]:
    """The configuration of a run that is resumed. Raises UsageError for a flag that would change
    it midway."""
    # A run that was made before a flag existed has no entry for it, hence the defaults.
    stored = run.read_config()
    convolution.upgrade(stored)
    config = {**cli.DEVICE_DEFAULTS, **stored}
    fixed = []
    for name in sorted(given):
        flag = BY_NAME[name]
        value = getattr(args, name)
        if flag.on_resume == "never":
            fixed.append(flag.name)
        elif flag.on_resume == "same" and value != config.get(name, config["recipe"].get(name)):
            fixed.append(flag.name)
        elif flag.on_resume == "any" and flag.stored == "recipe":
            config["recipe"][name] = value
        elif flag.on_resume == "any" and flag.stored == "config":
            config[name] = value
    if fixed:
        raise UsageError(f"{', '.join(fixed)} cannot be changed when resuming; see the settings "
                         f"in {run.config}")
    return config
