"""Putting the learner's functions where the package has its own, and back."""
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ... import backend
from ...errors import DataError, UsageError
from ...kernels import cpu
from .. import exercises_folder, load, places
from .engine import PLACES
from .kernels import KERNELS
from .parts import Part, judge_parts, table
from .yours import Yours

_undo: list[Callable[[], None]] = []  # what `restore` runs, the last first


def use(folder: str | Path | None = None) -> list[Part]:
    """Put the learner's functions in place of the package's, print which, and return the parts.

    folder is that of the exercise files; None means lessons/exercises in the current folder or
    next to the package. Judging takes some seconds. Raises UsageError when the backend is not
    NumPy, and DataError when there is no such folder.
    """
    if backend.current().name != "numpy":
        raise UsageError(f"--mine runs your NumPy code, got the backend {backend.current().name}; "
                         "leave out --backend")
    folder = (Path(folder) if folder else exercises_folder()).resolve()
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give --mine the folder of your exercises")
    print(f"your exercises in {folder}")
    restore()
    _set(places, "learner_folder", folder)  # where `yours` in the exercises looks from now on
    parts = judge_parts(folder)
    files = {p.lesson: load(folder / f"{p.lesson}.py") for p in parts if p.yours}
    # All of them at once: some adapters look at which others are in use.
    put({p.name: getattr(files[p.lesson], p.name) for p in parts if p.yours})
    print(table(parts, folder))
    return parts


def restore() -> None:
    """Put the package's own parts back."""
    while _undo:
        _undo.pop()()  # in reverse, so that what was set twice ends with its first value


def put(functions: dict[str, Callable[..., Any]]) -> None:
    """Put functions of the exercises, by name, where the package has its own.

    Their signatures are those of the exercises. Kernels go into a new table of the backend
    "numpy", the rest is set where it is looked up.
    """
    yours = {name: Yours(f, name) for name, f in functions.items()}
    # Without the kernels that do the work of two layers at once, or spare what is not needed: they
    # would go past the learner's.
    kernels = SimpleNamespace(**{name: getattr(cpu, name) for name in cpu.__all__
                                 if not name.endswith(("_relu", "_values"))})
    for name, (exercises, adapter) in KERNELS.items():
        if set(exercises) & set(yours):
            setattr(kernels, name, adapter(yours))
    before = backend.current()
    backend.register("numpy", before.array_type, before.xp, kernels)
    _undo.append(lambda: backend.register("numpy", before.array_type, before.xp, before.kernels))
    for name, (owner, attribute, adapter) in PLACES.items():
        if name in yours:
            _set(owner, attribute, adapter(yours))


def _set(owner: Any, attribute: str, value: Any) -> None:
    """Set an attribute until `restore`."""
    before = getattr(owner, attribute)
    _undo.append(lambda: setattr(owner, attribute, before))
    setattr(owner, attribute, value)
