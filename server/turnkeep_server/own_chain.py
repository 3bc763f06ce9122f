"""TURNKEEP_CHAIN: an operator's own Runnable in the place of `prompt | model`.

Its input is {chat_history, question, **variables}: LangChain messages, oldest first, a summary of
what is left out ahead of them as a SystemMessage; the user's text (or, for a question with parts, a
name or a tool's result, a LangChain message); and the request's variables. It answers with text or
an AIMessage, streamed or whole. What a request asks of the model (`model`, `temperature`, `top_p`,
`max_tokens`, `seed`, `stop`) is in config["configurable"].
"""

import importlib
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from turnkeep_server.chain import ChainForm, ChainInput, Question
from turnkeep_server.commands import ModelOptions
from turnkeep_server.errors import SettingsError, UnknownPrompt
from turnkeep_server.messages import to_langchain
from turnkeep_server.model_catalog import Models
from turnkeep_server.model_failures import PROVIDER_FAILURES
from turnkeep_server.prompt_and_model import is_plain, options_of
from turnkeep_server.prompts import DEFAULT, Prompt
from turnkeep_server.recording import trace_entered
from turnkeep_server.turns import Message

_ITS_OWN_PROMPT = Prompt(DEFAULT, "")


class OwnChain(ChainForm):
    """An operator's Runnable. Its prompt is its own: requests may not name another."""

    failures = PROVIDER_FAILURES
    tells_ends = False
    sends_no_more = False

    def __init__(self, runnable: Runnable[ChainInput, Any], *, models: Models) -> None:
        self._runnable = runnable
        self._models = models

    def question(
        self,
        message: Message,
        *,
        prompt: str,
        variables: Mapping[str, str],
        options: ModelOptions,
    ) -> Question:
        if prompt not in {"", DEFAULT}:
            raise UnknownPrompt("no prompt of this name is configured", known_prompts=DEFAULT)
        return Question(
            message=message,
            system=None,
            prompt=_ITS_OWN_PROMPT,
            variables=variables,
            model=self._models.resolve(options.model),
            options=options,
        )

    def runnable(
        self, question: Question
    ) -> tuple[Runnable[ChainInput, Any], ChainInput, RunnableConfig | None]:
        asked = question.message
        given: ChainInput = {
            **question.variables,
            "chat_history": [to_langchain(each) for each in question.history],
            "question": asked.text if is_plain(asked) else to_langchain(asked),
        }
        return self._runnable, given, RunnableConfig(configurable=options_of(question))

    async def answer(self, question: Question) -> object:
        with trace_entered():
            return await super().answer(question)

    async def pieces(self, question: Question) -> AsyncGenerator[Any]:
        with trace_entered():
            async with aclosing(super().pieces(question)) as pieces:
                async for piece in pieces:
                    yield piece


def load_chain(path: str) -> Runnable[ChainInput, Any]:
    """What the factory `package.module:factory` returns, called without arguments.

    Modules are looked for in the working directory too. Raises SettingsError with the remedy.
    """
    name, _, factory_name = path.partition(":")
    # Last: nothing there may stand in for an installed module.
    sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"TURNKEEP_CHAIN={path}: there is no module {error.name!r}; install it, or put it on "
            "PYTHONPATH or into the working directory"
        ) from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise SettingsError(
            f"TURNKEEP_CHAIN={path}: the module {name!r} has no function {factory_name!r}"
        )
    try:
        chain = factory()
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise SettingsError(
            f"TURNKEEP_CHAIN={path}: {factory_name}(), called without arguments, raised "
            f"{type(error).__name__} at {last.filename}:{last.lineno}"
        ) from error
    if not isinstance(chain, Runnable):
        raise SettingsError(
            f"TURNKEEP_CHAIN={path}: {factory_name}() must return a LangChain Runnable, and "
            f"returned {type(chain).__name__}"
        )
    return chain
