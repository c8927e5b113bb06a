"""Jobs of several processes to which something happens: kills at any moment, a full disk, a damaged picture, ranks
that are not alike."""
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pictures import write_pictures
from test_mpi import ENVIRONMENT, LONG, arrays, fails, mpiexec, processes_of, same_bytes, train

from minitorch_alex.comm import own_mpiexec
from minitorch_alex.training import checkpoint

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find the ranks")
FOUR_SHARDS = ["--shards", "4", "--checkpoint-freq", "1"]
TRAIN = ["-m", "minitorch_alex.train"]


def begin(n, *args, cwd):
    """The job of n ranks, under way."""
    command = [own_mpiexec(), "-n", str(n), sys.executable, "-m", "minitorch_alex.train", *map(str, args)]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=ENVIRONMENT)


def wait_until(condition, job):
    """Until the condition holds, while the job goes on."""
    while not condition():
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.005)


def gone(name, seconds=5):
    """Whether all ranks of that run end within so many seconds."""
    limit = time.monotonic() + seconds
    while processes_of(name):
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


@needs_proc
@pytest.mark.slow
def test_killed_at_20_moments_and_resumed_on_other_numbers_of_ranks_the_bytes_are_the_same(tiny, tmp_path):
    """SIGKILL of any rank, while it starts, computes, evaluates or writes; 1, 2 or 4 ranks go on."""
    draw = random.Random(0)
    file = tmp_path / "runs" / "cut" / "checkpoint.safetensors"

    def written():
        return file.stat().st_mtime_ns if file.exists() else 0

    for kill in range(20):
        n = draw.choice((1, 2, 2, 4))
        before = written()
        job = begin(n, *tiny, *FOUR_SHARDS, "--epochs", 1000, "--name", "cut", "--resume", "auto", cwd=tmp_path)
        wait_until(lambda n=n: len(processes_of("cut")) == n, job)
        if kill % 2:  # every other time it has come a step further
            wait_until(lambda before=before: written() != before, job)
        time.sleep(draw.uniform(0.0, 0.4 if kill % 2 else 1.0))  # an epoch takes less than the start
        os.kill(processes_of("cut")[draw.randrange(n)], signal.SIGKILL)
        job.communicate(timeout=LONG)
        assert gone("cut"), f"ranks are left after kill {kill}"
        if file.exists():
            checkpoint.load(file)  # whole, whatever was going on
    epochs = checkpoint.load(file)[1]["epoch"] + 1
    resumed = train(2, "--resume", "runs/cut", "--epochs", epochs, cwd=tmp_path)
    whole = train(0, *tiny, *FOUR_SHARDS, "--epochs", epochs, "--name", "whole", cwd=tmp_path)
    assert (resumed.returncode, whole.returncode) == (0, 0), resumed.stderr + whole.stderr
    assert same_bytes(arrays(file.parent), arrays(tmp_path / "runs" / "whole"))


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], capture_output=True,
                             text=True) if sys.platform.startswith("linux") else None
    if mounted is None or mounted.returncode:
        pytest.skip("a disk of its own needs Linux and root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_all_ranks_and_the_run_goes_on_once_there_is_room(tiny, tmp_path, small_disk):
    flags = ["--runs-dir", small_disk, "--name", "cut"]
    job = begin(2, *tiny, *FOUR_SHARDS, "--epochs", 1000, *flags, cwd=tmp_path)
    run = small_disk / "cut"
    wait_until((run / "checkpoint.safetensors").exists, job)
    with open(small_disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    _, err = job.communicate(timeout=LONG)
    assert job.returncode == 7, err
    assert len(err.splitlines()) == 1 and err.startswith(f"error: cannot write {run}"), err
    assert "No space left" in err
    done = checkpoint.load(run / "checkpoint.safetensors")[1]["epoch"] + 1
    (small_disk / "filler").unlink()
    resumed = train(4, "--resume", run, "--epochs", done, cwd=tmp_path)
    whole = train(0, *tiny, *FOUR_SHARDS, "--epochs", done, "--name", "whole", cwd=tmp_path)
    assert (resumed.returncode, whole.returncode) == (0, 0), resumed.stderr + whole.stderr
    assert same_bytes(arrays(run), arrays(tmp_path / "runs" / "whole"))


# Ranks that are not alike: `mpiexec -n 1 A : -n 1 B` starts another command on each.


def unlike(first, second, cwd):
    """A job of two ranks with commands of their own."""
    command = [own_mpiexec(), "-n", "1", sys.executable, *map(str, first), ":", "-n", "1", sys.executable,
               *map(str, second)]
    return subprocess.run(command, text=True, capture_output=True, timeout=LONG, env=ENVIRONMENT, cwd=cwd)


def test_ranks_with_other_settings_are_refused(tiny, tmp_path):
    job = unlike([*TRAIN, *tiny], [*TRAIN, *tiny, "--lr", "0.5"], tmp_path)
    fails(job, 3, "rank 1 on ", " has other settings ", "rank 0 on ", "the ranks must be alike")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rank", (0, 1))
def test_a_rank_that_fails_before_mpi_has_started_ends_all(tiny, tmp_path, rank):
    """The others wait in the start of MPI, where nothing but MPI reaches them."""
    commands = [[*TRAIN, *tiny], [*TRAIN, *tiny]]
    commands[rank] += ["--print-freq", "0"]
    job = unlike(*commands, tmp_path)
    fails(job, 2, "--print-freq must be at least 1", *(["rank 1 on "] if rank else []))


LATE = """
import os, time
if os.environ["PMI_RANK"] == "1":
    time.sleep(60)
from minitorch_alex import comm
comm.start(timeout=1.0)
"""


@pytest.mark.slow
def test_a_rank_that_does_not_come_to_the_start_is_not_waited_for_longer_than_the_timeout(tmp_path):
    program = tmp_path / "late.py"
    program.write_text(LATE)
    begin = time.monotonic()
    assert mpiexec(2, program, cwd=tmp_path).returncode
    assert time.monotonic() - begin < 20


OTHER_VERSION = """
import minitorch_alex, sys
minitorch_alex.__version__ = "0.0.9"
from minitorch_alex import train
from minitorch_alex.training import cli
cli.run_cli(train.main)
"""


def test_ranks_of_another_version_are_refused(tiny, tmp_path):
    program = tmp_path / "other.py"
    program.write_text(OTHER_VERSION)
    job = unlike([*TRAIN, *tiny], [program, *tiny], tmp_path)
    fails(job, 3, "rank 1 on ", " has minitorch_alex 0.0.9, rank 0 on ")


@pytest.mark.slow
@pytest.mark.parametrize("rank", (0, 1))
def test_a_picture_that_is_damaged_on_one_rank_only(tmp_path, rank):
    """Each rank reads its own copy of the data, as on two hosts."""
    for name in ("good", "bad"):
        for part in ("train", "val"):
            write_pictures(tmp_path / name / part, 20)
    picture = tmp_path / "bad" / "train" / "tench" / "7.png"
    picture.write_bytes(picture.read_bytes()[:200])
    folders = ["good", "good"]
    folders[rank] = "bad"
    commands = [[*TRAIN, "-a", "quick_26", "--data", "folder", "--data-dir", folder, "-b", "10",
                 "--timeout", "60"] for folder in folders]
    job = unlike(*commands, tmp_path)
    fails(job, 4, "tench/7.png", *(["rank 1 on "] if rank else []))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_one_rank_whose_numbers_are_no_longer_finite_ends_all_with_one_line(tiny, tmp_path):
    """All ranks find it together, since they agree on the loss; rank 0 says so."""
    job = mpiexec(2, *TRAIN, *tiny, "--lr", "1e9", "--epochs", "3", cwd=tmp_path)
    assert job.returncode == 5, job.stderr
    errors = [line for line in job.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "training stops" in errors[0], job.stderr
