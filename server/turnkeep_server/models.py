"""Which model answers: one visible table of what a name in the settings means."""

import importlib
import re
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel, ParrotFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from turnkeep_server.recording import trace_headers

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

    from turnkeep_server.completions import Completions
    from turnkeep_server.settings import Settings

PARROT = "parrot"


def summarizes(settings: "Settings") -> bool:
    """Whether summaries are written: if they are on, by a model that can, with a key."""
    name = settings.summary_model or settings.model
    return settings.summary == "on" and name != PARROT and settings.openai_api_key is not None


def import_provider(settings: "Settings") -> None:
    """Loads what the models need: over a second and 80 MB, which a parrot need not spend."""
    if summarizes(settings) or (settings.model != PARROT and not settings.chain):
        importlib.import_module("langchain_openai")


@asynccontextmanager
async def opened_model(settings: "Settings", name: str) -> AsyncIterator[BaseChatModel]:
    """A model by its name: `parrot`, or any other by the OpenAI protocol."""
    if name == PARROT:
        yield Parrot()
        return
    from langchain_openai import ChatOpenAI
    from openai import DefaultAsyncHttpxClient

    # A client of our own: the library's is shared by all event loops and never closed.
    async with DefaultAsyncHttpxClient(event_hooks={"request": [_add_trace]}) as client:
        options: dict[str, Any] = {
            "model": name,
            "api_key": settings.openai_api_key,
            "base_url": settings.openai_base_url,
            "http_async_client": client,
            # The deadline of the call ends it and the chain tries again; these only back that up.
            "timeout": settings.max_timeout_seconds,
            "stream_chunk_timeout": None,
            "max_retries": 0,
            # Without it a stream to any other base_url reports no usage.
            "stream_usage": True,
            "use_responses_api": False,
        }
        model = ChatOpenAI(**options)
        if settings.model_client == "sdk" or urllib.request.getproxies():
            yield model
            return
        async with _directly(model, settings) as completions:
            from turnkeep_server.direct_openai import DirectChatOpenAI

            yield DirectChatOpenAI(completions=completions, **options)


async def _add_trace(request: Any) -> None:
    """Tells the provider which span asks, where calls are traced."""
    request.headers.update(trace_headers())


@asynccontextmanager
async def _directly(model: "ChatOpenAI", settings: "Settings") -> AsyncIterator["Completions"]:
    """Where the model asks, and as whom, is the SDK's to say: it reads its own environment."""
    from turnkeep_server.completions import opened_completions

    sdk = model.root_async_client
    headers = {
        name: value
        for name, value in {**sdk.default_headers, **sdk.auth_headers}.items()
        if isinstance(value, str) and not name.startswith("X-Stainless")
    }
    async with opened_completions(
        str(sdk.base_url), headers, timeout_seconds=settings.max_timeout_seconds
    ) as completions:
        yield completions


class Parrot(ParrotFakeChatModel):
    """LangChain's parrot, which repeats the question, with the end that real replies have."""

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        repeated = super()._generate(*args, **kwargs).generations[0].message
        reply = AIMessage(content=repeated.content, response_metadata={"finish_reason": "stop"})
        return ChatResult(generations=[ChatGeneration(message=reply)])

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        reply = self._generate(*args, **kwargs).generations[0].message
        for word in re.findall(r"\s*\S+|\s+$", reply.text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        end = AIMessageChunk(content="", response_metadata=reply.response_metadata)
        yield ChatGenerationChunk(message=end)
