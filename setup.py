"""The lessons travel in the wheel: they stand in lessons/, and are copied into the package when it is built.

All else about the package is in pyproject.toml.
"""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


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
        shutil.copytree(ROOT / "lessons" / "given", target / "exercises", ignore=ignored)  # never a solved one
        (target / "results").mkdir()
        shutil.copy(ROOT / "results" / "cpu_speed.json", target / "results")  # lesson 02 shows it


setup(cmdclass={"build_py": BuildWithLessons})
