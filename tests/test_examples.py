"""The example is short, and it trains; its exit code says whether it reached its floor."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "cifar10.py"


def test_it_fits_on_a_page():
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) < 100


@pytest.mark.parametrize("flags, epochs, code", (
    (["--limit", "2000", "--epochs", "2", "--floor", "15"], 2, 0),
    (["--limit", "100", "--epochs", "1"], 1, 1)))
def test_its_exit_code_says_whether_the_floor_was_reached(tmp_path, flags, epochs, code):
    command = [sys.executable, EXAMPLE, "--data", "shapes", *flags]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == "" and done.stdout.count("epoch ") == epochs
    assert done.stdout.splitlines()[-1].startswith("test accuracy ")
