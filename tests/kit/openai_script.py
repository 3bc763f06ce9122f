"""What the OpenAI stub says in one answer, faults included; pure, the sending is elsewhere."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.kit import openai_wire as wire
from tests.kit.openai_faults import ERROR_REPLIES, HTML_PAGE, SERVER_ERROR_BODY, ErrorReply, Fault

DELTAS_BEFORE_FAULT = 3
LONE_SURROGATE = "\ud83d"
RUBBISH_EVENT = wire.event('{"id": "chatcmpl-stub", "choices": [{"del')
DONE_EVENT = wire.event("[DONE]")

FINISH_REASONS: dict[Fault | None, str] = {
    Fault.LENGTH: "length",
    Fault.TOOL_CALLS: "tool_calls",
    Fault.CONTENT_FILTER_FINISH: "content_filter",
    Fault.CONTENT_FILTER_PARTIAL: "content_filter",
}

# What a stream says in place of its end, after DELTAS_BEFORE_FAULT deltas.
BROKEN_ENDS: dict[Fault | None, list[bytes]] = {
    Fault.EARLY_END: [],
    Fault.CUT: [],
    Fault.HANG_MID_STREAM: [],
    Fault.ERROR_EVENT: [wire.event(SERVER_ERROR_BODY)],
    Fault.RUBBISH: [RUBBISH_EVENT, DONE_EVENT],
}


class Behaviour(NamedTuple):
    """How the stub answers, as its attributes stood when the call arrived."""

    reply: Callable[[list[dict[str, Any]]], str]
    delay_seconds: float
    delta_delay_seconds: float
    deltas: Callable[[str], list[str]]
    count_tokens: Callable[[str], int]
    retry_after: str | None


class Event(NamedTuple):
    """Bytes of a stream and how long to wait before they are sent."""

    delay_seconds: float
    data: bytes


class Script:
    """The answer to one request body."""

    def __init__(self, body: dict[str, Any], fault: Fault | None, behaviour: Behaviour) -> None:
        self._body = body
        self._fault = fault
        self._behaviour = behaviour
        self._model: str = body["model"]
        self.stream = bool(body.get("stream"))

    def error(self) -> ErrorReply | None:
        """The HTTP reply that takes the answer's place, or None."""
        if self._fault is None:
            return None
        if self._fault is Fault.RUBBISH_HTML:
            return ErrorReply(200, HTML_PAGE)
        if self._fault in (Fault.ERROR_EVENT, Fault.ERROR_EVENT_FIRST) and not self.stream:
            return ERROR_REPLIES[Fault.SERVER_ERROR]
        return ERROR_REPLIES.get(self._fault)

    def body(self) -> bytes:
        """The unary answer; what breaks the connection is left to the sender."""
        tools = self._fault is Fault.TOOL_CALLS
        message = {"tool_calls": [wire.tool_call()]} if tools else {"content": self._text() or None}
        answer = wire.completion(self._model, message, self._finish_reason(), self._usage())
        if self._fault is Fault.EMPTY_CHOICES:
            answer["choices"] = []
        if self._fault is Fault.NULL_CHOICES:
            answer["choices"] = None
        data = json.dumps(answer).encode()
        return data[: len(data) // 2] if self._fault is Fault.RUBBISH else data

    def events(self) -> Iterator[Event]:
        """The streamed answer, up to where it breaks."""
        if self._fault is Fault.ERROR_EVENT_FIRST:
            yield Event(0, wire.event(SERVER_ERROR_BODY))
            return
        if self._fault is Fault.NULL_CHOICES:
            yield Event(0, wire.event(wire.choiceless_chunk(self._model, choices=None)))
        elif self._fault is Fault.EMPTY_CHOICES:
            yield from [Event(0, wire.event(wire.choiceless_chunk(self._model)))] * 2
        else:
            opening = {"role": "assistant", "content": "", "refusal": None}
            yield Event(0, wire.event(wire.chunk(self._model, opening)))
            for delta in self._deltas():
                yield Event(
                    self._behaviour.delta_delay_seconds, wire.event(wire.chunk(self._model, delta))
                )
            if self._fault in BROKEN_ENDS:
                yield from (Event(0, data) for data in BROKEN_ENDS[self._fault])
                return
            yield Event(0, wire.event(wire.chunk(self._model, {}, self._finish_reason())))
        if (self._body.get("stream_options") or {}).get("include_usage"):
            used = wire.choiceless_chunk(self._model, usage=self._usage())
            yield Event(0, wire.event(used))
        yield Event(0, DONE_EVENT)

    def _deltas(self) -> Iterator[dict[str, Any]]:
        if self._fault is Fault.TOOL_CALLS:
            yield from wire.tool_call_deltas()
            return
        pieces = self._behaviour.deltas(self._text())
        if self._fault in BROKEN_ENDS:
            pieces = pieces[:DELTAS_BEFORE_FAULT]
        yield from ({"content": piece} for piece in pieces)

    def _text(self) -> str:
        if self._fault in (Fault.CONTENT_FILTER_FINISH, Fault.TOOL_CALLS):
            return ""
        text = self._behaviour.reply(self._body["messages"])
        if self._fault is Fault.CONTENT_FILTER_PARTIAL:
            return text[: (len(text) + 1) // 2]
        return text + LONE_SURROGATE if self._fault is Fault.SURROGATE else text

    def _finish_reason(self) -> str:
        return FINISH_REASONS.get(self._fault, "stop")

    def _usage(self) -> dict[str, Any]:
        count = self._behaviour.count_tokens
        said = wire.TOOL_ARGUMENTS if self._fault is Fault.TOOL_CALLS else self._text()
        heard = sum(count(wire.text_of(message)) for message in self._body["messages"])
        return wire.usage(heard, count(said))
