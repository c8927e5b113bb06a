"""python -m minitorch_alex.prepare: what it stores, that it does so once and for all, what it says when it cannot."""
import contextlib
import csv
import hashlib
import io
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
from pathlib import Path

import imagenet_trees as trees
import numpy as np
import pytest
from PIL import Image

from minitorch_alex import prepare
from minitorch_alex.data import decoding, shard_workers, shards
from minitorch_alex.data.decoding import resize_short_side
from minitorch_alex.data.moments import Moments
from minitorch_alex.data.shards import Settings, Shard
from minitorch_alex.data.sources import Split, list_source
from minitorch_alex.data.transforms import fit_pca
from minitorch_alex.errors import DataError, DiskError, UserError

SMALL = ("--size", "32", "--shard-images", "5")
LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


@pytest.fixture(scope="module")
def images():
    return trees.drawn_images()


@pytest.fixture(scope="module")
def source(images, tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    trees.folders(root, *images)
    return root


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    """The drawn images, prepared by one worker."""
    target = tmp_path_factory.mktemp("prepared") / "set"
    prepare.main([str(source), str(target), *SMALL, "-j", "1"])
    return target


def content(folder, but=()):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name not in but}


def read_set(folder):
    """{split: [(wnid, uint8 image, the stored bytes)]} of a prepared set, read by the description of the format alone
    and checked against every promise of it."""
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 1 and list(index["splits"]) == ["train", "val"]
    wnids = [c["wnid"] for c in index["classes"]]
    found = {}
    for name, split in index["splits"].items():
        rows = np.load(folder / f"{name}-samples.npy")
        assert rows.dtype == np.dtype([("shard", "u4"), ("offset", "u8"), ("length", "u4"), ("label", "i4")])
        assert len(rows) == split["images"] == sum(s["images"] for s in split["shards"])
        assert np.bincount(rows["shard"], minlength=len(split["shards"])).tolist() == [
            s["images"] for s in split["shards"]]
        found[name] = []
        for number, shard in enumerate(split["shards"]):
            raw = (folder / shard["file"]).read_bytes()
            assert len(raw) == shard["bytes"] and hashlib.sha256(raw).hexdigest() == shard["sha256"]
            mine = rows[rows["shard"] == number]
            if index["format"] == "npy":
                pixels = np.load(folder / shard["file"], mmap_mode="r")
                assert pixels.dtype == np.uint8 and pixels.shape == (len(mine), index["size"], index["size"], 3)
                assert mine["offset"].tolist() == list(range(len(mine))) and not mine["length"].any()
                found[name] += [(wnids[r["label"]], p, p.tobytes()) for r, p in zip(mine, pixels, strict=True)]
            else:
                jpegs = [raw[r["offset"]:r["offset"] + r["length"]] for r in mine]
                found[name] += [(wnids[r["label"]], np.asarray(Image.open(io.BytesIO(j))), j)
                                for r, j in zip(mine, jpegs, strict=True)]
                with tarfile.open(folder / shard["file"]) as tar:  # and as WebDataset would read it
                    members = [(m.name, tar.extractfile(m).read()) for m in tar]
                assert [m[1] for m in members[::2]] == jpegs
                assert [int(m[1]) for m in members[1::2]] == mine["label"].tolist()
                keys = [m[0].split(".") for m in members]
                assert all(a[0] == b[0] and (a[1], b[1]) == ("jpg", "cls") for a, b in zip(keys[::2], keys[1::2]))
    return found


def as_stored(raw, size):
    """What is to become of an image file: decoded, scaled, cut, compressed; step by step, by Pillow alone."""
    image = resize_short_side(Image.open(io.BytesIO(raw)).convert("RGB"), size)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    file = io.BytesIO()
    image.crop((left, top, left + size, top + size)).save(file, "JPEG", quality=95)
    return file.getvalue()


# what is stored

@pytest.mark.slow
@pytest.mark.parametrize("which", ["drawn", "photographs"])
def test_every_layout_gives_the_same_set_and_every_image_its_class(which, tmp_path):
    """All bytes but the names of files and the name of the layout; and they are those that were to be made."""
    images = trees.drawn_images() if which == "drawn" else trees.photographs()
    if images is None:
        pytest.skip("MINITORCH_DATA names no folder with imagenet-originals")
    train, val = images
    size, first = (32 if which == "drawn" else 64), None
    for layout in ("kaggle", "official", "folders", "tiny", *["imagenette"] * (which == "drawn")):
        trees.LAYOUTS[layout](tmp_path / layout, train, val)
        target = tmp_path / f"{layout}-set"
        prepare.main([str(tmp_path / layout), str(target), "--layout", layout, "--size", str(size), "--shard-images",
                      "7", "-j", "2"])
        made = content(target, but=("index.json", "rejected.csv", "train-files.npy", "val-files.npy"))
        index = json.loads((target / "index.json").read_text())
        assert index.pop("source") == layout
        first = first or (made, index)
        assert made == first[0] and index == first[1], layout
    stored = read_set(target)
    bad = trees.REJECTED if which == "drawn" else ()
    expected = {as_stored(raw, size): wnid for wnid, files in train.items() for name, raw in files.items()
                if name not in bad}
    assert {jpeg: wnid for wnid, _, jpeg in stored["train"]} == expected and len(stored["train"]) == len(expected)
    assert [(wnid, jpeg) for wnid, _, jpeg in stored["val"]] == [(w, as_stored(raw, size)) for w, raw in val.values()]
    assert index["rejected"] == len(bad)
    assert [c["name"] for c in index["classes"]] == [trees.words_of(train)[wnid] for wnid in sorted(train)]


def test_statistics_are_those_of_the_training_images_as_stored(prepared):
    index = json.loads((prepared / "index.json").read_text())
    pixels = np.stack([image for _, image, _ in read_set(prepared)["train"]])
    mean = np.load(prepared / index["mean_image"])
    assert mean.dtype == np.float32 and (mean == (pixels.sum(axis=0, dtype=float) / len(pixels)).astype("f4")).all()
    color, flat = index["color"], pixels.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(color["mean"], flat.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(color["covariance"], np.cov(flat.T, bias=True), rtol=1e-10)
    pca = fit_pca(pixels)  # the same order and the same signs
    np.testing.assert_allclose(color["eigenvalues"], pca.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(color["eigenvectors"], pca.eigenvectors, atol=1e-9)


def test_sums_are_exact_where_floats_would_not_be():
    """Of a million white images; float32 would stop counting at 2^24, and the covariance of one colour is 0."""
    one = Moments.zero(4)
    one.add(np.full((4, 4, 3), 255, np.uint8))
    many = Moments(one.images * 10**6, one.total * 10**6, one.products * 10**6)
    assert many.color()["covariance"] == [[0.0] * 3] * 3 and many.color()["mean"] == [255.0] * 3
    many.add(np.zeros((4, 4, 3), np.uint8))
    n, s = 10**6 + 1, 255 * 10**6
    assert many.color()["covariance"][0][2] == (n * 255 * s - s * s) / n**2 and many.images == n


def test_npy_shards_hold_the_pixels_themselves(source, prepared, tmp_path):
    prepare.main([str(source), str(tmp_path / "npy"), *SMALL, "--format", "npy", "-j", "1"])
    raw, jpeg = read_set(tmp_path / "npy"), read_set(prepared)
    for split in ("train", "val"):
        assert [wnid for wnid, *_ in raw[split]] == [wnid for wnid, *_ in jpeg[split]]
        cost = [np.abs(a.astype(int) - b).mean() for (_, a, _), (_, b, _) in zip(raw[split], jpeg[split], strict=True)]
        assert 0 < min(cost) and np.median(cost) < 4  # of JPEG at this size
    pixels = np.stack([image for _, image, _ in raw["train"]])
    assert (np.load(tmp_path / "npy" / "mean.npy") == pixels.mean(axis=0).astype("f4")).all()


def test_what_cannot_be_decoded_is_listed_with_its_reason(prepared):
    with open(prepared / "rejected.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "reason"]
    reasons = {name.rsplit("/", 1)[-1]: reason for name, reason in rows}
    assert set(reasons) == set(trees.REJECTED) and all(name.startswith("train/n") for name, _ in rows)
    assert "truncated" in reasons[trees.REJECTED[0]] and reasons[trees.REJECTED[1]] == "the file is empty"
    assert "no image that Pillow can read" in reasons[trees.REJECTED[2]]


def test_the_names_of_files_stand_beside_their_images(prepared, images):
    """By their JPEGs: what each image of the set was made from, without those that were rejected."""
    train, val = images
    by_name = {name: raw for files in train.values() for name, raw in files.items()}
    by_name |= {name: raw for name, (_, raw) in val.items()}
    for split, stored in read_set(prepared).items():
        names = [name.decode().rsplit("/", 1)[-1] for name in np.load(prepared / f"{split}-files.npy")]
        assert [as_stored(by_name[name], 32) for name in names] == [jpeg for *_, jpeg in stored]


def flat(color, mode="RGB"):
    return Image.new(mode, (20, 10), color)


@pytest.mark.parametrize("raw, expected", [
    (trees.file_of(flat((200, 100, 50)), quality=100), (200, 100, 50)),
    (trees.file_of(flat((55, 155, 205, 0), "CMYK"), quality=100), (200, 100, 50)),  # with Adobe's marker: inverted
    (trees.file_of(flat(120, "L")), (120, 120, 120)),
    (trees.file_of(flat((200, 100, 50)).quantize(4), "PNG"), (200, 100, 50)),
    (trees.file_of(flat((200, 100, 50, 7), "RGBA"), "PNG"), (200, 100, 50)),
    (trees.file_of(flat((90, 7), "LA"), "PNG"), (90, 90, 90)),
    (trees.file_of(flat(1, "1"), "PNG"), (255, 255, 255)),
    (trees.file_of(flat((200, 100, 50)), "GIF"), (200, 100, 50)),
    (trees.file_of(Image.fromarray(np.full((10, 20), 300 * 256 // 2, np.uint16)), "PNG"), (150, 150, 150)),
], ids=["rgb", "cmyk", "grey", "palette", "rgba", "grey with alpha", "black and white", "gif", "16 bits"])
def test_every_kind_of_image_becomes_rgb(raw, expected):
    got = np.asarray(decoding.decode_rgb(raw)).astype(int)
    assert got.shape == (10, 20, 3) and np.abs(got - expected).max() <= 3


def test_the_exif_orientation_is_ignored():
    assert decoding.decode_rgb(trees.turned(trees.picture(1, 30, 20))).size == (30, 20)


@pytest.mark.parametrize("damage", range(0, 1400, 97))
def test_a_file_damaged_anywhere_is_decoded_or_refused(damage):
    for kind in ("JPEG", "PNG"):
        raw = bytearray(trees.file_of(trees.picture(1, 30, 20), kind))
        raw[damage % len(raw)] ^= 0xFF
        for broken in (bytes(raw), bytes(raw[:damage % len(raw)])):
            with contextlib.suppress(ValueError):
                assert decoding.decode_rgb(broken).mode == "RGB"


def test_the_square_is_the_middle_of_what_averaging_over_areas_gives():
    image = trees.picture(3, 96, 64)
    blocks = np.asarray(image).astype(float).reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))  # 24 x 16
    assert np.abs(np.asarray(decoding.central_square(image, 16)) - blocks[:, 4:20]).max() <= 1  # Pillow rounds twice
    small = trees.picture(4, 8, 8)
    bicubic = small.resize((16, 16), Image.Resampling.BICUBIC)
    assert (np.asarray(decoding.central_square(small, 16)) == np.asarray(bicubic)).all()


@pytest.mark.parametrize("size", [(1, 5000), (5000, 2)])
def test_a_line_is_not_enlarged_to_gigabytes(size):
    Image.init()
    tracked = []
    original = decoding.resize_short_side
    decoding.resize_short_side = lambda image, to: tracked.append(image.size) or original(image, to)
    try:
        assert decoding.central_square(Image.new("RGB", size, "red"), 256).size == (256, 256)
    finally:
        decoding.resize_short_side = original
    assert max(tracked[0]) <= 8 * min(tracked[0])


def test_memory_does_not_grow_with_the_shard(tmp_path):
    trees.put(tmp_path / "a.JPEG", trees.file_of(trees.picture(1, 128, 128)))
    (tmp_path / "partial").mkdir()
    peaks = []
    for n in (20, 160):
        part = Split(tmp_path, ["a.JPEG"] * n, np.zeros(n, np.int32), np.zeros((n, 0), np.int64))
        tracemalloc.start()
        shards.write_shard(Shard("train", n, 0, part), Settings(tmp_path, "npy", 128))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6 < (tmp_path / "train-00160.npy").stat().st_size


# the same however it was made

def test_the_result_does_not_depend_on_the_number_of_workers(source, prepared, tmp_path):
    prepare.main([str(source), str(tmp_path / "set"), *SMALL, "-j", "3"])
    assert content(tmp_path / "set") == content(prepared)


def test_synthetic_needs_no_source(tmp_path):
    for name in ("a", "b"):
        prepare.main(["--synthetic", "12", str(tmp_path / name), "--classes", "11", *SMALL, "-j", "1"])
    assert content(tmp_path / "a") == content(tmp_path / "b")
    found = read_set(tmp_path / "a")
    assert len(found["train"]) == 12 and len(found["val"]) == 11 and len({w for w, *_ in found["train"]}) == 11
    assert len({jpeg for split in found.values() for *_, jpeg in split}) == 23


def command(*arguments):
    return [sys.executable, "-m", "minitorch_alex.prepare", *map(str, arguments)]


def run(*arguments, **settings):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, **settings)


def descendants(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            if int(rest.split()[1]) == pid:
                found += [int(stat.parent.name), *descendants(int(stat.parent.name))]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


LONG = ("--synthetic", "60", "--size", "64", "--shard-images", "3", "-j", "2")  # seconds of work: 24 shards


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """What LONG makes when nobody disturbs it."""
    target = tmp_path_factory.mktemp("long") / "set"
    assert run(*LONG, target).returncode == 0
    return target


@contextlib.contextmanager
def in_the_middle(target, *arguments):
    """A prepare that has finished at least two shards, and all processes below it."""
    process = subprocess.Popen(command(*arguments, target), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        wait_for(lambda: len(list(target.glob("partial/*.npz"))) >= 2 or process.poll() is not None, "two shards")
        assert process.poll() is None, "it ended too early to be disturbed"
        yield process, descendants(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle_and_begun_again(end, long_run, tmp_path):
    """Nothing of it stays but finished shards; those are not made again; and the result is the same to the byte."""
    target = tmp_path / "set"
    with in_the_middle(target, *LONG) as (process, below):
        assert len(below) >= 2
        shared = [fd for pid in (process.pid, *below) for fd in Path(f"/proc/{pid}/fd").iterdir()
                  if "/dev/shm" in os.path.realpath(fd)]
        shared += [pid for pid in below if "/dev/shm" in Path(f"/proc/{pid}/maps").read_text()]
        assert not shared
        if end == signal.SIGINT:
            for pid in below:  # which is not for them to act on, not even while they start
                masks = re.findall(r"^Sig(?:Blk|Ign):\t(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
                assert any(int(mask, 16) >> (end - 1) & 1 for mask in masks)
                os.kill(pid, end)
            so_far = len(list(target.glob("partial/*.npz")))
            wait_for(lambda: len(list(target.glob("partial/*.npz"))) > so_far or process.poll(), "one more shard")
            assert process.poll() is None
            os.killpg(process.pid, end)  # as a terminal does
        else:
            process.send_signal(end)
        out, err = process.communicate(timeout=60)
        wait_for(lambda: not any(map(alive, below)), "the end of the workers")
        if end == signal.SIGINT:
            assert process.returncode == 130 and "give the same command to resume" in out and "Traceback" not in err
            assert not list(target.glob("partial/*.part"))
        else:
            assert process.returncode == -end
    assert not (target / "index.json").exists()
    finished = [p.stem for p in target.glob("partial/*.npz")]
    assert 2 <= len(finished) < 24
    before = {name: (target / f"{name}.tar").stat() for name in finished}
    again = run(*LONG, target)
    assert again.returncode == 0 and f"{len(finished)} of 24 shards are finished" in again.stdout
    for name, stat in before.items():
        now = (target / f"{name}.tar").stat()
        assert (now.st_ino, now.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns), name
    assert content(target) == content(long_run)


@LINUX
@pytest.mark.slow
def test_a_killed_worker_ends_it_with_one_line(long_run, tmp_path):
    target = tmp_path / "set"
    with in_the_middle(target, *LONG) as (process, below):
        workers = [pid for pid in below if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(workers[0], signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1 and "Traceback" not in err
        assert "error: a worker process was killed (SIGKILL)" in err and "use fewer --workers" in err
        wait_for(lambda: not any(map(alive, below)), "the end of the other workers")
    assert not list(target.glob("partial/*.part"))
    assert run(*LONG, target).returncode == 0 and content(target) == content(long_run)


def test_a_worker_to_whom_nobody_listens_ends_within_an_image(source, tmp_path, monkeypatch):
    """So that a killed prepare leaves no process at work on a shard of a thousand."""
    (tmp_path / "partial").mkdir()
    listing = list_source(source)
    for split in listing.splits.values():
        read, count = Split.read, []
        monkeypatch.setattr(Split, "read", lambda self, i, read=read, count=count: count.append(i) or read(self, i))
        ours, theirs = multiprocessing.Pipe()
        ours.send(Shard("train", 0, 0, split))
        ours.close()
        handler = signal.getsignal(signal.SIGINT)
        try:
            with pytest.raises(SystemExit):
                shard_workers.work_on(theirs, Settings(tmp_path, "tar", 32))
        finally:
            signal.signal(signal.SIGINT, handler)
            monkeypatch.undo()
        assert count == [0] and not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_shard_that_was_cut_after_it_was_finished_is_made_again(source, prepared, tmp_path, monkeypatch):
    """As a power cut may leave it; and the end of the work may be interrupted as well."""
    def interrupted(*_):
        raise KeyboardInterrupt

    target = tmp_path / "set"
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(prepare, "write_index", interrupted)
        prepare.main([str(source), str(target), *SMALL, "-j", "1"])
    os.truncate(target / "train-00001.tar", 1000)
    (target / "partial" / "train-00002.npz").write_bytes(b"PK damaged")
    (target / "partial" / "train-00000.tar.123.part").write_bytes(b"left behind")
    untouched = (target / "train-00000.tar").stat().st_ino
    prepare.main([str(source), str(target), *SMALL, "-j", "1"])
    assert content(target) == content(prepared) and (target / "train-00000.tar").stat().st_ino == untouched


def test_other_settings_do_not_go_on_with_what_was_begun(source, tmp_path, monkeypatch, capsys):
    target = tmp_path / "set"
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(prepare, "write_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        prepare.main([str(source), str(target), *SMALL, "-j", "1"])
    with pytest.raises(UserError, match=r"started with another size \(32, now 48\).*--overwrite"):
        prepare.main([str(source), str(target), "--size", "48", "--shard-images", "5"])
    with pytest.raises(UserError, match="started with another number of images .25, now 12."):
        prepare.main([str(source), str(target), *SMALL, "--limit", "2"])
    prepare.main([str(source), str(target), "--format", "npy", "--size", "16", "--overwrite", "-j", "1"])
    assert not list(target.glob("*.tar")) and len(read_set(target)["train"]) == 15


def test_overwrite_replaces_a_set_and_leaves_other_files_alone(source, prepared, tmp_path):
    target = tmp_path / "set"
    prepare.main([str(source), str(target), "--size", "16", "--shard-images", "2", "-j", "1"])
    (target / "notes-of-mine.txt").write_text("keep")
    (target / "train-old.tar").write_text("keep")
    with pytest.raises(UserError, match="is a prepared set already; choose another DST, or start again"):
        prepare.main([str(source), str(target), *SMALL])
    prepare.main([str(source), str(target), *SMALL, "--overwrite", "-j", "1"])
    made = content(target)
    assert made.pop("notes-of-mine.txt") == made.pop("train-old.tar") == b"keep" and made == content(prepared)


# what it says

def test_errors_of_a_worker_come_from_the_worker(source, tmp_path):
    (tmp_path / "partial").mkdir()
    settings = Settings(tmp_path, "tar", 32)
    listing = list_source(source)
    missing = Split(tmp_path / "gone", listing.splits["val"].names, listing.splits["val"].labels,
                    listing.splits["val"].spans)
    with pytest.raises(DataError, match="cannot read .*gone.*No such file"):
        shard_workers.make_shards([Shard("val", 0, 0, missing)], settings, 1, lambda: None)
    with pytest.raises(RuntimeError, match="(?s)in a worker process:.*TypeError"):
        shard_workers.make_shards([Shard("val", 0, 0, listing.splits["val"])], Settings(tmp_path, "tar", "wide"), 1,
                                  lambda: None)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_full_disk_leaves_whole_shards_only(source, prepared, small_disk):
    target = small_disk / "set"
    refused = run(source, target, "--size", "128", "--shard-images", "5", "-j", "1")
    assert refused.returncode == 7 and len(refused.stderr.splitlines()) == 1, refused.stderr
    assert "No space left on device; make room, and give the same command again" in refused.stderr
    assert not list(target.rglob("*.part")) and not (target / "index.json").exists()
    for shard in target.glob("*.tar"):
        with tarfile.open(shard) as tar:
            assert len(tar.getmembers()) > 2


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a matter of Unix")
def test_a_shard_that_cannot_be_written_can_be_made_later(source, prepared, tmp_path):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))

    target = tmp_path / "set"
    refused = run(source, target, *SMALL, "-j", "1", preexec_fn=limit)
    assert refused.returncode == 7 and len(refused.stderr.splitlines()) == 1, refused.stderr
    assert "cannot write" in refused.stderr and "File too large" in refused.stderr
    assert not list(target.rglob("*.part")) and not list(target.rglob("*.tar"))
    assert run(source, target, *SMALL, "-j", "2").returncode == 0
    assert content(target) == content(prepared)


def test_a_folder_that_cannot_be_written(source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="cannot write to .*file/set: Not a directory"):
        prepare.main([str(source), str(tmp_path / "file" / "set")])


def test_nothing_but_bad_images(tmp_path):
    for split in ("train", "val"):
        trees.put(tmp_path / "source" / split / "cat" / "1.jpg", b"nothing")
    with pytest.raises(DataError, match="none of the 2 images of the train split could be decoded: train/cat/1.jpg"):
        prepare.main([str(tmp_path / "source"), str(tmp_path / "set"), "-j", "1"])
    assert not (tmp_path / "set" / "index.json").exists()


@pytest.mark.parametrize("arguments, message", [
    (["SRC"], r"expected SRC and DST \(or --synthetic N and DST, which draws images\), got /"),
    (["SRC", "DST", "--synthetic", "9"], "expected DST alone: --synthetic reads nothing, got"),
    (["SRC", "DST", "--size", "4"], "--size must be 8 or more, got 4"),
    (["SRC", "DST", "--shard-images", "0"], "--shard-images must be 1 or more"),
    (["SRC", "DST", "-j", "0"], "--workers must be 1 or more"),
    (["SRC", "DST", "--val-split", "1"], "--val-split must be a share"),
    (["SRC", "SRC/train/DST"], "is inside of .* where the images are"),
    (["SRC", "SRC"], "is not empty and has no unfinished set"),
    (["SRC", "SRC", "--overwrite"], "is not empty and has no unfinished set"),
    (["SRC", "SRC/LOC_synset_mapping.txt"], "is a file; DST must be a folder"),
    (["SRC/nowhere", "DST"], "there is no folder"),
    (["SRC/train", "DST"], "is not an ImageNet: it has n01440764.*--val-split"),
])
def test_wrong_usage_is_one_line(arguments, message, source, tmp_path):
    filled = [a.replace("SRC", str(source)).replace("DST", str(tmp_path / "set")) for a in arguments]
    before = content(source)
    with pytest.raises(UserError, match=message) as caught:
        prepare.main(filled)
    assert "\n" not in str(caught.value) and not (tmp_path / "set").exists() and content(source) == before


def test_a_dry_run_says_what_there_is_and_writes_nothing(source, tmp_path, capsys):
    prepare.main([str(source), str(tmp_path / "set"), "--dry-run", "--shard-images", "4"])
    out = capsys.readouterr().out
    for part in (f"imagenette in {source}", "3: n01440764 tench, Tinca tinca ... n03888257 parachute, chute",
                 "train       18 images in 5 shards", "val         7 images in 2 shards", "as tar of 256 x 256"):
        assert part in out
    assert not (tmp_path / "set").exists()


def test_the_estimate_is_near_the_truth(tmp_path):
    for k in range(200):
        trees.put(tmp_path / "source" / "class" / f"{k}.jpg", trees.file_of(trees.picture(k, 40 + k % 50, 60)))
    listing = list_source(tmp_path / "source", val_split=0.2)
    for kind in shards.FORMATS:
        size, seconds = prepare.estimate(listing, kind, 64)
        prepare.main([str(tmp_path / "source"), str(tmp_path / kind), "--size", "64", "--format", kind, "-j", "1",
                      "--val-split", "0.2"])
        truth = sum(p.stat().st_size for p in (tmp_path / kind).glob(f"*.{kind}"))
        assert 0.6 < size / truth < 1.4 and seconds > 0


def test_help_documents_layouts_and_exit_codes():
    result = run("--help")
    text = " ".join(result.stdout.split())
    assert result.returncode == 0 and "LOC_val_solution.csv" in text and "7 a file could not" in text
    assert "EXIF orientation is ignored" in text and "checkpoint was" not in text
