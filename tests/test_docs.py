"""The pages of the site: links, the index, the reference, and docstrings as reStructuredText. `make docs` builds it."""
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs" / "site"))
import plain_text  # noqa: E402  not a part of any package

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md",
                                           "minitorch_alex/pretrained/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(((?!http|#)[^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)]+\.md)\)", index))
    entries = set(re.findall(r"^[/\w]+$", index, re.M))  # of the tables of contents
    for page in DOCS:
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name == "index.md" or (name in links and name.removesuffix(".md") in entries), name


def test_the_tests_that_pages_name_exist():
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("test_*.py"))
    for page in DOCS:
        for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")):
            assert f"def {name}(" in tests, f"{page.name}: {name}"


def test_the_reference_names_modules_that_exist():
    for page in (ROOT / "docs" / "api").glob("*.md"):
        modules = re.findall(r"automodule:: ([\w.]+)", page.read_text(encoding="utf-8"))
        assert modules
        for module in modules:
            path = ROOT / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").exists(), module


@pytest.mark.parametrize("page", ("CONTRIBUTING.md", "docs/design.md"))
def test_files_that_a_guide_names_exist(page):
    """`kernels/naive.py` is meant from the package, `tests/mutants/` from the repository, `blocks.py` from anywhere."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([\w./-]+(?:\.py|\.cu|\.toml|/))`", text) if "NN_" not in name}
    assert named
    for name in named:
        below = "/" not in name and any(ROOT.glob(f"*/**/{name}"))
        assert below or (ROOT / name).exists() or (ROOT / "minitorch_alex" / name).exists(), name


def test_names_that_contributing_points_to_exist():
    """A constant or function in backticks before the file that holds it: `OPERATIONS` of `tests/test_functional.py`."""
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    places = re.findall(r"`(\w+)` (?:of|in) `([\w/]+\.py)`", text)
    assert len(places) >= 4
    for name, file in places:
        path = next(path for path in (ROOT / file, ROOT / "minitorch_alex" / file) if path.exists())
        assert re.search(rf"^(?:def )?{name}\b", path.read_text(encoding="utf-8"), re.M), (name, file)


@pytest.mark.parametrize("text, rendered", (
    ("y = max(x, 0), `x` any shape.", ["y = max(x, 0), \\ ``x``\\  any shape.", ""]),
    ("a*b of x_i |x|", ["a\\*b of x\\_i \\|x\\|", ""]),
    ("-log p of the label", ["\\-log p of the label", ""]),
    ("first\n\n    v := m v - lr g", ["first", "", "::", "", "        v := m v - lr g", ""]),
    ("* one\n  more\n* two", ["* one", "  more", "* two", ""]),
    ("The sum.\nx (N,C) -> y (C,)", ["The sum.", "", "x (N,C) -> y (C,)", ""]),
))
def test_a_docstring_is_shown_as_it_is(text, rendered):
    assert plain_text.render(text.split("\n")) == rendered
