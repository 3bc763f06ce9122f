"""TLS on a real server: which versions, who must show what, who may ask for its health."""

import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.kit.tls_files import Authority
from tests.rpc.command import turnkeep_server
from turnkeep import ConversationClient, Unavailable
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="session")
CA, CLIENTS_CA = Authority(), Authority()
PARROT = {"TURNKEEP_HISTORY_URL": "memory://", "TURNKEEP_MODEL": "parrot"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of this module: a server's, two clients', and their authorities'."""
    folder = tmp_path_factory.mktemp("tls")
    CA.issue().write(folder, "server")
    CLIENTS_CA.issue("client.example", common_name="acme").write(folder, "client")
    Authority().issue("stranger.example").write(folder, "stranger")
    CA.write(folder / "ca.pem")
    CLIENTS_CA.write(folder / "clients-ca.pem")
    return folder


def tls(folder: Path) -> dict[str, str]:
    """The settings of TLS."""
    return {
        "TURNKEEP_TLS_CERTIFICATE_FILE": str(folder / "server.crt"),
        "TURNKEEP_TLS_KEY_FILE": str(folder / "server.key"),
    }


def mtls(folder: Path) -> dict[str, str]:
    """The settings of TLS in which clients must show a certificate."""
    return {
        **tls(folder),
        "TURNKEEP_TLS_CLIENT_CA_FILE": str(folder / "clients-ca.pem"),
        "TURNKEEP_MTLS_TENANT": "common_name",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def encrypted(folder: Path) -> AsyncIterator[ServerProcess]:
    """A server with TLS."""
    async with ServerProcess({**PARROT, **tls(folder)}) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mutual(folder: Path) -> AsyncIterator[ServerProcess]:
    """A server with mTLS, open to all interfaces, and a port for health checks."""
    settings = {
        **mtls(folder),
        "TURNKEEP_LISTEN": "0.0.0.0:0",
        "TURNKEEP_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
    }
    async with listening_everywhere({**PARROT, **settings}) as process:
        yield process


@asynccontextmanager
async def listening_everywhere(env: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """A server on every interface; its address is that of this machine."""
    process = ServerProcess(env, address=re.compile(r"0\.0\.0\.0:[1-9][0-9]*"))
    async with process:
        process.address = process.address.replace("0.0.0.0", "127.0.0.1")
        yield process


def handshake(address: str, version: ssl.TLSVersion) -> str | None:
    """The version that a client that speaks this one alone agrees on with the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    # Or OpenSSL itself would not offer the old ones.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return connection.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("name", ["TLSv1", "TLSv1_1"])
async def test_old_versions_of_tls_are_refused(encrypted: ServerProcess, name: str) -> None:
    """By the server: the client of this test would take them."""
    with pytest.raises((ssl.SSLError, ConnectionError)) as refused:
        handshake(encrypted.address, ssl.TLSVersion[name])
    assert "NO_PROTOCOLS_AVAILABLE" not in str(refused.value)
    assert "NO_CIPHERS" not in str(refused.value)


@pytest.mark.parametrize("name", ["TLSv1_2", "TLSv1_3"])
async def test_newer_ones_are_spoken(encrypted: ServerProcess, name: str) -> None:
    spoken = handshake(encrypted.address, ssl.TLSVersion[name])
    assert spoken == name.replace("_", ".")


async def test_a_call_over_tls_is_answered_and_the_line_says_how(
    encrypted: ServerProcess, folder: Path
) -> None:
    async with ConversationClient(encrypted.address, tls=folder / "ca.pem") as client:
        assert (await client.session("tls").chat("Привет 你好 🙂")).sequence == 1
    assert " · TLS, no identity · history memory://" in encrypted.line
    assert encrypted.log == [*filter(_is_json, encrypted.log)]


def _is_json(line: str) -> bool:
    return isinstance(json.loads(line), dict)


async def test_a_call_in_the_clear_is_not_answered(encrypted: ServerProcess) -> None:
    async with ConversationClient(encrypted.address, max_attempts=1) as client:
        with pytest.raises(Unavailable):
            await client.session("tls").chat("?")


async def test_mtls_lets_in_whom_its_authorities_know(mutual: ServerProcess, folder: Path) -> None:
    known = (folder / "client.crt", folder / "client.key")
    async with ConversationClient(
        mutual.address, tls=folder / "ca.pem", certificate=known
    ) as client:
        assert (await client.session("tls").chat("Привет")).sequence == 1
    assert " · mTLS, identity · " in mutual.line


@pytest.mark.parametrize("shown", [None, "stranger"])
async def test_mtls_lets_in_nobody_else(
    mutual: ServerProcess, folder: Path, shown: str | None
) -> None:
    """Neither calls nor health checks."""
    certificate = (folder / f"{shown}.crt", folder / f"{shown}.key") if shown else None
    async with ConversationClient(
        mutual.address, tls=folder / "ca.pem", certificate=certificate, max_attempts=1
    ) as client:
        with pytest.raises(Unavailable):
            await client.session("tls").chat("?")


async def test_the_health_port_answers_health_checks_and_nothing_else(
    mutual: ServerProcess,
) -> None:
    """In the clear, as Kubernetes asks; what else is called there is not known there."""
    address = mutual.env["TURNKEEP_HEALTH_LISTEN"]
    assert f" · health on {address}\n" in mutual.line
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", "liveness", "turnkeep.v1.ConversationService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await ConversationServiceStub(channel).Chat(pb.ChatRequest(), timeout=5)
        assert told.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_health_command_asks_a_server_with_tls(
    encrypted: ServerProcess, folder: Path
) -> None:
    """By the server's own settings, the address aside, and whatever its certificate says."""
    env = {**PARROT, **tls(folder), "TURNKEEP_LISTEN": encrypted.address}
    asked = await turnkeep_server("health", env=env)
    assert (asked.code, asked.stdout) == (0, f"{encrypted.address}: SERVING\n")
    missing = {**env, "TURNKEEP_TLS_KEY_FILE": "/нет", "TURNKEEP_TLS_CERTIFICATE_FILE": "/нет"}
    assert (await turnkeep_server("health", env=missing)).code == 0
    nobody = await turnkeep_server("health", "--address", f"127.0.0.1:{free_port()}", env=env)
    assert (nobody.code, nobody.stdout.split()[-1]) == (1, "UNAVAILABLE")


async def test_the_health_command_asks_a_server_with_mtls(
    mutual: ServerProcess, folder: Path
) -> None:
    """At the port for health; without one the command says what to set."""
    env = {**mutual.env, "TURNKEEP_LISTEN": mutual.address}
    asked = await turnkeep_server("health", env=env)
    assert (asked.code, asked.stdout.split()[-1]) == (0, "SERVING")
    refused = await turnkeep_server("health", env={**env, "TURNKEEP_HEALTH_LISTEN": ""})
    assert refused.code == 1
    assert "set TURNKEEP_HEALTH_LISTEN" in refused.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_server_that_is_open_to_all_does_not_start(
    folder: Path, workers: str, with_tls: bool
) -> None:
    """Exit 2, before anything is dialled, with what is missing and what to set."""
    env = {
        "TURNKEEP_MODEL": "parrot",
        "TURNKEEP_HISTORY_URL": "mongodb://127.0.0.1:1/x",
        "TURNKEEP_LISTEN": "0.0.0.0:0",
        "TURNKEEP_WORKERS": workers,
        **(tls(folder) if with_tls else {}),
    }
    ended = await turnkeep_server(env=env)
    assert (ended.code, ended.stdout) == (2, "")
    assert "TURNKEEP_LISTEN=0.0.0.0:0 can be reached from beyond this machine" in ended.stderr
    assert "no identity: set TURNKEEP_" in ended.stderr
    assert ("no TLS: set TURNKEEP_TLS_CERTIFICATE_FILE" in ended.stderr) is not with_tls
    assert "TURNKEEP_INSECURE=1" in ended.stderr


async def test_one_that_is_said_to_be_insecure_starts_and_warns() -> None:
    env = {**PARROT, "TURNKEEP_LISTEN": "0.0.0.0:0", "TURNKEEP_INSECURE": "1"}
    async with listening_everywhere(env) as server:
        async with ConversationClient(server.address) as client:
            assert (await client.session("tls").chat("Привет")).sequence == 1
        warnings = [json.loads(line) for line in server.log if '"insecure"' in line]
        assert " · no TLS, no identity · " in server.line
    assert [each["level"] for each in warnings] == ["warning"]
    assert "no TLS" in warnings[0]["problem"]
    assert "no identity" in warnings[0]["problem"]


async def test_a_bad_certificate_ends_the_start_of_workers_too(
    folder: Path, tmp_path: Path
) -> None:
    """Exit 2 with the file; as told by the first worker that reads it."""
    files = CA.issue(expires_days=-0.5).write(tmp_path)
    history = {"TURNKEEP_HISTORY_URL": "mongodb://127.0.0.1:1/x", "TURNKEEP_WORKERS": "2"}
    ended = await turnkeep_server(
        env={**PARROT, **history, **files.settings(), "TURNKEEP_LISTEN": "127.0.0.1:0"}
    )
    assert (ended.code, ended.stdout) == (2, "")
    assert f"TURNKEEP_TLS_CERTIFICATE_FILE: {files.certificate}: the certificate" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_the_port_for_health_may_not_be_taken(server: ServerProcess) -> None:
    env = {**PARROT, "TURNKEEP_LISTEN": "127.0.0.1:0", "TURNKEEP_HEALTH_LISTEN": server.address}
    ended = await turnkeep_server(env=env)
    assert ended.code == 1
    assert "set TURNKEEP_HEALTH_LISTEN to another address" in ended.stderr
