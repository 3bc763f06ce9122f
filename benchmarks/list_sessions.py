"""The first page of ListSessions: a user with 10,000 sessions of 10 turns against one with 100.

    .venv/bin/python -m benchmarks.list_sessions

A real mongod, the real server, a real channel, both users measured in turns in one run. The turns
are written straight into MongoDB, in the service's own form; `turnkeep-server repair` makes the
list of sessions out of them. Prints the ratio of the medians and exits with 1 if it is over 5.
"""

# ruff: noqa: T201 - a benchmark talks

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import AsyncMongoClient

from tests.faults.documents import session_key, turn_documents
from tests.kit.mongod import Mongod
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

SESSIONS = {"few": 100, "many": 10_000}
TURNS_A_SESSION = 10
DOCUMENTS_A_WRITE = 5_000
WARM_UP_CALLS, MEASURED_CALLS = 50, 300
PAGE_SIZE = 50
HIGHEST_RATIO = 5.0


async def main() -> int:
    """Exit code 0 if the ratio is within its bound."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="turnkeep-benchmark-") as folder:
        async with Mongod(Path(folder)) as mongod:
            env = {
                "TURNKEEP_HISTORY_URL": mongod.url_for("benchmark"),
                "TURNKEEP_MODEL": "parrot",
            }
            async with ServerProcess(env) as server:  # which makes the indexes
                await write_turns(mongod.url_for("benchmark"))
                await repair(env)
                print(f"made the sessions in {time.perf_counter() - began:.0f} s")
                milliseconds = await measured(server.stub()[1])
    for user, taken in milliseconds.items():
        low, median, high = statistics.quantiles(taken, n=20, method="inclusive")[::9]
        print(
            f"{SESSIONS[user]:6} sessions: median {median:.2f} ms "
            f"(5 % {low:.2f}, 95 % {high:.2f}) over {len(taken)} calls"
        )
    ratio = statistics.median(milliseconds["many"]) / statistics.median(milliseconds["few"])
    print(f"ratio of the medians: {ratio:.2f} (at most {HIGHEST_RATIO:.0f})")
    return 0 if ratio <= HIGHEST_RATIO else 1


async def write_turns(url: str) -> None:
    """Every session's turns, a few thousand documents at a time."""
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        turns = client.get_default_database()["turns"]
        documents = _documents()
        while batch := list(islice(documents, DOCUMENTS_A_WRITE)):
            await turns.insert_many(batch, ordered=False)


async def repair(env: dict[str, str]) -> None:
    """Has the service make its list of sessions."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "turnkeep_server", "repair"), env={**os.environ, **env}
    )
    if await process.wait() != 0:
        raise RuntimeError("turnkeep-server repair failed")


async def measured(turnkeep: "Stub") -> dict[str, list[float]]:
    """Milliseconds of each call, the users in turns so that the machine's moods strike both."""
    taken: dict[str, list[float]] = {user: [] for user in SESSIONS}
    for call in range(WARM_UP_CALLS + MEASURED_CALLS):
        for user in SESSIONS:
            request = pb.ListSessionsRequest(user_id=user, page_size=PAGE_SIZE)
            began = time.perf_counter()
            page = await turnkeep.ListSessions(request)
            milliseconds = (time.perf_counter() - began) * 1e3
            if len(page.sessions) != PAGE_SIZE:
                raise RuntimeError(f"{len(page.sessions)} sessions on {user}'s first page")
            if call >= WARM_UP_CALLS:
                taken[user].append(milliseconds)
    return taken


def _documents() -> Iterator[dict[str, Any]]:
    for user, count in SESSIONS.items():
        for n in range(count):
            yield from turn_documents(session_key(f"s-{n}", user), TURNS_A_SESSION)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
