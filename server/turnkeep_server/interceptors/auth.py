"""Who calls, and whether that caller may: asked before a byte of the request is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from turnkeep_server.caller import EVERYBODY, current_caller
from turnkeep_server.credentials.identity import Identity
from turnkeep_server.interceptors.around import Call, CallInterceptor
from turnkeep_server.permissions import check_method


class AuthInterceptor(CallInterceptor):
    """Sets the caller that the layers within read. Without an identity it is EVERYBODY.

    Ahead of admit, so that strangers take no place of those who are let in.
    """

    def __init__(self, identity: Identity | None) -> None:
        super().__init__()
        self._identity = identity

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        caller = EVERYBODY
        if self._identity:
            caller = await self._identity.caller(call.context)
            structlog.contextvars.bind_contextvars(
                tenant=caller.tenant, credential=caller.credential
            )
        check_method(caller, call.method)
        current_caller.set(caller)
        yield
