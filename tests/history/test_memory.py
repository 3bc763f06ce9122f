"""The contract on `memory://`."""

from collections.abc import AsyncIterator

import pytest

from tests.history.contract import HistoryContract
from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.history.memory import open_store


class TestInMemory(HistoryContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[HistoryStore]:
        async with open_store("memory://", lease_seconds=15, operation_timeout_seconds=5) as store:
            yield store
