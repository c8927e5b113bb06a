"""The list of commands that `python -m minitorch_alex` prints, and what all commands have in common."""
import importlib
import json
import re
import sys
from pathlib import Path

import pytest

import minitorch_alex as mt
from minitorch_alex import __main__ as listing
from minitorch_alex.errors import UsageError

pytestmark = pytest.mark.usefixtures("fewer_shapes")
PACKAGE = Path(listing.__file__).parent
NAMES = [name for commands in listing.COMMANDS.values() for name in commands]


def test_the_list_has_every_command_once(capsys):
    """A command is a module that ends by running its `main`."""
    files = [file for file in PACKAGE.rglob("*.py") if 'if __name__ == "__main__":' in file.read_text()]
    modules = {".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__main__") for file in files}
    assert sorted(NAMES) == sorted(modules - {"__main__"})
    assert listing.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if re.match(r"  \S", line)] == NAMES
    assert max(map(len, lines)) < 100


def test_an_unknown_command_is_answered_with_the_nearest_one():
    with pytest.raises(UsageError, match=re.escape("unknown command 'trian' (did you mean train?)")):
        listing.main(["trian", "--epochs", "3"])


@pytest.mark.parametrize("how", [["--version"], ["-V"]])
def test_the_version_is_told(how, capsys):
    assert listing.main(how) == 0
    assert capsys.readouterr().out.startswith(f"minitorch_alex {mt.__version__} (Python 3.")


def test_one_door_leads_to_every_command(capsys, monkeypatch):
    """A command behaves as its module does; its usage begins as the user has begun."""
    for caller, program in (("__main__.py", "python -m minitorch_alex"), ("minitorch-alex", "minitorch-alex")):
        monkeypatch.setattr(sys, "argv", [caller])
        for how in (["plots", "--help"], ["help", "plots"]):
            with pytest.raises(SystemExit):
                listing.main(how)
            assert capsys.readouterr().out.startswith(f"usage: {program} plots ")
    monkeypatch.setattr(sys, "argv", ["minitorch-alex", "models.compare", "paper", "caffe"])
    assert listing.main() == 0
    assert "image_size" in capsys.readouterr().out and sys.argv[0] == "minitorch-alex"


def test_a_run_keeps_the_command_of_the_module(tmp_path, monkeypatch):
    """Whichever door was taken, the command in a record can be typed by everybody."""
    flags = ["--data", "shapes", "-a", "quick_26", "--limit", "40", "--epochs", "1", "--runs-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/minitorch-alex", "train", *flags, "--name", "r"])
    assert listing.main() == 0
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["command"].startswith("python -m minitorch_alex.train --data shapes -a quick_26 ")


@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_command(name, capsys):
    module = importlib.import_module(f"minitorch_alex.{name}" + (".__main__" if (PACKAGE / name).is_dir() else ""))
    with pytest.raises(SystemExit) as stop:
        module.main(["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m minitorch_alex.{name} ")
