"""Summaries as text: cut to size, joined, and what of a turn the summarising model is given."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from turnkeep_server.summary_text import clipped, piece, summary_message, told_of, transcript
from turnkeep_server.turns import (
    FilePart,
    ImagePart,
    Message,
    Role,
    Summary,
    TextPart,
    ToolCall,
    Turn,
    TurnStatus,
)


def estimate(message: Message) -> int:
    """Three tokens and one a letter."""
    return 3 + len(message.text)


@given(st.text(max_size=300), st.integers(3, 100))
def test_a_text_is_cut_to_its_tokens_from_its_end(text: str, tokens: int) -> None:
    cut = clipped(text, tokens, estimate)
    assert estimate(Message(Role.SYSTEM, cut)) <= tokens
    assert cut == text or cut == "" or (cut.endswith(" …") and text.startswith(cut[:-2]))


def test_most_of_what_fits_is_kept() -> None:
    assert len(clipped("так " * 1_000, 200, estimate)) > 150
    assert clipped("很短", 5, estimate) == "很短"
    assert piece("  с краями \n", 100, estimate).text == "с краями"


def summary(*pieces: str) -> Summary:
    return Summary(tuple(piece(each, 1_000, estimate) for each in pieces), 5, 10)


def test_pieces_are_told_oldest_first_in_one_system_message() -> None:
    told = summary_message(summary("Его зовут Виктор.", "他住在喀山。"), 1_000, estimate)
    assert told is not None
    assert told.role is Role.SYSTEM
    assert told.text.endswith("\n\nЕго зовут Виктор.\n\n他住在喀山。")
    assert told.tokens is not None


def test_the_first_piece_that_does_not_fit_is_cut_and_those_after_it_are_left_out() -> None:
    whole = summary("один " * 10, "два " * 10, "три " * 10)
    empty = estimate(told_of(()))
    for tokens in range(estimate(told_of(whole.pieces)) + 5):
        told = summary_message(whole, tokens, estimate)
        if told is None:
            assert tokens < empty + 30
            continue
        assert estimate(told) <= tokens
        assert told_of(whole.pieces).text.startswith(told.text.removesuffix(" …"))
    assert told == told_of(whole.pieces)


def test_a_transcript_says_who_said_what_and_cuts_what_is_too_long() -> None:
    messages = (
        Message(Role.USER, parts=(TextPart("Что это?"), ImagePart("data:image/png;base64,AAAA"))),
        Message(Role.ASSISTANT, tool_calls=(ToolCall("c", "look", '{"at": "я"}'),)),
        Message(Role.TOOL, "猫", tool_call_id="c"),
        Message(Role.USER, parts=(FilePart("отчёт.pdf", "application/pdf", b"%PDF"),)),
        Message(Role.ASSISTANT, "очень длинно " * 100),
    )
    turn = Turn("1", 1, TurnStatus.COMPLETED, messages, 0, datetime.now(UTC))
    said = transcript([turn], 50, estimate).split("\n\n")
    assert said[:4] == [
        "USER: Что это?\n[an image]",
        'ASSISTANT: [calls look({"at": "я"})]',
        "TOOL: 猫",
        "USER: [the file отчёт.pdf]",
    ]
    assert said[4].startswith("ASSISTANT: очень длинно")
    assert said[4].endswith(" …")
    assert len(said[4]) < 70
