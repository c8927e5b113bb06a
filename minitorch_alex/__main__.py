"""python -m minitorch_alex: the commands of this package, by what they are for."""
import sys

from .errors import UsageError
from .training.cli import guest_of_process, run_cli

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


def listing() -> str:
    """The commands in their groups, one per line."""
    lines = ["usage: python -m minitorch_alex.COMMAND [--help]"]
    for group, commands in COMMANDS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<16}{about}" for name, about in commands.items()]
    return "\n".join(lines)


@guest_of_process()
def main(argv: list[str] | None = None) -> int:
    """Print the list. Raises UsageError for an argument: commands are modules, not arguments."""
    for argument in sys.argv[1:] if argv is None else argv:
        if any(argument in commands for commands in COMMANDS.values()):
            raise UsageError(f"a command follows a dot: python -m minitorch_alex.{argument}")
        if argument not in ("-h", "--help"):
            raise UsageError(f"unknown argument {argument!r}; python -m minitorch_alex lists the "
                             "commands")
    print(listing())
    return 0


if __name__ == "__main__":
    run_cli(main)
