"""What goes wrong with a call: one class a gRPC status, with the reason that the service gave.

Every call of the client raises one of these and never gRPC's own `RpcError`. Which statuses and
reasons there are, and what to do about each: docs/errors.md.
"""

from collections.abc import Mapping
from types import MappingProxyType

import grpc

_NOTHING: Mapping[str, str] = MappingProxyType({})


class TurnkeepError(Exception):
    """A call that failed, whatever the reason. Catch it to catch them all."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        metadata: Mapping[str, str] = _NOTHING,
        bad_fields: Mapping[str, str] = _NOTHING,
        partial_text: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        """What went wrong, for people. It may change: branch on `reason`."""
        self.code = code
        """The gRPC status."""
        self.reason = reason
        """Such as SESSION_BUSY, out of the service's closed list; "" if the service made no answer
        (nobody listens, a proxy failed, the deadline passed here)."""
        self.request_id = request_id
        """The call's idempotency key, the same on every attempt; "" where a call has none. Give it
        to a later call to go on with the very same turn."""
        self.retry_after = retry_after
        """Seconds to wait before the call is worth sending again, as the service said; or None."""
        self.metadata = metadata
        """The error's figures, such as `current_sequence`."""
        self.bad_fields = bad_fields
        """Of an INVALID_REQUEST: each bad field's path, and what is wrong with it."""
        self.partial_text = partial_text
        """Of a stream: the text that had come before it broke."""

    @property
    def retryable(self) -> bool:
        """Whether the same call, under the same `request_id`, may succeed if it is sent again.

        The client has itself sent it again, within the call's time, where nobody had to decide.
        """
        return self.retry_after is not None

    def __reduce__(self) -> tuple[object, ...]:
        # Or copying it, and handing it on from another process, would fail for want of `code`.
        plain = {"metadata": dict(self.metadata), "bad_fields": dict(self.bad_fields)}
        return _bare, (type(self), self.message), {**vars(self), **plain}

    def __str__(self) -> str:
        about = f" (request_id {self.request_id})" if self.request_id else ""
        return f"{self.reason or self.code.name}: {self.message}{about}"


def _bare(cls: type[TurnkeepError], message: str) -> TurnkeepError:
    """An error without its attributes, which pickle and copy set."""
    return cls.__new__(cls, message)


class InvalidArgument(TurnkeepError):
    """The request is wrong, and stays wrong. The caller must mend it; `bad_fields` says where."""


class Aborted(TurnkeepError):
    """The session went another way: it is busy, has gone on or was cleared. The caller decides."""

    @property
    def retryable(self) -> bool:
        """True where another turn was in the way; not where the session is no longer as it was."""
        return self.reason in {"SESSION_BUSY", "TURN_TAKEN_OVER"}


class FailedPrecondition(TurnkeepError):
    """The turn cannot be run: the context is too large, or the provider's filter refused it."""


class ResourceExhausted(TurnkeepError):
    """Too much at once, or a quota is used up. Expected under load; wait for `retry_after`."""


class Unavailable(TurnkeepError):
    """Nobody could answer just now. Expected at times; the client tried until its time was up."""

    @property
    def retryable(self) -> bool:
        """Always: with the same request_id, nothing is done twice."""
        return True


class DeadlineExceeded(TurnkeepError):
    """Not done in time. The turn may still complete: the same request_id finds it."""

    @property
    def retryable(self) -> bool:
        """Always, with more time: with the same request_id, nothing is done twice."""
        return True


class Cancelled(TurnkeepError):
    """Somebody other than the caller hung up: a proxy, or a client that was closed meanwhile."""

    @property
    def retryable(self) -> bool:
        """Always: with the same request_id, nothing is done twice."""
        return True


class Unauthenticated(TurnkeepError):
    """The token is missing, wrong or out of date. The operator must act."""


class PermissionDenied(TurnkeepError):
    """The token is good and does not allow this call. The operator must act."""


class InternalError(TurnkeepError):
    """A defect of the service, or no sensible answer; `metadata` may hold the error's id."""


ERROR_CLASSES: Mapping[grpc.StatusCode, type[TurnkeepError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}
"""Which class a status becomes; one that is not here is an InternalError."""
