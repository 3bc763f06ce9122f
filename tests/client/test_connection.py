"""How a client connects: tokens, certificates, what it refuses."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import grpc
import pytest

import turnkeep
from tests.client.conftest import Caller
from tests.client.scripted_server import UNAVAILABLE, ScriptedServer
from tests.kit.tls_files import Authority

TLS = Path(__file__).parents[1] / "data" / "tls"
HERE = [
    "127.0.0.1:50051",
    "127.9.9.9:1",
    "localhost:50051",
    "localhost",
    "[::1]:50051",
    "dns:///localhost:50051",
    "ipv4:127.0.0.1:1,127.0.0.1:2",
    "unix:/run/turnkeep.sock",
    "unix-abstract:turnkeep",
]
ELSEWHERE = [
    "turnkeep:50051",
    "10.0.0.1:50051",
    "127.0.0.1.example:50051",
    "localhost.example:50051",
    "dns:///turnkeep:50051",
    "ipv4:127.0.0.1:1,10.0.0.1:2",
    "[2001:db8::1]:50051",
]


async def test_the_token_goes_with_every_attempt_and_may_change(
    server: ScriptedServer, caller_class: type[Caller]
) -> None:
    tokens = (f"token-{n}" for n in itertools.count())
    server.script.append(UNAVAILABLE)
    caller = caller_class(server.address, token=lambda: next(tokens))
    await caller.chat("Привет")
    await caller.streamed("Привет", [])
    await caller.close()

    sent = [each.metadata["authorization"] for each in server.attempts]
    assert sent == ["Bearer token-0", "Bearer token-1", "Bearer token-2"]


async def test_the_client_says_who_it_is(server: ScriptedServer, caller: Caller) -> None:
    await caller.chat("Привет")
    assert str(server.attempts[0].metadata["user-agent"]).startswith("turnkeep-client/")
    assert "authorization" not in server.attempts[0].metadata


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_token_does_not_leave_the_machine_in_the_clear(
    caller_class: type[Caller], target: str
) -> None:
    with pytest.raises(ValueError, match="tls=True"):
        caller_class(target, token="secret")
    caller_class(target)
    caller_class(target, token="secret", tls=False)
    caller_class(target, token="secret", tls=True)
    caller_class(target, token="secret", tls=grpc.ssl_channel_credentials())


@pytest.mark.parametrize("target", HERE)
def test_within_the_machine_a_token_needs_no_certificate(
    caller_class: type[Caller], target: str
) -> None:
    caller_class(target, token="secret")


def test_certificate_authorities_that_are_not_there_are_said_at_once(
    caller_class: type[Caller], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        caller_class("turnkeep:50051", tls=tmp_path / "ca.pem")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(caller_class: type[Caller], seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout_seconds"):
        caller_class("127.0.0.1:1", timeout_seconds=seconds)


def test_no_attempt_at_all_is_refused(caller_class: type[Caller]) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        caller_class("127.0.0.1:1", max_attempts=0)


async def test_over_tls_the_server_must_be_who_it_says(
    caller_class: type[Caller],
) -> None:
    certificate = (TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes()
    async with ScriptedServer(certificate=certificate) as server:
        trusting = caller_class(server.address, token="секрет".encode().hex(), tls=TLS / "ca.pem")
        assert (await trusting.chat("Привет")).text == "Привет 你好 🙂"
        await trusting.close()

        wary = caller_class(server.address, tls=True, max_attempts=1)
        with pytest.raises(turnkeep.Unavailable):
            await wary.chat("Привет")
        await wary.close()
        assert len(server.attempts) == 1


async def test_a_certificate_is_shown_to_a_server_that_asks_for_one(
    caller_class: type[Caller], tmp_path: Path
) -> None:
    clients = Authority()
    own = clients.issue("client.example").write(tmp_path, "клиент")
    pair = (TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes()
    async with ScriptedServer(certificate=pair, clients_ca=clients.pem) as server:
        known = caller_class(
            server.address, tls=TLS / "ca.pem", certificate=(own.certificate, own.key)
        )
        assert (await known.chat("Привет")).text == "Привет 你好 🙂"
        await known.close()

        unknown = caller_class(server.address, tls=TLS / "ca.pem", max_attempts=1)
        with pytest.raises(turnkeep.Unavailable):
            await unknown.chat("Привет")
        await unknown.close()


def test_a_certificate_that_cannot_be_shown_is_said_at_once(
    caller_class: type[Caller], tmp_path: Path
) -> None:
    own = Authority().issue("client.example").write(tmp_path, "клиент")
    pair = (own.certificate, own.key)
    caller_class("turnkeep:50051", token="secret", certificate=pair)
    for tls in (False, grpc.ssl_channel_credentials()):
        with pytest.raises(ValueError, match="a client certificate is for tls=True"):
            caller_class("turnkeep:50051", tls=tls, certificate=pair)
    with pytest.raises(ValueError, match=r"клиент\.key holds no certificate"):
        caller_class("turnkeep:50051", certificate=(own.key, own.key))
    with pytest.raises(ValueError, match=r"клиент\.crt holds no private key"):
        caller_class("turnkeep:50051", certificate=(own.certificate, own.certificate))
    with pytest.raises(FileNotFoundError):
        caller_class("turnkeep:50051", certificate=(own.certificate, tmp_path / "нет"))


async def test_a_server_that_is_not_trusted_is_not_asked_again(
    caller_class: type[Caller], tmp_path: Path
) -> None:
    """Though there would be an hour: time mends neither a name nor an authority."""
    ours = Authority()
    ca = ours.write(tmp_path / "ca.pem")
    for pair in (ours.issue("another.example"), Authority().issue()):
        async with ScriptedServer(certificate=(pair.key, pair.chain)) as server:
            caller = caller_class(server.address, tls=ca, timeout_seconds=3_600)
            with pytest.raises(turnkeep.Unavailable):
                await asyncio.wait_for(caller.chat("Привет"), 20)
            await caller.close()


@pytest.mark.parametrize("token", ["секрет", "secret\n", "sec\x00ret"])
async def test_a_token_that_no_header_carries_is_refused_and_not_quoted(
    server: ScriptedServer, caller_class: type[Caller], token: str
) -> None:
    with pytest.raises(ValueError, match="strip it") as caught:
        caller_class(server.address, token=token)
    assert token not in str(caught.value)

    caller = caller_class(server.address, token=lambda: token)
    with pytest.raises(ValueError, match="strip it"):
        await caller.chat("Привет")
    with pytest.raises(ValueError, match="strip it"):
        await caller.streamed("Привет", [])
    await caller.close()
    assert server.attempts == []


async def test_a_function_that_gives_no_token_is_not_sent_as_one(
    server: ScriptedServer, caller_class: type[Caller]
) -> None:
    nothing: Any = None
    caller = caller_class(server.address, token=lambda: nothing)
    with pytest.raises(TypeError, match="NoneType"):
        await caller.chat("Привет")
    await caller.close()
    assert server.attempts == []


def test_a_file_without_a_certificate_is_said_at_once(
    caller_class: type[Caller], tmp_path: Path
) -> None:
    file = tmp_path / "ключ.pem"
    file.write_text("-----BEGIN PRIVATE KEY-----")
    with pytest.raises(ValueError, match=r"ключ\.pem holds no certificate"):
        caller_class("turnkeep:50051", tls=file)
    with pytest.raises(TypeError, match="not a bytes"):
        caller_class("turnkeep:50051", tls=b"-----BEGIN CERTIFICATE-----")
