"""The stock chain over a model that can be asked directly: no Runnable is run.

A run of LangChain's costs several times what the request itself does, and serves those who listen
to it: tracing and callbacks. Where nobody listens, this asks the same model the same.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol, runtime_checkable

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from turnkeep_server.chain import Question
from turnkeep_server.model_catalog import Models
from turnkeep_server.prompt_and_model import PromptAndModel
from turnkeep_server.prompts import Prompts
from turnkeep_server.turns import Message


@runtime_checkable
class DirectModel(Protocol):
    """A model that takes messages of the domain and needs no Runnable around it."""

    def payload(self, messages: Sequence[Message], options: dict[str, Any]) -> dict[str, Any]:
        """What is sent for these messages; `options` under LangChain's names."""

    async def answer(self, payload: dict[str, Any]) -> AIMessage:
        """The model's answer."""

    def pieces(self, payload: dict[str, Any]) -> AsyncGenerator[AIMessageChunk]:
        """The pieces of the model's answer as they come."""


def stock_chain(
    model: BaseChatModel, *, built_for: str, prompts: Prompts, models: Models
) -> PromptAndModel:
    """`prompt | model`: asked directly where the model can be and nobody listens."""
    if isinstance(model, DirectModel) and not AsyncCallbackManager.configure().handlers:
        return DirectPromptAndModel(
            model, model, built_for=built_for, prompts=prompts, models=models
        )
    return PromptAndModel(model, built_for=built_for, prompts=prompts, models=models)


class DirectPromptAndModel(PromptAndModel):
    """`prompt | model` without the `|`. `direct` is the model, and can be asked directly."""

    def __init__(self, direct: DirectModel, model: BaseChatModel, **given: Any) -> None:
        super().__init__(model, **given)
        self._direct = direct

    async def answer(self, question: Question) -> AIMessage:
        return await self._direct.answer(self._payload(question))

    def pieces(self, question: Question) -> AsyncGenerator[AIMessageChunk]:
        return self._direct.pieces(self._payload(question))

    def _payload(self, question: Question) -> dict[str, Any]:
        system = (question.system,) if question.system else ()
        messages = (*system, *question.history, question.message)
        return self._direct.payload(messages, self._bound(question))
