"""A server that the documentation's code may call."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(mongod: Mongod) -> AsyncIterator[ServerProcess]:
    async with OpenAIStub() as model:
        env = {
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "test",
            "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
            "TURNKEEP_SUMMARY": "off",
        }
        async with ServerProcess(env) as process:
            yield process
