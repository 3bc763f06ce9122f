"""The torture suite's report: what it keeps, what it compares, and what counts as a problem."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.report import kept, written


def outcome(**fields: object) -> Outcome:
    """Of the section "kills"."""
    return Outcome("kills", **fields)  # type: ignore[arg-type]


def test_a_run_is_kept_as_json_with_its_counts(tmp_path: Path) -> None:
    found = outcome(calls=7, violations=Counter({"half turn": 2}), statuses=Counter({"OK": 9}))
    written([found], tmp_path, full=True, seed=3, service="turnkeep")
    kept = json.loads((tmp_path / "torture-turnkeep.json").read_text())
    assert (kept["service"], kept["size"], kept["seed"]) == ("turnkeep", "full", 3)
    assert kept["totals"]["violations"] == {"half turn": 2}
    assert kept["sections"][0]["statuses"] == {"OK": 9}
    assert "2 x half turn" in (tmp_path / "torture-turnkeep.md").read_text()
    assert not (tmp_path / "torture.md").exists()


def test_the_page_says_what_a_section_does_and_its_figures_with_their_bounds(
    tmp_path: Path,
) -> None:
    figures = {"reads": Figure(123_456.0, ""), "pause": Figure(1.23456, "s", at_most=3)}
    found = [outcome(figures=figures)]
    written(found, tmp_path, full=False, seed=3, service="turnkeep", jobs=2, only=["kills"])
    page = (tmp_path / "torture-turnkeep.md").read_text()
    assert "- **kills**: kill -9 of the service" in page
    assert "| kills: reads | 123456  |  |" in page
    assert "| kills: pause | 1.235 s | at most 3 |" in page
    assert "--quick --seed 3 --service turnkeep --jobs 2 --only kills --report" in page


def test_a_section_runs_again_and_the_report_keeps_the_others(tmp_path: Path) -> None:
    first = outcome(calls=7, faults=Counter(a=2), figures={"pause": Figure(1.5, "s", at_most=3)})
    other = Outcome("races", calls=5, statuses=Counter(OK=5))
    written([first, other], tmp_path, full=True, seed=1, service="turnkeep")
    assert kept(tmp_path, full=True, service="turnkeep", again=["races"]) == [first]
    assert kept(tmp_path, full=True, service="stock-aio", again=["races"]) == []
    both = [first, other]
    written(both, tmp_path, full=True, seed=1, service="turnkeep", again=["races"])
    written(both, tmp_path, full=True, seed=1, service="turnkeep", again=["kills"])
    page = (tmp_path / "torture-turnkeep.md").read_text()
    assert "Run again by itself afterwards: kills, races." in page
    with pytest.raises(ValueError, match="of a full run"):
        kept(tmp_path, full=False, service="turnkeep", again=[])


def test_two_services_stand_side_by_side_with_turnkeep_first(tmp_path: Path) -> None:
    broken = Counter({"half turn": 38, "turn stored twice": 3})
    stock = outcome(calls=415, faults=Counter({"kills": 4}), violations=broken)
    written([stock], tmp_path, full=True, seed=1, service="stock-aio")
    ours = outcome(calls=900, faults=Counter({"kills": 9}))
    written([ours], tmp_path, full=True, seed=1, service="turnkeep")
    page = (tmp_path / "torture.md").read_text()
    assert "|  | turnkeep | stock-aio |\n|---|---|---|\n" in page
    assert "| kills | 9 | 4 |" in page
    assert "| **broken promises** | 0 | 41 |" in page
    assert "| half turn | 0 | 38 |" in page
    assert "| kills | 0 of 900 | 41 of 415 |" in page


def test_problems_are_broken_promises_forbidden_statuses_failed_calls_and_bounds() -> None:
    assert outcome(statuses=Counter({"OK": 5, "UNAVAILABLE": 3})).problems == []
    found = outcome(
        violations=Counter({"half turn": 1}),
        statuses=Counter({"UNKNOWN": 2}),
        failed_calls=3,
        figures={"pause": Figure(9, "s", at_most=5), "rate": Figure(9, "a second", at_least=5)},
    )
    assert found.problems == [
        "1 x half turn",
        "2 x status UNKNOWN",
        "3 calls failed",
        "pause: 9 s, but at most 5",
    ]
