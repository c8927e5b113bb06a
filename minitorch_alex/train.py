"""python -m minitorch_alex.train: train a network on the framework of this package, from scratch
or from trained weights.

Reads from top to bottom: `prepare` makes everything that a training needs, `train` is the loop,
`record` reads the test set once and writes the result.

    prepare ──> Job ──> train ──────────────────────────────────────> record
                         └─ each epoch: take_step ... finish_epoch ─┘

What these call is in training/, one file for each question: what a training needs (session.py),
whether everything fits together (preparation.py), the files of a run (saving.py), the lines on the
screen (display.py), several processes (ranks/). The flags, named as in pytorch/examples, are a
table in training/settings.py; what is told before the first step is in preview.py.
"""
import argparse
import math
import sys
import warnings
from typing import Any

from . import __version__, backend, data, kernels, plots, preview, profile, streams
from .check import mine
from .comm import choose_device
from .evaluate import error_rates, predict, rounded
from .models import Network, Recipe
from .models.recipe import change_rates, hold_frozen_norms
from .tensor import Tensor
from .training import (
    cli,
    convolution,
    display,
    feed,
    logs,
    preparation,
    ranks,
    runs,
    saving,
    settings,
)
from .training.cut import CutParallel
from .training.objective import build_loss
from .training.progress import Forecast, Interval, Meter, Progress, Stopwatch, measure
from .training.session import Job
from .training.stopping import Stopped, StopSignal


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
    preview.describe(job)
    if args.dry_run or args.check_init or args.find_lr:
        preview.explain(job, args, take_step)
        return 0
    saving.open_directory(job)
    if job.source is None and job.run.writes:
        settings.keep(job.run, args, given)
    code = 0
    # Ctrl-C, say: the loop ends after a step, a test at once.
    with StopSignal(job.comm) as stop, warnings.catch_warnings():
        # A training that diverges overflows first. DivergedError says so, once.
        warnings.filterwarnings("ignore", preview.OVERFLOWS, RuntimeWarning)
        try:
            train(job, stop)
            record(job, stop)
            stop.check()
        except Stopped as stopped:
            print(f"\nstopped by {stopped} after step {job.progress.step:,}; resume with\n"
                  f"  python -m minitorch_alex.train --resume {job.run.directory}")
            code = 128 + stopped.number
        finally:
            if job.other_log is not None:
                job.other_log.close()
    if job.parallel is not None:
        job.parallel.close()
    return code


# Before the loop.


def prepare(args: argparse.Namespace, given: set[str]) -> Job:
    """Everything that the training needs, for a new run or from the checkpoint of one that is
    resumed. Writes nothing.

    Raises a UserError for anything that does not fit together: flags, data, run, checkpoint.
    """
    kernels.keep_freed_memory()
    comm = ranks.start(args.timeout, __version__)
    start = preparation.open_start(args, given)
    run, source = ranks.find(comm, lambda: preparation.find_run(args))
    config: dict[str, Any] = {}
    if source:
        config = ranks.ask_first(comm, lambda: settings.resumed_config(run, args, given))
    cli.use_device({**vars(args), **config})  # a resumed run uses the device that it had
    choose_device(comm)
    if args.mine is not None:
        mine.use(args.mine or None)

    # The model comes first, because the size of its images and its recipe decide how the data is
    # read.
    saved = None
    if source is None:
        config, model = preparation.new_model(args, given, start, __version__)
    else:
        saved = preparation.load_checkpoint(source, config, comm)
        model = saved.model
    progress = Progress.from_meta(saved.meta, comm.rank) if saved else Progress()
    # Sums over threads round differently: a run keeps its number of threads, or the last bits
    # would differ.
    config["threads"] = kernels.get_threads()
    config |= ranks.parallel_entry(args, given, config, comm)
    recipe = Recipe.from_json(config["recipe"])
    logs.check(config.get("log"))
    remarks = {} if saved else preparation.begin(args, given, config, model, start)

    with ranks.in_turn(comm):
        split = runs.load_data(config, download=not (args.dry_run or args.check_init))
    preparation.check_data(split.train, config)
    mean = preparation.mean_image(saved, start, split.train, config)
    transform = runs.build_transform(config, mean, split.train, progress.epoch)
    still = transform.eval()
    preparation.check_image_size(still, split.train, model, config)

    optimizer, schedule = preparation.build_update(model, recipe, saved)
    loader = data.Loader(split.train, recipe.batch_size, transform, config["seed"],
                         workers=config["workers"], reshuffle=recipe.reshuffle,
                         part=ranks.part_of_batch(comm, model, config))
    parallel = ranks.data_parallel(comm, model, optimizer, config, recipe, split)
    if not (args.dry_run or args.check_init or args.find_lr):
        networks = [model, parallel.net] if isinstance(parallel, CutParallel) else [model]
        convolution.use(config, networks, recipe.batch_size, comm)
    loss = build_loss(recipe, split.train.labels, config["num_classes"])
    best = preparation.best_so_far(run, progress, comm)
    return Job(run, config, recipe, model, optimizer, schedule, split, mean, still, loader,
               progress, loss, source, comm, parallel, __version__, remarks, best)


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
        hold_frozen_norms(job.model)
        if job.recipe.at(progress.epoch) != job.recipe.at(max(progress.epoch - 1, 0)):
            loader.transform = job.transform(progress.epoch)
            batches = feed.feed(loader)   # a feed keeps the transform that it was made with
        begin = watch.seconds
        # Not 0 in the epoch that a run is resumed in.
        images_before = ranks.images(progress.totals, job.comm)

        with display.progress_bar(job) as bar:
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
                    display.log_interval(job, interval, now, forecast, bar)
                    interval = Interval(now, loader.wait)

                # A checkpoint every checkpoint_freq steps; finish_epoch writes that of an epoch.
                due = stop.poll() or progress.step % checkpoint_freq == 0
                if due and progress.batch < len(loader):
                    progress.seconds = watch.seconds
                    saving.save(job)
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


def finish_epoch(job: Job, totals: Meter, pace: float, forecast: Forecast,
                 stop: StopSignal) -> None:
    """The validation error, the learning rate of the next epoch, a row of the log, a checkpoint,
    the best weights, the curves, one line on the screen. `totals` are the epoch's, `pace` is in
    images per second.

    Raises Stopped when a signal comes during the validation: the checkpoint is then that after the
    epoch's last batch, and a resumed run validates again.
    """
    progress = job.progress
    ranks.check_together(job.comm, job.parallel, job.model, job.optimizer, progress.epoch + 1)
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
            saving.save(job)
            raise
        row["val_loss"], row["val_error"], _ = error_rates(probs, val.labels)
    progress.start_next_epoch()
    job.schedule.step(row.get("val_error"))
    saving.keep_best(job, row)  # before log and checkpoint, see training/best.py
    saving.log(job, row)
    saving.save(job)
    draw_curves(job)
    display.report(job, row, pace, forecast.left(progress.step))


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
    saving.check_finite(meter.loss, "loss", step)


# After the loop.


def record(job: Job, stop: StopSignal) -> None:
    """Read the test set, for the first and only time; write the result. Raises Stopped when a
    signal comes before all of it is read: a resumed run begins the test again."""
    test = job.split.test
    progress = job.progress
    outcome = saving.return_to_best(job)
    probs = ranks.predict(job.comm, predict, job.model, test, job.still,
                          progress=job.run.writes, check=stop.check)  # (N, K)
    loss, top1, top5 = error_rates(probs, test.labels)
    saving.log(job, {"kind": "test", "step": progress.step, "epoch": progress.epoch,
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
        "test": {"view": "single", **rounded(loss, top1, top5, config["num_classes"])},
        "curve": curve})
    print(f"\ntest accuracy {100 - top1:.2f} %  (error {top1:.2f} %, loss {loss:.4f}) on "
          f"{len(test):,} images of {test.name}, after {cli.clock(progress.seconds)} of training")
    print(f"curves        {job.run.curves}\nmodel         {job.run.measured()}")
    if job.best.epoch and not outcome:
        print(f"best          epoch {job.best.epoch}, {job.best.error:.2f} % validation error: "
              f"{job.run.best}")


if __name__ == "__main__":
    cli.run_cli(main)
