"""Tiles of images by the provider's published rule, and pages of PDFs."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnkeep_server.attachments import image_tiles, pdf_pages, tiles


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x06"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height)


def jpeg(width: int, height: int, *, notes: int = 14) -> bytes:
    segment = b"\xff\xe1" + struct.pack(">H", notes + 2) + b"x" * notes
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3)
    return b"\xff\xd8" + segment * 2 + frame


def webp(kind: bytes, header: bytes) -> bytes:
    return b"RIFF\x0a\0\0\0WEBP" + kind + b"\x0a\0\0\0" + header


def webp_lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14))


def webp_extended(width: int, height: int) -> bytes:
    size = [(side - 1).to_bytes(3, "little") for side in (width, height)]
    return webp(b"VP8X", b"\0\0\0\0" + b"".join(size))


FORMATS = {
    "png": png,
    "gif": gif,
    "jpeg": jpeg,
    "webp lossy": webp_lossy,
    "webp lossless": webp_lossless,
    "webp extended": webp_extended,
}


def data_url(data: bytes) -> str:
    return f"data:image/x;base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [
        (1_024, 1_024, 4),  # the provider's examples: to 768 x 768
        (2_048, 4_096, 6),  # to 1024 x 2048, to 768 x 1536
        (1, 1, 1),
        (512, 512, 1),
        (513, 512, 2),
        (600, 600, 4),  # never scaled up
        (10_000, 10, 4),
        (767, 2_048, 8),
        (850, 1_100, 4),
        (2**31, 2**31, 4),
    ],
)
def test_an_image_has_as_many_tiles_as_the_rule_says(width: int, height: int, count: int) -> None:
    assert tiles(width, height) == tiles(height, width) == count


@given(st.integers(1, 2**32), st.integers(1, 2**32))
def test_no_image_has_more_than_eight_tiles(width: int, height: int) -> None:
    assert 1 <= tiles(width, height) <= 8


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(300, 200), (1_024, 768), (640, 4_000)])
def test_the_size_is_read_from_an_image_s_first_bytes(kind: str, size: tuple[int, int]) -> None:
    image = FORMATS[kind](*size) + b"\0" * 100
    assert image_tiles(data_url(image)) == tiles(*size)
    assert tiles(*size) < 8


def test_a_jpeg_s_size_is_found_behind_a_camera_s_notes() -> None:
    assert image_tiles(data_url(jpeg(300, 200, notes=60_000))) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/кот.png",
        "",
        "data:",
        "data:image/png,%89PNG",
        "data:image/png;base64,????",
        "data:image/png;base64,🐈",
        data_url(b"plain text"),
        data_url(png(0, 5)),
        data_url(png(5, 5)[:20]),
        data_url(jpeg(5, 5)[:40]),
        data_url(b"\xff\xd8\xff" + b"\0" * 40),
        data_url(b"\xff\xd8" + b"\xff\xe1\0\x02" * 100_000),
        data_url(b"RIFF\0\0\0\0WEBPVP8 "),
    ],
)
def test_an_image_whose_size_cannot_be_told_has_the_most_tiles(url: str) -> None:
    assert image_tiles(url) == 8


@given(st.sampled_from(list(FORMATS)), st.binary(max_size=60), st.integers(0, 60))
def test_no_bytes_at_all_break_the_reading(kind: str, tail: bytes, kept: int) -> None:
    assert 1 <= image_tiles(data_url(FORMATS[kind](300, 200)[:kept] + tail)) <= 8


def test_a_pdf_s_pages_are_counted_or_told_by_its_size() -> None:
    assert pdf_pages(b"%PDF-1.7 /Type /Pages" + b" /Type /Page\n" * 3 + b"/Type/Page/Parent") == 4
    assert pdf_pages(b"%PDF-1.7" + b"\0" * 50_000) == 3
    assert pdf_pages(b"") == 1
