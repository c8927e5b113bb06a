"""What predict writes: text, JSON or CSV, picture by picture as they come.

A report is a context manager. Entering it writes the head and gives a function that adds a picture;
leaving it writes the end. Nothing is kept in memory, and a file takes its name when it is whole.
"""
import argparse
import contextlib
import csv
import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ..classifier import Prediction, one_line
from ..files import disk_error, replacing
from .pictures import STDIN, Picture

Report = Callable[[Picture, Prediction], None]  # adds one picture to what is written


def as_text(probs: np.ndarray, classes: Sequence[str], top: int) -> str:
    """The `top` most probable classes of one image, one per line; probs (K,)."""
    return "\n".join(f"  {100 * guess.probability:6.2f} %  {guess.name}"
                     for guess in Prediction(probs, classes).top(top))


@contextlib.contextmanager
def text_report(file: IO[str], top: int) -> Iterator[Report]:
    """Human-readable: the name of each picture, and its classes below."""
    def add(picture: Picture, prediction: Prediction) -> None:
        print(f"\n{one_line(picture.name)}  ({picture.width} x {picture.height})\n"
              f"{as_text(prediction.probabilities, prediction.classes, top)}", file=file)
    yield add


@contextlib.contextmanager
def json_report(file: IO[str], top: int) -> Iterator[Report]:
    """A JSON list, one object per line:

        {"file": "cat.jpg", "width": 500, "height": 375, "top": [{"name": "cat",
        "probability": 0.93}, ...]}
    """
    # The list is open until the end: its brackets and commas are written as objects come.
    separators = itertools.chain(["[\n"], itertools.repeat(",\n"))

    def add(picture: Picture, prediction: Prediction) -> None:
        guesses = [{"name": guess.name, "probability": round(guess.probability, 6)}
                   for guess in prediction.top(top)]
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

    def add(picture: Picture, prediction: Prediction) -> None:
        cells = [cell for guess in prediction.top(top)
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
    """Where predictions go: the JSON and the CSV that were asked for; without either, text. A file
    takes its name at the end of the block. Raises DiskError when one cannot be written."""
    with contextlib.ExitStack() as stack:
        reports = []
        for target, kind in ((args.json, json_report), (args.csv, csv_report)):
            if target is not None:
                file = stack.enter_context(output(target))
                reports.append(stack.enter_context(kind(file, top)))
        if not reports:
            reports.append(stack.enter_context(text_report(sys.stdout, top)))
        yield reports
