"""How each target's inputs are made: from the contract's descriptor, or from what providers say."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzz import values
from tests.fuzz.targets import KINDS
from tests.fuzz.wild import Wild
from tests.kit import openai_wire as said
from tests.kit.openai_faults import ERROR_REPLIES
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.paging import page_token
from turnkeep_server.turns import SessionKey

Maker = Callable[[random.Random, Sequence[bytes]], bytes]

_LARGE = (KINDS.index(pb.ChatRequest), KINDS.index(pb.AddMessagesRequest))
_KINDS = (*range(len(KINDS)), *_LARGE, *_LARGE)
_OLD_SHARE = 0.15
"""Of inputs that are made of ones in the corpus."""


def _requests(source: random.Random, old: Sequence[bytes]) -> bytes:
    if old and source.random() < _OLD_SHARE:
        return Wild(source).mutated(source.choice(old), *old)
    number = source.choice(_KINDS)
    return bytes([number]) + Wild(source).body(KINDS[number])


def _page_tokens(source: random.Random, old: Sequence[bytes]) -> bytes:
    inside = source.choice(
        (
            f"{source.choice(values.INT64)},{source.choice(values.INT64)}",
            f"{source.choice(values.INT64)},{json.dumps(source.choice(values.TEXTS))}",
            "1," + source.choice(values.TEXTS)[:300],
            f"{10**30},{10**30}",
            "true,false",
            "1.0,2",
            '1,"\\ud83d"',
            "9" * 400,
        )
    )
    data = bytes([source.randrange(256)]) + inside.encode()
    return Wild(source).mutated(data, *old) if source.random() < 0.5 else data


def forged_token(source: random.Random, request: Any) -> str:
    """A token of the very listing that is asked for, with a position of a stranger's choice."""
    first = source.choice((*values.INT64, 253_402_300_799_999, "x", True, 1.5))
    if isinstance(request, pb.ListSessionsRequest):
        listing: tuple[object, ...] = ("default", request.user_id)
        second: object = source.choice((*values.SESSIONS[:3], "", "a b", "$x", "x" * 700, 1))
    else:
        key = SessionKey("default", request.user_id, request.session_id)
        newest_first = request.order == pb.ORDER_NEWEST_FIRST
        listing = (key, newest_first, request.include_unfinished)
        second = source.choice((*values.INT64, "x"))
    return page_token((first, second), *listing)  # type: ignore[arg-type]


def _prompts(source: random.Random, old: Sequence[bytes]) -> bytes:
    names = [source.choice(("topic", "a", "имя", "_", "self", "x1")) for _ in range(3)]
    pieces = [f"{{{each}}}" for each in names] + [source.choice(values.TEXTS) for _ in range(2)]
    source.shuffle(pieces)
    filled = "\0".join(f"{each}\0{source.choice(values.TEXTS)}" for each in names)
    data = f"{' '.join(pieces[: source.randrange(1, 6)])}\0{filled}".encode()
    return Wild(source).mutated(data, *old) if source.random() < 0.5 else data


def _events(source: random.Random, old: Sequence[bytes]) -> bytes:
    """Fields, comments and line ends of all three kinds, in any order."""
    lines = (
        b"data: {}",
        b"data:",
        b"data",
        b":",
        b"event: x",
        b"id: 1\0",
        b"data: \xff",
        b"retry: 1",
    )
    ends = (b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"")
    data = b"".join(source.choice(lines) + source.choice(ends) for _ in range(source.randrange(12)))
    return Wild(source).mutated(data, *old) if source.random() < 0.3 else data


def _answers(source: random.Random, old: Sequence[bytes]) -> bytes:
    text = {"content": source.choice(("Да 👋", "Да \ud83d", "да" * 99, ""))}
    message = {"tool_calls": [said.tool_call()]} if source.random() < 0.3 else text
    body = said.completion("gpt-4o-mini", message, source.choice(_REASONS), said.usage(3, 5))
    return _bent(source, json.dumps(_swapped(source, body)).encode(), old)


def _streams(source: random.Random, old: Sequence[bytes]) -> bytes:
    deltas = (
        list(said.tool_call_deltas())
        if source.random() < 0.4
        else [{"role": "assistant", "content": ""}, *({"content": each} for each in "При\ud83dвет")]
    )
    bodies = [said.chunk("gpt-4o-mini", each) for each in deltas]
    bodies.append(said.chunk("gpt-4o-mini", {}, source.choice(_REASONS)))
    bodies.append(said.choiceless_chunk("gpt-4o-mini", usage=said.usage(3, 5)))
    if source.random() < 0.5:
        at = source.randrange(len(bodies))
        bodies[at] = _swapped(source, bodies[at])
    data = b"".join(map(said.event, bodies)) + said.event("[DONE]")
    return _bent(source, data, old)


def _refusals(source: random.Random, old: Sequence[bytes]) -> bytes:
    body = source.choice([each.body for each in ERROR_REPLIES.values()])
    text = json.dumps(_swapped(source, body)) if isinstance(body, dict) else body
    after = "\n".join(source.choice(_AFTER) for _ in range(2))
    data = bytes([source.randrange(256)]) + f"{after}\n{text}".encode()
    return Wild(source).mutated(data, *old) if source.random() < 0.5 else data


def _bent(source: random.Random, data: bytes, old: Sequence[bytes]) -> bytes:
    return Wild(source).mutated(data, *old) if source.random() < 0.6 else data


def _swapped(source: random.Random, body: dict[str, object]) -> dict[str, object]:
    """A few of its values, at any depth, are something else, or gone, or under another name."""
    changed: dict[str, object] = json.loads(json.dumps(body))
    for _ in range(source.choice((0, 1, 1, 2, 4))):
        part: object = changed
        while isinstance(part, dict | list) and part:
            key = source.choice(list(part) if isinstance(part, dict) else range(len(part)))
            below = part[key]  # type: ignore[index]
            if not (isinstance(below, dict | list) and below) or source.random() < 0.3:
                if isinstance(part, dict) and source.random() < 0.2:
                    del part[key]
                else:
                    part[key] = copy.deepcopy(source.choice(_JSON))  # type: ignore[index]
                break
            part = below
    return changed


_REASONS = ("stop", "length", "content_filter", "tool_calls", "function_call", "end_turn")
_JSON: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**63, 10**40, float("nan"), float("inf"), "", "\ud83d", "x"),
    *([], {}, [None], [[]], {"a": 1}, [{}], ["text"], {"type": "text", "text": "да"}),
    *("insufficient_quota", "context_length_exceeded", "stop", '{"a": NaN}', '{"a"', "[1]"),
    [{"type": "text", "text": 1}, "да"],
    [{"index": "0", "id": 5, "function": None}],
    [{"index": 0, "id": "a", "type": "function", "function": {"name": None, "arguments": None}}],
    {"prompt_tokens": "3", "completion_tokens": None, "total_tokens": -7},
    {"role": "user", "content": "да"},
    {"role": "nobody", "content": ["да"]},
    {"name": "x", "arguments": {"a": 1}},
)
_AFTER = (
    *("", "1", "0.5", "-1", "nan", "inf", "1e999", "0x10", "9" * 400, "soon", "1 2", "\0"),
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Mon, 01 Jan 0001 00:00:00 +9999",
    "Thu, 32 Nov 2026 25:61:61 GMT",
    "1 Jan 99999 00:00:00",
)

MAKERS: dict[str, Maker] = {
    "validation": _requests,
    "conversions": _requests,
    "page_tokens": _page_tokens,
    "prompts": _prompts,
    "events": _events,
    "answers": _answers,
    "streams": _streams,
    "refusals": _refusals,
}
