"""JSON Web Tokens: signed by an issuer whose keys are known, meant for us, and not run out."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import jwt

from turnkeep_server.caller import NAME, Caller, CallerRole
from turnkeep_server.credentials.contract import Presented, TokenVerifier, expired, not_valid
from turnkeep_server.credentials.key_sets import KeySet, parse_key_set
from turnkeep_server.credentials.key_sources import key_source
from turnkeep_server.settings import Settings

_MOST_REMEMBERED = 10_000
_ROLES = {each.value: each for each in CallerRole}
# What PyJWT and json raise for a token that is not well formed, whatever its sender did to it.
_MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class _Verified(NamedTuple):
    caller: Caller
    until: float  # seconds since 1970


class JsonWebTokens(TokenVerifier):
    """Verifies a token once, and remembers it until it runs out or the issuer's keys change."""

    def __init__(self, jwks: str, settings: Settings) -> None:
        """`jwks`: where the issuer's keys are, a URL or a path."""
        self._settings = settings
        self._source = key_source(
            jwks,
            partial(parse_key_set, algorithms=settings.jwt_algorithms),
            refresh_seconds=settings.jwt_refresh_seconds,
        )
        self._remembered_by: KeySet | None = None
        self._remembered: dict[bytes, _Verified] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with self._source.opened():
            yield

    def reload(self) -> None:
        self._source.reload()

    async def caller(self, presented: Presented) -> Caller | None:
        keys = await self._source.current()
        if keys is not self._remembered_by:
            self._forget(keys)
        verified = self._remembered.get(presented.digest)
        if verified is None:
            if presented.token.count(".") != 2:
                return None
            verified = await self._verified(presented.token, keys)
            self._remember(presented.digest, verified)
        if verified.until <= time.time():
            raise expired("token expired")
        return verified.caller

    async def _verified(self, token: str, keys: KeySet) -> _Verified:
        kid, algorithm = self._header(token)
        if not keys.has(kid):
            keys = await self._source.newer()
            self._forget(keys)
        public = keys.find(kid, algorithm)
        if public is None:
            raise not_valid("token's key is unknown")
        claims = self._claims(token, public, algorithm)
        until = claims["exp"] + self._settings.jwt_leeway_seconds
        return _Verified(self._caller(claims, kid), until)

    def _header(self, token: str) -> tuple[str | None, str]:
        """The key's id and the algorithm that a token claims; nothing is verified yet."""
        try:
            header = jwt.get_unverified_header(token)
        except _MALFORMED:
            raise not_valid("token malformed") from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._settings.jwt_algorithms:
            raise not_valid("token's algorithm is not allowed")
        if "crit" in header:  # says that it must not be taken by whoever does not know it
            raise not_valid("token has critical extensions")
        return header.get("kid"), algorithm

    def _claims(self, token: str, public: Any, algorithm: str) -> Mapping[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                public,
                algorithms=[algorithm],
                issuer=self._settings.jwt_issuer,
                audience=self._settings.jwt_audience,
                leeway=self._settings.jwt_leeway_seconds,
                options={"require": ["exp", "iss", "aud"]},
            )
            # PyJWT takes "1800000000" and true, too: no NumericDate (RFC 7519, section 2).
            times = (claims[name] for name in ("exp", "nbf", "iat") if name in claims)
            if any(type(each) not in (int, float) for each in times):
                raise not_valid("token's times are no numbers")
            return {**claims, "exp": float(claims["exp"])}
        except jwt.ExpiredSignatureError:
            raise expired("token expired") from None
        except _MALFORMED as error:
            # Such as InvalidAudienceError: a name that tells the operator which check it was.
            raise not_valid(f"token refused: {type(error).__name__}") from None

    def _caller(self, claims: Mapping[str, Any], kid: str | None) -> Caller:
        settings = self._settings
        user_id = None
        if settings.jwt_user_claim:
            user_id = _name(claims, settings.jwt_user_claim)
        role = CallerRole.CALLER
        if settings.jwt_role_claim:
            role = _role(claims, settings.jwt_role_claim)
        return Caller(
            tenant=_name(claims, settings.jwt_tenant_claim),
            credential=f"jwt:{kid or ''}",
            role=role,
            user_id=user_id,
            may_add_system=role is CallerRole.ADMIN,
        )

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]  # the oldest
        self._remembered[digest] = verified

    def _forget(self, keys: KeySet) -> None:
        """What other keys verified counts no more: theirs may have been withdrawn."""
        if keys is not self._remembered_by:
            self._remembered_by, self._remembered = keys, {}


def _name(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise not_valid(f"token's claim {claim} is no name")
    return value


def _role(claims: Mapping[str, Any], claim: str) -> CallerRole:
    """The most that it gives; issuers write one role as text, several as a list."""
    value = claims.get(claim)
    given = value if isinstance(value, list) else [value]
    roles = [_ROLES[each] for each in given if isinstance(each, str) and each in _ROLES]
    if not roles:
        raise not_valid(f"token's claim {claim} has no role")
    return max(roles, key=list(CallerRole).index)
