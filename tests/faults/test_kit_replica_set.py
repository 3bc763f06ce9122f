"""The kit's replica set: it elects another primary, however it loses the one it has."""

from collections.abc import AsyncIterator

import pymongo
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.kit.mongod import Mongod
from tests.kit.replica_set import ReplicaSet

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
MAJORITY = pymongo.WriteConcern("majority", j=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReplicaSet]:
    async with ReplicaSet(tmp_path_factory.mktemp("set")) as replicas:
        yield replicas


@pytest.mark.parametrize("fault", ["kill", "step_down", "freeze"])
async def test_a_set_without_its_primary_elects_another_which_has_every_acknowledged_write(
    replicas: ReplicaSet, fault: str
) -> None:
    async with AsyncMongoClient[dict[str, object]](replicas.url_for("kept")) as client:
        turns = client["kept"]["turns"].with_options(write_concern=MAJORITY)
        await turns.insert_one({"_id": fault, "text": "Привет 👋"})
        old = await replicas.primary()
        if fault == "kill":
            await replicas.kill(old)
        elif fault == "step_down":
            await replicas.step_down(old)
        else:
            replicas.freeze(old)

        new = await replicas.primary()
        assert new is not old
        assert await found(new, fault) == "Привет 👋"

        if fault == "kill":
            await replicas.restart(old)
        elif fault == "freeze":
            replicas.resume(old)
        await replicas.settled()
        assert await turns.find_one({"_id": fault})


async def found(member: Mongod, key: str) -> object:
    async with AsyncMongoClient[dict[str, object]](member.url) as client:
        document = await client["kept"]["turns"].find_one({"_id": key})
        return document and document["text"]


async def test_nothing_is_left_when_a_set_ends_frozen_or_not(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with ReplicaSet(tmp_path_factory.mktemp("left"), size=1) as replicas:
        member = await replicas.primary()
        replicas.freeze(member)
    with pytest.raises(RuntimeError, match="is not running"):
        _ = member.pid
