"""A provider that answers with any bytes, behind the server's own chain and OpenAI model."""

import json
import random
from collections.abc import AsyncGenerator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import openai
from pydantic import SecretStr

from turnkeep_server import completions, wire
from turnkeep_server.chain import Chain, Question
from turnkeep_server.commands import ModelOptions
from turnkeep_server.conversations import Finished
from turnkeep_server.deadlines import Deadline
from turnkeep_server.direct_chain import DirectPromptAndModel
from turnkeep_server.direct_openai import DirectChatOpenAI
from turnkeep_server.errors import ModelError
from turnkeep_server.interceptors.errors import status_of
from turnkeep_server.model_catalog import Models
from turnkeep_server.model_failures import model_error
from turnkeep_server.prompts import DEFAULT, Prompt, Prompts, parse_prompt
from turnkeep_server.server_sent_events import EventData
from turnkeep_server.turns import Message, Reply, Role, Turn, TurnStatus, utc_now

_NAME = "gpt-4o-mini"
_SECONDS = 30.0
_MAX_REPLY_BYTES = 100
# LangChain's templates take milliseconds: one of so many is made.
_TEMPLATES = 8


class _Provider(completions.Completions):
    """Its next answer is `data`, whatever it is asked."""

    def __init__(self) -> None:
        self.data = b""

    async def whole(self, body: Mapping[str, Any]) -> Any:
        completions.encoded(body)
        return json.loads(self.data)

    async def events(self, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        completions.encoded(body)
        decoder = EventData()
        for piece in pieces_of(self.data):
            for event in decoder.feed(piece):
                if event.startswith(b"[DONE]"):
                    return
                yield completions._event(event)


_PROVIDER = _Provider()
CHAT_MODEL = DirectChatOpenAI(
    completions=_PROVIDER,
    model=_NAME,
    api_key=SecretStr("test"),
    stream_usage=True,
    use_responses_api=False,
)
_PROMPTS = Prompts({DEFAULT: parse_prompt(DEFAULT, "…")})
_MODELS = Models(_NAME, (), {})


def _form(prompts: Prompts) -> DirectPromptAndModel:
    return DirectPromptAndModel(
        CHAT_MODEL, CHAT_MODEL, built_for=_NAME, prompts=prompts, models=_MODELS
    )


_CHAIN = Chain(_form(_PROMPTS), attempts=1, max_reply_bytes=_MAX_REPLY_BYTES)


def pieces_of(data: bytes) -> list[bytes]:
    """The bytes as a connection might deliver them: cut at places that they themselves say."""
    source = random.Random(data)
    pieces = []
    while data:
        size = source.choice((1, 2, 7, 64, len(data)))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def filled(prompt: Prompt, values: Mapping[str, str]) -> None:
    """The prompt with its variables filled in, both ways: by us and by LangChain's template."""
    form = _form(Prompts({DEFAULT: prompt}))
    question = _question(form, values)
    assert question.system is not None
    if len(prompt.system) % _TEMPLATES:
        return
    runnable, given, _ = form.runnable(question)
    first = cast(Any, runnable).first.invoke(given).to_messages()[0]
    assert first.content == question.system.text


async def answered(data: bytes) -> str:
    """What becomes of a whole answer."""
    _PROVIDER.data = data
    try:
        reply = await _CHAIN.reply(_QUESTION, Deadline.after(_SECONDS))
    except ModelError as error:
        return _told(error)
    return _kept(reply)


async def streamed(data: bytes) -> str:
    """What becomes of a stream."""
    _PROVIDER.data = data
    said, reply = "", None
    try:
        async for piece in _CHAIN.stream(_QUESTION, Deadline.after(_SECONDS)):
            if isinstance(piece, Reply):
                reply = piece
            else:
                piece.encode()
                said += piece
    except ModelError as error:
        return _told(error)
    assert reply is not None
    if not reply.message.tool_calls:
        assert said in ("", reply.message.text)
    return _kept(reply)


def refused(data: bytes) -> str:
    """What becomes of a refusal: its first byte is the status, its first lines are headers."""
    source = random.Random(data[:1])
    status = source.choice((400, 401, 402, 404, 408, 413, 422, 429, 500, 503, 529, 302))
    first, second, body = [*data[1:].split(b"\n", 2), b"", b""][:3]
    headers = {
        "retry-after": first.decode("latin-1").strip(),
        "retry-after-ms": second.decode("latin-1").strip(),
    }
    response = SimpleNamespace(status=status, headers=headers)
    error = completions._refusal(cast(Any, response), body.decode(errors="replace"))
    assert isinstance(error, openai.APIStatusError)
    return _told(model_error(error, begun=bool(len(data) % 2)))


def _told(error: ModelError) -> str:
    status_of(error).SerializeToString()
    return error.reason


def _kept(reply: Reply) -> str:
    """Stores a reply and sends it, as far as that can be done without a database."""
    from tests.fuzz.conversions import check_messages

    assert len(reply.message.text.encode()) <= _MAX_REPLY_BYTES
    assert sum(len(e.arguments_json) for e in reply.message.tool_calls) <= _MAX_REPLY_BYTES
    check_messages((reply.message,))
    now = utc_now()
    turn = Turn("0" * 24, 1, TurnStatus.RUNNING, (), 0, now).completed(reply)
    wire.chat_response(Finished(turn, replayed=False)).SerializeToString()
    return "accepted"


def _question(form: DirectPromptAndModel, variables: Mapping[str, str]) -> Question:
    return form.question(
        Message(Role.USER, "?"), prompt="", variables=variables, options=ModelOptions()
    )


_QUESTION = _question(_form(_PROMPTS), {})
