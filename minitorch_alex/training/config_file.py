"""Settings of a training as a TOML file: --config FILE, and settings.toml in a run's directory.

    model = "alexnet_cifar"
    data = "folder"
    data_dir = "pets"
    epochs = 30

    [set]
    hidden = [512, 512]
    schedule = "cosine"

The keys are the flags without their dashes; [set] holds what --set takes, without its quotes: a
list stands for a tuple.
"""
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import reason_of, write_atomic
from .cli import Flag

# Flags that say what to do with a file's settings are not settings.
NOT_IN_FILES = {"config", "resume", "overwrite", "dry_run", "check_init", "find_lr", "mine"}


def read(path: Path, flags: Mapping[str, Flag]) -> dict[str, Any]:
    """{name of the flag: value}, as the command line would give them. Raises UsageError for a file
    that cannot be read, an unknown key, and a value of the wrong kind."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {path}: {reason_of(error)}; expected a TOML file such as the "
                         "settings.toml of a run") from None
    known = {name: flag for name, flag in flags.items() if name not in NOT_IN_FILES}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key == "set" and isinstance(value, dict):
            values["set"] = [f"{name}={_tuples(entry)!r}" for name, entry in value.items()]
            continue
        name = _name_of(key, known)
        if name is None:
            raise UsageError(f"--config {path}: unknown setting {key!r}{_similar(key, known)}; "
                             "fields of the model and of the recipe stand below [set]")
        values[name] = _value_of(path, key, value, known[name])
    return values


def _name_of(key: str, flags: Mapping[str, Flag]) -> str | None:
    """The flag that a key means, by any of its long names."""
    for name, flag in flags.items():
        names = {word.lstrip("-").replace("-", "_") for word in flag.names.split()}
        if name != "set" and key.replace("-", "_") in {name, *names}:
            return name
    return None


def _similar(key: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _value_of(path: Path, key: str, value: Any, flag: Flag) -> Any:
    """A value as the flag's own type. Raises UsageError for another kind of value."""
    kind = flag.options.get("type", str)
    if flag.options.get("action") == "store_true":
        expected = "true or false"
        is_right = isinstance(value, bool)
    elif kind in (int, float):
        expected = "an integer" if kind is int else "a number"
        numbers = int if kind is int else (int, float)
        is_right = isinstance(value, numbers) and not isinstance(value, bool)
    else:
        expected = "a text in quotes"
        is_right = isinstance(value, str)
    choices = flag.options.get("choices")
    if is_right and choices and value not in choices:
        expected = f"one of {', '.join(choices)}"
        is_right = False
    if not is_right:
        raise UsageError(f"--config {path}: {key} is {value!r}, expected {expected}")
    return value if isinstance(value, bool) else kind(value)


def _tuples(value: Any) -> Any:
    """Lists as tuples, inside of lists too: fields of a model are tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def write(path: Path, values: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Write flags and [set] fields as a file that `read` takes. Raises DiskError when it cannot be
    written."""
    lines = ["# python -m minitorch_alex.train --config FILE"]
    lines += [f"{name} = {_as_toml(value)}" for name, value in values.items() if name != "set"]
    if fields:
        lines += ["", "[set]", *(f"{name} = {_as_toml(value)}" for name, value in fields.items())]
    write_atomic(path, ["\n".join([*lines, ""]).encode()])


def _as_toml(value: Any) -> str:
    """A value in TOML. A text in JSON's quotes and escapes is one in TOML's."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)
