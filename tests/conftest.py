"""Fixtures that several files share."""
import functools
import os
import subprocess

import pytest

from minitorch_alex import data


@pytest.fixture(scope="session", autouse=True)
def shapes_are_drawn_once():
    """Drawing all 12,000 takes longer than most of the trainings here; nobody may write on them."""
    @functools.lru_cache(4)
    def load_shapes(*args):
        sets = original(*args)
        for part in sets:
            part.images.flags.writeable = False
        return sets

    original = data.load_shapes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_shapes", load_shapes)
        yield


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 256 KB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder],
                                      capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here; test_checkpoint tests a file size limit in its place")
    yield folder
    subprocess.run(["umount", folder], check=True)
