"""The public keys that JWTs are verified with: JWKS in, keys out. RFC 7517."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from turnkeep_server.errors import SettingsError

# Each algorithm's kind of key: kty, and its curves where it has some. Never none, and never HS…,
# whose "public key" anybody could sign with.
ALGORITHMS: Mapping[str, tuple[str, frozenset[str]]] = {
    **{name: ("RSA", frozenset()) for name in ("RS256", "RS384", "RS512")},
    **{name: ("RSA", frozenset()) for name in ("PS256", "PS384", "PS512")},
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
}
_LEAST_RSA_BITS = 2_048


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str | None
    algorithms: frozenset[str]
    public: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer, by which its tokens are verified."""

    keys: tuple[_Key, ...]

    def has(self, kid: str | None) -> bool:
        """Whether there is a key of this name; without a name, the only one there is."""
        return any(each.kid == kid for each in self.keys) if kid else len(self.keys) == 1

    def find(self, kid: str | None, algorithm: str) -> Any:
        """The public key for a token's header; None if there is none, or more than one."""
        found = [
            each.public
            for each in self.keys
            if algorithm in each.algorithms and (kid is None or each.kid == kid)
        ]
        return found[0] if len(found) == 1 else None


def parse_key_set(content: bytes, algorithms: Collection[str]) -> KeySet:
    """The keys in a JWKS that verify by one of these algorithms; others are passed by.

    Raises SettingsError if there is none, or a private key is among them.
    """
    keys = tuple(key for each in _entries(content) for key in _keys(each, algorithms))
    if not keys:
        raise SettingsError(
            "TURNKEEP_JWT_JWKS: holds no public key for TURNKEEP_JWT_ALGORITHMS "
            f"({', '.join(sorted(algorithms))}); RSA keys need {_LEAST_RSA_BITS} bits"
        )
    return KeySet(keys)


def _entries(content: bytes) -> list[dict[str, Any]]:
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        entries = json.loads(content)["keys"]
        if isinstance(entries, list) and all(isinstance(each, dict) for each in entries):
            return entries
    raise SettingsError('TURNKEEP_JWT_JWKS: is no JWKS; it is JSON: {"keys": [{…}, …]}')


def _keys(entry: dict[str, Any], algorithms: Collection[str]) -> Iterator[_Key]:
    if "d" in entry:
        raise SettingsError("TURNKEEP_JWT_JWKS: holds a private key; give public ones alone")
    fitting = frozenset(name for name in algorithms if _fits(entry, name))
    kid = entry.get("kid")
    if not fitting or not (kid is None or isinstance(kid, str)):
        return
    try:
        public = jwt.PyJWK(entry, algorithm=min(fitting)).key
    except Exception:  # noqa: BLE001  # of three libraries, none of which expects what may stand there
        return
    if not isinstance(public, RSAPublicKey) or public.key_size >= _LEAST_RSA_BITS:
        yield _Key(kid, fitting, public)


def _fits(entry: Mapping[str, Any], algorithm: str) -> bool:
    kind, curves = ALGORITHMS[algorithm]
    curve, uses = entry.get("crv"), entry.get("key_ops", ["verify"])
    return (
        entry.get("kty") == kind
        and (not curves or (isinstance(curve, str) and curve in curves))
        and entry.get("alg", algorithm) == algorithm
        and entry.get("use", "sig") == "sig"
        and isinstance(uses, list)
        and "verify" in uses
    )
