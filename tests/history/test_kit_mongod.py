"""The kit's mongod: real, and it keeps what it acknowledged."""

import os
import time
from pathlib import Path

import pymongo
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import ConnectionFailure

from tests.kit.mongod import Mongod

Client = AsyncMongoClient[dict[str, object]]


async def test_a_killed_mongod_comes_back_with_what_it_acknowledged(tmp_path: Path) -> None:
    async with Mongod(tmp_path / "data") as mongod, Client(mongod.url_for("kept")) as client:
        turns = client.get_default_database()["turns"]
        concern = pymongo.WriteConcern("majority", j=True)
        await turns.with_options(write_concern=concern).insert_one({"_id": 1, "text": "Привет 👋"})
        killed = mongod.pid
        mongod.kill()
        with pytest.raises(ConnectionFailure), pymongo.timeout(0.3):
            await turns.find_one({"_id": 1})

        await mongod.start()

        assert await turns.find_one({"_id": 1}) == {"_id": 1, "text": "Привет 👋"}
        assert mongod.pid != killed
        hello = await client.admin.command("hello")
        assert hello["setName"] == "rs0"


async def test_a_paused_mongod_answers_nobody_until_it_is_resumed(tmp_path: Path) -> None:
    async with Mongod(tmp_path / "data", replica_set=None) as mongod, Client(mongod.url) as client:
        await client.admin.command("ping")
        mongod.pause()
        with pytest.raises(ConnectionFailure), pymongo.timeout(0.2):
            await client.admin.command("ping")
        mongod.resume()
        assert (await client.admin.command("ping"))["ok"] == 1
        assert "setName" not in await client.admin.command("hello")


async def test_a_mongod_takes_the_drivers_own_faults(tmp_path: Path) -> None:
    async with (
        Mongod(tmp_path / "data", replica_set=None) as mongod,
        Client(mongod.url, retryReads=False) as client,
    ):
        fault = {"failCommands": ["find"], "closeConnection": True}
        await client.admin.command(
            {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": fault}
        )
        with pytest.raises(ConnectionFailure):
            await client["some"]["things"].find_one()


async def test_nothing_is_left_when_a_mongod_ends_paused_or_not(tmp_path: Path) -> None:
    async with Mongod(tmp_path / "data", replica_set=None) as mongod:
        pid = mongod.pid
        mongod.pause()
        leaving_at = time.monotonic()
    assert time.monotonic() - leaving_at < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="not running"):
        _ = mongod.pid


async def test_a_mongod_that_cannot_start_says_why(tmp_path: Path) -> None:
    mongod = Mongod(tmp_path / "data", replica_set=None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "storage.bson").write_bytes(b"rubbish")
    with pytest.raises(RuntimeError, match=r"(?s)exited with .*its log ends.*storage"):
        await mongod.start()
