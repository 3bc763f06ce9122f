"""Which of the tenants' calls are let in: inside auth, since it has to know whose they are."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from turnkeep_server.admission import Admission
from turnkeep_server.caller import current_caller
from turnkeep_server.errors import Overloaded
from turnkeep_server.interceptors.around import Call, CallInterceptor

# A credential that was withdrawn is told so this much later, while its tenant is over a limit.
_REMEMBERED_SECONDS = 1.0
_MOST_REMEMBERED = 10_000

Metadata = Sequence[tuple[str, str | bytes]]


class LimitInterceptor(CallInterceptor):
    """Refuses what is over a tenant's limits.

    It remembers for a moment whose credential was refused, so that the refuse interceptors can turn
    away the next calls that come with it without looking into it again, and long before this one.
    `anybody`: whether callers need no credential, so that one who has none is known all the same.
    """

    def __init__(
        self,
        admission: Admission,
        *,
        anybody: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._admission = admission
        self._clock = clock
        self._anybody = anybody
        self._refused: dict[str | bytes, tuple[str, float]] = {}

    def why_not(self, method: str, metadata: Metadata) -> Overloaded | None:
        """What a call would be refused with, if it is of somebody who was refused just now."""
        return self._why_not(_header(metadata), method) if self._refused else None

    def why_not_on(self, connection: str, method: str) -> Overloaded | None:
        """The same for a call on this connection, as gRPC names the peer."""
        return self._why_not(connection, method) if self._refused else None

    def _why_not(self, credential: str | bytes, method: str) -> Overloaded | None:
        found = self._refused.get(credential)
        if found is None:
            return None
        tenant, until = found
        if until < self._clock():
            del self._refused[credential]
            return None
        return self._admission.why_not(tenant, method)

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        tenant = current_caller.get().tenant
        try:
            async with self._admission.admitted(tenant, call.method):
                yield
        except Overloaded:
            self._remember(tenant, call)
            raise

    def _remember(self, tenant: str, call: Call) -> None:
        credential = _header([*(call.context.invocation_metadata() or ())])
        if not credential and not self._anybody:
            # A certificate: the connection's, for good. Unix sockets' peers have no names.
            credential = call.context.peer()
            if not credential.startswith("ipv"):
                return
        if len(self._refused) >= _MOST_REMEMBERED:
            self._refused.clear()
        self._refused[credential] = tenant, self._clock() + _REMEMBERED_SECONDS


def _header(metadata: Metadata) -> str | bytes:
    """The header that a bearer token comes in; empty if there is none, as with a certificate."""
    return next((value for key, value in metadata if key == "authorization"), "")
