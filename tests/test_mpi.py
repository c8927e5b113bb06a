"""Ranks as processes: under mpiexec, as a user starts them. Skipped where mpi4py or its mpiexec is missing."""
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks

from minitorch_alex.comm import Threads, own_mpiexec

if importlib.util.find_spec("mpi4py") is None:
    pytest.skip("mpi4py is not installed: pip install 'mpi4py>=4.1' 'mpich>=5'", allow_module_level=True)
if own_mpiexec() is None:
    pytest.skip("there is no mpiexec next to this Python: pip install 'mpich>=5'", allow_module_level=True)

ROOT = Path(__file__).parent.parent


def mpiexec(n, *args, timeout=60, **options):
    """The finished job of n processes `python *args`."""
    command = [own_mpiexec(), "-n", str(n), sys.executable, *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, text=True, capture_output=True, timeout=timeout, env=environment, **options)


@pytest.mark.parametrize("size", (2, 3))
def test_processes_get_what_threads_get(size):
    expected = Threads(size).run(ranks.everything)
    for chunk in ((), (64,)):
        job = mpiexec(size, ROOT / "tests" / "ranks.py", *chunk)
        assert job.returncode == 0, job.stderr
        assert json.loads(job.stdout) == json.loads(json.dumps(expected))
