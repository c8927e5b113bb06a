"""Image files become RGB squares: decoded, scaled to a short side, cut in the middle.

`prepare`, the reader of plain folders and `predict` all use these functions, so that a net sees
its images at test time as it saw them in training.
"""
import functools
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import reason_of
from .metadata import Metadata, split_metadata

STRIP = 8  # of an image longer than this many times its short side, only the middle is used
MAX_BYTES = 1 << 30  # of a file: as many pixels as Pillow decodes at most take less
# Not read, whatever Pillow has: these are drawn by other programs (Ghostscript; Windows itself),
# and a data set must not start any.
DRAWN_BY_PROGRAMS = {"EPS", "WMF"}
COMMON = ("BMP", "DIB", "GIF", "JPEG", "PPM", "PNG")  # Pillow's own choice of what to try first
# What turns an image upright, by its orientation (metadata.py); 1 is upright.
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
         4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
         6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}


class UnknownFormatError(ValueError):
    """The bytes are not an image of any format that is read."""


def read_image_file(path: str | Path, offset: int = 0, length: int | None = None) -> bytes:
    """The bytes of a file that is to be decoded, or `length` of them from `offset` on.

    Raises OSError as the disk gives it, and ValueError for more bytes than an image can have.
    """
    with open(path, "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size if length is None else length
        if n_bytes > MAX_BYTES:
            raise ValueError(f"{n_bytes / 1e9:,.1f} GB are too large for an image")
        if length is None:
            return file.read()
        file.seek(offset)
        return file.read(length)


def decode_rgb(raw: bytes, as_viewed: bool = False) -> Image.Image:
    """The image in a file's bytes as RGB. Its content decides the format, not its name.

    For training, as in 2012 and in torchvision, the orientation in EXIF is ignored and
    transparency dropped; `as_viewed`, the image is turned as EXIF says and transparent parts
    become white. CMYK (which Adobe stores inverted, as Pillow knows) is converted without a colour
    profile; other metadata is not looked at. Of several frames or pages the first counts.

    Safe in threads, and no state of the process changes. Raises ValueError when the bytes are not
    an image (UnknownFormatError), are cut short, or stand for more pixels than Pillow decodes (179
    million).
    """
    try:
        pixels, metadata = split_metadata(raw)
        with Image.open(io.BytesIO(pixels), formats=image_formats()) as image:
            if as_viewed:
                return rgb_as_viewed(image, metadata)
            return _to_rgb(image, on_white=False)
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        reason = "no image that Pillow can read" if raw else "the file is empty"
        raise UnknownFormatError(reason) from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"it has more than {limit:,} pixels; make it smaller") from None
    except Exception as error:  # a damaged file can fail in any way at all
        raise ValueError(f"{type(error).__name__}: {reason_of(error)}") from None


def rgb_as_viewed(image: Image.Image, metadata: Metadata | None = None) -> Image.Image:
    """An image that Pillow has opened, as RGB: turned as its metadata says, transparent parts
    white. Raises whatever Pillow does for a damaged file."""
    rgb = _to_rgb(image, on_white=True)
    return _turn_upright(rgb, image, Metadata() if metadata is None else metadata)


def is_image_file(path: Path) -> bool:
    """Whether a file begins as an image does; its pixels may still be damaged.

    Raises OSError when the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            with Image.open(file, formats=image_formats()):
                return True
        except Image.UnidentifiedImageError:
            return False
        except Exception:  # some format's own, which found a fault in it
            return True


@functools.cache
def image_formats() -> tuple[str, ...]:
    """The formats that are read, those that Pillow tries first in front."""
    Image.init()
    return (*COMMON, *(name for name in Image.ID if name not in {*COMMON, *DRAWN_BY_PROGRAMS}))


def _to_rgb(image: Image.Image, on_white: bool) -> Image.Image:
    """An image of any mode as RGB; transparency is dropped or, `on_white`, shows white."""
    image.load()
    if image.mode.startswith("I"):
        return grey_to_8_bits(image).convert("RGB")
    if image.mode == "F":
        return _float_to_8_bits(image).convert("RGB")
    if on_white and image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    else:
        # The colours do not depend on it, and of a palette's Pillow would warn.
        image.info.pop("transparency", None)
    return image.convert("RGB")


def grey_to_8_bits(image: Image.Image) -> Image.Image:
    """An image of 16-bit or 32-bit grey reduced to the upper 8 bits; any other image as it is.

    Pillow's own conversion would clip at 255. In a file of 32 bits the values say how many of them
    are used: 8, 16 or all (31, as Pillow's numbers have a sign).
    """
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image)
    largest = int(grey.max(initial=0))
    # Pillow reads 16 bits as I;16 or, from PNG before version 11 and from PGM, as I.
    shift = 0
    if image.mode != "I" or image.format in ("PNG", "PPM") or 255 < largest <= 0xFFFF:
        shift = 8
    elif largest > 0xFFFF:
        shift = 23
    return Image.fromarray((grey >> shift).clip(0, 255).astype(np.uint8))


def _float_to_8_bits(image: Image.Image) -> Image.Image:
    """An image of floats, from 0 to 1, 255 or 65,535 as its largest value says, as 8 bits."""
    values = np.array(image)  # a copy, which the steps change in place: images can be large
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    largest = values.max(initial=0)
    if largest <= 1:
        values *= 255
        np.rint(values, out=values)
    elif largest > 255:
        values /= 256
    return Image.fromarray(values.clip(0, 255, out=values).astype(np.uint8))


def _turn_upright(rgb: Image.Image, image: Image.Image, metadata: Metadata) -> Image.Image:
    """The image as its metadata says that it is to be seen.

    Pillow has turned TIFF already. WebP and others keep their blocks in `image.info`.
    """
    for key in ("exif", "xmp", "XML:com.adobe.xmp"):
        block = image.info.get(key)
        metadata.add(block.encode() if isinstance(block, str) else block)
    turn = None if image.format == "TIFF" else TURNS.get(metadata.orientation())
    # Pillow's transpose, not NumPy's: (H, W), flipped or turned, and (W, H) after a quarter turn
    return rgb if turn is None else rgb.transpose(turn)


def resize_short_side(image: Image.Image, size: int = 256) -> Image.Image:
    """Scale an image so that its shorter side is `size` (paper, section 2).

    Averages over areas when shrinking, bicubic when enlarging, as the authors' make-data of 2014
    did with OpenCV.
    """
    width, height = image.size
    scale = size / min(width, height)
    resample = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    return image.resize((max(size, round(width * scale)), max(size, round(height * scale))),
                        resample)


def central_square(image: Image.Image, size: int) -> Image.Image:
    """The central size x size pixels of an image whose short side is made `size` (paper, section
    2).

    Raises ValueError for an image without pixels.
    """
    short = min(image.size)
    if not short:
        raise ValueError("the image has no pixels")
    if max(image.size) > STRIP * short:
        # A line one pixel wide would be enlarged to gigabytes before it is cut.
        image = _crop_center(image, min(image.width, STRIP * short),
                             min(image.height, STRIP * short))
    return _crop_center(resize_short_side(image, size), size, size)


def _crop_center(image: Image.Image, width: int, height: int) -> Image.Image:
    left = (image.width - width) // 2
    top = (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
