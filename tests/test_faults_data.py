"""Faults that were seen from outside: files, folders and machines as people have them, each with other inputs of its
kind."""
import io
import struct
import sys
import threading
import warnings
import zlib

import imagenet_trees as trees
import numpy as np
import pytest
from PIL import Image

from minitorch_alex import data, predict
from minitorch_alex.data import decoding
from minitorch_alex.errors import DataError

# One decoder: what is damaged besides the pixels does not matter.


def entry(tag, kind, count, value):
    return struct.pack("<HHI", tag, kind, count) + value


def exif(*entries, tail=b""):
    """A block of EXIF whose directory has these entries; `tail` begins at byte 14 + 12 * len(entries)."""
    return (b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + tail)


TURNED = entry(0x112, 3, 1, struct.pack("<HH", 6, 0))
BEHIND_TWO = struct.pack("<I", 14 + 2 * 12)
EXIF_BLOCKS = {  # each asks for a turn by 90 degrees, and has something wrong beside it
    "a signed rational of -1/0": exif(TURNED, entry(0x11A, 10, 1, BEHIND_TWO), tail=struct.pack("<ii", -1, 0)),
    "a negative rational": exif(TURNED, entry(0x9201, 10, 1, BEHIND_TWO), tail=struct.pack("<ii", -5, 0)),
    "the header twice": b"Exif\0\0" + exif(TURNED),
    "a text that is a float": exif(TURNED, entry(0x10F, 11, 1, struct.pack("<f", 1.5))),
    "two orientations": exif(entry(0x112, 3, 2, struct.pack("<HH", 6, 6))),
    "a negative short": exif(TURNED, entry(0x103, 8, 1, struct.pack("<hh", -1, 0))),
    "bytes for a rational": exif(TURNED, entry(0x11A, 7, 4, b"abcd")),
    "an offset beyond the end": exif(TURNED, entry(0x8825, 4, 1, struct.pack("<I", 60_000))),
    "a directory in itself": exif(TURNED, entry(0x8825, 4, 1, struct.pack("<I", 8))),
    "a date that is a number": exif(TURNED, entry(0x132, 3, 1, struct.pack("<HH", 6, 6))),
    "a double of not a number": exif(TURNED, entry(0x11A, 12, 1, BEHIND_TWO), tail=struct.pack("<d", float("nan"))),
    "the orientation as a long": exif(entry(0x112, 4, 1, struct.pack("<I", 6))),
    "a type that does not exist": exif(TURNED, entry(0x10F, 99, 1, b"abcd")),
    "more entries than there are": exif(TURNED)[:14] + struct.pack("<H", 999) + TURNED,
    "big endian": b"Exif\0\0MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x112, 3, 1, 6, 0) + bytes(4),
}
UPRIGHT = {
    "a text for the orientation": exif(entry(0x112, 2, 2, b"6\0\0\0")),
    "an orientation of 9": exif(entry(0x112, 3, 1, struct.pack("<HH", 9, 0))),
    "an orientation of 0, in two bytes": exif(entry(0x112, 8, 1, struct.pack("<hh", -6, 0))),
    "no directory": b"Exif\0\0II*\0\xff\xff\xff\xff",
    "not a TIFF header": b"Exif\0\0abcdefgh",
    "empty": b"Exif\0\0",
}


def jpeg_with(marker, block):
    raw = trees.file_of(trees.picture(1, 30, 20), quality=95)
    return raw[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(block) + 2) + block + raw[2:]


def png_with(*chunks, before=b"IDAT"):
    """A PNG with more chunks, (kind, data) or (kind, data, checksum), in front of the first chunk of a kind."""
    raw = trees.file_of(trees.picture(1, 30, 20), "PNG")
    at = raw.index(before) - 4
    extra = b"".join(struct.pack(">I", len(chunk[1])) + chunk[0] + chunk[1]
                     + struct.pack(">I", chunk[2] if len(chunk) > 2 else zlib.crc32(chunk[0] + chunk[1]))
                     for chunk in chunks)
    return raw[:at] + extra + raw[at:]


def seen(tmp_path, raw):
    (tmp_path / "x").write_bytes(raw)
    return np.asarray(predict.read_image(tmp_path / "x"))


@pytest.mark.parametrize("block", EXIF_BLOCKS.values(), ids=EXIF_BLOCKS)
def test_a_photograph_with_a_faulty_tag_is_turned_all_the_same(block, tmp_path):
    plain = np.asarray(decoding.decode_rgb(jpeg_with(0xFE, b"")))
    for raw in (jpeg_with(0xE1, block), png_with((b"eXIf", block[6:]))):
        still = np.asarray(decoding.decode_rgb(raw))
        assert still.shape == (20, 30, 3)  # for training, nothing is turned
        assert (seen(tmp_path, raw) == np.rot90(still, -1)).all()
    assert (np.asarray(decoding.decode_rgb(jpeg_with(0xE1, block))) == plain).all()


@pytest.mark.parametrize("block", UPRIGHT.values(), ids=UPRIGHT)
def test_an_orientation_that_makes_no_sense_is_upright(block, tmp_path):
    assert seen(tmp_path, jpeg_with(0xE1, block)).shape == (20, 30, 3)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_are_those_of_pillow(kind, orientation, tmp_path):
    from PIL import ImageOps
    tags = Image.Exif()
    tags[0x112] = orientation
    settings = {"lossless": True} if kind == "WEBP" else {}
    raw = trees.file_of(trees.picture(2, 30, 20), kind, exif=tags, **settings)
    with Image.open(io.BytesIO(raw)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (seen(tmp_path, raw) == expected).all()


def test_the_orientation_in_other_blocks(tmp_path):
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    raw_profile = b"\nexif\n      34\n" + exif(TURNED).hex().encode() + b"\n"
    for raw in (jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp),
                png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
                png_with((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp))),
                png_with((b"tEXt", b"Raw profile type exif\0" + raw_profile)),
                png_with((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile)))):
        assert seen(tmp_path, raw).shape == (30, 20, 3)


BAD_CHUNKS = {
    "no hexadecimal in a raw profile": (b"tEXt", b"Raw profile type exif\0\nexif\n  12\nzz"),
    "no end of the keyword": (b"zTXt", b"Raw profile type exif"),
    "a bad checksum": (b"tEXt", b"Comment\0x", 1),
    "a text that is unpacked to megabytes": (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3 << 20))),
    "a text that is no zlib": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0abc"),
    "a profile that is no zlib": (b"iCCP", b"name\0\0abc"),
    "a profile of another method": (b"iCCP", b"name\0\7" + zlib.compress(b"x")),
    "a density of two bytes": (b"pHYs", b"ab"),
    "an animation without frames": (b"acTL", bytes(8)),
    "half an EXIF": (b"eXIf", b"II*"),
}


@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_a_png_with_a_bad_chunk_besides_its_pixels_is_read(chunk, before, tmp_path):
    pixels = np.asarray(trees.picture(1, 30, 20))
    raw = png_with(chunk, before=before)
    assert (seen(tmp_path, raw) == pixels).all() and (np.asarray(decoding.decode_rgb(raw)) == pixels).all()


@pytest.mark.parametrize("marker, block", [
    (0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0" + entry(0xB001, 2, 4, b"abc\0")),  # a preview that is not there
    (0xE2, b"MPF\0MM"), (0xE2, b"ICC_PROFILE\0"), (0xED, b"Photoshop 3.0\08BIM\4\4"), (0xEC, b""), (0xFE, b"\xff\xd9"),
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation=")])
def test_a_jpeg_with_a_bad_segment_besides_its_pixels_is_read(marker, block, tmp_path):
    plain = decoding.decode_rgb(trees.file_of(trees.picture(1, 30, 20), quality=95))
    raw = jpeg_with(marker, block)
    assert (seen(tmp_path, raw) == np.asarray(plain)).all()


def test_without_metadata_the_bytes_are_the_same():
    for image in (trees.picture(1, 30, 20), trees.picture(1, 30, 20).convert("L")):
        for kind, settings in (("JPEG", {"progressive": True}), ("JPEG", {}), ("PNG", {}), ("GIF", {})):
            raw = trees.file_of(image, kind, **settings)
            assert decoding.split_metadata(raw)[0] == raw
    for raw in (b"\xff\xd8\xff", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xe1\xff\xff", b"\xff\xd8\xff\xe1\0\0\0",
                b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT", b""):
        assert decoding.split_metadata(raw)[0] == raw


def mutated(kind, seed):
    raw = bytearray(trees.file_of(trees.picture(seed, 40, 30), kind))
    draw = np.random.default_rng(seed)
    for at in draw.integers(0, min(len(raw), 300), 6):
        raw[at] = draw.integers(256)
    return bytes(raw)


@pytest.mark.parametrize("kind", [kind for kind in ("AVIF", "DDS", "WEBP", "TIFF", "MPO", "ICO", "JPEG2000", "GIF")
                                  if kind in decoding.image_formats() or kind == "MPO"])
def test_a_damaged_file_of_any_format_is_one_line(kind, tmp_path):
    for seed in range(40):
        raw = mutated(kind, seed)
        (tmp_path / "x").write_bytes(raw)
        try:
            assert predict.read_image(tmp_path / "x").mode == "RGB"
        except DataError as error:
            assert "\n" not in str(error)


def test_no_program_is_started_for_a_picture(tmp_path):
    """Pillow hands PostScript to Ghostscript."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print showpage\n%%EOF\n"
    with pytest.raises(ValueError, match="no image that Pillow can read"):
        decoding.decode_rgb(script)
    (tmp_path / "x.jpg").write_bytes(script)
    with pytest.raises(DataError, match="is not an image that Pillow can read"):
        predict.read_image(tmp_path / "x.jpg")


@pytest.mark.skipif(sys.platform == "win32", reason="resource is for Unix")
@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (30_000, 2), (200_000, 3)])
def test_a_thin_picture_takes_little_memory(size, tmp_path):
    import resource
    (tmp_path / "x.png").write_bytes(trees.file_of(Image.new("RGB", size, "red"), "PNG"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pixels = predict.square(predict.read_image(tmp_path / "x.png"), 256)
    assert pixels.shape == (256, 256, 3) and (pixels == (255, 0, 0)).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


def test_a_file_too_large_for_an_image_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_BYTES", 1000)
    (tmp_path / "x.png").write_bytes(bytes(2000))
    with pytest.raises(DataError, match="too large for an image"):
        predict.read_image(tmp_path / "x.png")
    with pytest.raises(ValueError, match="too large for an image"):
        decoding.read_image_file(tmp_path / "x.png", 0, 1001)
    assert len(decoding.read_image_file(tmp_path / "x.png", 5, 1000)) == 1000


# Grey of many bits.


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bit_grey_gives_its_upper_bits_however_dark(kind):
    for value, expected in ((200, 0), (255, 0), (256, 1), (300, 1), (40_000, 156)):
        grey = Image.fromarray(np.full((10, 20), value, np.uint16))
        pixels = np.asarray(decoding.decode_rgb(trees.file_of(grey, kind)))
        assert (pixels == expected).all(), (value, pixels[0, 0])


@pytest.mark.parametrize("values, expected", [
    ([0.0, 0.25, 0.5, 1.0], [0, 64, 128, 255]), ([0.0, 1.5, 100.7, 255.0], [0, 1, 100, 255]),
    ([0.0, 256.0, 512.5, 65_535.0], [0, 1, 2, 255]), ([float("nan"), 0.5, 0.5, 1.0], [0, 128, 128, 255]),
    ([-1.0, 0.0, 0.0, 0.0], [0, 0, 0, 0])])
def test_a_picture_of_floats_is_not_black(values, expected):
    image = Image.fromarray(np.float32([values]))
    for kind in ("TIFF", "PPM"):  # the second writes a PFM
        assert np.asarray(decoding.decode_rgb(trees.file_of(image, kind)))[0, :, 1].tolist() == expected


def test_32_bit_grey_uses_the_bits_that_it_has():
    for value, expected in ((100, 100), (25_700, 100), (100 << 23, 100), (2**31 - 1, 255), (-5, 0)):
        image = Image.fromarray(np.full((2, 3), value, np.int32))
        assert (np.asarray(decoding.decode_rgb(trees.file_of(image, "TIFF"))) == expected).all(), value


# Nothing of the process changes.


def two_classes(root, n=3, parts=("train", "val"), classes=("cat", "dog"), kind="PNG", suffix=".png"):
    """DIR/PART/CLASS/k.png, a picture of its own each."""
    for part in parts:
        for label, name in enumerate(classes):
            for k in range(n):
                trees.put(root / part / name / f"{k}{suffix}",
                          trees.file_of(trees.picture(100 * label + k, 24, 20), kind))
    return root


def test_warnings_are_as_they_were_during_and_after_reading(tmp_path):
    palette = trees.picture(1, 30, 20).quantize(8)
    two_classes(tmp_path)
    for k in range(60):
        trees.put(tmp_path / "train" / "cat" / f"p{k}.png", trees.file_of(palette, "PNG", transparency=bytes(8)))
        trees.put(tmp_path / "train" / "dog" / f"p{k}.jpg", jpeg_with(0xE1, exif(TURNED)[:-3]))
    before = list(warnings.filters)
    show = warnings.showwarning
    changes = []
    done = threading.Event()

    def watch():
        while not done.wait(0.001):
            if warnings.filters != before or warnings.showwarning is not show:
                changes.append(warnings.filters[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(5):
            data.load_folder(tmp_path, 16)
    finally:
        done.set()
        watcher.join()
    assert warnings.filters == before and not changes


def test_an_odd_picture_is_read_where_warnings_are_errors():
    palette = trees.picture(1, 30, 20).quantize(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for raw in (trees.file_of(palette, "PNG", transparency=bytes(8)), jpeg_with(0xE1, exif(TURNED)[:-3]),
                    jpeg_with(0xE1, EXIF_BLOCKS["an offset beyond the end"])):
            for as_viewed in (False, True):
                assert decoding.decode_rgb(raw, as_viewed).mode == "RGB"
