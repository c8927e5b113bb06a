"""ImageNet in miniature, in every layout that `prepare` reads: the same images under the same file names."""
import io
import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = {"n01440764": "tench, Tinca tinca", "n02102040": "English springer, English springer spaniel",
         "n03888257": "parachute, chute"}  # three of Imagenette's, so that all layouts can have them
# ILSVRC2012_ID, in another order than the sorted WNIDs: whoever takes one for the other gets wrong labels.
IDS = {"n01440764": 2, "n02102040": 3, "n03888257": 1}
REJECTED = ("n01440764_9.JPEG", "n02102040_9.JPEG", "n03888257_9.JPEG")


def picture(seed, width, height):
    """A smooth picture of its own, with a little noise."""
    rng = np.random.default_rng(seed)
    grid = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray((smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8))


def file_of(image, kind="JPEG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def turned(image):
    """A JPEG file whose EXIF says that the picture is to be turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return file_of(image, exif=exif)


def drawn_images():
    """(train {wnid: {file name: bytes}}, val {file name: (wnid, bytes)}) with the irregular files of the real set."""
    n = iter(range(100))
    train = {wnid: {f"{wnid}_{k}.JPEG": file_of(picture(next(n), 60 + 9 * k, 90 - 7 * k)) for k in range(3)}
             for wnid in WORDS}
    tench, springer, parachute = train.values()
    tench["n01440764_3.JPEG"] = file_of(picture(next(n), 70, 50).convert("CMYK"))  # Adobe's, stored inverted
    tench["n01440764_4.JPEG"] = file_of(picture(next(n), 50, 70), "PNG")
    springer["n02102040_3.JPEG"] = file_of(picture(next(n), 64, 48).convert("L"))
    springer["n02102040_4.JPEG"] = file_of(picture(next(n), 48, 64).convert("P"), "PNG")
    parachute["n03888257_3.JPEG"] = turned(picture(next(n), 90, 45))
    parachute["n03888257_4.JPEG"] = file_of(picture(next(n), 80, 60).convert("RGBA"), "PNG")
    tench["n01440764_9.JPEG"] = file_of(picture(next(n), 80, 80))[:-700]  # cut short
    springer["n02102040_9.JPEG"] = b""
    parachute["n03888257_9.JPEG"] = b"this is not a picture" * 9
    # Neighbours have different classes, in an order that follows neither the WNIDs nor the IDs.
    val = {f"ILSVRC2012_val_{k + 1:08}.JPEG": (list(WORDS)[(k * 2 + k // 3) % 3], file_of(picture(50 + k, 40 + k, 60)))
           for k in range(7)}
    return train, val


def photographs():
    """The same of the photographs in $MINITORCH_DATA/imagenet-originals, or None: 24 to train on, 8 to validate on."""
    files = sorted(Path(os.environ.get("MINITORCH_DATA", "nowhere"), "imagenet-originals").glob("*.JPEG"))[:24]
    if not files:
        return None
    train = {file.name[:9]: {f"{file.name[:9]}_1.JPEG": file.read_bytes()} for file in files}
    val = {f"ILSVRC2012_val_{k + 1:08}.JPEG": (file.name[:9], file.read_bytes()) for k, file in enumerate(files[::-3])}
    return train, val


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def tar_of(files):
    """The bytes of a tar; `files` are (name, bytes)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def words_of(train):
    return {wnid: WORDS.get(wnid, f"thing {wnid}, so called") for wnid in train}


def ids_of(train):
    return IDS if set(train) == set(IDS) else {wnid: len(train) - k for k, wnid in enumerate(sorted(train))}


def kaggle(root, train, val):
    base = root / "ILSVRC" / "Data" / "CLS-LOC"
    for wnid, files in train.items():
        for name, data in files.items():
            put(base / "train" / wnid / name, data)
    for name, (_, data) in val.items():
        put(base / "val" / name, data)
    put(base / "test" / "ILSVRC2012_test_00000001.JPEG", b"not to be read")
    answers = [f"{Path(name).stem},{wnid} 1 2 30 40 {wnid} 5 6 7 8 " for name, (wnid, _) in reversed(val.items())]
    put(root / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *answers]))
    put(root / "LOC_synset_mapping.txt", "".join(f"{wnid} {name}\n" for wnid, name in words_of(train).items()))


def official(root, train, val):
    tars = [(f"{wnid}.tar", tar_of(files.items())) for wnid, files in reversed(train.items())]
    put(root / "ILSVRC2012_img_train.tar", tar_of(tars))
    put(root / "ILSVRC2012_img_val.tar", tar_of((name, data) for name, (_, data) in reversed(val.items())))
    put(root / "ILSVRC2012_devkit_t12.tar.gz", devkit(train, [wnid for wnid, _ in val.values()]))


def devkit(train, truth, compressed=True):
    ids = ids_of(train)
    leaves = [(ids[wnid], wnid, words, 0) for wnid, words in words_of(train).items()]
    raw = mat_file([*leaves, (len(ids) + 1, "n00001740", "entity", 3)], compressed)
    lines = "".join(f"{ids[wnid]}\n" for wnid in truth).encode()
    kit = "ILSVRC2012_devkit_t12"
    files = [(f"{kit}/readme.txt", b"read"), (f"{kit}/data/meta.mat", raw),
             (f"{kit}/data/ILSVRC2012_validation_ground_truth.txt", lines)]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar, tarfile.open(fileobj=io.BytesIO(tar_of(files))) as plain:
        for member in plain:
            tar.addfile(member, plain.extractfile(member))
    return file.getvalue()


def folders(root, train, val):
    for wnid, files in train.items():
        for name, data in files.items():
            put(root / "train" / wnid / name, data)
    for name, (wnid, data) in val.items():
        put(root / "val" / wnid / name, data)
    put(root / "LOC_synset_mapping.txt", "".join(f"{wnid} {name}\n" for wnid, name in words_of(train).items()))


def imagenette(root, train, val):
    folders(root, train, val)
    (root / "LOC_synset_mapping.txt").unlink()  # the names of these ten are known
    put(root / "noisy_imagenette.csv", "path,noisy_labels_0")


def tiny(root, train, val):
    for wnid, files in train.items():
        for name, data in files.items():
            put(root / "train" / wnid / "images" / name, data)
        put(root / "train" / wnid / f"{wnid}_boxes.txt", "x\t0\t0\t9\t9\n")
    for name, (_, data) in val.items():
        put(root / "val" / "images" / name, data)
    put(root / "val" / "val_annotations.txt", "".join(f"{n}\t{w}\t0\t0\t9\t9\n" for n, (w, _) in reversed(val.items())))
    put(root / "wnids.txt", "\n".join(reversed(train)))
    put(root / "words.txt", "n00001740\tentity\n" + "".join(f"{w}\t{name}\n" for w, name in words_of(train).items()))


LAYOUTS = {"kaggle": kaggle, "official": official, "folders": folders, "tiny": tiny, "imagenette": imagenette}


def mat_file(synsets, compressed=True, order="<"):
    """A level 5 MAT-file with the struct array `synsets` (ILSVRC2012_ID, WNID, words, num_children), written by hand
    after MathWorks' description: numbers as MATLAB stores them, whole ones in as few bytes as they need."""
    def element(kind, data):
        if 0 < len(data) <= 4:  # a small element
            return struct.pack(f"{order}I", len(data) << 16 | kind) + data.ljust(4, b"\0")
        return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)

    def array(kind, shape, name, *parts):
        head = element(6, struct.pack(f"{order}II", kind, 0)), element(5, struct.pack(f"{order}2i", *shape))
        body = b"".join([*head, element(1, name.encode()), *parts])
        return struct.pack(f"{order}II", 14, len(body)) + body

    def number(value):
        stored = element(2, bytes([value])) if value < 256 else element(4, struct.pack(f"{order}H", value))
        return array(6, (1, 1), "", stored)

    def text(value):
        return array(4, (1, len(value)), "", element(4, value.encode("utf-16-le" if order == "<" else "utf-16-be")))

    names = b"".join(name.encode().ljust(16, b"\0") for name in ("ILSVRC2012_ID", "WNID", "words", "num_children"))
    fields = [cell for i, wnid, words, children in synsets
              for cell in (number(i), text(wnid), text(words), number(children))]
    whole = array(2, (len(synsets), 1), "synsets", element(5, struct.pack(f"{order}i", 16)), element(1, names), *fields)
    if compressed:
        packed = zlib.compress(whole)
        whole = struct.pack(f"{order}II", 15, len(packed)) + packed
    return b"MATLAB 5.0 MAT-file".ljust(124) + (b"\0\1IM" if order == "<" else b"\1\0MI") + whole
