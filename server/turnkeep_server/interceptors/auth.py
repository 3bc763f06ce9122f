"""Who calls. For now everybody is let in, as the tenant `default`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnkeep_server.caller import EVERYBODY, current_caller
from turnkeep_server.interceptors.around import Call, CallInterceptor


class AuthInterceptor(CallInterceptor):
    """Sets the caller that the layers within read; the place where credentials will be checked."""

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        current_caller.set(EVERYBODY)
        yield
