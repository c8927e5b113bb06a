"""Fixtures that several files share."""
import functools
import os
import signal
import subprocess

import pytest
from pictures import write_pictures

from minitorch_alex import data


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_the_programs():
    """A shell starts what it puts in the background with SIGINT ignored, and programs that the tests start would
    inherit that: those that are to be interrupted would run to their end."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def shapes_are_drawn_once():
    """Drawing all 12,000 shapes takes longer than most trainings in these tests, so they are drawn
    once and shared. They are read-only: no test can spoil those of another."""
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


@pytest.fixture(scope="module")
def fewer_shapes():
    """For trainings within the tests' process: two batches of shapes to validate on and three to test on, instead of
    four and eight."""
    load = data.load_shapes

    def load_fewer(*args):
        train, test = load(*args)
        return train.subset(slice(3000)), test.subset(slice(510))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_shapes", load_fewer)
        yield


@pytest.fixture(scope="session", autouse=True)
def a_cache_of_its_own(tmp_path_factory):
    """What --conv auto has timed is remembered for this session only, and for the processes that it
    starts: the tests are not another one's, and leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINITORCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Flags of a small training, for programs: reading its pictures takes less than drawing the shapes.

    41 images in batches of 10: the last batch has one, and one of two ranks none. 252 are watched, in batches of 250
    and of 2: each of two ranks has one of them.
    """
    pictures = tmp_path_factory.mktemp("tiny") / "pictures"
    write_pictures(pictures / "train", 14)
    (pictures / "train" / "tench" / "13.png").unlink()
    write_pictures(pictures / "val", 84, seed=1)
    write_pictures(pictures / "test", 7, seed=2)
    return ["-a", "alexnet_cifar", "--set", "channels=(8,8,8,8,8)", "--set", "hidden=(16,16)", "--data", "folder",
            "--data-dir", str(pictures), "-b", "10", "--print-freq", "2", "--threads", "1", "--timeout", "60"]


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, of 256 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here; test_checkpoint tests a file size "
                    "limit instead")
    yield folder
    subprocess.run(["umount", folder], check=True)
