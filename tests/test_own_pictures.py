"""Every command and every program of docs/own_pictures.md, with few pictures and one epoch."""
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minitorch_alex as mt
from minitorch_alex import __main__ as door
from minitorch_alex import data

PAGE = (Path(__file__).parent.parent / "docs" / "own_pictures.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    python -m minitorch_alex\.(.*)$", PAGE, re.M)
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SHORTER = {"train": ["--epochs", "1"], "plots": ["--limit", "6"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """pets/ with six pictures of each of three classes, and two new ones."""
    root = tmp_path_factory.mktemp("own")
    shapes = data.make_shapes(20, 48)
    for k, name in enumerate(("cat", "dog", "rabbit")):
        (root / "pets" / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(shapes.images[3 * i + k]).save(root / "pets" / name / f"{i}.jpg")
    (root / "new").mkdir()
    for i in (1, 2):
        Image.fromarray(shapes.images[-i]).resize((96, 72)).save(root / "new" / f"{i}.jpg")
    return root


def test_the_page_leads_from_a_folder_to_an_onnx_file(folder, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["minitorch-alex"])
    said = {}
    assert [command.split()[0] for command in COMMANDS] == [
        "train", "train", "evaluate", "plots", "plots", "plots", "predict", "predict", "onnx"]
    for command in COMMANDS:
        name, *flags = shlex.split(command)
        assert door.main([name, *flags, *SHORTER.get(name, [])]) == 0, command
        said[command] = capsys.readouterr().out
    trained = said[COMMANDS[1]]
    assert "fc8 is new: 10 -> 3 classes" in trained and "test accuracy" in trained
    assert said[COMMANDS[6]].count(".jpg  (96 x 72)") == 2
    assert len(Path("answers.csv").read_text().splitlines()) == 3

    library, runtime = PROGRAMS
    exec(compile(library, "own_pictures.md", "exec"), {})
    assert capsys.readouterr().out.count("Guess(name=") == 6
    variables = {}
    exec(compile(runtime, "own_pictures.md", "exec"), variables)
    seen = mt.load("runs/pets")("new/1.jpg")
    assert capsys.readouterr().out == f"{seen.name}\n"
    np.testing.assert_allclose(variables["probabilities"][0], seen.probabilities, atol=1e-5)


def test_a_run_is_whole_without_its_pictures(folder, tmp_path, monkeypatch):
    """Two files, on another machine: names and mean are in them."""
    monkeypatch.chdir(folder)
    if not Path("runs/pets").exists():  # the test above was left out
        door.main([*shlex.split(COMMANDS[1]), *SHORTER["train"]])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copied").mkdir()
    for name in ("checkpoint.safetensors", "config.json"):
        (tmp_path / "copied" / name).write_bytes((folder / "runs" / "pets" / name).read_bytes())
    (folder / "pets").rename(folder / "moved")
    seen = mt.load("copied")(folder / "new" / "1.jpg")
    assert {guess.name for guess in seen.top()} == {"cat", "dog", "rabbit"}
    assert door.main(["predict", str(folder / "new" / "1.jpg"), "-w", "copied"]) == 0
