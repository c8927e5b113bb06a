"""The lessons as notebooks: each is executed, and exercises are solved in its cells.

    pytest -m lessons tests/test_notebooks.py     all nine, where nothing but the wheel is installed

One of them, the shortest, runs in the default suite, in the environment of the tests.
"""
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_lessons import ABOUT, disagreements

from minitorch_alex.check import LESSONS

nbclient = pytest.importorskip("nbclient", reason="needs pip install -e '.[test]'")
pytest.importorskip("jupytext", reason="needs pip install -e '.[test]'")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs" / "site"))
import notebooks  # noqa: E402  not a part of any package

SOURCES = ("minitorch_alex", "lessons", "results/cpu_speed_epyc.json", "pyproject.toml", "setup.py", "MANIFEST.in",
           "requirements.txt", "README.md", "LICENSE", "licenses/WordNet.txt")
SOLVED = '''exec(open("lessons/solutions/{name}.py", encoding="utf-8").read())
exec("""
from minitorch_alex.check import exercises
wrong = [exercise.number for exercise in exercises("{name}") if not kit.check(exercise.number)]
assert not wrong, wrong
""")'''


def copy_of_sources(folder):
    """What a wheel is made from, in a folder of its own: building leaves files behind."""
    for name in SOURCES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """The Python of a fresh environment that has the wheel, what it requires, and a kernel."""
    folder = tmp_path_factory.mktemp("bare")
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    source = copy_of_sources(folder / "source")
    install = subprocess.run([python, "-m", "pip", "install", "--quiet", source, "ipykernel"], text=True,
                             capture_output=True, env=without_python_path())
    if install.returncode and "No matching distribution" in install.stderr:
        pytest.skip("packages cannot be installed here: " + install.stderr.strip().splitlines()[-1])
    assert not install.returncode, install.stderr
    shutil.rmtree(source)
    return python


def without_python_path():
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def execute(name, python, folder, monkeypatch, *more):
    """The notebook of a lesson after it was run with --quick by `python` in an empty folder.

    more   sources of cells that are run after its own
    """
    kernel = folder / "jupyter" / "kernels" / "lesson"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "lesson", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    monkeypatch.setenv("MINITORCH_LESSON", "--quick")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    work = folder / "work"
    work.mkdir()
    notebook = notebooks.notebook(name)
    notebook.cells += [notebooks.new_code_cell(source) for source in more]
    client = nbclient.NotebookClient(notebook, timeout=900, kernel_name="lesson",
                                     resources={"metadata": {"path": str(work)}})
    return client.execute(), work


def texts(notebook):
    """All that the cells have shown, as one text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.get("text", "") + output.get("data", {}).get("text/html", "") for output in outputs]
    return "\n".join(shown)


@pytest.mark.slow
def test_a_notebook_runs_in_an_empty_folder_and_checks_what_is_written_in_a_cell(tmp_path, monkeypatch):
    pytest.importorskip("ipykernel")
    wrong = "def unbroadcast(g, shape):\n    return g\nassert not kit.check('3.1')"
    half = "assert not kit.check('3.2')\nassert not kit.check(3.9)\nkit.exercise(3.1)\nkit.exercise('3.9')"
    notebook, work = execute("03_autograd", sys.executable, tmp_path, monkeypatch, wrong, half,
                             SOLVED.format(name="03_autograd"))
    text = texts(notebook)
    assert "define count_consumers and backward_walk in a cell first" in text
    assert "not right yet" in text and text.count("right (") == 4
    assert 'for a hint: kit.check("3.1", hints=1)' in text
    assert 'raise NotImplementedError("exercise 3.1' in text and "lesson 03 has 3.1, 3.2, 3.3, 3.4" in text
    assert (work / "lessons" / "exercises" / "03_autograd.py").exists(), "copied by the first cell"


@pytest.mark.lessons
@pytest.mark.parametrize("name", LESSONS)
def test_every_notebook_runs_where_only_the_wheel_is(name, bare_python, tmp_path, monkeypatch):
    notebook, work = execute(name, bare_python, tmp_path, monkeypatch, SOLVED.format(name=name))
    text = texts(notebook)
    assert text.count('class="predict"') >= 3 and text.count('class="answer"') >= 3
    assert '<details class="answer" open' not in text, "an answer is hidden until it is asked for"
    numbers = json.loads((work / "runs" / "lessons" / name / "numbers.json").read_text())["numbers"]
    assert not list(disagreements(numbers, ABOUT[name]["numbers"], "quick"))
    assert len(list((work / "runs" / "lessons" / name).glob("*.png"))) >= 2


def test_what_the_wheel_is_made_from_is_what_the_build_reads():
    """The copy above must not miss a file that setup.py or pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = ["README.md", *project["project"]["license-files"],
             project["tool"]["setuptools"]["dynamic"]["dependencies"]["file"]]
    assert set(named) <= set(SOURCES)
