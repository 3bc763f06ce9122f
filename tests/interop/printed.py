"""What a tour printed, read back: as lines (Node, Go) or as JSON (grpcurl, buf curl)."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Listed = tuple[str, str, str]


@dataclass(frozen=True)
class Printed:
    """One field for each thing that a tour must do."""

    cleared: int
    answer: str
    streamed: str
    """The deltas, joined."""
    stored_sequence: int
    """The sequence that StreamChat's end named."""
    error: tuple[str, str]
    """Reason and domain."""
    cancelled: str
    """The text that had come when the tour hung up."""
    added_sequence: int
    listed: list[Listed]
    """Status, role and text of each message."""


def lines(output: str) -> Printed:
    """A tour's output in the form that the Node and the Go tour share."""

    def one(pattern: str) -> tuple[str, ...]:
        found = re.search(pattern, output, re.MULTILINE)
        assert found, f"no {pattern!r} in:\n{output}"
        return found.groups()

    return Printed(
        cleared=int(*one(r"^ClearSession: (\d+) messages forgotten$")),
        answer=one("^Chat: (.*)$")[0],
        streamed=one("^StreamChat: (.*)$")[0],
        stored_sequence=int(*one(r"^  turn (\d+) is stored, \d+ tokens$")),
        error=_pair(*one(r"^Error: \w+: (\w+) from (\S+)$")),
        cancelled=one("^Cancel: (.*)$")[0],
        added_sequence=int(*one(r"^AddMessages: 2 messages are turn (\d+)$")),
        listed=re.findall(r"^  \d+ TURN_STATUS_(\w+) ROLE_(\w+) (.*)$", output, re.MULTILINE),
    )


def documents(output: str) -> Printed:
    """The output of a shell script: sections headed `--- Name`, JSON documents in each."""
    headed = re.split(r"^--- (.*)$", output, flags=re.MULTILINE)[1:]
    clear, chat, again, stream, error, cancel, add, listing = headed[1::2]
    (cleared,), (answer,), (replayed,) = map(_json, (clear, chat, again))
    events = list(_json(stream))
    assert "started" in events[0]
    assert replayed == {**answer, "replayed": True}
    (added,), (page,) = map(_json, (add, listing))
    return Printed(
        # As protobuf's JSON has it: int64 is a string, and 0 is left out.
        cleared=int(cleared.get("cleared_messages", cleared.get("clearedMessages", 0))),
        answer=answer["message"]["text"],
        streamed="".join(each["delta"]["text"] for each in events[1:-1]),
        stored_sequence=int(events[-1]["completed"]["sequence"]),
        error=_pair(_quoted("reason", error)[0], _quoted("domain", error)[0]),
        cancelled="".join(_quoted("text", cancel)),
        added_sequence=int(added["sequence"]),
        listed=[
            (
                each["status"].removeprefix("TURN_STATUS_"),
                each["role"].removeprefix("ROLE_"),
                each["text"],
            )
            for each in page["messages"]
        ],
    )


def _json(section: str) -> Iterator[Any]:
    decoder, rest = json.JSONDecoder(), section.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        yield document
        rest = rest[end:].strip()


def _quoted(name: str, section: str) -> list[str]:
    found = re.findall(rf'"{name}":\s*("(?:[^"\\]|\\.)*")', section)
    assert found, f"no {name} in:\n{section}"
    return [json.loads(each) for each in found]


def _pair(first: str, second: str) -> tuple[str, str]:
    return first, second
