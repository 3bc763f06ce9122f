"""LangChain's ChatOpenAI, without OpenAI's SDK between it and the wire.

What is asked and what an answer means is still LangChain's to say: it makes the request of the
options and the message of the answer. Only what lies between is left out: the SDK's transform of
the request, which costs 0.3 ms of CPU a message on the event loop, its HTTP client, and the objects
that it makes of an answer. tests/unit/test_direct_openai.py holds that both send the same.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import _create_usage_metadata
from pydantic import Field

from turnkeep_server.completions import Completions
from turnkeep_server.messages import to_langchain
from turnkeep_server.turns import Message, Role

Payload = dict[str, Any]


class DirectChatOpenAI(ChatOpenAI):
    """A ChatOpenAI that asks by `completions`; asynchronous calls of the chat completions only."""

    completions: Completions = Field(exclude=True)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **options: Any,
    ) -> ChatResult:
        return await self._asked(self._get_request_payload(messages, stop=stop, **options))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **options: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        payload = self._get_request_payload(messages, stop=stop, **options, **_STREAMED)
        async with aclosing(self._generated(payload)) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    # --- the same without a Runnable around it ---------------------------------------------------

    def payload(self, messages: Sequence[Message], options: Payload) -> Payload:
        """What is sent for these messages; `options` under LangChain's names."""
        payload = self._get_request_payload([], **options) if options else {**self._plain}
        payload["messages"] = [self._wire(each) for each in messages]
        return payload

    async def answer(self, payload: Payload) -> AIMessage:
        """The model's answer, as `ainvoke` gives it."""
        told = await self.completions.whole(payload)
        return _plain_answer(told) or self._converted(told)

    def _converted(self, told: Any) -> AIMessage:
        result = self._result(told)
        generation = result.generations[0]
        answer: Any = generation.message
        answer.response_metadata = {
            **(result.llm_output or {}),
            **(generation.generation_info or {}),
        }
        if not isinstance(answer, AIMessage):
            raise TypeError(f"the model answered as {answer.type}")
        return answer

    async def pieces(self, payload: Payload) -> AsyncGenerator[AIMessageChunk]:
        """The pieces of the model's answer, as `astream` gives them."""
        async with aclosing(self._generated({**payload, **_STREAMED})) as chunks:
            async for chunk in chunks:
                piece: Any = chunk.message
                if chunk.generation_info:
                    piece.response_metadata.update(chunk.generation_info)
                yield piece

    def _wire(self, message: Message) -> Payload:
        """A message as the provider gets it. Nearly all are a role and a text, and made here."""
        if message.parts or message.name or message.tool_calls or message.role is Role.TOOL:
            sent: Payload = self._get_request_payload([to_langchain(message)])["messages"][0]
            return sent
        return {"content": message.text, "role": self._roles[message.role]}

    @cached_property
    def _plain(self) -> Payload:
        """A request without options of its own, as most are."""
        return self._get_request_payload([])

    @cached_property
    def _roles(self) -> dict[Role, str]:
        """The system's role is not the same for every model; LangChain knows."""
        system = self._get_request_payload([SystemMessage("")])["messages"][0]["role"]
        return {Role.USER: "user", Role.ASSISTANT: "assistant", Role.SYSTEM: system}

    # --- asking ----------------------------------------------------------------------------------

    async def _asked(self, payload: Payload) -> ChatResult:
        return self._result(await self.completions.whole(payload))

    def _result(self, told: Any) -> ChatResult:
        result = self._create_chat_result(told)
        for choice, generation in zip(told["choices"], result.generations, strict=True):
            # LangChain takes it from the SDK's objects only.
            if refusal := choice["message"].get("refusal"):
                generation.message.additional_kwargs["refusal"] = refusal
        return result

    async def _generated(self, payload: Payload) -> AsyncGenerator[ChatGenerationChunk]:
        async with aclosing(self.completions.events(payload)) as events:
            nothing_came = True
            async for event in events:
                chunk = self._convert_chunk_to_generation_chunk(event, AIMessageChunk, None)
                if chunk is not None:
                    nothing_came = False
                    yield chunk
        if nothing_came:
            raise ValueError("a stream without a single piece")


def _plain_answer(told: Any) -> AIMessage | None:
    """The answer if it is one text and its end, as most are: not validated, it is made here.

    None for any other, which LangChain converts.
    """
    match told:
        case {"choices": [{"message": {"content": str(text)} as message, **choice}]}:
            rest = (value for name, value in message.items() if name not in {"role", "content"})
            plain = message.get("role") == "assistant" and not any(rest)
            if plain and isinstance(choice.get("finish_reason"), str) and not told.get("error"):
                said: dict[str, Any] = {"content": text, "id": told.get("id")}
                kept = {n: choice[n] for n in _KEPT if n in choice}
                said["response_metadata"] = {"model_name": told.get("model"), **kept}
                if usage := told.get("usage"):
                    said["usage_metadata"] = _create_usage_metadata(usage, told.get("service_tier"))
                return _NOTHING_SAID.model_copy(update=said)
    return None


_NOTHING_SAID = AIMessage("")
_KEPT = ("finish_reason", "logprobs")
_STREAMED: Payload = {"stream": True, "stream_options": {"include_usage": True}}
