"""The convolutions of a model on the CPU: each by the algorithm that is faster for it here."""
import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, kernels
from ..comm import Comm
from ..errors import DiskError
from ..files import write_atomic
from ..kernels.cpu import algorithms, tuning
from ..kernels.cpu.algorithms import Algorithm, Problem
from ..kernels.window import ceil_div
from ..models import Network
from ..nn import Conv2d, in_mode
from ..tensor import Tensor
from . import runs

Choices = dict[str, Algorithm]  # Problem, as text -> its algorithm


def use(config: dict[str, Any], networks: Sequence[Network], images: int, ranks: Comm) -> None:
    """What the setting --conv auto means for a training by batches of so many images: what the run
    has, else what is faster now on rank 0, noted in `config` for the run to keep.

    The networks are the one that is trained, and the part of it that each rank computes where it
    is cut. All ranks call this. Times are never twice the same, so --deterministic has everything
    computed by im2col.
    """
    if config["conv"] != "auto" or backend.current().name != "numpy":
        return
    if "convolutions" not in config:
        # On every rank, since a cut network is run by all of them together.
        layers = [layer for network in networks for layer in problems_of(network).values()]
        choices = {}
        if ranks.rank == 0 and not config["deterministic"]:
            # What is computed at a time: a piece of the batch, or this rank's part of it.
            pieces = config.get("shards") or ranks.size
            choices = faster(layers, ceil_div(images, pieces))
        with ranks.patience():
            config["convolutions"] = ranks.broadcast(choices)
    algorithms.use(config["convolutions"])


def use_for_inference(config: dict[str, Any], model: Network, images: int) -> None:
    """What --conv auto means for a model that a training has left: what it was trained by, so that
    its outputs are the same to the last bit."""
    if backend.current().name != "numpy":
        return
    upgrade(config)
    policy = config["conv"]
    if policy == "auto":  # the table is missing after a training on a GPU
        policy = config.get("convolutions")
        policy = policy or faster(problems_of(model, training=False).values(), images)
    algorithms.use(policy)


def faster(layers: Iterable[Iterable[Problem]], images: int) -> Choices:
    """The faster algorithm of every problem of some layers for which there is a choice, on batches
    of so many images.

    What a machine has not met before, with these kernels, is timed, and kept in a file: times are
    never twice the same, but a second training shall give the same bits as the first.
    """
    images = min(images, tuning.MAX_IMAGES)
    problems = {str(problem): problem for layer in layers for problem in layer
                if tuning.is_open(problem)}
    machine = (f"{runs.cpu_name()}, {kernels.get_threads()} threads, numpy {np.__version__}, "
               f"kernels {tuning.EDITION}")
    memory = _read_memory()
    known = memory.setdefault(machine, {})
    choices: Choices = {}
    for text, problem in problems.items():
        name = f"{text}, batch {images}"
        if known.get(name) not in ("im2col", "winograd"):
            known[name] = tuning.race(problem, images).winner
        choices[text] = known[name]
    if memory != _read_memory():
        with contextlib.suppress(DiskError):  # without the file, the next training times again
            write_atomic(memory_file(), [json.dumps(memory, indent=1).encode()])
    return choices


def memory_file() -> Path:
    """Where this user's machine remembers which algorithm was faster: in $MINITORCH_CACHE, or
    where programs keep such things."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = os.environ.get("MINITORCH_CACHE") or Path(home, "minitorch_alex")
    return Path(cache, "convolutions.json")


def _read_memory() -> dict[str, dict[str, Algorithm]]:
    """machine -> problem and batch -> algorithm; empty where the file is missing or damaged."""
    try:
        memory = json.loads(memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_sound = isinstance(memory, dict) and all(isinstance(v, dict) for v in memory.values())
    return memory if is_sound else {}


def upgrade(config: dict[str, Any]) -> None:
    """Give the settings of a run from before --conv existed the one that means the same."""
    if "conv" not in config:
        config["conv"] = "winograd" if config.get("winograd") else "im2col"


def problems_of(model: Network, training: bool = True) -> dict[str, list[Problem]]:
    """name of a convolution -> the problems in it for which there is a choice; with the gradients
    for a training. Each layer is run on one image to hear of them, as in a training: the first
    layer computes no gradient of the image."""
    size = model.image_size
    x = Tensor(np.zeros((1, 3, size, size), np.float32))
    found = {}
    with in_mode(model, training=False):  # a training's batch statistics need more than one image
        for name, layer in model.named_layers():
            with algorithms.listen() as problems:
                y = layer(x)
                if training and isinstance(layer, Conv2d) and y.requires_grad:
                    y.backward(np.zeros_like(y.data))
            if isinstance(layer, Conv2d):
                found[name] = list(problems)
            x = Tensor(y.data, requires_grad=y.requires_grad)
    for parameter in model.parameters():
        parameter.grad = None
    return found


def by_layer(model: Network, choices: Mapping[str, Algorithm]) -> dict[str, str]:
    """name of a convolution -> what computes it: "im2col", "Winograd", or "both" where that
    differs between outputs and gradients."""
    names = {}
    for name, problems in problems_of(model).items():
        wins = [choices.get(str(problem)) == "winograd" for problem in problems]
        names[name] = "im2col"
        if any(wins):
            names[name] = "Winograd" if all(wins) else "both"
    return names


def describe(model: Network, choices: Mapping[str, Algorithm]) -> str:
    """Where Winograd's algorithm was chosen, in words."""
    names = by_layer(model, choices)
    parts = [name for name, algorithm in names.items() if algorithm == "Winograd"]
    parts += [f"{name} (in part)" for name, algorithm in names.items() if algorithm == "both"]
    return f"Winograd in {', '.join(sorted(parts))}, else im2col" if parts else "im2col"
