"""An import that is killed in the middle and run again: everything is there, nothing twice."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from tests.kit.child import Child, tail
from tests.kit.langchain_back import all_back
from tests.kit.langchain_histories import exchange, write_mongodb
from turnkeep_server.history.stores import opened_store
from turnkeep_server.turns import SessionKey, Turn, TurnStatus

PROGRAM = str(Path(sys.executable).with_name("turnkeep-server"))
SESSIONS = 5
EXCHANGES = 500  # of four messages each: 10,000 in all
COMPLETED = frozenset({TurnStatus.COMPLETED})


async def test_10_000_messages_are_imported_in_order_and_once_though_it_is_killed_twice(
    database_url: str, tmp_path: Path
) -> None:
    """SIGKILL early and late; then two at a time, to the end."""
    source = database_url.replace("/turnkeep_", "/from_")
    said = {
        f"сессия-{n}".encode().hex(): [
            message for k in range(EXCHANGES) for message in exchange(n * EXCHANGES + k)
        ]
        for n in range(SESSIONS)
    }
    assert sum(map(len, said.values())) == 10_000
    await asyncio.to_thread(write_mongodb, source, said, _database(source))

    for turns_at_least in (1, 1_000):
        running = _import(source, database_url, tmp_path)
        stored = await _turns_stored(database_url, turns_at_least)
        running.kill()
        assert stored < SESSIONS * EXCHANGES
    two = [_import(source, database_url, tmp_path / f"{n}") for n in range(2)]
    for running in two:
        assert await running.wait(timeout_seconds=60) == 0, tail(tmp_path / "stderr")

    for session_id, messages in said.items():
        _check(await _session(database_url, session_id), messages)


def _check(turns: list[Turn], said: list[BaseMessage]) -> None:
    assert [turn.sequence for turn in turns] == [*range(1, EXCHANGES + 1)]
    assert [turn.messages_before for turn in turns] == [*range(0, 4 * EXCHANGES, 4)]
    assert all_back([message for turn in turns for message in turn.messages]) == said


def _import(source: str, target: str, folder: Path) -> Child:
    folder.mkdir(exist_ok=True)
    argv = [PROGRAM, "import-langchain", "--from", source]
    env = {"TURNKEEP_HISTORY_URL": target}
    return Child(argv, env=env, stdout=folder / "stdout", stderr=folder / "stderr")


def _database(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


async def _turns_stored(url: str, at_least: int) -> int:
    async with AsyncMongoClient[dict[str, Any]](url) as client, asyncio.timeout(30):
        turns = client.get_default_database()["turns"]
        while (count := await turns.estimated_document_count()) < at_least:
            await asyncio.sleep(0.002)
        return count


async def _session(url: str, session_id: str) -> list[Turn]:
    opened = opened_store(SecretStr(url), lease_seconds=15.0, operation_timeout_seconds=10.0)
    async with opened as store:
        history = store.history(SessionKey("default", "", session_id))
        return list(await history.page(COMPLETED, limit=10_000))
