"""A prepared set as docs describe it, written here in a few lines: the reader is tested against the format, not against
the writer of the package."""
import io
import json
import tarfile

import numpy as np
from PIL import Image

SAMPLE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("label", "<i4")])


def smooth(n, size, classes, seed=0):
    """uint8 (n, size, size, 3): noise without detail, so that a JPEG of it is nearly it, brighter by class."""
    draw = np.random.default_rng(seed)
    images = []
    for i in range(n):
        coarse = Image.fromarray(draw.integers(0, 120, (4, 4, 3), dtype=np.uint8)).resize((size, size))
        images.append(np.asarray(coarse) + np.uint8(100 * (i % classes) // classes))
    return np.stack(images)


def write_prepared(folder, kind="npy", size=16, n_train=60, n_val=20, classes=3, per_shard=16):
    """Write a set to `folder`. {"train": (pixels as stored, labels), "val": ...}."""
    folder.mkdir(parents=True)
    splits, stored = {}, {}
    for seed, (part, n) in enumerate((("train", n_train), ("val", n_val))):
        images, labels = smooth(n, size, classes, seed), np.arange(n) % classes
        table, shards = np.zeros(n, SAMPLE), []
        for number, start in enumerate(range(0, n, per_shard)):
            rows = slice(start, min(start + per_shard, n))
            file = folder / f"{part}-{number:05}.{kind}"
            if kind == "npy":
                np.save(file, images[rows])
                table["offset"][rows] = np.arange(rows.stop - start)
            else:
                for i, offset, length, pixels in _tar(file, images, labels, rows):
                    table["offset"][i], table["length"][i], images[i] = offset, length, pixels
            table["shard"][rows] = number
            shards.append({"file": file.name, "images": rows.stop - start, "bytes": file.stat().st_size, "sha256": ""})
        table["label"] = labels
        np.save(folder / f"{part}-samples.npy", table)
        splits[part] = {"images": n, "shards": shards}
        stored[part] = images, labels
    train = stored["train"][0]
    np.save(folder / "mean.npy", train.mean(axis=0).astype(np.float32))
    pixels = train.reshape(-1, 3).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(pixels.T, bias=True))
    (folder / "index.json").write_text(json.dumps({
        "format": kind, "version": 1, "size": size, "source": "synthetic", "splits": splits, "mean_image": "mean.npy",
        "classes": [{"wnid": f"n{k:08}", "name": f"thing {k}, Res {k}"} for k in range(classes)],
        "color": {"mean": pixels.mean(axis=0).tolist(), "covariance": np.cov(pixels.T, bias=True).tolist(),
                  "eigenvalues": values[::-1].tolist(), "eigenvectors": vectors[:, ::-1].tolist()}, "rejected": 0}))
    return stored


def _tar(file, images, labels, rows):
    """(image, offset, length, pixels as they decode) of each picture of a shard that is written."""
    with tarfile.open(file, "w") as tar:
        for i in range(rows.start, rows.stop):
            jpeg = io.BytesIO()
            Image.fromarray(images[i]).save(jpeg, "JPEG", quality=95)
            for name, content in ((f"{i:06}.jpg", jpeg.getvalue()), (f"{i:06}.cls", b"%d" % labels[i])):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    with tarfile.open(file) as tar:
        for member in tar:
            if member.name.endswith(".jpg"):
                pixels = np.asarray(Image.open(tar.extractfile(member)))
                yield int(member.name[:-4]), member.offset_data, member.size, pixels
