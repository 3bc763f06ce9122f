"""The estimate against true counts by two tokenizers (tests/data/tokens), and its correction."""

import json
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnkeep_server.commands import fingerprint
from turnkeep_server.tokens import REPLY_PRIMING_TOKENS, TokenEstimator, count, count_text
from turnkeep_server.turns import (
    FilePart,
    ImagePart,
    Message,
    Role,
    TextPart,
    TokenCounts,
    ToolCall,
)

DATA = Path(__file__).parents[1] / "data" / "tokens" / "texts.json"
SCRIPTS = ["latin", "cyrillic", "cjk", "arabic", "devanagari", "emoji", "code", "digits"]
VOCABULARIES = ["o200k", "cl100k"]
TEXTS_A_SCRIPT = 25
LEARNED_TEXTS = 5
LARGEST_ERROR = 0.1


def kept_texts() -> dict[str, list[dict[str, str | int]]]:
    by_script = defaultdict(list)
    for entry in json.loads(DATA.read_text()):
        by_script[entry["script"]].append(entry)
    return by_script


TEXTS = kept_texts()


def sizes(script: str, vocabulary: str) -> list[tuple[int, int]]:
    """(estimated, true) tokens of each of the script's texts."""
    return [
        (getattr(count_text(entry["text"]), vocabulary), entry[vocabulary])
        for entry in TEXTS[script]
    ]


def test_the_kept_texts_are_200_different_ones_in_eight_scripts() -> None:
    assert {script: len(texts) for script, texts in TEXTS.items()} == dict.fromkeys(
        SCRIPTS, TEXTS_A_SCRIPT
    )
    assert len({entry["text"] for texts in TEXTS.values() for entry in texts}) == 200


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_before_any_correction_no_text_is_under_by_more_than_a_tenth(
    script: str, vocabulary: str
) -> None:
    for estimated, true in sizes(script, vocabulary):
        assert estimated >= (1 - LARGEST_ERROR) * true


@pytest.mark.parametrize("choice", ["first", "last", "longest", "shortest", *range(20)])
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_after_five_corrected_turns_the_mean_error_is_a_tenth_at_most(
    script: str, vocabulary: str, choice: str | int
) -> None:
    texts = arranged(sizes(script, vocabulary), choice)
    estimator = TokenEstimator()
    for estimated, true in texts[:LEARNED_TEXTS]:
        estimator.learn("gpt-4o", estimated, true)
    ratio = estimator.ratio("gpt-4o")
    errors = [abs(estimated * ratio / true - 1) for estimated, true in texts[LEARNED_TEXTS:]]
    assert fmean(errors) <= LARGEST_ERROR


def arranged(texts: list[tuple[int, int]], choice: str | int) -> list[tuple[int, int]]:
    """The texts with those to learn from in front; a number is a choice at random."""
    match choice:
        case "first":
            return texts
        case "last":
            return texts[::-1]
        case "shortest" | "longest":
            return sorted(texts, key=lambda sizes: sizes[1], reverse=choice == "longest")
    return random.Random(choice).sample(texts, len(texts))


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        # True counts, made as those of tests/data/tokens are.
        ("Καλημέρα, τι κάνεις σήμερα;", 10, 25),
        ("שלום, מה שלומך היום?", 8, 18),
        ("สวัสดีครับ วันนี้อากาศเป็นอย่างไร", 12, 31),
        ("হ্যালো, আপনি আজ কেমন আছেন?", 11, 32),
        ("வணக்கம், இன்று எப்படி இருக்கிறீர்கள்?", 11, 49),
        ("გამარჯობა, როგორ ხარ დღეს?", 8, 47),
        ("Բարև, ինչպե՞ս ես այսօր", 11, 40),
        ("xqzjvkwpfhbtgmdlcnrsyaeuio" * 4, 61, 61),
        ("ha" * 50, 26, 49),
        ("ﷺ𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ᚠᚢᚦᚨᚱᚲ", 42, 42),
    ],
)
def test_what_is_of_none_of_the_eight_scripts_is_not_under_either(
    text: str, o200k: int, cl100k: int
) -> None:
    counted = count_text(text)
    assert counted.o200k >= (1 - LARGEST_ERROR) * o200k
    assert counted.cl100k >= (1 - LARGEST_ERROR) * cl100k


def test_a_message_is_its_text_its_role_and_the_three_tokens_around_it() -> None:
    assert count(Message(Role.USER, "")) == TokenCounts(o200k=4, cl100k=4)
    assert count(Message(Role.USER, "да")) == count_text("да") + TokenCounts(4, 4)
    assert REPLY_PRIMING_TOKENS == 3


def test_a_name_costs_itself_and_one_more() -> None:
    message = Message(Role.USER, "да")
    named = replace(message, name="Анна")
    assert count(named) == count(message) + count_text("Анна") + TokenCounts(1, 1)


def test_a_tool_call_costs_what_is_said_in_it() -> None:
    message = Message(Role.ASSISTANT, "½")
    call = ToolCall("call_1", "sin", '{"угол": 30}')
    texts = count_text("call_1") + count_text("sin") + count_text('{"угол": 30}')
    assert count(replace(message, tool_calls=(call,))) == count(message) + texts + TokenCounts(3, 3)
    assert count(replace(message, tool_calls=(call, call))).o200k > count(message).o200k + 20
    result = Message(Role.TOOL, "½", tool_call_id="call_1")
    assert count(result) == count(message) + count_text("call_1")


def test_parts_stand_in_the_place_of_the_text() -> None:
    url = "https://example.com/кот.png"
    message = Message(Role.USER, parts=(TextPart("Кто это?"), ImagePart(url), TextPart("🐈")))
    text = count_text("Кто это?") + count_text("🐈")
    assert count(message) == text + TokenCounts(4, 4, images=1, tiles=8)


def test_a_text_file_is_counted_as_its_text_and_by_its_name() -> None:
    expected = count_text("план.txt") + count_text("первый, второй") + TokenCounts(4, 4)
    for media_type in ("text/plain", "text/csv; charset=utf-8", "application/json"):
        file = FilePart("план.txt", media_type, "первый, второй".encode())
        assert count(Message(Role.USER, parts=(file,))) == expected


def test_a_file_of_a_type_unknown_is_counted_by_its_bytes() -> None:
    file = FilePart("", "application/zip", b"\0" * 4_001)
    assert count(Message(Role.USER, parts=(file,))) == TokenCounts(1_005, 1_005)


def test_a_pdf_costs_an_image_and_a_text_a_page() -> None:
    file = FilePart("", "application/pdf", b"<< /Type /Page >> << /Type/Page >> << /Type /Pages >>")
    counted = count(Message(Role.USER, parts=(file,)))
    assert counted == TokenCounts(1_404, 1_404, images=2, tiles=8)


def test_a_long_text_is_estimated_from_a_part_of_it() -> None:
    """Words of every script, each of them new, so that none is counted twice."""
    chance = random.Random(1)
    words = [word for texts in TEXTS.values() for entry in texts for word in entry["text"].split()]
    made = [" ".join(chance.sample(words, 2)).replace(" ", "") for _ in range(8_000)]
    parts = [" ".join(made[start : start + 20]) for start in range(0, len(made), 20)]
    of_parts = sum(map(count_text, parts), TokenCounts())
    whole = count_text(" ".join(made))
    assert whole.o200k == pytest.approx(of_parts.o200k, rel=0.05)
    assert whole.cl100k == pytest.approx(of_parts.cl100k, rel=0.05)


any_text = st.text() | st.text(st.characters(categories=["Cs"]))


@given(any_text)
def test_any_text_has_a_count(text: str) -> None:
    counted = count_text(text)
    assert bool(text) == (counted.o200k > 0) == (counted.cl100k > 0)
    # No token is shorter than a byte; a quarter more, and a little, is the estimate's own.
    assert counted.o200k <= 1.3 * len(text.encode(errors="surrogatepass")) + 1


@given(any_text, any_text)
def test_two_texts_in_one_cost_about_what_they_cost_apart(first: str, second: str) -> None:
    """Where they meet, one run may come of two, and signs may find each other."""
    together, apart = count_text(f"{first}\n{second}"), count_text(first) + count_text(second)
    assert together.o200k <= apart.o200k + 4
    assert together.cl100k <= apart.cl100k + 4


@given(any_text)
def test_counting_a_message_changes_neither_what_it_equals_nor_its_fingerprint(text: str) -> None:
    message = Message(Role.USER, text)
    counted = replace(message, tokens=count(message))
    assert counted == message
    assert fingerprint("chat", counted) == fingerprint("chat", message)


counts = st.builds(TokenCounts, *[st.integers(0, 10**9)] * 4)


@given(st.lists(counts, min_size=1))
def test_sizes_add_up_field_by_field(some: list[TokenCounts]) -> None:
    total = sum(some[1:], some[0])
    for name in ("o200k", "cl100k", "images", "tiles"):
        assert getattr(total, name) == sum(getattr(each, name) for each in some)


def test_a_model_that_has_not_reported_is_taken_at_the_estimate() -> None:
    assert TokenEstimator().ratio("gpt-4o") == 1


def test_the_first_report_counts_fully() -> None:
    estimator = TokenEstimator()
    estimator.learn("gpt-4o", 100, 80)
    assert estimator.ratio("gpt-4o") == 0.8
    assert estimator.ratio("another") == 1


def test_a_seed_holds_until_reports_outweigh_it() -> None:
    estimator = TokenEstimator({"llama": 1.5})
    assert estimator.ratio("llama") == 1.5
    estimator.learn("llama", 1_000, 1_000)
    assert 1.2 < estimator.ratio("llama") < 1.3
    for _ in range(9):
        estimator.learn("llama", 1_000, 1_000)
    assert estimator.ratio("llama") < 1.05


def test_newer_reports_weigh_more() -> None:
    estimator = TokenEstimator()
    for reported in [100] * 20 + [150] * 20:
        estimator.learn("gpt-4o", 100, reported)
    assert 1.4 < estimator.ratio("gpt-4o") < 1.5


@pytest.mark.parametrize(("estimated", "reported"), [(0, 9), (9, 0), (-9, 9), (9, -9), (0, 0)])
def test_a_report_that_says_nothing_is_ignored(estimated: int, reported: int) -> None:
    estimator = TokenEstimator({"gpt-4o": 1.1})
    estimator.learn("gpt-4o", estimated, reported)
    assert estimator.ratio("gpt-4o") == 1.1


reports = st.lists(st.tuples(st.integers(-5, 2**63), st.integers(-5, 2**63)), max_size=30)


@given(reports, st.floats(0, 1e6))
def test_no_report_and_no_seed_leads_out_of_the_bounds(
    some: list[tuple[int, int]], seed: float
) -> None:
    estimator = TokenEstimator({"gpt-4o": seed})
    assert 0.2 <= estimator.ratio("gpt-4o") <= 5
    for estimated, reported in some:
        estimator.learn("gpt-4o", estimated, reported)
        assert 0.2 <= estimator.ratio("gpt-4o") <= 5


def test_one_report_of_nonsense_is_soon_forgotten() -> None:
    estimator = TokenEstimator()
    estimator.learn("gpt-4o", 100, 2**63)
    assert estimator.ratio("gpt-4o") == 5
    for _ in range(30):
        estimator.learn("gpt-4o", 100, 100)
    assert estimator.ratio("gpt-4o") < 1.05
