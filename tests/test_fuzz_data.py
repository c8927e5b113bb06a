"""Random damage to everything that is read as data: it is right, or one line with a documented exit code.

Pictures, archives, folder trees, prepared sets and lists are drawn and damaged from fixed seeds. Each input must give
a result that fits together, or an error for the user on one line; no program is started, nothing is written, and
memory stays within what a file may claim. A few hundred inputs are tried here; by hand, thousands of each kind:

    MINITORCH_FUZZ=3000 python -m pytest tests/test_fuzz_data.py -q
    MINITORCH_FUZZ=3000 MINITORCH_FUZZ_SEED=1000000 python -m pytest tests/test_fuzz_data.py -q -k pictures

An input that fails is named by its seed: MINITORCH_FUZZ=1 MINITORCH_FUZZ_SEED=<seed> repeats it.
"""
import contextlib
import functools
import json
import os
import shutil
import sys
import warnings

import imagenet_trees as trees
import numpy as np
import pytest
from PIL import Image

from minitorch_alex import data, prepare
from minitorch_alex.data import cifar10, folders
from minitorch_alex.data.decoding import central_square, decode_rgb, image_formats
from minitorch_alex.data.devkit import read_devkit
from minitorch_alex.data.sources import list_source
from minitorch_alex.data.synsets import short_names
from minitorch_alex.errors import DataError, UserError

COUNT = int(os.environ.get("MINITORCH_FUZZ", "60"))
FIRST = int(os.environ.get("MINITORCH_FUZZ_SEED", "0"))
SEEDS = range(FIRST, FIRST + COUNT)
KINDS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "DDS", "ICO", "TGA", "PPM", "PCX", "SGI",
         "MPO", "QOI")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn")
watching = False


def _watch(event, arguments):
    if watching and event in PROGRAMS:
        raise RuntimeError(f"{event} {arguments}")


@pytest.fixture(autouse=True)
def nothing_is_executed(monkeypatch):
    """While a test runs, starting a program is an error, and images have few pixels, so that thousands are quick."""
    global watching
    _install_watch()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    watching = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    watching = False


@functools.cache
def _install_watch():
    sys.addaudithook(_watch)  # it cannot be taken away again


@pytest.fixture(autouse=True)
def memory_is_bounded():
    """All inputs of a test together take less than 600 MB more than there was."""
    if sys.platform == "win32":
        yield
        return
    import resource
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown / (1024 if sys.platform == "darwin" else 1) < 600_000


def damage(raw, draw, longest=None):
    """A file with something wrong in it; most of the damage is in its first `longest` bytes."""
    raw = bytearray(raw)
    for _ in range(draw.integers(1, 5)):
        end = len(raw) if longest is None or draw.random() < 0.2 else min(len(raw), longest)
        at = int(draw.integers(0, max(end, 1)))
        size = int(draw.choice([1, 1, 2, 4, 8, 64]))
        match draw.integers(6):
            case 0:
                raw[at:at + size] = draw.bytes(size)
            case 1:
                raw[at:at + size] = bytes([int(draw.choice([0, 1, 0x7F, 0x80, 0xFF]))]) * size
            case 2:
                del raw[at:at + size]
            case 3:
                raw[at:at] = draw.bytes(size)
            case 4:
                raw[at:at] = raw[at:at + 16 * size]
            case 5 if draw.random() < 0.3:
                del raw[at:]
            case 5:
                raw[at:at + 1] = bytes([raw[at] ^ 1 << int(draw.integers(8))]) if at < len(raw) else b""
    return bytes(raw)


def one_line(error, seed):
    assert isinstance(error, UserError) and error.exit_code in (2, 4), (seed, error)
    assert "\n" not in str(error) and len(str(error)) > 10, (seed, error)


@functools.cache
def pictures(kind):
    """Files of one format: of several modes, with and without EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera"
    made = []
    for k, mode in enumerate(("RGB", "L", "RGBA", "P", "CMYK", "I;16", "F", "1", "LA")):
        for settings in ({}, {"exif": exif}):
            image = trees.picture(k, 40, 30)
            if mode in ("I;16", "F"):
                dtype = np.uint16 if mode == "I;16" else np.float32
                image = Image.fromarray(np.asarray(image.convert("L")).astype(dtype))
            else:
                image = image.convert(mode)
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a format without this mode
                made.append(trees.file_of(image, kind, **settings))
    return made


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in image_formats() or kind == "MPO"])
def test_damaged_pictures(kind):
    files = pictures(kind)
    assert files
    decoded = 0
    for seed in SEEDS[:max(1, COUNT // 3)]:
        draw = np.random.default_rng([seed, KINDS.index(kind)])
        raw = damage(files[draw.integers(len(files))], draw, 200)
        sizes = set()
        for as_viewed in (False, True):
            try:
                image = decode_rgb(raw, as_viewed)
                assert image.mode == "RGB" and central_square(image, 32).size == (32, 32), seed
                sizes.add(tuple(sorted(image.size)))
                decoded += 1
            except ValueError as error:
                sizes.add(None)
                assert "\n" not in str(error) and str(error), seed
        assert len(sizes) == 1, seed  # for training and for a viewer the same file is an image
    assert decoded or COUNT < 20


@functools.cache
def drawn():
    return trees.drawn_images()


def test_damaged_official_archives(tmp_path):
    trees.official(tmp_path, *drawn())
    names = sorted(path.name for path in tmp_path.iterdir())
    whole = {name: (tmp_path / name).read_bytes() for name in names}
    listed = 0
    for seed in SEEDS:
        draw = np.random.default_rng([seed, 100])
        name = names[draw.integers(len(names))]
        (tmp_path / name).write_bytes(damage(whole[name], draw, 2000 if draw.random() < 0.5 else None))
        try:
            listing = list_source(tmp_path)
            listed += 1
            for split in listing.splits.values():
                assert len(split) and split.labels.min() >= 0 and split.labels.max() < len(listing.classes), seed
                for i in range(len(split)):
                    with contextlib.suppress(ValueError):
                        decode_rgb(split.read(i))
        except UserError as error:
            one_line(error, seed)
        (tmp_path / name).write_bytes(whole[name])
    assert listed or COUNT < 20


def test_damaged_development_kits(tmp_path):
    path = tmp_path / "kit"
    (path / "data").mkdir(parents=True)
    mat = trees.mat_file([(i, wnid, trees.WORDS[wnid], 0) for wnid, i in trees.IDS.items()], compressed=False)
    for seed in SEEDS:
        draw = np.random.default_rng([seed, 200])
        (path / "data" / "meta.mat").write_bytes(damage(mat, draw))
        (path / "data" / "ILSVRC2012_validation_ground_truth.txt").write_bytes(damage(b"1\n2\n3\n2\n", draw))
        try:
            names, truth = read_devkit(path)
            assert all(isinstance(name, str) for name in names.values()) and set(truth) <= set(names), seed
        except DataError as error:
            one_line(error, seed)


def test_damaged_archives_of_cifar(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "BATCH", 10)
    source = tmp_path / "cifar-10-batches-bin"
    source.mkdir()
    for k, name in enumerate(cifar10.BINARY_FILES):
        (source / name).write_bytes(np.full((10, cifar10.RECORD), k, np.uint8).tobytes())
    whole = trees.tar_of((f"{source.name}/{file.name}", file.read_bytes()) for file in sorted(source.iterdir()))
    for seed in SEEDS:
        draw = np.random.default_rng([seed, 300])
        home = tmp_path / f"home{seed}"
        trees.put(home / "cifar-10-binary.tar", damage(whole, draw, 600))
        try:
            train, test = data.load("cifar10", home)
            assert len(train) == 50 and len(test) == 10, seed
        except UserError as error:
            one_line(error, seed)
        names = {path.name for path in home.iterdir()}
        assert names <= {"cifar-10-binary.tar", source.name} and not list(tmp_path.glob("*.bin")), seed
        shutil.rmtree(home)


NAMES = ("cat", "dog", "Smith, John", "n01440764", "a;b", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "-x", "$y", "%s",
         "{}", "con", "z" * 100, "__MACOSX", "@eaDir", ".hidden", "lost+found", "images", "10", "9")
FILES = ("0.jpg", "1.JPG", "2.png", "3", "4.jpg?size=large", "5.tif", "._0.jpg", "Thumbs.db", ".DS_Store", "notes.txt",
         "readme", "6.jfif", "7.gif", "labels.yaml", "8.jpeg", "Icon\r", "9.webp", "0 (copy).jpg")


def grow(folder, draw, depth=0):
    """Put some files, folders and links into a folder of a class."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(draw.integers(0, 4)):
        path = folder / FILES[draw.integers(len(FILES))]
        if os.path.lexists(path):
            continue
        choice = draw.random()
        if choice < 0.75:
            kind = ("JPEG", "PNG", "GIF", "BMP")[draw.integers(4)]
            path.write_bytes(trees.file_of(trees.picture(int(draw.integers(1000)), 12, 9), kind))
        elif choice < 0.83:
            path.write_bytes(draw.bytes(int(draw.integers(0, 60))))
        elif choice < 0.88:
            path.mkdir()
        elif sys.platform != "win32":
            path.symlink_to(("nowhere", "..", ".", path.name, "../../..", "/dev/null")[draw.integers(6)])
    if depth < 2 and draw.random() < 0.3:
        grow(folder / NAMES[draw.integers(len(NAMES))], draw, depth + 1)


def plant(root, draw):
    """A tree of classes, more or less as `train --data folder` wants it."""
    train = "train" if draw.random() < 0.95 else "Train"
    val = ("val", "val", "valid", "validation", "test", "VAL")[draw.integers(6)]
    classes = [NAMES[i] for i in draw.choice(len(NAMES), draw.integers(1, 5), replace=False)]
    for split in (train, val):
        for name in classes:
            if split == train or draw.random() < 0.9:
                grow(root / split / name, draw)
            if draw.random() < 0.9:  # most classes have something
                trees.put(root / split / name / "sure.png", trees.file_of(trees.picture(len(name), 12, 9), "PNG"))
    if draw.random() < 0.1:
        (root / val / NAMES[draw.integers(len(NAMES))]).mkdir(parents=True, exist_ok=True)
    if draw.random() < 0.2:
        trees.put(root / train / FILES[draw.integers(len(FILES))], b"loose")


def read_as_folder(root):
    """(classes, files of both splits) that load_folder takes."""
    taken = []
    original = folders.read_pictures

    def read(files, size, name):
        taken.append({file.relative_to(root).as_posix() for file in files})
        return original(files, size, name)

    folders.read_pictures = read
    try:
        train, _ = data.load_folder(root, 8)
    finally:
        folders.read_pictures = original
    return train.classes, *taken


def test_folder_trees(tmp_path, capsys):
    """Both readers take the same files and call the classes the same, or refuse; what one of them refuses and the
    other takes is a damaged picture (prepare lists it as rejected) or a class of validation images alone."""
    both = 0
    for seed in SEEDS:
        root = tmp_path / str(seed)
        plant(root, np.random.default_rng([seed, 400]))
        listing = taken = None
        try:
            listing = list_source(root)
        except UserError as error:
            one_line(error, seed)
        try:
            taken = read_as_folder(root)
        except UserError as error:
            one_line(error, seed)
            message = str(error)
        told = capsys.readouterr().err
        assert told.count("\n") <= 2, (seed, told)
        if listing is not None:
            files = [dict.fromkeys(listing.splits[split].names) for split in ("train", "val")]
            bad = {name for split in listing.splits.values() for i, name in enumerate(split.names)
                   if not can_be_decoded(split.read(i))}
            if taken is None:
                assert any(name in message for name in bad) or "is not a class" in message or bad, (seed, message)
            else:
                both += 1
                assert taken[0] == short_names(listing.classes), seed
                assert [*taken[1:]] == [set(split) - bad for split in files], seed
        else:
            assert taken is None, seed
        shutil.rmtree(root)
    assert both > COUNT // 4 or COUNT < 20


def can_be_decoded(raw):
    try:
        return bool(decode_rgb(raw))
    except ValueError:
        return False


@pytest.mark.parametrize("kind", ["tar", "npy"])
def test_damaged_prepared_sets(kind, tmp_path, capsys):
    for part, n in (("train", 4), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            for k in range(n):
                trees.put(tmp_path / "src" / part / name / f"{k}.png",
                          trees.file_of(trees.picture(10 * label + k, 20, 24), "PNG"))
    target = tmp_path / "set"
    global watching
    watching = False  # its workers are processes
    assert prepare.main([str(tmp_path / "src"), str(target), "--size", "16", "--format", kind, "-j", "1"]) == 0
    watching = True
    names = sorted(path.name for path in target.iterdir())
    whole = {name: (target / name).read_bytes() for name in names}
    for seed in SEEDS:
        draw = np.random.default_rng([seed, 500])
        name = names[draw.integers(len(names))]
        raw = damage(whole[name], draw, 300)
        if name == "index.json" and draw.random() < 0.5:
            raw = json.dumps(change_json(json.loads(whole[name]), draw)).encode()
        (target / name).write_bytes(raw)
        with contextlib.suppress(DataError):
            assert data.class_names("imagenet", target), seed
        try:
            for part in data.load("imagenet", target):
                assert part.images[:].shape == (len(part), 16, 16, 3), seed
                assert all(isinstance(label, str) for label in part.classes), seed
                assert part.mean_image().shape == (16, 16, 3), seed
                assert part.color_pca().eigenvectors.shape == (3, 3), seed
                part.images.close()
        except UserError as error:
            one_line(error, seed)
        (target / name).write_bytes(whole[name])


def change_json(value, draw):
    """A value like this one, with one part of it replaced."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = sorted(value)[draw.integers(len(value))]
        return {**value, key: change_json(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = int(draw.integers(len(value)))
        return [*value[:at], change_json(value[at], draw), *value[at + 1:]]
    return [None, -1, 0, 10**30, 1.5, "x", "", [], {}, [[]], True, float("inf"), "../../x"][draw.integers(13)]


@pytest.mark.parametrize("layout", ["kaggle", "tiny"])
def test_damaged_lists(layout, tmp_path):
    trees.LAYOUTS[layout](tmp_path, *drawn())
    names = [name for name in ("LOC_val_solution.csv", "LOC_synset_mapping.txt", "words.txt", "val/val_annotations.txt")
             if (tmp_path / name).exists()]
    whole = {name: (tmp_path / name).read_bytes() for name in names}
    marks = (b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n", b";", b'"', b"\0", b"\t", b",", b"\xe9", "\u2028".encode())
    for seed in SEEDS:
        draw = np.random.default_rng([seed, 600])
        name = names[draw.integers(len(names))]
        raw = bytearray(damage(whole[name], draw) if draw.random() < 0.7 else whole[name])
        for _ in range(draw.integers(0, 4)):
            at = int(draw.choice([0, draw.integers(0, len(raw) + 1)]))
            raw[at:at] = marks[draw.integers(len(marks))] * int(draw.choice([1, 2]))
        (tmp_path / name).write_bytes(raw)
        try:
            listing = list_source(tmp_path)
            assert all(wnid and label for wnid, label in listing.classes), seed
            assert len(short_names(listing.classes)) == 3, seed
        except UserError as error:
            one_line(error, seed)
        (tmp_path / name).write_bytes(whole[name])
