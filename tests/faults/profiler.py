"""MongoDB's profiler: what the service's operations cost the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient

APP = "turnkeep"


@dataclass
class Profile:
    """The service's operations in one database, while the profiler ran."""

    operations: list[dict[str, Any]] = field(default_factory=list)

    def documents_examined(self, collection: str = "") -> int:
        """In all, or in the operations on one collection."""
        return sum(each.get("docsExamined", 0) for each in self.on(collection))

    def keys_examined(self, collection: str = "") -> int:
        """In all, or in the operations on one collection."""
        return sum(each.get("keysExamined", 0) for each in self.on(collection))

    def plans(self) -> set[str]:
        """How documents were found: IXSCAN {…}, IDHACK, COLLSCAN …"""
        return {each["planSummary"] for each in self.operations if "planSummary" in each}

    def on(self, collection: str) -> list[dict[str, Any]]:
        """The operations on one collection; all of them for ""."""
        return [each for each in self.operations if each["ns"].endswith(collection)]


@asynccontextmanager
async def profiled(database_url: str) -> AsyncIterator[Profile]:
    """Profiles every operation until the block is left, then fills the profile."""
    profile = Profile()
    async with AsyncMongoClient[dict[str, Any]](database_url) as client:
        database = client.get_default_database()
        await database.drop_collection("system.profile")
        await database.command("profile", 2)
        try:
            yield profile
        finally:
            await database.command("profile", 0)
        found = database["system.profile"].find({"appName": APP})
        profile.operations += await found.to_list()
