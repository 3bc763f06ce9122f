"""Which messages of the history go to the model."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from turnkeep_server.context_window import fit
from turnkeep_server.turns import Message, Role, ToolCall, Turn, TurnStatus

COMPLETED = TurnStatus.COMPLETED


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


def said(turns: list[Turn], max_messages: int) -> list[str]:
    return [message.text for message in fit(turns, max_messages).messages]


def test_an_empty_session_sends_nothing() -> None:
    assert fit([], 40).messages == ()


def test_the_newest_turns_go_in_order_and_the_rest_is_reported() -> None:
    window = fit(session((COMPLETED, 2), (COMPLETED, 2), (COMPLETED, 2)), 4)
    assert [each.text for each in window.messages] == ["2.0", "2.1", "3.0", "3.1"]
    assert (window.report.included_messages, window.report.omitted_messages) == (4, 2)


def test_a_turn_goes_whole_or_not_at_all_and_nothing_older_jumps_over_it() -> None:
    turns = session((COMPLETED, 1), (COMPLETED, 3), (COMPLETED, 2))
    assert said(turns, 4) == ["3.0", "3.1"]


def test_turns_that_are_not_completed_are_left_out() -> None:
    turns = session(
        (COMPLETED, 2), (TurnStatus.FAILED, 1), (TurnStatus.CANCELLED, 2), (TurnStatus.RUNNING, 1)
    )
    assert said(turns, 40) == ["1.0", "1.1"]
    assert fit(turns, 40).report.omitted_messages == 0


def test_a_tool_s_result_is_never_parted_from_its_call() -> None:
    turns = session((COMPLETED, 2), (COMPLETED, 2), (COMPLETED, 2))
    result = (Message(Role.TOOL, "½", tool_call_id="c"), Message(Role.ASSISTANT, "0.5"))
    turns[1] = Turn("2", 2, COMPLETED, result, 2, turns[1].created_at)
    assert said(turns, 4) == ["3.0", "3.1"]
    assert said(turns, 6) == ["1.0", "1.1", "½", "0.5", "3.0", "3.1"]


def test_a_call_that_nothing_answers_is_left_out_and_what_led_to_it_too() -> None:
    turns = session((COMPLETED, 2), (COMPLETED, 2), (COMPLETED, 2), (COMPLETED, 2))
    calls = (ToolCall("c", "sin", "{}"),)
    asked = (Message(Role.USER, "q"), Message(Role.ASSISTANT, "", tool_calls=calls))
    again = (Message(Role.TOOL, "½"), Message(Role.ASSISTANT, "", tool_calls=calls))
    turns[2] = replace(turns[2], messages=asked)
    turns[1] = replace(turns[1], messages=again)
    assert said(turns, 40) == ["1.0", "1.1", "4.0", "4.1"]
    assert said(turns[1:], 40) == ["1.0", "1.1"]
    answered = fit(turns[1:], 40, Role.TOOL).messages
    assert [each.text for each in answered] == ["1.0", "1.1", "q", "", "½", ""]


def test_no_room_sends_nothing() -> None:
    window = fit(session((COMPLETED, 2)), 0)
    assert window.messages == ()
    assert window.report.omitted_messages == 2


statuses = st.sampled_from([COMPLETED, COMPLETED, TurnStatus.FAILED, TurnStatus.CANCELLED])


@given(st.lists(st.tuples(statuses, st.integers(1, 5)), max_size=30), st.integers(0, 40))
def test_a_window_is_a_newest_run_of_whole_turns_within_its_size(
    shape: list[tuple[TurnStatus, int]], size: int
) -> None:
    turns = session(*shape)
    window = fit(turns, size)
    everything = [m for turn in turns[::-1] if turn.status is COMPLETED for m in turn.messages]
    count = len(window.messages)
    assert count <= size
    assert list(window.messages) == everything[len(everything) - count :]
    assert window.report.omitted_messages == len(everything) - count
    older = [t for t in turns[::-1] if t.status is COMPLETED]
    kept = {message.text.split(".")[0] for message in window.messages}
    for turn in older:
        texts = {message.text for message in turn.messages}
        assert texts <= {m.text for m in window.messages} or f"{turn.sequence}" not in kept


@given(st.lists(st.tuples(statuses, st.integers(1, 5)), max_size=30), st.integers(0, 20))
def test_reading_may_stop_as_soon_as_the_window_is_full(
    shape: list[tuple[TurnStatus, int]], size: int
) -> None:
    turns = session(*shape)
    for read in range(len(turns) + 1):
        window = fit(turns[:read], size)
        if read and window.full:
            assert window == fit(turns, size)
