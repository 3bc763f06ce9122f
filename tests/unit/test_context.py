"""What one turn sends to the model: its budget, how much is read for it, the summary's place."""

from collections.abc import Sequence
from typing import Any

import pytest

from turnkeep_server.chain import Question
from turnkeep_server.commands import ContextPolicy, ModelOptions
from turnkeep_server.context import Context, Contexts
from turnkeep_server.errors import ContextTooLarge
from turnkeep_server.history.contract import ChatMessageHistory
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.model_catalog import ModelFigures, Models
from turnkeep_server.prompts import Prompt
from turnkeep_server.summary_text import piece
from turnkeep_server.tokens import TokenEstimator, counted
from turnkeep_server.turns import ImagePart, Message, Role, SessionKey, Summary, ToolCall, TurnDraft

VICTOR = SessionKey("default", "victor", "42")
MODELS = Models("m", ["tiny"], {"m": ModelFigures(context_tokens=10_000, reply_tokens=2_000)})
ASK, ANSWER = Message(Role.USER, "Что дальше?"), Message(Role.ASSISTANT, "不知道。")


def contexts(**settings: Any) -> Contexts:
    """With these settings, all else ample."""
    given: dict[str, Any] = {
        "max_messages": 40,
        "max_input_tokens": None,
        "reply_reserve_tokens": 1_000,
        "summary_max_tokens": 500,
        **settings,
    }
    return Contexts(models=MODELS, estimator=TokenEstimator(), **given)


class CountedReads:
    """A history that counts what is asked of it."""

    def __init__(self, history: ChatMessageHistory) -> None:
        self._history = history
        self.turns_read = 0
        self.summaries_read = 0

    async def page(self, *args: Any, **kwargs: Any) -> Sequence[Any]:
        turns = await self._history.page(*args, **kwargs)
        self.turns_read += len(turns)
        return turns

    async def summary(self) -> Summary | None:
        self.summaries_read += 1
        return await self._history.summary()


@pytest.fixture
def history() -> ChatMessageHistory:
    return InMemoryHistoryStore().history(VICTOR)


async def grow(history: ChatMessageHistory, turns: int, *messages: Message) -> None:
    for _ in range(turns):
        tail = await history.tail(1)
        stored = tuple(map(counted, messages or (ASK, ANSWER)))
        await history.append(TurnDraft(stored, tail.messages_so_far), tail.head + 1)


async def read(
    history: ChatMessageHistory,
    made: Contexts | None = None,
    policy: ContextPolicy | None = None,
    question: Message = ASK,
    model: str = "m",
) -> tuple[Context, CountedReads]:
    made, policy = made or contexts(), policy or ContextPolicy()
    reads: Any = CountedReads(history)
    tail = await history.tail(made.turns_a_read(policy))
    asked = Question(counted(question), None, Prompt("p", ""), {}, model, ModelOptions())
    return await made.read(reads, tail, asked, policy), reads


@pytest.mark.parametrize(
    ("settings", "policy", "reply_tokens", "tokens"),
    [
        ({}, ContextPolicy(), None, 9_000),
        ({}, ContextPolicy(), 500, 9_500),
        ({}, ContextPolicy(), 1_000_000, 8_000),
        ({}, ContextPolicy(max_input_tokens=300), None, 300),
        ({}, ContextPolicy(max_input_tokens=300_000), None, 9_000),
        ({"max_input_tokens": 2_000}, ContextPolicy(), None, 2_000),
        ({"max_input_tokens": 2_000}, ContextPolicy(max_input_tokens=3_000), None, 2_000),
        ({"max_input_tokens": 50_000}, ContextPolicy(), None, 9_000),
        ({"reply_reserve_tokens": 50_000}, ContextPolicy(), None, 8_000),
    ],
)
def test_a_budget_is_what_is_asked_for_within_what_is_allowed_and_can_be_read(
    settings: dict[str, Any], policy: ContextPolicy, reply_tokens: int | None, tokens: int
) -> None:
    assert contexts(**settings).budget("m", policy, reply_tokens).tokens == tokens


def test_a_reserve_leaves_a_small_model_half_of_what_it_reads() -> None:
    made = contexts(reply_reserve_tokens=50_000)
    assert made.budget("tiny", ContextPolicy(), None).tokens == 8_192 - 4_096


async def test_no_more_is_read_than_the_window_takes(history: ChatMessageHistory) -> None:
    await grow(history, 200)
    context, reads = await read(history)
    assert context.report.included_messages == 40
    assert reads.turns_read == 0
    few = ContextPolicy(max_messages=1_000, max_input_tokens=100)
    context, reads = await read(history, policy=few)
    assert 0 < context.report.included_messages < 20
    assert reads.turns_read == 0


@pytest.mark.parametrize(
    "broken",
    [
        (Message(Role.TOOL, "½", tool_call_id="c"),),
        (ASK, Message(Role.ASSISTANT, tool_calls=(ToolCall("c", "f", "{}"),))),
    ],
    ids=["results of nothing", "calls that nothing answers"],
)
async def test_a_session_of_broken_pairs_is_not_read_to_its_beginning(
    history: ChatMessageHistory, broken: tuple[Message, ...]
) -> None:
    await grow(history, 1_000, *broken)
    context, reads = await read(history)
    assert context.messages == ()
    assert reads.turns_read <= 100


async def test_a_summary_stands_in_for_what_is_left_out_and_only_then(
    history: ChatMessageHistory,
) -> None:
    await grow(history, 15)
    await history.summarize(Summary((piece("Его зовут Виктор.", 100, lambda _: 1),), 5, 10))
    _, reads = await read(history)
    assert reads.summaries_read == 0
    context, _ = await read(history, policy=ContextPolicy(max_messages=10))
    assert context.messages[0].role is Role.SYSTEM
    assert "Виктор" in context.messages[0].text
    assert context.report.summary_used
    assert context.report.included_messages == 10
    assert (context.omitted.messages, context.omitted.before) == (10, 11)
    off, reads = await read(history, contexts(summary_max_tokens=0), ContextPolicy(max_messages=10))
    assert not off.report.summary_used
    assert reads.summaries_read == 0


async def test_a_summary_never_takes_the_newest_turns_place_nor_exceeds_the_budget(
    history: ChatMessageHistory,
) -> None:
    await grow(history, 15)
    await history.summarize(Summary((piece("важно " * 80, 1_000, lambda _: 1),), 5, 10))
    used = 0
    for tokens in range(12, 400, 3):
        policy = ContextPolicy(max_input_tokens=tokens)
        try:
            context, _ = await read(history, policy=policy)
        except ContextTooLarge:
            continue
        assert context.report.estimated_input_tokens <= tokens
        if context.report.summary_used:
            used += 1
            assert context.report.included_messages > 0
    assert used > 10


async def test_what_has_images_says_nothing_of_how_well_text_is_estimated(
    history: ChatMessageHistory,
) -> None:
    await grow(history, 1)
    text, _ = await read(history)
    assert text.uncorrected_tokens == text.report.estimated_input_tokens
    image = Message(Role.USER, parts=(ImagePart("https://x.test/кот.png"),))
    assert (await read(history, question=image))[0].uncorrected_tokens is None
    await grow(history, 1, image, ANSWER)
    assert (await read(history))[0].uncorrected_tokens is None
