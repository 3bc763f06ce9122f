"""The time a call has left."""

import pytest

from turnkeep_server.deadlines import Deadline


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [
        (None, 60.0),  # the caller set none: the default
        (10.0, 9.0),  # a tenth is kept back for the answer
        (100.0, 99.0),  # but never over a second
        (10_000.0, 300.0),  # the cap
        (0.0, 0.0),
        (-5.0, 0.0),
    ],
)
async def test_the_work_ends_before_the_caller_s_patience(
    remaining: float | None, expected: float
) -> None:
    deadline = Deadline.of_call(remaining, default_seconds=60, cap_seconds=300)
    assert deadline.remaining() == pytest.approx(expected, abs=0.1)
    assert deadline.passed() == (expected == 0.0)


async def test_the_default_is_capped_too() -> None:
    deadline = Deadline.of_call(None, default_seconds=60, cap_seconds=5)
    assert deadline.remaining() <= 5
