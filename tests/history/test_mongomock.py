"""The contract on the MongoDB backend over mongomock: milliseconds, no server."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tests.history.contract import HistoryContract
from tests.kit.mongomock_async import AsyncMongomockClient
from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.history.mongodb import store_over
from turnkeep_server.history.mongodb_connection import MongoDBConnection


class TestMongomock(HistoryContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[HistoryStore]:
        client = cast(Any, AsyncMongomockClient())
        async with store_over(MongoDBConnection(client, "test", 5.0), 15.0) as store:
            yield store
