"""Each lesson as a notebook that opens anywhere: `python docs/site/notebooks.py [DIR]`, make notebooks.

A first cell finds the package and the lessons, or installs and copies them. A cell that asks for a prediction is cut
after the question, so that the question stands alone; the part with the result is tagged for the book, which folds it,
as is the code of an answer.
"""
import ast
import re
import sys
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

LESSONS = Path(__file__).resolve().parent.parent.parent / "lessons"
FIRST = '''# This cell finds minitorch_alex and its lessons, or installs and copies them. On a GPU of Colab, also:
#     !pip install "cupy-cuda12x[ctk]"      and   os.environ["MINITORCH_LESSON"] = "--quick --backend cupy"
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("MINITORCH_LESSON", "")  # flags of the lesson, such as --quick
places = [place for up in (Path.cwd(), *Path.cwd().parents) for place in (up, up / "lessons")]
folder = next((place for place in places if (place / "kit.py").exists() and (place / "checks").is_dir()), None)
if folder and (folder.parent / "minitorch_alex").is_dir():
    sys.path.insert(0, str(folder.parent))  # a clone
    if not all(importlib.util.find_spec(needed) for needed in ("numpy", "matplotlib")):
        file = str(folder.parent / "requirements.txt")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-r", file], check=True)
if importlib.util.find_spec("minitorch_alex") is None:
    source = os.environ.get("MINITORCH_SOURCE", "minitorch_alex")  # a name, a wheel or an address that pip takes
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)
if folder is None:
    folder = Path("lessons").resolve()
    subprocess.run([sys.executable, "-m", "minitorch_alex.lessons", str(folder)], check=True)
sys.path.insert(0, str(folder))
print("lessons and exercises:", folder)'''
LAST = '''# The exercises, here: print one, copy it into a cell of its own, solve it, and check it. No file is needed.
#     kit.exercise("{number}.1")       kit.check("{number}.1")       kit.check("{number}.1", hints=1)
import numpy as np

from minitorch_alex.check import yours  # yours("02", "im2col"): your function of an earlier lesson

for one in kit.exercises("{name}"):
    print(f"{{one.number}}  {{one.name:<30}} {{one.goal}}")'''


def cut_at_questions(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells, those with a question cut after it; what follows is tagged `hide-cell`."""
    result = []
    for cell in cells:
        if cell.cell_type != "code" or "lesson.predict(" not in cell.source:
            if cell.cell_type == "code" and re.search(r"lesson\.(answer|explore)\(", cell.source):
                cell.metadata["tags"] = ["hide-input"]  # the answer, or what the picture shows, stands in the code
            result.append(cell)
            continue
        lines = cell.source.splitlines()
        questions = [node for node in ast.walk(ast.parse(cell.source)) if _is_question(node)]
        top = [node for node in ast.parse(cell.source).body if _is_question(node)]
        if not top or len(questions) > len(top):  # in a loop or behind an if: stays whole
            result.append(cell)
            continue
        end = max(node.end_lineno or 0 for node in top)
        for part, tags in ((lines[:end], ["hide-input"]), (lines[end:], ["hide-cell"])):
            text = "\n".join(part).strip("\n")
            if text:
                result.append(new_code_cell(text, metadata={"tags": tags}))
    return result


def _is_question(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "lesson.predict"


def read(text: str, **_: Any) -> NotebookNode:
    """A lesson script as a notebook for the book."""
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.cells = cut_at_questions(notebook.cells)
    return notebook


def notebook(name: str) -> NotebookNode:
    """The notebook of a lesson, to open anywhere."""
    result = read((LESSONS / f"{name}.py").read_text(encoding="utf-8"))
    result.cells.insert(1, new_code_cell(FIRST))
    result.cells.append(new_code_cell(LAST.format(number=int(name[:2]), name=name)))
    for number, cell in enumerate(result.cells):
        cell["id"] = f"cell-{number}"  # the same at every build
    result.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return result


def write_all(folder: Path) -> list[Path]:
    """Write all of them to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for script in sorted(LESSONS.glob("[01]*.py")):
        path = folder / f"{script.stem}.ipynb"
        jupytext.write(notebook(script.stem), path)
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_all(Path(sys.argv[1] if len(sys.argv) > 1 else "build/notebooks")):
        print(written)
