"""Asking the chain: once a turn, again while that may help, and every failure a domain error."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    wait_random_exponential,
)

from turnkeep_server.commands import ModelOptions
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import ModelError, ModelUnavailable
from turnkeep_server.messages import SurrogateCleaner
from turnkeep_server.model_failures import model_error
from turnkeep_server.prompts import Prompt
from turnkeep_server.recording import step
from turnkeep_server.records import Step
from turnkeep_server.replies import (
    Room,
    as_answer,
    as_chunk,
    checked_reply,
    says_something,
    shortened,
    whole_reply,
)
from turnkeep_server.turns import Message, Reply

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0

T = TypeVar("T")
ChainInput = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What the model is asked, but for the history: the new message, and how to answer.

    `system` is the prompt's text with its variables filled in; None where the chain has its own.
    `message` and `system` have their tokens counted.
    """

    message: Message
    system: Message | None
    prompt: Prompt
    variables: Mapping[str, str]
    model: str
    options: ModelOptions
    history: tuple[Message, ...] = ()

    @property
    def always(self) -> tuple[Message, ...]:
        """The messages that are sent whatever the budget."""
        return (self.system, self.message) if self.system else (self.message,)


class ChainForm(ABC):
    """What is asked: `prompt | model`, or an operator's own Runnable.

    `tells_ends`: whether every whole reply has a finish_reason, so that one without is broken off.
    `sends_no_more`: whether the model gets what the chain is given and nothing else, so that the
    usage it reports says how good the estimate was. `failures`: the exceptions that are the
    model's; any other is a bug.
    """

    failures: ClassVar[tuple[type[BaseException], ...]]
    tells_ends: ClassVar[bool]
    sends_no_more: ClassVar[bool]

    @abstractmethod
    def question(
        self,
        message: Message,
        *,
        prompt: str,
        variables: Mapping[str, str],
        options: ModelOptions,
    ) -> Question:
        """A question without history yet.

        Raises UnknownPrompt, MissingVariable or ModelNotAllowed, before anything is stored.
        """

    @abstractmethod
    def runnable(
        self, question: Question
    ) -> tuple[Runnable[ChainInput, Any], ChainInput, RunnableConfig | None]:
        """What to invoke for a question, on what, and with which configuration."""

    async def answer(self, question: Question) -> object:
        """The whole answer; raises one of `failures`."""
        runnable, given, config = self.runnable(question)
        return await runnable.ainvoke(given, config)

    def pieces(self, question: Question) -> AsyncGenerator[Any]:
        """The answer as it comes; close it (`aclosing`) to have the call cancelled."""
        runnable, given, config = self.runnable(question)
        return _generator(runnable.astream(given, config))


class Chain:
    """Asks a chain, and turns all that may go wrong into domain errors.

    `attempts`: how often a call is made in all, while the failure is one that may pass, nothing
    of the reply has come, and the deadline allows the pause. `max_reply_bytes`: a longer text is
    cut off there, as if the model had come to its limit: it could neither be stored nor sent.
    """

    def __init__(
        self, form: ChainForm, *, attempts: int = 3, max_reply_bytes: int = 2_097_152
    ) -> None:
        self._form = form
        self.question = form.question
        self._attempts = attempts
        self._max_reply_bytes = max_reply_bytes

    async def reply(self, question: Question, deadline: Deadline) -> Reply:
        """The model's whole reply. Raises a ModelError."""
        broken = ModelUnavailable("the model's reply has no end")

        async def ask() -> Reply:
            with asking(question) as asked:
                try:
                    async with asyncio.timeout_at(deadline.at):
                        answer = as_answer(await self._form.answer(question))
                    reply = checked_reply(answer, broken if self._form.tells_ends else None)
                except self._form.failures as error:
                    raise model_error(error, begun=False) from error
                note_answer(asked, question, reply, answer)
                return shortened(reply, self._max_reply_bytes)

        return await self._persistently(ask, deadline)

    async def stream(self, question: Question, deadline: Deadline) -> AsyncGenerator[str | Reply]:
        """The reply's text as it comes, and last the whole Reply. Raises a ModelError.

        Close it (`aclosing`) to have the call to the provider cancelled.
        """
        cleaner, chunks = SurrogateCleaner(), list[AIMessageChunk]()
        tells_ends = self._form.tells_ends

        async def begin() -> tuple[AsyncGenerator[AIMessageChunk], Step]:
            """A stream whose first token has come; nothing of it was passed on yet."""
            chunks.clear()
            asked = asking(question)
            opened: AsyncGenerator[AIMessageChunk] = self._chunks(question, deadline)
            try:
                async for chunk in opened:
                    chunks.append(chunk)
                    if says_something(chunk):
                        asked.first_token()
                        return opened, asked
                whole_reply(chunks, tells_ends=tells_ends)
            except BaseException as error:
                asked.end(error)
                await opened.aclose()
                raise
            return opened, asked

        begun, asked = await self._persistently(begin, deadline)
        room = Room(self._max_reply_bytes)
        with asked:
            async with aclosing(begun) as opened:
                if text := room.take(cleaner.clean("".join(chunk.text for chunk in chunks))):
                    yield text
                while not room.exceeded and (chunk := await anext(opened, None)) is not None:
                    chunks.append(chunk)
                    if text := room.take(cleaner.clean(chunk.text)):
                        yield text
            if text := room.take(cleaner.clean("", last=True)):
                yield text
            reply = whole_reply(chunks, tells_ends=tells_ends and not room.exceeded)
            note_answer(asked, question, reply, *chunks)
        yield shortened(reply, self._max_reply_bytes)

    async def _chunks(
        self, question: Question, deadline: Deadline
    ) -> AsyncGenerator[AIMessageChunk]:
        begun = False
        async with aclosing(self._form.pieces(question)) as stream:
            while True:
                try:
                    # Around the wait for each chunk, not around the loop: a timeout must never
                    # strike in the consumer's code while this generator is suspended.
                    async with asyncio.timeout_at(deadline.at):
                        chunk = as_chunk(await anext(stream))
                except StopAsyncIteration:
                    return
                except self._form.failures as error:
                    raise model_error(error, begun=begun) from error
                begun = begun or says_something(chunk)
                yield chunk

    async def _persistently(self, ask: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        """What `ask` returns, asked again after a pause while its failure is one that may pass."""
        try:
            return await ask()
        except ModelError as error:
            failed = [error]

        async def attempt() -> T:
            # The first was made above: a call that goes well is not to pay for the retrying.
            if failed:
                raise failed.pop()
            return await ask()

        return await self._retrying(deadline)(attempt)

    def _retrying(self, deadline: Deadline) -> AsyncRetrying:
        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = getattr(error, "retry_after_seconds", None) or 0.0
            return max(asked, _back_off(state))

        def enough(state: RetryCallState) -> bool:
            over = state.attempt_number >= self._attempts
            return over or state.upcoming_sleep >= deadline.remaining()

        return AsyncRetrying(
            retry=retry_if_exception(lambda e: isinstance(e, ModelError) and e.retryable),
            wait=pause,
            stop=enough,
            reraise=True,
        )


def asking(question: Question) -> Step:
    """The step that asks the model once."""
    return step("model", model=question.model, options=question.options)


def note_answer(asked: Step, question: Question, reply: Reply, *answer: AIMessage) -> None:
    """Adds what came of it: figures and names, and what was said only where that is wanted."""
    if not asked.heard:
        return
    names = (each.response_metadata.get("model_name") for each in reversed(answer))
    asked.note(
        usage=reply.usage,
        finish_reason=reply.finish_reason,
        answered_by=next(filter(None, names), ""),
        answer_id=next((each.id for each in answer if each.id), ""),
    )
    if asked.wants_text:
        asked.note(question=question, reply=reply)


_back_off = wait_random_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)


def _generator(stream: AsyncIterator[Any]) -> AsyncGenerator[Any]:
    """What `astream` is, though LangChain declares less: a generator, which can be closed."""
    return cast(AsyncGenerator[Any], stream)
