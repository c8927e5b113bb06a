"""The files of a training while it runs: its directory at the start, the log, the checkpoints, the
best weights.

All ranks call these functions, since weights and velocities are gathered from all of them; rank 0
alone writes (`Run.writes`).
"""
import math
from typing import Any

import numpy as np

from .. import backend
from ..errors import DivergedError
from ..files import write_atomic
from . import checkpoint, logs, ranks, runs
from .session import Job


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
    # After a resume the command stays that of the first session: it is the run's.
    job.config |= ranks.entries(job.comm, job.config)
    job.config.setdefault("command", runs.provenance(job.config["seed"])["command"])
    job.run.write_json(job.run.config, job.config)
    if job.run.writes:
        job.other_log = logs.open_log(job.config.get("log"), job.run)
    if not job.is_over:
        print("each epoch  loss and top-1 error of the training images, of the validation images; "
              "learning rate, speed, time")


def log(job: Job, row: dict[str, Any]) -> None:
    """One more row of the log, in all its forms."""
    job.run.append_log(row)
    if job.other_log is not None:
        job.other_log.write(row)


def save(job: Job) -> None:
    """Write the checkpoint; the one before it is kept. Raises DivergedError instead if a weight is
    not finite."""
    largest = abs(job.optimizer.flat).max()  # all parameters lie in one array
    check_finite(float(backend.to_numpy(largest)), "largest weight", job.progress.step)
    if job.parallel is not None:  # by all ranks, the ones that do not write too
        job.parallel.gather_state()
    totals = ranks.total(job.progress.totals, job.comm)
    if not job.run.writes:
        return
    optimizer = job.optimizer.state_dict()
    arrays = {**model_arrays(job), "optim.velocity": optimizer["velocity"]}
    meta = {"model": job.config["model"], "config": job.config, "version": job.version,
            **job.progress.to_meta(totals), "groups": optimizer["groups"],
            "schedule": job.schedule.state_dict()}
    checkpoint.save(job.run.checkpoint, arrays, meta, rotate=True)


def keep_best(job: Job, row: dict[str, Any]) -> None:
    """Write the weights of an epoch, without momentum, if none before has a smaller validation
    error; `row` is what the log says of it."""
    new = job.best.after(row)  # the same object where the row is no better
    is_better = new != job.best
    job.best = new
    if is_better and job.run.writes:
        meta = {"model": job.config["model"], "config": job.config, "version": job.version,
                "epoch": row["epoch"], "step": row["step"], "val_error": new.error}
        checkpoint.save(job.run.best, model_arrays(job), meta)


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


def model_arrays(job: Job) -> dict[str, np.ndarray]:
    """The model as a checkpoint holds it: its weights and the mean image."""
    arrays = {f"model.{name}": array for name, array in job.model.state_dict().items()}
    return {**arrays, "data.mean": job.mean}


def check_finite(value: float, what: str, step: int) -> None:
    """Raises DivergedError when the value is NaN or infinite."""
    if not math.isfinite(value):
        raise DivergedError(f"the {what} is {value} by step {step:,}: training stops; try a "
                            "lower --lr or --set warmup_epochs=1. The last checkpoint, if "
                            "there is one, is from before that")
