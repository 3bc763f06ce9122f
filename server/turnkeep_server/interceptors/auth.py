"""Who calls, and whether that caller may: asked before a byte of the request is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog

from turnkeep_server.caller import EVERYBODY, Caller, current_caller
from turnkeep_server.credentials.identity import Identity
from turnkeep_server.errors import BadCredentials
from turnkeep_server.interceptors.about import tell_if_asked
from turnkeep_server.interceptors.around import Call, CallInterceptor
from turnkeep_server.interceptors.refused_calls import RefusedCalls
from turnkeep_server.permissions import check_method


class AuthInterceptor(CallInterceptor):
    """Sets the caller that the layers within read. Without an identity it is EVERYBODY.

    Ahead of admit, so that strangers take no place of those who are let in.
    """

    def __init__(self, identity: Identity | None, strangers: RefusedCalls) -> None:
        super().__init__()
        self._identity = identity
        self._strangers = strangers

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        caller = await self._caller(call.context)
        current_caller.set(caller)
        await tell_if_asked(call.context, known=True)
        check_method(caller, call.method)
        yield

    async def _caller(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        if self._identity is None:
            return EVERYBODY
        try:
            caller = await self._identity.caller(context)
        except BadCredentials as error:
            self._strangers.count(error)
            await tell_if_asked(context, known=False)
            raise
        structlog.contextvars.bind_contextvars(tenant=caller.tenant, credential=caller.credential)
        return caller
