"""Flags: one description each, from which parser, default, help and check follow."""
import argparse
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...errors import UsageError


def path(text: str) -> Path:
    """The type of a flag that names a file: `~` is the user's home, also in --out=~/x, where no
    shell expands it."""
    return Path(home(text))


def home(text: str) -> str:
    """As `path`, as text: the form in which a run keeps its data_dir."""
    return os.path.expanduser(text)


@dataclass(frozen=True)
class Flag:
    """One flag: its place in a parser, its default and the end of its help text follow from here.

    names      as typed, the last one gives the attribute: "-p --print-freq"
    help       what --help says, without the default
    default    the value when the flag is not given
    shown      the default in the words of --help, where the value alone does not say it
    minimum    the smallest value that makes sense, if there is one
    stored     training only: where a run keeps the value, in its "config", in the "recipe"
               therein, or "nowhere"
    on_resume  training only: whether a run that is resumed takes the flag: only with the "same"
               value, with "any", or "never"
    options    further arguments of argparse's add_argument: type, metavar, action, choices,
               nargs, const, dest
    """

    names: str
    help: str
    default: Any = None
    shown: str = ""
    minimum: float | None = None
    stored: Literal["config", "recipe", "nowhere"] = "nowhere"
    on_resume: Literal["same", "any", "never"] = "same"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dest(self) -> str:
        """The attribute that holds the value: print_freq."""
        return self.options.get("dest") or self.names.split()[-1].lstrip("-").replace("-", "_")

    @property
    def name(self) -> str:
        """The flag as messages quote it: --print-freq."""
        return self.names.split()[-1]

    def check(self, value: Any) -> None:
        """Raises UsageError when the value is below the minimum."""
        # "not >=" and not "<", which would let nan through
        if self.minimum is not None and value is not None and not value >= self.minimum:
            least = "0 or more" if self.minimum == 0 else f"at least {self.minimum:g}"
            raise UsageError(f"{self.name} must be {least}, got {value}")

    def add_to(self, parser: Any, default: Any = ...) -> None:
        """Add the flag to a parser or a group of one, with another default if one is given."""
        value = self.default if default is ... else default
        # "(default: None)" or "(default: False)" would tell a user nothing
        silent = self.default is None or self.default is False or self.default == ()
        text = self.shown or ("" if silent else str(self.default))
        suffix = f" (default: {text})" if text else ""
        # argparse itself would take the first long name for the attribute
        options = {"dest": self.dest, **self.options}
        parser.add_argument(*self.names.split(), default=value, help=self.help + suffix, **options)


def add_flags(parser: Any, flags: Iterable[Flag]) -> None:
    """Add flags to a parser or a group of one."""
    for flag in flags:
        flag.add_to(parser)


def check_flags(args: argparse.Namespace, flags: Iterable[Flag]) -> None:
    """Raises UsageError for a value below the flag's minimum."""
    for flag in flags:
        flag.check(getattr(args, flag.dest))
