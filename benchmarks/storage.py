"""What a turn takes on disk and in indexes: 10,000 sessions of 10 turns, as the server writes them.

    .venv/bin/python -m benchmarks.storage

A turn's document is one that the server wrote, with other ids and other texts: pieces of docs/, a
question of 200 characters and a reply of 1,000. Prints bytes a turn, for docs/scaling.md.
"""

# ruff: noqa: T201 - a benchmark talks

import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import AsyncMongoClient

from tests.kit.mongod import Mongod
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

SESSIONS, TURNS_A_SESSION = 10_000, 10
QUESTION_CHARACTERS, REPLY_CHARACTERS = 200, 1_000
DOCUMENTS_A_WRITE = 5_000
DOCS = Path(__file__).parent.parent / "docs"


async def main() -> None:
    """Fills a database, has it written to disk, and prints what it says of itself."""
    with tempfile.TemporaryDirectory(prefix="turnkeep-benchmark-") as folder:
        async with Mongod(Path(folder)) as mongod:
            url = mongod.url_for("benchmark")
            async with AsyncMongoClient[dict[str, Any]](url, tz_aware=True) as client:
                database = client.get_default_database()
                template = await one_turn(url, database)
                await database["turns"].delete_many({})
                documents = _documents(template)
                while batch := list(islice(documents, DOCUMENTS_A_WRITE)):
                    await database["turns"].insert_many(batch, ordered=False)
                # The sizes on disk are those of the last checkpoint.
                await client.admin.command("fsync")
                print_sizes(await database.command("collStats", "turns"))


async def one_turn(url: str, database: Any) -> dict[str, Any]:
    """A completed turn as the server stored it."""
    env = {"TURNKEEP_HISTORY_URL": url, "TURNKEEP_MODEL": "parrot"}
    async with ServerProcess(env) as server:
        request = pb.ChatRequest(
            user_id="user-000000", session_id="session-000000", text="?", request_id="r" * 36
        )
        await server.stub()[1].Chat(request)
    found: dict[str, Any] = await database["turns"].find_one({})
    return found


def print_sizes(stats: dict[str, Any]) -> None:
    """A line for the documents, one for each index, each divided by the number of turns."""
    count = stats["count"]
    print(f"{count:,} turns, {SESSIONS:,} sessions")
    print(
        f"document: {stats['size'] / count:.0f} bytes, {stats['storageSize'] / count:.0f} on disk"
    )
    for name, size in stats["indexSizes"].items():
        print(f"index {name}: {size / count:.1f} bytes")
    print(f"indexes: {stats['totalIndexSize'] / count:.0f} bytes")


def _documents(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    dice = random.Random(1)  # noqa: S311  # to repeat the run, not to hide
    prose = "".join(each.read_text() for each in sorted(DOCS.glob("*.md")))

    def piece(characters: int) -> str:
        start = dice.randrange(len(prose) - characters)
        return prose[start : start + characters]

    question, reply = template["messages"]
    for session in range(SESSIONS):
        for sequence in range(1, TURNS_A_SESSION + 1):
            yield {
                **template,
                "_id": ObjectId(),
                "user_id": f"user-{session // 10:06}",
                "session_id": f"session-{session:06}",
                "sequence": sequence,
                "request_id": f"{dice.getrandbits(128):032x}",
                "fingerprint": f"{dice.getrandbits(256):064x}",
                "created_at": template["created_at"] + timedelta(seconds=sequence),
                "messages": [
                    {**question, "text": piece(QUESTION_CHARACTERS)},
                    {**reply, "text": piece(REPLY_CHARACTERS)},
                ],
            }


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
