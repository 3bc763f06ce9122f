"""The benchmark of fairness, small: a flood is refused and its neighbour is not."""

from dataclasses import replace

import pytest

from benchmarks.fairness import Plan, Seen, measured, ratio, report

SMALL = Plan(limit=20.0, turns=8, normal=4.0, model_seconds=0.05, slice_seconds=2.0, rounds=1)


@pytest.mark.parametrize("flood", list(Plan().floods))
async def test_a_flood_is_held_to_its_limit_and_the_neighbour_is_served(
    flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.fairness._WARM_UP_SECONDS", 0.5)
    monkeypatch.setattr("benchmarks.fairness._FLOOD_AHEAD_SECONDS", 1.0)
    ((alone, beside),) = (await measured(SMALL, [flood])).values()
    for seen in (alone, beside):
        assert seen.failed == 0
        assert seen.answer_ms
    (offered,), (answered,) = beside.flood_offered, beside.flood_answered
    assert answered < 2 * SMALL.limit < offered / 2


def test_what_counts_is_the_ratio_of_the_99th_percentiles() -> None:
    alone = Seen(answer_ms=[100.0] * 99 + [200.0])
    beside = replace(alone, answer_ms=[100.0] * 98 + [260.0] * 2)
    assert ratio(alone, beside) == pytest.approx(1.3)
    assert "p99 200 -> 260 ms, ratio 1.30" in report(Plan(), {"rate": (alone, beside)})[1]
