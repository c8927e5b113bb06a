"""python -m minitorch_alex.prepare SRC DST: ImageNet as it is downloaded becomes ImageNet as it is trained on.

Every image is decoded, its short side scaled to 256, the central 256 x 256 stored (paper, section 2) in shards of a
thousand; with them their index, the mean image and the main axes of the colours. Done once, it makes each epoch cheap.
The result depends on the images and the settings alone: not on the number of workers, nor on how often it was stopped.
"""
import argparse
import contextlib
import csv
import hashlib
import io
import json
import multiprocessing
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Container, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .data import shards, sources
from .data.decoding import central_square, decode_rgb
from .data.layouts import LAYOUTS
from .data.moments import Moments
from .data.shards import Settings, Shard
from .data.sources import Listing
from .errors import DataError, DiskError, UsageError, UserError
from .files import write_atomic
from .machine import available_cpus
from .training import cli

INDEX, PLAN = "index.json", f"{shards.PARTIAL}/plan.json"
MINE = (INDEX, "mean.npy", "train-samples.npy", "val-samples.npy", "rejected.csv",
        *(f"{split}-[0-9]*.{kind}" for split in ("train", "val") for kind in shards.FORMATS))
SAMPLED = 48  # images that are tried for the estimate; fewer of a small set
DESCRIPTION = """ImageNet as it is downloaded becomes ImageNet as it is trained on.

Each image's short side is scaled to 256 (averaging when it shrinks, bicubic when it grows), and the central 256 x 256
are stored in shards, with an index, the mean image and the main axes of the colours. SRC, recognised by itself, is

  kaggle      ILSVRC/Data/CLS-LOC/{train/WNID/*, val/*} with LOC_val_solution.csv and LOC_synset_mapping.txt
  official    ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz: read where they lie
  folders     train/CLASS/* and val/CLASS/*; or CLASS/* alone with --val-split
  tiny        Tiny-ImageNet: train/WNID/images/*, val/images/*, val/val_annotations.txt, wnids.txt, words.txt
  imagenette  folders of ten known classes

What a file is decides its content, not its name. Everything becomes RGB; the EXIF orientation is ignored, as in 2012.
What cannot be decoded is left out and listed in DST/rejected.csv. Stopped at any moment, the same command goes on:
finished shards are kept, and the result is the same to the byte."""


def parser() -> argparse.ArgumentParser:
    p = cli.parser("minitorch_alex.prepare", DESCRIPTION,
                   cli.EXIT_CODES.replace("; a checkpoint was written first", "; finished shards are kept"),
                   usage="%(prog)s SRC DST [flags]\n       %(prog)s --synthetic N DST [flags]")
    p.add_argument("paths", nargs="+", type=Path, metavar="SRC DST", help="the folder with the data, and a new one")
    p.add_argument("--layout", choices=list(LAYOUTS), help="what SRC is (default: recognised)")
    p.add_argument("--format", choices=shards.FORMATS, default="tar",
                   help="tar: JPEGs of quality 95 (default); npy: raw pixels, several times larger and free to read")
    p.add_argument("--size", type=int, default=256, metavar="N", help="side of the stored images (default: 256)")
    p.add_argument("--shard-images", type=int, default=1024, metavar="N", help="images a shard (default: 1024)")
    p.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N images of each class, by name")
    p.add_argument("--val-split", type=float, default=0.0, metavar="F",
                   help="share of each class held out for validation, where SRC has no validation images")
    p.add_argument("--synthetic", type=int, default=0, metavar="N",
                   help="draw N pictures of ImageNet's sizes in place of SRC, and a tenth as many to validate on")
    p.add_argument("--classes", type=int, default=10, metavar="N", help="of --synthetic, up to 1000 (default: 10)")
    p.add_argument("-j", "--workers", type=int, metavar="N", help="worker processes (default: the CPUs at hand)")
    p.add_argument("--overwrite", action="store_true", help="begin again where DST has been prepared or begun")
    p.add_argument("--dry-run", action="store_true", help="print what SRC is, and estimates of size and time, and stop")
    return p


def check(args: argparse.Namespace) -> None:
    """UsageError for flags that make no sense."""
    if len(args.paths) != (1 if args.synthetic else 2):
        expected = ("DST alone: --synthetic reads nothing" if args.synthetic
                    else "SRC and DST (or --synthetic N and DST, which draws pictures)")
        raise UsageError(f"expected {expected}, got {' '.join(map(str, args.paths))}")
    for name, least in (("size", 8), ("shard_images", 1), ("limit", 0), ("synthetic", 0)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be {least} or more, got {getattr(args, name)}")
    if args.workers is not None and args.workers < 1:
        raise UsageError(f"--workers must be 1 or more, got {args.workers}")
    if not 0 <= args.val_split < 1:
        raise UsageError(f"--val-split must be a share from 0 to below 1, got {args.val_split:g}")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    check(args)
    *source, target = args.paths
    workers = args.workers or available_cpus()
    if not args.dry_run:
        check_target(target, args.overwrite)

    if args.synthetic:
        listing = sources.list_synthetic(args.synthetic, args.classes)
    else:
        listing = sources.list_source(source[0], args.layout, limit=args.limit, val_split=args.val_split)
    if any(target.resolve().is_relative_to(folder.resolve()) for folder in listing.folders):
        raise UsageError(f"{target} lies in {source[0]}, where the images are: choose a folder outside of it")
    settings = Settings(target, args.format, args.size)
    work = [shard for split, images in listing.splits.items()
            for shard in shards.shards_of(split, images, args.shard_images)]
    describe(listing, source, args, work, workers)
    if args.dry_run:
        return 0

    begin = time.perf_counter()
    open_target(settings, work, plan(listing, args), args.overwrite)
    todo = [shard for shard in work if not shards.is_finished(shard, settings)]
    total, rest = (sum(len(shard.images) for shard in part) for part in (work, todo))
    if rest < total:
        print(f"going on    {len(work) - len(todo):,} of {len(work):,} shards are finished")
    with tqdm(total=total, initial=total - rest, desc="preparing", unit="img", disable=None, dynamic_ncols=True) as bar:
        try:
            make_shards(todo, settings, min(workers, len(todo)), bar.update)
        except KeyboardInterrupt:
            bar.close()
            print("stopped; finished shards are kept: the same command goes on")
            raise
        finally:
            remove(target / shards.PARTIAL, ["*.part"])  # of workers that were ended
    index = write_index(listing, work, settings)
    seconds = time.perf_counter() - begin
    counts = ", ".join(f"{split['images']:,} {name}" for name, split in index["splits"].items())
    size = sum(shard["bytes"] for split in index["splits"].values() for shard in split["shards"])
    print(f"prepared    {counts} images in {target}, {size / 1e9:,.2f} GB")
    print(f"rejected    {index['rejected']:,}" + (f", see {target / 'rejected.csv'}" if index["rejected"] else ""))
    print(f"time        {duration(seconds)}" + (f", {rest / seconds:,.0f} images a second" if rest else ""))
    return 0


def describe(listing: Listing, source: list[Path], args: argparse.Namespace, work: list[Shard], workers: int) -> None:
    """Print what was recognised, and what it will take."""
    target, names = args.paths[-1], listing.classes
    print(f"source      {listing.layout}{f' in {source[0]}' if source else ''}")
    print(f"classes     {len(names):,}: {' '.join(dict.fromkeys(names[0]))}"
          + (f" ... {' '.join(dict.fromkeys(names[-1]))}" if len(names) > 1 else ""))
    for name, images in listing.splits.items():
        count = sum(shard.split == name for shard in work)
        print(f"{name:<12}{len(images):,} images in {count:,} shard{'s' * (count > 1)}")
    for note in listing.notes:
        print(f"note        {note}")
    size, seconds = estimate(listing, args.format, args.size)
    folder = next(p for p in (target.resolve(), *target.resolve().parents) if p.is_dir())
    free = shutil.disk_usage(folder).free + sum(p.stat().st_size for p in target.glob("*.*") if p.is_file())
    print(f"estimate    {size / 1e9:,.2f} GB as {args.format} of {args.size} x {args.size}, "
          f"{duration(seconds / workers)} with {workers} worker{'s' * (workers > 1)}; "
          f"{free / 1e9:,.1f} GB are free in {folder}")
    if size > free:
        print("note        that will not fit: choose another disk, --format tar, a smaller --size, or --limit")


def estimate(listing: Listing, kind: str, size: int) -> tuple[float, float]:
    """(bytes, seconds of one processor) that the whole takes, by making some images of it and throwing them away."""
    made, begin, images = [], time.perf_counter(), listing.splits["train"]
    tried = np.unique(np.linspace(0, len(images) - 1, min(SAMPLED, 1 + len(images) // 20)).astype(int))
    for i in tried:
        try:
            picture = central_square(decode_rgb(images.read(i)), size)
        except ValueError:
            continue
        Moments.zero(size).add(np.asarray(picture))
        made.append(len(shards.encode(picture)) + 2048 if kind == "tar" else size * size * 3)
    count = sum(len(split) for split in listing.splits.values())
    return count * sum(made) / len(tried), count * (time.perf_counter() - begin) / len(tried)


def plan(listing: Listing, args: argparse.Namespace) -> dict[str, Any]:
    """What the content of every shard follows from. An unfinished preparation goes on only with the same one."""
    digest = hashlib.sha256(json.dumps(listing.classes).encode())
    for images in listing.splits.values():
        digest.update("\0".join(images.names).encode("utf-8", "surrogatepass"))
        digest.update(images.labels.tobytes() + images.spans.tobytes())
    return {"format": args.format, "size": args.size, "shard-images": args.shard_images, "layout": listing.layout,
            "number of images": sum(map(len, listing.splits.values())), "list of images": digest.hexdigest()}


def check_target(target: Path, overwrite: bool) -> None:
    """UsageError when `target` is a prepared set already, or holds something else."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; DST is a folder, which is made")
    if is_prepared(target):
        if not overwrite:
            raise UsageError(f"{target} is a prepared set already; choose another DST, or begin again with --overwrite")
    elif target.is_dir() and any(target.iterdir()) and not (target / PLAN).exists():
        raise UsageError(f"{target} is not empty and holds no unfinished preparation; choose another DST")


def is_prepared(target: Path) -> bool:
    """Whether there is an index of ours."""
    try:
        return "mean_image" in json.loads((target / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def open_target(settings: Settings, work: list[Shard], wanted: dict[str, Any], overwrite: bool) -> None:
    """Make DST ready to take the shards of `work`, keeping those that the same command has finished in it. UsageError
    when it was begun with other settings."""
    target, partial = settings.folder, settings.folder / shards.PARTIAL
    try:
        partial.mkdir(parents=True, exist_ok=True)
        if overwrite:  # without its notes no shard counts: from here on it does not matter when this is interrupted
            remove(partial, ["*.npz", Path(PLAN).name])
        remove(partial, ["*.part"])
        begun = json.loads((target / PLAN).read_text()) if (target / PLAN).exists() else wanted
        changed = [key for key in wanted if begun.get(key) != wanted[key]]
        if changed:
            key = changed[0]
            raise UsageError(f"{target} was begun with another {key} ({begun.get(key)}, now {wanted[key]}); go on as "
                             "it was begun, or begin again with --overwrite")
        write_atomic(target / PLAN, [json.dumps(wanted, indent=1).encode()])
        remove(target, MINE, keep={f"{shard.name}.{settings.format}" for shard in work})
    except OSError as error:
        raise DiskError(f"cannot write to {target}: {error.strerror or error}; choose another DST") from None
    except ValueError:
        raise DataError(f"{target / PLAN} is damaged; begin again with --overwrite") from None


def remove(folder: Path, patterns: Sequence[str], keep: Container[str] = ()) -> None:
    """Delete the files of a folder that match, in the order of the patterns, and nothing else that may stand there."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.name not in keep:
                path.unlink()


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back, where the system can: here until the block ends, and for good in processes that are started in
    it. They would be hit by it before they can say that they ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def make_shards(todo: list[Shard], settings: Settings, workers: int, on_images: Callable[[int], Any]) -> None:
    """Make shards in `workers` processes. Raises what a worker raises; UserError when one is killed.

    The processes talk through pipes alone. A pipe ends with the process at its other end, whatever ended that: so
    neither side can wait for the other for ever, and nothing is left when either is killed.
    """
    context = multiprocessing.get_context("spawn")
    rest: Iterator[Shard] = iter(todo)
    busy: dict[Any, Any] = {}  # our end of the pipe: the process

    def lost(ours: Connection) -> UserError:
        busy[ours].join(5)
        code = busy[ours].exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return UserError(f"a worker process was ended from outside ({how}); if memory ran short, take fewer --workers. "
                         "Finished shards are kept: the same command goes on")

    def give(ours: Connection) -> None:
        shard = next(rest, None)
        try:
            ours.send(shard)
        except ConnectionError:
            raise lost(ours) from None
        if shard is None:
            busy.pop(ours).join()
            ours.close()

    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            busy[ours] = context.Process(target=work_on, args=(theirs, settings), daemon=True)
            with interrupts_blocked():
                busy[ours].start()
            theirs.close()
        for ours in list(busy):
            give(ours)
        while busy:
            for ours in wait(list(busy)):
                try:
                    message = ours.recv()
                except (EOFError, ConnectionError):
                    raise lost(ours) from None
                if isinstance(message, Exception):
                    raise message
                if message == "done":
                    give(ours)
                else:
                    on_images(message)
    finally:
        for process in busy.values():
            process.terminate()
        for process in busy.values():
            process.join()


def work_on(connection: Connection, settings: Settings) -> None:
    """A worker process: makes the shards that it is sent until it is sent None, or until nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of the group: the first process decides

    def tell(message: Any) -> None:
        try:
            connection.send(message)
        except OSError:
            raise SystemExit(1) from None

    try:
        with threadpool_limits(1):
            while (shard := connection.recv()) is not None:
                shards.write_shard(shard, settings, lambda: tell(1))
                tell("done")
    except (EOFError, ConnectionError):
        return
    except UserError as error:
        tell(error)
    except MemoryError:
        tell(UserError("out of memory in a worker process; take fewer --workers: finished shards are kept"))
    except Exception:
        tell(RuntimeError(f"in a worker process:\n{traceback.format_exc()}"))


def write_index(listing: Listing, work: list[Shard], settings: Settings) -> dict[str, Any]:
    """Put together what the shards have noted, write the index last, and return it."""
    target, moments = settings.folder, Moments.zero(settings.size)
    splits: dict[str, Any] = {name: {"images": 0, "shards": []} for name in listing.splits}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in listing.splits}
    rejected: list[tuple[str, str]] = []
    for shard in work:
        done = shards.read_notes(shard, settings)
        splits[shard.split]["images"] += len(done.samples)
        splits[shard.split]["shards"].append({"file": f"{shard.name}.{settings.format}", "images": len(done.samples),
                                              "bytes": done.bytes, "sha256": done.sha256})
        samples[shard.split].append(done.samples)
        rejected += done.rejected
        moments.merge(done.moments)
    for name, split in splits.items():
        if not split["images"]:
            raise DataError(f"none of the {len(rejected):,} images of the {name} split could be decoded: "
                            f"{rejected[0][0]}: {rejected[0][1]}")
    index = {"format": settings.format, "version": 1, "size": settings.size, "source": listing.layout,
             "classes": [{"wnid": wnid, "name": name} for wnid, name in listing.classes], "splits": splits,
             "mean_image": "mean.npy", "color": moments.color(), "rejected": len(rejected)}
    write_atomic(target / "mean.npy", [as_npy(moments.mean_image())])
    for name, parts in samples.items():
        write_atomic(target / f"{name}-samples.npy", [as_npy(np.concatenate(parts))])
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("file", "reason"), *rejected])
    write_atomic(target / "rejected.csv", [table.getvalue().encode("utf-8", "backslashreplace")])
    write_atomic(target / INDEX, [(json.dumps(index, indent=1, allow_nan=False) + "\n").encode()])
    shutil.rmtree(target / shards.PARTIAL, ignore_errors=True)
    return index


def as_npy(array: np.ndarray) -> bytes:
    """An array as the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def duration(seconds: float) -> str:
    """Seconds in words: 12 s, 3 min, 2 h 40 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


if __name__ == "__main__":
    cli.run_cli(main)
