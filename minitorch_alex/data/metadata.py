"""What a picture's file says besides its pixels: taken off before decoding, because it is often
damaged where the pixels are whole, and read for one number, the orientation.

Cameras, phones and editors write metadata (EXIF, XMP, colour profiles, previews, texts) in which
offsets lead nowhere and numbers have the wrong type. A decoder that parses it fails, or warns, for
a picture that every viewer shows. So JPEG and PNG files, which are chains of segments and chunks,
are handed on without:

    JPEG   FF D8 | FF E1 length EXIF ... | FF E2 length profile ... | FF DB ... | FF DA, pixels
    PNG    signature | length IHDR .. crc | length tEXt .. crc | length IDAT .. crc | ... IEND

The orientation is tag 0x0112 of EXIF, 1 to 8 (CIPA DC-008, section 4.6.4), or tiff:Orientation in
XMP, where EXIF has none.
"""
import re
import struct
import zlib
from dataclasses import dataclass, field

EXIF = b"Exif\0\0"
PNG = b"\x89PNG\r\n\x1a\n"
# Segments of a JPEG file that do not concern its pixels: APP1 to APP13 and APP15. APP0 (JFIF) and
# APP14 (Adobe) say which colours are meant. A comment is harmless, and Pillow copies it into the
# JPEG file that `prepare` stores: without it, sets would not be those of earlier versions.
DROPPED_SEGMENTS = {*range(0xE1, 0xEE), 0xEF}
ORIENTATION = 0x0112
# Formats of the whole numbers that a tag of EXIF can have, by its type.
WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
MAX_TEXT = 1 << 20  # bytes of a compressed text that are unpacked: EXIF has at most 65,533


@dataclass
class Metadata:
    """The blocks of a file that can hold its orientation.

    exif   beginning with a TIFF header, perhaps after EXIF
    xmp    texts in XML
    """

    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)

    def add(self, block: object) -> None:
        """Add a block of either kind; anything else is ignored."""
        if not isinstance(block, bytes):
            return
        if block.startswith((EXIF, b"II", b"MM")):
            self.exif.append(block)
        elif b"tiff:Orientation" in block:
            self.xmp.append(block)

    def orientation(self) -> int:
        """1 to 8; 1, upright, where nothing says otherwise or what is said makes no sense."""
        for block in self.exif:
            value = exif_orientation(block)
            if value is not None:
                return value if 1 <= value <= 8 else 1
        for text in self.xmp:
            found = XMP_ORIENTATION.search(text)
            if found and 1 <= int(found[1]) <= 8:
                return int(found[1])
        return 1


def split_metadata(raw: bytes) -> tuple[bytes, Metadata]:
    """(the file without metadata, the metadata) of a JPEG or PNG file.

    Any other file, and one whose chain breaks before the pixels, comes back as it is.
    """
    if raw.startswith(b"\xff\xd8\xff"):
        return _split_jpeg(raw)
    if raw.startswith(PNG):
        return _split_png(raw)
    return raw, Metadata()


def _split_jpeg(raw: bytes) -> tuple[bytes, Metadata]:
    metadata = Metadata()
    kept = [raw[:2]]
    at = 2
    while raw[at:at + 1] == b"\xff" and at + 4 <= len(raw):
        marker = raw[at + 1]
        if marker == 0xFF:  # a segment may begin with any number of these
            at += 1
            continue
        if marker == 0xDA:  # the pixels, up to the end of the file
            kept.append(raw[at:])
            return b"".join(kept), metadata
        stop = at + 2 + int.from_bytes(raw[at + 2:at + 4], "big")
        if marker in DROPPED_SEGMENTS:
            metadata.add(raw[at + 4:stop])
        else:
            kept.append(raw[at:stop])
        at = stop
    return raw, metadata  # the chain is broken: Pillow may know what it means


def _split_png(raw: bytes) -> tuple[bytes, Metadata]:
    metadata = Metadata()
    kept = [PNG]
    at = len(PNG)
    while at + 12 <= len(raw):
        kind = raw[at + 4:at + 8]
        stop = at + 12 + int.from_bytes(raw[at:at + 4], "big")  # length, kind and checksum: 12
        if stop > len(raw):
            break
        # A capital letter marks what a decoder must understand; tRNS is transparency.
        if kind[:1].isupper() or kind == b"tRNS":
            kept.append(raw[at:stop])
        else:
            metadata.add(_png_block(kind, raw[at + 8:stop - 4]))
        at = stop
    kept.append(raw[at:])
    return b"".join(kept), metadata


def _png_block(kind: bytes, data: bytes) -> bytes | None:
    """EXIF or XMP from a chunk of PNG; None where there is neither."""
    if kind == b"eXIf":
        return data
    keyword, _, text = data.partition(b"\0")
    try:
        if kind == b"iTXt":  # compressed or not, method, language, keyword in it, text
            compressed = text[:1] == b"\1"
            text = text[2:].split(b"\0", 2)[2]
            text = _inflate(text) if compressed else text
        elif kind == b"zTXt":
            text = _inflate(text[1:])
        if keyword == b"Raw profile type exif":  # ImageMagick's: two lines, then hexadecimal
            return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except (ValueError, IndexError, zlib.error):
        return None
    return text


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MAX_TEXT)


def exif_orientation(block: bytes) -> int | None:
    """The orientation in a block of EXIF: the value of tag 0x0112 in its first directory, which is

        II or MM (order of the bytes) | 42 | offset of the directory
        number of entries | entries of tag (2), type (2), count (4), value or its offset (4)

    None where there is none. No other tag is looked at.
    """
    while block.startswith(EXIF):  # some writers put it twice
        block = block[len(EXIF):]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        start = struct.unpack_from(f"{order}I", block, 4)[0]
        count = struct.unpack_from(f"{order}H", block, start)[0]
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", block, at)
            if tag == ORIENTATION and kind in WHOLE_NUMBERS and values:
                number = order + WHOLE_NUMBERS[kind]
                place = at + 8
                if values * struct.calcsize(number) > 4:
                    place = struct.unpack_from(f"{order}I", block, place)[0]
                return struct.unpack_from(number, block, place)[0]
    except struct.error:  # beyond the end of the block
        return None
    return None
