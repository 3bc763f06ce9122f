"""MongoDB's password is replaced as docs/operations.md says, under load: no call fails."""

import asyncio
import base64
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from tests.faults.service import environment
from tests.faults.steady_callers import call_on, stored_questions
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from turnkeep import ConversationClient

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CALLERS = 8
DATABASE = "turnkeep"


class Guarded(Mongod):
    """A mongod that lets in its own users alone."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._root_password = secrets.token_urlsafe()

    async def __aenter__(self) -> "Guarded":
        await super().__aenter__()
        # Whoever is on its machine may make the first user.
        async with AsyncMongoClient[dict[str, Any]](self.url) as client:
            await client.admin.command(
                "createUser", "root", pwd=self._root_password, roles=["root"]
            )
        return self

    async def as_root(self, command: str, user: str, **fields: Any) -> None:
        """Has a command about a user done in the servers' database."""
        url = _with_user(self.url, "root", self._root_password, "admin")
        async with AsyncMongoClient[dict[str, Any]](url) as client:
            await client[DATABASE].command(command, user, **fields)

    async def new_user(self, name: str) -> str:
        """Makes a user with the rights that a server needs; the URI with its password."""
        password = secrets.token_urlsafe()
        await self.as_root("createUser", name, pwd=password, roles=["readWrite"])
        return _with_user(self.url_for(DATABASE), name, password, DATABASE)

    def _argv(self) -> list[str]:
        file = self.data_dir / "members-key"
        if not file.exists():
            file.write_bytes(base64.b64encode(secrets.token_bytes(48)))
            file.chmod(0o400)
        return [*super()._argv(), "--keyFile", str(file)]


def _with_user(url: str, name: str, password: str, database: str) -> str:
    return url.replace("://", f"://{name}:{password}@") + f"&authSource={database}"


async def _ping(url: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        await client[DATABASE]["turns"].find_one({}, {"_id": 1})


@pytest_asyncio.fixture(loop_scope="module")
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with Guarded(tmp_path / "guarded") as mongod:
        yield mongod


async def test_no_call_fails_while_the_databases_password_is_replaced(
    guarded: Guarded, model: OpenAIStub
) -> None:
    """A second user, a rolling restart, the first one dropped, whom nobody lets in any more."""
    model.delay_seconds = 0.02
    old = await guarded.new_user("turnkeep-1")
    env = environment(old, model, lame_duck_seconds=0.5, max_messages=4)
    pair = [ServerProcess({**env, "TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}"}) for _ in range(2)]
    over = asyncio.Event()
    async with pair[0], pair[1]:
        addresses = ",".join(each.address for each in pair)
        async with ConversationClient(f"ipv4:{addresses}") as client:
            callers = [asyncio.create_task(call_on(client, n, over)) for n in range(CALLERS)]
            new = await guarded.new_user("turnkeep-2")
            for server in pair:
                server.env["TURNKEEP_HISTORY_URL"] = new
                server.terminate()
                assert await server.wait() == 0, server.log[-20:]
                await server.start()
            await guarded.as_root("dropUser", "turnkeep-1")
            await asyncio.sleep(1.0)
            over.set()
            made = await asyncio.gather(*callers)
            stored = {n: await stored_questions(client, n) for n in range(CALLERS)}
        with pytest.raises(OperationFailure):
            await _ping(old)
        await _ping(new)

    assert stored == {n: Counter(said) for n, said in enumerate(made)}
    assert min(map(len, made)) > 3
