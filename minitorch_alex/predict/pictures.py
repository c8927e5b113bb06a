"""The pictures that predict looks at: which there are, and reading them a few at a time."""
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..classifier import BATCH_SIZE, one_line, read_image, square
from ..data.decoding import UnknownFormatError, decode_rgb
from ..data.folders import SUFFIXES
from ..data.trees import PassedOver, images_below
from ..errors import DataError
from ..files import reason_of
from ..machine import available_cpus

STDIN = "-"                  # among the images: standard input; as an output: the terminal
READ_AHEAD = 2 * BATCH_SIZE  # pictures that are read while the network works on others


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


@dataclass(frozen=True)
class Picture:
    """A picture that was read: its name, its size, and the square that the model sees. With --out
    also a square copy of at most 256 x 256 to draw."""

    name: str
    width: int
    height: int
    square: np.ndarray            # uint8 (side, side, 3)
    thumbnail: np.ndarray | None  # uint8 (S, S, 3), S <= 256


@dataclass(frozen=True)
class Failure:
    """A picture that cannot be read, or another file in a folder, which is passed over."""

    name: str
    reason: str
    is_other_file: bool = False


def read(source: Source, side: int, with_thumbnail: bool) -> Picture | Failure:
    """A picture of which only small squares are kept: the one of side `side` that the model sees,
    and a thumbnail. The decoded pixels of a photograph may take a hundred MB."""
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
    """The picture whose bytes come in on standard input. Raises DataError when there is none."""
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
