"""The latency of turns while summaries are written, against a server that writes none.

    .venv/bin/python -m benchmarks.summaries

Two real servers on one real mongod, a stub model over HTTP that takes 20 ms, sessions that are
always due for a summary; the servers are called in turns, in one run. Prints the ratio of the
medians and exits with 1 if it is over 1.05, or if no summaries were written.
"""

# ruff: noqa: T201 - a benchmark talks

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

MODEL_SECONDS = 0.02
SUMMARIZER = "gpt-4o"
SESSIONS = 10
WARM_UP_TURNS, MEASURED_TURNS = 60, 600
HIGHEST_RATIO = 1.05


async def main() -> int:
    """Exit code 0 if the ratio is within its bound."""
    with tempfile.TemporaryDirectory(prefix="turnkeep-benchmark-") as folder:
        async with (
            Mongod(Path(folder)) as mongod,
            OpenAIStub(delay_seconds=MODEL_SECONDS) as model,
        ):
            settings = {
                "OPENAI_API_KEY": "none",
                "OPENAI_BASE_URL": model.base_url,
                "TURNKEEP_MAX_MESSAGES": "20",
                "TURNKEEP_SUMMARY_MODEL": SUMMARIZER,
                "TURNKEEP_SUMMARY_AFTER_MESSAGES": "10",
            }
            with_summaries = {**settings, "TURNKEEP_HISTORY_URL": mongod.url_for("on")}
            without = {
                **settings,
                "TURNKEEP_HISTORY_URL": mongod.url_for("off"),
                "TURNKEEP_SUMMARY": "off",
            }
            async with ServerProcess(with_summaries) as on, ServerProcess(without) as off:
                taken = await measured({"on": on.stub()[1], "off": off.stub()[1]})
            summaries = sum(call.body["model"] == SUMMARIZER for call in model.calls)
    for name, milliseconds in taken.items():
        low, median, high = statistics.quantiles(milliseconds, n=20, method="inclusive")[::9]
        print(f"summaries {name:3}: median {median:.2f} ms (5 % {low:.2f}, 95 % {high:.2f})")
    ratio = statistics.median(taken["on"]) / statistics.median(taken["off"])
    print(f"ratio of the medians: {ratio:.3f} (at most {HIGHEST_RATIO}); {summaries} summaries")
    return 0 if ratio <= HIGHEST_RATIO and summaries > SESSIONS else 1


async def measured(servers: "dict[str, Stub]") -> dict[str, list[float]]:
    """Milliseconds of each turn, the servers in turns so that the machine's moods strike both."""
    taken: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(WARM_UP_TURNS + MEASURED_TURNS):
        for name, turnkeep in servers.items():
            request = pb.ChatRequest(session_id=f"s-{turn % SESSIONS}", text=f"вопрос {turn} 🙂")
            began = time.perf_counter()
            await turnkeep.Chat(request)
            if turn >= WARM_UP_TURNS:
                taken[name].append((time.perf_counter() - began) * 1e3)
    return taken


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
