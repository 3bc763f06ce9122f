"""Random bodies over the wire: every RPC, raw bytes and wild metadata, a real server behind it."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.protobuf.message import DecodeError, Message

from tests.fuzz import values
from tests.fuzz.seeds import forged_token
from tests.fuzz.wild import Wild
from tests.kit.canary import MARK, SecretLeaked
from tests.kit.status import call_error
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.interceptors.errors import DOMAIN, STATUS

SERVICE = pb.DESCRIPTOR.services_by_name["ConversationService"]
_HANGS_SECONDS = 60.0
REASONS = {each.reason for each in STATUS}
_MOST_STATUS_BYTES = 6 * 1024
_FORBIDDEN = {"UNKNOWN", "INTERNAL"}
_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    # A preview may be of a whole history; what is looked at here is the server.
    ("grpc.max_receive_message_length", -1),
]
_METADATA_SHARE = 0.1
_FORGED_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes for a method, whatever they are."""

    method: str
    body: bytes
    metadata: tuple[tuple[str, str | bytes], ...] = ()

    @property
    def kept(self) -> bytes:
        """As the corpus has it; metadata are not kept."""
        return self.method.encode() + b"\n" + self.body

    @classmethod
    def of_kept(cls, data: bytes) -> "Request":
        """What `kept` made bytes of."""
        method, _, body = data.partition(b"\n")
        return cls(method.decode(), body)


@dataclass(slots=True)
class Answers:
    """What came of all requests: how many, with which statuses, and what must not be."""

    calls: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    by_method: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[str, Request]] = field(default_factory=list)
    largest_status_bytes: int = 0


def requests_of(count: int, seed: int) -> Iterator[Request]:
    """So many requests. Each is made of its number and the seed alone."""
    for number in range(count):
        source = random.Random(f"wire {seed} {number}")
        method = source.choice(SERVICE.methods)
        kind: type[Message] = getattr(pb, method.input_type.name)
        body = Wild(source).body(kind)
        if "page_token" in method.input_type.fields_by_name and source.random() < _FORGED_SHARE:
            body = _with_forged_token(source, kind, body)
        body = _without_marked_id(kind, body)
        metadata = _metadata(source) if source.random() < _METADATA_SHARE else ()
        yield Request(method.name, body, metadata)


async def sent(
    address: str, requests: Iterator[Request] | Sequence[Request], callers: int
) -> Answers:
    """Sends them all, so many at a time, and judges each answer as it comes."""
    answers, waiting = Answers(), iter(requests)
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:

        async def caller() -> None:
            for request in waiting:
                await _send(channel, request, answers)

        await asyncio.gather(*(caller() for _ in range(callers)))
    return answers


async def _send(channel: grpc.aio.Channel, request: Request, answers: Answers) -> None:
    method = SERVICE.methods_by_name[request.method]
    streams = method.server_streaming
    call = (channel.unary_stream if streams else channel.unary_unary)(
        f"/{SERVICE.full_name}/{method.name}"
    )(request.body, timeout=_HANGS_SECONDS, metadata=request.metadata)
    answers.calls += 1
    answers.by_method[method.name] += 1
    try:
        said = [each async for each in call] if streams else [await call]
    except grpc.aio.AioRpcError as error:
        answers.statuses[error.code().name] += 1
        answers.broken += [(each, request) for each in _wrong_with(error, answers)]
        return
    answers.statuses["OK"] += 1
    answers.broken += [(each, request) for each in _wrong_with_answer(method, said)]


def _wrong_with(error: grpc.aio.AioRpcError, answers: Answers) -> Iterator[str]:
    try:
        told = call_error(error)
    except SecretLeaked as leaked:
        yield str(leaked)
        return
    answers.largest_status_bytes = max(answers.largest_status_bytes, len(told.encoded))
    if told.code.name in _FORBIDDEN:
        yield f"{told.code.name} {told.reason}: {told.message}"
    elif told.domain != DOMAIN or not told.reason:
        yield f"{told.code.name} without ErrorInfo: {told.message:.200}"
    elif told.reason not in REASONS:
        yield f"a reason that is on no list: {told.reason}"
    if len(told.encoded) >= _MOST_STATUS_BYTES:
        yield f"a status of {len(told.encoded)} bytes"


def _wrong_with_answer(method: Any, said: Sequence[bytes]) -> Iterator[str]:
    kind = getattr(pb, method.output_type.name)
    try:
        events = [kind.FromString(each) for each in said]
    except DecodeError:
        yield "an answer that is none of the method's"
        return
    if method.server_streaming and not (events and events[-1].HasField("completed")):
        yield "a stream that ended well without its end"


def _metadata(source: random.Random) -> tuple[tuple[str, str | bytes], ...]:
    """What gRPC's client lets through, some of it under names that mean something."""
    made: list[tuple[str, str | bytes]] = []
    for _ in range(source.choice((1, 2, 20))):
        name = source.choice(_NAMES)
        if name.endswith("-bin"):
            made.append((name, source.randbytes(source.choice((0, 1, 100)))))
        else:
            made.append((name, source.choice(_WORDS)))
    return tuple(made)


_NAMES = (
    *("authorization", "traceparent", "tracestate", "baggage", "turnkeep-about", "user-agent-x"),
    *("x-request-id", "grpc-status-details-bin", "x-bin", "grpc-previous-rpc-attempts", "x_y.z-1"),
    *("cookie", "x-forwarded-for", "turnkeep-version", "tenant"),
)
_WORDS = (
    *("", "1", "0", f"Bearer {MARK}", f"Bearer {'x' * 900}", "Basic Og==", "Bearer  ", "bearer"),
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    f"00-{'0' * 32}-{'0' * 16}-ff",
    *("00-zz-zz-zz", "ff-" + "f" * 51, f"a={MARK},b=" + "c" * 200, "=;=,%00%0a", "${jndi:x}"),
    MARK,
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
)


def _without_marked_id(kind: type[Message], body: bytes) -> bytes:
    """A changed byte may make a request_id of a text, and a request_id may be logged."""
    request: Any = kind()
    try:
        request.ParseFromString(body)
    except DecodeError:
        return body
    if MARK not in getattr(request, "request_id", ""):
        return body
    request.request_id = "x"
    data: bytes = request.SerializeToString()
    return data


def _with_forged_token(source: random.Random, kind: type[Message], body: bytes) -> bytes:
    """A valid request whose token is of its own listing, and names a place of our choice."""
    request: Any = kind()
    try:
        request.ParseFromString(body)
    except DecodeError:
        return body
    request.page_size = source.choice(values.SANE_COUNTS)
    request.user_id = source.choice(values.USERS)
    if isinstance(request, pb.ListMessagesRequest):
        request.session_id = source.choice(values.SESSIONS)
        request.order = source.choice((0, 1, 2))
    request.page_token = forged_token(source, request)
    data: bytes = request.SerializeToString()
    return data


def structure_of(messages: Sequence[pb.Message]) -> list[str]:
    """What is wrong with a session that was read whole, unfinished turns too: gaps, half turns."""
    sequences = sorted({each.sequence for each in messages})
    wrong = []
    if sequences and sequences != list(range(sequences[0], sequences[-1] + 1)):
        wrong.append(f"gaps: {sequences}")
    if [each.sequence for each in messages] != sorted(each.sequence for each in messages):
        wrong.append("not in order")
    for sequence in sequences:
        turn = [each for each in messages if each.sequence == sequence]
        ids = [each.id for each in turn]
        if ids != [f"{ids[0].partition('-')[0]}-{n}" for n in range(len(ids))]:
            wrong.append(f"turn {sequence} is of two, or a part of one: {ids}")
        if len({each.status for each in turn}) > 1 or turn[0].status not in _ENDED:
            wrong.append(f"turn {sequence} has the statuses {[each.status for each in turn]}")
    return wrong


_ENDED = {pb.TURN_STATUS_COMPLETED, pb.TURN_STATUS_FAILED, pb.TURN_STATUS_CANCELLED}
