"""The settings of a training: one table of flags, and what a run keeps of them.

From FLAGS follow the parser, the defaults and the ends of the help texts, what config.json stores,
and what may change when a run is resumed. What no flag sets comes from the model's own recipe
(models/recipe.py).
"""
import argparse
import ast
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .. import data, models, streams
from ..data.folders import THREE
from ..errors import ShapeError, UsageError
from ..models import Network, Recipe
from ..models.recipe import RECIPES, named
from . import class_list, cli, config_file, convolution, finetune, logs, ranks
from .cli import Flag
from .finetune import Weights
from .foreign import Parser
from .runs import Run, data_place, tuples

INTEGER = {"type": int, "metavar": "N"}
NUMBER = {"type": float, "metavar": "X"}
NAME = {"metavar": "NAME"}
FOLDER = {"type": cli.home, "metavar": "DIR"}
AUTO = "auto"  # --resume auto
SWITCH = {"action": "store_true"}
BY_RECIPE = "by the model's recipe"
PUBLISHED = "; ".join(f"{name} ({recipe.published})" for name, recipe in RECIPES.items())

FLAGS: dict[str, tuple[Flag, ...]] = {
    "what to train": (
        Flag("-a --arch --model", ", ".join(models.MODELS), "alexnet_cifar",
             stored="config", options=NAME),
        Flag("-w --weights", "start from trained weights: pretrained (the bundled model), a run, "
             "or a .safetensors or .pth file; its model, size of images and mean are taken over, "
             "the last layer is new, and all learns at a tenth of the rate", stored="config",
             options={"type": cli.home, "metavar": "RUN"}),
        Flag("--freeze", "keep layers as they are: conv for all convolutions, or names between "
             "commas, such as conv1,conv2; they cost no gradient", stored="config",
             options={"metavar": "LAYERS"}),
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
             "--set lrn_size=3 --set schedule=plateau; may be repeated; fields of the recipe: "
             + ", ".join(field.name for field in fields(Recipe)), (),
             options={"action": "append", "metavar": "FIELD=VALUE"}),
        Flag("--early-stop", "end when the validation error has not improved for N epochs; the "
             "test is then that of the best weights", 0, shown="never", minimum=0,
             stored="config", on_resume="any", options=INTEGER),
        Flag("--seed", "seed of the weights, shuffles, crops and dropout", 0,
             stored="config", options=INTEGER),
        Flag("--mine", "train with the exercises you solved in place of the package's parts; "
             "without DIR, with those in lessons/exercises", on_resume="any",
             options={"type": cli.home, "nargs": "?", "const": "", "metavar": "DIR"}),
        Flag("--config", "read settings from a TOML file, such as a run's settings.toml; flags "
             "win over it", on_resume="any", options={"type": cli.path, "metavar": "FILE"}),
    ),
    "where": (
        Flag("--name", "name of the run's directory", shown="MODEL-DATA", on_resume="any",
             options=NAME),
        Flag("--runs-dir", "where runs are kept", "runs", on_resume="any", options=FOLDER),
        Flag("--overwrite", "restart a run that exists: its files are removed", False,
             on_resume="never", options=SWITCH),
        Flag("--resume", "resume a run: a directory, or a checkpoint in one; without RUN, the one "
             "of --name; auto resumes that one if it is there and starts it otherwise",
             on_resume="any", options={"type": cli.home, "nargs": "?", "const": "",
                                       "metavar": "RUN"}),
        *cli.DEVICE_FLAGS,
        *ranks.FLAGS,
        ranks.KIND,
        ranks.SHARDS,
        Flag("-j --workers", "threads that read and prepare batches", 1, minimum=0,
             stored="config", on_resume="any", options=INTEGER),
        Flag("-p --print-freq", "steps between log lines", 50, minimum=1,
             stored="config", on_resume="any", options=INTEGER),
        Flag("--log", "write the log in another form too: csv (metrics.csv in the run's "
             "directory) or tensorboard (needs tensorboardX)", stored="config", on_resume="any",
             options={"choices": logs.KINDS, "metavar": "KIND"}),
        Flag("--checkpoint-freq", "steps between checkpoints; one is also written after each "
             "epoch", 500, minimum=1, stored="config", on_resume="any", options=INTEGER),
        Flag("--dry-run", "print what would be done, layer by layer, and exit", False,
             on_resume="never", options=SWITCH),
        Flag("--check-init", "report how much of the difference between images reaches each layer "
             "at initialisation, warn if such a network is known not to learn, and exit", False,
             on_resume="never", options=SWITCH),
        Flag("--find-lr", "train for a hundred steps at rates from low to high, draw the loss "
             "over the rate, name a rate to start with, and exit; nothing else is kept", False,
             on_resume="never", options=SWITCH),
    ),
}
BY_NAME = {flag.dest: flag for flags in FLAGS.values() for flag in flags}
IN_CONFIG = [flag.dest for flag in BY_NAME.values() if flag.stored == "config"]
IN_RECIPE = [flag.dest for flag in BY_NAME.values() if flag.stored == "recipe"]


def parser() -> argparse.ArgumentParser:
    """The parser. Flags that are not given are absent from its result, so that a resumed run can
    tell them apart."""
    about = ("Train a network, from scratch or (--weights) from trained weights. --dry-run prints "
             "the model and its recipe.")
    epilog = cli.EXIT_CODES.replace(cli.INTERRUPTED,
                                    f"{cli.INTERRUPTED}; a checkpoint was written first")
    result = cli.parser("minitorch_alex.train", about, epilog, Parser)
    result.add_argument("directory", nargs="?", type=cli.home, metavar="DIR",
                        default=argparse.SUPPRESS, help="pictures: DIR/CLASS/*, a fifth of which "
                        "is kept as the test; or DIR/train/CLASS/*, DIR/val/CLASS/* and perhaps "
                        "DIR/test/CLASS/*; the same as --data folder --data-dir DIR")
    for title, flags in FLAGS.items():
        group = result.add_argument_group(title)
        for flag in flags:
            flag.add_to(group, default=argparse.SUPPRESS)
    return result


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, set[str]]:
    """(all settings, the names of those that the user gave, as flags or in a file of --config).

    Raises UsageError for a value that makes no sense, in a new run and in a resumed one.
    """
    typed = vars(parser().parse_args(argv))
    directory = typed.pop("directory", None)
    if "config" in typed:
        typed = config_file.read(typed["config"], BY_NAME) | typed
    if directory is not None:
        typed |= _as_flags(directory, typed)
    values = {name: typed.get(name, flag.default) for name, flag in BY_NAME.items()}
    for name, flag in BY_NAME.items():
        flag.check(values[name])
    if values["data"] not in data.NAMES:
        advice = ""
        if Path(values["data"]).is_dir():
            advice = f"; {values['data']} is a folder: give it without --data"
        raise UsageError(f"unknown data {values['data']!r}; there are: {', '.join(data.NAMES)}"
                         f"{advice}")
    return argparse.Namespace(**values, directory=directory), set(typed)


def _as_flags(directory: str, typed: dict[str, Any]) -> dict[str, Any]:
    """What DIR stands for: --data and --data-dir. Raises UsageError where these say something
    else, and for a word that is no folder but the name of something."""
    kinds = [name for name, words in (("--data", data.NAMES), ("-a", models.MODELS))
             if directory in words and not Path(directory).is_dir()]
    if kinds:
        raise UsageError(f"there is no folder {directory}; for the one that comes with the "
                         f"package: {kinds[0]} {directory}")
    if typed.get("data", "folder") not in ("folder", "imagenet"):
        raise UsageError(f"{directory} and --data {typed['data']} name two sets of images; leave "
                         "out one of them")
    if typed.get("data_dir", directory) != directory:
        raise UsageError(f"{directory} and --data-dir {typed['data_dir']} name two folders; leave "
                         "out one of them")
    return {"data": typed.get("data", "folder"), "data_dir": directory}


def keep(run: Run, args: argparse.Namespace, given: set[str]) -> None:
    """Write the settings of a new run as a file that --config reads: what a run keeps, and
    whatever else was given, but for where it is kept. Raises DiskError when it cannot be
    written."""
    values = {}
    for name, flag in BY_NAME.items():
        is_kept = flag.stored == "config" or (flag.stored == "recipe" and name in given)
        if is_kept and getattr(args, name) is not None:
            values[name] = getattr(args, name)
    config_file.write(run.settings, values, parse_fields(args.set))


def run_name(args: argparse.Namespace) -> str:
    """The name of the run's directory: --name, or MODEL-DATA, where DIR gives the data's."""
    whose = args.data if args.directory is None else Path(args.directory).resolve().name
    return args.name or f"{args.model}-{whose}"


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


def new_config(args: argparse.Namespace, given: set[str],
               start: Weights | None = None) -> tuple[dict[str, Any], Network]:
    """(the configuration of a new run, as config.json keeps it; its model, with weights as drawn).

    A flag wins over --set, and both win over the recipe, and all over what the weights to `start`
    from bring along. Raises UsageError for settings that make no sense.
    """
    settings = parse_fields(args.set)
    settings |= {name: getattr(args, name) for name in IN_RECIPE if name in given}
    known = {field.name for field in fields(Recipe)}
    recipe_fields = {name: value for name, value in settings.items() if name in known}
    model_fields = start.fields if start else {}
    model_fields = model_fields | {name: value for name, value in settings.items()
                                   if name not in known}

    names = data.class_names(args.data, args.data_dir)
    if "num_classes" in model_fields:
        raise UsageError(f"num_classes follows from the data: {args.data} has {len(names)} "
                         "classes; leave it out of --set")
    streams.manual_seed(args.seed)  # the weights are drawn from this seed
    model = _build(args.model, len(names), model_fields)
    recipe = models.changed(own_recipe(args, model, start), **recipe_fields)
    if args.freeze:
        recipe = finetune.freeze(recipe, finetune.frozen_layers(model, args.freeze))
    if start and start.layer_decay is not None:
        model.layer_decay = start.layer_decay
    if "weight_decay" in settings or args.recipe_name:
        model.layer_decay = {}  # the weight decay that was asked for is that of every layer

    config = {name: getattr(args, name) for name in IN_CONFIG}
    config |= _division(args, given, recipe)
    room = start.side if start and start.side else image_room(recipe, model.image_size)
    scale, recipe = _fitted(args, recipe, room, model.image_size, start is not None)
    config |= {"data_size": room, "scale": scale, "data_place": data_place(args.data_dir),
               "num_classes": len(names), **class_list.entries(names),
               "model_fields": model_fields, "preset_edition": models.PRESET_EDITION,
               "recipe": recipe.to_json(), "layer_decay": model.layer_decay}
    return config, model


def own_recipe(args: argparse.Namespace, model: Network, start: Weights | None) -> Recipe:
    """The recipe before anything is changed in it: that of --recipe, of fine-tuning, or the
    model's own."""
    trained = start.recipe if start and start.recipe else model.recipe
    if args.recipe_name:
        return named(args.recipe_name, trained)
    return finetune.gentle(trained) if start else model.recipe


LARGEST_LINEAR = 2048  # images of a batch up to which the linear rule has been seen to work
LONG_STEPS = 8         # from so many times the recipe's batch on, a warm-up comes first


def rate_hint(given: set[str], recipe: Recipe, own: Recipe) -> str:
    """What to think of where the batch size was changed and the rate was not; "" elsewhere.

    The linear rule (Krizhevsky 2014, arXiv:1404.5997, section 5; Goyal et al. 2017): a batch of k
    times the images has a gradient as good as k steps, so its steps may be k times as long. Where
    k is large, a warm-up comes first; beyond LARGEST_LINEAR images AlexNet diverges at such rates
    (You et al. 2017, arXiv:1708.03888). The batch is that of all ranks.
    """
    if "lr" in given or recipe.lr != own.lr or recipe.batch_size == own.batch_size:
        return ""
    times = recipe.batch_size / own.batch_size
    text = (f"lr {own.lr:g} is for batches of {own.batch_size}; for {recipe.batch_size} the "
            f"linear rule gives --lr {own.lr * times:.3g}")
    if recipe.batch_size > LARGEST_LINEAR:
        return (f"{text}, but AlexNet has diverged at such rates: take --set rule=lars, with a "
                "rate and a warm-up as in docs/scaling.md")
    return f"{text} --set warmup_epochs=5" if times >= LONG_STEPS else text


def _build(name: str, num_classes: int, changes: dict[str, Any]) -> Network:
    """The model with changed fields. Raises UsageError when they make no network."""
    try:
        return models.build(name, num_classes, **changes)
    except ShapeError as error:
        settings = ", ".join(f"{field}={value}" for field, value in changes.items())
        raise UsageError(f"{name} with {settings or 'its own settings'} is no network: {error}; "
                         "--model alexnet_cifar is for images of 32 x 32") from None


def _division(args: argparse.Namespace, given: set[str], recipe: Recipe) -> dict[str, Any]:
    """How the images are divided into parts: data_parts and val_split. Raises UsageError for a
    validation split that would not be used, and where one is needed and missing."""
    kind = data.parts_of(args.data, args.data_dir)
    val_split = args.val_split
    if not val_split < 1:
        raise UsageError(f"--val-split must be a share from 0 to below 1, got {val_split:g}")
    if kind == THREE:
        if "val_split" in given and val_split:
            raise UsageError(f"--val-split {val_split:g}: {args.data_dir} has pictures for "
                             "validation of its own, in val/; leave the flag out")
        return {"data_parts": kind, "val_split": 0.0}
    needs = {"the plateau schedule": recipe.schedule == "plateau", "--early-stop": args.early_stop}
    for name, is_needed in needs.items():
        if val_split == 0 and is_needed:
            raise UsageError(f"{name} watches the validation error; set --val-split above 0")
    return {"data_parts": kind, "val_split": val_split}


def _fitted(args: argparse.Namespace, recipe: Recipe, room: int, image_size: int,
            is_started: bool) -> tuple[int, Recipe]:
    """(the size to which stored images are scaled down, or 0; the recipe, in which smaller ones
    are enlarged), so that images that are stored at one size fit.

    Without weights to start from, a window is cut out of stored images as they are, where the
    recipe cuts one; and small ones are not enlarged unless the user asks for it, since the cost of
    a step grows with the square of the size.
    """
    stored = data.stored_size(args.data, args.data_dir)
    if stored is None or recipe.enlarge:
        return 0, recipe
    is_cut = recipe.crop == image_size
    is_own = args.data != "cifar10"  # whose 32 x 32 are a choice: another size is an error
    if stored > room and (is_started or (is_own and not is_cut)):
        return room, recipe
    if stored < room and is_started:
        return 0, replace(recipe, enlarge=room)
    return 0, recipe


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
        if name == "set":
            if not _are_set(config, value):
                fixed.append(flag.name)
        elif flag.on_resume == "never":
            fixed.append(flag.name)
        elif flag.on_resume == "same" and value != config.get(name, config["recipe"].get(name)):
            fixed.append(flag.name)
        elif flag.on_resume == "any" and flag.stored == "recipe":
            config["recipe"][name] = value
        elif flag.on_resume == "any" and flag.stored == "config":
            config[name] = value
    if fixed:
        advice = ""
        if "--data" in fixed:
            advice = f"; to teach its weights something new: --weights {run.directory}"
        raise UsageError(f"{', '.join(fixed)} cannot be changed when resuming; see the settings "
                         f"in {run.config}{advice}")
    if "data_dir" in given and "data_place" in config:
        config["data_place"] = data_place(args.data_dir)
    return config


def _are_set(config: dict[str, Any], items: Iterable[str]) -> bool:
    """Whether a run has these settings of --set already, as when a job is queued again."""
    has = tuples({**config["model_fields"], **config["recipe"]})
    return all(name in has and has[name] == value for name, value in parse_fields(items).items())
