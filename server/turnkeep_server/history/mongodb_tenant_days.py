"""What each tenant used of a day, in tokens: one document, in which every process has its number.

A process writes its own sum and never adds to one that is there, so that a write that is sent
again, when no answer came, counts nothing twice.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from pymongo import UpdateOne

from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_documents import Document

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TenantDays:
    """The collection `tenant_days`. `process` is a new name for each process."""

    def __init__(self, connection: MongoDBConnection, process: str) -> None:
        self._connection = connection
        self._process = process

    async def share(
        self, day: int, mine: Mapping[str, int], tenants: Collection[str]
    ) -> Mapping[str, tuple[int, int]]:
        """See HistoryStore.share_tokens."""
        date = _EPOCH + timedelta(days=day)
        changes = [
            UpdateOne(
                {"_id": {"$eq": _id(tenant, date)}},
                {"$max": {f"tokens.{self._process}": tokens}, "$set": {"day": date}},
                upsert=True,
            )
            for tenant, tokens in mine.items()
        ]
        days = self._connection.tenant_days
        if changes:
            await self._connection.run(lambda: days.bulk_write(changes, ordered=False))
        found = await self._connection.find(
            days,
            {"_id": {"$in": [_id(tenant, date) for tenant in tenants]}},
            order=[("_id", 1)],
            limit=len(tenants),
        )
        return {each["_id"]["tenant"]: self._by_whom(each["tokens"]) for each in found}

    def _by_whom(self, tokens: Mapping[str, int]) -> tuple[int, int]:
        mine = tokens.get(self._process, 0)
        return mine, sum(tokens.values()) - mine


def _id(tenant: str, date: datetime) -> Document:
    return {"tenant": tenant, "day": date}
