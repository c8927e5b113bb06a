"""python -m minitorch_alex.train: train a network on the framework of this package, from scratch or
from trained weights.

Reads from top to bottom: `prepare` makes everything that a training needs, `train` is the loop,
`record` reads the test set once and writes the result. The flags, named as in pytorch/examples,
are a table in training/settings.py.
"""
import argparse
import math
import sys
import warnings
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import __version__, backend, data, kernels, models, plots, profile, streams
from .check import mine
from .comm import Comm, choose_device
from .errors import DataError, DiskError, DivergedError, RunError, ShapeError, UsageError
from .evaluate import error_rates, predict
from .files import write_atomic
from .models import Network, Recipe
from .models.recipe import change_rates
from .optim import LARS, SGD
from .parallel import DataParallel
from .schedule import Schedule
from .tensor import Tensor
from .training import (
    best,
    checkpoint,
    class_list,
    cli,
    convolution,
    feed,
    find_lr,
    finetune,
    logs,
    ranks,
    runs,
    settings,
    words,
)
from .training.best import Best
from .training.cut import CutParallel
from .training.objective import Loss, build_loss
from .training.progress import Forecast, Interval, Meter, Progress, Stopwatch, measure
from .training.runs import Run, Split
from .training.stopping import Stopped, StopSignal

# How NumPy's warnings begin where numbers grow too large, or stop being numbers.
OVERFLOWS = "overflow|invalid value|divide by zero"


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


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args, given = settings.parse(argv)
    code = ranks.launch("train", argv, args.ranks)  # --ranks runs the program once more, P times
    if code is not None:
        return code
    try:
        return run(args, given)
    finally:
        if args.mine is not None:
            mine.restore()  # whoever called goes on with the package's own parts


def run(args: argparse.Namespace, given: set[str]) -> int:
    """Train as the flags say; `given` are those that the user typed. Returns the exit code."""
    job = prepare(args, given)
    if ranks.ask_first(job.comm, lambda: is_finished(job)):
        print(f"{job.run.directory} is finished, at epoch {job.progress.epoch}; {advice(job)}")
        return 0
    describe(job)
    if args.dry_run or args.check_init or args.find_lr:
        explain(job, args)
        return 0
    open_directory(job)
    if job.source is None and job.run.writes:
        settings.keep(job.run, args, given)
    # Ctrl-C, say: the loop ends after a step, a test at once.
    with StopSignal(job.comm) as stop, warnings.catch_warnings():
        # A training that diverges overflows first. DivergedError says so, once.
        warnings.filterwarnings("ignore", OVERFLOWS, RuntimeWarning)
        try:
            train(job, stop)
            record(job, stop)
            stop.check()
        except Stopped as stopped:
            print(f"\nstopped by {stopped} after step {job.progress.step:,}; resume with\n"
                  f"  python -m minitorch_alex.train --resume {job.run.directory}")
            return 128 + stopped.number
    return 0


# Before the loop.


def prepare(args: argparse.Namespace, given: set[str]) -> Job:
    """Everything that the training needs, for a new run or from the checkpoint of one that is
    resumed. Writes nothing.

    Raises a UserError for anything that does not fit together: flags, data, run, checkpoint.
    """
    kernels.keep_freed_memory()
    comm = ranks.start(args.timeout, __version__)
    start = open_start(args, given)
    run, source = ranks.find(comm, lambda: find_run(args))
    config = {}
    if source:
        config = ranks.ask_first(comm, lambda: settings.resumed_config(run, args, given))
    cli.use_device({**vars(args), **config})  # a resumed run uses the device that it had
    choose_device(comm)
    if args.mine is not None:
        mine.use(args.mine or None)

    # The model comes first, because the size of its images and its recipe decide how the data is
    # read.
    saved = None
    progress = Progress()
    if source is None:
        config, model = settings.new_config(args, given, start)
        config["version"] = __version__
        config |= {"shards": args.shards} if args.shards else {}
    else:
        saved = load_checkpoint(source, config, comm)
        model = saved.model
        progress = Progress.from_meta(saved.meta, comm.rank)
    # Sums over threads round differently: a run keeps its number of threads, or the last bits
    # would differ.
    config["threads"] = kernels.get_threads()
    config |= ranks.kind(args, given, config, comm)
    recipe = Recipe.from_json(config["recipe"])
    logs.check(config.get("log"))
    remarks = {} if saved else begin(args, given, config, model, start)

    with ranks.in_turn(comm):
        split = runs.load_data(config, download=not (args.dry_run or args.check_init))
    check_data(split.train, config)
    if saved is not None:
        mean = saved.arrays["data.mean"]
    else:
        mean = mean_image(start, split.train, config)
    transform = runs.build_transform(config, mean, split.train, progress.epoch)
    still = transform.eval()
    check_image_size(still, split.train, model, config)

    optimizer = models.build_optimizer(model, recipe)
    schedule = models.build_schedule(optimizer, recipe)
    if saved is not None:
        velocity = saved.arrays["optim.velocity"]
        optimizer.load_state_dict({"velocity": velocity, "groups": saved.meta["groups"]})
        schedule.load_state_dict(saved.meta["schedule"])
    loader = data.Loader(split.train, recipe.batch_size, transform, config["seed"],
                         workers=config["workers"], reshuffle=recipe.reshuffle,
                         part=ranks.part_of_batch(comm, model, config))
    parallel = ranks.data_parallel(comm, model, optimizer, config, recipe, split)
    if not (args.dry_run or args.check_init or args.find_lr):
        networks = [model, parallel.net] if isinstance(parallel, CutParallel) else [model]
        convolution.use(config, networks, recipe.batch_size, comm)
    loss = build_loss(recipe, split.train.labels, config["num_classes"])
    return Job(run, config, recipe, model, optimizer, schedule, split, mean, still, loader,
               progress, loss, source, comm, parallel, remarks, best_so_far(run, progress, comm))


def best_so_far(run: Run, progress: Progress, comm: Comm) -> Best:
    """The best epoch of a run as far as its checkpoint has come."""
    return Best(*ranks.ask_first(comm, lambda: astuple(
        best.of_rows(run.read_log(), progress.step))))


def open_start(args: argparse.Namespace, given: set[str]) -> finetune.Weights | None:
    """The weights of --weights for a run that may be new, whose model is theirs then; None where
    there are none."""
    if args.weights is None or args.resume not in (None, settings.AUTO):
        return None
    start = finetune.open_weights(args.weights, args.model if "model" in given else None)
    args.model = start.model
    return start


def mean_image(start: finetune.Weights | None, train: data.Dataset,
               config: dict[str, Any]) -> np.ndarray:
    """The mean image of a new run: that of the weights it starts from, which expect no other, or
    that of its training images."""
    if start is None:
        return train.mean_image()
    return start.mean_image(config["recipe"]["enlarge"] or config["data_size"])


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


def find_run(args: argparse.Namespace) -> tuple[Run, Path | None]:
    """(the run, the checkpoint to resume from or None). Raises RunError for a new run that exists
    already, and for one to resume that does not."""
    if Path(args.runs_dir).is_file():
        raise DiskError(f"--runs-dir {args.runs_dir} is a file; give a folder, which is created")
    directory = Path(args.runs_dir) / settings.run_name(args)
    run = Run(directory)
    if args.resume == settings.AUTO and not run.exists():
        return run, None
    if args.resume is not None:
        is_named = args.resume not in ("", settings.AUTO)
        return runs.find(args.resume if is_named else directory, to_resume=True)
    if run.exists() and not (args.overwrite or args.dry_run or args.check_init or args.find_lr):
        raise RunError(f"the run {directory} exists; choose another --name, resume it with "
                       f"--resume {directory}, or restart it with --overwrite")
    return run, None


def is_finished(job: Job) -> bool:
    """Whether a run is resumed that has nothing left to do: its test set was read after the step
    at which its checkpoint is."""
    if job.source is None or not job.is_over or not job.run.result.exists():
        return False
    rows = job.run.read_log()
    return bool(rows) and rows[-1]["kind"] == "test" and rows[-1]["step"] == job.progress.step


def advice(job: Job) -> str:
    """How a finished run can go on."""
    if job.progress.epoch >= job.recipe.epochs:
        return "give --epochs N to go on"
    return "it stopped early: give --early-stop 0 to go on"


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


def open_directory(job: Job) -> None:
    """Make the run's directory ready: an empty log for a new run, the log up to the checkpoint for
    a resumed one."""
    if job.source is None:
        job.run.clear()
    else:
        job.run.truncate_log(job.progress.step)
        if job.source != job.run.checkpoint and job.run.writes:
            # The last checkpoint is damaged or unwanted: this one takes its place.
            write_atomic(job.run.checkpoint, [job.source.read_bytes()])
        where = f"epoch {job.progress.epoch}, step {job.progress.step:,}"
        print(f"resuming    {job.source} at {where}")
        if job.is_over:
            print("            all epochs are done, only the test is left; a larger --epochs "
                  "trains on")
    job.config |= ranks.entries(job.comm, job.config)
    job.config.setdefault("command", runs.provenance(job.config["seed"])["command"])
    job.run.write_json(job.run.config, job.config)
    if job.run.writes:
        job.other_log = logs.open_log(job.config.get("log"), job.run)
    if not job.is_over:
        print("each epoch  loss and top-1 error of the training images, of the validation images; "
              "learning rate, speed, time")


# The loop.


def train(job: Job, stop: StopSignal) -> None:
    """Train for the epochs that are left. Raises Stopped when a signal has come; there is a
    checkpoint to resume from then.

    There is no Trainer class with callbacks: whoever wants another training copies this function
    and changes it.
    """
    loader = job.loader
    progress = job.progress
    print_freq = job.config["print_freq"]
    checkpoint_freq = job.config["checkpoint_freq"]

    watch = Stopwatch(progress.seconds)   # the seconds of all sessions, without evaluations
    interval = Interval(watch.seconds, loader.wait)  # what the next line of the log will tell
    forecast = Forecast(progress.step, job.recipe.epochs * len(loader))
    job.model.train()                     # dropout is on
    batches = feed.feed(loader)           # on a GPU, batches travel as bytes and are cropped there
    x = None                              # the batch of the last step

    while not job.is_over:
        # A recipe may change rates and augmentation at an epoch; both follow from its number
        # alone, so that a resumed run gets them right too.
        change_rates(job.optimizer, job.recipe, progress.epoch)
        if job.recipe.at(progress.epoch) != job.recipe.at(max(progress.epoch - 1, 0)):
            loader.transform = job.transform(progress.epoch)
            batches = feed.feed(loader)   # a feed keeps the transform that it was made with
        begin = watch.seconds
        # Not 0 in the epoch that a run is resumed in.
        images_before = ranks.images(progress.totals, job.comm)

        with progress_bar(job) as bar:
            for x, labels in batches.epoch(progress.epoch, progress.batch):
                sums = take_step(job, x, labels)
                progress.totals.add(*sums)
                interval.meter.add(*sums)
                bar.update()

                # Every print_freq steps, and after the first one, the sums are read and logged.
                if progress.step % print_freq == 0 or progress.step == 1:
                    interval.meter = ranks.total(interval.meter, job.comm)
                    progress.totals.read()
                    check_loss(interval.meter, progress.step, job.model, x)
                    now = watch.seconds
                    log_interval(job, interval, now, forecast, bar)
                    interval = Interval(now, loader.wait)

                # A checkpoint every checkpoint_freq steps; finish_epoch writes that of an epoch.
                due = stop.poll() or progress.step % checkpoint_freq == 0
                if due and progress.batch < len(loader):
                    progress.seconds = watch.seconds
                    save(job)
                    stop.check()

        progress.seconds = watch.seconds
        images = ranks.images(progress.totals, job.comm) - images_before
        pace = images / (watch.seconds - begin)  # images per second
        with watch.pause():
            totals = ranks.total(progress.totals, job.comm)
            check_loss(totals, progress.step, job.model, x)
            finish_epoch(job, totals, pace, forecast, stop)
        stop.check()


def take_step(job: Job, x: Any, labels: Any) -> tuple[Any, Any, int]:
    """One step: forward, backward, update. Returns what `measure` makes of it.

    Its sums stay on the device: reading one here would make the host wait for the device at every
    step.
    """
    streams.set_step(job.progress.step)  # chooses the units that dropout silences
    job.schedule.before_step(job.progress.step)  # a warm-up by step raises the rate
    if job.parallel is not None:
        n = job.loader.images_in(job.progress.batch)
        return ranks.take_step(job.parallel, job.model, job.loss, x, labels, job.progress, n)
    job.optimizer.zero_grad()
    logits = job.model(Tensor(backend.asarray(x)))  # (N, 3, H, W) -> (N, K)
    loss = job.loss(logits, labels)
    loss.backward()
    job.optimizer.step()
    kernels.trim_memory()
    job.progress.batch += 1
    job.progress.step += 1
    return measure(loss, logits, labels)


def progress_bar(job: Job) -> tqdm:
    """A bar over the batches of the current epoch; none where the output is not a terminal."""
    return tqdm(total=len(job.loader), initial=job.progress.batch, unit="batch",
                desc=f"epoch {job.progress.epoch + 1}/{job.recipe.epochs}",
                leave=False, disable=cli.hide_bars(), dynamic_ncols=True,
                miniters=1)  # it moves with time: tqdm's own guess stands still where steps vary


def log(job: Job, row: dict[str, Any]) -> None:
    """One more row of the log, in all its forms."""
    job.run.append_log(row)
    if job.other_log is not None:
        job.other_log.write(row)


def log_interval(job: Job, interval: Interval, now: float, forecast: Forecast, bar: tqdm) -> None:
    """One row of the log, and the end of the bar or, where there is no terminal to show one, a
    line; `now` is the stopwatch's time."""
    progress = job.progress
    seconds = now - interval.since
    row = {"kind": "interval", "step": progress.step,
           "epoch": progress.epoch + progress.batch / len(job.loader),
           "loss": interval.meter.mean_loss, "error": interval.meter.error, "lr": job.lr,
           "img_s": interval.meter.images / seconds,
           "wait": (job.loader.wait - interval.waited) / seconds,
           **ranks.interval_facts(job.parallel, seconds)}
    log(job, row)
    text = (f"loss {row['loss']:.3f}, {row['img_s']:,.0f} img/s, data wait {row['wait']:.0%}, "
            f"{cli.duration(forecast.left(progress.step))} left")
    bar.set_postfix_str(text)
    if bar.disable:
        print(f"  epoch {progress.epoch + 1}/{job.recipe.epochs}, step {progress.step:,} of "
              f"{forecast.total:,}: {text}")


def finish_epoch(job: Job, totals: Meter, pace: float, forecast: Forecast,
                 stop: StopSignal) -> None:
    """The validation error, the learning rate of the next epoch, a row of the log, a checkpoint,
    the best weights, the curves, one line on the screen. `totals` are the epoch's, `pace` is in
    images per second.

    Raises Stopped when a signal comes during the validation: the checkpoint is then that after the
    epoch's last batch, and a resumed run validates again.
    """
    progress = job.progress
    ranks.check_together(job.comm, job.parallel, job.optimizer, progress.epoch + 1)
    row: dict[str, Any] = {"kind": "epoch", "step": progress.step, "epoch": progress.epoch + 1,
                           "train_loss": totals.mean_loss, "train_error": totals.error,
                           "lr": job.lr, "seconds": round(progress.seconds, 1),
                           **cli.device_memory()}
    val = job.split.val
    if val is not None:
        try:
            probs = ranks.predict(job.comm, predict, job.model, val, job.still,
                                  progress=job.run.writes, check=stop.check)  # (N, K)
        except Stopped:
            save(job)
            raise
        row["val_loss"], row["val_error"], _ = error_rates(probs, val.labels)
    progress.start_next_epoch()
    job.schedule.step(row.get("val_error"))
    keep_best(job, row)  # before log and checkpoint, see training/best.py
    log(job, row)
    save(job)
    draw_curves(job)
    report(job, row, pace, forecast.left(progress.step))


def report(job: Job, row: dict[str, Any], pace: float, left: float) -> None:
    """The line of an epoch on the screen; `left` is in seconds."""
    progress = job.progress
    parts = [f"epoch {progress.epoch:>3}/{job.recipe.epochs}",
             f"train {row['train_loss']:.4f} {row['train_error']:5.2f} %"]
    if "val_error" in row:
        parts.append(f"val {row['val_loss']:.4f} {row['val_error']:5.2f} %")
    parts += [f"lr {row['lr']:.3g}", f"{pace:,.0f} img/s", cli.clock(progress.seconds)]
    if "device_memory_gb" in row:
        parts.append(f"{row['device_memory_gb']:.1f} GB")
    if not job.is_over:
        parts.append(f"{cli.duration(left)} left")
    print("   ".join(parts))


def save(job: Job) -> None:
    """Write the checkpoint; the one before it is kept. Raises DivergedError instead if a weight is
    not finite."""
    largest = abs(job.optimizer.flat).max()  # all parameters lie in one array
    check_finite(float(backend.to_numpy(largest)), "largest weight", job.progress.step)
    if job.parallel is not None:
        job.parallel.gather_state()
    totals = ranks.total(job.progress.totals, job.comm)
    if not job.run.writes:
        return
    optimizer = job.optimizer.state_dict()
    arrays = {**model_arrays(job), "optim.velocity": optimizer["velocity"]}
    meta = {"model": job.config["model"], "config": job.config, "version": __version__,
            **job.progress.to_meta(totals), "groups": optimizer["groups"],
            "schedule": job.schedule.state_dict()}
    checkpoint.save(job.run.checkpoint, arrays, meta, rotate=True)


def model_arrays(job: Job) -> dict[str, np.ndarray]:
    """The model as a checkpoint holds it: its weights and the mean image."""
    arrays = {f"model.{name}": array for name, array in job.model.state_dict().items()}
    return {**arrays, "data.mean": job.mean}


def keep_best(job: Job, row: dict[str, Any]) -> None:
    """Write the weights of an epoch, without momentum, if none before has a smaller validation
    error; `row` is what the log says of it."""
    new = job.best.after(row)
    is_better = new != job.best
    job.best = new
    if is_better and job.run.writes:
        meta = {"model": job.config["model"], "config": job.config, "version": __version__,
                "epoch": row["epoch"], "step": row["step"], "val_error": new.error}
        checkpoint.save(job.run.best, model_arrays(job), meta)


def draw_curves(job: Job) -> None:
    """The curves so far. A figure that cannot be drawn costs a line, not the training."""
    if not job.run.writes:
        return
    reason = ""
    try:
        plots.curves(job.run.read_log(), job.run.curves, job.title)
    except Exception as error:  # anything: the weights matter more
        reason = " ".join(str(error).split()) or type(error).__name__
    if reason and reason != job.no_curves:
        print(f"the curves are left out, the training goes on: {reason}", file=sys.stderr)
    job.no_curves = reason


def check_loss(meter: Meter, step: int, model: Network, x: Any) -> None:
    """Raises DivergedError when the loss is NaN or infinite, after printing what the layers make
    of the batch `x`."""
    if not math.isfinite(meter.loss) and x is not None and len(x):
        model.eval()
        print("\n" + profile.statistics(model, Tensor(backend.asarray(x))), file=sys.stderr)
    check_finite(meter.loss, "loss", step)


def check_finite(value: float, what: str, step: int) -> None:
    """Raises DivergedError when the value is NaN or infinite."""
    if not math.isfinite(value):
        raise DivergedError(f"the {what} is {value} by step {step:,}: training stops; try a "
                            "lower --lr or --set warmup_epochs=1. The last checkpoint, if "
                            "there is one, is from before that")


# After the loop.


def record(job: Job, stop: StopSignal) -> None:
    """Read the test set, for the first and only time; write the result. Raises Stopped when a
    signal comes before all of it is read: a resumed run begins the test again."""
    test = job.split.test
    progress = job.progress
    outcome = return_to_best(job)
    probs = ranks.predict(job.comm, predict, job.model, test, job.still,
                          progress=job.run.writes, check=stop.check)  # (N, K)
    loss, top1, top5 = error_rates(probs, test.labels)
    log(job, {"kind": "test", "step": progress.step, "epoch": progress.epoch,
              "test_loss": loss, "test_error": top1})
    draw_curves(job)

    curve = []
    for row in job.run.read_log():
        if row.pop("kind") == "epoch":
            del row["step"]
            curve.append({name: round(value, 4) for name, value in row.items()})
    config = job.config
    job.run.write_json(job.run.result, {
        **runs.provenance(config["seed"]), **cli.device_record(config),
        "command": config["command"],  # of the first session, where the run was resumed
        "model": config["model"], "model_fields": config["model_fields"], "data": config["data"],
        "recipe": job.recipe.to_json(), "val_split": config["val_split"],
        "train_images": len(job.split.train), "test_images": len(test),
        "seconds": round(progress.seconds, 1), **outcome,
        "test": {"view": "single", "loss": round(loss, 4), "top1_error": round(top1, 2),
                 "top5_error": round(top5, 2)},
        "curve": curve})
    print(f"\ntest accuracy {100 - top1:.2f} %  (error {top1:.2f} %, loss {loss:.4f}) on "
          f"{len(test):,} images of {test.name}, after {cli.clock(progress.seconds)} of training")
    print(f"curves        {job.run.curves}\nmodel         {job.run.measured()}")
    if job.best.epoch and not outcome:
        print(f"best          epoch {job.best.epoch}, {job.best.error:.2f} % validation error: "
              f"{job.run.best}")


def return_to_best(job: Job) -> dict[str, Any]:
    """With --early-stop, the model takes back the weights of the best epoch, which are the ones to
    test. Returns what the result notes of it."""
    if not job.config.get("early_stop") or not job.best.epoch:
        return {}
    if not ranks.ask_first(job.comm, job.run.best.exists):
        return {}
    arrays, _ = ranks.read_checkpoint(job.comm, job.run.best)
    job.model.load_state_dict({name.removeprefix("model."): array
                               for name, array in arrays.items() if name.startswith("model.")})
    return {"weights": job.run.best.name, "best_epoch": job.best.epoch}


# What is printed before the first step.


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
    ranks.describe(job.comm, recipe.batch_size, config, resumed=job.source is not None)
    count = sum(parameter.size for parameter in model.parameters())
    side = model.image_size
    print(f"model       {config['model']}, {count:,} parameters, input 3 x {side} x {side}")
    for deviation in model.deviations:
        print(f"            differs: {deviation}")
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
    n_bytes = profile.step_bytes(model, recipe.batch_size)
    print(f"memory      about {n_bytes / 1e6:,.0f} MB per step")


def explain(job: Job, args: argparse.Namespace) -> None:
    """Print what --dry-run, --check-init and --find-lr ask for."""
    if args.dry_run:
        print("\n" + profile.layer_table(job.model))
    if args.check_init:
        images = job.still(job.split.train.images[:32])
        x = Tensor(backend.asarray(images.transpose(0, 3, 1, 2)))  # (N, H, W, 3) -> (N, 3, H, W)
        signals = profile.signal_ratios(job.model, x)
        print(f"\n{profile.signal_table(signals)}\n{profile.signal_verdict(signals) or 'healthy'}")
    if args.find_lr:
        find_rate(job)


def find_rate(job: Job) -> None:
    """Train for a hundred steps at rates from low to high, and draw the loss over the rate next to
    the run's directory. Nothing else is written."""
    if job.comm.size > 1:
        raise UsageError("--find-lr trains in one process; leave --ranks out")
    job.model.train()
    change_rates(job.optimizer, job.recipe, job.progress.epoch)  # frozen layers stay frozen
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
    print(f"\n{len(test.rates)} steps at rates from {test.rates[0]:.1e} to {test.rates[-1]:.1e}: the "
          f"loss was least at {test.best:.1e}; try --lr {test.suggestion:g}, a tenth of it\n{file}")


if __name__ == "__main__":
    cli.run_cli(main)
