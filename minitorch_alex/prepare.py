"""python -m minitorch_alex.prepare SRC DST: from ImageNet as downloaded to ImageNet for training.

Every image is decoded, its short side scaled to 256, and the central 256 x 256 stored (paper,
section 2) in shards of a thousand, together with an index, the mean image and the main axes of the
colours. Done once, this makes each epoch cheap. The result depends on the images and the settings
alone: not on the number of workers, nor on how often it was interrupted.
"""
import argparse
import csv
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .data import shards, sources
from .data.decoding import central_square, decode_rgb
from .data.layouts import LAYOUTS
from .data.moments import Moments
from .data.shard_workers import make_shards
from .data.shards import Settings, Shard
from .data.sources import Listing
from .errors import DataError, UsageError
from .files import disk_error, write_atomic
from .machine import available_cpus
from .training import cli

INDEX = "index.json"
PLAN = f"{shards.PARTIAL}/plan.json"
# All files that a prepared set has; others in its folder are never touched.
SET_FILES = (INDEX, "mean.npy", "train-samples.npy", "val-samples.npy", "train-files.npy",
             "val-files.npy", "rejected.csv",
             *(f"{split}-[0-9]*.{kind}" for split in ("train", "val") for kind in shards.FORMATS))
SAMPLED = 48  # images that are tried for the estimate; fewer of a small set
DESCRIPTION = """From ImageNet as it is downloaded to ImageNet as it is trained on.

Each image is scaled so that its short side is 256 (averaging when shrinking, bicubic when
enlarging), and the central 256 x 256 crop is stored in shards, with an index, the mean image and
the main axes of the colours. SRC is recognised automatically; it is one of

  kaggle      ILSVRC/Data/CLS-LOC/{train/WNID/*, val/*} with LOC_val_solution.csv and
              LOC_synset_mapping.txt
  official    ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz,
              which need not be unpacked
  folders     train/CLASS/* and val/CLASS/* (or valid, validation, test), at any depth; or
              CLASS/* alone with --val-split
  tiny        Tiny-ImageNet: train/WNID/images/*, val/images/*, val/val_annotations.txt, wnids.txt,
              words.txt; also sorted into val/images/WNID/* or val/WNID/*
  imagenette  folders of ten known classes

A file's type is decided by its content, not by its name. Everything becomes RGB; the EXIF
orientation is ignored, as in 2012. Images that cannot be decoded are left out and listed in
DST/rejected.csv. The command can be interrupted at any time and resumed by giving it again:
finished shards are kept, and the result is byte-identical."""


def parser() -> argparse.ArgumentParser:
    epilog = cli.EXIT_CODES.replace(cli.INTERRUPTED,
                                    f"{cli.INTERRUPTED}; finished shards are kept")
    p = cli.parser("minitorch_alex.prepare", DESCRIPTION, epilog,
                   usage="%(prog)s SRC DST [flags]\n       %(prog)s --synthetic N DST [flags]")
    p.add_argument("paths", nargs="+", type=cli.path, metavar="SRC DST",
                   help="the folder with the data, and a new folder for the result")
    p.add_argument("--layout", choices=list(LAYOUTS),
                   help="the layout of SRC (default: recognised automatically)")
    p.add_argument("--format", choices=shards.FORMATS, default="tar",
                   help="tar: JPEGs of quality 95 (default); npy: raw pixels, several times "
                   "larger and without decoding")
    p.add_argument("--size", type=int, default=256, metavar="N",
                   help="side of the stored images (default: 256)")
    p.add_argument("--shard-images", type=int, default=1024, metavar="N",
                   help="images per shard (default: 1024)")
    p.add_argument("--limit", type=int, default=0, metavar="N",
                   help="only the first N images of each class, by name (default: 0, all of them)")
    p.add_argument("--val-split", type=float, default=0.0, metavar="F",
                   help="share of each class to hold out for validation, where SRC has no "
                   "validation images")
    p.add_argument("--synthetic", type=int, default=0, metavar="N",
                   help="instead of reading SRC, draw N images of ImageNet's sizes, and a tenth "
                   "as many for validation")
    p.add_argument("--classes", type=int, default=10, metavar="N",
                   help="number of classes with --synthetic, up to 1000 (default: 10)")
    p.add_argument("-j", "--workers", type=int, metavar="N",
                   help="worker processes (default: one per available CPU)")
    p.add_argument("--overwrite", action="store_true",
                   help="start again where DST has a finished or an unfinished set")
    p.add_argument("--dry-run", action="store_true",
                   help="only print what SRC is and estimates of size and time")
    return p


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for flags that make no sense."""
    if len(args.paths) != (1 if args.synthetic else 2):
        expected = "SRC and DST (or --synthetic N and DST, which draws images)"
        if args.synthetic:
            expected = "DST alone: --synthetic reads nothing"
        raise UsageError(f"expected {expected}, got {' '.join(map(str, args.paths))}")
    for name, least in (("size", 8), ("shard_images", 1), ("limit", 0), ("synthetic", 0)):
        value = getattr(args, name)
        if value < least:
            raise UsageError(f"--{name.replace('_', '-')} must be {least} or more, got {value}")
    if args.workers is not None and args.workers < 1:
        raise UsageError(f"--workers must be 1 or more, got {args.workers}")
    if not 0 <= args.val_split < 1:
        raise UsageError(f"--val-split must be a share from 0 to below 1, got {args.val_split:g}")


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    check(args)
    target = args.paths[-1]
    workers = args.workers or available_cpus()
    if not args.dry_run:
        check_target(target, args.overwrite)
    listing = list_images(args)
    settings = Settings(target, args.format, args.size)
    work = [shard for split, images in listing.splits.items()
            for shard in shards.shards_of(split, images, args.shard_images)]
    describe(listing, args, work, workers)
    if args.dry_run:
        return 0

    begin = time.perf_counter()
    open_target(settings, work, plan(listing, args), args.overwrite)
    made = make_unfinished(work, settings, workers)
    index = write_index(listing, work, settings)
    report(index, target, made, time.perf_counter() - begin)
    for note in notes_on_empty_classes(listing, target):
        print(f"note        {note}")
    return 0


def list_images(args: argparse.Namespace) -> Listing:
    """The images that the flags ask for. Raises UsageError when DST is inside of their folder."""
    if args.synthetic:
        return sources.list_synthetic(args.synthetic, args.classes)
    source, target = args.paths
    listing = sources.list_source(source, args.layout, limit=args.limit, val_split=args.val_split)
    if any(target.resolve().is_relative_to(folder.resolve()) for folder in listing.folders):
        raise UsageError(f"{target} is inside of {source}, where the images are; "
                         "choose a folder outside of it")
    return listing


def describe(listing: Listing, args: argparse.Namespace, work: list[Shard], workers: int) -> None:
    """Print what was recognised, and what it will take."""
    target = args.paths[-1]
    print(f"source      {listing.layout}" + ("" if args.synthetic else f" in {args.paths[0]}"))
    # Without a list of names the WNID is the name as well: print it once.
    classes = [" ".join(dict.fromkeys(pair)) for pair in listing.classes]
    ends = dict.fromkeys((classes[0], classes[-1]))  # the first and the last, if they differ
    print(f"classes     {len(classes):,}: {' ... '.join(ends)}")
    for name, images in listing.splits.items():
        count = sum(shard.split == name for shard in work)
        print(f"{name:<12}{len(images):,} images in {counted(count, 'shard')}")
    for note in listing.notes:
        print(f"note        {note}")
    size, seconds = estimate(listing, args.format, args.size)
    folder = next(p for p in (target.resolve(), *target.resolve().parents) if p.is_dir())
    replaced = sum(p.stat().st_size for p in target.glob("*.*") if p.is_file())
    free = shutil.disk_usage(folder).free + replaced
    print(f"estimate    {size / 1e9:,.2f} GB as {args.format} of {args.size} x {args.size}, "
          f"{cli.duration(seconds / workers)} with {counted(workers, 'worker')}; "
          f"{free / 1e9:,.1f} GB are free in {folder}")
    if size > free:
        print("note        this will not fit; choose another disk, --format tar, a smaller "
              "--size, or --limit")


def estimate(listing: Listing, kind: str, size: int) -> tuple[float, float]:
    """(bytes, seconds of one processor) that the whole takes, from making some of its images."""
    begin = time.perf_counter()
    images = listing.splits["train"]
    count = min(SAMPLED, 1 + len(images) // 20)
    rows = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
    n_bytes = 0
    for row in rows:
        try:
            image = central_square(decode_rgb(images.read(row)), size)
        except ValueError:
            continue
        Moments.zero(size).add(np.asarray(image))
        # A tar has about 2048 bytes per image besides the JPEG: headers, padding and the label.
        n_bytes += len(shards.encode(image)) + 2048 if kind == "tar" else size * size * 3
    seconds = time.perf_counter() - begin
    total = sum(len(split) for split in listing.splits.values())
    return total * n_bytes / len(rows), total * seconds / len(rows)


def plan(listing: Listing, args: argparse.Namespace) -> dict[str, Any]:
    """What decides the content of every shard. An unfinished set is only resumed with the same."""
    digest = hashlib.sha256(json.dumps(listing.classes).encode())
    for images in listing.splits.values():
        digest.update("\0".join(images.names).encode("utf-8", "surrogatepass"))
        digest.update(images.labels.tobytes() + images.spans.tobytes())
    return {"format": args.format, "size": args.size, "shard-images": args.shard_images,
            "layout": listing.layout, "number of images": sum(map(len, listing.splits.values())),
            "list of images": digest.hexdigest()}


def check_target(target: Path, overwrite: bool) -> None:
    """Raise UsageError when `target` is a prepared set already, or contains something else."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; DST must be a folder, which is created")
    if is_prepared(target):
        if not overwrite:
            raise UsageError(f"{target} is a prepared set already; choose another DST, or start "
                             "again with --overwrite")
    elif target.is_dir() and any(target.iterdir()) and not (target / PLAN).exists():
        raise UsageError(f"{target} is not empty and has no unfinished set; choose another DST")


def is_prepared(target: Path) -> bool:
    """Whether there is an index of ours."""
    try:
        return "mean_image" in json.loads((target / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def open_target(settings: Settings, work: list[Shard], wanted: dict[str, Any],
                overwrite: bool) -> None:
    """Make DST ready for the shards of `work`, keeping those that the same command has finished.

    Raises UsageError when it was started with other settings, DataError when its plan is damaged,
    and DiskError when it cannot be written.
    """
    target = settings.folder
    partial = target / shards.PARTIAL
    try:
        partial.mkdir(parents=True, exist_ok=True)
        if overwrite:
            # Notes first: without them no shard counts as finished, so that from here on an
            # interruption does no harm.
            remove(partial, ["*.npz", Path(PLAN).name])
        remove(partial, ["*.part"])
        started = wanted
        if (target / PLAN).exists():
            started = json.loads((target / PLAN).read_text(encoding="utf-8"))
            if not isinstance(started, dict):
                raise ValueError("not a plan")
        changed = [key for key in wanted if started.get(key) != wanted[key]]
        if changed:
            key = changed[0]
            raise UsageError(f"{target} was started with another {key} ({started.get(key)}, now "
                             f"{wanted[key]}); resume it with the old one, or start again with "
                             "--overwrite")
        write_atomic(target / PLAN, [json.dumps(wanted, indent=1).encode()])
        remove(target, SET_FILES, keep={f"{shard.name}.{settings.format}" for shard in work})
    except OSError as error:
        raise disk_error(target, error, "choose another DST", "write to") from None
    except ValueError:
        raise DataError(f"{target / PLAN} is damaged; start again with --overwrite") from None


def remove(folder: Path, patterns: Sequence[str], keep: Container[str] = ()) -> None:
    """Delete the files of a folder that match, in the order of the patterns, and nothing else."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.name not in keep:
                path.unlink()


def make_unfinished(work: list[Shard], settings: Settings, workers: int) -> int:
    """Make the shards that are not finished yet, and return how many images they have."""
    todo = [shard for shard in work if not shards.is_finished(shard, settings)]
    total = sum(len(shard.images) for shard in work)
    rest = sum(len(shard.images) for shard in todo)
    if rest < total:
        print(f"resuming    {len(work) - len(todo):,} of {len(work):,} shards are finished")
    with tqdm(total=total, initial=total - rest, desc="preparing", unit="img", disable=None,
              dynamic_ncols=True) as bar:
        try:
            make_shards(todo, settings, min(workers, len(todo)), bar.update)
        except KeyboardInterrupt:
            bar.close()
            print("interrupted; finished shards are kept: give the same command to resume")
            raise
        finally:
            remove(settings.folder / shards.PARTIAL, ["*.part"])  # of workers that were ended
    return rest


def write_index(listing: Listing, work: list[Shard], settings: Settings) -> dict[str, Any]:
    """Put together what the notes of the shards say, write the index last, and return it."""
    target = settings.folder
    moments = Moments.zero(settings.size)
    splits: dict[str, Any] = {name: {"images": 0, "shards": []} for name in listing.splits}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in listing.splits}
    files: dict[str, list[bytes]] = {name: [] for name in listing.splits}
    rejected: list[tuple[str, str]] = []
    for shard in work:
        notes = shards.read_notes(shard, settings)
        split = splits[shard.split]
        split["images"] += len(notes.samples)
        split["shards"].append({"file": f"{shard.name}.{settings.format}",
                                "images": len(notes.samples), "bytes": notes.bytes,
                                "sha256": notes.sha256})
        samples[shard.split].append(notes.samples)
        files[shard.split] += stored_files(shard, notes)
        rejected += notes.rejected
        moments.merge(notes.moments)
    for name, split in splits.items():
        if not split["images"]:
            file, reason = rejected[0]
            raise DataError(f"none of the {len(rejected):,} images of the {name} split could be "
                            f"decoded: {file}: {reason}")
    index = {"format": settings.format, "version": 1, "size": settings.size,
             "source": listing.layout,
             "classes": [{"wnid": wnid, "name": name} for wnid, name in listing.classes],
             "splits": splits, "mean_image": "mean.npy", "color": moments.color(),
             "rejected": len(rejected)}
    write_atomic(target / "mean.npy", [as_npy(moments.mean_image())])
    for name, parts in samples.items():
        write_atomic(target / f"{name}-samples.npy", [as_npy(np.concatenate(parts))])
        write_atomic(target / f"{name}-files.npy", [as_npy(np.array(files[name], "S"))])
    write_atomic(target / "rejected.csv", [as_csv([("file", "reason"), *rejected])])
    write_atomic(target / INDEX, [(json.dumps(index, indent=1, allow_nan=False) + "\n").encode()])
    shutil.rmtree(target / shards.PARTIAL, ignore_errors=True)
    return index


def stored_files(shard: Shard, notes: shards.Notes) -> list[bytes]:
    """The names of the files that the images of a shard come from, as bytes, in their order; empty
    ones where two files of the shard share a name and one of them was rejected."""
    rejected = {name for name, _ in notes.rejected}
    names = [os.fsencode(name) for name in shard.images.names if name not in rejected]
    return names if len(names) == len(notes.samples) else [b""] * len(notes.samples)


def as_npy(array: np.ndarray) -> bytes:
    """An array as the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    """Rows as the bytes of a CSV file. Names that are not Unicode are written with backslashes."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    return table.getvalue().encode("utf-8", "backslashreplace")


def report(index: dict[str, Any], target: Path, made: int, seconds: float) -> None:
    """Print what has been prepared; `made` images in so many seconds, the others before."""
    splits = index["splits"]
    counts = ", ".join(f"{split['images']:,} {name}" for name, split in splits.items())
    size = sum(shard["bytes"] for split in splits.values() for shard in split["shards"])
    print(f"prepared    {counts} images in {target}, {size / 1e9:,.2f} GB")
    hint = f", see {target / 'rejected.csv'}" if index["rejected"] else ""
    print(f"rejected    {index['rejected']:,}{hint}")
    speed = f", {made / seconds:,.0f} images per second" if made else ""
    print(f"time        {cli.duration(seconds)}{speed}")


def notes_on_empty_classes(listing: Listing, target: Path) -> list[str]:
    """A sentence on each class that had training images, of which none could be decoded."""
    listed = np.unique(listing.splits["train"].labels)
    stored = np.unique(np.load(target / "train-samples.npy")["label"])
    return [f"the class {listing.classes[label][0]} has no training images left: none could be "
            "decoded" for label in np.setdiff1d(listed, stored).tolist()]


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 shard, 2 shards."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


if __name__ == "__main__":
    cli.run_cli(main)
