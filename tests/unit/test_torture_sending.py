"""What the torture suite's callers know of a call, by its attempts."""

from dataclasses import replace

import pytest

from tests.faults.torture.calls import Attempt, Call, Op, Verdict
from tests.faults.torture.retry_storm import one_of
from tests.faults.torture.sending import failed, verdict


def attempts(*answers: str) -> tuple[Attempt, ...]:
    """One after the other; an answer is a status, or a status and a reason."""
    made = []
    for number, answer in enumerate(answers):
        status, _, reason = answer.partition(" ")
        made.append(Attempt(10 * number, 10 * number + 5, status, reason))
    return tuple(made)


def call(*answers: str) -> Call:
    """Made by these attempts."""
    made = attempts(*answers)
    return Call(1, Op.CHAT, "s", 0, made[-1].ended, verdict(made), "r", ("a",), made)


BUSY, CLEARED = "ABORTED SESSION_BUSY", "ABORTED SESSION_CLEARED"


@pytest.mark.parametrize(
    ("answers", "known"),
    [
        (["OK"], Verdict.OK),
        (["UNAVAILABLE", "OK"], Verdict.OK),
        ([BUSY], Verdict.REFUSED),
        ([CLEARED], Verdict.REFUSED),
        (["INVALID_ARGUMENT INVALID_REQUEST"], Verdict.REFUSED),
        (["RESOURCE_EXHAUSTED OVERLOADED", BUSY], Verdict.REFUSED),
        # The attempt before may have been stored.
        (["UNAVAILABLE", BUSY], Verdict.UNSURE),
        (["DEADLINE_EXCEEDED", CLEARED], Verdict.UNSURE),
        (["UNAVAILABLE HISTORY_UNAVAILABLE"], Verdict.UNSURE),
        (["CANCELLED"], Verdict.UNSURE),
        (["INTERNAL INTERNAL"], Verdict.UNSURE),
    ],
)
def test_a_refusal_is_certain_only_where_no_attempt_before_may_have_been_stored(
    answers: list[str], known: Verdict
) -> None:
    assert call(*answers).verdict is known


def test_a_call_has_failed_when_its_caller_neither_left_nor_was_refused() -> None:
    assert failed(call("UNAVAILABLE"))
    assert failed(call("UNAVAILABLE", "INTERNAL INTERNAL"))
    assert not failed(call("CANCELLED"))
    assert failed(call("CANCELLED", "CANCELLED"))
    assert not failed(call("UNAVAILABLE", BUSY))
    assert not failed(call("UNAVAILABLE", "OK"))


def test_the_calls_of_one_request_are_one_call_that_ended_with_its_first_answer() -> None:
    slow = replace(call("UNAVAILABLE", "OK"), sequence=1)
    quick = replace(call("OK"), started=2, ended=4, sequence=1)
    lost = replace(call("UNAVAILABLE"), ended=1)
    one = one_of([slow, quick, lost])
    assert (one.started, one.ended, one.verdict) == (0, 4, Verdict.OK)
    assert len(one.attempts) == 4
