"""Who a call is from: its bearer token if it carries one, else its client certificate."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc

from turnkeep_server.caller import Caller, CallerRole
from turnkeep_server.credentials.certificates import Certificates
from turnkeep_server.credentials.contract import Presented, TokenVerifier, not_valid
from turnkeep_server.errors import BadCredentials
from turnkeep_server.settings import Settings

# https://datatracker.ietf.org/doc/html/rfc6750#section-2.1; the scheme's case does not matter.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
_HEADER = "authorization"
_MAX_HEADER_CHARS = 8_192
# gRPC's names for a caller's certificate, and for those above it that the caller sent along.
_SHOWN = ("x509_pem_cert", "x509_pem_cert_chain")

Context = grpc.aio.ServicerContext[Any, Any]


class Identity:
    """Names the caller of each call, or refuses it: nobody is let in without a credential."""

    def __init__(self, verifiers: Sequence[TokenVerifier], certificates: Certificates | None):
        self._verifiers = verifiers
        self._certificates = certificates

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Ready to name callers until left. Raises SettingsError or StartupError."""
        async with AsyncExitStack() as stack:
            for each in self._verifiers:
                await stack.enter_async_context(each.opened())
            yield

    def reload(self) -> None:
        """Have keys read again, though nothing seems to have changed."""
        for each in self._verifiers:
            each.reload()

    async def caller(self, context: Context) -> Caller:
        """Who makes this call. Raises BadCredentials."""
        headers = [value for key, value in context.invocation_metadata() or () if key == _HEADER]
        if headers:
            # A token that is not good is not made up for by a certificate.
            return await self._holder(_token(headers))
        if self._certificates and (shown := context.auth_context()).get("x509_pem_cert"):
            pem, above = (b"".join(shown.get(each, ())) for each in _SHOWN)
            return self._certificates.caller(pem, above)
        raise BadCredentials(
            "the call carries no credential; send the metadata authorization: Bearer TOKEN"
            if self._verifiers
            else "the call carries no credential; connect with a client certificate",
            "none",
        )

    async def _holder(self, token: str) -> Caller:
        presented = Presented.of(token)
        for each in self._verifiers:
            if caller := await each.caller(presented):
                return caller
        raise not_valid("unknown token")


def identity_of(settings: Settings, client_ca: Callable[[], bytes] = bytes) -> Identity | None:
    """What the settings say; None if they name nothing that callers could prove themselves by.

    `client_ca`: the authorities of clients as they are now; without it no certificate is let in.
    """
    verifiers: list[TokenVerifier] = []
    if settings.keys_file:
        from turnkeep_server.credentials.keys import StaticKeys

        verifiers.append(StaticKeys(settings.keys_file))
    if settings.jwt_jwks:
        from turnkeep_server.credentials.tokens import JsonWebTokens

        verifiers.append(JsonWebTokens(settings.jwt_jwks, settings))
    certificates = None
    if settings.mtls_tenant != "off":
        role = CallerRole(settings.mtls_role)
        certificates = Certificates(settings.mtls_tenant, role, client_ca)
    return Identity(verifiers, certificates) if verifiers or certificates else None


def _token(headers: Sequence[str | bytes]) -> str:
    if len(headers) > 1:
        raise BadCredentials("the call carries several authorization headers; send one", "several")
    header = headers[0]
    if isinstance(header, bytes) or len(header) > _MAX_HEADER_CHARS:
        raise not_valid("header too long")
    found = _BEARER.fullmatch(header)
    if not found:
        raise BadCredentials("the authorization is not of the form: Bearer TOKEN", "no bearer")
    return found[1]
