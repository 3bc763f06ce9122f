"""Domain errors: what can go wrong with a request, in words that are safe to send to its caller.

Each class has a `reason` out of the closed list of the wire contract. Its text never holds a
foreign exception's text, a key, a URI or a message's text; the cause is kept as `__cause__`. Which
gRPC status a class becomes is decided in one table, in `interceptors/errors.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class TurnkeepError(Exception):
    """Any failure that is told to the caller."""

    reason: ClassVar[str]
    retry_after_seconds: float | None = None
    tenant: str = ""
    """Whose limit was met; for the log, and never sent."""

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


# --- The caller is not let in -----------------------------------------------------------------


class BadCredentials(TurnkeepError):
    """The call carries no credential that is good here. The caller must get one, or a new one.

    Says no more than the caller knows already; `why`, a fixed phrase, is for the log alone.
    """

    reason = "BAD_CREDENTIALS"

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class NotPermitted(TurnkeepError):
    """The credential is good, but not for this. The operator may give another role.

    The same whether what was asked for exists or not: it is raised before anything is looked up.
    """

    reason = "NOT_PERMITTED"


# --- The caller must change the request -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field of a request: its path, and what to do about it."""

    field: str
    description: str


class InvalidRequest(TurnkeepError):
    """A request breaks the contract. Expected; the caller must mend every field named."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        named = "; ".join(f"{each.field}: {each.description}" for each in violations[:5])
        super().__init__(f"the request is invalid: {named}")
        self.violations = tuple(violations)


class MalformedMessage(TurnkeepError):
    """The request's bytes are no protobuf message. The caller's stub or proxy is at fault."""

    reason = "MALFORMED_MESSAGE"


class UnknownPrompt(TurnkeepError):
    """The request names a prompt that is not configured. The caller must pick one that is."""

    reason = "UNKNOWN_PROMPT"


class MissingVariable(TurnkeepError):
    """The prompt needs a variable that the request does not give. The caller must add it."""

    reason = "MISSING_VARIABLE"


class ModelNotAllowed(TurnkeepError):
    """The request names a model that the server does not allow. The caller must pick another."""

    reason = "MODEL_NOT_ALLOWED"


class RequestIdReused(TurnkeepError):
    """A request_id came back with another content. The caller has a bug: one id, one request."""

    reason = "REQUEST_ID_REUSED"


# --- The session did not stand still ----------------------------------------------------------


class SessionBusy(TurnkeepError):
    """Another turn is running and the caller chose REJECT. Expected; try again later."""

    reason = "SESSION_BUSY"


class SequenceMismatch(TurnkeepError):
    """The session went on since the caller looked. Expected; read it again and decide anew."""

    reason = "SEQUENCE_MISMATCH"


class SessionCleared(TurnkeepError):
    """The session was cleared while the turn ran; nothing of it was kept. Expected."""

    reason = "SESSION_CLEARED"


class TurnTakenOver(TurnkeepError):
    """The turn's lease ran out and another server ended it. The operator should look why."""

    reason = "TURN_TAKEN_OVER"


class WaitTimeout(TurnkeepError):
    """The deadline came while the call waited for another turn, or its caller kept it waiting."""

    reason = "WAIT_TIMEOUT"


# --- The model ---------------------------------------------------------------------------------


class ModelError(TurnkeepError):
    """The model gave no usable reply; the turn is stored as FAILED.

    `retryable`: whether asking again, as it is, may help.
    """

    retryable: ClassVar[bool] = False


class ModelTimeout(ModelError):
    """The deadline came before the reply was whole. The caller may allow more time."""

    reason = "MODEL_TIMEOUT"


class ModelUnavailable(ModelError):
    """The provider could not be reached, failed, refused the key, or answered with rubbish."""

    reason = "MODEL_UNAVAILABLE"
    retryable = True


class ModelMisconfigured(ModelError):
    """The provider refuses the key or does not know the model. The operator must act.

    To the caller it is MODEL_UNAVAILABLE like the rest; asking again at once would not help.
    """

    reason = "MODEL_UNAVAILABLE"


class ModelStreamBroken(ModelError):
    """The reply's stream ended without its end, or with an error. Safe to send again."""

    reason = "MODEL_STREAM_BROKEN"
    retryable = True


class ModelRateLimited(ModelError):
    """The provider asks to slow down. Expected under load; wait `retry_after_seconds`."""

    reason = "MODEL_RATE_LIMITED"
    retryable = True

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ModelQuotaExhausted(ModelError):
    """The provider's account has no budget left. The operator must act; retries do not help."""

    reason = "MODEL_QUOTA_EXHAUSTED"


class ModelRefusedRequest(ModelError):
    """The provider refuses the request as it is: options or messages it does not take."""

    reason = "INVALID_REQUEST"


class ContextTooLarge(ModelError):
    """The prompt is longer than the model can read. The caller must send less."""

    reason = "CONTEXT_TOO_LARGE"


class SessionFull(TurnkeepError):
    """The session has as many messages as one may have. The caller must begin a new one."""

    reason = "SESSION_FULL"


class ContentFiltered(ModelError):
    """The provider's filter left no reply. The caller must ask otherwise."""

    reason = "CONTENT_FILTERED"


# --- The server --------------------------------------------------------------------------------


class HistoryUnavailable(TurnkeepError):
    """The history's store did not answer in time. Safe to send again; the operator should look."""

    reason = "HISTORY_UNAVAILABLE"


class Overloaded(TurnkeepError):
    """More calls than the server takes at once, or than a limit of the tenant's allows.

    Expected at peaks; wait `retry_after_seconds` and send again. The metadata's `limit` says which.
    """

    reason = "OVERLOADED"
    retry_after_seconds = 1.0


class ShuttingDown(TurnkeepError):
    """The server is draining. Expected at deployments; another server takes the call."""

    reason = "SHUTTING_DOWN"


class SettingsError(ValueError):
    """The settings are wrong; the operator must mend them. Never sent to a caller."""


class StartupError(Exception):
    """The server cannot start, though its settings are well formed. The operator must act."""
