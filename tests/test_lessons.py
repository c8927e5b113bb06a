"""The nine lessons run, in order, in under a minute each with --quick, and print the numbers that
lessons.toml records.

    pytest -m lessons        runs them (some minutes); the default suite reads them only
"""
import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from minitorch_alex.check import LESSONS

FOLDER = Path(__file__).parent.parent / "lessons"
ABOUT = tomllib.loads((FOLDER / "lessons.toml").read_text(encoding="utf-8"))


def disagreements(numbers, recorded, mode):
    """What a run's numbers and the record say differently, in words."""
    for key, record in recorded.items():
        if mode not in record:
            continue
        if key not in numbers:
            yield f"{key} was not printed"
            continue
        got = numbers[key]
        bounds = {k: record[k] for k in ("within", "at_least", "at_most") if k in record}
        assert bounds, f"{key} has no tolerance"
        if (
            "within" in bounds
            and not abs(got - record[mode]) <= bounds["within"]
            or got < bounds.get("at_least", -float("inf"))
            or got > bounds.get("at_most", float("inf"))
        ):
            yield f"{key}: got {got:g}, recorded {record[mode]:g} {bounds}"


def run(name, out, *flags, cwd=FOLDER.parent):
    return subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--out", str(out), *flags],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": ""},
    )


@pytest.mark.lessons
@pytest.mark.parametrize("name", [name for name in LESSONS if ABOUT[name]["quick_seconds"] < 10])
def test_a_lesson_runs_and_prints_what_is_recorded(name, tmp_path):
    """The short ones, as scripts; test_notebooks.py runs all nine as notebooks."""
    done = run(name, tmp_path, "--quick")
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / name / "numbers.json").read_text())
    assert not list(disagreements(numbers["numbers"], ABOUT[name]["numbers"], "quick"))
    pictures = sorted((tmp_path / name).glob("*.png"))
    assert len(pictures) >= 2
    assert all(p.read_bytes().startswith(b"\x89PNG") and p.stat().st_size > 2000 for p in pictures)


def test_a_lesson_runs_from_anywhere_without_pictures(tmp_path):
    """The shortest one, in the default suite: from another folder, and nothing is drawn."""
    done = run("03_autograd", tmp_path / "out", "--quick", "--no-plots", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "out" / "03_autograd").iterdir()] == ["numbers.json"]
    numbers = json.loads((tmp_path / "out" / "03_autograd" / "numbers.json").read_text())[
        "numbers"
    ]
    assert not list(disagreements(numbers, ABOUT["03_autograd"]["numbers"], "quick"))
    assert "python -m minitorch_alex.check 03" in done.stdout


@pytest.mark.parametrize(
    "flags, code, text",
    (
        (("--data", "imagenet"), 2, "invalid choice"),
        (("--backend", "tpu"), 3, "backend"),
        (("--data", "cifar10", "--data-dir", "/nowhere"), 4, "/nowhere"),
        (("--threads", "-1"), 2, "threads"),
    ),
)
def test_a_wrong_flag_is_one_line_and_a_code(flags, code, text, tmp_path):
    done = run("09_alexnet" if "cifar10" in flags else "01_conv", tmp_path, "--quick", *flags)
    assert done.returncode == code, done.stderr
    assert text in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "numbers, words",
    (
        ({"a": 1.2, "b": 7.0}, []),
        ({"a": 1.4, "b": 7.0}, ["a: got 1.4"]),
        ({"a": 1.0, "b": 4.0}, ["b: got 4"]),
        ({"b": 9.0}, ["a was not printed"]),
        ({"a": float("nan"), "b": 7.0}, ["a: got nan"]),
    ),
)
def test_a_number_that_left_its_tolerance_is_seen(numbers, words):
    recorded = {
        "a": {"quick": 1.0, "full": 2.0, "within": 0.3},
        "b": {"quick": 7.0, "at_least": 5.0},
        "c": {"full": 1.0},
    }
    found = list(disagreements(numbers, recorded, "quick"))
    assert len(found) == len(words) and all(w in f for w, f in zip(words, found, strict=True))


def test_every_lesson_is_recorded_and_has_its_exercises_and_solutions():
    assert tuple(ABOUT) == LESSONS
    for name in LESSONS:
        assert ABOUT[name]["quick_seconds"] < 60 and ABOUT[name]["goal"] and ABOUT[name]["numbers"]
        for part in (
            f"{name}.py",
            f"exercises/{name}.py",
            f"solutions/{name}.py",
            f"checks/{name}.py",
        ):
            assert (FOLDER / part).exists()


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_cells_that_predict_and_answer_and_end_with_what_to_do(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    ast.parse(text)
    assert text.startswith("# %% [markdown]\n# # ")
    assert text.count("lesson.predict(") >= 3 and text.count("lesson.answer(") >= 3
    assert f"python -m minitorch_alex.check {name[:2]}" in text
    assert "Where this is in the package" in text
    assert text.rstrip().endswith("lesson.done()")


@pytest.mark.parametrize("name", LESSONS)
def test_places_in_the_package_that_a_lesson_names_exist(name):
    """A lesson that points to minitorch_alex/x.py must not point into the void after a move."""
    import re
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    named = set(
        re.findall(
            r"(?:minitorch_alex|docs|results|lessons|tests)/[\w/.]+\.(?:py|md|json|cu|toml)", text
        )
    )
    assert named
    for path in named:
        assert (FOLDER.parent / path).exists(), path


@pytest.mark.parametrize("name", LESSONS)
def test_in_a_notebook_no_open_cell_has_a_question_and_its_answer(name, monkeypatch):
    pytest.importorskip("jupytext")
    monkeypatch.syspath_prepend(str(FOLDER.parent / "docs" / "site"))
    import notebooks

    book = notebooks.notebook(name)
    compile(book.cells[1].source, "first cell", "exec")
    assert "minitorch_alex.lessons" in book.cells[1].source
    for cell in book.cells:
        if cell.cell_type == "code" and "lesson.answer(" in cell.source:
            assert {"hide-cell", "hide-input"} & set(cell.metadata.get("tags", ()))
