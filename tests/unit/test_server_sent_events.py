"""Events out of bytes: as the standard says, and as OpenAI's own decoder reads them."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from turnkeep_server.server_sent_events import EventData


def read(*pieces: bytes) -> list[bytes]:
    decoder = EventData()
    return [data for piece in pieces for data in decoder.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata:  b\r\rdata: c\n\r\n", [b"a", b" b", b"c"]),
        (b"data: a\ndata\ndata: b\n\n", [b"a\n\nb"]),
        (b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"]),
        (b": keep-alive\n\nevent: x\nid: 1\nretry: 5\ndatum: y\ndata: a\n\n", [b"a"]),
        ("data: Привет, 世界\u2028\n\n".encode(), ["Привет, 世界\u2028".encode()]),
        (b"data: not ended\n", []),
        (b"data: not ended", []),
        (b"", []),
        (b"data: a\r\n\n", [b"a"]),
    ],
)
def test_what_events_say(stream: bytes, events: list[bytes]) -> None:
    assert read(stream) == events
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == events


def cut(stream: bytes, at: list[int]) -> Iterator[bytes]:
    places = sorted({min(each, len(stream)) for each in at} | {0, len(stream)})
    for start, end in pairwise(places):
        yield stream[start:end]


@given(
    st.lists(
        st.sampled_from(["data: ", "data:", "data", ":", "id: 1", "ж", "a", "\n", "\r", "\r\n"]),
        max_size=30,
    ),
    st.lists(st.integers(0, 80)),
)
def test_openais_own_decoder_reads_the_same(said: list[str], at: list[int]) -> None:
    stream = "".join(said).encode() + b"\n\n"
    theirs = [each.data.encode() for each in SSEDecoder().iter_bytes(iter([stream])) if each.data]
    ours = [each for each in read(*cut(stream, at)) if each]
    assert ours == theirs
