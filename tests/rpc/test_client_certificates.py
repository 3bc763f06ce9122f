"""Callers known by their certificates, on a real TLS handshake."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.kit.certificates import Authority, Pair
from tests.kit.rpcs import METHODS, bearer, called, request_of
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.kit.tenants import as_tenant, keys_file
from tests.kit.tls_files import Pair as PairOfFiles
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as pb_grpc
from turnkeep_server.caller import Caller, CallerRole, current_caller
from turnkeep_server.credentials.certificates import TENANT_FIELDS, Certificates
from turnkeep_server.credentials.identity import Identity
from turnkeep_server.errors import BadCredentials
from turnkeep_server.interceptors.around import Layers
from turnkeep_server.interceptors.auth import AuthInterceptor
from turnkeep_server.interceptors.decode import DecodeInterceptor
from turnkeep_server.interceptors.errors import ErrorsInterceptor
from turnkeep_server.interceptors.refused_calls import RefusedCalls

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED = (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS")
AUTHORITY = Authority()
ACME = (("CN", "gateway"), ("O", "acme"))


class WhoIsIt(pb_grpc.ConversationServiceServicer):
    """Answers a call of ListSessions with its caller."""

    async def ListSessions(  # noqa: N802  # the RPC's name
        self, request: Any, context: Any
    ) -> pb.ListSessionsResponse:
        caller = current_caller.get()
        session = pb.Session(session_id=caller.tenant, user_id=caller.role.value)
        return pb.ListSessionsResponse(sessions=[session])


@asynccontextmanager
async def _serving(field: str, role: CallerRole = CallerRole.CALLER) -> AsyncIterator[int]:
    identity = Identity([], Certificates(field, role, lambda: AUTHORITY.certificate))
    server = grpc.aio.server(
        interceptors=[
            Layers(
                ErrorsInterceptor(),
                AuthInterceptor(identity, RefusedCalls()),
                DecodeInterceptor(),
            )
        ]
    )
    pb_grpc.add_ConversationServiceServicer_to_server(WhoIsIt(), server)
    own = AUTHORITY.pair(("CN", "localhost"))
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials(
            [own], root_certificates=AUTHORITY.certificate, require_client_auth=True
        ),
    )
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def _channel(port: int, pair: Pair) -> AsyncIterator[grpc.aio.Channel]:
    credentials = grpc.ssl_channel_credentials(AUTHORITY.certificate, *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
        yield channel


async def _who(channel: grpc.aio.Channel, metadata: Any = ()) -> tuple[str, str]:
    (page,) = await called(channel, "ListSessions", request_of("ListSessions", ""), metadata)
    return page.sessions[0].session_id, page.sessions[0].user_id


@pytest.mark.parametrize(
    ("field", "tenant"),
    [("common_name", "gateway"), ("organization", "acme"), ("uri", "spiffe://example/acme/chat")],
)
async def test_a_field_of_the_certificate_names_the_tenant(field: str, tenant: str) -> None:
    """The one that the operator chose; the role is a setting, too."""
    pair = AUTHORITY.pair(*ACME, uris=["spiffe://example/acme/chat"])
    async with _serving(field, CallerRole.READER) as port, _channel(port, pair) as channel:
        assert await _who(channel) == (tenant, "reader")


@pytest.mark.parametrize(
    ("field", "pair"),
    [
        ("organization", AUTHORITY.pair(("CN", "acme"))),
        ("organization", AUTHORITY.pair(("O", "acme"), ("O", "globex"))),
        ("organization", AUTHORITY.pair(("O", "acme inc"))),
        ("organization", AUTHORITY.pair(("O", "акме"))),
        ("common_name", AUTHORITY.pair(("O", "acme"))),
        ("uri", AUTHORITY.pair(*ACME)),
        ("uri", AUTHORITY.pair(*ACME, uris=["spiffe://a/b", "spiffe://a/c"])),
    ],
)
async def test_a_certificate_that_names_no_tenant_is_refused(field: str, pair: Pair) -> None:
    """Or several; every RPC, and again."""
    async with _serving(field) as port, _channel(port, pair) as channel:
        for method in [*METHODS, *METHODS]:
            error = await error_of(called(channel, method, request_of(method, "s")))
            assert error.what == REFUSED


async def test_a_bad_token_is_not_made_up_for_by_a_certificate() -> None:
    """Who shows a token is judged by it."""
    async with (
        _serving("organization") as port,
        _channel(port, AUTHORITY.pair(*ACME)) as channel,
    ):
        assert await _who(channel) == ("acme", "caller")
        error = await error_of(_who(channel, bearer("x")))
        assert error.what == REFUSED


async def test_a_stranger_gets_no_handshake() -> None:
    """Signed by somebody else."""
    stranger = Authority("another").pair(*ACME)
    async with _serving("organization") as port, _channel(port, stranger) as channel:
        assert (await error_of(_who(channel))).code is grpc.StatusCode.UNAVAILABLE


async def test_a_connection_does_not_outlive_its_certificate() -> None:
    """The handshake was in time; the call is not."""
    pair = AUTHORITY.pair(*ACME, lasts=timedelta(seconds=2))
    async with _serving("organization") as port, _channel(port, pair) as channel:
        assert await _who(channel) == ("acme", "caller")
        await asyncio.sleep(2.2)
        error = await error_of(_who(channel))
    assert error.what == REFUSED
    assert "expired" in error.message


async def test_a_refused_certificate_does_not_speak_for_the_tokens_on_its_connection(
    tmp_path: Path,
) -> None:
    """A proxy's connection carries the calls of many, and a call with a token is that token's."""
    (tmp_path / "tenants").write_text("acme: {requests_per_second: 0.001, request_burst: 1}")
    own = PairOfFiles(*reversed(AUTHORITY.pair(("CN", "localhost")))).write(tmp_path)
    (tmp_path / "ca").write_bytes(AUTHORITY.certificate)
    settings = {
        **own.settings(),
        "TURNKEEP_TLS_CLIENT_CA_FILE": str(tmp_path / "ca"),
        "TURNKEEP_MTLS_TENANT": "organization",
        "TURNKEEP_KEYS_FILE": str(keys_file(tmp_path, "globex")),
        "TURNKEEP_TENANTS_FILE": str(tmp_path / "tenants"),
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_MODEL": "parrot",
    }
    request = request_of("ListSessions", "")
    async with ServerProcess(settings) as server:
        port = int(server.address.rpartition(":")[2])
        async with _channel(port, AUTHORITY.pair(*ACME)) as proxy:
            assert await called(proxy, "ListSessions", request)
            for _ in range(5):
                error = await error_of(called(proxy, "ListSessions", request))
                assert error.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
                assert await called(proxy, "ListSessions", request, as_tenant("globex"))
                error = await error_of(called(proxy, "ListSessions", request, bearer("x")))
                assert error.what == REFUSED


async def test_a_certificate_is_read_once() -> None:
    """Its fields do not change; so many are remembered, and what is none is refused."""
    certificates = Certificates("organization", CallerRole.ADMIN, lambda: AUTHORITY.certificate)
    pem = AUTHORITY.pair(*ACME).certificate
    caller = certificates.caller(pem)
    assert caller is certificates.caller(pem)
    assert isinstance(caller, Caller)
    assert caller.may_add_system
    with pytest.raises(BadCredentials):
        certificates.caller(b"rubbish")
    assert set(TENANT_FIELDS) == {"common_name", "organization", "uri"}


def _is_let_in(certificates: Certificates, pem: bytes, above: bytes = b"") -> bool:
    try:
        return bool(certificates.caller(pem, above))
    except BadCredentials as error:
        return "authority" not in error.why  # which is no reason that these tests know


async def test_an_authority_that_was_taken_out_vouches_for_nobody() -> None:
    """Whoever connected while it was in is refused, and let in when it is back."""
    old, new = Authority("old"), Authority("new")
    now = [old.certificate + new.certificate]
    certificates = Certificates("organization", CallerRole.CALLER, lambda: now[0])
    theirs, ours = old.pair(*ACME).certificate, new.pair(*ACME).certificate
    impostor = Authority("new").pair(*ACME).certificate  # of another authority of that name
    for client_ca, of_old, of_new in (
        (now[0], True, True),
        (new.certificate, False, True),
        (old.certificate, True, False),
        (b"", False, False),
        (new.certificate + old.certificate, True, True),
    ):
        now[0] = client_ca
        for _ in range(2):
            assert _is_let_in(certificates, theirs) is of_old
            assert _is_let_in(certificates, ours) is of_new
            assert not _is_let_in(certificates, impostor)
    now[0] = theirs  # the certificate itself, as its own authority
    assert _is_let_in(certificates, theirs)


async def test_the_way_to_an_authority_leads_over_authorities_alone() -> None:
    """Those that the caller sent along; another caller's certificate vouches for nobody."""
    root, stranger = Authority("root"), Authority("stranger")
    between = Authority("between", above=root)
    crossed = stranger.vouch_for(between)
    pem = between.pair(*ACME).certificate
    certificates = Certificates("organization", CallerRole.CALLER, lambda: root.certificate)
    assert _is_let_in(certificates, pem, between.certificate)
    assert _is_let_in(certificates, pem, crossed + between.certificate)
    assert not _is_let_in(certificates, pem, crossed)
    assert not _is_let_in(certificates, pem)
    caller = Authority("caller", above=root, is_one=False)
    assert not _is_let_in(certificates, caller.pair(*ACME).certificate, caller.certificate)
    only_between = Certificates("organization", CallerRole.CALLER, lambda: between.certificate)
    assert _is_let_in(only_between, pem)


async def test_what_a_certificate_is_costs_nothing_the_second_time() -> None:
    """A thousandth of a turn."""
    certificates = Certificates("organization", CallerRole.CALLER, lambda: AUTHORITY.certificate)
    pem = AUTHORITY.pair(*ACME).certificate
    certificates.caller(pem)
    began = time.process_time()
    for _ in range(1_000):
        certificates.caller(bytes(bytearray(pem)))  # another object at each call, as gRPC's
    assert (time.process_time() - began) / 1_000 < 50e-6
