"""The lessons as a book: jupytext reads each script as a notebook, myst-nb runs and renders it.

    make lessons                    full runs, about ten minutes
    make lessons ARGS=--quick       a minute or two
"""
import os
import tomllib
from pathlib import Path

import jupytext

LESSONS = Path(__file__).resolve().parent.parent
ABOUT = tomllib.loads((LESSONS / "lessons.toml").read_text(encoding="utf-8"))
FLAGS = os.environ.get("MINITORCH_LESSON", "")

project = "AlexNet from scratch"
author = "The minitorch_alex authors"
copyright = "The minitorch_alex authors, MIT licence"  # sphinx's own name for it
root_doc = "index"
exclude_patterns = ["exercises", "solutions", "checks", "book", "kit.py", "__pycache__", ".ipynb_checkpoints"]

extensions = ["myst_nb", "sphinx-mathjax-offline"]  # maths is drawn by a copy in the book: no network needed
myst_enable_extensions = ["dollarmath", "amsmath", "substitution"]
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_timeout = -1
nb_execution_raise_on_error = True

html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sphinx = False
html_show_sourcelink = False


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


rows = ["| lesson | what you see | time | with `--quick` |", "|---|---|---|---|"]
rows += [f"| [{int(name[:2])}. {about['title']}]({name}.py) | {about['goal']} | {minutes(about['full_seconds'])} "
         f"| {minutes(about['quick_seconds'])} |" for name, about in ABOUT.items()]
myst_substitutions = {"lessons": "\n".join(rows)}


def add_links(app, name, content):
    """Below the title of each lesson: the notebook, and the exercises."""
    if name in ABOUT:
        title, rest = content[0].split("\n", 2)[1], content[0].split("\n", 2)[2]
        links = (f'# <a href="notebooks/{name}.ipynb" download>Notebook to download</a> (keep it in `lessons/`), or '
                 f"`python lessons/{name}.py`; then the exercises in `lessons/exercises/{name}.py`.")
        content[0] = f"# %% [markdown]\n{title}\n#\n{links}\n{rest}"


def write_notebooks(app, error):
    """Each lesson as a notebook beside the pages."""
    if error is None and app.builder.name == "html":
        folder = Path(app.outdir) / "notebooks"
        folder.mkdir(exist_ok=True)
        for name in ABOUT:
            jupytext.write(jupytext.read(LESSONS / f"{name}.py"), folder / f"{name}.ipynb")


def setup(app):
    app.connect("source-read", add_links)
    app.connect("build-finished", write_notebooks)
