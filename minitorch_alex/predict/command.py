"""The program: python -m minitorch_alex.predict IMAGE..."""
import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .. import models, plots
from ..classifier import BATCH_SIZE, VIEWS, Classifier, Prediction, load, one_line
from ..data.trees import BY_CONTENT, PassedOver
from ..errors import DataError, UsageError
from ..training import cli
from ..training.cli import Flag
from .pictures import STDIN, Picture, Source, find_pictures, read_ahead
from .reports import Report, open_reports

DRAWN = 64  # of more pictures than this, --out draws the first
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
    # A table on the terminal may be piped into another program: the remark must not be part of it.
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
    if failures:  # only now: everything that could be read has been reported
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
    # Lines on the terminal show the progress; where they go to a file, a bar does.
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
    """Hand what the model sees in a batch of pictures to the reports, and add it to `drawn` while
    there is room."""
    squares = np.stack([picture.square for picture in pictures])  # (N, side, side, 3)
    probs = classifier.probabilities(squares)  # (N, K)
    for picture, row in zip(pictures, probs, strict=True):
        prediction = Prediction(row, classifier.classes)
        for report in reports:
            report(picture, prediction)
        if len(drawn) < DRAWN and picture.thumbnail is not None:
            # its own copy of one row, so that the probabilities of the batch can go
            drawn.append((picture, replace(prediction, probabilities=row.copy())))


def draw(drawn: Sequence[tuple[Picture, Prediction]], args: argparse.Namespace) -> None:
    """Draw the figure of --out and print its name."""
    thumbnails = [picture.thumbnail for picture, _ in drawn if picture.thumbnail is not None]
    probs = np.stack([prediction.probabilities for _, prediction in drawn])  # (N, K)
    titles = [Path(picture.name).name for picture, _ in drawn]
    plots.predictions(thumbnails, probs, drawn[0][1].classes, args.out, titles, args.top)
    print(f"\n{args.out}")
