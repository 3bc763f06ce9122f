"""JWTs: what is cheap, what is remembered, and how an issuer's keys come and go."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.kit.issuer import AUDIENCE, ISSUER, Issuer
from tests.kit.jwks_server import JwksServer
from turnkeep_server.caller import Caller, CallerRole
from turnkeep_server.credentials import key_sources, tokens
from turnkeep_server.credentials.contract import Presented
from turnkeep_server.credentials.key_sets import parse_key_set
from turnkeep_server.credentials.tokens import JsonWebTokens
from turnkeep_server.errors import BadCredentials, SettingsError, StartupError
from turnkeep_server.settings import Settings

_ISSUER = Issuer("ec-1", "rsa-2")


@asynccontextmanager
async def _opened(jwks: str | Path, **settings: Any) -> AsyncIterator[JsonWebTokens]:
    needed = {"jwt_jwks": str(jwks), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    found = JsonWebTokens(str(jwks), Settings(**needed, **settings))
    async with found.opened():
        yield found


async def _caller(verifier: JsonWebTokens, token: str) -> Caller | None:
    return await verifier.caller(Presented.of(token))


async def _why(verifier: JsonWebTokens, token: str) -> str:
    with pytest.raises(BadCredentials) as raised:
        await _caller(verifier, token)
    return raised.value.why


def _written(path: Path, issuer: Issuer) -> Path:
    new = path.with_suffix(".new")
    new.write_text(issuer.jwks)
    new.replace(path)
    return path


@pytest.fixture
def issuer() -> Issuer:
    """With one key."""
    return Issuer("ec-1")


async def test_claims_become_a_caller(tmp_path: Path, issuer: Issuer) -> None:
    """By the claims that the settings name; of several roles the highest."""
    names = {
        "jwt_tenant_claim": "https://x.example/org",
        "jwt_user_claim": "sub",
        "jwt_role_claim": "roles",
    }
    async with _opened(_written(tmp_path / "jwks", issuer), **names) as verifier:
        claims = {"https://x.example/org": "globex", "sub": "alice"}
        token = issuer.token("ec-1", **claims, roles=["reader", "Admin", "admin", 7])
        assert await _caller(verifier, token) == Caller(
            tenant="globex",
            credential="jwt:ec-1",
            role=CallerRole.ADMIN,
            user_id="alice",
            may_add_system=True,
        )
        for roles in ("", "Admin", [], None, 7, ["owner"], [["admin"]], {"admin": True}):
            assert "roles" in await _why(verifier, issuer.token("ec-1", **claims, roles=roles))
        for sub in ("", "a b", None, "алиса", "x" * 129):
            token = issuer.token("ec-1", **{**claims, "sub": sub}, roles="reader")
            assert "sub" in await _why(verifier, token)


async def test_without_the_claims_of_role_and_user_every_token_is_a_callers(
    tmp_path: Path, issuer: Issuer
) -> None:
    """A claim that nobody named gives nothing."""
    async with _opened(_written(tmp_path / "jwks", issuer)) as verifier:
        found = await _caller(verifier, issuer.token("ec-1", role="admin", user_id="bob"))
    assert found == Caller("acme", "jwt:ec-1", CallerRole.CALLER)


async def test_a_token_is_verified_once(
    tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then looked up, until it runs out."""
    calls: list[str] = []
    decode = tokens.jwt.decode

    def counted(token: str, *given: Any, **named: Any) -> Any:
        calls.append(token)
        return decode(token, *given, **named)

    monkeypatch.setattr(tokens.jwt, "decode", counted)
    async with _opened(_written(tmp_path / "jwks", issuer), jwt_leeway_seconds=0) as verifier:
        token = issuer.token("ec-1", exp=int(time.time()) + 100)
        for _ in range(100):
            assert await _caller(verifier, token)
        assert len(calls) == 1
        now = time.time()
        monkeypatch.setattr(tokens.time, "time", lambda: now + 101)
        assert await _why(verifier, token) == "token expired"


async def test_no_more_than_so_many_are_remembered(
    tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller with a new token each call does not fill the memory."""
    monkeypatch.setattr(tokens, "_MOST_REMEMBERED", 10)
    async with _opened(_written(tmp_path / "jwks", issuer)) as verifier:
        for number in range(50):
            assert await _caller(verifier, issuer.token("ec-1", jti=str(number)))
        assert len(verifier._remembered) == 10


async def test_a_key_that_is_withdrawn_verifies_nothing_more(
    tmp_path: Path, issuer: Issuer
) -> None:
    """From the next call on, though the token was remembered; another key's tokens go on."""
    issuer.add("ec-2")
    path = _written(tmp_path / "jwks", issuer)
    async with _opened(path) as verifier:
        old, new = issuer.token("ec-1"), issuer.token("ec-2")
        assert await _caller(verifier, old)
        assert await _caller(verifier, new)
        del issuer.keys["ec-1"]
        _written(path, issuer)
        assert await _why(verifier, old) == "token's key is unknown"
        assert await _caller(verifier, new)


async def test_a_key_of_the_same_name_is_another(tmp_path: Path, issuer: Issuer) -> None:
    """What the old one verified is not remembered."""
    path = _written(tmp_path / "jwks", issuer)
    async with _opened(path) as verifier:
        old = issuer.token("ec-1")
        assert await _caller(verifier, old)
        issuer.add("ec-1")
        _written(path, issuer)
        assert await _why(verifier, old) == "token refused: InvalidSignatureError"


async def test_a_token_without_kid_is_taken_by_an_only_key(tmp_path: Path, issuer: Issuer) -> None:
    """Among several it is not guessed."""
    path = _written(tmp_path / "jwks", issuer)
    async with _opened(path) as verifier:
        token = issuer.token("ec-1", header={"kid": None})
        assert await _caller(verifier, token)
        issuer.add("ec-2")
        _written(path, issuer)
        assert await _why(verifier, token) == "token's key is unknown"


# --- a URL ---------------------------------------------------------------------------------------


async def test_a_new_key_is_fetched_for_its_first_token(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for all calls that need it."""
    monkeypatch.setattr(key_sources, "_LEAST_PAUSE_SECONDS", 0.0)
    async with JwksServer(issuer.jwks) as server, _opened(server.url) as verifier:
        issuer.add("ec-2")
        server.jwks, server.delay_seconds = issuer.jwks, 0.1
        new = [issuer.token("ec-2", jti=str(number)) for number in range(20)]
        assert all(await asyncio.gather(*(_caller(verifier, each) for each in new)))
        assert server.requests == 2


async def test_made_up_kids_do_not_hammer_the_issuer(issuer: Issuer) -> None:
    """Whoever sends rubbish: one request in ten seconds, the first of them at the start."""
    async with JwksServer(issuer.jwks) as server, _opened(server.url) as verifier:
        for number in range(200):
            token = issuer.token("ec-1", header={"kid": f"made-up-{number}"})
            assert await _why(verifier, token) == "token's key is unknown"
        assert server.requests == 1
        verifier._source._may_fetch_at = 0.0  # type: ignore[attr-defined]
        for number in range(200):
            await _why(verifier, issuer.token("ec-1", header={"kid": f"another-{number}"}))
        assert server.requests == 2
        assert await _caller(verifier, issuer.token("ec-1"))


async def test_a_proxy_is_not_asked_for_what_this_machine_publishes_in_the_clear(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs it could answer with keys of his own, and forge any tenant's tokens."""
    forger = Issuer("ec-1")
    async with JwksServer(issuer.jwks) as server, JwksServer(forger.jwks) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/jwks"))
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/jwks"))
        async with _opened(server.url) as verifier:
            assert await _caller(verifier, issuer.token("ec-1"))
            assert (
                await _why(verifier, forger.token("ec-1")) == "token refused: InvalidSignatureError"
            )
        assert (server.requests, proxy.requests) == (1, 0)


async def test_a_url_is_read_again_now_and_then(issuer: Issuer) -> None:
    """And when told; a key that is gone there verifies nothing more."""
    async with (
        JwksServer(issuer.jwks) as server,
        _opened(server.url, jwt_refresh_seconds=0.05) as verifier,
    ):
        old = issuer.token("ec-1")
        assert await _caller(verifier, old)
        server.jwks = Issuer("ec-2").jwks
        before = server.requests
        async with asyncio.timeout(5):
            while server.requests < before + 2:
                await asyncio.sleep(0.01)
        assert await _why(verifier, old) == "token's key is unknown"


@pytest.mark.parametrize("fault", ["500", "302", "rubbish", "no keys", "huge", "gone"])
async def test_an_issuer_that_fails_changes_nothing(issuer: Issuer, fault: str) -> None:
    """The keys that were known go on, and the log says what is wrong."""
    server = JwksServer(issuer.jwks)
    async with server, _opened(server.url) as verifier:
        await _break(server, fault)
        with capture_logs() as logs:
            verifier.reload()
            async with asyncio.timeout(5):
                while not logs:
                    await asyncio.sleep(0.01)
        assert await _caller(verifier, issuer.token("ec-1"))

    assert (logs[0]["event"], logs[0]["log_level"]) == ("jwks_not_refreshed", "error")
    assert "TURNKEEP_JWT_JWKS" in logs[0]["problem"]


@pytest.mark.parametrize("fault", ["500", "302", "rubbish", "no keys", "huge", "gone"])
async def test_there_is_no_start_without_the_keys(issuer: Issuer, fault: str) -> None:
    """The message names the setting and what is wrong."""
    async with JwksServer(issuer.jwks) as server:
        await _break(server, fault)
        with pytest.raises((StartupError, SettingsError), match="TURNKEEP_JWT_JWKS"):
            async with _opened(server.url):
                pass


async def _break(server: JwksServer, fault: str) -> None:
    match fault:
        case "500" | "302":
            server.status = int(fault)
        case "rubbish":
            server.jwks = "<html>"
        case "no keys":
            server.jwks = '{"keys": []}'
        case "huge":
            server.jwks = " " * 2**21
        case "gone":
            await server._runner.cleanup()


# --- a key set -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"keys": 1}', '{"keys": [1]}', '{"keys": {"a": 1}}', "[" * 100_000, "\xff"],
)
def test_what_is_no_key_set_is_said(content: str) -> None:
    """In words of ours."""
    with pytest.raises(SettingsError, match="TURNKEEP_JWT_JWKS"):
        parse_key_set(content.encode("latin-1"), ["ES256"])


def test_only_keys_that_may_verify_are_taken(issuer: Issuer) -> None:
    """Not those for encryption, of another algorithm, symmetric, weak, or broken."""
    good = issuer.entry("ec-1")
    weak = Issuer()
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505 - to be refused
    weak.keys["rsa-weak"] = small
    others = [
        {**good, "use": "enc"},
        {**good, "alg": "ES384"},
        {**good, "key_ops": ["sign"]},
        {**good, "crv": "P-384"},
        {**good, "x": "!"},
        {**good, "kid": 7},
        {**good, "crv": ["P-256"]},
        {**good, "key_ops": None},
        {**good, "key_ops": "verify"},
        {**good, "x": 7},
        {**good, "y": None},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "ec-1", "alg": "HS256"},
        {"kty": "EC"},
        {},
        weak.entry("rsa-weak"),
    ]
    found = parse_key_set(json.dumps({"keys": [*others, good]}).encode(), ["ES256", "RS256"])
    assert len(found.keys) == 1
    assert found.find("ec-1", "ES256")
    assert found.find("ec-1", "RS256") is None
    with pytest.raises(SettingsError, match="no public key"):
        parse_key_set(json.dumps({"keys": others}).encode(), ["ES256", "RS256"])


_FIELD = st.sampled_from(
    ["keys", "kty", "crv", "alg", "use", "key_ops", "kid", "x", "y", "n", "e", "k", "x5c"]
)
# Values that a hand, a script or an attacker may have put in the place of any other.
_SIMPLE = st.sampled_from(
    [
        *("EC", "RSA", "OKP", "P-256", "Ed25519", "ES256", "RS256", "sig", "verify", "AQAB", ""),
        *("ключ", None, True, False, 0, 7, -1, 10**400, 1.5, float("inf"), float("nan")),
    ]
)
_JSON = _SIMPLE | st.lists(_SIMPLE, max_size=2) | st.dictionaries(_FIELD, _SIMPLE, max_size=2)


@given(
    changes=st.lists(st.dictionaries(_FIELD, _JSON, min_size=1), max_size=3),
    kid=st.sampled_from(["ec-1", "rsa-2"]),
    gone=st.sets(_FIELD, max_size=2),
)
def test_a_key_set_of_any_shape_is_read_or_refused(
    changes: list[dict[str, Any]], kid: str, gone: set[str]
) -> None:
    """Keys with anything in any field: SettingsError alone is raised, and good keys are found."""
    good = _ISSUER.entry(kid)
    bad = [
        {name: value for name, value in {**good, **each}.items() if name not in gone}
        for each in changes
    ]
    algorithms = ["ES256", "RS256", "EdDSA"]
    with suppress(SettingsError):
        parse_key_set(json.dumps({"keys": bad}).encode(), algorithms)
    found = parse_key_set(json.dumps({"keys": [*bad, good]}).encode(), algorithms)
    assert kid in {each.kid for each in found.keys}


@given(_JSON | st.fixed_dictionaries({"keys": _JSON | st.lists(_JSON, max_size=2)}))
def test_any_json_is_a_key_set_or_refused(value: Any) -> None:
    with suppress(SettingsError):
        parse_key_set(json.dumps(value).encode(), ["ES256", "RS256", "EdDSA"])


def test_a_private_key_is_refused(issuer: Issuer) -> None:
    """It has no business there."""
    entry = {**issuer.entry("ec-1"), "d": "AQAB"}
    with pytest.raises(SettingsError, match="private key"):
        parse_key_set(json.dumps({"keys": [entry]}).encode(), ["ES256"])
