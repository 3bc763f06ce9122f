"""Every RPC of the contract, out of its descriptor: a new one is called without being told of."""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from tests.kit import canary
from turnkeep.v1 import conversation_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["ConversationService"]
METHODS = [each.name for each in _SERVICE.methods]
TIMEOUT_SECONDS = 20.0


def request_of(method: str, session_id: str, user_id: str = "", text: str = "Привет 👋") -> Any:
    """A valid request for an RPC."""
    input_type = _SERVICE.methods_by_name[method].input_type
    given = {
        "session_id": session_id,
        "user_id": user_id,
        "text": text,
        "messages": [pb.Message(text=text)],
    }
    known = {field.name for field in input_type.fields}
    return GetMessageClass(input_type)(**{k: v for k, v in given.items() if k in known})


async def called(
    channel: grpc.aio.Channel,
    method: str,
    request: Any,
    metadata: Sequence[tuple[str, str]] = (),
) -> list[Any]:
    """The answers of a call, one unless it streams; `request` may be bytes, sent as they are."""
    descriptor = _SERVICE.methods_by_name[method]
    kind: Any = channel.unary_stream if descriptor.server_streaming else channel.unary_unary
    call = kind(
        f"/{_SERVICE.full_name}/{method}",
        request_serializer=lambda each: (
            each if isinstance(each, bytes) else each.SerializeToString()
        ),
        response_deserializer=GetMessageClass(descriptor.output_type).FromString,
    )(request, timeout=TIMEOUT_SECONDS, metadata=tuple(metadata))
    if descriptor.server_streaming:
        return [each async for each in call]
    return [await call]


def bearer(token: str) -> tuple[tuple[str, str]]:
    """The metadata that carries a token."""
    return (("authorization", f"Bearer {canary.shown(token)}"),)
