"""The domain's errors and THE status table."""

import pytest
from google.rpc import error_details_pb2

from turnkeep_server import errors
from turnkeep_server.errors import FieldViolation, InvalidRequest, TurnkeepError
from turnkeep_server.interceptors.errors import STATUS, status_of

# The closed list of the wire contract, as far as this version raises them.
CONTRACT = {
    "UNAUTHENTICATED": {"BAD_CREDENTIALS"},
    "PERMISSION_DENIED": {"NOT_PERMITTED"},
    "INVALID_ARGUMENT": {
        "INVALID_REQUEST",
        "UNKNOWN_PROMPT",
        "MISSING_VARIABLE",
        "MODEL_NOT_ALLOWED",
        "REQUEST_ID_REUSED",
        "MALFORMED_MESSAGE",
    },
    "ABORTED": {"SESSION_BUSY", "SEQUENCE_MISMATCH", "SESSION_CLEARED", "TURN_TAKEN_OVER"},
    "FAILED_PRECONDITION": {"CONTEXT_TOO_LARGE", "CONTENT_FILTERED", "SESSION_FULL"},
    "RESOURCE_EXHAUSTED": {"OVERLOADED", "MODEL_RATE_LIMITED", "MODEL_QUOTA_EXHAUSTED"},
    "UNAVAILABLE": {
        "HISTORY_UNAVAILABLE",
        "MODEL_UNAVAILABLE",
        "MODEL_STREAM_BROKEN",
        "SHUTTING_DOWN",
    },
    "DEADLINE_EXCEEDED": {"MODEL_TIMEOUT", "WAIT_TIMEOUT"},
}


def concrete(kind: type[TurnkeepError]) -> set[type[TurnkeepError]]:
    found = {each for sub in kind.__subclasses__() for each in concrete(sub)}
    return found | ({kind} if hasattr(kind, "reason") else set())


def test_every_error_has_a_status_and_a_reason_of_the_contract() -> None:
    assert concrete(TurnkeepError) == set(STATUS)
    table: dict[str, set[str]] = {}
    for kind, code in STATUS.items():
        table.setdefault(code.name, set()).add(kind.reason)
    assert table == CONTRACT


def test_every_error_says_when_it_happens_and_who_must_act() -> None:
    for kind in STATUS:
        assert len(kind.__doc__ or "") > 40, kind


def test_a_status_carries_reason_domain_and_metadata() -> None:
    busy = errors.SessionBusy("busy", running_request_id="r1")
    info = error_details_pb2.ErrorInfo()
    assert status_of(busy).details[0].Unpack(info)
    assert (info.reason, info.domain) == ("SESSION_BUSY", "turnkeep.v1")
    assert dict(info.metadata) == {"running_request_id": "r1"}


@pytest.mark.parametrize(
    "error", [errors.Overloaded("later"), errors.ModelRateLimited("later", retry_after_seconds=2.5)]
)
def test_what_to_wait_for_is_said_in_retry_info(error: TurnkeepError) -> None:
    retry = error_details_pb2.RetryInfo()
    assert status_of(error).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1000 * (error.retry_after_seconds or 0)


def test_an_exhausted_quota_has_no_retry_info() -> None:
    assert len(status_of(errors.ModelQuotaExhausted("no budget")).details) == 1


def test_a_status_stays_under_6_kib_however_much_is_wrong() -> None:
    many = [FieldViolation(f"messages[{n}].metadata", "плохо " * 20) for n in range(5_000)]
    assert status_of(InvalidRequest(many)).ByteSize() < 6 * 1024
    long = errors.UnknownPrompt("none", known_prompts="п" * 100_000)
    assert status_of(long).ByteSize() < 6 * 1024
