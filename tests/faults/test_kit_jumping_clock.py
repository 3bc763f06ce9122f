"""The kit's clock: a mongod's, or any process's, jumps while it runs."""

import os
import sys
import time
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from tests.kit.child import Child
from tests.kit.jumping_clock import JumpingClock, why_not
from tests.kit.mongod import Mongod

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
AN_HOUR = 3_600.0
TELLING = """
import time
began = time.monotonic()
time.sleep(0.2)
print(time.time(), time.monotonic() - began)
"""


async def test_a_mongods_clock_jumps_there_and_back(tmp_path: Path) -> None:
    clock = JumpingClock(tmp_path)
    async with (
        Mongod(tmp_path / "data", env={**os.environ, **clock.env}) as mongod,
        AsyncMongoClient[dict[str, object]](mongod.url, tz_aware=True) as client,
    ):

        async def ahead() -> float:
            """The seconds by which mongod's clock, as `$$NOW` tells it, is ahead."""
            pipeline = [{"$documents": [{}]}, {"$project": {"now": {"$toLong": "$$NOW"}}}]
            (found,) = await (await client.admin.aggregate(pipeline)).to_list()
            return int(found["now"]) / 1_000 - time.time()

        assert abs(await ahead()) < 5
        clock.jump(AN_HOUR)
        assert abs(await ahead() - AN_HOUR) < 5
        await client["some"]["things"].insert_one({"_id": 1})
        clock.jump(-2 * AN_HOUR)
        assert abs(await ahead() + AN_HOUR) < 5
        await client["some"]["things"].insert_one({"_id": 2})


async def test_a_pythons_clock_jumps_and_its_monotonic_one_does_not(tmp_path: Path) -> None:
    clock = JumpingClock(tmp_path)
    clock.jump(-AN_HOUR)
    out = tmp_path / "out"
    argv = [sys.executable, "-c", TELLING]
    child = Child(argv, env={**os.environ, **clock.env}, stdout=out, stderr=out)
    assert await child.wait(10) == 0
    now, passed = map(float, out.read_text().split())
    assert abs(now - time.time() + AN_HOUR) < 5
    assert 0.2 <= passed < 2
