"""What `train` shows while it runs: a bar, one line per interval, one line per epoch."""
from typing import Any

from tqdm import tqdm

from . import cli, ranks, saving
from .progress import Forecast, Interval
from .session import Job


def progress_bar(job: Job) -> tqdm:
    """A bar over the batches of the current epoch; none where the output is not a terminal."""
    return tqdm(total=len(job.loader), initial=job.progress.batch, unit="batch",
                desc=f"epoch {job.progress.epoch + 1}/{job.recipe.epochs}",
                leave=False, disable=cli.hide_bars(), dynamic_ncols=True,
                miniters=1)  # it moves with time: tqdm's own guess stands still where steps vary


def log_interval(job: Job, interval: Interval, now: float, forecast: Forecast, bar: tqdm) -> None:
    """One row of the log, and the end of the bar or, where there is no terminal to show one, a
    line; `now` is the stopwatch's time."""
    progress = job.progress
    seconds = now - interval.since  # of computing and waiting, without evaluations
    row = {"kind": "interval", "step": progress.step,
           "epoch": progress.epoch + progress.batch / len(job.loader),
           "loss": interval.meter.mean_loss, "error": interval.meter.error, "lr": job.lr,
           "img_s": interval.meter.images / seconds,
           "wait": (job.loader.wait - interval.waited) / seconds,
           **ranks.interval_facts(job.parallel, seconds)}
    saving.log(job, row)
    text = (f"loss {row['loss']:.3f}, {row['img_s']:,.0f} img/s, data wait {row['wait']:.0%}, "
            f"{cli.duration(forecast.left(progress.step))} left")
    bar.set_postfix_str(text)
    if bar.disable:
        print(f"  epoch {progress.epoch + 1}/{job.recipe.epochs}, step {progress.step:,} of "
              f"{forecast.total:,}: {text}")


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
    if not job.is_over:  # with --early-stop less than the forecast may be left
        parts.append(f"{cli.duration(left)} left")
    print("   ".join(parts))
