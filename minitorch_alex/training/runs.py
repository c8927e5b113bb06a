"""A run: its directory, what stands in it, and how a trained model comes back from it.

    runs/<name>/config.json              every setting, and the command
                log.jsonl                one JSON object a line: intervals and epochs
                curves.png               the same as a picture, redrawn each epoch
                checkpoint.safetensors   and checkpoint.previous.safetensors, the one before it
                result.json              the final numbers with command, commit, seed, device and date
"""
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, data, models, streams
from ..errors import RunError
from ..files import disk_error, write_atomic
from ..kernels import get_threads
from ..nn import Module
from . import checkpoint

PACKAGE = Path(__file__).parent.parent
PRETRAINED = PACKAGE / "pretrained"  # a run as `slim` leaves it


class Run:
    """The paths of one run directory."""

    def __init__(self, directory: str | os.PathLike) -> None:
        self.directory = Path(directory)
        self.config = self.directory / "config.json"
        self.log = self.directory / "log.jsonl"
        self.curves = self.directory / "curves.png"
        self.checkpoint = self.directory / "checkpoint.safetensors"
        self.result = self.directory / "result.json"

    def exists(self) -> bool:
        """Whether there is a run to go on with: a run that was stopped before its first checkpoint is none."""
        return self.checkpoint.exists() or checkpoint.previous(self.checkpoint).exists()

    def read_config(self) -> dict[str, Any]:
        """The settings of the run; RunError when there are none."""
        try:
            return json.loads(self.config.read_text())
        except FileNotFoundError:
            raise RunError(f"there is no run in {self.directory} (no {self.config.name}); start one with "
                           "python -m minitorch_alex.train") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.config} cannot be read: {error}") from None

    def clear(self) -> None:
        """Remove what an earlier run of this name left, and nothing else that may stand there."""
        checkpoints = self.checkpoint, checkpoint.previous(self.checkpoint)
        drawn = ("kernels", "maps", "activations", "predictions", "neighbours", "curves-compared")  # by plots
        for file in (self.config, self.log, self.curves, *checkpoints, self.result,
                     *(self.directory / f"{name}.png" for name in drawn),
                     *self.directory.glob("evaluate-*.json"), *self.directory.glob("confusion-*.png")):
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(file, error, action="remove") from error

    def write_json(self, path: Path, value: Any) -> None:
        """`value` as indented JSON, atomically."""
        write_atomic(path, [(json.dumps(value, indent=1, allow_nan=False) + "\n").encode()])

    def append_log(self, row: dict[str, Any]) -> None:
        """One more line of the log."""
        try:
            with open(self.log, "a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise disk_error(self.log, error) from error

    def read_log(self) -> list[dict[str, Any]]:
        """All lines of the log; one cut short by a kill is left out."""
        rows = []
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def truncate_log(self, step: int) -> None:
        """Drop the lines after `step`, and the test: a resumed run writes them again. Atomic."""
        rows = [row for row in self.read_log() if row["step"] <= step and row["kind"] != "test"]
        write_atomic(self.log, ["".join(json.dumps(row) + "\n" for row in rows).encode()])


def find(path: str | os.PathLike, use_previous: bool = False) -> tuple[Run, Path]:
    """The run and the checkpoint file that a path means: a run directory, or a checkpoint in one. RunError when there
    is neither."""
    path = Path(path)
    if path.is_dir():
        run = Run(path)
        file = checkpoint.previous(run.checkpoint) if use_previous else run.checkpoint
    else:
        run, file = Run(path.parent), path
    if not file.exists():
        raise RunError(f"there is no checkpoint at {file}; give a run directory such as runs/NAME, or a "
                       "checkpoint.safetensors in one")
    return run, file


def load_model(file: Path, config: dict[str, Any]) -> tuple[Module, dict[str, np.ndarray], dict[str, Any]]:
    """(model with the checkpoint's weights, all arrays, meta). RunError when it belongs to another model."""
    arrays, meta = checkpoint.load(file)
    streams.manual_seed(config["seed"])
    model = models.build(config["model"], config["num_classes"], **tuples(config["model_fields"]))
    weights = {name.removeprefix("model."): a for name, a in arrays.items() if name.startswith("model.")}
    if meta.get("model") != config["model"]:
        raise RunError(f"{file} holds the model {meta.get('model')!r}, not {config['model']!r}, as the run does")
    try:
        model.load_state_dict(weights)
    except RunError as error:
        raise RunError(f"{file}: {error}") from None
    return model, arrays, meta


def slim(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """What another person needs of a finished run, in a new directory: the weights in half precision, the mean image,
    settings and result. No momentum: it is a run to predict and evaluate with, not to go on from. RunError when
    `source` is not finished; DiskError when `target` cannot be written."""
    run, file = find(source)
    if not run.result.exists():
        raise RunError(f"the run in {run.directory} is not finished (no {run.result.name}); --resume it first")
    arrays, meta = checkpoint.load(file)
    kept = {name: a.astype(np.float16) if name.startswith("model.") else a for name, a in arrays.items()
            if name.startswith(("model.", "data."))}
    slimmed = Run(target)
    checkpoint.save(slimmed.checkpoint, kept, meta)
    slimmed.write_json(slimmed.config, run.read_config())
    slimmed.write_json(slimmed.result, json.loads(run.result.read_text()))


def tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as they were before JSON made lists of tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    try:
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def provenance(seed: int) -> dict[str, Any]:
    """Where a number comes from: command, commit, seed, device, versions and date."""
    try:
        commit = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=PACKAGE, text=True,
                                capture_output=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    program = Path(sys.argv[0])
    name = ["python", "-m", f"{PACKAGE.name}.{program.stem}"] if program.parent == PACKAGE else [program.name]
    return {"command": shlex.join([*name, *sys.argv[1:]]), "commit": commit, "seed": seed,
            "backend": backend.current().name, "device": f"{cpu_name()}, {get_threads()} threads",
            "python": platform.python_version(),
            "numpy": np.__version__, "date": time.strftime("%Y-%m-%d")}


def load_data(config: dict[str, Any]) -> dict[str, data.Dataset | None]:
    """{"train", "val", "test"} as a run's settings say; "val" is None without a validation split."""
    train, test = data.load(config["data"], config["data_dir"], download=config.get("download", False),
                            size=config["data_size"], seed=0)
    val = None
    if config["val_split"]:
        train, val = train.split(config["val_split"], config["seed"])
    if config["limit"]:
        train = train.subset(slice(config["limit"]))
    return {"train": train, "val": val, "test": test}


def build_transform(config: dict[str, Any], mean: np.ndarray, train: data.Dataset | None = None,
                    epoch: int = 0) -> data.Transform:
    """The transform of a run: the mean image, and in training what its recipe says of crops, flips and colour in that
    epoch."""
    recipe = models.Recipe.from_json(config["recipe"]).at(epoch)
    pca = train.color_pca() if recipe.color != "none" and train is not None else None
    return data.Transform(mean, crop=recipe.crop or None, pad=recipe.pad, flip=recipe.flip, pca=pca,
                          convention="source" if recipe.color == "none" else recipe.color,
                          enlarge=recipe.enlarge or None)
