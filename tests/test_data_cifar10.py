"""CIFAR-10: both formats, the archives, damaged files, and pickles that are up to no good.

The small sets here have the official layout with 10 pictures a file. The tests of the real files look for
them in $MINITORCH_DATA and are skipped without it.
"""
import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from minitorch_alex.data import cifar10, load
from minitorch_alex.data.cifar10 import load_cifar10, parse_python, read_batch
from minitorch_alex.errors import DataError, DiskError

REAL = os.environ.get("MINITORCH_DATA", "")
real = pytest.mark.skipif(not REAL, reason="set MINITORCH_DATA to a folder with cifar-10-batches-py")


def python2_pickle(data, labels):
    """What Python 2 wrote for {'data': data, 'labels': labels}: the official files look like this."""
    raw = data.tobytes()
    return (b"\x80\x02}q\x01(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U"
            b"\x01b\x87R(K\x01K" + bytes([len(data)]) + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw))
            + raw + b"tbU\x06labels](" + b"".join(b"K" + bytes([y]) for y in labels) + b"eu.")


def write_files(folder, form):
    """Six files of 10 pictures; the same ones in either format."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for name in cifar10.PYTHON_FILES:
        data, labels = draw.integers(0, 256, (10, 3072), dtype=np.uint8), draw.permutation(10)
        if form == "python":
            (folder / name).write_bytes(python2_pickle(data, labels))
        else:
            records = np.concatenate([labels[:, None].astype(np.uint8), data], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Make the reader expect the small files, and no source for downloads but a port where nobody listens."""
    folder = write_files(tmp_path / "expected", "python")
    monkeypatch.setattr(cifar10, "PYTHON_FILES", {n: md5(folder / n) for n in cifar10.PYTHON_FILES})
    monkeypatch.setattr(cifar10, "BATCH", 10)
    monkeypatch.setattr(cifar10, "SOURCES", ("http://127.0.0.1:9/cifar-10-python.tar.gz",))
    return tmp_path / "data"


def pack(folder, archive, monkeypatch, extra=()):
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, cifar10.ARCHIVES[archive.name][1])
        for name in extra:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    inside = cifar10.ARCHIVES[archive.name][1]
    monkeypatch.setitem(cifar10.ARCHIVES, archive.name, (md5(archive), inside))


def equal(a, b):
    return all((p.images == q.images).all() and (p.labels == q.labels).all()
               for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("place", [".", "cifar-10-batches-py", "another name"])
def test_both_formats_wherever_they_are(small, tmp_path, place):
    write_files(small / place, "python")
    write_files(tmp_path / "b" / place, "binary")
    python, binary = load_cifar10(small), load("cifar10", tmp_path / "b")
    assert equal(python, binary)
    train, test = python
    assert train.images.shape == (50, 32, 32, 3) and test.images.shape == (10, 32, 32, 3)
    assert train.classes[0] == "airplane" and train.classes[9] == "truck" and train.images.flags.c_contiguous


def test_planes_become_pixels():
    data = np.arange(3072, dtype=np.uint16).astype(np.uint8)[None]
    raw = python2_pickle(data, [3])
    pixels, labels = parse_python(raw)
    assert labels.tolist() == [3] and (pixels == data).all()


def test_channels_rows_and_columns_are_in_place(small):
    write_files(small, "python")
    train, _ = load_cifar10(small)
    data, _ = parse_python((small / "data_batch_2").read_bytes())
    for i, row, col, channel in [(0, 0, 0, 0), (3, 1, 2, 0), (9, 31, 5, 1), (7, 12, 31, 2)]:
        assert train.images[10 + i, row, col, channel] == data[i, 1024 * channel + 32 * row + col]


def test_an_archive_is_unpacked(small, tmp_path, monkeypatch):
    for form, name in [("python", "cifar-10-python.tar.gz"), ("binary", "cifar-10-binary.tar.gz")]:
        home = small / form
        home.mkdir(parents=True)
        pack(write_files(tmp_path / form, form), home / name, monkeypatch)
        assert len(load_cifar10(home)[0]) == 50
        assert sorted(p.name for p in home.iterdir()) == [cifar10.ARCHIVES[name][1], name]


def test_a_damaged_archive_is_named(small):
    small.mkdir()
    (small / "cifar-10-python.tar.gz").write_bytes(b"half of it")
    with pytest.raises(DataError, match="python.tar.gz is damaged .* expected c58f3010.*; delete it"):
        load_cifar10(small)


def test_an_archive_cannot_write_outside_its_folder(small, tmp_path, monkeypatch):
    small.mkdir()
    pack(write_files(tmp_path / "p", "python"), small / "cifar-10-python.tar.gz", monkeypatch, ["../../evil"])
    with pytest.raises(DataError, match="cannot be unpacked"):
        load_cifar10(small)
    assert not list(tmp_path.rglob("evil"))
    assert [p.name for p in small.iterdir()] == ["cifar-10-python.tar.gz"]  # nothing half-unpacked


def test_a_disk_that_fills_while_unpacking(small, tmp_path, monkeypatch):
    small.mkdir()
    pack(write_files(tmp_path / "p", "python"), small / "cifar-10-python.tar.gz", monkeypatch)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(DiskError, match="No space left on device; 190 MB are needed"):
        load_cifar10(small)
    assert [p.name for p in small.iterdir()] == ["cifar-10-python.tar.gz"]


@pytest.mark.parametrize("download", [False, True])
def test_without_data_the_message_says_how_to_get_it(small, download):
    with pytest.raises(DataError) as caught:
        load_cifar10(small, download=download)
    message = str(caught.value)
    for part in (str(small / "cifar-10-python.tar.gz"), "c58f30108f718f92721af3b95e74349a", "--data shapes"):
        assert part in message
    assert ("download=True" in message) != download and ("Connection refused" in message) == download
    assert len(message.splitlines()) <= 20 and not list(small.glob("*"))


def test_a_missing_file_is_named(small):
    write_files(small, "python")
    (small / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4: No such file or directory; CIFAR-10's six"):
        load_cifar10(small)


def test_a_file_with_another_md5_is_named(small):
    write_files(small, "python")
    path = small / "data_batch_3"
    good, raw = md5(path), bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)
    message = rf"data_batch_3 is damaged .* md5 {md5(path)}, expected {good}; move the folder"
    with pytest.raises(DataError, match=message):
        load_cifar10(small)


def test_damaged_binary_files(small):
    write_files(small, "binary")
    path = small / "data_batch_2.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="data_batch_2.bin is damaged .* 30,729 bytes, expected 30,730"):
        load_cifar10(small)
    path.write_bytes(whole[:3073] + b"\x0a" + whole[3074:])
    with pytest.raises(DataError, match=r"data_batch_2.bin .* label 10 at index 1 is not in 0\.\.9"):
        load_cifar10(small)


def test_today_s_pickles_of_arrays_are_read_too():
    data, labels = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8), [1, 2, 3, 0]
    raw = pickle.dumps({"data": data, "labels": labels}, protocol=4)
    assert b"numpy" in raw and b"_reconstruct" in raw
    got = parse_python(raw)
    assert (got[0] == data).all() and got[1].tolist() == labels


class Payload:
    """Unpickled by a plain unpickler, this runs a command."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_hostile_pickle_is_not_executed(tmp_path, protocol):
    marker = tmp_path / "executed"
    raw = pickle.dumps({"data": Payload(os.system, f"touch {marker}"), "labels": [0]}, protocol=protocol)
    with pytest.raises(DataError, match="the pickle asks for .*system, which no file of CIFAR-10 does"):
        parse_python(raw)
    assert not marker.exists()
    pickle.loads(raw)  # the payload does work
    assert marker.exists()


@pytest.mark.parametrize("call", [
    (eval, "1"), (getattr, int, "real"), (np.load, "x"), (np.dtype, "O"), (np.fromfile, "/etc/passwd"),
    (Path, "x"), (bytearray, 10 ** 12)])
def test_no_other_name_is_known(call):
    with pytest.raises(DataError):
        parse_python(pickle.dumps({"data": Payload(*call), "labels": [0]}, protocol=4))


def test_a_hostile_file_in_the_folder(small, tmp_path):
    write_files(small, "python")
    marker = tmp_path / "executed"
    (small / "test_batch").write_bytes(pickle.dumps(Payload(os.system, f"touch {marker}")))
    with pytest.raises(DataError, match="test_batch is damaged or not CIFAR-10: md5"):
        load_cifar10(small)
    assert not marker.exists()


@pytest.mark.parametrize("data", [
    np.zeros((1, 3072), object), np.zeros((1, 3072), np.int8), np.zeros((1, 3072), "u1,u1"),
    np.asfortranarray(np.zeros((2, 3072), np.uint8))])
def test_other_arrays_are_refused(data):
    with pytest.raises(DataError, match="the pickle"):
        parse_python(pickle.dumps({"data": data, "labels": [0] * len(data)}, protocol=4))


def test_a_pickle_cannot_reach_numpy_s_own_dtypes():
    # State for the dtype that says its items are pointers to objects: NumPy itself would believe it.
    raw = GOOD.replace(b"K\x00tb\x89T", b"K\x3ftb\x89T")
    assert raw != GOOD and (parse_python(raw)[0] == 0).all()
    assert not np.dtype(np.uint8).hasobject


GOOD = python2_pickle(np.zeros((2, 3072), np.uint8), [1, 2])


@pytest.mark.parametrize("raw", [
    b"", b"garbage", GOOD[:-1], GOOD[:100], GOOD[:4000], pickle.dumps([1, 2]), pickle.dumps({"data": 1}),
    pickle.dumps({"data": "x", "labels": [1]}), GOOD.replace(b"labels", b"labelz"),
    python2_pickle(np.zeros((2, 3072), np.uint8), [1, 2, 3])])
def test_what_is_not_a_batch_is_refused(raw):
    with pytest.raises(DataError, match="some/path is not a CIFAR-10 batch"):
        parse_python(raw, "some/path")


@real
def test_the_real_files():
    train, test = load_cifar10(REAL)
    assert train.images.shape == (50_000, 32, 32, 3) and len(test) == 10_000
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]  # frog, truck, truck, deer, car, ...
    assert train.images[0, 0, 0].tolist() == [59, 62, 63]
    # The means that everybody normalises by: 0.4914, 0.4822, 0.4465 of 255.
    assert train.mean_image().mean((0, 1)) / 255 == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)


@real
def test_the_real_files_in_the_binary_format(tmp_path):
    python = next(p for p in [Path(REAL), *Path(REAL).glob("*/")] if (p / "test_batch").is_file())
    expected_images, expected_labels = read_batch(python / "test_batch")
    # The md5 is right, so a plain unpickler may serve as a second, independent reader.
    batch = pickle.loads((python / "test_batch").read_bytes(), encoding="bytes")
    path = tmp_path / "test_batch.bin"
    path.write_bytes(b"".join(bytes([y]) + row.tobytes()
                              for y, row in zip(batch[b"labels"], batch[b"data"], strict=True)))
    images, labels = read_batch(path)
    assert (images == expected_images).all() and (labels == expected_labels).all()
    assert (images.transpose(0, 3, 1, 2).reshape(-1, 3072) == batch[b"data"]).all()
