"""Fixtures that several files share."""
import os
import subprocess

import pytest


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
