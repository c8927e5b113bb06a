"""A training as `train` holds it in its hands: everything that it needs, in one place."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import data
from ..comm import Comm
from ..models import Network, Recipe
from ..optim import LARS, SGD
from ..parallel import DataParallel
from ..schedule import Schedule
from . import logs, runs
from .best import Best
from .cut import CutParallel
from .objective import Loss
from .progress import Progress
from .runs import Run, Split


@dataclass
class Job:
    """Everything that a training needs."""

    run: Run                  # its directory
    config: dict[str, Any]    # its settings, as config.json keeps them
    recipe: Recipe
    model: Network
    optimizer: SGD | LARS
    schedule: Schedule        # of the learning rate
    split: Split              # the images: train, val, test
    mean: np.ndarray          # the mean image, (H, W, 3), that is subtracted from every image
    still: data.Transform     # of validation and test images: the central crop, minus the mean
    loader: data.Loader       # the training images in batches
    progress: Progress
    loss: Loss
    source: Path | None       # the checkpoint that the run is resumed from
    comm: Comm                # the ranks that train together: one alone, unless started as several
    # how they take a step; None for one alone without --shards
    parallel: DataParallel | CutParallel | None
    version: str              # of the package, which checkpoints note
    remarks: dict[str, str] = field(default_factory=dict)  # what else to tell before the start
    best: Best = Best()       # the epoch with the least validation error
    other_log: logs.Log | None = None  # the log in another form (--log)
    no_curves: str = ""       # why the last curves could not be drawn

    def transform(self, epoch: int) -> data.Transform:
        """What is done to training images in that epoch: random crops, flips and colour, minus the
        mean image."""
        return runs.build_transform(self.config, self.mean, self.split.train, epoch)

    @property
    def lr(self) -> float:
        """The learning rate of the weights at this moment."""
        return self.recipe.lr * self.schedule.scale()

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or nothing has improved for --early-stop epochs."""
        epoch = self.progress.epoch
        return (epoch >= self.recipe.epochs
                or self.best.is_stale(epoch, self.config.get("early_stop", 0)))

    @property
    def title(self) -> str:
        return f"{self.config['model']} on {self.config['data']}"
