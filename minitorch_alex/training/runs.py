"""A run: its directory, the files in it, and how a trained model comes back from it.

    runs/<name>/config.json              every setting, and the command
                settings.toml            the settings as a file for --config
                log.jsonl                one JSON object per line: intervals and epochs
                curves.png               the same as a figure, redrawn each epoch
                checkpoint.safetensors   and checkpoint.previous.safetensors, the one before it
                best.safetensors         the weights with the least validation error
                result.json              the final numbers with command, commit, seed, device, date
"""
import functools
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import backend, data, models, streams
from ..data import Dataset
from ..errors import DataError, RunError
from ..files import disk_error, write_atomic
from ..kernels import get_threads
from ..models import Network, Recipe
from . import checkpoint, class_list

PACKAGE = Path(__file__).parent.parent
PRETRAINED = PACKAGE / "pretrained"  # a run as `slim` leaves it
# The figures that `plots` draws into a run's directory.
FIGURES = ("kernels", "maps", "activations", "predictions", "neighbours", "curves-compared", "cam",
           "saliency", "occlusion", "deconv", "mistakes")


class Run:
    """The paths of one run directory. Only one of several ranks `writes`: for the others the
    methods that write do nothing, so all of them may call them."""

    def __init__(self, directory: str | os.PathLike, writes: bool = True) -> None:
        self.directory = Path(directory)
        self.writes = writes
        self.config = self.directory / "config.json"
        self.log = self.directory / "log.jsonl"
        self.settings = self.directory / "settings.toml"
        self.table = self.directory / "metrics.csv"
        self.curves = self.directory / "curves.png"
        self.best = self.directory / "best.safetensors"
        self.checkpoint = self.directory / "checkpoint.safetensors"
        self.result = self.directory / "result.json"

    @property
    def is_bundled(self) -> bool:
        """Whether it is the model that comes with the package, which is not the user's to write
        to."""
        return self.directory.resolve() == PRETRAINED.resolve()

    def exists(self) -> bool:
        """Whether there is a run to resume: one that was stopped before its first checkpoint does
        not count."""
        return self.checkpoint.exists() or checkpoint.previous(self.checkpoint).exists()

    def read_config(self) -> dict[str, Any]:
        """The settings of the run. Raises RunError when there are none."""
        try:
            return json.loads(self.config.read_text())
        except FileNotFoundError:
            raise RunError(f"there is no run in {self.directory} (no {self.config.name}); "
                           "start one with python -m minitorch_alex.train") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.config} cannot be read: {error}") from None

    def clear(self) -> None:
        """Remove the files of an earlier run of this name, and nothing else in the directory.
        Raises DiskError when one cannot be removed."""
        if not self.writes:
            return
        files = [self.config, self.settings, self.log, self.table, self.curves, self.result,
                 self.best, self.checkpoint, checkpoint.previous(self.checkpoint)]
        files += [self.directory / f"{name}.png" for name in FIGURES]
        files += [self.directory / "mistakes.csv", *self.directory.glob("evaluate-*.json")]
        files += self.directory.glob("confusion-*.png")
        files += self.directory.glob("events.out.tfevents.*")
        for file in files:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(file, error, action="remove") from error

    def write_json(self, path: Path, value: Any) -> None:
        """Write `value` as indented JSON, whole or not at all. Raises DiskError when it cannot be
        written."""
        if not self.writes:
            return
        write_atomic(path, [(json.dumps(value, indent=1, allow_nan=False) + "\n").encode()])

    def append_log(self, row: dict[str, Any]) -> None:
        """Write one more line of the log. Raises DiskError when it cannot be written."""
        if not self.writes:
            return
        try:
            with open(self.log, "a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise disk_error(self.log, error) from error

    def read_log(self) -> list[dict[str, Any]]:
        """All lines of the log, without one that a kill cut short."""
        if not self.log.exists():
            return []
        rows = []
        for line in self.log.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def measured(self) -> Path:
        """The checkpoint with which the run's result was measured: the best one where training
        ended with it (--early-stop), else the last."""
        try:
            result = json.loads(self.result.read_text())
        except (OSError, ValueError):  # not finished: the last one is all there is
            return self.checkpoint
        is_best = result.get("weights") == self.best.name and self.best.exists()
        return self.best if is_best else self.checkpoint

    def truncate_log(self, step: int) -> None:
        """Drop the lines after `step`, and the test: a resumed run writes them again. The log is
        replaced as a whole."""
        if not self.writes:
            return
        rows = [row for row in self.read_log() if row["step"] <= step and row["kind"] != "test"]
        write_atomic(self.log, ["".join(json.dumps(row) + "\n" for row in rows).encode()])


Contents = tuple[dict[str, np.ndarray], dict[str, Any]]  # what checkpoint.load gives


class Saved(NamedTuple):
    """What a checkpoint holds: the model with its weights, all arrays by name, and the meta
    dictionary."""

    model: Network
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


class Split(NamedTuple):
    """The images of a run: to train, to validate (None without a validation split) and to test."""

    train: Dataset
    val: Dataset | None
    test: Dataset


def find(path: str | os.PathLike, use_previous: bool = False,
         to_resume: bool = False) -> tuple[Run, Path]:
    """The run and the checkpoint file that a path means: a run directory, a checkpoint in one, or
    "pretrained", the model that comes with the package.

    Of a directory it is the one that the run's result was measured with (Run.measured), the one
    before the last with `use_previous`, or the last one with `to_resume`. Raises RunError when
    there is neither.
    """
    path = Path(path)
    if str(path) == PRETRAINED.name and not path.exists():
        path = PRETRAINED
    if path.is_dir():
        run = Run(path)
        file = run.checkpoint if to_resume else run.measured()
        if use_previous:
            file = checkpoint.previous(run.checkpoint)
    else:
        run = Run(path.parent)
        file = path
    if not file.exists():
        raise RunError(f"there is no checkpoint at {file}; give a run directory such as "
                       "runs/NAME, or a checkpoint.safetensors in one")
    if path.is_file() and not run.config.exists():
        advice = f"; to start from these weights: --weights {file}" if to_resume else ""
        raise RunError(f"{file} is not in a run directory (no {run.config.name} next to it); give "
                       f"a run such as runs/NAME, or a checkpoint.safetensors in one{advice}")
    return run, file


def load_model(file: Path, config: dict[str, Any],
               read: Callable[[Path], Contents] = checkpoint.load) -> Saved:
    """The model of a run with the weights of a checkpoint, as `read` gives them; `config` takes
    over the names of the classes from it. Raises RunError when the weights belong to another model
    or other classes."""
    arrays, meta = read(file)
    streams.manual_seed(config["seed"])
    model = models.build(config["model"], config["num_classes"], **models.fields_of_run(config))
    weights = {name.removeprefix("model."): array for name, array in arrays.items()
               if name.startswith("model.")}
    if meta.get("model") != config["model"]:
        raise RunError(f"{file} holds the model {meta.get('model')!r}, not {config['model']!r}, "
                       "as the run does")
    class_list.adopt(config, meta, file)
    try:
        model.load_state_dict(weights)
    except RunError as error:
        raise RunError(f"{file}: {error}") from None
    return Saved(model, arrays, meta)


def load_data(config: dict[str, Any], download: bool = False) -> Split:
    """The images of a run, from its settings. Raises DataError when missing or damaged."""
    data_dir = find_data(config)
    moved = "train_images" in config and not Path(data_dir).exists()
    if moved and config["data"] != "shapes" and not download:
        raise DataError(f"there is no {data_dir} (seen from {Path.cwd()}), where the "
                        "data of this run was; point --data-dir to it")
    # A run from before folders of three parts were read has no entry of their kind.
    kind = {"kind": config["data_parts"]} if "data_parts" in config else {}
    train, val, test = data.load_parts(config["data"], data_dir, download,
                                       size=config["data_size"], seed=0, **kind)
    if config.get("scale"):
        train = data.scaled(train, config["scale"])
        val = data.scaled(val, config["scale"]) if val is not None else None
        test = data.scaled(test, config["scale"])
    if val is None and config["val_split"]:
        train, val = train.split(config["val_split"], config["seed"])
    if config["limit"]:
        train = train.subset(slice(config["limit"]))
    return Split(train, val, test)


def data_place(data_dir: str) -> dict[str, str]:
    """What a configuration keeps of where its data is: the path as it was typed, and in full."""
    return {data_dir: str(Path(data_dir).absolute())}


def find_data(config: dict[str, Any]) -> str:
    """Where the data of a run is: its data_dir as it was typed or, seen from another directory,
    the same place in full."""
    data_dir = config["data_dir"]
    place = config.get("data_place", {}).get(data_dir)
    if place and not Path(data_dir).exists() and Path(place).exists():
        return place
    return data_dir


def build_transform(config: dict[str, Any], mean: np.ndarray, train: Dataset | None = None,
                    epoch: int = 0) -> data.Transform:
    """The transform of a run: minus the mean image, and in training the crops, flips and colour
    noise of its recipe in that epoch."""
    recipe = Recipe.from_json(config["recipe"]).at(epoch)
    pca = train.color_pca() if recipe.color != "none" and train is not None else None
    convention = "source" if recipe.color == "none" else recipe.color
    return data.Transform(mean, crop=recipe.crop or None, pad=recipe.pad, flip=recipe.flip,
                          pca=pca, convention=convention, enlarge=recipe.enlarge or None,
                          crop_chunk=recipe.crop_chunk,
                          mean_follows_crop=recipe.mean_follows_crop, mix=recipe.mix)


def tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as they were before JSON turned tuples into lists."""
    return {name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()}


def slim(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Write to a new directory what another person needs of a finished run: the weights in half
    precision, the mean image, settings and result. There is no momentum, so it can predict and be
    evaluated, but not be resumed. Raises RunError when `source` is not finished, DiskError when
    `target` cannot be written."""
    run, file = find(source)
    if not run.result.exists():
        raise RunError(f"the run in {run.directory} is not finished (no {run.result.name}); "
                       "--resume it first")
    arrays, meta = checkpoint.load(file)
    kept = {name: a.astype(np.float16) for name, a in arrays.items() if name.startswith("model.")}
    kept |= {name: a for name, a in arrays.items() if name.startswith("data.")}
    slimmed = Run(target)
    config = run.read_config()
    for settings in (config, meta.get("config", {})):
        settings.pop("data_place", None)  # on the machine that it was trained on
    checkpoint.save(slimmed.checkpoint, kept, meta)
    slimmed.write_json(slimmed.config, config)
    slimmed.write_json(slimmed.result, json.loads(run.result.read_text()))


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines
                    if line.startswith("model name"))
    except (OSError, IndexError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str | None:
    """What this code is: MINITORCH_COMMIT of the environment, for a copy of the files without git;
    else what git says; None without either."""
    return os.environ.get("MINITORCH_COMMIT") or _commit_of_git()


@functools.cache
def _commit_of_git() -> str | None:
    """What git says, asked once in a process."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=PACKAGE, text=True, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def provenance(seed: int) -> dict[str, Any]:
    """Where a number comes from: command, commit, seed, device, versions and date."""
    program = Path(sys.argv[0])
    is_ours = program.parent in (PACKAGE, PACKAGE.parent / "benchmarks")
    module = f"{program.parent.name}.{program.stem}"
    name = ["python", "-m", module] if is_ours else [program.name]
    return {"command": shlex.join([*name, *sys.argv[1:]]), "commit": commit(), "seed": seed,
            "backend": backend.current().name, "device": f"{cpu_name()}, {get_threads()} threads",
            "python": platform.python_version(), "numpy": np.__version__,
            "date": time.strftime("%Y-%m-%d")}
