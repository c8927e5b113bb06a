"""Image files become RGB squares: decoded, scaled to a short side, cut in the middle.

`prepare`, the reader of plain folders and `predict` all use these functions, so that a net sees
its images at test time as it saw them in training.
"""
import io
import warnings

import numpy as np
from PIL import Image

STRIP = 8  # of an image longer than this many times its short side, only the middle is used


def decode_rgb(raw: bytes) -> Image.Image:
    """The image in a file's bytes as RGB. Its content decides the format, not its name.

    As in 2012 and in torchvision, the EXIF orientation is ignored, transparency is dropped, and
    CMYK (which Adobe stores inverted, as Pillow knows) is converted without a colour profile.
    Raises ValueError when the bytes are not an image, or are cut short.
    """
    try:
        with warnings.catch_warnings():
            # Corrupt EXIF and odd palettes do not concern the pixels.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(raw)) as image:
                return grey_to_8_bits(image).convert("RGB")
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        raise ValueError("no image that Pillow can read" if raw else "the file is empty") from None
    except Exception as error:  # a damaged file can fail in any way at all
        raise ValueError(f"{type(error).__name__}: {error}") from None


def grey_to_8_bits(image: Image.Image) -> Image.Image:
    """An image of 16-bit grey reduced to the upper 8 bits; any other image as it is.

    Pillow's own conversion would clip at 255. Some writers store 8-bit values in 16 bits: those
    are kept.
    """
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image).astype(np.int64)
    if grey.max() > 255:
        grey = grey >> 8
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def resize_short_side(image: Image.Image, size: int = 256) -> Image.Image:
    """Scale an image so that its shorter side is `size` (paper, section 2).

    Averages over areas when shrinking, bicubic when enlarging, as the authors' make-data of 2014 did with
    OpenCV.
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
