"""Several ranks on a real GPU: NCCL with one rank, and two ranks that share the GPU, whose arrays go through the host.
More than that needs two GPUs. Skipped where CuPy finds no device; test_comm.py has the same on stand-ins."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks
from checks.parallel import assert_steps_on_device

from minitorch_alex import backend
from minitorch_alex.comm import Alone, Nccl, Staged, Threads, own_mpiexec
from minitorch_alex.training import checkpoint

pytestmark = [pytest.mark.gpu,
              pytest.mark.skipif(not backend.is_available("cupy"), reason="CuPy finds no GPU here")]
ROOT = Path(__file__).parent.parent
HAS_MPI = importlib.util.find_spec("mpi4py") is not None and own_mpiexec() is not None
TINY = ["-a", "alexnet_cifar", "--set", "channels=(8,8,8,8,8)", "--set", "hidden=(16,16)", "--data", "shapes",
        "--limit", "41", "-b", "10", "--epochs", "2", "--shards", "2", "--backend", "cupy"]


@pytest.fixture(autouse=True)
def on_device():
    backend.use("cupy")
    backend.set_precision("fp32")
    yield
    backend.use("numpy")


def test_nccl_with_one_rank():
    """Its sends and receives to itself, on this and on a second stream."""
    comm = Alone()
    ranks.check_device(comm, Nccl(backend.nccl(), comm))
    whole = Nccl(backend.nccl(), comm)
    twin = whole.twin()
    a = backend.asarray(np.arange(1000, dtype=np.float32))
    with twin.after(whole.fence()):
        total = twin.scatter_sum(a)
    twin.join()
    assert np.array_equal(backend.to_numpy(total), np.arange(1000))


@pytest.mark.parametrize("size", (2, 3))
def test_ranks_that_share_the_gpu(size):
    Threads(size).run(lambda comm: ranks.check_device(comm, Staged(comm)))


def test_sums_beside_the_backward_pass_and_shards_change_no_bit():
    assert_steps_on_device()


@pytest.mark.skipif(not HAS_MPI, reason="mpi4py or its mpiexec is missing: pip install 'mpi4py>=4.1' 'mpich>=5'")
def test_two_processes_on_the_gpu_write_what_one_writes(tmp_path):
    """The same bytes in two shards, whether one process computes both or two share them."""
    for name, count in (("one", "0"), ("two", "2")):
        job = subprocess.run([sys.executable, "-m", "minitorch_alex.train", *TINY, "--name", name, "--ranks", count],
                             text=True, capture_output=True, timeout=100, cwd=tmp_path,
                             env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert job.returncode == 0, job.stderr
    assert "host memory" in job.stdout
    one, two = (checkpoint.load(tmp_path / "runs" / name / "checkpoint.safetensors")[0] for name in ("one", "two"))
    assert all(two[name].tobytes() == array.tobytes() for name, array in one.items())
