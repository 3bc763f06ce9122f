"""What a failed call says: its status, and the google.rpc details in its trailing metadata."""

from collections.abc import Awaitable
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2, status_pb2

from tests.kit import canary

DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class CallError:
    """An error as its caller sees it. `reason` is "" for one that Turnkeep did not make."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    bad_fields: dict[str, str] = field(default_factory=dict)
    """BadRequest: each bad field's path and what is wrong with it."""
    encoded: bytes = b""
    """The whole google.rpc.Status, as it came over the wire."""

    @property
    def what(self) -> tuple[grpc.StatusCode, str]:
        """Status code and reason, which is what a caller branches on."""
        return self.code, self.reason


def call_error(error: grpc.aio.AioRpcError) -> CallError:
    """The parts of an error that a call raised. Raises SecretLeaked if a secret is in it."""
    canary.check("a status", f"{error.details()} {error.trailing_metadata()}")
    trailers = {key: value for key, value in error.trailing_metadata() or ()}  # noqa: C416
    encoded = trailers.get(DETAILS_KEY, b"")
    assert isinstance(encoded, bytes)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    bad = error_details_pb2.BadRequest()
    retries = False
    for detail in status_pb2.Status.FromString(encoded).details:
        detail.Unpack(info)
        detail.Unpack(bad)
        retries |= detail.Unpack(retry)
    return CallError(
        code=error.code(),
        message=error.details() or "",
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        retry_after_seconds=retry.retry_delay.ToNanoseconds() / 1e9 if retries else None,
        bad_fields={each.field: each.description for each in bad.field_violations},
        encoded=encoded,
    )


async def error_of(call: Awaitable[object]) -> CallError:
    """The error that a call ends with; AssertionError if it succeeds."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return call_error(error)
    raise AssertionError(f"the call succeeded: {answer!s:.300}")
