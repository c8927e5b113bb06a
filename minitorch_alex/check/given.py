"""The exercises as they were given, although learners write into those very files.

lessons.toml has the name under which git keeps the content of each file (`git hash-object` prints
it). So a file that is still as it was given is recognised, and from one that was changed, git
finds the original again, whatever was committed since.

This file needs nothing but the standard library: setup.py reads it before anything is installed.
"""
import hashlib
import subprocess
import tomllib
from pathlib import Path


def name_in_git(content: bytes) -> str:
    """What `git hash-object` prints for a file with this content."""
    content = content.replace(b"\r\n", b"\n")  # a checkout on Windows may have other line ends
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def given(lesson: str, *folders: Path) -> bytes | None:
    """The exercise file of a lesson ("03_autograd") as it was given; None where it is not to be
    found.

    folders   folders of lessons to look in; the first has the lessons.toml that counts
    """
    about = tomllib.loads((folders[0] / "lessons.toml").read_text(encoding="utf-8"))
    wanted = about[lesson]["given"]
    for folder in folders:
        path = folder / "exercises" / f"{lesson}.py"
        content = path.read_bytes() if path.exists() else b""
        if name_in_git(content) == wanted:
            return content
    # changed everywhere: git has it if one of the folders is part of a clone
    for folder in folders:
        try:
            done = subprocess.run(["git", "cat-file", "blob", wanted], cwd=folder,
                                  capture_output=True)
        except OSError:  # git is not installed
            return None
        if done.returncode == 0:
            return done.stdout
    return None
