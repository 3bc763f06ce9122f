"""Canaries: secrets planted in every server that a test starts, and looked for in all it tells.

`planted` puts them into a server's settings; the provider's stub puts them into its errors. What
callers say and hear through `Overheard` channels is taken for a secret too, and so is every token
that a caller shows (`shown`). A server's output is
searched when it ends (`server_process`), each status when a caller meets it (`tests/conftest.py`,
`status.call_error`).
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import Message

MARK = "kanarek7Q"
"""In every planted secret, and in nothing else. Letters and digits: no encoding changes them."""

KEY_BEFORE, KEY = "test", f"sk-{MARK}-key"
# What a caller says that can be told from what a server may well log: it has a letter beyond ASCII,
# or is long, and is not one letter over and over, as ids in tests are, too. Of a long text the
# beginning is looked for, since a log may cut it off.
_BEGINNING_CHARS, _LONG_CHARS, _MOST_OVERHEARD, _MOST_TOKENS = 24, 16, 200, 1_000
# Of a log that is longer than two of these, what was overheard is looked for at both ends.
_SEARCHED_CHARS = 2_000_000
_NOT_SECRET = frozenset(
    {"session_id", "user_id", "request_id", "model", "prompt", "id", "next_page_token"}
)


_tokens: set[str] = set()


class SecretLeaked(AssertionError):
    """A canary was found where it must not be; the text names the place and what leaked."""


def secret(place: str) -> str:
    """A secret that tells where it was planted."""
    return f"{MARK}-{place}"


def shown(token: str) -> str:
    """A bearer token that somebody is about to show, good or bad: it is to be found nowhere."""
    if len(token) >= _LONG_CHARS and len(_tokens) < _MOST_TOKENS and _can_be_told(token):
        _tokens.add(token[:_BEGINNING_CHARS])
    return token


def planted(env: Mapping[str, str]) -> dict[str, str]:
    """A server's environment with canaries where they change nothing: in the key and the URI."""
    changed = dict(env)
    # authSource: nothing without a password, and fail points are told by the appName.
    if env.get("OPENAI_API_KEY") == KEY_BEFORE:
        changed["OPENAI_API_KEY"] = KEY
    url = env.get("TURNKEEP_HISTORY_URL", "")
    if url.startswith("mongodb://") and "authSource=" not in url:
        changed["TURNKEEP_HISTORY_URL"] = (
            f"{url}{'&' if '?' in url else '?'}authSource={secret('uri')}"
        )
    return changed


def leaks(told: str, overheard: Iterable[str] = ()) -> list[str]:
    """What was found in a text: each secret once, with some of what is around it."""
    found = [_around(told, each) for each in (*_FORMS, *_tokens) if each in told]
    if len(told) > 2 * _SEARCHED_CHARS:
        told = told[:_SEARCHED_CHARS] + told[-_SEARCHED_CHARS:]
    for text in overheard:
        # As it is, as JSON escapes it, as repr does.
        forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        found += [_around(told, each) for each in forms | {repr(text)[1:-1]} if each in told]
    return found


def _can_be_told(text: str) -> bool:
    return len(set(text[:_BEGINNING_CHARS])) > 1


def check(place: str, told: str, overheard: Iterable[str] = ()) -> None:
    """Raises SecretLeaked if a secret is in what was told at this place."""
    if found := leaks(told, overheard):
        raise SecretLeaked(f"secrets in {place}:\n" + "\n".join(found))


def _around(told: str, found: str) -> str:
    at = told.index(found)
    return f"  …{told[max(0, at - 120) : at + 80]!r}…"


def _in_base64(text: str) -> Iterator[str]:
    """The part of `text` that its base64 has whatever stands before it."""
    for before in range(3):
        coded = base64.b64encode(b"." * before + text.encode()).decode().rstrip("=")
        yield coded[4 if before else 0 : len(coded) // 4 * 4]


_FORMS = (MARK, MARK.lower(), MARK.upper(), *_in_base64(MARK), MARK.encode().hex())


class Overheard:
    """A channel that notes what callers say and are told; else the channel that it is given."""

    def __init__(self, channel: grpc.aio.Channel, into: set[str]) -> None:
        self._channel = channel
        self._into = into

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, method: str, *codecs: Any, **rest: Any) -> Any:
        """As the channel's own."""
        return self._channel.unary_unary(method, *codecs, **self._noting(rest))

    def unary_stream(self, method: str, *codecs: Any, **rest: Any) -> Any:
        """As the channel's own."""
        return self._channel.unary_stream(method, *codecs, **self._noting(rest))

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._channel.__aexit__(*raised)

    def _noting(self, rest: dict[str, Any]) -> dict[str, Any]:
        """With codecs that note what passes, where there are any: raw bytes pass unseen."""
        serialize, deserialize = rest.get("request_serializer"), rest.get("response_deserializer")
        if serialize is None or deserialize is None:
            return rest

        def said(message: Message | bytes) -> Any:
            if isinstance(message, Message):
                self._note(message)
            return serialize(message)

        def heard(data: bytes) -> Any:
            message = deserialize(data)
            self._note(message)
            return message

        return {**rest, "request_serializer": said, "response_deserializer": heard}

    def _note(self, message: Message) -> None:
        if len(self._into) < _MOST_OVERHEARD:
            self._into.update(
                text[:_BEGINNING_CHARS]
                for text in _texts(message)
                if (len(text) >= _LONG_CHARS or (len(text) > 3 and not text.isascii()))
                and _can_be_told(text)
            )


def _texts(message: Message) -> Iterator[str]:
    """What a message says, but for ids and names of models, which a log may have."""
    for field, value in message.ListFields():
        if field.name in _NOT_SECRET:
            continue
        if isinstance(value, str):
            yield value
        elif isinstance(value, Message):
            yield from _texts(value)
        elif isinstance(value, Mapping):
            yield from (each for pair in value.items() for each in pair if isinstance(each, str))
        elif field.is_repeated and field.message_type:
            for each in value:
                yield from _texts(each)


class WatchedStatuses:
    """Between __enter__ and __exit__, every error that an asynchronous caller of this process
    meets is searched; `found` tells what was found, and is the reader's to empty."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __enter__(self) -> Self:
        self._init = init = grpc.aio.AioRpcError.__init__

        def made(error: grpc.aio.AioRpcError, *args: Any, **fields: Any) -> None:
            init(error, *args, **fields)
            told = (error.details(), error.initial_metadata(), error.trailing_metadata())
            self.found += leaks(repr(told))

        grpc.aio.AioRpcError.__init__ = made  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        grpc.aio.AioRpcError.__init__ = self._init  # type: ignore[method-assign]
