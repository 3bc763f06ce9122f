"""Which messages make a turn."""

from collections.abc import AsyncIterator

import pytest

from turnkeep_server.migration.grouping import Item, TurnSize, Upcoming, next_turn
from turnkeep_server.turns import Message, Role, ToolCall

ROLES = {"s": Role.SYSTEM, "u": Role.USER, "a": Role.ASSISTANT, "t": Role.TOOL, "c": Role.ASSISTANT}


async def grouped(letters: str, most: int = 500, most_bytes: int = 10_000) -> str:
    """The turns of a session: u asks, a answers, c calls a tool, t is its result; 10 bytes each."""

    async def items() -> AsyncIterator[Item]:
        for index, letter in enumerate(letters):
            calls = (ToolCall("c", "поиск", "{}"),) if letter == "c" else ()
            call_id = "c" if letter == "t" else ""
            message = Message(ROLES[letter], tool_calls=calls, tool_call_id=call_id)
            yield Item(index, message, 10)

    upcoming = Upcoming(items())
    turns = []
    while turn := await next_turn(upcoming, TurnSize(most, most_bytes)):
        assert len(turn) <= most
        turns.append("".join(letters[item.index] for item in turn))
    return " ".join(turns)


@pytest.mark.parametrize(
    ("letters", "turns"),
    [
        ("", ""),
        ("ua", "ua"),
        ("uaua", "ua ua"),
        ("sua", "s ua"),
        ("asaua", "asa ua"),
        ("uctaua", "ucta ua"),
        ("uuau", "u ua u"),
        ("uasua", "uas ua"),
        ("tua", "t ua"),
    ],
)
async def test_a_turn_is_a_question_and_all_that_follows_it(letters: str, turns: str) -> None:
    assert await grouped(letters) == turns


@pytest.mark.parametrize(
    ("letters", "turns"),
    [
        ("uaaaaa", "uaaa aa"),
        ("uctcta", "uct cta"),
        ("uactcta", "uact cta"),
        ("uaacta", "uaa cta"),
        ("uactua", "uact ua"),
        ("ccccct", "cccc ct"),
    ],
)
async def test_a_turn_that_is_too_large_is_cut_where_no_call_waits_for_its_result(
    letters: str, turns: str
) -> None:
    assert await grouped(letters, most=4) == turns
    assert await grouped(letters, most_bytes=49) == turns
