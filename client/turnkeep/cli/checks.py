"""The doctor's checks, in the order in which one depends on another."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from turnkeep import TurnkeepError, __version__
from turnkeep.channel import SERVICE
from turnkeep.cli import failures, verdicts
from turnkeep.cli.connection import Connection
from turnkeep.cli.probe import refused_because
from turnkeep.cli.verdicts import Check
from turnkeep.status_details import error_of
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub

REACH_SECONDS = 5.0
CALL_SECONDS = 5.0
_READY = grpc.ChannelConnectivity.READY
_REFUSED = grpc.ChannelConnectivity.TRANSIENT_FAILURE
_ASKS = ("turnkeep-about", "1")
_VERSION, _CLOCK = "turnkeep-version", "turnkeep-clock-ms"


class About(NamedTuple):
    """What one call told beside its answer. Times are seconds since 1970, by our clock."""

    error: TurnkeepError | None
    told: dict[str, Any]
    sent_at: float
    answered_at: float


def checked(connection: Connection) -> Iterator[Check]:
    """Each check as soon as it is done; the rest is skipped where the server is not reached."""
    channel_credentials = connection.credentials()
    channel = (
        grpc.secure_channel(connection.server, channel_credentials)
        if channel_credentials
        else grpc.insecure_channel(connection.server)
    )
    with closing(channel):
        reached = _reached(connection, channel)
        yield reached
        if reached.verdict != "ok":
            for name in ("tls", "health", "token", "history", "version", "clock"):
                yield Check(name, "skipped", "the server is not reached")
            return
        yield _tls(connection)
        yield _health(channel)
        about = _about(connection, channel)
        yield verdicts.token(about.error, given=connection.token is not None)
        yield verdicts.history(about.error)
        yield verdicts.version(__version__, about.told.get(_VERSION))
        yield verdicts.clock(about.told.get(_CLOCK), about.sent_at, about.answered_at)


def _reached(connection: Connection, channel: grpc.Channel) -> Check:
    began = time.perf_counter()
    if not _is_ready(channel, min(REACH_SECONDS, connection.call_seconds)):
        why, remedy = refused_because(connection.server, connection.tls, connection.certificate)
        return Check("reach", "failed", f"{connection.server}: {why}", remedy)
    ms = (time.perf_counter() - began) * 1000
    return Check("reach", "ok", f"{connection.server} answered in {ms:.0f} ms")


def _is_ready(channel: grpc.Channel, seconds: float) -> bool:
    """Whether the channel connects, at the first attempt and in time."""
    known, states = threading.Event(), []

    def follow(state: grpc.ChannelConnectivity) -> None:
        states.append(state)
        if state in {_READY, _REFUSED}:
            known.set()

    channel.subscribe(follow, try_to_connect=True)
    known.wait(seconds)
    return _READY in states


def _tls(connection: Connection) -> Check:
    if connection.tls:
        return Check("tls", "ok", "encrypted, with a certificate that is trusted")
    return Check("tls", "ok", "not encrypted, as asked")


def _health(channel: grpc.Channel) -> Check:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=CALL_SECONDS)
    except grpc.RpcError as failed:
        return Check("health", "failed", failures.line_of(error_of(failed, request_id="")))
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if name == "SERVING":
        return Check("health", "ok", name)
    return Check("health", "failed", name, "it drains, or its database is away: see its log")


def _about(connection: Connection, channel: grpc.Channel) -> About:
    """One plain call, which tells most of the rest."""
    token = connection.token
    authorization = (("authorization", f"Bearer {token}"),) if token else ()
    sent_at = time.time()
    call = ConversationServiceStub(channel).ListSessions.future(
        pb.ListSessionsRequest(page_size=1), timeout=CALL_SECONDS, metadata=(_ASKS, *authorization)
    )
    told = dict(call.initial_metadata())
    answered_at = time.time()
    error = call.exception()
    failed = error_of(error, request_id="") if isinstance(error, grpc.RpcError) else None
    return About(failed, told, sent_at, answered_at)
