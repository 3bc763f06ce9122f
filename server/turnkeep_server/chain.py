"""The chain, `prompt | model`: built once a process, asked once a turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableSequence
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    wait_random_exponential,
)

from turnkeep_server.commands import ModelOptions
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import (
    ModelError,
    ModelNotAllowed,
    ModelUnavailable,
)
from turnkeep_server.messages import SurrogateCleaner, to_langchain
from turnkeep_server.model_failures import FAILURES, model_error
from turnkeep_server.prompts import Prompt, Prompts
from turnkeep_server.replies import checked_reply, says_something, whole_reply
from turnkeep_server.turns import Message, Reply, Role

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0

ChainInput = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What the model is asked: the history's window, the new message, and how to answer."""

    history: Sequence[Message]
    message: Message
    prompt: Prompt
    variables: Mapping[str, str]
    model: str
    options: ModelOptions


class Chain:
    """Asks the model, and turns all that may go wrong into domain errors.

    `attempts`: how often a call is made in all, while the failure is one that may pass, nothing
    of the reply has come, and the deadline allows the pause.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        prompts: Prompts,
        model_name: str,
        allowed_models: frozenset[str] = frozenset(),
        attempts: int = 3,
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._model_name = model_name
        self._allowed_models = allowed_models | {model_name}
        self._attempts = attempts
        # Kept as long as their prompt is: by `_prompts`, or by a turn that began before `use`.
        self._forms = WeakKeyDictionary[Prompt, _Forms]()

    def use(self, prompts: Prompts) -> None:
        """Other prompts for the questions from now on; those that were made keep their own."""
        self._prompts = prompts

    def question(
        self,
        message: Message,
        *,
        prompt: str,
        variables: Mapping[str, str],
        options: ModelOptions,
    ) -> Question:
        """A question without history yet. Its options go before those of its prompt.

        Raises UnknownPrompt, MissingVariable or ModelNotAllowed, before anything is stored.
        """
        picked, values = self._prompts.pick(prompt, variables)
        asked = options.over(picked.options)
        name = asked.model or self._model_name
        if name not in self._allowed_models:
            allowed = ", ".join(sorted(self._allowed_models))
            raise ModelNotAllowed("the server does not allow this model", allowed_models=allowed)
        return Question((), message, picked, values, name, asked)

    async def reply(self, question: Question, deadline: Deadline) -> Reply:
        """The model's whole reply. Raises a ModelError."""
        runnable, given = self._runnable(question)

        async def ask() -> Reply:
            try:
                async with asyncio.timeout_at(deadline.at):
                    answer = await runnable.ainvoke(given)
                return checked_reply(answer, ModelUnavailable("the model's reply has no end"))
            except FAILURES as error:
                raise model_error(error, begun=False) from error

        return await self._retrying(deadline)(ask)

    async def stream(self, question: Question, deadline: Deadline) -> AsyncGenerator[str | Reply]:
        """The reply's text as it comes, and last the whole Reply. Raises a ModelError.

        Close it (`aclosing`) to have the call to the provider cancelled.
        """
        cleaner, chunks = SurrogateCleaner(), list[AIMessageChunk]()

        async def begin() -> AsyncGenerator[AIMessageChunk]:
            """A stream whose first token has come; nothing of it was passed on yet."""
            chunks.clear()
            opened: AsyncGenerator[AIMessageChunk] = self._chunks(question, deadline)
            try:
                async for chunk in opened:
                    chunks.append(chunk)
                    if says_something(chunk):
                        return opened
                whole_reply(chunks)
            except BaseException:
                await opened.aclose()
                raise
            return opened

        begun: AsyncGenerator[AIMessageChunk] = await self._retrying(deadline)(begin)
        async with aclosing(begun) as opened:
            if text := cleaner.clean("".join(chunk.text for chunk in chunks)):
                yield text
            async for chunk in opened:
                chunks.append(chunk)
                if text := cleaner.clean(chunk.text):
                    yield text
        if text := cleaner.clean("", last=True):
            yield text
        yield whole_reply(chunks)

    async def _chunks(
        self, question: Question, deadline: Deadline
    ) -> AsyncGenerator[AIMessageChunk]:
        runnable, given = self._runnable(question)
        begun = False
        async with aclosing(_generator(runnable.astream(given))) as stream:
            while True:
                try:
                    # Around the wait for each chunk, not around the loop: a timeout must never
                    # strike in the consumer's code while this generator is suspended.
                    async with asyncio.timeout_at(deadline.at):
                        chunk = await anext(stream)
                except StopAsyncIteration:
                    return
                except FAILURES as error:
                    raise model_error(error, begun=begun) from error
                begun = begun or says_something(chunk)
                yield chunk

    def _runnable(self, question: Question) -> tuple[Runnable[ChainInput, BaseMessage], ChainInput]:
        forms = self._forms_of(question.prompt)
        given: ChainInput = {
            **question.variables,
            "chat_history": [to_langchain(each) for each in question.history],
        }
        if _is_plain(question.message):
            form, given["question"] = forms.text, question.message.text
        else:
            form, given["question"] = forms.message, [to_langchain(question.message)]
        bound = self._bound(question)
        return form.first | self._model.bind(**bound) if bound else form, given

    def _forms_of(self, prompt: Prompt) -> "_Forms":
        forms = self._forms.get(prompt)
        if forms is None:
            forms = self._forms[prompt] = _Forms.of(prompt, self._model)
        return forms

    def _bound(self, question: Question) -> dict[str, Any]:
        options = question.options
        asked = {
            "model": question.model if question.model != self._model_name else None,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "max_tokens": options.max_output_tokens,
            "seed": options.seed,
            "stop": list(options.stop) or None,
        }
        return {name: value for name, value in asked.items() if value is not None}

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


_back_off = wait_random_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class _Forms:
    """A prompt's two chains: for a plain text, and for a question with parts or a tool's result.

    A text is a value of the template, never a template itself: its braces stay braces.
    """

    text: RunnableSequence[ChainInput, BaseMessage]
    message: RunnableSequence[ChainInput, BaseMessage]

    @classmethod
    def of(cls, prompt: Prompt, model: BaseChatModel) -> "_Forms":
        system, history = ("system", prompt.system), MessagesPlaceholder("chat_history")
        text = ChatPromptTemplate([system, history, ("human", "{question}")])
        message = ChatPromptTemplate([system, history, MessagesPlaceholder("question")])
        return cls(RunnableSequence(text, model), RunnableSequence(message, model))


def _is_plain(message: Message) -> bool:
    return message.role is Role.USER and not message.parts and not message.name


def _generator(stream: AsyncIterator[BaseMessage]) -> AsyncGenerator[AIMessageChunk]:
    """What `astream` is, though LangChain declares less: a generator, which can be closed."""
    return cast(AsyncGenerator[AIMessageChunk], stream)
