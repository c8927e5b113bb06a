"""Ranks as processes: under mpiexec, as a user starts them. Skipped where mpi4py or its mpiexec is missing."""
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranks

from minitorch_alex.comm import Threads, own_mpiexec
from minitorch_alex.training import checkpoint

if importlib.util.find_spec("mpi4py") is None:
    pytest.skip("mpi4py is not installed: pip install 'mpi4py>=4.1' 'mpich>=5'", allow_module_level=True)
if own_mpiexec() is None:
    pytest.skip("there is no mpiexec next to this Python: pip install 'mpich>=5'", allow_module_level=True)

ROOT = Path(__file__).parent.parent
OPEN_MPI = Path(own_mpiexec()).with_name("ompi_info").exists()
# The variables of Open MPI: root may start it, and more ranks than processors, none of them bound to one.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
               "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_hwloc_default_binding_policy": "none",
               "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
# With the timeout of subprocess and that of the ranks, nothing hangs for long.
LONG = 240


def mpiexec(n, *args, **options):
    """The finished job of n processes `python *args`."""
    command = [own_mpiexec(), "-n", str(n), sys.executable, *map(str, args)]
    return subprocess.run(command, text=True, capture_output=True, timeout=LONG, env=ENVIRONMENT, **options)


def train(n, *args, cwd, program="train"):
    """The finished training of n ranks; of one process where n is 0."""
    if n:
        return mpiexec(n, "-m", f"minitorch_alex.{program}", *args, cwd=cwd)
    command = [sys.executable, "-m", f"minitorch_alex.{program}", *map(str, args)]
    return subprocess.run(command, text=True, capture_output=True, timeout=LONG, env=ENVIRONMENT, cwd=cwd)


def arrays(directory):
    return checkpoint.load(directory / "checkpoint.safetensors")[0]


def same_bytes(a, b):
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def fails(job, code, *texts):
    """The job has ended with this code, one line on stderr and no traceback."""
    assert job.returncode == code, (job.returncode, job.stderr)
    own = job.stderr.partition("-" * 60)[0]  # after it comes what Open MPI has to say
    assert len(own.strip().splitlines()) == 1 and own.startswith("error: "), job.stderr
    assert all(text in job.stderr for text in texts), job.stderr


def text_of(stdout):
    """What a program prints, without speeds and times."""
    return re.sub(r"[\d,]+ img/s.*$|after [\d:]+|[\d.]+ s$", "", stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("size", (2, 3))
def test_processes_get_what_threads_get(size):
    expected = Threads(size).run(ranks.everything)
    for chunk in ((), (64,)):
        job = mpiexec(size, ROOT / "tests" / "ranks.py", *chunk)
        assert job.returncode == 0, job.stderr
        assert json.loads(job.stdout) == json.loads(json.dumps(expected))


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    """A run of one process, in two shards."""
    folder = tmp_path_factory.mktemp("runs")
    job = train(0, *tiny, "--epochs", 2, "--shards", 2, "--name", "alone", cwd=folder)
    assert job.returncode == 0, job.stderr
    return folder, job


def test_two_processes_write_what_one_writes(alone, tiny):
    """The same bytes with --shards, and the same lines but for that of the ranks; --ranks starts them."""
    folder, one = alone
    job = train(0, *tiny, "--epochs", 2, "--shards", 2, "--name", "two", "--ranks", 2, cwd=folder)
    assert job.returncode == 0 and job.stderr == "", job.stderr
    assert same_bytes(arrays(folder / "runs" / "two"), arrays(folder / "runs" / "alone"))
    lines = text_of(job.stdout).splitlines()
    assert any("ranks       2 on 1 host" in line for line in lines)
    lines = [line for line in lines if "ranks" not in line]
    assert lines == text_of(one.stdout.replace("alone", "two")).splitlines()
    rows = [json.loads(line) for line in (folder / "runs" / "two" / "log.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "interval"]
    assert all(row["ranks"] == 2 and 0 <= row["exchange"] <= 1 and row["slowest"]["behind"] >= 0 for row in steps)


@pytest.mark.slow
def test_evaluation_gives_the_numbers_of_one_process(alone):
    folder, _ = alone
    reports = []
    for n in (0, 2, 3):
        job = train(n, "runs/alone", "--limit", 18, "-b", 4, "--views", "single", "--threads", 1, cwd=folder,
                    program="evaluate")
        assert job.returncode == 0 and job.stderr == "", job.stderr
        reports.append((text_of(job.stdout), (folder / "runs" / "alone" / "evaluate-test.json").read_bytes()))
    assert reports[1:] == reports[:1] * 2


@pytest.mark.slow
@pytest.mark.parametrize(("args", "code", "texts"), (
    (["--print-freq", "0"], 2, ["--print-freq must be at least 1"]),
    (["-a", "alexnt"], 2, ["unknown model 'alexnt'"]),
    (["--shards", "3"], 2, ["--shards 3 is not a power of two"]),
    (["--ranks", "3"], 2, ["--ranks 3, but a launcher has started 2 processes"]),
    (["--resume", "nowhere"], 6, ["no checkpoint", "nowhere"]),
))
def test_what_all_ranks_find_is_one_line_of_rank_0(tiny, tmp_path, args, code, texts):
    fails(train(2, *tiny, *args, cwd=tmp_path), code, *texts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variables", ({"PMI_RANK": "0", "PMI_SIZE": "2"}, {"SLURM_STEP_NUM_TASKS": "2"}))
def test_processes_that_stand_alone_are_refused(tiny, tmp_path, variables):
    """What the mpiexec of another MPI, or srun without PMI, starts: several processes, each of them alone."""
    job = subprocess.run([sys.executable, "-m", "minitorch_alex.train", *tiny], text=True, capture_output=True,
                         timeout=LONG, env={**ENVIRONMENT, **variables}, cwd=tmp_path)
    fails(job, 3, "2 processes were started but each is alone", "mpiexec")
    assert list(tmp_path.iterdir()) == []


FAILING = """
import sys
from minitorch_alex import comm, errors, train
from minitorch_alex.training import cli, ranks, runs

def take_step(*args, **more):
    if comm.current().rank == RANK and args[-2].step == 3:
        raise ERROR
    return step(*args, **more)

step, ranks.take_step = ranks.take_step, take_step
cli.run_cli(train.main)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "error", "code", "text"), (
    (1, "errors.DataError('image 3 is damaged')", 4, "error: rank 1 on "),
    (0, "errors.DiskError('cannot write x: No space left')", 7, "error: cannot write x: No space left"),
    (1, "ValueError('a bug')", 1, "ValueError: a bug"),
    (1, "SystemExit(5)", 5, ""),
))
def test_one_rank_that_fails_ends_all(tiny, tmp_path, rank, error, code, text):
    program = tmp_path / "failing.py"
    program.write_text(FAILING.replace("RANK", str(rank)).replace("ERROR", error))
    begin = time.monotonic()
    job = mpiexec(2, program, *tiny, "--timeout", 100, cwd=tmp_path)
    assert job.returncode == code and text in job.stderr, job.stderr
    assert time.monotonic() - begin < 90  # it was no timeout that ended it
    if text.startswith("error"):
        fails(job, code, text)


def processes_of(name):
    """{rank: process} of the running job of that name."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        rank = next((v for v in variables if v.startswith((b"PMI_RANK=", b"OMPI_COMM_WORLD_RANK="))), None)
        if rank is not None and name.encode() in words and b"minitorch_alex.train" in words:
            found[int(rank.partition(b"=")[2])] = int(folder.name)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find the ranks")
@pytest.mark.parametrize(("name", "receiver", "code"), (
    ("SIGKILL", 0, None), ("SIGKILL", 1, None), ("SIGSTOP", 1, 8), ("SIGINT", None, 130), ("SIGTERM", None, 143),
    ("SIGUSR1", 1, 138),
))
def test_whatever_ends_a_job_it_ends_whole_and_goes_on(alone, tiny, tmp_path, name, receiver, code):
    """A signal to one rank, or to mpiexec (None); the run is then resumed by one process: the same bytes."""
    run = f"cut-{name}-{receiver}"
    patience = "5" if name == "SIGSTOP" else "30"
    command = [own_mpiexec(), "-n", "2", sys.executable, "-m", "minitorch_alex.train", *tiny, "--epochs", "2",
               "--shards", "2", "--name", run, "--checkpoint-freq", "1", "--timeout", patience]
    job = subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=ENVIRONMENT)
    file = tmp_path / "runs" / run / "checkpoint.safetensors"
    while not file.exists():
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.005)
    ranks_running = processes_of(run)
    os.kill(job.pid if receiver is None else ranks_running[receiver], getattr(signal, name))
    out, err = job.communicate(timeout=LONG)
    if OPEN_MPI and name in ("SIGINT", "SIGTERM"):  # it kills the ranks at once
        code = None
    # On a busy machine mpiexec now and then reports the signal by which it ends the stopped rank.
    codes = (code, signal.SIGKILL) if name == "SIGSTOP" else (code,)
    assert code is None or job.returncode in codes, (job.returncode, err)
    assert processes_of(run) == {}
    if code == 8:
        assert "error: rank 0 on" in err and "has waited 5 s for the other ranks at" in err
        assert f"go on with --resume runs/{run}" in err
    elif code:
        assert f"stopped by {name} after step" in out and err == ""
    resumed = train(0, "--resume", f"runs/{run}", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert same_bytes(arrays(file.parent), arrays(alone[0] / "runs" / "alone"))
