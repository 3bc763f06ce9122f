"""One port tells of all workers, and its counters never fall."""

import asyncio
import os
import signal

import pytest

from tests.faults.workers import happens, workers
from tests.kit.openai_stub import OpenAIStub
from tests.kit.scrape import Scrape, scraped
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

CALLERS, CALLS = 8, 3


async def _served(server: ServerProcess) -> None:
    """Calls over so many connections that each worker, nearly surely, has some."""

    async def caller(n: int) -> None:
        _, stub = server.stub()
        for i in range(CALLS):
            await stub.Chat(pb.ChatRequest(session_id=f"s{n}-{i}", text="Привет"), timeout=20)

    await asyncio.gather(*(caller(n) for n in range(CALLERS)))


def _counters(scrape: Scrape) -> dict[object, float]:
    return {
        key: value
        for key, value in scrape.samples.items()
        if key[0].endswith(("_total", "_count", "_bucket", "_sum"))
    }


@pytest.mark.asyncio
async def test_one_port_tells_of_all_workers(database_url: str) -> None:
    """Their sum; a worker's death takes nothing of what was told before."""
    async with OpenAIStub() as provider:
        settings = {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "test",
            "TURNKEEP_HISTORY_URL": database_url,
            "TURNKEEP_LOG_FORMAT": "json",
            "TURNKEEP_SUMMARY": "off",
            "TURNKEEP_WORKERS": "2",
            "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0",
        }
        async with ServerProcess(settings) as server:
            await _served(server)
            first = await scraped(server)
            os.kill(workers(server)[1], signal.SIGSTOP)
            stopped = await scraped(server)
            os.kill(workers(server)[1], signal.SIGKILL)
            await happens(server, "worker_ended", 1)
            alone = await scraped(server)
            await happens(server, "worker_serving", 3)
            await _served(server)
            last = await scraped(server)
            server.terminate()
            assert await server.wait() == 0

    made = CALLERS * CALLS
    assert first.value("turnkeep_calls_total", method="Chat", code="OK") == made
    assert first.value("turnkeep_turn_duration_seconds_count") == made
    assert first.value("turnkeep_workers") == 2
    assert first.value("turnkeep_history_up") == 1
    assert first.value("turnkeep_build_info") == 1
    assert first.value("process_cpu_seconds_total") > 0
    assert stopped.value("turnkeep_calls_total", method="Chat") == made
    assert stopped.value("turnkeep_workers") == 2
    assert alone.value("turnkeep_workers") == 1
    assert last.value("turnkeep_calls_total", method="Chat") == 2 * made
    assert last.value("turnkeep_workers") == 2
    for before, after in ((first, stopped), (stopped, alone), (alone, last)):
        now = _counters(after)
        fallen = [key for key, value in _counters(before).items() if now.get(key, 0) < value]
        assert fallen == []
