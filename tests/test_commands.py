"""The list of commands that `python -m minitorch_alex` prints, and what all commands have in common."""
import importlib
import re
from pathlib import Path

import pytest

from minitorch_alex import __main__ as listing
from minitorch_alex.errors import UsageError

PACKAGE = Path(listing.__file__).parent
NAMES = [name for commands in listing.COMMANDS.values() for name in commands]


def test_the_list_has_every_command_once(capsys):
    """A command is a module that ends by running its `main`."""
    files = [file for file in PACKAGE.rglob("*.py") if 'if __name__ == "__main__":' in file.read_text()]
    modules = {".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__main__") for file in files}
    assert sorted(NAMES) == sorted(modules - {"__main__"})
    assert listing.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == NAMES
    assert max(map(len, lines)) < 100


@pytest.mark.parametrize("argument, text", (
    ("train", "python -m minitorch_alex.train"), ("trian", "unknown argument 'trian'")))
def test_an_argument_is_answered_with_what_to_type(argument, text):
    with pytest.raises(UsageError, match=re.escape(text)):
        listing.main([argument, "--epochs", "3"])


@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_command(name, capsys):
    module = importlib.import_module(f"minitorch_alex.{name}" + (".__main__" if (PACKAGE / name).is_dir() else ""))
    with pytest.raises(SystemExit) as stop:
        module.main(["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m minitorch_alex.{name} ")
