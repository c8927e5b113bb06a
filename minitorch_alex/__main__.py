"""python -m minitorch_alex, or minitorch-alex: one door to the commands of this package.

    minitorch-alex train --data shapes     the same as python -m minitorch_alex.train --data shapes
    minitorch-alex                         lists the commands, by what they are for
"""
import difflib
import importlib
import platform
import sys
from pathlib import Path
from types import ModuleType

from .errors import UsageError
from .training import cli

COMMANDS = {
    "learn": {
        "lessons": "copy the lessons and their exercises into a folder",
        "check": "check your solutions to the exercises of the lessons",
        "models.compare": "compare the variants of AlexNet, setting by setting, with sources",
    },
    "train": {
        "prepare": "turn archives or folders of images into files that training reads fast",
        "train": "train a network from scratch",
        "evaluate": "measure the error of one or several trained networks",
        "ablate": "repeat a claim of the AlexNet paper as an experiment",
    },
    "look": {
        "predict": "name what is in an image",
        "plots": "draw the curves, kernels and feature maps of a trained network",
        "profile": "show what a network costs, layer by layer",
        "selftest": "test this installation on this machine",
        "onnx": "write a network as an ONNX file",
    },
}


PROGRAM = "minitorch-alex"
MODULE = "python -m minitorch_alex"


def listing() -> str:
    """The commands in their groups, one per line."""
    lines = [f"usage: {MODULE} COMMAND [--help]",
             f"       {PROGRAM} COMMAND [--help]           (--version prints the version)"]
    for group, commands in COMMANDS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<16}{about}" for name, about in commands.items()]
    return "\n".join(lines)


def version() -> str:
    """The versions of this package and of what it runs on, on one line."""
    import numpy as np

    from . import __version__

    return (f"minitorch_alex {__version__} (Python {platform.python_version()}, "
            f"NumPy {np.__version__})")


def command(name: str) -> ModuleType:
    """The module of a command. Raises UsageError for an unknown name."""
    names = [known for commands in COMMANDS.values() for known in commands]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"unknown command {name!r}{hint}; {MODULE} lists the commands")
    # A folder such as plots/ has its command in a file __main__.py of its own.
    is_package = (Path(__file__).parent / name).is_dir()
    return importlib.import_module(f".{name}.__main__" if is_package else f".{name}", __package__)


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    """Run the command that the first argument names with the others; without arguments, print the
    list. Raises UsageError for an unknown command, and whatever the command raises."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help") and not arguments:
        print(listing())
        return 0
    if name in ("-V", "--version"):
        print(version())
        return 0
    if name == "help":
        name = arguments[0]
        arguments = ["--help"]
    module = command(name)
    caller = Path(sys.argv[0]).name
    typed = sys.argv
    # A run keeps the command that made it, and finds it here: that of the module, which works
    # with and without the console script.
    sys.argv = [str(module.__file__), *arguments]
    try:
        with cli.called_as(f"{PROGRAM if caller == PROGRAM else MODULE} {name}"):
            return module.main(arguments) or 0
    finally:
        sys.argv = typed


def run() -> None:
    """The console script."""
    cli.run_cli(main)


if __name__ == "__main__":
    run()
