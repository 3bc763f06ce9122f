"""Domain errors become statuses: THE table, and the one place that aborts, mid-stream too."""

import asyncio
import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message as ProtobufMessage
from google.rpc import error_details_pb2, status_pb2

from turnkeep_server import errors
from turnkeep_server.errors import BadCredentials, InvalidRequest, ShuttingDown, TurnkeepError
from turnkeep_server.interceptors.around import Call, CallerGone, CallInterceptor
from turnkeep_server.recording import blame

DOMAIN = "turnkeep.v1"
# gRPC loses trailers over 8 KB at random; base64 makes a third more of what is encoded here.
MAX_STATUS_BYTES = 5_500
_MAX_METADATA_CHARS = 512

STATUS: dict[type[TurnkeepError], grpc.StatusCode] = {
    errors.BadCredentials: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnknownPrompt: grpc.StatusCode.INVALID_ARGUMENT,
    errors.MissingVariable: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelNotAllowed: grpc.StatusCode.INVALID_ARGUMENT,
    errors.RequestIdReused: grpc.StatusCode.INVALID_ARGUMENT,
    errors.MalformedMessage: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelRefusedRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SessionBusy: grpc.StatusCode.ABORTED,
    errors.SequenceMismatch: grpc.StatusCode.ABORTED,
    errors.SessionCleared: grpc.StatusCode.ABORTED,
    errors.TurnTakenOver: grpc.StatusCode.ABORTED,
    errors.ContextTooLarge: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SessionFull: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ContentFiltered: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ModelRateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ModelQuotaExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.HistoryUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ModelUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ModelMisconfigured: grpc.StatusCode.UNAVAILABLE,
    errors.ModelStreamBroken: grpc.StatusCode.UNAVAILABLE,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.ModelTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.WaitTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class ErrorsInterceptor(CallInterceptor):
    """Makes a status of whatever a call of our own service raises."""

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        try:
            yield
            return
        except TurnkeepError as error:
            status = status_of(error)
            _tell_cause(error)
        except CallerGone:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside was cancelled, not the call: gRPC would tell the caller nothing.
            status = status_of(ShuttingDown("the call was cut off in the server; send it again"))
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001  # the last line: a bug still gets an answer
            status = _internal(error)
        reason = _reason(status)
        blame(reason)
        structlog.contextvars.bind_contextvars(reason=reason, problem=status.message)
        encoded = status.SerializeToString()
        await abort(
            call.context,
            _code(status.code),
            status.message,
            (("grpc-status-details-bin", encoded),),
        )


async def abort(
    context: grpc.aio.ServicerContext[Any, Any],
    code: grpc.StatusCode,
    message: str,
    trailers: tuple[tuple[str, bytes], ...],
) -> NoReturn:
    """Ends a call, and lets go of its request.

    gRPC keeps what `context.abort` raises in the call, and the traceback keeps the request's bytes:
    a cycle, so that refused requests, which may be large, would stay until the collector comes by.
    """
    try:
        await context.abort(code, message, trailers)
    except grpc.aio.AbortError as aborted:
        when_done: Any = partial(_let_go, aborted)  # the stubs know no callable here
        context.add_done_callback(when_done)
        raise


async def refuse(context: grpc.aio.ServicerContext[Any, Any], error: TurnkeepError) -> NoReturn:
    """Ends a call of a service that is not ours, with `error` in the same words."""
    encoded = status_of(error).SerializeToString()
    await abort(
        context, STATUS[type(error)], error.message, (("grpc-status-details-bin", encoded),)
    )


def _let_go(aborted: BaseException, _: object) -> None:
    aborted.__traceback__ = aborted.__context__ = None


def _tell_cause(error: TurnkeepError) -> None:
    """Adds to the call's log line what caused the error: its type, and a provider's HTTP status.

    For the operator, who has to tell a wrong key from a dead host; never the cause's own text.
    """
    if cause := error.__cause__:
        structlog.contextvars.bind_contextvars(
            cause=type(cause).__name__, provider_status=getattr(cause, "status_code", None)
        )
    if isinstance(error, BadCredentials):
        structlog.contextvars.bind_contextvars(refused_because=error.why)


def status_of(error: TurnkeepError) -> status_pb2.Status:
    """The status of a domain error, with its details; encoded it stays under 6 KiB."""
    status = status_pb2.Status(code=STATUS[type(error)].value[0], message=error.message)
    metadata = {name: value[:_MAX_METADATA_CHARS] for name, value in error.metadata.items()}
    _pack(
        status,
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata),
    )
    if error.retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        _pack(status, retry)
    if isinstance(error, InvalidRequest):
        _pack_violations(status, error)
    return status


def _pack_violations(status: status_pb2.Status, error: InvalidRequest) -> None:
    """As many of the bad fields as there is room for; a request may have thousands."""
    bad = error_details_pb2.BadRequest()
    room = MAX_STATUS_BYTES - status.ByteSize()
    for each in error.violations:
        bad.field_violations.add(field=each.field, description=each.description)
        if bad.ByteSize() > room:
            del bad.field_violations[-1]
            break
    _pack(status, bad)


def _internal(error: Exception) -> status_pb2.Status:
    """An id, here and in the log, is all that caller and operator need to find each other.

    The log gets the exception's type and where it arose, never its text: that may quote a message.
    """
    error_id = uuid.uuid4().hex
    frames = traceback.extract_tb(error.__traceback__)
    structlog.get_logger().error(
        "internal_error",
        error_id=error_id,
        error_type=type(error).__name__,
        stack=[f"{each.filename}:{each.lineno} {each.name}" for each in frames],
    )
    status = status_pb2.Status(
        code=grpc.StatusCode.INTERNAL.value[0],
        message=f"the server failed; its log tells more under error_id {error_id}",
    )
    _pack(
        status,
        error_details_pb2.ErrorInfo(
            reason="INTERNAL", domain=DOMAIN, metadata={"error_id": error_id}
        ),
    )
    return status


def _pack(status: status_pb2.Status, detail: ProtobufMessage) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


def _code(number: int) -> grpc.StatusCode:
    return _CODES[number]


_CODES = {each.value[0]: each for each in grpc.StatusCode}
