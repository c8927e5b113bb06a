"""Ranks on several hosts, which are network namespaces of this machine (benchmarks/namespaces.py): root only."""
import importlib.util
import json
import os
import subprocess
import sys
import time

import pytest
import ranks
from test_parallel import NORMS, same_bytes

from benchmarks import namespaces
from benchmarks.namespaces import Hosts
from minitorch_alex.comm import Threads, own_mpiexec
from minitorch_alex.training import checkpoint

if importlib.util.find_spec("mpi4py") is None or own_mpiexec() is None:
    pytest.skip("mpi4py or its mpiexec is missing: pip install 'mpi4py>=4.1' 'mpich>=5'", allow_module_level=True)
REASON = namespaces.why_not()
if REASON:
    pytest.skip(f"this machine cannot have hosts: {REASON}", allow_module_level=True)

ROOT = namespaces.ROOT
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
BETWEEN = {**ENVIRONMENT, **namespaces.VARIABLES}  # of jobs between the hosts
TRAIN = ["-m", "minitorch_alex.train", "--epochs", "2"]
LONG = 240


@pytest.fixture
def hosts(tmp_path):
    """Two hosts that have nothing but a cable each."""
    both = Hosts(2, tmp_path)
    yield both
    both.close()


def finished(command, cwd, variables=BETWEEN):
    return subprocess.run(list(map(str, command)), text=True, capture_output=True, timeout=LONG, env=variables, cwd=cwd)


def arrays(run):
    return checkpoint.load(run / "checkpoint.safetensors")[0]


def test_hosts_get_what_threads_get_and_it_goes_through_the_cables(hosts, tmp_path):
    job = finished(hosts.command(4, [ROOT / "tests" / "ranks.py"], per_host=2), tmp_path)
    assert job.returncode == 0, job.stderr
    assert json.loads(job.stdout) == json.loads(json.dumps(Threads(4).run(ranks.everything)))
    assert min(hosts.bytes_received(n) for n in (1, 2)) > 20_000  # without the variables: 2,000, mpiexec's own


@pytest.mark.slow
def test_a_training_on_two_hosts_is_that_of_one_machine(hosts, tiny, tmp_path):
    """Four ranks on two hosts write what one process writes, with --shards; without them, and with sums that travel
    beside the backward pass, in which batch normalisation exchanges its own, two hosts write what two ranks of one
    machine write."""
    training = [*TRAIN, *tiny]
    flags = ["--shards", "4"]
    one = finished([sys.executable, *training, *flags, "--name", "one"], tmp_path)
    four = finished(hosts.command(4, [*training, *flags, "--name", "four"], per_host=2), tmp_path)
    assert (one.returncode, four.returncode, four.stderr) == (0, 0, ""), four.stderr
    assert "ranks       4 on 2 hosts (host1 x 2, host2 x 2), 1 threads each" in four.stdout
    runs = tmp_path / "runs"
    assert same_bytes(arrays(runs / "four"), arrays(runs / "one"))
    training += [*NORMS, "--epochs", "1"]
    near = finished([own_mpiexec(), "-n", 2, sys.executable, *training, "--name", "near"], tmp_path, ENVIRONMENT)
    far = finished(hosts.command(2, [*training, "--name", "far"]), tmp_path)
    assert (near.returncode, far.returncode, far.stderr) == (0, 0, ""), far.stderr
    assert same_bytes(arrays(runs / "far"), arrays(runs / "near"))


def begun(hosts, tiny, tmp_path, *flags):
    """(the job, its run) of a training on both hosts that has written a checkpoint."""
    command = hosts.command(2, [*TRAIN, *tiny, "--shards", 2, "--epochs", 1000, "--name", "cut", *flags])
    job = subprocess.Popen(list(map(str, command)), cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=BETWEEN)
    run = tmp_path / "runs" / "cut"
    while not (run / "checkpoint.safetensors").exists():
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.01)
    return job, run


def goes_on(run, tiny, tmp_path):
    """One process resumes the run, up to two epochs from there, with the bytes of an uninterrupted run."""
    done = checkpoint.load(run / "checkpoint.safetensors")[1]["epoch"]
    for flags in (["--resume", "runs/cut"], [*tiny, "--shards", 2, "--name", "whole"]):
        job = finished([sys.executable, "-m", "minitorch_alex.train", *flags, "--epochs", done + 2], tmp_path)
        assert job.returncode == 0, job.stderr
    assert same_bytes(arrays(run), arrays(run.with_name("whole")))


@pytest.mark.slow
def test_a_pulled_cable_ends_the_ranks_after_their_timeout(hosts, tiny, tmp_path):
    """MPI would wait for ever, and so does mpiexec, which has to be killed; the checkpoint stands."""
    job, run = begun(hosts, tiny, tmp_path, "--timeout", 3)
    hosts.pull_cable(2)
    begin = time.monotonic()
    while hosts.pids_of("minitorch_alex.train"):
        assert time.monotonic() - begin < 30, "a rank hangs"
        time.sleep(0.1)
    assert time.monotonic() - begin > 2
    job.kill()
    _, err = job.communicate(timeout=10)
    assert "error: rank 0 on host1 has waited 3 s for the other ranks at " in err
    assert "go on with --resume runs/cut" in err
    goes_on(run, tiny, tmp_path)


@pytest.mark.slow
def test_a_rank_that_is_killed_on_another_host_ends_the_job(hosts, tiny, tmp_path):
    job, run = begun(hosts, tiny, tmp_path, "--timeout", 30)
    (pid,) = hosts.pids_of("minitorch_alex.train", host=2)
    os.kill(pid, 9)
    job.communicate(timeout=20)
    assert job.returncode and hosts.pids_of("minitorch_alex.train") == []
    goes_on(run, tiny, tmp_path)


@pytest.mark.slow
def test_the_model_predicts_steps_over_a_slow_cable(hosts, tmp_path):
    """profile --ranks' model against steps at 100 Mbit/s. results/hosts.json has the ratios of a quiet machine, within
    15 %; a machine that tests run on is busy with other things."""
    hosts.slow_down(100)
    job = finished(hosts.command(2, ["-m", "benchmarks.hosts", "--child", "--network", "quick_26", "--images", 8,
                                     "--steps", 5]), ROOT)
    assert job.returncode == 0, job.stderr
    report = json.loads(job.stdout)
    assert 8e-6 * report["bandwidth"] < 130  # Mbit/s: it went through the cable
    row = report["steps"]["data"]
    assert 0.5 < row["predicted"] / row["measured"] < 1.5
