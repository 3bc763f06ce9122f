"""An issuer of JWTs: keys, a JWKS, good tokens, and bad ones of every kind."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE = "https://issuer.example/", "turnkeep"

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Issuer:
    """Has one key a `kid`; `jwks` is what it publishes, without those that it withdrew."""

    def __init__(self, *kids: str) -> None:
        self.keys: dict[str, Key] = {}
        for kid in kids:
            self.add(kid)

    def add(self, kid: str) -> None:
        """Makes a key of that name: RSA if the name begins with rsa, else P-256."""
        if kid.startswith("rsa"):
            self.keys[kid] = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        else:
            self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwks(self) -> str:
        """The public keys, as published."""
        return json.dumps({"keys": [self.entry(kid) for kid in self.keys]})

    def entry(self, kid: str) -> dict[str, Any]:
        """A key's entry in the JWKS."""
        public: Any = self.keys[kid].public_key()
        algorithm: Any = (
            jwt.algorithms.RSAAlgorithm if kid.startswith("rsa") else jwt.algorithms.ECAlgorithm
        )
        return {**algorithm.to_jwk(public, as_dict=True), "kid": kid, "use": "sig"}

    def public_pem(self, kid: str) -> bytes:
        """A public key, which anybody has."""
        return (
            self.keys[kid]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def token(self, kid: str, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token, good unless claims or header say otherwise; None leaves one of them out."""
        algorithm = "RS256" if kid.startswith("rsa") else "ES256"
        headers = {k: v for k, v in {"kid": kid, **(header or {})}.items() if v is not None}
        return jwt.encode(claims_of(claims), self.keys[kid], algorithm, headers=headers)


def claims_of(changed: Mapping[str, Any]) -> dict[str, Any]:
    """The claims of a good token of the tenant acme, changed."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "tenant": "acme"}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def by_hand(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    sign: Callable[[bytes], bytes] = lambda _: b"",
) -> str:
    """A token that no library would make."""
    parts = [_base64(json.dumps(each).encode()) for each in (header, claims)]
    signed = ".".join(parts)
    return f"{signed}.{_base64(sign(signed.encode()))}"


def forged_by_hmac(secret: bytes, kid: str, **claims: Any) -> str:
    """HS256 with what is no secret."""
    return by_hand(
        {"alg": "HS256", "typ": "JWT", "kid": kid},
        claims_of(claims),
        lambda signed: hmac.digest(secret, signed, hashlib.sha256),
    )


def bad_tokens(issuer: Issuer, kid: str) -> Iterator[tuple[str, str]]:
    """Each way in which a token can be bad, by name."""
    now = int(time.time())
    good = issuer.token(kid)
    header, payload, signature = good.split(".")
    stranger = Issuer(kid)
    pem = issuer.public_pem(kid)
    yield "expired", issuer.token(kid, exp=now - 3_600)
    yield "not yet", issuer.token(kid, nbf=now + 3_600)
    yield "issued tomorrow", issuer.token(kid, iat=now + 86_400)
    yield "other audience", issuer.token(kid, aud="billing")
    yield "other audiences", issuer.token(kid, aud=["billing", "turnkeep2"])
    yield "no audience", issuer.token(kid, aud=None)
    yield "wrong issuer", issuer.token(kid, iss="https://issuer.example")
    yield "no issuer", issuer.token(kid, iss=None)
    yield "no exp", issuer.token(kid, exp=None)
    yield "exp is a word", issuer.token(kid, exp="never")
    yield "exp is a number as text", issuer.token(kid, exp=str(now + 600))
    yield "exp is endless", issuer.token(kid, exp=float("inf"))
    yield "exp is no float", issuer.token(kid, exp=10**400)
    yield "exp is a list", issuer.token(kid, exp=[now + 600])
    yield "nbf is a list", issuer.token(kid, nbf=[now])
    yield "nbf is a number as text", issuer.token(kid, nbf=str(now))
    yield "nbf is true", issuer.token(kid, nbf=True)
    yield "iat is a number as text", issuer.token(kid, iat=str(now))
    yield "iat is a word", issuer.token(kid, iat="сегодня")
    yield "sub is a number", issuer.token(kid, sub=7)
    yield "no tenant", issuer.token(kid, tenant=None)
    yield "empty tenant", issuer.token(kid, tenant="")
    yield "tenant is a number", issuer.token(kid, tenant=7)
    yield "tenant is a list", issuer.token(kid, tenant=["acme"])
    yield "tenant has a space", issuer.token(kid, tenant="acme inc")
    yield "tenant in Cyrillic", issuer.token(kid, tenant="акме")
    yield "tenant too long", issuer.token(kid, tenant="a" * 129)
    yield "critical extension", issuer.token(kid, header={"crit": ["exp"]})
    yield "unknown kid", issuer.token(kid, header={"kid": "нет такого"})
    yield "kid of another type", by_hand({"alg": "ES256", "kid": 7}, claims_of({}))
    yield "signed by a stranger", stranger.token(kid)
    for name in ("none", "None", "NONE", ""):
        yield f"alg={name}", by_hand({"alg": name, "kid": kid}, claims_of({}))
    yield "no alg", by_hand({"kid": kid}, claims_of({}))
    yield "alg is a list", by_hand({"alg": ["ES256"], "kid": kid}, claims_of({}))
    none = _base64(b'{"alg":"none"}')
    yield "alg=none with the signature", f"{none}.{payload}.{signature}"
    yield "HS256 with the public key", forged_by_hmac(pem, kid)
    yield "HS256 with nothing", forged_by_hmac(b"", kid)
    yield "no signature", f"{header}.{payload}."
    yield "another payload", f"{header}.{_base64(json.dumps(claims_of({})).encode())}.{signature}"
    yield "two parts", f"{header}.{payload}"
    yield "four parts", f"{good}.{signature}"
    yield "rubbish", "a.b.c"
    yield "nested deeply", f"{_base64(b'[' * 5_000)}.{payload}.{signature}"
    yield "payload is a list", by_hand({"alg": "ES256", "kid": kid}, [])  # type: ignore[arg-type]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
