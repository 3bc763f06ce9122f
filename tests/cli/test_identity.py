"""The command `turnkeep` at a server that lets nobody in without a credential."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cli.command import Turnkeep
from tests.kit.server_process import ServerProcess
from turnkeep_server.credentials.keys import new_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLER, READER = (new_key(tenant="acme", role=role) for role in ("caller", "reader"))
PINNED = new_key(tenant="acme", role="caller", user_id="alice")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server with keys."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("\n".join(line for _, line in (CALLER, READER, PINNED)))
    settings = {
        "TURNKEEP_KEYS_FILE": str(file),
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_MODEL": "parrot",
    }
    async with ServerProcess(settings) as server:
        yield server


@pytest.fixture
def command(guarded: ServerProcess, home: dict[str, str]) -> Turnkeep:
    """The command, set to that server."""
    return Turnkeep({**home, "TURNKEEP_SERVER": guarded.address})


async def test_a_token_of_the_environment_or_a_file_is_taken(
    command: Turnkeep, tmp_path: Path
) -> None:
    """And the other way round: without, the line says what to do."""
    file = tmp_path / "токен"
    file.write_text(CALLER[0] + "\n")
    send = ("send", "--session", "s", "Привет 👋")
    assert (await command(*send, TURNKEEP_TOKEN=CALLER[0])).code == 0
    assert (await command(*send, TURNKEEP_TOKEN_FILE=str(file))).code == 0
    refused = await command(*send)
    assert refused.code == 1
    assert "BAD_CREDENTIALS" in refused.stderr
    assert "TURNKEEP_TOKEN" in refused.stderr


async def test_what_a_token_may_not_is_said(command: Turnkeep) -> None:
    """Another role, another user."""
    for key, arguments in (
        (READER[0], ("send", "--session", "s", "?")),
        (PINNED[0], ("history", "--session", "s", "--user", "bob")),
        (CALLER[0], ("add", "--session", "s", "--role", "system", "Ты пират")),
    ):
        ended = await command(*arguments, TURNKEEP_TOKEN=key)
        assert ended.code == 1
        assert "NOT_PERMITTED" in ended.stderr
        assert "whoever runs the server" in ended.stderr


async def test_the_doctor_tells_a_bad_token(command: Turnkeep) -> None:
    """The clock still, since tokens end by it; the version to those alone who are let in."""
    for token in ("", "tk_wrong"):
        ended = await command("doctor", "--json", TURNKEEP_TOKEN=token)
        checks = {each["name"]: each for each in ended.document["checks"]}
        assert ended.code == 1
        assert {name: each["verdict"] for name, each in checks.items()} == {
            "reach": "ok",
            "tls": "ok",
            "health": "ok",
            "token": "failed",
            "history": "skipped",
            "version": "skipped",
            "clock": "ok",
        }
        assert "TURNKEEP_TOKEN" in checks["token"]["remedy"]
    for key in (CALLER[0], READER[0], PINNED[0]):
        assert (await command("doctor", TURNKEEP_TOKEN=key)).code == 0
