"""The bodies of OpenAI's chat-completions protocol, as pure functions.

https://platform.openai.com/docs/api-reference/chat describes them. Everything is ASCII JSON: code
points beyond it are escaped, so a lone surrogate can travel as the real API sends it.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]

COMPLETION_ID = "chatcmpl-stub"
CREATED_SECONDS = 1_763_800_000
TOOL_NAME = "get_weather"
TOOL_ARGUMENTS = '{"city": "Köln", "days": 3}'
TOOL_CALL_ID = "call_stub_1"
ARGUMENTS_PIECE = 7


def text_of(message: Body) -> str:
    """A message's text: its content, or the text parts of it; "" when it has none."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def cut(text: str, size: int) -> list[str]:
    """`text` in pieces of `size` code points."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def count_tokens(text: str) -> int:
    """A deterministic stand-in for a tokenizer: one token to four code points, rounded up."""
    return math.ceil(len(text) / 4)


def usage(input_tokens: int, output_tokens: int) -> Body:
    """The usage object of a completion, nothing cached and nothing spent on reasoning."""
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def tool_call() -> Body:
    """The one tool call that the stub makes."""
    function = {"name": TOOL_NAME, "arguments": TOOL_ARGUMENTS}
    return {"id": TOOL_CALL_ID, "type": "function", "function": function}


def completion(model: str, message: Body, finish_reason: str, used: Body) -> Body:
    """A unary answer; `message` holds what differs from an empty reply."""
    whole = {"role": "assistant", "content": None, "refusal": None, **message}
    choice = {"index": 0, "message": whole, "logprobs": None, "finish_reason": finish_reason}
    return _envelope("chat.completion", model) | {"choices": [choice], "usage": used}


def chunk(model: str, delta: Body, finish_reason: str | None = None) -> Body:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _envelope("chat.completion.chunk", model) | {"choices": [choice]}


def choiceless_chunk(model: str, **fields: Any) -> Body:
    """An event that carries no choice: the usage at a stream's end, or a fault."""
    return _envelope("chat.completion.chunk", model) | {"choices": [], **fields}


def tool_call_deltas() -> Iterator[Body]:
    """The tool call as a stream sends it: first its name, then its arguments piece by piece."""
    function = {"name": TOOL_NAME, "arguments": ""}
    opening = {"index": 0, "id": TOOL_CALL_ID, "type": "function", "function": function}
    yield {"content": None, "tool_calls": [opening]}
    for piece in cut(TOOL_ARGUMENTS, ARGUMENTS_PIECE):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def event(body: Body | str) -> bytes:
    """A server-sent event with one data line."""
    return f"data: {body if isinstance(body, str) else json.dumps(body)}\n\n".encode()


def _envelope(kind: str, model: str) -> Body:
    return {
        "id": COMPLETION_ID,
        "object": kind,
        "created": CREATED_SECONDS,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_stub",
    }
