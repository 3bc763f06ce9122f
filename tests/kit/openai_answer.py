"""One answer of the OpenAI stub on its way: how fast, and where the connection breaks."""

import asyncio
import json
import socket
import struct

from aiohttp import web

from tests.kit.openai_faults import ErrorReply, Fault
from tests.kit.openai_script import Behaviour, Script

# A reset throws away what the peer has not read yet; this is long enough to read it on loopback.
SECONDS_BEFORE_RESET = 0.03


async def send(
    request: web.Request, script: Script, fault: Fault | None, behaviour: Behaviour
) -> web.StreamResponse:
    """Send the answer, to the last byte that it has.

    Raises CancelledError or ConnectionResetError when the peer leaves before that.
    """
    await asyncio.sleep(behaviour.delay_seconds)
    if fault is Fault.HANG:
        await asyncio.Event().wait()
    if error := script.error():
        rate_limited = fault is Fault.RATE_LIMITED and behaviour.retry_after is not None
        headers = {"Retry-After": str(behaviour.retry_after)} if rate_limited else {}
        return await _send_error(request, error, headers)
    if script.stream:
        return await _send_stream(request, script, fault)
    return await _send_whole(request, script, fault)


async def _send_error(
    request: web.Request, error: ErrorReply, headers: dict[str, str]
) -> web.StreamResponse:
    if isinstance(error.body, str):
        content_type, body = "text/html", error.body.encode()
    else:
        content_type, body = "application/json", json.dumps(error.body).encode()
    response = web.Response(
        body=body, status=error.status, content_type=content_type, headers=headers
    )
    await response.prepare(request)
    await response.write_eof()
    return response


async def _send_whole(
    request: web.Request, script: Script, fault: Fault | None
) -> web.StreamResponse:
    response = web.StreamResponse()
    body = script.body()
    response.content_type = "application/json"
    response.content_length = len(body)
    await response.prepare(request)
    if fault in (Fault.EARLY_END, Fault.CUT, Fault.HANG_MID_STREAM):
        await response.write(body[: len(body) // 2])
        await _break(request, fault)
    else:
        await response.write(body)
        await response.write_eof()
    return response


async def _send_stream(
    request: web.Request, script: Script, fault: Fault | None
) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type = "text/event-stream"
    await response.prepare(request)
    for delay_seconds, data in script.events():
        await asyncio.sleep(delay_seconds)
        await response.write(data)
    if fault in (Fault.CUT, Fault.HANG_MID_STREAM):
        await _break(request, fault)
    else:
        await response.write_eof()
    return response


async def _break(request: web.Request, fault: Fault) -> None:
    """Stop in the middle: fall silent, reset the connection, or close it."""
    if fault is Fault.HANG_MID_STREAM:
        await asyncio.Event().wait()
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    if fault is Fault.CUT:
        await asyncio.sleep(SECONDS_BEFORE_RESET)
        linger_zero = struct.pack("ii", 1, 0)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        transport.abort()
    else:
        transport.close()
