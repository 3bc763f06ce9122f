"""What counts as a mutant that was caught."""

import pytest

from tests.faults.torture.mutants import MUTANTS
from tests.faults.torture.mutation import Found, found_in

ENDED = "torture: 0 passed, 1 failed\n"


def verdict(told: str, name: str = "no-shield") -> str:
    """Of a run of the suite that printed this."""
    found: Found = found_in(told, name, MUTANTS[name].section if name else "races", 1.0)
    return found.verdict


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (f"  BROKEN: 2 x half turn\n{ENDED}", "caught"),
        ("torture: 1 passed, 0 failed\n", "SURVIVED"),
        # A machine that is short of time has such too.
        (f"  BROKEN: 3 calls failed\n{ENDED}", "SURVIVED"),
        ("  BROKEN: 2 x half turn\n", "NOT TRIED"),
        (f"  BROKEN: 1 x the section itself failed: RuntimeError\n{ENDED}", "NOT TRIED"),
    ],
)
def test_a_mutant_is_caught_by_a_promise_found_broken_and_by_nothing_else(
    told: str, word: str
) -> None:
    assert verdict(told) == word


def test_one_that_only_fails_calls_is_caught_by_these() -> None:
    assert verdict(f"  BROKEN: 93 calls failed\n{ENDED}", "never-taken-over") == "caught"


def test_the_service_as_it_is_must_be_clean() -> None:
    assert verdict("torture: 1 passed, 0 failed\n", "") == "clean"
    assert verdict(f"  BROKEN: 3 calls failed\n{ENDED}", "") == "NOT CLEAN"
