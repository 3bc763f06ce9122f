"""A request is read when it is asked for, and not for ever."""

import asyncio
from typing import Any

import grpc

from turnkeep_server.errors import MalformedMessage, WaitTimeout


async def read_request(context: grpc.aio.ServicerContext[Any, Any], within_seconds: float) -> bytes:
    """The bytes of the one message that a call comes with.

    Raises MalformedMessage if it comes with none, WaitTimeout if it has not come by then.
    """
    try:
        async with asyncio.timeout(within_seconds):
            data: Any = await context.read()
    except TimeoutError:
        raise WaitTimeout(f"the request did not come within {within_seconds:g} seconds") from None
    if data is grpc.aio.EOF:
        raise MalformedMessage("the call came without a request")
    return bytes(data)
