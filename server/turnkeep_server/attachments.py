"""How large images and PDFs are, in the units that models charge for. Pure, nothing is fetched."""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable
from fractions import Fraction

# https://platform.openai.com/docs/guides/images-vision, "Calculating costs", detail "high".
FIT_PIXELS = 2_048
SHORT_SIDE_PIXELS = 768
TILE_PIXELS = 512


def tiles(width: int, height: int) -> int:
    """Tiles of an image of so many pixels, by OpenAI's rule.

    It is scaled down to fit a square of 2048 pixels, then down again until its shorter side has
    768; the tiles are the squares of 512 that cover what is left. Never scaled up.
    """
    scale = min(Fraction(1), Fraction(FIT_PIXELS, max(width, height)))
    scale = min(scale, Fraction(SHORT_SIDE_PIXELS, min(width, height)))
    return math.ceil(width * scale / TILE_PIXELS) * math.ceil(height * scale / TILE_PIXELS)


MOST_TILES = tiles(FIT_PIXELS, SHORT_SIDE_PIXELS)
"""8, the most that the rule gives any image."""

PAGE_TILES = tiles(850, 1_100)
"""A page as an image: US Letter, at any resolution that fills the short side."""

# A page whose object is hidden in a compressed stream: most have more bytes than this.
PDF_BYTES_A_PAGE = 20_000
_PDF_PAGE = re.compile(rb"/Type\s{0,8}/Page(?![A-Za-z])")

_HEADER_CHARACTERS = 262_144  # of base64; cameras put up to 128 KiB of notes before a JPEG's size
_MOST_SEGMENTS = 128


def image_tiles(url: str) -> int:
    """Tiles of the image at `url`. Where its size cannot be told, the most that the rule gives.

    The size is read from the first bytes of a data: URL with a PNG, JPEG, GIF or WebP. That of an
    image elsewhere is not known here.
    """
    size = _size(_first_bytes(url))
    return tiles(*size) if size and min(size) > 0 else MOST_TILES


def pdf_pages(data: bytes) -> int:
    """Pages of a PDF, at least one: its page objects, or by its size where none can be seen."""
    seen = sum(1 for _ in _PDF_PAGE.finditer(data))
    return seen or math.ceil(len(data) / PDF_BYTES_A_PAGE) or 1


def _first_bytes(url: str) -> bytes:
    head, _, data = url[:_HEADER_CHARACTERS].partition(",")
    if not (head[:5].lower() == "data:" and head.endswith(";base64")):
        return b""
    try:
        return base64.b64decode(data[: len(data) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None if the bytes are no image that is known here."""
    for signature, size in _FORMATS.items():
        if re.match(signature, data):
            try:
                return size(data)
            except (struct.error, IndexError):
                return None
    return None


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """From the frame's header, which comes after any number of other segments."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        start, marker, length, _, height, width = struct.unpack_from(">BBHBHH", data, position)
        if start != 0xFF:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return width, height
        position += 2 + length
    return None


def _webp_lossy(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _webp_lossless(data: bytes) -> tuple[int, int]:
    (bits,) = struct.unpack_from("<I", data, 21)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_extended(data: bytes) -> tuple[int, int]:
    width, height = data[24:27], data[27:30]
    return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1


_FORMATS: dict[bytes, Callable[[bytes], tuple[int, int] | None]] = {
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"GIF8[79]a": _gif,
    rb"\xff\xd8\xff": _jpeg,
    rb"(?s)RIFF.{4}WEBPVP8 ": _webp_lossy,
    rb"(?s)RIFF.{4}WEBPVP8L": _webp_lossless,
    rb"(?s)RIFF.{4}WEBPVP8X": _webp_extended,
}
