"""The site: the guides, the lessons and the API reference; and the lessons alone, as a book.

    make docs                       all of it, lessons in full: about ten minutes; build/docs/index.html
    make docs ARGS=--quick          with the short form of the lessons: two to three minutes
    make lessons                    the lessons alone, with the same settings (tag `lessons`); build/lessons/index.html

jupytext reads each lesson script as a notebook, and myst-nb runs and renders it. The reference comes from the
docstrings, which are plain text with formulas; plain_text.py keeps those legible.
"""
import os
import re
import sys
import tomllib
from pathlib import Path

SITE = Path(__file__).resolve().parent
sys.path.insert(0, str(SITE))
import notebooks  # noqa: E402  files of this folder
import plain_text  # noqa: E402

ROOT = SITE.parent.parent
LESSONS = ROOT / "lessons"
ABOUT = tomllib.loads((LESSONS / "lessons.toml").read_text(encoding="utf-8"))
FRONT = """<!doctype html>
<title>minitorch_alex</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
"""
FLAGS = os.environ.get("MINITORCH_LESSON", "")  # of the lesson scripts; lessons/kit.py reads them

lessons_alone = tags.has("lessons")  # noqa: F821  `tags` is put here by sphinx
if lessons_alone:  # the source directory is lessons/
    project = "AlexNet from scratch"
    root_doc = "index"
    include_patterns = ["index.md", "[01]*.py"]
    lesson_prefix = ""
else:  # the source directory is the whole repository
    project = "minitorch_alex"
    root_doc = "docs/index"
    include_patterns = [
        "docs/*.md", "docs/api/*.md", "lessons/index.md", "lessons/[01]*.py", "CONTRIBUTING.md", "CHANGELOG.md",
        "data/README.md", "minitorch_alex/pretrained/README.md",
    ]
    lesson_prefix = "lessons/"
author = "The minitorch_alex authors"
copyright = "The minitorch_alex authors, MIT licence"  # the name that sphinx reads
exclude_patterns = [".*", "build", "runs", "data/[!R]*", "tests", "**/__pycache__", "**/.ipynb_checkpoints"]

extensions = [
    "myst_nb",
    "sphinx-mathjax-offline",  # formulas are drawn by a copy in the site: no network needed
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath", "amsmath", "substitution"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["notebooks.read", {}]}
nb_execution_mode = "force"
nb_execution_timeout = -1
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 120
smartquotes = False  # "..." and quotes are part of formulas and flags
highlight_language = "none"  # of indented blocks: formulas and shell commands

html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_sourcelink = False


def duration(seconds: float) -> str:
    """90 s and more in minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


rows = ["| lesson | what you see | time | with `--quick` |", "|---|---|---|---|"]
for name, about in ABOUT.items():
    rows.append(f"| [{int(name[:2])}. {about['title']}]({name}.py) | {about['goal']} "
                f"| {duration(about['full_seconds'])} | {duration(about['quick_seconds'])} |")
myst_substitutions = {"lessons": "\n".join(rows)}


def add_links(app, docname: str, content: list[str]) -> None:
    """Put links to the notebook and to the exercises below the title of each lesson."""
    name = docname.removeprefix(lesson_prefix)
    if name not in ABOUT:
        return
    _, title, rest = content[0].split("\n", 2)
    links = (f'# <a href="notebooks/{name}.ipynb" download>Notebook to download</a> (it opens anywhere), or '
             f"`python lessons/{name}.py`; then the exercises in `lessons/exercises/{name}.py`.")
    content[0] = f"# %% [markdown]\n{title}\n#\n{links}\n{rest}"


def link_to_sources(app, docname: str, content: list[str]) -> None:
    """Make a link to a script, which has no page here, a download; of a link to a folder, keep the text."""
    folder = (Path(app.srcdir) / docname).parent

    def replacement(match: re.Match) -> str:
        text, target = match.groups()
        if (folder / target).is_dir():
            return text
        return f"{{download}}`{text.strip('`')} <{target}>`"

    if not docname.startswith("lessons/"):
        content[0] = re.sub(r"\[([^]]+)\]\((\.\./[^):]*(?:\.py|/|results))\)", replacement, content[0])


def write_extras(app, error: Exception | None) -> None:
    """Write each lesson as a notebook next to its page; send the site's top folder to its front page."""
    if error is not None or app.builder.name != "html":
        return
    notebooks.write_all(Path(app.outdir) / lesson_prefix / "notebooks")
    if not lessons_alone:
        (Path(app.outdir) / "index.html").write_text(FRONT, encoding="utf-8")


def render_docstring(app, kind: str, name: str, thing, options, lines: list[str]) -> None:
    """Replace a docstring by reStructuredText that shows the same text."""
    lines[:] = plain_text.render(lines)


def skip_fields(app, kind: str, name: str, thing, skip: bool, options) -> bool | None:
    """Leave out the fields of named tuples: "Alias for field number 0" tells nobody anything."""
    return True if str(getattr(thing, "__doc__", "")).startswith("Alias for field number") else None


def setup(app) -> None:
    app.connect("source-read", add_links)
    app.connect("source-read", link_to_sources)
    app.connect("build-finished", write_extras)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-docstring", render_docstring)
