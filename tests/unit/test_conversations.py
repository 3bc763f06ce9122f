"""The use cases over a store in memory and a model that answers at once: orders and endings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from turnkeep_server.chain import Chain
from turnkeep_server.commands import Chat, Claim, ConflictPolicy
from turnkeep_server.context import Contexts
from turnkeep_server.conversations import Conversations, Finished, Started
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import (
    SequenceMismatch,
    SessionBusy,
    SessionCleared,
    SessionFull,
    WaitTimeout,
)
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.model_catalog import ModelFigures, Models
from turnkeep_server.prompt_and_model import PromptAndModel
from turnkeep_server.prompts import DEFAULT, Prompts, parse_prompt
from turnkeep_server.tokens import TokenEstimator
from turnkeep_server.turns import UNFINISHED, Message, Role, SessionKey, TurnStatus

VICTOR = SessionKey("default", "victor", "42")


class ScriptedModel(BaseChatModel):
    """Answers with what `say` makes of its input, after `gate` has let it."""

    say: Callable[[list[BaseMessage]], str]
    gate: Any = None
    inputs: list[list[str]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("async only")

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        self.inputs.append([each.text for each in messages[1:]])
        await asyncio.sleep(0)
        if self.gate:
            await self.gate.wait()
        end = {"finish_reason": "stop"}
        reply = AIMessage(content=self.say(messages), response_metadata=end)
        return ChatResult(generations=[ChatGeneration(message=reply)])

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        result = await self._agenerate(messages)
        for letter in result.generations[0].text:
            yield ChatGenerationChunk(message=AIMessageChunk(content=letter))
        end = AIMessageChunk(content="", response_metadata={"finish_reason": "stop"})
        yield ChatGenerationChunk(message=end)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(say=lambda messages: f"да: {messages[-1].text}", inputs=[])


@pytest.fixture
def store() -> InMemoryHistoryStore:
    return InMemoryHistoryStore()


@pytest.fixture
def spent() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def conversations(
    model: ScriptedModel, store: InMemoryHistoryStore, spent: list[tuple[str, int]]
) -> Conversations:
    prompts = Prompts({DEFAULT: parse_prompt(DEFAULT, "будь краток")})
    models = Models("scripted", (), {"scripted": ModelFigures(context_tokens=1_000_000)})
    form = PromptAndModel(model, built_for="scripted", prompts=prompts, models=models)
    contexts = Contexts(
        models=models,
        estimator=TokenEstimator(),
        max_messages=1_000,
        max_input_tokens=None,
        reply_reserve_tokens=1_000,
        summary_max_tokens=0,
    )
    return Conversations(
        store=store,
        chain=Chain(form),
        contexts=contexts,
        completed=lambda session, turn, context: None,
        max_page_bytes=1_000_000,
        max_session_messages=120,
        spend=lambda tenant, tokens: spent.append((tenant, tokens)),
    )


def ask(text: str, **claim: Any) -> Chat:
    claim.setdefault("fingerprint", text)
    return Chat(VICTOR, Message(Role.USER, text), Claim(**claim))


async def test_racing_turns_see_exactly_the_turns_before_them(
    conversations: Conversations, model: ScriptedModel
) -> None:
    deadline = Deadline.after(10)
    turns = await asyncio.gather(*(conversations.chat(ask(f"q{n}"), deadline) for n in range(30)))
    assert sorted(each.turn.sequence for each in turns) == list(range(1, 31))
    said: list[str] = []
    for each in sorted(turns, key=lambda each: each.turn.sequence):
        question = each.turn.messages[0].text
        assert [*said, question] in model.inputs
        said += [question, f"да: {question}"]


async def test_a_request_sent_many_times_at_once_is_one_turn(
    conversations: Conversations, model: ScriptedModel
) -> None:
    deadline = Deadline.after(10)
    outcomes = await asyncio.gather(
        *(conversations.chat(ask("да?", request_id="r1"), deadline) for _ in range(20))
    )
    assert len(model.inputs) == 1
    assert sum(not each.replayed for each in outcomes) == 1
    assert len({each.turn.id for each in outcomes}) == 1


async def test_a_stream_that_is_closed_is_a_cancelled_turn_with_its_text(
    conversations: Conversations, store: InMemoryHistoryStore
) -> None:
    stream = conversations.stream_chat(ask("да?", request_id="r1"), Deadline.after(10))
    assert isinstance(await anext(stream), Started)
    assert [await anext(stream) for _ in range(3)] == ["д", "а", ":"]
    await stream.aclose()
    (turn,) = await store.history(VICTOR).page(UNFINISHED, limit=5)
    assert turn.status is TurnStatus.CANCELLED
    assert [each.text for each in turn.messages] == ["да?", "да:"]
    again = await conversations.chat(ask("да?", request_id="r1"), Deadline.after(10))
    assert (again.turn.sequence, again.replayed) == (2, False)


async def test_a_stream_that_is_closed_before_the_model_speaks_is_cancelled_too(
    conversations: Conversations, store: InMemoryHistoryStore
) -> None:
    stream = conversations.stream_chat(ask("да?"), Deadline.after(10))
    await anext(stream)
    await stream.aclose()
    (turn,) = await store.history(VICTOR).page(UNFINISHED, limit=5)
    assert [each.text for each in turn.messages] == ["да?"]


async def test_a_bug_in_the_chain_ends_the_turn_as_failed(
    conversations: Conversations, model: ScriptedModel, store: InMemoryHistoryStore
) -> None:
    def broken(messages: list[BaseMessage]) -> str:
        raise RuntimeError("a bug")

    model.say = broken
    with pytest.raises(RuntimeError):
        await conversations.chat(ask("да?"), Deadline.after(10))
    (turn,) = await store.history(VICTOR).page(UNFINISHED, limit=5)
    assert (turn.status, turn.failure) == (TurnStatus.FAILED, "INTERNAL")


async def test_a_turn_that_waits_is_bounded_by_its_deadline(
    conversations: Conversations, model: ScriptedModel
) -> None:
    model.gate = asyncio.Event()
    first = asyncio.create_task(conversations.chat(ask("раз"), Deadline.after(10)))
    while not model.inputs:
        await asyncio.sleep(0)
    with pytest.raises(WaitTimeout):
        await conversations.chat(ask("два"), Deadline.after(0.02))
    impatient = ask("три", on_conflict=ConflictPolicy.REJECT)
    with pytest.raises(SessionBusy) as busy:
        await conversations.chat(impatient, Deadline.after(10))
    assert busy.value.metadata == {"running_request_id": ""}
    model.gate.set()
    assert (await first).turn.sequence == 1


async def test_the_last_turn_a_caller_knows_may_be_past_by_failed_ones_only(
    conversations: Conversations, store: InMemoryHistoryStore
) -> None:
    deadline = Deadline.after(10)
    await conversations.chat(ask("раз", expected_sequence=0), deadline)
    stream = conversations.stream_chat(ask("два", expected_sequence=1), deadline)
    await anext(stream)
    await stream.aclose()
    with pytest.raises(SequenceMismatch) as mismatch:
        await conversations.chat(ask("два", expected_sequence=0), deadline)
    assert mismatch.value.metadata["current_sequence"] == "1"
    done = await conversations.chat(ask("два", expected_sequence=1), deadline)
    assert done.turn.sequence == 3
    await store.history(VICTOR).clear_session()
    for known in (3, 1):
        with pytest.raises(SequenceMismatch):
            await conversations.chat(ask("x", expected_sequence=known), deadline)
    assert (await conversations.chat(ask("x", expected_sequence=0), deadline)).turn.sequence == 5


async def test_the_session_is_free_before_its_caller_has_read_the_end(
    conversations: Conversations,
) -> None:
    stream = conversations.stream_chat(ask("раз"), Deadline.after(10))
    async for event in stream:
        if isinstance(event, Finished):
            other = await conversations.chat(ask("два"), Deadline.after(1))
            assert other.turn.sequence == 2


async def test_a_clear_lets_newcomers_pass_the_turn_it_removed(
    conversations: Conversations, model: ScriptedModel
) -> None:
    model.gate = asyncio.Event()
    cleared = asyncio.create_task(conversations.chat(ask("раз"), Deadline.after(10)))
    while not model.inputs:
        await asyncio.sleep(0)
    await conversations.clear_session(VICTOR, Deadline.after(10))
    stuck, model.gate = model.gate, None
    after = await conversations.chat(ask("два"), Deadline.after(1))
    assert (after.turn.sequence, model.inputs[-1]) == (3, ["два"])
    stuck.set()
    with pytest.raises(SessionCleared):
        await cleared


async def test_a_clear_by_another_server_lets_those_in_line_go_ahead(
    conversations: Conversations, model: ScriptedModel, store: InMemoryHistoryStore
) -> None:
    model.gate = asyncio.Event()
    cleared = asyncio.create_task(conversations.chat(ask("раз"), Deadline.after(10)))
    while not model.inputs:
        await asyncio.sleep(0)
    waiting = asyncio.create_task(conversations.chat(ask("два"), Deadline.after(10)))
    await asyncio.sleep(0.01)
    stuck, model.gate = model.gate, None
    await store.history(VICTOR).clear_session()
    assert (await waiting).turn.sequence == 3
    stuck.set()
    with pytest.raises(SessionCleared):
        await cleared
    assert (await conversations.chat(ask("три"), Deadline.after(1))).turn.sequence == 4


async def test_a_caller_who_gives_up_in_line_leaves_no_gap_in_it(
    conversations: Conversations, model: ScriptedModel
) -> None:
    model.gate = asyncio.Event()
    first = asyncio.create_task(conversations.chat(ask("раз"), Deadline.after(10)))
    while not model.inputs:
        await asyncio.sleep(0)
    impatient = asyncio.create_task(conversations.chat(ask("два"), Deadline.after(10)))
    third = asyncio.create_task(conversations.chat(ask("три"), Deadline.after(10)))
    await asyncio.sleep(0.01)
    impatient.cancel()
    model.gate.set()
    await asyncio.wait({impatient})
    assert (await first).turn.sequence == 1
    assert (await third).turn.sequence == 2
    assert (await conversations.chat(ask("четыре"), Deadline.after(1))).turn.sequence == 3


async def test_tokens_are_told_of_turns_however_they_end(
    conversations: Conversations, model: ScriptedModel, spent: list[tuple[str, int]]
) -> None:
    """Also of one whose session was cleared before its reply could be stored."""
    deadline = Deadline.after(10)
    await conversations.chat(ask("да?", request_id="r1"), deadline)
    ((tenant, tokens),) = spent
    assert (tenant, tokens > 5) == ("default", True)
    await conversations.chat(ask("да?", request_id="r1"), deadline)
    assert len(spent) == 1  # a replay asks nobody

    stream = conversations.stream_chat(ask("раз"), deadline)
    await anext(stream)
    await stream.aclose()
    await conversations.settle(5)
    assert len(spent) == 2

    model.gate = asyncio.Event()
    asked = len(model.inputs)
    running = asyncio.create_task(conversations.chat(ask("два"), deadline))
    while len(model.inputs) == asked:
        await asyncio.sleep(0)
    await conversations.clear_session(VICTOR, deadline)
    model.gate.set()
    with pytest.raises(SessionCleared):
        await running
    assert len(spent) == 3
    assert all(tokens > 5 for _, tokens in spent)


async def test_a_full_session_takes_no_turn_until_it_is_cleared(
    conversations: Conversations, model: ScriptedModel
) -> None:
    """120 messages are 60 turns. What it refuses asks no model and leaves no trace."""
    deadline = Deadline.after(10)
    for number in range(60):
        await conversations.chat(ask(f"q{number}", request_id=f"r{number}"), deadline)
    with pytest.raises(SessionFull) as caught:
        await conversations.chat(ask("q60", request_id="r60"), deadline)
    assert caught.value.metadata == {"messages": "120", "max_messages": "120"}
    # The tail that was read does not hold it; it is replayed all the same.
    assert (await conversations.chat(ask("q0", request_id="r0"), deadline)).replayed
    assert len(model.inputs) == 60
    await conversations.clear_session(VICTOR, deadline)
    assert not (await conversations.chat(ask("q60", request_id="r60"), deadline)).replayed
