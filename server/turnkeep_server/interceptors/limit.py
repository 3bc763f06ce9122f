"""Which of the tenants' calls are let in: inside auth, since it has to know whose they are."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import grpc

from turnkeep_server.admission import Admission
from turnkeep_server.caller import current_caller
from turnkeep_server.errors import Overloaded
from turnkeep_server.interceptors.around import Call, CallInterceptor
from turnkeep_server.recording import note

# A credential that was withdrawn is told so this much later, while its tenant is over a limit.
_REMEMBERED_SECONDS = 1.0
_MOST_REMEMBERED = 10_000
_ANYBODY = b"anybody"

Metadata = Sequence[tuple[str, str | bytes]]
Context = grpc.aio.ServicerContext[Any, Any]


class LimitInterceptor(CallInterceptor):
    """Refuses what is over a tenant's limits.

    It remembers for a moment whose credential was refused, so that the refuse interceptors can turn
    away the next calls that come with it without looking into it again, and long before this one.
    `anybody`: whether callers need no credential, so that all of them are one and the same.
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
        # By the credential's hash: a secret is not kept, nor what size somebody gave it.
        self._refused: dict[bytes, tuple[str, float]] = {}
        self._refused_until = 0.0

    def why_not(self, method: str, metadata: Metadata) -> Overloaded | None:
        """What a call would be refused with, if it is of somebody who was refused just now."""
        if not self._remembers_anybody():
            return None
        return self._why_not(_ANYBODY if self._anybody else _by_header(metadata), method)

    def why_not_by_certificate(self, context: Context, method: str) -> Overloaded | None:
        """The same for a call that is judged by its connection's certificate."""
        return (
            self._why_not(_by_certificate(context), method) if self._remembers_anybody() else None
        )

    def _remembers_anybody(self) -> bool:
        """Almost never, and then no call is to pay for a hash."""
        if self._refused and self._refused_until < self._clock():
            self._refused.clear()
        return bool(self._refused)

    def _why_not(self, credential: bytes | None, method: str) -> Overloaded | None:
        found = self._refused.get(credential) if credential else None
        if found is None:
            return None
        tenant, until = found
        return self._admission.why_not(tenant, method) if until >= self._clock() else None

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        tenant = current_caller.get().tenant
        try:
            async with self._admission.admitted(tenant, call.method):
                yield
        except Overloaded as error:
            note(refused_by=error.metadata.get("limit"))
            self._remember(tenant, call)
            raise

    def _remember(self, tenant: str, call: Call) -> None:
        metadata = [*(call.context.invocation_metadata() or ())]
        credential = (
            _ANYBODY if self._anybody else _by_header(metadata) or _by_certificate(call.context)
        )
        if credential is None:
            return
        if len(self._refused) >= _MOST_REMEMBERED:
            self._refused.clear()
        self._refused_until = self._clock() + _REMEMBERED_SECONDS
        self._refused[credential] = tenant, self._refused_until


def _by_header(metadata: Metadata) -> bytes | None:
    """What a call is known by that carries a bearer token; None without one."""
    for key, value in metadata:
        if key == "authorization":
            return sha256(value if isinstance(value, bytes) else value.encode()).digest()
    return None


def _by_certificate(context: Context) -> bytes | None:
    """What a call is known by that carries no token: others may come on its connection that do."""
    if any(key == "authorization" for key, _ in context.invocation_metadata() or ()):
        return None
    for certificate in context.auth_context().get("x509_pem_cert", ()):
        # Not what anybody could send as a token.
        return b"certificate" + sha256(certificate).digest()
    return None
