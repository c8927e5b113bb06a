"""A file is written whole or not at all. What concerns checkpoints, full disks and kill -9 is in test_checkpoint.py."""
import pytest

from minitorch_alex.errors import DiskError
from minitorch_alex.files import replacing, write_atomic, writing


def test_the_folder_is_made_and_the_old_file_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    for content in (b"one", b"two"):
        write_atomic(path, [content[:1], content[1:]])
        assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_the_old_file_is_kept_as_the_spare(tmp_path):
    path, spare = tmp_path / "file", tmp_path / "spare"
    for content in (b"one", b"two", b"three"):
        write_atomic(path, [content], spare)
    assert (path.read_bytes(), spare.read_bytes()) == (b"three", b"two")
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_inside_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path, tmp_path / "part") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_grows_is_removed_when_the_disk_refuses(tmp_path):
    part = tmp_path / "part"
    part.write_bytes(b"half")
    with pytest.raises(DiskError, match="cannot write .*part: No space left on device; make room"), \
            writing(part, "make room"):
        raise OSError(28, "No space left on device")
    assert not part.exists()
