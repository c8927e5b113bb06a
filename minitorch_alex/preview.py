"""What `train` tells of a training before its first step, and what it does instead of one:
--dry-run prints the layers, --check-init the signals at the start, --find-lr tries a hundred
rates.
"""
import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import backend, kernels, plots, profile
from .errors import UsageError
from .models.recipe import change_rates, hold_frozen_norms
from .tensor import Tensor
from .training import cli, convolution, feed, find_lr, ranks, runs, words
from .training.session import Job

# How NumPy's warnings begin where numbers grow too large, or stop being numbers.
OVERFLOWS = "overflow|invalid value|divide by zero"
Step = Callable[[Job, Any, Any], tuple[Any, Any, int]]  # train.take_step


def describe(job: Job) -> None:
    """Print what follows from the settings."""
    config = job.config
    model = job.model
    recipe = job.recipe
    train_set = job.split.train
    num_classes = len(train_set.classes)

    host = (f"{runs.cpu_name()}, {backend.current().name} {np.__version__}, "
            f"{kernels.get_threads()} threads")
    print(f"device      {cli.describe_device(config) or host}")
    # Those that sum gradients also say on which way: between GPUs, or through the host.
    comm = job.comm if job.parallel is None else job.parallel.comm
    ranks.describe(comm, recipe.batch_size, config, resumed=job.source is not None)
    count = sum(parameter.size for parameter in model.parameters())
    side = model.image_size
    print(f"model       {config['model']}, {count:,} parameters, input 3 x {side} x {side}")
    for line in words.deviation_lines(model, config):
        print(f"            {line}")
    for label, text in job.remarks.items():
        print(f"{label:<11} {text}")

    sizes = [f"{len(train_set):,} to train"]
    if job.split.val is not None:
        sizes.append(f"{len(job.split.val):,} to validate")
    sizes.append(f"{len(job.split.test):,} to test")
    print(f"data        {train_set.name}: {', '.join(sizes)}; {num_classes} classes; "
          f"the loss at chance level is ln {num_classes} = {math.log(num_classes):.3f}")
    if config["data"] == "folder":
        print(f"            {words.division(config)}")
    words.describe_training(recipe, config, len(train_set), side)
    if config.get("convolutions"):
        print(f"convolution {convolution.describe(model, config['convolutions'])} (--conv auto)")
    change_rates(job.optimizer, recipe, job.progress.epoch)  # frozen layers keep no maps
    n_bytes = profile.step_bytes(model, recipe.batch_size)
    print(f"memory      about {n_bytes / 1e6:,.0f} MB per step")


def explain(job: Job, args: argparse.Namespace, take_step: Step) -> None:
    """Print what --dry-run, --check-init and --find-lr ask for."""
    if args.dry_run:
        print("\n" + profile.layer_table(job.model))
        if job.config.get("weights"):  # `describe` has only counted them
            print("\ndiffers from its source\n  " + "\n  ".join(job.model.deviations))
    if args.check_init:
        images = job.still(job.split.train.images[:32])
        x = Tensor(backend.asarray(images.transpose(0, 3, 1, 2)))  # (N, H, W, 3) -> (N, 3, H, W)
        signals = profile.signal_ratios(job.model, x)
        print(f"\n{profile.signal_table(signals)}\n{profile.signal_verdict(signals) or 'healthy'}")
    if args.find_lr:
        find_rate(job, take_step)


def find_rate(job: Job, take_step: Step) -> None:
    """Train for a hundred steps at rates from low to high, and draw the loss over the rate next to
    the run's directory. Nothing else is written."""
    if job.comm.size > 1:
        raise UsageError("--find-lr trains in one process; leave --ranks out")
    job.model.train()
    change_rates(job.optimizer, job.recipe, job.progress.epoch)  # frozen layers stay frozen
    hold_frozen_norms(job.model)
    batches = feed.feed(job.loader)

    def epochs() -> Iterator[tuple[Any, Any]]:
        while True:  # as many as a hundred steps take
            yield from batches.epoch(job.progress.epoch)
            job.progress.start_next_epoch()

    def step(x: Any, labels: Any) -> float:
        loss, _, images = take_step(job, x, labels)
        return float(backend.to_numpy(loss)) / images

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OVERFLOWS, RuntimeWarning)  # the last steps overflow
        test = find_lr.run_test(job.optimizer, job.lr, epochs(), step)
    file = job.run.directory.with_name(f"{job.run.directory.name}-find-lr.png")
    plots.rates(test.rates, test.losses, test.smooth, test.best, test.suggestion, file,
                f"{job.title}: loss over the learning rate")
    print(f"\n{len(test.rates)} steps at rates from {test.rates[0]:.1e} to {test.rates[-1]:.1e}: "
          f"the loss was least at {test.best:.1e}; try --lr {test.suggestion:g}, a tenth of it\n"
          f"{file}")
