"""`turnkeep doctor`: what is wrong, and what to do about it."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.cli.command import Turnkeep
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.kit.tls_files import Authority
from turnkeep import __version__
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as pb_grpc

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = ["reach", "tls", "health", "token", "history", "version", "clock"]
SERVICE = "turnkeep.v1.ConversationService"


class Odd(pb_grpc.ConversationServiceServicer):
    """A server that lets nobody in, is of a series to come, and whose clock is an hour behind."""

    async def ListSessions(  # noqa: N802  # the RPC's name
        self, request: Any, context: Any
    ) -> pb.ListSessionsResponse:
        clock_ms = int((asyncio.get_running_loop().time() - 3600) * 1000)
        await context.send_initial_metadata(
            (("turnkeep-version", "9.1.0"), ("turnkeep-clock-ms", str(clock_ms)))
        )
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token that is known")
        raise AssertionError


@asynccontextmanager
async def _odd(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[str]:
    server = grpc.aio.server()
    pb_grpc.add_ConversationServiceServicer_to_server(Odd(), server)
    healthy = health.aio.HealthServicer()
    await healthy.set(SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = (
        server.add_secure_port("127.0.0.1:0", credentials)
        if credentials
        else server.add_insecure_port("127.0.0.1:0")
    )
    await server.start()
    try:
        yield f"localhost:{port}"
    finally:
        await server.stop(None)


@pytest_asyncio.fixture(loop_scope="session")
async def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost, signed by itself; its key is beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not there")
    path = tmp_path / "сертификат.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(path.with_suffix(".key")), "-out", str(path))
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    made = await asyncio.create_subprocess_exec(
        "openssl", "req", *kind, *subject, *files, stderr=subprocess.DEVNULL
    )
    assert await made.wait() == 0
    return path


def _verdicts(document: Any) -> dict[str, str]:
    return {each["name"]: each["verdict"] for each in document["checks"]}


async def test_a_server_that_is_well_passes_every_check(
    command: Turnkeep, server: ServerProcess
) -> None:
    """One line each; exit code 0."""
    ended = await command("doctor")
    lines = [line.split(maxsplit=2) for line in ended.stdout.splitlines()]

    assert (ended.code, ended.stderr) == (0, "")
    assert [name for _, name, _ in lines] == NAMES
    assert {verdict for verdict, _, _ in lines} == {"ok"}
    assert server.address in lines[0][2]
    assert lines[5][2] == f"client {__version__}, server {__version__}"


async def test_each_thing_that_is_wrong_is_told_with_its_remedy(home: dict[str, str]) -> None:
    """Token, health, version and clock, all in one run; exit code 1."""
    async with _odd() as address:
        ended = await Turnkeep(home)("-s", address, "doctor", "--json")
    checks = {each["name"]: each for each in ended.document["checks"]}

    assert ended.code == 1
    assert ended.document["ok"] is False
    assert _verdicts(ended.document) == {
        "reach": "ok",
        "tls": "ok",
        "health": "failed",
        "token": "failed",
        "history": "skipped",
        "version": "failed",
        "clock": "failed",
    }
    assert "TURNKEEP_TOKEN" in checks["token"]["remedy"]
    assert "turnkeep-client==9.*" in checks["version"]["remedy"]
    assert "NTP" in checks["clock"]["remedy"]


async def test_where_nobody_listens_nothing_else_is_tried(home: dict[str, str]) -> None:
    """The rest is skipped, and a name that nobody knows is told from a port that is closed."""
    closed = await Turnkeep(home)("-s", f"127.0.0.1:{free_port()}", "doctor")
    unknown = await Turnkeep(home)("-s", "нет.invalid:1", "doctor")

    assert (closed.code, unknown.code) == (1, 1)
    assert "connection refused" in closed.stdout.splitlines()[0]
    assert "nobody knows the name" in unknown.stdout.splitlines()[0]
    assert [line.split()[0] for line in closed.stdout.splitlines()] == ["failed", *["skipped"] * 6]


async def test_a_port_that_speaks_no_grpc_is_told(home: dict[str, str]) -> None:
    """Such as a web server's."""
    web = await asyncio.start_server(_answer_http, "127.0.0.1", 0)
    async with web:
        ended = await Turnkeep(home)("-s", _address(web), "doctor")
    assert "speaks no gRPC" in ended.stdout


async def _answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    writer.close()


def _address(server: asyncio.Server) -> str:
    name: tuple[str, int] = server.sockets[0].getsockname()
    return f"{name[0]}:{name[1]}"


async def test_tls_is_told_apart(home: dict[str, str], certificate: Path) -> None:
    """Trusted, not trusted, and not spoken, on either side."""
    pair = (certificate.with_suffix(".key").read_bytes(), certificate.read_bytes())
    doctor = Turnkeep(home)
    async with _odd(grpc.ssl_server_credentials([pair])) as address:
        trusted = await doctor("-s", address, "--ca-file", str(certificate), "doctor", "--json")
        stranger = await doctor("-s", address, "--tls", "doctor")
        plain = await doctor("-s", address, "doctor")
    async with _odd() as address:
        wanted = await doctor("-s", address, "doctor", TURNKEEP_CA_FILE=str(certificate))

    assert _verdicts(trusted.document)["tls"] == "ok"
    assert "is not trusted" in stranger.stdout
    assert "--ca-file" in stranger.stdout
    assert "it speaks TLS; give --tls" in plain.stdout
    assert "it speaks no TLS" in wanted.stdout


async def test_a_server_that_wants_a_certificate_is_told(
    home: dict[str, str], tmp_path: Path
) -> None:
    """And lets in whose certificate it trusts, by options or by variables."""
    ours, theirs = Authority(), Authority()
    shown = theirs.issue("client.example").write(tmp_path, "клиент")
    other = ours.issue("stranger.example").write(tmp_path, "чужой")
    ca, pair = str(ours.write(tmp_path / "ca.pem")), ours.issue()
    doctor = Turnkeep({**home, "TURNKEEP_CA_FILE": ca})
    own = ("--certificate-file", "--certificate-key-file")
    wants = grpc.ssl_server_credentials([(pair.key, pair.chain)], theirs.pem, True)
    async with _odd(wants) as address:
        none = await doctor("-s", address, "doctor")
        strange = [*own[:1], f"{other.certificate}", *own[1:], f"{other.key}"]
        stranger = await doctor("-s", address, *strange, "doctor")
        unfit = [*own[:1], f"{other.certificate}", *own[1:], f"{shown.key}"]
        no_pair = await doctor("-s", address, *unfit, "doctor")
        variables = {
            "TURNKEEP_CERTIFICATE_FILE": f"{shown.certificate}",
            "TURNKEEP_CERTIFICATE_KEY_FILE": f"{shown.key}",
        }
        known = await doctor("-s", address, "doctor", "--json", **variables)

    for refused in (none, stranger):
        assert "a certificate of yours that it trusts; give --certificate-file" in refused.stdout
        assert refused.stderr == ""
    assert "is the key that of the certificate?" in no_pair.stdout
    assert _verdicts(known.document)["tls"] == "ok"


async def test_a_host_that_drops_packets_is_given_up(home: dict[str, str]) -> None:
    """In seconds: a connection that nobody takes looks like one that nobody answers."""
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)  # Linux takes one more than this; the third hangs
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        began = asyncio.get_running_loop().time()
        ended, doctor = await asyncio.gather(
            Turnkeep(home)("-s", address, "sessions"), Turnkeep(home)("-s", address, "doctor")
        )
    assert ended.code == 3
    assert asyncio.get_running_loop().time() - began < 9
    assert "no answer at all" in doctor.stdout
