"""Credentials that are withdrawn while the server serves: refused from the next call on."""

import asyncio
import json
import time
from pathlib import Path

import grpc
import pytest

from tests.kit.issuer import AUDIENCE, ISSUER, Issuer
from tests.kit.jwks_server import JwksServer
from tests.kit.rpcs import METHODS, bearer, called, request_of
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.command import turnkeep_server
from tests.rpc.session import new_id
from turnkeep_server.credentials.keys import new_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED = (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS")
BASE = {
    "TURNKEEP_HISTORY_URL": "memory://",
    "TURNKEEP_MODEL": "parrot",
    "TURNKEEP_LOG_FORMAT": "json",
}
JWT = {"TURNKEEP_JWT_ISSUER": ISSUER, "TURNKEEP_JWT_AUDIENCE": AUDIENCE}


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def _let_in(server: ServerProcess, token: str, methods: list[str] = METHODS) -> None:
    for method in methods:
        await called(server.stub()[0], method, request_of(method, new_id()), bearer(token))


async def _refused(server: ServerProcess, token: str, methods: list[str] = METHODS) -> None:
    for method in methods:
        call = called(server.stub()[0], method, request_of(method, new_id()), bearer(token))
        assert (await error_of(call)).what == REFUSED, method


async def test_a_key_that_was_taken_out_is_refused(tmp_path: Path) -> None:
    """By every RPC, without a signal; the tenant's other key goes on, through a broken file too."""
    file = tmp_path / "ключи"
    (old, old_line), (new, new_line) = (new_key(tenant="acme", role="caller") for _ in range(2))
    file.write_text(f"{old_line}\n{new_line}\n")
    async with ServerProcess({**BASE, "TURNKEEP_KEYS_FILE": str(file)}) as server:
        await _let_in(server, old)
        _replace(file, new_line)
        await _refused(server, old)
        await _let_in(server, new)

        _replace(file, new_line + "\nсломано")
        await _let_in(server, new)
        assert any("file_not_reloaded" in line and "line 2" in line for line in server.log)
        file.unlink()
        await _let_in(server, new, ["Chat"])
        _replace(file, old_line)
        await _let_in(server, old)
        await _refused(server, new)


async def test_the_last_key_is_taken_out(tmp_path: Path) -> None:
    """An emptied file lets nobody in, at SIGHUP at once; a new key in it counts at once."""
    file = tmp_path / "keys"
    (last, line), (new, new_line) = (new_key(tenant="acme", role="caller") for _ in range(2))
    file.write_text(line)
    async with ServerProcess({**BASE, "TURNKEEP_KEYS_FILE": str(file)}) as server:
        await _let_in(server, last, ["Chat"])
        _replace(file, "# никого\n")
        await _let_in(server, last, ["Chat"])  # the file may be half written
        server.hang_up()
        await _logged(server, "file_says_nothing")
        await _refused(server, last)
        _replace(file, new_line)
        await _let_in(server, new)
        await _refused(server, last, ["Chat"])
        _replace(file, new_line[:-1])
        await _let_in(server, new, ["Chat"])
        for _ in range(2):
            told = len([each for each in server.log if "file_not_reloaded" in each])
            server.hang_up()
            await _logged(server, "file_not_reloaded", told + 1)


async def _logged(server: ServerProcess, event: str, times: int = 1) -> None:
    async with asyncio.timeout(10):
        while len([each for each in server.log if event in each]) < times:
            await asyncio.sleep(0.01)


async def test_a_stream_that_runs_ends_well(tmp_path: Path) -> None:
    """A credential is looked at when a call begins."""
    file = tmp_path / "keys"
    key, line = new_key(tenant="acme", role="caller")
    file.write_text(line)
    async with ServerProcess({**BASE, "TURNKEEP_KEYS_FILE": str(file)}) as server:
        _, stub = server.stub()
        request = request_of("StreamChat", new_id(), text="слово " * 200)
        events = aiter(stub.StreamChat(request, metadata=bearer(key), timeout=20))
        assert (await anext(events)).WhichOneof("event") == "started"
        _replace(file, new_key(tenant="acme", role="caller")[1])
        await _refused(server, key, ["StreamChat"])
        assert [each.WhichOneof("event") async for each in events][-1] == "completed"


async def test_a_jwks_file_without_the_key(tmp_path: Path) -> None:
    """Its tokens are refused, though they were verified before and have not run out."""
    file, issuer = tmp_path / "jwks", Issuer("ec-1", "rsa-2")
    file.write_text(issuer.jwks)
    async with ServerProcess({**BASE, **JWT, "TURNKEEP_JWT_JWKS": str(file)}) as server:
        old, new = issuer.token("ec-1"), issuer.token("rsa-2")
        await _let_in(server, old)
        del issuer.keys["ec-1"]
        _replace(file, issuer.jwks)
        await _refused(server, old)
        await _let_in(server, new)


async def test_a_jwks_url_is_read_again_on_sighup() -> None:
    """A withdrawn key counts no more; a new one is known without being waited for."""
    issuer = Issuer("ec-1")
    async with (
        JwksServer(issuer.jwks) as published,
        ServerProcess({**BASE, **JWT, "TURNKEEP_JWT_JWKS": published.url}) as server,
    ):
        old = issuer.token("ec-1")
        await _let_in(server, old)
        del issuer.keys["ec-1"]
        issuer.add("ec-2")
        published.jwks = issuer.jwks
        server.hang_up()
        async with asyncio.timeout(10):
            while published.requests < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        await _refused(server, old)
        await _let_in(server, issuer.token("ec-2"))


async def test_a_token_runs_out(tmp_path: Path) -> None:
    """Between two calls, to the second; it was remembered."""
    file, issuer = tmp_path / "jwks", Issuer("ec-1")
    file.write_text(issuer.jwks)
    settings = {"TURNKEEP_JWT_JWKS": str(file), "TURNKEEP_JWT_LEEWAY_SECONDS": "0"}
    async with ServerProcess({**BASE, **JWT, **settings}) as server:
        token = issuer.token("ec-1", exp=int(time.time()) + 3)
        await _let_in(server, token, ["ListSessions"])
        await asyncio.sleep(3.2)
        error = await error_of(
            called(server.stub()[0], "Chat", request_of("Chat", new_id()), bearer(token))
        )
    assert error.what == REFUSED
    assert "expired" in error.message


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        ({"TURNKEEP_KEYS_FILE": "нет/такого"}, 2, "TURNKEEP_KEYS_FILE"),
        ({"TURNKEEP_KEYS_FILE": "/dev/null"}, 2, "turnkeep-server key new"),
        ({**JWT, "TURNKEEP_JWT_JWKS": "нет/такого"}, 2, "TURNKEEP_JWT_JWKS"),
        ({**JWT, "TURNKEEP_JWT_JWKS": "http://127.0.0.1:1/jwks"}, 1, "TURNKEEP_JWT_JWKS"),
    ],
)
async def test_what_is_wrong_stops_the_start(
    settings: dict[str, str], code: int, told: str
) -> None:
    """With the setting and what to do; nothing falls back to letting everybody in."""
    ended = await turnkeep_server(env={**BASE, "TURNKEEP_LISTEN": "127.0.0.1:0", **settings})

    assert ended.code == code
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "canary" not in ended.stderr


async def test_the_command_makes_a_key_that_is_let_in(tmp_path: Path) -> None:
    """Its line on stdout, for >>; the key on stderr, once."""
    ended = await turnkeep_server(
        "key", "new", "--tenant", "acme", "--user-id", "alice", "--days", "9"
    )
    assert ended.code == 0
    key = ended.stderr.split()[-1]
    line = json.loads(ended.stdout)
    assert (line["tenant"], line["user_id"]) == ("acme", "alice")
    assert key not in ended.stdout

    file = tmp_path / "keys"
    file.write_text(ended.stdout)
    async with ServerProcess({**BASE, "TURNKEEP_KEYS_FILE": str(file)}) as server:
        await _let_in(server, key)

    ended = await turnkeep_server("key", "new", "--tenant", "a b")
    assert ended.code == 2
    assert "tenant must be" in ended.stderr
