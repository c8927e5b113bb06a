"""Faults that were seen from outside: files, folders and machines as people have them, each with other inputs of its
kind."""
import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagenet_trees as trees
import numpy as np
import pytest
from PIL import Image

from minitorch_alex import check, data, machine, predict, prepare
from minitorch_alex.data import cifar10, decoding, folders, layouts
from minitorch_alex.data.shards import encode
from minitorch_alex.data.sources import list_source
from minitorch_alex.data.synsets import short_names
from minitorch_alex.errors import DataError, UsageError

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


def test_a_comment_is_stored_as_it_always_was():
    """Pillow copies it; a prepared set has the bytes that it had before metadata were taken off."""
    raw = jpeg_with(0xFE, b"by hand")
    assert decoding.decode_rgb(raw).info["comment"] == b"by hand"
    with Image.open(io.BytesIO(raw)) as image:
        assert trees.file_of(image.convert("RGB"), quality=95) == encode(decoding.decode_rgb(raw))


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


# One set of rules for folders, whoever reads them.


def both(root, capsys):
    """What load_folder and `prepare` make of the same folder: ((classes, files by split), notes) or the message."""
    results = []
    capsys.readouterr()
    try:
        taken = {}
        original = folders.read_pictures

        def read(files, size, name):
            taken[name.rsplit("/", 1)[-1]] = sorted(str(file.relative_to(root)) for file in files)
            return original(files, size, name)

        folders.read_pictures = read
        try:
            train, _ = data.load_folder(root, 8)
        finally:
            folders.read_pictures = original
        results.append((train.classes, taken["train"], taken["val"]))
    except DataError as error:
        results.append(str(error))
    told = capsys.readouterr().err
    try:
        listing = list_source(root)
        names = short_names(listing.classes)
        files = [sorted(str(Path(name)) for name in listing.splits[split].names) for split in ("train", "val")]
        results.append((names, *files))
        notes = listing.notes
    except DataError as error:
        results.append(str(error))
        notes = []
    return results, told, notes


LEFT = ("._0.png", ".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", ".directory", ".0.png.swp")
LEFT_FOLDERS = ("__MACOSX", "@eaDir", "lost+found", ".ipynb_checkpoints", "$RECYCLE.BIN", "System Volume Information",
                "#recycle", ".Trashes", "__pycache__")


@pytest.mark.parametrize("name", LEFT)
def test_files_of_systems_are_passed_over_by_both(name, tmp_path, capsys):
    two_classes(tmp_path)
    trees.put(tmp_path / "train" / "cat" / name, b"\0\5\x16\7" + bytes(100))
    trees.put(tmp_path / "train" / name, b"x")
    (folder, prepared), told, notes = both(tmp_path, capsys)
    assert folder == prepared and len(folder[1]) == 6
    assert "2 files or folders were passed over (hidden or left by a system: 2" in told
    assert any("2 files or folders were passed over" in note for note in notes)


@pytest.mark.parametrize("name", LEFT_FOLDERS)
@pytest.mark.parametrize("place", ["train", "val", "train/cat"])
def test_folders_of_systems_are_no_classes_and_no_images(name, place, tmp_path, capsys):
    two_classes(tmp_path)
    trees.put(tmp_path / place / name / "0-checkpoint.png", trees.file_of(trees.picture(1, 9, 9), "PNG"))
    (folder, prepared), told, notes = both(tmp_path, capsys)
    assert folder == prepared and folder[0] == ("cat", "dog") and len(folder[1]) == 6
    assert told.count("\n") == 1 and "1 file or folder was passed over" in told and name in told and len(notes) == 1
    assert data.class_names("folder", tmp_path) == ("cat", "dog")


@pytest.mark.parametrize("kind, suffix", [
    ("TIFF", ".tif"), ("JPEG", ".jfif"), ("GIF", ".gif"), ("JPEG", ""), ("JPEG", ".jpg?size=large"), ("PPM", ".pgm"),
    ("WEBP", ".WEBP"), ("BMP", ".dib"), ("PNG", ".JPG"), ("JPEG", ".jpg_large"), ("JPEG2000", ".jp2"), ("TGA", ".tga")])
def test_what_a_file_is_decides_its_content_for_both(kind, suffix, tmp_path, capsys):
    two_classes(tmp_path, parts=("val",))
    two_classes(tmp_path, parts=("train",), kind=kind, suffix=suffix)
    (folder, prepared), told, notes = both(tmp_path, capsys)
    assert folder == prepared and len(folder[1]) == 6 and not told and not notes


def test_files_that_are_no_images_are_told(tmp_path, capsys):
    two_classes(tmp_path)
    for name in ("notes.txt", "labels.csv", "boxes.json"):
        trees.put(tmp_path / "train" / "cat" / name, b"x")
    trees.put(tmp_path / "train" / "cat.zip", b"x")
    trees.put(tmp_path / "train" / "loose.png", b"x")
    (folder, prepared), told, notes = both(tmp_path, capsys)
    assert folder == prepared and len(folder[1]) == 6
    for text in (told, notes[0]):
        assert "5 files or folders were passed over" in text
        assert "not images by their names: 4" in text and "in no class folder: 1" in text
    trees.put(tmp_path / "train" / "cat" / "README", b"a text without a suffix")
    trees.put(tmp_path / "train" / "cat" / "labels.yaml", b"a: b")
    (folder, _), told, _ = both(tmp_path, capsys)
    assert len(folder[1]) == 6 and "not images by their content: 2" in told and told.count("\n") == 1


def test_folders_in_class_folders_are_read_by_both_links_included(tmp_path, capsys):
    two_classes(tmp_path)
    inner = tmp_path / "train" / "cat" / "by day" / "2012"
    inner.mkdir(parents=True)
    (tmp_path / "train" / "cat" / "0.png").rename(inner / "0.png")
    trees.put(tmp_path / "elsewhere" / "5.png", trees.file_of(trees.picture(5, 9, 9), "PNG"))
    (tmp_path / "train" / "dog" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "dog" / "9.png").symlink_to(tmp_path / "elsewhere" / "5.png")
    (folder, prepared), told, _ = both(tmp_path, capsys)
    assert folder == prepared and len(folder[1]) == 8 and not told
    assert str(Path("train/cat/by day/2012/0.png")) in folder[1]


def test_links_that_lead_nowhere_or_back_are_told(tmp_path, capsys):
    two_classes(tmp_path)
    cat = tmp_path / "train" / "cat"
    (cat / "broken.png").symlink_to("/nowhere/0.png")
    (cat / "itself.png").symlink_to("itself.png")
    (cat / "loop").symlink_to(tmp_path / "train")
    (cat / "again").symlink_to(cat)
    os.mkfifo(cat / "pipe.png")
    (folder, prepared), told, notes = both(tmp_path, capsys)
    assert folder == prepared and len(folder[1]) == 6
    for text in (told, notes[0]):
        assert "5 files or folders" in text and "broken links: 2" in text
        assert "neither files nor folders: 1" in text and "links to a folder above or to one that was read" in text


@pytest.mark.parametrize("makes_empty", [
    lambda folder: folder.mkdir(), lambda folder: trees.put(folder / "notes.txt", b"x"),
    lambda folder: trees.put(folder / ".hidden.png", b"x"),
    lambda folder: (folder / "deep" / "deeper").mkdir(parents=True),
    lambda folder: [folder.mkdir(), (folder / "0.png").symlink_to("nowhere")]])
def test_an_empty_class_is_refused_by_both(makes_empty, tmp_path, capsys):
    two_classes(tmp_path)
    makes_empty(tmp_path / "train" / "bird")
    (folder, prepared), _, _ = both(tmp_path, capsys)
    assert folder == prepared and folder.startswith("the class bird has no training images")


@pytest.mark.parametrize("name", ["valid", "validation", "test", "Val", "VALID", "Test"])
def test_the_validation_folder_has_many_names(name, tmp_path, capsys):
    two_classes(tmp_path)
    (tmp_path / "val").rename(tmp_path / name)
    (folder, prepared), told, _ = both(tmp_path, capsys)
    assert folder == prepared and len(folder[2]) == 6 and not told
    (tmp_path / "train").rename(tmp_path / "Train")
    (folder, prepared), _, _ = both(tmp_path, capsys)
    assert folder == prepared and folder[0] == ("cat", "dog")


def test_of_several_validation_folders_one_is_read_and_the_others_are_told(tmp_path, capsys):
    two_classes(tmp_path, parts=("train", "test", "valid"))
    (tmp_path / "val").mkdir()  # empty
    (folder, prepared), told, notes = both(tmp_path, capsys)
    assert folder == prepared and folder[2][0].startswith("valid")
    assert "test is not read" in told and "test is not read" in notes[0]


def test_names_of_classes_are_the_same_for_both(tmp_path, capsys):
    classes = ("Smith, John", "Smith, Ann", "n01440764", "a;b", "caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    two_classes(tmp_path, classes=classes)
    trees.put(tmp_path / "words.txt", b"n01440764\ttench, Tinca tinca\nSmith, Ann\tSmith, Ann Mary\n")
    (folder, prepared), _, _ = both(tmp_path, capsys)
    assert folder == prepared
    assert folder[0] == ("Smith, Ann Mary", "Smith, John", "a;b", classes[4], "tench")


def test_order_within_a_class_is_that_of_the_names_for_both(tmp_path):
    root = two_classes(tmp_path, n=12)
    (root / "train" / "cat" / "sub").mkdir()
    (root / "train" / "cat" / "5.png").rename(root / "train" / "cat" / "sub" / "5.png")
    train, _ = data.load_folder(root, 8)
    part = layouts.read_folders(root).train
    for label, wnid in enumerate(("cat", "dog")):
        files = [root / member.path for member in sorted(part.members[wnid])]
        expected = folders.read_pictures(files, 8, "x")
        assert (train.images[train.labels == label] == expected).all()
        assert [file.name for file in files] == sorted(f"{k}.png" for k in range(12))


def test_prepared_and_read_as_a_folder_have_the_same_pixels_and_names(tmp_path, capsys):
    root = two_classes(tmp_path / "src", classes=("Smith, John", "dog"), kind="TIFF", suffix=".tif")
    trees.put(root / "train" / "dog" / "._0.tif", b"x")
    assert prepare.main([str(root), str(tmp_path / "dst"), "--format", "npy", "--size", "16", "-j", "1"]) == 0
    assert "note        1 file or folder was passed over" in capsys.readouterr().out
    for ours, theirs in zip(data.load("folder", root, size=16), data.load("imagenet", tmp_path / "dst"), strict=True):
        assert ours.classes == theirs.classes == ("Smith, John", "dog")
        first = {(int(label), image.tobytes()) for image, label in zip(ours.images, ours.labels, strict=True)}
        assert first == {(int(theirs.labels[i]), theirs.images[i].tobytes()) for i in range(len(theirs))}


# Layouts as people have them.


@pytest.fixture(scope="module")
def drawn():
    return trees.drawn_images()


def sort_tiny(root, to):
    """What the usual scripts do to the validation images: move each into a folder of its class."""
    for line in (root / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        target = root / to.format(wnid) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / "val" / "images" / name).rename(target)


@pytest.mark.parametrize("to", ["val/images/{}", "val/{}", "val/{}/images"])
@pytest.mark.parametrize("left", ["images", "nothing", "annotations gone"])
def test_tiny_imagenet_sorted_by_the_usual_scripts(to, left, drawn, tmp_path):
    root = tmp_path / "tiny"
    trees.tiny(root, *drawn)
    whole = list_source(root).splits["val"]
    sort_tiny(root, to)
    if left == "nothing" and "images/" not in to:
        (root / "val" / "images").rmdir()
    if left == "annotations gone":
        (root / "val" / "val_annotations.txt").unlink()
    listing = list_source(root)
    val = listing.splits["val"]
    assert listing.layout == "tiny" and not listing.notes and (val.labels == whole.labels).all()
    assert [Path(name).name for name in val.names] == [Path(name).name for name in whole.names]


@pytest.mark.parametrize("to", [None, "val/images/{}", "val/{}"])
@pytest.mark.parametrize("lists", [True, False])
def test_tiny_imagenet_is_also_a_folder_of_folders(to, lists, drawn, tmp_path, capsys):
    """Sorted or not, with an empty val/images left behind, and whether wnids.txt was copied too."""
    train, val = drawn
    good = {wnid: {k: v for k, v in files.items() if k not in trees.REJECTED} for wnid, files in train.items()}
    trees.tiny(tmp_path, good, val)
    if to:
        sort_tiny(tmp_path, to)
    if not lists:
        (tmp_path / "wnids.txt").unlink()
    (folder, prepared), told, notes = both(tmp_path, capsys)
    assert folder == prepared and len(folder[2]) == 7 and not told and not notes
    assert folder[0] == ("tench", "English springer", "parachute")


def test_tiny_imagenet_half_sorted(drawn, tmp_path):
    trees.tiny(tmp_path, *drawn)
    whole = list_source(tmp_path).splits["val"]
    wnid, data_ = next(iter(drawn[1].values()))
    name = next(iter(drawn[1]))
    trees.put(tmp_path / "val" / "images" / wnid / name, data_)
    (tmp_path / "val" / "images" / name).unlink()
    half = list_source(tmp_path).splits["val"]
    assert (half.labels == whole.labels).all() and len(half) == len(whole)


@pytest.fixture(scope="module")
def small_cifar(tmp_path_factory):
    """Six binary files of the right size, in the folder of the official archive."""
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    folder.mkdir()
    for k, name in enumerate(cifar10.BINARY_FILES):
        records = np.full((cifar10.BATCH, cifar10.RECORD), k, np.uint8)
        (folder / name).write_bytes(records.tobytes())
    return folder


@pytest.mark.parametrize("name", ["cifar-10-binary.tar", "cifar-10-binary.tar.gz"])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_an_archive_whose_gzip_a_browser_took_off(name, prefix, small_cifar, tmp_path):
    with tarfile.open(tmp_path / name, "w") as tar:
        tar.add(small_cifar, f"{prefix}cifar-10-batches-bin")
        tar.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
        tar.addfile(tarfile.TarInfo("cifar-10-batches-bin/more"), io.BytesIO())
        link = tarfile.TarInfo("cifar-10-batches-bin/link")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc"
        tar.addfile(link)
    train, test = data.load("cifar10", tmp_path)
    assert len(train) == 50_000 and (test.labels == 5).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "cifar-10-batches-bin"])
    assert sorted(p.name for p in (tmp_path / "cifar-10-batches-bin").iterdir()) == sorted(cifar10.BINARY_FILES)


def test_a_tar_that_is_not_cifar_is_one_line(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-python.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    with pytest.raises(DataError, match="cannot be unpacked: it has no files cifar-10-batches-py"):
        data.load("cifar10", tmp_path)
    (tmp_path / "cifar-10-python.tar").write_bytes(b"<html>")
    with pytest.raises(DataError, match="is damaged or not CIFAR-10: md5"):
        data.load("cifar10", tmp_path)


def test_an_archive_in_a_folder_of_its_name(small_cifar, tmp_path):
    """As 7-Zip leaves it."""
    (tmp_path / "cifar-10-binary.tar").mkdir()
    with tarfile.open(tmp_path / "cifar-10-binary.tar" / "cifar-10-binary.tar", "w") as tar:
        tar.add(small_cifar, "cifar-10-batches-bin")
    for _ in range(2):
        assert len(data.load("cifar10", tmp_path)[0]) == 50_000


@pytest.mark.parametrize("place", ["a/cifar-10-batches-bin", "CIFAR-10/renamed", "a", "."])
def test_cifar_s_folder_down_to_two_levels(place, small_cifar, tmp_path):
    (tmp_path / "__MACOSX" / "cifar-10-batches-bin").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"x")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for file in small_cifar.iterdir():
        os.link(file, tmp_path / place / file.name)
    assert len(data.load("cifar10", tmp_path)[0]) == 50_000


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    two_classes(tmp_path / "pets")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(data.load("folder", "~/pets", size=8)[0]) == 6 and data.class_names("folder", "~/pets") == ("cat", "dog")
    assert len(list_source("~/pets").splits["train"]) == 6
    with pytest.raises(DataError):
        data.load("folder", "~nobody-of-that-name/pets")


# Machines as people have them.


def test_a_prepared_set_is_read_where_python_has_no_pread(tmp_path, monkeypatch):
    source = two_classes(tmp_path / "src", n=8)
    assert prepare.main([str(source), str(tmp_path / "set"), "--size", "16", "-j", "1"]) == 0
    expected = data.load("imagenet", tmp_path / "set")[0].images[:]
    monkeypatch.delattr(os, "pread", raising=False)
    pictures = data.load("imagenet", tmp_path / "set")[0].images
    assert (pictures[:] == expected).all()
    with ThreadPoolExecutor(8) as pool:  # they share one position in the file
        rows = np.random.default_rng(0).integers(0, 16, (100, 4))
        for i, images in zip(rows, pool.map(pictures.__getitem__, rows), strict=True):
            assert (images == expected[i]).all()


GROUPS = {
    "version 2 in a container": ("0::/\n", {"cpu.max": "150000 100000", "memory.max": "1000000"}, (2, 1_000_000)),
    "version 2 without a quota": ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, None),
    "version 2 in a pod": ("0::/pods/a\n", {"pods/cpu.max": "300000 100000", "pods/a/cpu.max": "max 100000",
                                            "pods/a/memory.max": "2000000", "pods/memory.max": "max"}, (3, 2_000_000)),
    "version 2, the parent is smaller": ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "400000 100000"},
                                         (1, None)),
    "version 1 in a container": ("4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n", {
        "cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "3000000"}, (3, 3_000_000)),
    "version 1 on the host": ("4:memory:/x\n3:cpuacct,cpu:/x\n", {
        "cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000",
        "memory/x/memory.limit_in_bytes": "4000000", "memory/memory.limit_in_bytes": "9223372036854771712"},
                              (1, 4_000_000)),
    "version 1 without a quota": ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    "both versions": ("3:memory:/a\n0::/a\n", {"unified/a/cpu.max": "200000 100000",
                                               "memory/a/memory.limit_in_bytes": "5000000"}, (2, 5_000_000)),
    "a name that is not ASCII": ("0::/caf\N{LATIN SMALL LETTER E WITH ACUTE}\n", {
        "caf\N{LATIN SMALL LETTER E WITH ACUTE}/cpu.max": "200000 100000"}, (2, None)),
    "damaged": ("what\n0::/\n:\n3:cpu\n", {"cpu.max": "x y", "memory.max": "", "cpu/cpu.cfs_quota_us": "1"}, None),
    "a strange period": ("0::/\n", {"cpu.max": "100000 0", "memory.max": "0"}, None),
    "no groups": (None, {}, None),
}


@pytest.mark.parametrize("lines, files, expected", GROUPS.values(), ids=GROUPS)
def test_quotas_of_containers(lines, files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    whole = machine.memory_bytes()
    if lines is not None:
        trees.put(tmp_path / "proc/self/cgroup", lines)
    for name, text in files.items():
        trees.put(tmp_path / "sys/fs/cgroup" / name, f"{text}\n")
    cpus, memory = expected or (8, None)
    assert machine.available_cpus() == cpus and machine.memory_bytes() == (memory or whole)


def test_a_machine_that_tells_nothing(tmp_path, monkeypatch):
    """Windows: neither sysconf nor sched_getaffinity nor control groups."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    for name in ("sysconf", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.available_cpus() == 1 and machine.memory_bytes(7) == 7


# Texts that people edit.


EDITS = {
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "both": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "UTF-16 of Notepad": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "blank lines": lambda text: ("\n\n" + text.replace("\n", "\n \n") + "\n\n").encode(),
    "CR alone": lambda text: text.replace("\n", "\r").encode(),
    "blanks at the ends": lambda text: text.replace("\n", "  \n").encode(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("layout", ["kaggle", "tiny"])
def test_lists_of_names_and_of_labels_as_editors_leave_them(edit, layout, drawn, tmp_path):
    trees.LAYOUTS[layout](tmp_path, *drawn)
    before = list_source(tmp_path)
    for name in ("LOC_synset_mapping.txt", "LOC_val_solution.csv", "words.txt", "val/val_annotations.txt"):
        if (tmp_path / name).exists():
            (tmp_path / name).write_bytes(edit((tmp_path / name).read_text(encoding="utf-8")))
    after = list_source(tmp_path)
    assert after.classes == before.classes and not after.notes
    assert (after.splits["val"].labels == before.splits["val"].labels).all()


@pytest.mark.parametrize("mark", [";", ",", " ", "\t", " ; "])
def test_tables_as_spreadsheets_write_them(mark, drawn, tmp_path):
    """Excel writes semicolons where a comma is the decimal point, and quotes cells that have one."""
    for layout in ("kaggle", "tiny"):
        trees.LAYOUTS[layout](tmp_path / layout, *drawn)
    before = list_source(tmp_path / "kaggle")
    for name in ("kaggle/LOC_synset_mapping.txt", "tiny/words.txt"):
        rows = [f'{wnid}{mark}"{words}"' for wnid, words in trees.WORDS.items()]
        (tmp_path / name).write_text("\n".join(rows), encoding="utf-8-sig")
    rows = [f"{name}{mark}{wnid}{mark}0{mark}0" for name, (wnid, _) in drawn[1].items()]
    (tmp_path / "tiny/val/val_annotations.txt").write_text("\r\n".join(rows), encoding="utf-8-sig")
    if mark in ";,\t":
        solution = tmp_path / "kaggle/LOC_val_solution.csv"
        solution.write_text(solution.read_text().replace(",", mark) + f"\n{mark}\n\n", encoding="utf-8-sig")
    for layout in ("kaggle", "tiny"):
        after = list_source(tmp_path / layout)
        assert dict(after.classes) == trees.WORDS and not after.notes
        assert (after.splits["val"].labels == before.splits["val"].labels).all()


def test_a_development_kit_that_was_edited(drawn, tmp_path):
    trees.official(tmp_path, *drawn)
    before = list_source(tmp_path)
    kit = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    with tarfile.open(kit) as tar:
        tar.extractall(tmp_path, filter="data")
    kit.unlink()
    truth = tmp_path / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    truth.write_bytes(truth.read_text().replace("\n", "\r\n\r\n").encode("utf-8-sig"))
    assert (list_source(tmp_path).splits["val"].labels == before.splits["val"].labels).all()


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_names_of_classes_as_editors_leave_them(edit, tmp_path):
    names = ["cat", "Smith, John", "a;b", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]
    (tmp_path / "names.txt").write_bytes(edit("\n".join(names) + "\n"))
    assert predict.read_classes(tmp_path / "names.txt", 4) == names


def test_names_of_classes_from_a_spreadsheet(tmp_path):
    for raw in (b"cat;\r\ndog;\r\n", b"cat;dog", b"cat,\ndog,\n", b"\xef\xbb\xbfcat\r\n\r\ndog"):
        (tmp_path / "names.txt").write_bytes(raw)
        assert predict.read_classes(tmp_path / "names.txt", 2) == ["cat", "dog"]
    (tmp_path / "names.txt").write_bytes(b"caf\xe9\ndog")  # Windows' own encoding
    assert predict.read_classes(tmp_path / "names.txt", 2) == ["caf\N{LATIN SMALL LETTER E WITH ACUTE}", "dog"]
    with pytest.raises(UsageError, match="names 2 classes, the model has 3"):
        predict.read_classes(tmp_path / "names.txt", 3)


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbfx = 'e'\r\n", b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
                                 b"x = 1\r\ry = 2"])
def test_an_exercise_as_editors_leave_it(raw, tmp_path):
    (tmp_path / "e.py").write_bytes(raw)
    assert check.load(tmp_path / "e.py").x in ("e", "\N{LATIN SMALL LETTER E WITH ACUTE}", 1)


def test_a_class_of_which_no_image_can_be_decoded_is_told(tmp_path, capsys):
    two_classes(tmp_path / "src")
    for k in range(3):
        (tmp_path / "src" / "train" / "dog" / f"{k}.png").write_bytes(b"no image")
    assert prepare.main([str(tmp_path / "src"), str(tmp_path / "set"), "--size", "16", "-j", "1"]) == 0
    assert "note        the class dog has no training images left" in capsys.readouterr().out


def test_folders_of_a_disk_that_numbers_nothing(tmp_path, monkeypatch, capsys):
    two_classes(tmp_path)
    (tmp_path / "train" / "cat" / "loop").symlink_to(tmp_path)
    original = Path.stat

    def stat(path, **options):
        info = original(path, **options)
        return os.stat_result((info.st_mode, 0, *info[2:]))

    monkeypatch.setattr(Path, "stat", stat)
    (folder, prepared), told, _ = both(tmp_path, capsys)
    assert folder == prepared and len(folder[1]) == 6 and "links to a folder above" in told


def test_classes_of_a_damaged_index_are_one_line(tmp_path):
    for classes in ("", '"classes": [1],', '"classes": "ab",', '"classes": [{"wnid": 1}],', '"classes": [],',
                    '"classes": null,'):
        (tmp_path / "index.json").write_text(f'{{{classes} "version": 1, "format": "tar"}}')
        with pytest.raises(DataError, match="no list of classes"):
            data.class_names("imagenet", tmp_path)


LACKING = """
import os, signal, sys
for name in ("pread", "sched_getaffinity", "register_at_fork", "fork", "sysconf", "O_CLOEXEC"):
    vars(os).pop(name, None)
for name in ("pthread_sigmask", "SIGALRM", "alarm", "setitimer", "SIGHUP", "SIGUSR1"):
    vars(signal).pop(name, None)
from minitorch_alex import data, prepare
source, target = sys.argv[1:]
assert prepare.main([source, target, "--size", "16", "-j", "2"]) == 0
for sets in (data.load("imagenet", target), data.load("folder", source, size=16)):
    for part in sets:
        print(len(part), *part.classes, ascii(part.images[:].sum(dtype=int)))
"""


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_without_what_python_lacks_on_windows(encoding, tmp_path):
    """Imitated here: functions that are missing, processes that are spawned, another encoding of files and streams."""
    names = ("cat", "Smith, John")
    source = two_classes(tmp_path / "src", classes=names)
    (source / "words.txt").write_bytes(b"\xef\xbb\xbfcat\tthe cat\r\n")
    (tmp_path / "run.py").write_text(f"if __name__ == '__main__':\n    exec({LACKING!r})\n")
    result = subprocess.run([sys.executable, "-W", "error::EncodingWarning", "-X", "utf8=0", str(tmp_path / "run.py"),
                             str(source), str(tmp_path / "set")], capture_output=True, text=True, check=False,
                            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()[-4:]
    assert all(line.startswith("6 Smith, John the cat") for line in lines), lines
    assert not [line for line in result.stderr.splitlines() if "Error" in line or "Warning" in line]
