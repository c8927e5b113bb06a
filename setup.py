"""What pyproject.toml cannot say about the package.

The lessons travel in the wheel: they stand in lessons/, and are copied into the package when it is built. And the
README is shown on the page of a package index, where links to the files next to it lead nowhere.
"""
import importlib.util
import os
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# Where the files of this version can be seen, such as https://HOST/OWNER/minitorch_alex/blob/v0.1.0; none by default.
FILES_URL = os.environ.get("MINITORCH_FILES_URL", "")
# A link to a file: [text](docs/2012.md), ![text](docs/x.png).
LINK = re.compile(r"(!?)\[([^]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def index_page(readme: str, files_url: str = FILES_URL) -> str:
    """The README for an index page: links to files become absolute. Where nobody says where the files can be seen,
    their text is left, and pictures are left out."""
    def replaced(match: re.Match) -> str:
        mark, text, target = match.groups()
        if not files_url:
            return "" if mark else text
        base = files_url.replace("/blob/", "/raw/") if mark else files_url
        return f"{mark}[{text}]({base.rstrip('/')}/{target})"

    return LINK.sub(replaced, readme)


def exercise_as_given(lesson: str) -> bytes:
    """The exercises of a lesson, never solved ones.

    given.py is read as a file: the package cannot be imported before NumPy is installed.
    """
    spec = importlib.util.spec_from_file_location("given", ROOT / "minitorch_alex" / "check" / "given.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    content = module.given(lesson, ROOT / "lessons")
    if content is None:
        raise SystemExit(f"error: lessons/exercises/{lesson}.py was changed and git does not have it as it was given "
                         "(lessons.toml says which content that is); get that file anew")
    return content


class BuildWithLessons(build_py):
    """build_py, then lessons/ as minitorch_alex/lesson_files/."""

    def run(self):
        super().run()
        if self.editable_mode:  # lessons/ is found next to the package
            return
        target = Path(self.build_lib) / "minitorch_alex" / "lesson_files"
        shutil.rmtree(target, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.before", ".ipynb_checkpoints", "exercises", "data", "runs")
        shutil.copytree(ROOT / "lessons", target, ignore=ignored)
        (target / "exercises").mkdir()
        for script in sorted((ROOT / "lessons").glob("[0-9]*.py")):
            (target / "exercises" / script.name).write_bytes(exercise_as_given(script.stem))
        (target / "results").mkdir()
        shutil.copy(ROOT / "results" / "cpu_speed_epyc.json", target / "results")  # lesson 02 shows it


if __name__ == "__main__":
    page = index_page((ROOT / "README.md").read_text(encoding="utf-8"))
    setup(cmdclass={"build_py": BuildWithLessons}, long_description=page,
          long_description_content_type="text/markdown")
