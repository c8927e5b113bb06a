"""What `train` finds out before it can begin: the run, the checkpoint and the weights that it
starts from, and whether settings, data and network fit together.

Nothing here writes. `prepare` in train.py calls these functions in the order in which they stand.
"""
import argparse
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, models
from ..comm import Comm
from ..errors import DataError, DiskError, RunError, ShapeError, UsageError
from ..models import Network, Recipe
from ..optim import LARS, SGD
from ..schedule import Schedule
from . import best, class_list, finetune, ranks, runs, settings
from .best import Best
from .progress import Progress
from .runs import Run


def open_start(args: argparse.Namespace, given: set[str]) -> finetune.Weights | None:
    """The weights of --weights for a run that may be new, whose model is theirs then; None where
    there are none."""
    if args.weights is None or args.resume not in (None, settings.AUTO):
        return None
    # A model that the user typed decides where the weights fit several.
    start = finetune.open_weights(args.weights, args.model if "model" in given else None)
    args.model = start.model
    return start


def find_run(args: argparse.Namespace) -> tuple[Run, Path | None]:
    """(the run, the checkpoint to resume from or None). Raises RunError for a new run that exists
    already, and for one to resume that does not."""
    if Path(args.runs_dir).is_file():
        raise DiskError(f"--runs-dir {args.runs_dir} is a file; give a folder, which is created")
    directory = Path(args.runs_dir) / settings.run_name(args)
    run = Run(directory)
    # --resume auto: the same command starts a run and goes on with it, in a batch queue say.
    if args.resume == settings.AUTO and not run.exists():
        return run, None
    if args.resume is not None:
        is_named = args.resume not in ("", settings.AUTO)
        return runs.find(args.resume if is_named else directory, to_resume=True)
    if run.exists() and not (args.overwrite or args.dry_run or args.check_init or args.find_lr):
        raise RunError(f"the run {directory} exists; choose another --name, resume it with "
                       f"--resume {directory}, or restart it with --overwrite")
    return run, None


def new_model(args: argparse.Namespace, given: set[str], start: finetune.Weights | None,
              version: str) -> tuple[dict[str, Any], Network]:
    """(the configuration, the network) of a new run, by the package of that version."""
    config, model = settings.new_config(args, given, start)  # in the order of config.json
    config["version"] = version
    if args.shards:
        config["shards"] = args.shards
    return config, model


def load_checkpoint(source: Path, config: dict[str, Any], comm: Comm) -> runs.Saved:
    """The model and the state of the run to resume, read by rank 0. Raises RunError for a
    checkpoint without an optimizer state."""
    saved = runs.load_model(source, config, lambda file: ranks.read_checkpoint(comm, file))
    if "optim.velocity" not in saved.arrays:
        raise RunError(f"{source} contains weights only (no optimizer state), so it can be "
                       "evaluated but not resumed; start a new run with --name, or from these "
                       f"weights with --weights {source}")
    saved.model.layer_decay = config["layer_decay"]
    return saved


def begin(args: argparse.Namespace, given: set[str], config: dict[str, Any], model: Network,
          start: finetune.Weights | None) -> dict[str, str]:
    """Give a new model the weights to `start` from. Returns what there is to tell about that and
    about the settings."""
    remarks = {}
    recipe = Recipe.from_json(config["recipe"])
    if start is not None:
        taken = finetune.take(model, start, config["classes"])
        remarks["weights"] = finetune.in_words(taken, start.name, config["num_classes"])
    hint = settings.rate_hint(given, recipe, settings.own_recipe(args, model, start))
    if hint:
        remarks["hint"] = hint
    return remarks


def check_data(train: data.Dataset, config: dict[str, Any]) -> None:
    """Raises DataError when a resumed run gets other classes or images than it had. Notes both for
    a later session."""
    class_list.check(train, config, "the run has")
    if "classes" not in config:  # a run from before the names were kept
        config |= class_list.entries(train.classes)
    if config.setdefault("train_images", len(train)) != len(train):
        raise DataError(f"{train.name} has {len(train):,} images to train on, the run had "
                        f"{config['train_images']:,}: the run was started on different data; "
                        "point --data-dir to that data")


def mean_image(saved: runs.Saved | None, start: finetune.Weights | None, train: data.Dataset,
               config: dict[str, Any]) -> np.ndarray:
    """The image (H, W, 3) that is subtracted from every other: that of the run that is resumed,
    that of the weights that a new run starts from, which expect no other, or that of its training
    images."""
    if saved is not None:
        return saved.arrays["data.mean"]
    if start is not None:
        return start.mean_image(config["recipe"]["enlarge"] or config["data_size"])
    return train.mean_image()


def check_image_size(still: data.Transform, train: data.Dataset, model: Network,
                     config: dict[str, Any]) -> None:
    """Raises UsageError when the transform gives images of another size than the model takes."""
    try:
        side = still(train.images[:1]).shape[1]
    except ShapeError as error:  # a crop that is larger than the image
        raise UsageError(f"{error}: {config['model']} takes images of {model.image_size} x "
                         f"{model.image_size}; enlarge those of {config['data']} with --set "
                         f"enlarge={config['data_size']}, or choose another --model") from None
    if side != model.image_size:
        raise UsageError(f"{config['model']} takes images of {model.image_size} x "
                         f"{model.image_size}, {config['data']} with this recipe gives {side} x "
                         f"{side}; set enlarge, crop, pad or image_size with --set")


def build_update(model: Network, recipe: Recipe,
                 saved: runs.Saved | None) -> tuple[SGD | LARS, Schedule]:
    """How weights are updated, and the schedule of the learning rate: new ones, or where those of
    the saved run stood."""
    optimizer = models.build_optimizer(model, recipe)
    schedule = models.build_schedule(optimizer, recipe)
    if saved is not None:
        # The groups bring the rates of that moment, which a plateau may have lowered.
        velocity = saved.arrays["optim.velocity"]
        optimizer.load_state_dict({"velocity": velocity, "groups": saved.meta["groups"]})
        schedule.load_state_dict(saved.meta["schedule"])
    return optimizer, schedule


def best_so_far(run: Run, progress: Progress, comm: Comm) -> Best:
    """The best epoch of a run as far as its checkpoint has come."""
    return Best(*ranks.ask_first(comm, lambda: astuple(
        best.of_rows(run.read_log(), progress.step))))
