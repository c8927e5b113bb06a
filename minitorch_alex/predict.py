"""python -m minitorch_alex.predict IMAGE...: what does a trained model see in these images?

The model is that of a run (--weights RUN), of a file of weights, or the bundled one:
minitorch_alex/pretrained. Images are files, folders with everything below them, or - for standard
input. However many there are and however large, only a few of them are in memory at a time:

    files   --a few threads-->   squares   --batches of 64-->   network   -->   lines, JSON or CSV
            decode one each      READ_AHEAD at most
"""
import argparse
import contextlib
import csv
import io
import itertools
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from . import models, plots
from .classifier import (
    BATCH_SIZE,
    VIEWS,
    Classifier,
    Prediction,
    load,
    of_run,
    of_weights,
    one_line,
    read_classes,
    read_image,
    square,
)
from .data.decoding import UnknownFormatError, decode_rgb
from .data.folders import SUFFIXES
from .data.trees import BY_CONTENT, PassedOver, images_below
from .errors import DataError, UsageError
from .files import disk_error, reason_of, replacing
from .machine import available_cpus
from .training import cli
from .training.cli import Flag

__all__ = ["Classifier", "as_text", "load", "main", "of_run", "of_weights", "pretrained",
           "read_classes", "read_image", "square"]

STDIN = "-"             # among the images: standard input; as an output: the terminal
READ_AHEAD = 2 * BATCH_SIZE  # pictures that are read while the network works on others
DRAWN = 64              # of more pictures than this, --out draws the first
FLAGS = (
    Flag("-w --weights", "a run directory, a checkpoint in one, pretrained, or a .safetensors or "
         ".pth file",
         shown="pretrained, the bundled small AlexNet, which knows CIFAR-10's classes",
         options={"type": cli.path, "metavar": "RUN"}),
    Flag("-a --arch --model", "the model of a weights file, where its weights fit several: "
         f"{', '.join(models.MODELS)}", options={"metavar": "NAME"}),
    Flag("--classes", "names of the classes, one per line",
         options={"type": cli.path, "metavar": "FILE"}),
    Flag("--top", "how many classes to name", 5, minimum=1, options={"type": int, "metavar": "N"}),
    Flag("--views", "single (the centre of the image), or nine or ten (the mean over so many "
         "windows, as in evaluate: slower and more accurate)", "single",
         options={"choices": VIEWS, "metavar": "KIND"}),
    Flag("--json", "write a JSON list with one object per image; without FILE, to the terminal",
         options={"type": cli.home, "nargs": "?", "const": STDIN, "metavar": "FILE"}),
    Flag("--csv", "write a table with one line per image; without FILE, to the terminal",
         options={"type": cli.home, "nargs": "?", "const": STDIN, "metavar": "FILE"}),
    Flag("--out", "draw the images and the probabilities (png, svg or pdf); the first "
         f"{DRAWN} of many", options={"type": cli.home, "metavar": "FILE"}),
    Flag("--previous", "use the run's checkpoint before the last one", False,
         options={"action": "store_true"}),
)
EXIT_CODES = cli.EXIT_CODES.replace(
    "  4  data missing or damaged", "  4  data missing or damaged; also when some of the images "
    "could not be read,\n     after all others were predicted")
FIGURES = (".png", ".svg", ".pdf")


def pretrained(views: str = "single") -> Classifier:
    """The bundled model; its README.md is its model card."""
    return load("pretrained", views=views)


# Which pictures there are.


class Source(NamedTuple):
    """A picture that is to be read: a file, or standard input (STDIN)."""

    name: str
    in_folder: bool = False  # found in a folder, where other files may lie too


def find_pictures(arguments: Sequence[str], passed: PassedOver) -> list[Source]:
    """The pictures that the command line names: folders are searched to any depth, by the rules
    of `train` and `prepare`; what these rules leave out is counted in `passed`.

    Raises DataError for a folder without pictures.
    """
    sources = []
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN or not path.is_dir():
            sources.append(Source(argument))
            continue
        # Sorted by path, so that a second run writes the same table.
        inside = sorted(member.path for member in images_below(path, "", passed, set()))
        if not inside:
            raise DataError(f"the folder {one_line(path)} has no images in it or below it")
        sources += [Source(str(path / name), in_folder=True) for name in inside]
    return sources


# Reading them.


@dataclass(frozen=True)
class Picture:
    """A picture that was read: its name, its size, and the square that the model sees. With --out
    also a small copy to draw."""

    name: str
    width: int
    height: int
    square: np.ndarray            # uint8 (side, side, 3)
    thumbnail: np.ndarray | None


@dataclass(frozen=True)
class Failure:
    """A picture that cannot be read, or a file in a folder that is not a picture (passed over)."""

    name: str
    reason: str
    is_other_file: bool = False


def read(source: Source, side: int, with_thumbnail: bool) -> Picture | Failure:
    """A picture, reduced to what is needed of it: the decoded pixels of a photograph are let go
    here."""
    try:
        image = _decode(source)
        pixels = square(image, side)
        thumbnail = None
        if with_thumbnail:
            thumbnail = square(image, min(image.width, image.height, 256))
    except UnknownFormatError:
        text = f"{one_line(source.name)} is not an image that Pillow can read"
        is_other = source.in_folder and not source.name.lower().endswith(SUFFIXES)
        return Failure(source.name, text, is_other_file=is_other)
    except DataError as error:
        return Failure(source.name, str(error))
    return Picture(source.name, image.width, image.height, pixels, thumbnail)


def _decode(source: Source) -> Image.Image:
    """The image as RGB. Raises DataError, or UnknownFormatError for a file of another kind."""
    if source.name == STDIN:
        return _decode_stdin()
    if not source.in_folder:
        return read_image(source.name)
    try:
        return decode_rgb(Path(source.name).read_bytes(), as_viewed=True)
    except UnknownFormatError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the image {one_line(source.name)}: "
                        f"{reason_of(error)}") from None


def _decode_stdin() -> Image.Image:
    """The picture whose bytes come in on standard input."""
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError("- reads an image from standard input, and nothing is piped into it; "
                        "write cat.jpg, or: predict - < cat.jpg")
    try:
        return decode_rgb(sys.stdin.buffer.read(), as_viewed=True)
    except (OSError, ValueError) as error:
        raise DataError("standard input is not an image that Pillow can read "
                        f"({reason_of(error)}); names of files go through xargs") from None


def read_ahead(sources: Sequence[Source], side: int,
               with_thumbnails: bool) -> Iterator[Picture | Failure]:
    """The pictures in their order, read by a few threads. At most READ_AHEAD wait for the caller,
    as squares; each thread holds one decoded picture."""
    waiting: deque[Future[Picture | Failure]] = deque()
    pool = ThreadPoolExecutor(min(available_cpus(), len(sources)))
    try:
        for source in sources:
            waiting.append(pool.submit(read, source, side, with_thumbnails))
            # The oldest one is handed out before another is read: this bounds what is in memory.
            if len(waiting) == READ_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the caller stops early: nothing more is read
        pool.shutdown(cancel_futures=True)


# Writing what the model sees.


Report = Callable[[Picture, Prediction], None]


def as_text(probs: np.ndarray, classes: Sequence[str], top: int) -> str:
    """The `top` most probable classes of one image, one per line; probs (K,)."""
    return "\n".join(f"  {100 * guess.probability:6.2f} %  {guess.name}"
                     for guess in Prediction(probs, classes).top(top))


@contextlib.contextmanager
def text_report(file: IO[str], top: int) -> Iterator[Report]:
    """For people: the name of each picture, and its classes below."""
    def add(picture: Picture, seen: Prediction) -> None:
        print(f"\n{one_line(picture.name)}  ({picture.width} x {picture.height})\n"
              f"{as_text(seen.probabilities, seen.classes, top)}", file=file)
    yield add


@contextlib.contextmanager
def json_report(file: IO[str], top: int) -> Iterator[Report]:
    """A JSON list, one object per line:

        {"file": "cat.jpg", "width": 500, "height": 375, "top": [{"name": "cat",
        "probability": 0.93}, ...]}
    """
    # The list is open until the end: its brackets and commas are written as objects come.
    separators = itertools.chain(["[\n"], itertools.repeat(",\n"))

    def add(picture: Picture, seen: Prediction) -> None:
        guesses = [{"name": guess.name, "probability": round(guess.probability, 6)}
                   for guess in seen.top(top)]
        row = {"file": picture.name, "width": picture.width, "height": picture.height,
               "top": guesses}
        file.write(next(separators) + json.dumps(row))
    yield add
    file.write("\n]\n" if next(separators) == ",\n" else "[]\n")


@contextlib.contextmanager
def csv_report(file: IO[str], top: int) -> Iterator[Report]:
    """A table: file, name_1, probability_1, name_2, ... with the most probable class first."""
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{what}_{place}"
               for place in range(1, top + 1) for what in ("name", "probability")]
    writer.writerow(["file", *columns])

    def add(picture: Picture, seen: Prediction) -> None:
        cells = [cell for guess in seen.top(top)
                 for cell in (guess.name, f"{guess.probability:.6f}")]
        writer.writerow([picture.name, *cells])
    yield add


@contextlib.contextmanager
def output(target: str) -> Iterator[IO[str]]:
    """The terminal for STDIN, otherwise a file, which takes its name when it is whole. Raises
    DiskError when it cannot be written."""
    if target == STDIN:
        yield sys.stdout
        return
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, path.with_name(path.name + ".part")) as raw:
            # names of files are bytes: those that are not UTF-8 come out as they were
            text = io.TextIOWrapper(raw, "utf-8", errors="surrogateescape", newline="")
            yield text
            text.flush()
            text.detach()
    except OSError as error:
        raise disk_error(path, error, "choose another file. Nothing changed") from error


@contextlib.contextmanager
def open_reports(args: argparse.Namespace, top: int) -> Iterator[list[Report]]:
    """Where predictions go: the JSON and the CSV that were asked for; without either, text."""
    with contextlib.ExitStack() as stack:
        reports = []
        for target, kind in ((args.json, json_report), (args.csv, csv_report)):
            if target is not None:
                file = stack.enter_context(output(target))
                reports.append(stack.enter_context(kind(file, top)))
        if not reports:
            reports.append(stack.enter_context(text_report(sys.stdout, top)))
        yield reports


# The command.


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Raises UsageError for a value that makes no sense."""
    parser = cli.parser("minitorch_alex.predict", "What does a trained model see in these images?",
                        EXIT_CODES)
    parser.add_argument("images", nargs="+", type=cli.home, metavar="IMAGE",
                        help="images of any size and format, folders with images at any depth, "
                             "or - for an image on standard input")
    cli.add_flags(parser, FLAGS)
    cli.add_device_flags(parser)
    args = parser.parse_args(argv)
    cli.check_flags(args, FLAGS)
    if args.weights is None and (args.model or args.previous):
        flag = "--model" if args.model else "--previous"
        raise UsageError(f"{flag} says how to read --weights; add --weights, or remove {flag} to "
                         "use the bundled model")
    if args.images.count(STDIN) > 1:
        raise UsageError("- is standard input, which can be read once; give it once")
    check_outputs(args)
    return args


def check_outputs(args: argparse.Namespace) -> None:
    """Raises UsageError for a name that cannot be written to, before any work is done; so a
    picture that follows --json without a FILE is not overwritten either."""
    for flag, target, suffixes in (("--json", args.json, (".json",)),
                                   ("--csv", args.csv, (".csv",)),
                                   ("--out", args.out, FIGURES)):
        if target is None or (target == STDIN and flag != "--out"):
            continue
        if Path(target).suffix.lower() not in suffixes:
            *others, last = suffixes
            expected = f"{', '.join(others)} or {last}" if others else last
            hint = ""
            if flag != "--out":
                hint = f"; to print to the terminal, put {flag} after the images"
            raise UsageError(f"{flag} {target}: the name must end in {expected}{hint}")
        if Path(target).is_dir():
            raise UsageError(f"{flag} {target} is a folder; give the name of a file")
    if args.json == STDIN == args.csv:
        raise UsageError("--json and --csv cannot both go to the terminal; give one of them a "
                         "FILE")


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    cli.use_device(vars(args))
    classifier = load(args.weights or "pretrained", args.model, args.classes, args.views,
                      args.previous)
    passed = PassedOver()
    sources = find_pictures(args.images, passed)
    # A table on the terminal is for another program: the remark must not stand in it.
    to_program = STDIN in (args.json, args.csv)
    about = classifier.about
    if not classifier.is_named and "--classes" not in about:  # an old run says so itself
        about += "; its classes have numbers, and --classes FILE names them"
    print(about, file=sys.stderr if to_program else sys.stdout)

    drawn: list[tuple[Picture, Prediction]] = []
    with open_reports(args, min(args.top, len(classifier.classes))) as reports:
        failures = predict(classifier, sources, args, passed, reports, drawn)
    for target in (args.json, args.csv):
        if target not in (None, STDIN):
            print(target)
    if args.out and drawn:
        draw(drawn, args)
    for note in passed.notes():
        print(f"note: {note}", file=sys.stderr)
    if failures:
        raise DataError(f"{failures:,} of {len(sources):,} images could not be read, see above; "
                        "the others are predicted")
    return 0


def predict(classifier: Classifier, sources: Sequence[Source], args: argparse.Namespace,
            passed: PassedOver, reports: Sequence[Report],
            drawn: list[tuple[Picture, Prediction]]) -> int:
    """Read all pictures, and hand what the model sees to the reports; the first ones are kept in
    `drawn`. Returns how many could not be read; a line on stderr says why.

    Raises DataError when the only picture cannot be read.
    """
    failures = 0
    pictures: list[Picture] = []
    # Lines on the terminal show how far it is; a bar does where they go to a file.
    to_file = STDIN not in (args.json, args.csv) and (args.json or args.csv)
    bar = tqdm(read_ahead(sources, classifier.side, bool(args.out)), total=len(sources),
               unit="image", leave=False, disable=cli.hide_bars() if to_file else True)
    for result in bar:
        if isinstance(result, Picture):
            pictures.append(result)
            if len(pictures) == BATCH_SIZE:
                report_batch(classifier, pictures, reports, drawn)
                pictures = []
        elif result.is_other_file:
            passed.add(BY_CONTENT, one_line(result.name))
        elif len(sources) == 1:
            raise DataError(result.reason)
        else:
            failures += 1
            tqdm.write(f"passed over: {result.reason}", file=sys.stderr)
    if pictures:
        report_batch(classifier, pictures, reports, drawn)
    return failures


def report_batch(classifier: Classifier, pictures: Sequence[Picture], reports: Sequence[Report],
                 drawn: list[tuple[Picture, Prediction]]) -> None:
    """What the model sees in a batch of pictures goes to the reports, and to `drawn` while there
    is room."""
    probs = classifier.probabilities(np.stack([picture.square for picture in pictures]))
    for picture, row in zip(pictures, probs, strict=True):
        seen = Prediction(row, classifier.classes)
        for report in reports:
            report(picture, seen)
        if len(drawn) < DRAWN and picture.thumbnail is not None:
            # its own copy of one row, so that the probabilities of the batch can go
            drawn.append((picture, replace(seen, probabilities=row.copy())))


def draw(drawn: Sequence[tuple[Picture, Prediction]], args: argparse.Namespace) -> None:
    """The figure of --out."""
    thumbnails = [picture.thumbnail for picture, _ in drawn if picture.thumbnail is not None]
    probs = np.stack([seen.probabilities for _, seen in drawn])
    titles = [Path(picture.name).name for picture, _ in drawn]
    plots.predictions(thumbnails, probs, drawn[0][1].classes, args.out, titles, args.top)
    print(f"\n{args.out}")


if __name__ == "__main__":
    cli.run_cli(main)
