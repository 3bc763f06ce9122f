"""Page tokens name a place, for one listing only."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnkeep_server.errors import InvalidRequest
from turnkeep_server.paging import page_token, position_in


@given(
    st.integers(0, 2**40), st.integers(0, 2**40), st.text(st.characters(exclude_categories=["Cs"]))
)
def test_a_token_gives_back_the_position_it_was_made_of(a: int, b: int, listing: str) -> None:
    assert position_in(page_token((a, b), listing), (int, int), listing) == [a, b]


def test_an_empty_token_is_the_first_page() -> None:
    assert position_in("", (int, int), "x") is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "----",
        "🙃",
        page_token(("1", 2), "x"),
        page_token((1,), "x"),
        "bnVsbA",
        "e30",
        page_token((2**70, 0), "x"),
        page_token((-1, 0), "x"),
        "W1tb" * 200,
        "W1tb" * 20_000,
    ],
)
def test_what_is_no_token_is_refused_by_its_field(token: str) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        position_in(token, (int, int), "x")


def test_a_token_of_another_listing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="another listing"):
        position_in(page_token((1, 2), "x"), (int, int), "y")


@given(st.text())
def test_no_text_at_all_breaks_the_decoder(token: str) -> None:
    with suppress(InvalidRequest):
        assert position_in(token, (int, int), "x") is None
