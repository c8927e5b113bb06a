"""A checkpoint is complete and unharmed, or it is refused; and there is always one to go back to."""
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from minitorch_alex.errors import DiskError, RunError
from minitorch_alex.training import checkpoint

META = {"model": "tiny", "epoch": 3, "batch": 17, "seed": 2012, "schedule": {"last_epoch": 3, "best": None},
        "config": {"lr": 0.01, "name": "Krizhevsky's \"net\", \xe9 \\ " + "0" * 64}}


def tiny_arrays(value=1.0):
    return {"model.w": np.full((2, 3), value, np.float32), "model.b": np.arange(3, dtype=np.float64),
            "optim.steps": np.array(7, np.int64)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run" / "checkpoint.safetensors"
    checkpoint.save(path, tiny_arrays(), META)
    return path


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name in expected:
        assert got[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(got[name], expected[name], strict=True)


def test_what_was_saved_comes_back(file):
    arrays, meta = checkpoint.load(str(file))
    assert_same(arrays, tiny_arrays())
    assert meta == META
    arrays["model.w"] += 1  # and may be written to
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_views_transposes_and_empty_arrays_come_back(tmp_path):
    w = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    arrays = {"transpose": w.T, "columns": w[:, ::2], "reversed": w[::-1], "rows": w[1:3],
              "fortran": w.copy("F"), "empty": np.empty((0, 4), np.float32), "scalar": np.array(1.5),
              "bool": w > 0,
              "channels_last": w.reshape(1, 2, 2, 10).transpose(0, 3, 1, 2), "bytes": w.view(np.uint8)}
    checkpoint.save(tmp_path / "c", arrays, {})
    assert_same(checkpoint.load(tmp_path / "c")[0], arrays)


def test_any_safetensors_reader_opens_it(file):
    assert_same(safetensors.numpy.load_file(file), tiny_arrays())
    with safetensors.safe_open(file, framework="np") as f:
        assert set(f.metadata()) == {"minitorch_alex", "sha256"}


def test_meta_that_is_not_json_leaves_the_old_checkpoint(file):
    with pytest.raises(TypeError):
        checkpoint.save(file, tiny_arrays(2), {"epoch": np.float32(1)})
    assert checkpoint.load(file)[1] == META


def test_a_flipped_bit_is_refused_wherever_it_is(file):
    blob = file.read_bytes()
    for bit in range(0, 8 * len(blob), 3):  # every third bit: every byte, and all eight places in a byte
        bad = bytearray(blob)
        bad[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bad)
        with pytest.raises(RunError, match="checkpoint.safetensors"):
            checkpoint.load(file)


def test_every_truncation_and_any_surplus_is_refused(file):
    blob = file.read_bytes()
    for bad in [blob[:n] for n in range(len(blob))] + [blob + b"\0", blob + b" ", blob + blob]:
        file.write_bytes(bad)
        with pytest.raises(RunError, match="checkpoint.safetensors"):
            checkpoint.load(file)


@pytest.mark.parametrize("content, words", [
    (b"", "not a safetensors file"),
    (b"PK\x03\x04" + bytes(400), "not a safetensors file"),
    (b"\x02\0\0\0\0\0\0\0{}", "not a checkpoint of minitorch_alex"),
    (b"\x02\0\0\0\0\0\0\0[]", "header is damaged"),
    (b"\x01\0\0\0\0\0\0\x001", "header is damaged"),
    (b"\x40\x1f\0\0\0\0\0\0" + b"[" * 8000, "header is damaged"),
    (safetensors.numpy.save(tiny_arrays()), "not a checkpoint of minitorch_alex"),
    (safetensors.numpy.save(tiny_arrays(), {"minitorch_alex": "{}", "sha256": "0" * 64}), "is damaged"),
    (safetensors.numpy.save(tiny_arrays(), {"minitorch_alex": "{}", "sha256": ""}), "is damaged"),
])
def test_foreign_files_are_refused(tmp_path, content, words):
    (tmp_path / "other.bin").write_bytes(content)
    with pytest.raises(RunError, match=f"other.bin.*{words}"):
        checkpoint.load(tmp_path / "other.bin")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(RunError, match="cannot read the checkpoint .*none.*No such file"):
        checkpoint.load(tmp_path / "none")
    with pytest.raises(RunError, match="cannot read the checkpoint"):
        checkpoint.load(tmp_path)


def test_rotation_keeps_the_one_before(file):
    for epoch in (4, 5):
        checkpoint.save(file, tiny_arrays(epoch), {"epoch": epoch}, rotate=True)
    assert checkpoint.load(file)[1] == {"epoch": 5}
    assert checkpoint.load(checkpoint.previous(file))[1] == {"epoch": 4}
    assert {p for p in file.parent.iterdir()} == {file, checkpoint.previous(file)}


def test_rotation_works_without_hard_links(file, monkeypatch):
    def refuse(*_):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    checkpoint.save(file, tiny_arrays(4), {"epoch": 4}, rotate=True)
    assert checkpoint.load(file)[1] == {"epoch": 4}
    assert checkpoint.load(checkpoint.previous(file))[1] == META


def test_a_damaged_checkpoint_points_to_the_previous_one_if_that_is_intact(file):
    checkpoint.save(file, tiny_arrays(), {"epoch": 4}, rotate=True)
    spare = checkpoint.previous(file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunError, match="is damaged.*--resume .*checkpoint.previous.safetensors"):
        checkpoint.load(file)
    file.unlink()
    with pytest.raises(RunError, match="No such file.*--resume .*checkpoint.previous.safetensors"):
        checkpoint.load(file)
    spare.write_bytes(b"damaged too")
    with pytest.raises(RunError) as caught:
        checkpoint.load(file)
    assert "--resume" not in str(caught.value)


def test_a_file_size_limit_is_a_disk_error_and_harms_nothing(file):
    """The kernel cuts the write short (EFBIG), on any machine and without being root."""
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DiskError, match=r"cannot write .*checkpoint.safetensors: .*it needs 4\.0 MB"):
            checkpoint.save(file, {"model.w": np.zeros(1_000_000, np.float32)}, META, rotate=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_full_disk_is_a_disk_error_and_harms_nothing(small_disk):
    file = small_disk / "checkpoint.safetensors"
    checkpoint.save(file, tiny_arrays(), META)
    with pytest.raises(DiskError, match=r"No space left on device; it needs 0\.4 MB and 0\.\d MB are free"):
        checkpoint.save(file, {"model.w": np.zeros(100_000, np.float32)}, META, rotate=True)
    assert [p.name for p in small_disk.iterdir()] == [file.name]
    assert checkpoint.load(file)[1] == META
    checkpoint.save(file, tiny_arrays(), {"epoch": 4}, rotate=True)  # and what fits is still written


def test_a_folder_that_is_a_file_is_a_disk_error(file):
    with pytest.raises(DiskError, match="cannot write"):
        checkpoint.save(file / "inside", tiny_arrays(), META)


SAVE_FOR_EVER = """
import sys
import numpy as np
from minitorch_alex.training import checkpoint
for epoch in range(1, 1_000_000):
    arrays = {"model.w": np.full(100_000, epoch, np.float32)}
    checkpoint.save(sys.argv[1], arrays, {"epoch": epoch}, rotate=True)
    print(epoch, flush=True)
"""


def test_killed_in_the_middle_of_a_save_there_is_always_a_checkpoint(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    draw = random.Random(0)
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, file], stdout=subprocess.PIPE,
                              cwd=Path(__file__).parent.parent) as writer:
            for _ in range(2):
                writer.stdout.readline()
            time.sleep(draw.uniform(0, 0.02))
            writer.kill()
            done = int((writer.stdout.read().split() or [b"2"])[-1])  # the last epoch whose save had returned
        for path in (file, checkpoint.previous(file)):
            arrays, meta = checkpoint.load(path)
            assert (arrays["model.w"] == meta["epoch"]).all()
        assert checkpoint.load(file)[1]["epoch"] >= done
    checkpoint.save(file, tiny_arrays(), META)  # what a killed writer left behind is in nobody's way
