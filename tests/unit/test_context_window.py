"""Which messages of the history go to the model."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnkeep_server.context_window import (
    Budget,
    ContextWindow,
    fit,
    room_beside,
    size_of_all,
)
from turnkeep_server.errors import ContextTooLarge
from turnkeep_server.turns import Message, Role, ToolCall, Turn, TurnStatus

COMPLETED = TurnStatus.COMPLETED
AMPLE = 1_000_000


def session(*turns: tuple[TurnStatus, int]) -> list[Turn]:
    """Turns, newest first, made of (status, messages) from the oldest on."""
    made: list[Turn] = []
    before = 0
    for sequence, (status, count) in enumerate(turns, start=1):
        roles = itertools.cycle((Role.USER, Role.ASSISTANT))
        messages = tuple(Message(next(roles), f"{sequence}.{n}") for n in range(count))
        made.append(Turn(f"{sequence}", sequence, status, messages, before, datetime.now(UTC)))
        before = made[-1].messages_so_far
    return made[::-1]


def estimate(message: Message) -> int:
    """Three tokens and one a letter."""
    return 3 + len(message.text)


def within(turns: list[Turn], max_messages: int, question: Message | None = None) -> ContextWindow:
    """The window by messages, with any number of tokens."""
    return fit(turns, Budget(AMPLE, max_messages), estimate, question)


def said(turns: list[Turn], max_messages: int) -> list[str]:
    return [message.text for message in within(turns, max_messages).messages]


def test_an_empty_session_sends_nothing() -> None:
    assert within([], 40).messages == ()


def test_the_newest_turns_go_in_order_and_the_rest_is_reported() -> None:
    window = within(session((COMPLETED, 2), (COMPLETED, 2), (COMPLETED, 2)), 4)
    assert [each.text for each in window.messages] == ["2.0", "2.1", "3.0", "3.1"]
    assert (window.begins_at, window.tokens) == (2, 4 * 6)
    report = window.report(always=100)
    assert (report.included_messages, report.omitted_messages) == (4, 2)
    assert (report.summary_used, report.estimated_input_tokens) == (False, 124)


def test_a_turn_goes_whole_or_not_at_all_and_nothing_older_jumps_over_it() -> None:
    turns = session((COMPLETED, 1), (COMPLETED, 3), (COMPLETED, 2))
    assert said(turns, 4) == ["3.0", "3.1"]


def test_turns_that_are_not_completed_are_left_out() -> None:
    turns = session(
        (COMPLETED, 2), (TurnStatus.FAILED, 1), (TurnStatus.CANCELLED, 2), (TurnStatus.RUNNING, 1)
    )
    assert said(turns, 40) == ["1.0", "1.1"]
    assert within(turns, 40).omitted_messages == 0


def test_the_newest_turns_go_as_far_as_their_tokens_fit() -> None:
    turns = session((COMPLETED, 2), (COMPLETED, 2), (COMPLETED, 2))
    for tokens, sent in [(0, 0), (11, 0), (12, 2), (23, 2), (24, 4), (35, 4), (36, 6), (99, 6)]:
        window = fit(turns, Budget(tokens, 40), estimate)
        assert (len(window.messages), window.tokens) == (sent, sent * 6)


def test_what_must_be_sent_is_refused_over_the_budget_with_both_numbers() -> None:
    always = (Message(Role.SYSTEM, "Будь краток"), Message(Role.USER, "你好"))
    needed = size_of_all(always, estimate)
    assert needed == 3 + 14 + 5
    assert room_beside(needed, Budget(needed, 40)) == Budget(0, 40)
    with pytest.raises(ContextTooLarge) as refused:
        room_beside(needed, Budget(needed - 1, 40))
    assert refused.value.metadata == {"needed_tokens": "22", "max_input_tokens": "21"}


def call(*ids: str, text: str = "") -> Message:
    return Message(Role.ASSISTANT, text, tool_calls=tuple(ToolCall(i, "sin", "{}") for i in ids))


def result(of: str) -> Message:
    return Message(Role.TOOL, f"½{of}", tool_call_id=of)


def turns_of(*turns: tuple[Message, ...]) -> list[Turn]:
    """Completed turns, newest first, made of their messages from the oldest on."""
    made: list[Turn] = []
    for sequence, messages in enumerate(turns, start=1):
        before = made[-1].messages_so_far if made else 0
        now, own = datetime.now(UTC), tuple(map(replace, messages))
        made.append(Turn(f"{sequence}", sequence, COMPLETED, own, before, now))
    return made[::-1]


ASK, ANSWER = Message(Role.USER, "?"), Message(Role.ASSISTANT, "!")


def sequences(turns: list[Turn], max_messages: int, question: Message | None = None) -> list[int]:
    """The turns that are sent, oldest first."""
    sent = within(turns, max_messages, question).messages
    return [t.sequence for t in turns[::-1] if any(m is s for m in t.messages for s in sent)]


def test_a_tool_s_result_is_never_parted_from_its_call() -> None:
    turns = turns_of((ASK, ANSWER), (ASK, call("c")), (result("c"), ANSWER), (ASK, ANSWER))
    assert [sequences(turns, n) for n in range(9)] == [
        *([[]] * 2),
        *([[4]] * 4),
        *([[2, 3, 4]] * 2),
        [1, 2, 3, 4],
    ]


@pytest.mark.parametrize(
    ("broken", "sent"),
    [
        ([(ASK, call("c"))], "a call that nothing answers"),
        ([(ASK, call("c", "d")), (result("c"), ANSWER)], "one of two answers"),
        ([(result("c"), ANSWER)], "an answer to nobody"),
        ([(ASK, call("c")), (result("x"), ANSWER)], "an answer to another call"),
        ([(ASK, call("c"), ANSWER)], "a call that is talked over"),
        ([(ASK, call("c")), (result("c"), call("d"))], "a second call that nothing answers"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_a_provider_would_refuse_is_left_out_and_the_rest_is_sent(
    broken: list[tuple[Message, ...]], sent: str
) -> None:
    turns = turns_of((ASK, ANSWER), *broken, (ASK, ANSWER))
    assert sequences(turns, 40) == [1, len(broken) + 2]


def test_a_question_that_answers_a_call_has_the_call_sent() -> None:
    turns = turns_of((ASK, ANSWER), (ASK, call("c", "d")))
    assert sequences(turns, 40) == [1]
    assert sequences(turns, 40, ASK) == [1]
    for answered in ("c", "d"):
        assert sequences(turns, 40, result(answered)) == [1, 2]
        assert sequences(turns, 1, result(answered)) == []
    assert sequences(turns, 40, result("nobody's")) == [1]


def test_no_room_sends_nothing() -> None:
    window = within(session((COMPLETED, 2)), 0)
    assert (window.messages, window.begins_at) == ((), None)
    assert window.omitted_messages == 2


statuses = st.sampled_from([COMPLETED, COMPLETED, TurnStatus.FAILED, TurnStatus.CANCELLED])
ids = st.sampled_from("abc")
spoken = st.builds(Message, st.just(Role.USER), st.text(max_size=30))
replies = st.builds(Message, st.just(Role.ASSISTANT), st.text(max_size=30))
calls = st.lists(ids, min_size=1, max_size=2, unique=True).map(lambda found: call(*found))
results = ids.map(result)
messages = st.lists(spoken | replies | calls | results, min_size=1, max_size=5).map(tuple)
# Half of the turns are what a chat makes of them: calls that are answered in the turn after.
exchanges = st.one_of(
    st.tuples(spoken, replies).map(lambda turn: [turn]),
    st.tuples(spoken, replies).map(lambda turn: [(turn[0], call("a")), (result("a"), turn[1])]),
    messages.map(lambda turn: [turn]),
)


@st.composite
def sessions(draw: st.DrawFn) -> list[Turn]:
    """Newest first."""
    chats = draw(st.lists(exchanges, max_size=25))
    turns = turns_of(*(turn for chat in chats for turn in chat))
    made = [replace(each, status=draw(statuses)) for each in turns]
    before = 0
    for n, turn in reversed(list(enumerate(made))):
        made[n] = replace(turn, messages_before=before)
        before = made[n].messages_so_far
    return made


questions = st.one_of(st.none(), spoken, results)


@settings(max_examples=2_000, deadline=None)
@given(sessions(), st.integers(0, 400), st.integers(0, 60), questions)
def test_a_window_is_whole_turns_in_order_within_its_budget(
    turns: list[Turn], tokens: int, most: int, question: Message | None
) -> None:
    window = fit(turns, Budget(tokens, most), estimate, question)
    sent = list(window.messages)
    assert sum(map(estimate, sent)) == window.tokens <= tokens
    assert len(sent) <= most
    chosen = [t for t in turns[::-1] if any(m is s for m in t.messages for s in sent)]
    assert all(turn.status is COMPLETED for turn in chosen)
    assert same([m for turn in chosen for m in turn.messages], sent)
    assert window.begins_at == (chosen[0].sequence if chosen else None)
    assert window.omitted_messages == (turns[0].messages_so_far if turns else 0) - len(sent)
    assert_no_pair_is_parted([*sent, *([question] if question else [])], question)


@settings(max_examples=200, deadline=None)
@given(sessions(), st.integers(0, 400), st.integers(0, 60))
def test_the_newest_turn_that_can_be_sent_is_in_if_it_fits(
    turns: list[Turn], tokens: int, most: int
) -> None:
    everything = fit(turns, Budget(AMPLE, AMPLE), estimate)
    sent = fit(turns, Budget(tokens, most), estimate).messages
    # What is sent is the end of what could be, and what comes before does not fit.
    assert same(everything.messages[len(everything.messages) - len(sent) :], sent)
    newest = next((t for t in turns if any(m is s for m in t.messages for s in sent)), None)
    alone = [t for t in turns if any(m is s for m in t.messages for s in everything.messages)][:1]
    by_itself = fit(alone, Budget(tokens, most), estimate).messages
    if by_itself:
        assert newest is alone[0]


@settings(max_examples=200, deadline=None)
@given(sessions(), st.integers(0, 400), st.integers(0, 20), questions)
def test_reading_may_stop_as_soon_as_the_window_is_full(
    turns: list[Turn], tokens: int, most: int, question: Message | None
) -> None:
    of = partial(fit, room=Budget(tokens, most), estimate=estimate, question=question)
    for read in range(1, len(turns) + 1):
        if (window := of(turns[:read])).full:
            assert window == of(turns)


def same(some: Sequence[Message], others: Sequence[Message]) -> bool:
    """Whether they are the same ones, not only equal."""
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def assert_no_pair_is_parted(sent: list[Message], question: Message | None) -> None:
    """Every call is followed by just its results, and every result follows its call.

    A question that answers a part of a call, or nobody's, is the caller's, and sent as it is.
    """
    due: set[str] = set()
    for message in sent:
        if message.role is Role.TOOL:
            assert message is question or message.tool_call_id in due
            due.discard(message.tool_call_id)
        else:
            assert not due
            due = {each.id for each in message.tool_calls}
    assert not due or (question and question.role is Role.TOOL)
