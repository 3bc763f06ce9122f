"""What wild requests are made of. Every text that somebody might say carries the canaries' mark."""

import json
import struct

from tests.kit.canary import MARK

LONGEST_BYTES = 4_194_304

SESSIONS = tuple(f"s{n}" for n in range(200))
USERS = ("", "", "u1", "u2")
SAYINGS = (
    MARK,
    f"Привет, {MARK} 👋",
    f"今天天气怎么样? {MARK}",
    f"كيف حالك اليوم؟ {MARK}",
    f"नमस्ते 🙏🏽 e\u0301 ZWJ\u200d {MARK} {{topic}}",
)
_PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
DATA = (MARK.encode(), f"%PDF-1.7 {MARK} /Type /Page".encode(), b"\xff\xd8\xff" + MARK.encode())

SANE: dict[str, tuple[str, ...]] = {
    "session_id": SESSIONS,
    "user_id": USERS,
    "request_id": ("", "", "", *(f"r{n}" for n in range(3_000))),
    "prompt": ("", "", "default", "topical"),
    "model": ("parrot",),
    "page_token": ("",),
    "image_url": (f"https://example.org/{MARK}.png", f"{_PNG}{MARK}", f"data:,{MARK}"),
    "media_type": ("application/pdf", "text/plain", "image/png"),
    "arguments_json": (
        "",
        "{}",
        json.dumps({"q": MARK, "n": [1, 2.5, None]}),
        f'{{"q": "\\ud83d\\ude00 {MARK}"}}',
    ),
    "id": ("call-1", "call-2", f"call {MARK}"),
    "tool_call_id": ("", "call-1"),
    "name": ("topic", "", f"имя {MARK}"),
    "stop": ("STOP", "\n", MARK),
}

TEXTS = (
    *("", " ", "\0", "\n", "a b", "é", "\u2028", "\ufeff", "\u202e", "\x1b[2J", "%s%n%x", "${a}"),
    *(each[0] for each in SANE.values()),
    f'{MARK}\n{{"level": "info", "event": "call"}}',
    f"\r\n2026-01-01T00:00:00Z [info] {MARK}",
    f"{MARK}\0{MARK}",
    f"{{topic}} {{}} {{0.__class__}} {{topic!r:>9}} {MARK}",
    f'{{"$where": "{MARK}", "a.b": {{"$gt": ""}}}}',
    *('{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud83d"}', '{"\\udc00": 1}', "[]", "null", "1"),
    "[" * 2_000,
    '{"a":' * 2_000 + "1" + "}" * 2_000,
    '{"a": ' + "9" * 5_000 + "}",
    *("chat_history", "question", "self", "configurable", "messages", "__class__"),
    *("../../etc/passwd", "$tenant", "a.b", "-1", "9223372036854775808", "1" * 128, "x" * 129),
    *("data:image/png;base64,", f"{_PNG}====", "data:;base64,/9j/wAARCAAAAAA", "data:text/html,x"),
    "javascript:alert(1)",
    *("\U0010ffff", "\U0001f469\u200d\U0001f469", "a\u0300" * 50, "ﷺ" * 40, "\x7f\x80\x9f"),
    *("application/json; charset=utf-8", "TEXT/Plain", "a/b/c"),
    "WzEsImFhYWFhYWFhYWFhYSIsMSwwXQ",
)
WILD: dict[str, tuple[str, ...]] = {
    "arguments_json": tuple(each for each in TEXTS if each[:1] in ("{", "[", '"')),
    "image_url": tuple(each for each in TEXTS if each.startswith("data:")),
}
"""What is wild for one field alone."""
LONG = (
    lambda: f"{MARK} {'a' * 65_536}",
    lambda: "я" * 65_536,
    lambda: "🙂" * 65_536,
    lambda: "a\n" * 40_000,
    lambda: "{" * 70_000,
    lambda: "x" * 300_000,
    lambda: '{"a": "' + "я" * 40_000 + '"}',
    lambda: "data:image/png;base64," + "A" * 300_000,
)

INT32 = (0, 1, -1, 2, 3, 4, 5, 99, 1_000, 1_001, 2**31 - 1, -(2**31))
INT64 = (*INT32, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
SANE_COUNTS = (0, 0, 1, 2, 5, 20, 1_000)
SANE_DOUBLES = (0.0, 0.5, 1.0, 2.0)
DOUBLES = (*SANE_DOUBLES, -0.0, -1.0, 2.1, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"))


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


PIECES = (
    *(bytes([each]) for each in (0, 1, 0x0A, 0x0D, 0x12, 0x22, 0x2A, 0x7B, 0x80, 0xC3, 0xFF)),
    # Tags of each wire type, groups among them, with fields that are there and that are not.
    *(_varint(n << 3 | kind) for n in (1, 4, 5, 8, 15, 16, 2**29 - 1) for kind in range(6)),
    *map(_varint, (2**31, 2**32, 2**63, 2**64 - 1, 300)),
    b"\xff" * 10,
    *(struct.pack("<d", each) for each in DOUBLES[-3:]),
    *(b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x80"),
    *(b"\n\n", b"\r\n", b"data: ", b"data:[DONE]\n\n", b'"', b"\\ud83d", b"\\u0000"),
    *(b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999", b"[]", b"{}", b"[[", b'{"'),
    *(b"choices", b"delta", b"tool_calls", b"usage", b"error", b"code"),
    *(b'"content":', b'"index":', b'"finish_reason":', b'"message":', b'"id":', b'"args":'),
    b"[" * 600,
    b"9" * 400,
)
