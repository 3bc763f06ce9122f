"""Nobody is let in without a credential that is good: every RPC of the contract, streaming too."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from tests.kit.issuer import AUDIENCE, ISSUER, Issuer, bad_tokens
from tests.kit.rpcs import METHODS, bearer, called, request_of
from tests.kit.server_process import ServerProcess
from tests.kit.status import CallError, error_of
from tests.rpc.session import new_id
from turnkeep_server.credentials.keys import new_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED = (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS")
LIVING = Issuer("ec-1", "rsa-1")
KEY, LINE = new_key(tenant="acme", role="caller")
OLD_KEY, OLD_LINE = new_key(tenant="acme", role="admin", days=1)
Metadata = tuple[tuple[str, str], ...]

BAD: dict[str, Metadata] = {
    "no credential": (),
    "unknown key": bearer("tk_" + "A" * 43),
    "key in lower case": bearer(KEY.lower()),
    "half a key": bearer(KEY[:-1]),
    "its hash": bearer(LINE.partition('"sha256":"')[2][:64]),
    "expired key": bearer(OLD_KEY),
    "empty": (("authorization", ""),),
    "scheme alone": (("authorization", "Bearer"),),
    "scheme and space": (("authorization", "Bearer "),),
    "basic": (("authorization", "Basic dXNlcjpwYXNz"),),
    "key alone": (("authorization", KEY),),
    "two tokens in one": (("authorization", f"Bearer {KEY} {KEY}"),),
    "two headers": bearer(KEY) + bearer(KEY),
    "two headers, the first bad": bearer("x") + bearer(KEY),
    "another header": (("x-api-key", KEY), ("proxy-authorization", f"Bearer {KEY}")),
    "9 KB": bearer("x" * 9_000),
    "60 KB": bearer("x" * 60_000),
    **{f"token: {name}": bearer(token) for name, token in bad_tokens(LIVING, "ec-1")},
    **{f"RSA: {name}": bearer(token) for name, token in bad_tokens(LIVING, "rsa-1")},
}
GOOD: dict[str, Metadata] = {
    "key": bearer(KEY),
    "scheme in lower case": (("authorization", f"bearer {KEY}"),),
    "scheme in upper case": (("authorization", f"BEARER {KEY}"),),
    "token": bearer(LIVING.token("ec-1")),
    "RSA token": bearer(LIVING.token("rsa-1", aud=["billing", AUDIENCE], sub="виктор")),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server that takes keys and tokens of their files."""
    folder = tmp_path_factory.mktemp("identity")
    ended = OLD_LINE.partition('"expires":"')[0] + '"expires":"2026-01-01T00:00:00Z"}'
    (folder / "keys").write_text(f"# Ключи\n\n{LINE}\n{ended}\n")
    (folder / "jwks").write_text(LIVING.jwks)
    async with ServerProcess({**environment, **settings_of(folder)}) as server:
        yield server


def settings_of(folder: Path) -> dict[str, str]:
    """Identity by the files `keys` and `jwks` of a folder."""
    return {
        "TURNKEEP_KEYS_FILE": str(folder / "keys"),
        "TURNKEEP_JWT_JWKS": str(folder / "jwks"),
        "TURNKEEP_JWT_ISSUER": ISSUER,
        "TURNKEEP_JWT_AUDIENCE": AUDIENCE,
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_MODEL": "parrot",
        "TURNKEEP_ALLOWED_MODELS": "",
        "TURNKEEP_REFLECTION": "1",
    }


async def _refused(
    server: ServerProcess, method: str, metadata: Metadata, request: object = None
) -> CallError:
    wanted = request_of(method, new_id()) if request is None else request
    return await error_of(called(server.stub()[0], method, wanted, metadata))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("credential", BAD)
async def test_a_bad_credential_is_refused(
    guarded: ServerProcess, method: str, credential: str
) -> None:
    """UNAUTHENTICATED, whatever is wrong; its words quote neither credential nor library."""
    error = await _refused(guarded, method, BAD[credential])

    assert error.what == REFUSED
    assert error.domain == "turnkeep.v1"
    assert "Error" not in error.message
    for secret in (KEY, OLD_KEY, "eyJ", "xxxx"):
        assert secret not in error.encoded.decode(errors="replace")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("credential", GOOD)
async def test_a_good_credential_is_let_in(
    guarded: ServerProcess, method: str, credential: str
) -> None:
    """The same calls with one that is good: or the test above would prove nothing."""
    metadata = GOOD[credential]
    assert await called(guarded.stub()[0], method, request_of(method, new_id()), metadata)


@pytest.mark.parametrize("method", METHODS)
async def test_a_token_is_let_in_within_the_leeway(guarded: ServerProcess, method: str) -> None:
    """Made now: it would run out while other files' tests run."""
    late = bearer(LIVING.token("ec-1", exp=int(time.time()) - 5, nbf=0))
    assert await called(guarded.stub()[0], method, request_of(method, new_id()), late)


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_are_not_read_before_their_sender_is_known(
    guarded: ServerProcess, method: str
) -> None:
    """What is no message, or an invalid one, says UNAUTHENTICATED first, and what it is after."""
    for bad, reason in ((b"\xff\xff", "MALFORMED_MESSAGE"), (b"", "INVALID_REQUEST")):
        assert (await _refused(guarded, method, (), bad)).what == REFUSED
        if method != "ListSessions" or bad:  # an empty ListSessionsRequest is valid
            known = await _refused(guarded, method, bearer(KEY), bad)
            assert known.what == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_health_asks_for_no_credential(guarded: ServerProcess) -> None:
    """Load balancers have none."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(guarded.stub()[0])
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)  # type: ignore[misc]
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_asks_for_one(guarded: ServerProcess) -> None:
    """It tells what can be called."""
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async def services(metadata: Metadata) -> list[str]:
        stub = reflection_pb2_grpc.ServerReflectionStub(guarded.stub()[0])
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        answers = stub.ServerReflectionInfo(iter(asked), timeout=5, metadata=metadata)
        return [each.name async for one in answers for each in one.list_services_response.service]

    # With its request in one piece: a client that still writes to a call that was refused takes
    # that for an error of its own.
    whole = guarded.stub()[0].unary_unary(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    for metadata in ((), BAD["expired key"]):
        assert (await error_of(whole(b"", timeout=5, metadata=metadata))).what == REFUSED
    assert "turnkeep.v1.ConversationService" in await services(bearer(KEY))


async def test_a_stranger_learns_the_clock_and_not_the_version(guarded: ServerProcess) -> None:
    """Tokens end by the clock; what a server is weak at is not a stranger's business."""
    asks = ("turnkeep-about", "1")
    _, stub = guarded.stub()
    told = []
    for metadata in ((asks,), (asks, *BAD["expired key"]), (asks, *bearer(KEY))):
        call = stub.ListSessions(request_of("ListSessions", ""), timeout=5, metadata=metadata)
        told.append({key for key, _ in await call.initial_metadata() if key.startswith("turnkeep")})
        await call.code()
    assert told == [
        {"turnkeep-clock-ms"},
        {"turnkeep-clock-ms"},
        {"turnkeep-clock-ms", "turnkeep-version"},
    ]


async def test_the_log_says_why_and_quotes_nothing(guarded: ServerProcess) -> None:
    """The operator is told which check it was, and whose call a good one is; never a token.

    Strangers are counted, a line a second for each reason: they could fill a disk with lines.
    """
    before = len(guarded.log)
    bad = {
        "token refused: InvalidAudienceError": BAD["token: other audience"],
        "no bearer": BAD["basic"],
    }
    await asyncio.gather(
        *(_refused(guarded, "Chat", each) for each in bad.values() for _ in range(100))
    )
    await called(guarded.stub()[0], "ListSessions", request_of("ListSessions", ""), bearer(KEY))
    counts = Counter[str]()
    async with asyncio.timeout(20):
        while any(counts[why] < 100 for why in bad):
            await asyncio.sleep(0.05)
            lines = [json.loads(line) for line in guarded.log[before:]]
            told = [line for line in lines if line["event"] == "calls_refused"]
            counts.clear()
            for line in told:
                counts[line["refused_because"]] += line["calls"]
    log = "\n".join(guarded.log)

    assert {line["reason"] for line in told} == {"BAD_CREDENTIALS"}
    assert len(told) < 100
    assert not [line for line in lines if line.get("code") == "UNAUTHENTICATED"]
    assert '"tenant": "acme"' in log
    for secret in (KEY, OLD_KEY, "eyJ"):
        assert secret not in log
