"""A conversation with Turnkeep as a LangChain Runnable."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any, Unpack, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langchain_core.runnables.utils import ConfigurableFieldSpec

import turnkeep
import turnkeep.sync
from turnkeep.langchain.clients import Clients
from turnkeep.langchain.question import Question, content_and_variables
from turnkeep.langchain.replies import answer, last_piece
from turnkeep.messages import Message
from turnkeep.requests import TurnOptions, checked_ids

_Ids = tuple[str, str]
_Given = Mapping[str, Any]


class ChatTurnkeep(Runnable[Question, AIMessage]):
    """Sends each question to Turnkeep, which keeps the history and asks the model.

    The session is `config={"configurable": {"session_id": …, "user_id": …}}`, else the one given
    here. `client` serves invoke and stream, `async_client` ainvoke and astream; the first serves
    all if it is alone, from threads. The question may be a dict of it, under `question_key`, and
    the prompt's variables.
    `options` are those of `Session.chat` (prompt, variables, model, temperature, …), for every
    turn; `bind` and the call itself go before them.

    Answers an AIMessage with usage_metadata, and in response_metadata model_name, finish_reason,
    sequence and request_id. A stream that is closed, or whose task is cancelled, cancels its turn.
    All raise TurnkeepError.
    """

    def __init__(
        self,
        *,
        client: turnkeep.sync.ConversationClient | None = None,
        async_client: turnkeep.ConversationClient | None = None,
        session_id: str = "",
        user_id: str = "",
        question_key: str = "question",
        **options: Unpack[TurnOptions],
    ) -> None:
        self._clients = Clients(client, async_client)
        self._session_id, self._user_id = session_id, user_id
        self._question_key = question_key
        self._options = options

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What `configurable` may name: session_id and user_id, as RunnableWithMessageHistory."""
        return [
            ConfigurableFieldSpec(
                id="session_id",
                annotation=str,
                name="Session ID",
                description="Unique identifier for a session.",
                default=self._session_id,
                is_shared=True,
            ),
            ConfigurableFieldSpec(
                id="user_id",
                annotation=str,
                name="User ID",
                description="Whose session it is.",
                default=self._user_id,
                is_shared=True,
            ),
        ]

    def invoke(
        self,
        input: Question,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Runs one turn; its reply is durable by then."""
        reply = partial(self._reply, self._ids(config), kwargs)
        return self._call_with_config(reply, input, config)

    async def ainvoke(
        self,
        input: Question,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """The same, awaited."""
        reply = partial(self._areply, self._ids(config), kwargs)
        return await self._acall_with_config(reply, input, config)

    def stream(
        self,
        input: Question,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessage]:
        """Runs one turn and gives pieces that add up to its reply; the last one has no text."""
        pieces = partial(self._pieces, self._ids(config), kwargs)
        return self._transform_stream_with_config(iter([input]), pieces, config)

    def astream(
        self,
        input: Question,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessage]:
        """The same, awaited."""

        async def inputs() -> AsyncIterator[Question]:
            yield input

        pieces = partial(self._apieces, self._ids(config), kwargs)
        return self._atransform_stream_with_config(inputs(), pieces, config)

    def __repr__(self) -> str:
        return f"ChatTurnkeep(session_id={self._session_id!r}, user_id={self._user_id!r})"

    def _reply(self, ids: _Ids, given: _Given, question: Question) -> AIMessage:
        content, options = self._turn(question, given)
        return answer(self._clients.blocking.session(*ids).chat(content, **options))

    async def _areply(self, ids: _Ids, given: _Given, question: Question) -> AIMessage:
        if self._clients.asynchronous is None:
            return await asyncio.to_thread(self._reply, ids, given, question)
        content, options = self._turn(question, given)
        return answer(await self._clients.asynchronous.session(*ids).chat(content, **options))

    def _pieces(
        self, ids: _Ids, given: _Given, questions: Iterator[Question]
    ) -> Iterator[AIMessage]:
        content, options = self._turn(next(questions), given)
        with self._clients.blocking.session(*ids).stream(content, **options) as stream:
            for text in stream:
                yield AIMessageChunk(content=text)
            yield last_piece(stream.reply)

    async def _apieces(
        self, ids: _Ids, given: _Given, questions: AsyncIterator[Question]
    ) -> AsyncIterator[AIMessage]:
        content, options = self._turn(await anext(questions), given)
        if self._clients.asynchronous is None:
            with self._clients.blocking.session(*ids).stream(content, **options) as blocking:
                while text := await asyncio.to_thread(next, blocking, ""):
                    yield AIMessageChunk(content=text)
                yield last_piece(blocking.reply)
            return
        async with self._clients.asynchronous.session(*ids).stream(content, **options) as stream:
            async for text in stream:
                yield AIMessageChunk(content=text)
            yield last_piece(stream.reply)

    def _turn(self, question: Question, given: _Given) -> tuple[str | Message, TurnOptions]:
        """The turn's content and options: those of the call go before those of this runnable."""
        content, variables = content_and_variables(question, self._question_key)
        options = cast(TurnOptions, {**self._options, **given})
        bound, called = self._options.get("variables"), given.get("variables")
        options["variables"] = {**(bound or {}), **(called or {}), **variables}
        return content, options

    def _ids(self, config: RunnableConfig | None) -> _Ids:
        configurable = ensure_config(config).get("configurable", {})
        session_id = configurable.get("session_id") or self._session_id
        if not session_id:
            raise ValueError(
                'no session: pass config={"configurable": {"session_id": "…"}}, or session_id= to '
                "ChatTurnkeep"
            )
        return checked_ids(session_id, configurable.get("user_id") or self._user_id)
