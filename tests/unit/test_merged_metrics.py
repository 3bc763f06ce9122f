"""Several workers' figures as one: sums, and a few that are no sums; and nothing ever falls."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnkeep_server.telemetry.merged import Snapshot, merged
from turnkeep_server.telemetry.workers import Place


def figures(calls: float, *, up: float = 1, running: float = 0) -> Snapshot:
    """A worker's."""
    return [
        (
            "turnkeep_calls",
            "counter",
            "",
            [("turnkeep_calls_total", {"method": "Chat"}, calls)],
        ),
        ("turnkeep_history_up", "gauge", "", [("turnkeep_history_up", {}, up)]),
        ("turnkeep_draining", "gauge", "", [("turnkeep_draining", {}, 1 - up)]),
        ("turnkeep_calls_running", "gauge", "", [("turnkeep_calls_running", {}, running)]),
    ]


def values(snapshot: Snapshot) -> dict[str, float]:
    """Sample → value."""
    return {name: value for *_, samples in snapshot for name, _, value in samples}


def test_counters_and_gauges_are_summed_and_states_are_not() -> None:
    """Up if all are, draining if one is."""
    assert values(merged([figures(3, running=1), figures(4, up=0, running=2)])) == {
        "turnkeep_calls_total": 7,
        "turnkeep_history_up": 0,
        "turnkeep_draining": 1,
        "turnkeep_calls_running": 3,
    }


def test_samples_that_one_has_and_another_has_not_are_kept() -> None:
    """Other labels are another series."""
    other: Snapshot = [
        ("turnkeep_calls", "counter", "", [("turnkeep_calls_total", {"method": "X"}, 1.0)])
    ]
    ((_, _, _, samples),) = merged([other, [figures(2)[0]]])
    assert samples == [
        ("turnkeep_calls_total", {"method": "X"}, 1.0),
        ("turnkeep_calls_total", {"method": "Chat"}, 2),
    ]


class Worker:
    """A worker's place, as a test tells it: figures of a process, or what keeps them away."""

    def __init__(self) -> None:
        self.answer: tuple[int, Any] | Exception = ConnectionError()

    async def figures(self) -> tuple[int, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def asked(place: Place) -> dict[str, float]:
    """What the place tells now."""
    return values(asyncio.run(place.figures()))


def test_what_a_worker_counted_that_has_ended_is_kept() -> None:
    """And what it was is not: nothing runs there any more, until its heir answers."""
    worker = Worker()
    place = Place(worker)
    assert asked(place) == {}
    worker.answer = (1, figures(5, running=2))
    assert asked(place)["turnkeep_calls_total"] == 5
    worker.answer = ConnectionError()
    assert asked(place) == {"turnkeep_calls_total": 5}
    assert asked(place) == {"turnkeep_calls_total": 5}
    worker.answer = (2, figures(1, running=1))
    assert asked(place)["turnkeep_calls_total"] == 6
    assert asked(place)["turnkeep_calls_running"] == 1
    worker.answer = (3, figures(2))
    assert asked(place)["turnkeep_calls_total"] == 8


def test_a_worker_that_does_not_answer_is_told_as_it_was() -> None:
    """It may only be busy."""
    worker = Worker()
    place = Place(worker)
    worker.answer = (1, figures(5, running=2))
    before = asked(place)
    worker.answer = TimeoutError()
    assert asked(place) == before


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=30))
def test_a_counter_never_falls(events: list[int | None]) -> None:
    """Whatever becomes of the processes: a number is so many calls more, None another process."""
    worker, pid, calls = Worker(), 1, 0
    place = Place(worker)
    last = 0.0
    for each in events:
        pid, calls = (pid + 1, 0) if each is None else (pid, calls + each)
        worker.answer = ConnectionError() if each is None else (pid, figures(calls))
        now = asked(place).get("turnkeep_calls_total", 0.0)
        assert now >= last
        last = now
    made = sum(each for each in events if each is not None)
    assert last == pytest.approx(made)
