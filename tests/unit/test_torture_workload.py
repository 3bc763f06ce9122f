"""What the torture suite's callers tell of a call that ended as none may."""

from tests.faults.torture.calls import Attempt, Call, History, Op, Verdict
from tests.faults.torture.workload import forbidden


def call(*attempts: Attempt) -> Call:
    """A stream that was tried so."""
    return Call(1, Op.STREAM, "s", 0, 9, Verdict.UNSURE, "r1", ("a",), attempts)


def test_a_status_that_must_not_be_is_told_with_all_attempts_of_its_call() -> None:
    good = call(Attempt(0, 1, "UNAVAILABLE"), Attempt(2, 3, "OK"))
    bad = call(Attempt(0, 1, "UNAVAILABLE", "", 1), Attempt(2, 3, "UNKNOWN", "NO_END"))
    assert list(forbidden(History([good, bad]))) == [
        "stream r1 in session s: UNAVAILABLE@1, UNKNOWN NO_END@0"
    ]
