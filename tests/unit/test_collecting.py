"""The garbage collector passes over what stays."""

import gc

from turnkeep_server.collecting import spare_what_stays


def test_what_is_there_is_passed_over_and_what_is_new_is_still_collected() -> None:
    before = gc.get_threshold()
    try:
        spare_what_stays()
        assert gc.get_freeze_count() > 1_000
        assert gc.get_threshold()[0] > before[0]
        _leave_cycles(10)
        assert gc.collect() >= 10
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def _leave_cycles(count: int) -> None:
    for _ in range(count):
        cycle: list[object] = []
        cycle.append(cycle)
